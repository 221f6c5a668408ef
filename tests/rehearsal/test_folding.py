"""What is left of a log line when all that differs from one to the next has gone."""

import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.rehearsal.probes.folding import fold, template_of
from replay.rehearsal.secrets import Scrubber


@pytest.mark.parametrize(
    ("line", "template"),
    [
        ("2026-01-02 03:04:05,678 ERROR in 12 ms", "<time> ERROR in <n> ms"),
        ("2026-01-02T03:04:05Z x", "<time> x"),
        ("2026/01/02 03:04:05 [error] 71#71: *3 refused", "<time> [error] <n>#<n>: *<n> refused"),
        ('  File "/srv/app/main.py", line 10, in call', "  File <text>, line <n>, in call"),
        ("client 10.0.0.7:5123 gone", "client <address> gone"),
        ("client 10.0.0.7, gone", "client <address>, gone"),
        ("id 3f2504e0-4f89-41d3-9a0c-0305e82c3301 twice", "id <uuid> twice"),
        ("at 0x7f00aa", "at <hex>"),
        ("commit deadbeef01, 12345678, abcdefab", "commit <n>, <n>, <n>"),
        ("took 0.1234567890123 or 9.5e-05", "took <n> or <n>"),
        ("took 12.5ms or 3s, in 4 months", "took <n> or <n>, in <n> months"),
        ("token tok-123456789-abcdefghij is gone", "token <word> is gone"),
        ("ERROR E17 and SQLSTATE X0042", "ERROR E17 and SQLSTATE X0042"),
        ("GET /v2/events/17?after=abc 500", "GET /v2/events/<n>?<query> <n>"),
        ("couldn't open /var/lib/app/data.bin, won't retry", "couldn't open <path>, won't retry"),
        ("could not open /var/lib/3f9a00c1/part-7.bin", "could not open <path>"),
        ("column 'a' of \"b\" is null", "column <text> of <text> is null"),
        ('column "a_1" of relation "b" is not "c"', 'column "a_1" of relation "b" is not <text>'),
        ("", ""),
    ],
)
def test_templates(line: str, template: str) -> None:
    assert template_of(line) == template


lines = st.lists(st.text(st.sampled_from("aA0f1-_.:/?='\"<>x \t{}é\r") | st.characters(exclude_characters="\n")))


@given(lines)
def test_lines_are_folded_together_as_they_are_alone(texts: list[str]) -> None:
    assert fold("\n".join(texts)).split("\n") == [fold(text) for text in texts] or not texts


ids = {
    "a number": lambda by: str(by.randrange(10 ** by.randrange(1, 12))),
    "a duration": lambda by: f"{by.random() * 10 ** by.randrange(-6, 3)}s",
    "seven hex digits": lambda by: f"{by.getrandbits(28):07x}",
    "eight hex digits": lambda by: f"{by.getrandbits(32):08x}",
    "sixteen hex digits": lambda by: f"{by.getrandbits(64):016x}",
    "a uuid": lambda by: str(uuid.UUID(int=by.getrandbits(128))),
    "a quoted text": lambda by: f"'{''.join(by.choices('ab 1=?/-', k=by.randrange(9)))}'",
    "an address": lambda by: ".".join(str(by.randrange(256)) for _ in range(4)) + f":{by.randrange(65536)}",
}


@pytest.mark.parametrize("kind", ids)
def test_ids_of_one_kind_make_one_template(kind: str) -> None:
    by = random.Random(7)  # noqa: S311 - made-up lines
    text = "\n".join(f"2026-01-02 03:04:05,678 ERROR for {ids[kind](by)} is wrong" for _ in range(20_000))
    assert len(set(fold(text).split("\n"))) == 1


def test_hostile_lines_come_to_an_end() -> None:
    # What tries a repetition at each of its places would take minutes for these.
    for line in ("-".join("ab" * 3 for _ in range(40_000)), *(text * 100_000 for text in ("'", "?=", "/a", "1.", "?"))):
        template_of(line)
    for line in ("a" * 100_000, "0" * 100_000, "f" * 100_000, "/" + "a" * 100_000, '"' * 100_000, "-" * 100_000):
        template_of(line)
        Scrubber()(line[:1000])
