"""What else changed, in a few lines: for the summary."""

from replay.report import formats
from replay.report.besides.changed import Row, changed
from replay.report.besides.queries import QueryRow, queries
from replay.report.besides.sizes import indexes_sentence
from replay.report.besides.window import window_sentences
from replay.report.story import Story

_MOST_SERIES = 5
_MOST_QUERIES = 3
_WHEN = {"before": "before the steps", "during": "while the steps ran", "after": "afterwards"}


def brief(story: Story) -> list[str]:
    """One line each: the series and statements that differ most, an index left invalid, the maintenance window."""
    table, statements = changed(story), queries(story)
    lines = [_series(row) for row in table.clear[:_MOST_SERIES]]
    lines += [_query(row) for row in statements.clear[:_MOST_QUERIES]]
    more = len(table.clear[_MOST_SERIES:]) + table.clear_left_out + len(statements.clear[_MOST_QUERIES:])
    lines += [f"{more:,} more in the report."] if more else []
    indexes = indexes_sentence(story)
    lines += [indexes] if " behind: " in indexes else []
    window = window_sentences(story)
    return lines + ([" ".join(window)] if window else [])


def _series(row: Row) -> str:
    part = next(part for part in row.parts if part.clear)
    control = f", {part.control} in the control" if part.control else ""
    label = row.series.partition(" ")[2]
    named = f"{row.words} {label}" if label and row.words != row.series else row.words
    return f"{named} ({row.probe}): {part.steps} {_WHEN[part.name]}{control}"


def _query(row: QueryRow) -> str:
    query = row.query if len(row.query) <= 100 else f"{row.query[:97]}..."
    took, usual = formats.milliseconds(row.steps.mean_s), formats.milliseconds(row.control.mean_s)
    if row.steps.rows != row.control.rows:
        took += f" and {formats.number(row.steps.rows)} rows"
        usual += f" and {formats.number(row.control.rows)} rows"
    return f"{query}: {took} a call, {usual} in the control"
