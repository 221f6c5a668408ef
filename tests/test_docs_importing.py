"""docs/importing.md says what the importer does: every format, every role, the rules, and an importer of one's own."""

import re
from pathlib import Path

from replay.capture.inputs import Input
from replay.capture.scrubbing.rules import load_rules
from replay.capture.sources import all_sources, find_source
from replay.capture.sources.roles import ROLES
from replay.capture.sources.source import ReadOptions, Record
from replay.traffic import Skipped

PAGE = (Path(__file__).parents[1] / "docs" / "importing.md").read_text(encoding="utf-8")
# The type of a body without headers: too rare to be explained.
UNSAID = {"request_type"}


def first_cells(heading: str) -> list[str]:
    table = re.search(rf"^\| {re.escape(heading)} \|.*(?:\n\|.*)*", PAGE, re.MULTILINE)
    assert table, heading
    return [line.split("|")[1] for line in table[0].splitlines()[2:]]


def code(language: str, words: str) -> str:
    fences = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(fence for fence in fences if words in fence)


def test_every_format_and_no_other() -> None:
    documented = re.findall(r"`([^`]+)`", " ".join(first_cells("`--format`")))
    assert sorted(documented) == sorted(source.name for source in all_sources())


def test_every_role_and_no_other() -> None:
    documented = {name.partition(":")[0] for name in re.findall(r"`([^`]+)`", " ".join(first_cells("`NAME`")))}
    assert documented == ROLES - UNSAID


def test_the_rules_are_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(code("toml", "[names]"), encoding="utf-8")
    rules = load_rules(file)
    assert rules.makes_secret("X-Tenant-Id")
    assert rules.makes_plain("state")
    assert rules.values[0][0].fullmatch("EMP-123456")


def test_the_importer_of_ones_own_reads(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    exec(code("python", "class Acme"), names)  # noqa: S102 - our own documentation
    acme = names["ACME"]
    path = tmp_path / "gateway.log"
    path.write_text("1767225600.25 GET /v2/events/17 200\n1767225601 GET /v2 never\n", encoding="utf-8")
    file = Input("gateway.log", path)
    assert find_source(file, sources=[acme]) is acme
    record, skipped = acme.read(file, ReadOptions())
    assert isinstance(record, Record)
    assert record.exchange.request.path == "/v2/events/17"
    assert isinstance(skipped, Skipped)
    assert skipped.where == "line 2"
