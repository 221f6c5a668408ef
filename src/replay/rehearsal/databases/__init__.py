"""A plan's databases: what is in them, compared before and after, and who uses them.

``database.py`` says what is asked of one, ``postgres.py`` and ``mysql.py`` give the answers. Nothing else knows which
server it is.
"""

from replay.rehearsal.databases.arm import ArmDatabases
from replay.rehearsal.databases.fingerprint import Fingerprint, fingerprint
from replay.rehearsal.databases.named import first_of, looks

__all__ = ["ArmDatabases", "Fingerprint", "fingerprint", "first_of", "looks"]
