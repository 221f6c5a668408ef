"""Folds log lines into templates: what differs from one occurrence to the next goes.

Every pattern begins with a character that is rare or quickly told, and looks behind only then: the regex engine skips
to it. Many lines are folded at once for the same reason, with no pattern reaching across a line's end. No repetition
is tried twice over the same text, so that hostile lines cost no more than others.
"""

import re

_LONGEST_TEMPLATE = 300
_HEX = "[0-9a-fA-F]"
# In the order in which they are replaced.
_FOLDS = (
    (
        re.compile(
            r"[0-9](?<!\w.)[0-9]{3}([-/])[0-9]{2}\1[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?"
            r"(?: ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2})\b)?"
        ),
        "<time>",
    ),
    (re.compile(r"'(?<!\w')[^'\n]*'(?!\w)"), "<text>"),
    # The database's names stay: which column is missing is what one wants to know.
    (
        re.compile(
            r'"(?<!\w")(?<!\bcolumn ")(?<!\brelation ")(?<!\bconstraint ")(?<!\btable ")(?<!\bindex ")[^"\n]*"(?!\w)'
        ),
        "<text>",
    ),
    (re.compile(r"\?[^\s\"'?=]{1,100}=[^\s\"']*"), "?<query>"),
    # Before ids and numbers, which may be parts of it.
    (re.compile(r"/(?<![\w.>/]/)[\w.@+~-]{1,200}/[\w.@+~/-]*\.\w+"), "<path>"),
    (re.compile(r"0x(?<!\w0x)[0-9a-fA-F]+"), "<hex>"),
    (re.compile(rf"([^\w])(?={_HEX}{{8}}-){_HEX}+(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}(?!\w)"), r"\1<uuid>"),
    (re.compile(r"([^\w-])(?<![0-9]\.)(?=[\w-]{20})(?=[A-Za-z_-]*[0-9])[\w-]+"), r"\1<word>"),
    # An id in hex digits is now and then a number by chance, or a word: all are called alike.
    (re.compile(rf"([^\w])(?<![0-9]\.)(?={_HEX}{{7}}){_HEX}+(?!\w)"), r"\1<n>"),
    (re.compile(r"[0-9](?<!\w.)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?::[0-9]+)?(?![\w.]?\w)"), "<address>"),
    (re.compile(r"[0-9](?<!\w.)[0-9]*(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?(?:[nuµm]?s\b)?"), "<n>"),
)


def fold(text: str) -> str:
    """Lines without what differs: times, ids, quoted texts, file paths, numbers. It has as many lines as before."""
    folded = f"\n{text}"  # what looks for the start of a word finds a character before it
    for pattern, name in _FOLDS:
        folded = pattern.sub(name, folded)
    return folded[1:]


def template_of(line: str) -> str:
    """The template of one line, at most 300 characters."""
    return fold(line)[:_LONGEST_TEMPLATE]
