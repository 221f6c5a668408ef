"""Reads a MySQL or MariaDB database while an arm is played.

Who waits for whom and who is connected are read through one connection, every replica through a pair of its own (it and
the primary): none of them can hold up the others.
"""

from replay.rehearsal.probes.mysql.plan import MysqlProbePlan, read_mysql

__all__ = ["MysqlProbePlan", "read_mysql"]
