"""Reads a PostgreSQL database while an arm is played.

Who waits for whom and who is connected are read through one connection, the server's counters and sizes, more rarely,
through another, and every replica through a pair of its own (it and the primary): none of them can hold up the others.
"""

from replay.rehearsal.probes.postgres.plan import PostgresProbePlan, read_postgres
from replay.rehearsal.probes.postgres.source import place_of

__all__ = ["PostgresProbePlan", "place_of", "read_postgres"]
