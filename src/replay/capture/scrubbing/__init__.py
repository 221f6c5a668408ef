"""The parts of scrubbing: what names say, what forms say, what bodies hold, what was seen to be a secret."""
