"""What makes up a schema in MySQL and MariaDB: tables as the server itself writes them, the rest as it lists it.

``information_schema`` would show constraints only to users who may do more with a table than read it, and each server
has other columns there for what it adds to indexes and checks.
"""

import re
from collections.abc import Iterator

from replay.rehearsal.databases.database import Part

# Each gives ``kind``, ``base`` (the database), ``name``, ``part`` of that or null, and ``text``, the definition.
# ``{ours COLUMN}`` is the condition on a column that holds a database's name. Columns get names here, as MySQL 8 has
# all of its in capitals.
LISTS = (
    """
SELECT LOWER(TABLE_TYPE) AS kind, TABLE_SCHEMA AS base, TABLE_NAME AS name, NULL AS part, ENGINE AS text
FROM information_schema.TABLES WHERE {ours TABLE_SCHEMA} AND TABLE_TYPE = 'SEQUENCE'
""",
    """
SELECT 'view' AS kind, TABLE_SCHEMA AS base, TABLE_NAME AS name, NULL AS part,
       CONCAT_WS(' ', CHECK_OPTION, SECURITY_TYPE, VIEW_DEFINITION) AS text
FROM information_schema.VIEWS WHERE {ours TABLE_SCHEMA}
""",
    """
SELECT 'column' AS kind, c.TABLE_SCHEMA AS base, c.TABLE_NAME AS name, c.COLUMN_NAME AS part,
       CONCAT_WS(' ', c.COLUMN_TYPE, c.COLLATION_NAME, c.IS_NULLABLE) AS text
FROM information_schema.COLUMNS c
JOIN information_schema.VIEWS v ON v.TABLE_SCHEMA = c.TABLE_SCHEMA AND v.TABLE_NAME = c.TABLE_NAME
WHERE {ours c.TABLE_SCHEMA} AND {ours v.TABLE_SCHEMA}
""",
    """
SELECT 'trigger' AS kind, EVENT_OBJECT_SCHEMA AS base, EVENT_OBJECT_TABLE AS name, TRIGGER_NAME AS part,
       CONCAT_WS(' ', ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER, ACTION_STATEMENT) AS text
FROM information_schema.TRIGGERS WHERE {ours EVENT_OBJECT_SCHEMA}
""",
    """
SELECT LOWER(ROUTINE_TYPE) AS kind, ROUTINE_SCHEMA AS base, ROUTINE_NAME AS name, NULL AS part,
       CONCAT_WS(' ', DTD_IDENTIFIER, IS_DETERMINISTIC, SQL_DATA_ACCESS, SECURITY_TYPE, ROUTINE_DEFINITION) AS text
FROM information_schema.ROUTINES WHERE {ours ROUTINE_SCHEMA}
""",
    """
SELECT 'parameter' AS kind, SPECIFIC_SCHEMA AS base, SPECIFIC_NAME AS name, PARAMETER_NAME AS part,
       CONCAT_WS(' ', ROUTINE_TYPE, ORDINAL_POSITION, PARAMETER_MODE, DTD_IDENTIFIER) AS text
FROM information_schema.PARAMETERS WHERE {ours SPECIFIC_SCHEMA} AND PARAMETER_NAME IS NOT NULL
""",
    """
SELECT 'event' AS kind, EVENT_SCHEMA AS base, EVENT_NAME AS name, NULL AS part,
       CONCAT_WS(' ', STATUS, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, EVENT_DEFINITION) AS text
FROM information_schema.EVENTS WHERE {ours EVENT_SCHEMA}
""",
)
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")  # moves with the rows
_QUOTED = r"`(?P<name>(?:[^`]|``)+)`"
_LINES = (
    ("column", re.compile(_QUOTED)),
    ("constraint", re.compile(f"CONSTRAINT {_QUOTED}")),
    ("index", re.compile(f"(?:[A-Z]+ )?KEY {_QUOTED}")),
    ("index", re.compile("(?P<name>PRIMARY) KEY")),
)


def parts_of(table: str, created: str) -> Iterator[Part]:
    """The parts of a table in what ``SHOW CREATE TABLE`` gives for it, where each has a line of its own.

    Not their places: a column that was dropped and came back is the same. Its options and partitions are the table's.
    """
    _, *lines = created.splitlines()
    end = next((number for number, line in enumerate(lines) if line.startswith(")")), len(lines))
    rest = [_COUNTER.sub("", line) for line in lines[end:]]
    for line in lines[:end]:
        text = line.strip().removesuffix(",")
        kind, found = next(((kind, at) for kind, form in _LINES if (at := form.match(text))), ("", None))
        if found is None:
            rest.append(text)
        else:
            yield kind, f"{table}.{found['name'].replace('``', '`')}", text
    yield "table", table, "\n".join(rest)
