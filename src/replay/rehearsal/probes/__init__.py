"""Probes: what is read from Stage while a rehearsal runs."""
