"""Logs of lines, read in blocks: patterns of lines, and the columns that come of them."""
