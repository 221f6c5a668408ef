"""What a plan says of Stage's own values: pools, and queries of its database."""

from dataclasses import dataclass
from pathlib import Path

from replay.rehearsal.steps.sql import split_statements
from replay.rehearsal.table import Dsn, Table
from replay.workload.endpoints.names import snake


@dataclass(frozen=True, slots=True)
class Query:
    """One statement that reads from Stage's database."""

    sql: str
    dsn: Dsn


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Stage's own values for ``parameters``: from a column of a CSV file (empty: found by name), or from a query."""

    name: str
    parameters: tuple[str, ...]
    csv: Path | None
    column: str
    query: Query | None


def read_pool(name: str, table: Table) -> PoolPlan:
    """A pool of the plan. Raises PlanError."""
    file, column = table.path("csv"), table.text("column")
    sql, dsn = table.text("sql"), table.text("dsn")
    if (file is None) == (sql is None):
        raise table.error("csv", "and sql: one of the two must be there")
    if file is not None and dsn is not None:
        raise table.error("dsn", "is for sql")
    if sql is not None and column is not None:
        raise table.error("column", "is for csv; a query gives its values in its first column")
    parameters = tuple(dict.fromkeys(snake(parameter) for parameter in table.texts("parameters") or (name,)))
    plan = PoolPlan(name, parameters, file, column or "", None if sql is None else read_query(table))
    table.done()
    return plan


def read_query(table: Table) -> Query:
    """The query that a table's ``sql`` and ``dsn`` are; nothing is asked yet. Raises PlanError or InputError."""
    sql, dsn = table.required_text("sql"), table.dsn("dsn")
    if dsn is None:
        raise table.error("sql", "needs a dsn to go through", 'Add dsn = "${STAGE_DSN}".')
    statements = split_statements(sql, f'"sql" in {table.name}')
    if len(statements) != 1:
        raise table.error("sql", f"has {len(statements)} statements, and must be one that reads")
    return Query(statements[0].text, dsn)
