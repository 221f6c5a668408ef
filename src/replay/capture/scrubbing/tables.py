"""CSV and its like: cells are fields under the names of the first line."""

import re

from replay.capture.fields import Says
from replay.capture.scrubbing.texts import Texts

_LINES = re.compile(r"(?:\"(?:[^\"]++|\"\")*+\"|[^\"\r\n]++)++|\"")
_SEPARATORS = ",;\t|"
_MOST_COLUMNS = 2000


def scrub_table(texts: Texts, text: str) -> str | None:
    """A table without its secrets; None where its first line names no columns that say something."""
    first = text.lstrip("\ufeff").partition("\n")[0].strip()
    separator = max(_SEPARATORS, key=first.count)
    names = [name.strip().strip('"') for name in first.split(separator)][:_MOST_COLUMNS]
    if all(texts.says(name) is Says.NOTHING for name in names):
        return None
    cell = re.compile(rf'"(?:[^"]++|"")*+"|[^{re.escape(separator)}]++')
    is_first = True

    def line(match: re.Match[str]) -> str:
        nonlocal is_first
        if is_first:
            is_first = False
            return texts.text(match[0])
        number = 0
        pieces: list[str] = []
        at = 0
        for found in cell.finditer(match[0]):
            between = match[0][at : found.start()]
            number += between.count(separator)
            pieces += [between, _cell(texts, names[number] if number < len(names) else "", found[0])]
            at = found.end()
        return "".join([*pieces, match[0][at:]])

    return _LINES.sub(line, text)


def _cell(texts: Texts, name: str, raw: str) -> str:
    if len(raw) > 1 and raw[0] == raw[-1] == '"':
        value = raw[1:-1].replace('""', '"')
        scrubbed = texts.field(name, value, "csv")
        return raw if scrubbed == value else '"' + scrubbed.replace('"', '""') + '"'
    bare = raw.strip()
    return raw.replace(bare, texts.field(name, bare, "csv"), 1) if bare else raw
