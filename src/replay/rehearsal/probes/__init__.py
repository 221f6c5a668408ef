"""What is read from Stage while an arm is played.

A probe is started before the arm's common start and stopped after the last request. It never raises: where it could
not read, it says so with a reading ``probe_failed`` (value 1, detail ``{"error": ...}``), so that nobody takes missing
evidence for quiet.
"""
