"""Which tables a MySQL or MariaDB server holds."""

import dataclasses

from replay.errors import StageError
from replay.rehearsal.probes.mysql.source import TROUBLE, Address, Source, is_refused, said

# Shows only tables that the user may do something with.
_TABLES = "SELECT 1 FROM information_schema.tables WHERE table_name = %s LIMIT 1"
# Shows InnoDB's to everybody with the right PROCESS, which the probe needs; each as DATABASE/TABLE.
_INNODB = "SELECT 1 FROM information_schema.{} WHERE SUBSTRING_INDEX(name, '/', -1) = %s LIMIT 1"


def has_table(address: Address, table: str) -> bool:
    """Whether any database of a server holds a table of this name, as far as the user can see.

    Raises StageError where the server cannot be asked.
    """
    # Without a database, which need not be there yet.
    source = Source(dataclasses.replace(address, database=None), "production")
    try:
        source.connect()
        if source.rows(_TABLES, table):
            return True
        try:
            innodb = "innodb_sys_tables" if source.version.maria else "innodb_tables"
            return bool(source.rows(_INNODB.format(innodb), table))
        except TROUBLE as error:
            if not is_refused(error):
                raise
            return False
    except TROUBLE as error:
        raise StageError(f"{address.place} cannot be asked: {said(error)}.") from error
    finally:
        source.close()
