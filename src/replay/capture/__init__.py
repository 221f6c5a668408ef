"""Captures: traffic recorded from one environment, scrubbed and kept."""
