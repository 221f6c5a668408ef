"""Captures that were damaged or tampered with, as commands meet them: bad input, with a sentence and a hint."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.capture.segments import SCHEMA, write_segment
from replay.capture.store import CaptureWriter
from replay.cli.main import run
from replay.traffic import Exchange, Request, Response

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
HOSTILE = "\x1b]0;renamed\x07[bold]"


def write(path: Path) -> Path:
    with CaptureWriter(path, environment="stage", scrubber=None) as writer:
        for number in range(40):
            request = Request("GET", "api.test", f"/teas/{number}", headers=(("Accept", "text/tea"),))
            response = Response(200, (("content-type", "application/json"),), b'{"id": %d}' % number, 9)
            writer.add(Exchange(AT + timedelta(seconds=number), 0.01, "c", "1", request, response), "x")
    return path


def segment_of(capture: Path) -> Path:
    (file,) = (capture / "exchanges").glob("*.parquet")
    return file


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def not_parquet(file: Path) -> None:
    file.write_text("moment,path\n" * 100)


def bit_flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    column = pq.ParquetFile(file).metadata.row_group(0).column(SCHEMA.names.index("duration_s"))
    data[column.dictionary_page_offset + 30] ^= 1
    file.write_bytes(bytes(data))


def deleted(file: Path) -> None:
    file.unlink()


def changed(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    """What another program would write in place of a segment."""
    return lambda file: pq.write_table(change(pq.read_table(file)), file)


def with_column(table: pa.Table, name: str, type_: pa.DataType, *values: Any) -> pa.Table:
    column = pa.array([*values] * table.num_rows, type_) if values else table[name].cast(type_)
    return table.set_column(table.schema.get_field_index(name), name, column)


TAMPERED = {
    "a column missing": changed(lambda table: table.drop_columns(["host"])),
    "at as whole numbers": changed(lambda table: with_column(table, "at", pa.int64())),
    "durations as text": changed(lambda table: with_column(table, "duration_s", pa.string())),
    "paths as numbers": changed(lambda table: with_column(table, "path", pa.int64(), 7)),
    "an infinite duration": changed(lambda table: with_column(table, "duration_s", pa.float64(), float("inf"))),
    "a duration below 0": changed(lambda table: with_column(table, "duration_s", pa.float64(), -1.0)),
    "no client": changed(lambda table: with_column(table, "client", pa.string(), None)),
    "more exchanges": changed(lambda table: pa.concat_tables([table, table])),
}
DAMAGES = {
    "cut": cut,
    "empty": emptied,
    "not Parquet": not_parquet,
    "bit flipped": bit_flipped,
    "deleted": deleted,
} | TAMPERED


def is_refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command says that ends with 2: a sentence, and what to do."""
    assert run([*map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    sentence, hint = said.strip().splitlines()[-2:]  # before them it may say what it does
    assert sentence.startswith("Error: ")
    assert hint
    return sentence


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_segment_is_bad_input(
    damage: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = write(tmp_path / "whole"), write(tmp_path / "broken")
    damage(segment_of(broken))
    for arguments in (("inspect", broken), ("compare", broken, whole), ("compare", whole, broken)):
        assert "broken" in is_refused(capsys, *arguments)


TAMPERINGS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "exchanges below 0": lambda said: said | {"exchanges": -5},
    "read below 0": lambda said: said | {"sources": [said["sources"][0] | {"read": -1}]},
    "skipped below 0": lambda said: said | {"sources": [said["sources"][0] | {"skipped": {"odd": -1}}]},
    "a segment listed twice": lambda said: (
        said | {"segments": 2 * said["segments"], "exchanges": 2 * said["exchanges"]}
    ),
}


@pytest.mark.parametrize("change", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_a_manifest_that_cannot_be_is_bad_input(
    change: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = write(tmp_path / "whole"), write(tmp_path / "broken")
    file = broken / "capture.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    for arguments in (("inspect", broken), ("compare", broken, whole)):
        assert "is not a capture's manifest" in is_refused(capsys, *arguments)


@pytest.mark.parametrize("headers", ['[["a", ', "[1,2]", "7", "null", "[" * 100_000, '[["a", "b", "c"]]'])
@pytest.mark.parametrize("column", ["request_headers", "response_headers"])
def test_headers_that_are_none_are_said_and_the_rest_is_shown(
    column: str, headers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write(tmp_path / "broken")
    table = pq.read_table(segment_of(broken))
    write_segment([with_column(table, column, pa.string(), headers).cast(SCHEMA)], segment_of(broken))
    assert run(["inspect", str(broken), "--json"]) == 2
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["workload"]["exchanges"] == 40
    assert len(document["problems"]) == 1
    assert "headers of an exchange are no list of names and values" in shown.err
    assert "Traceback" not in shown.err
    assert run(["build", str(broken), "--out", str(tmp_path / "built.py")]) == 2
    assert run(["import", str(broken), "--out", str(tmp_path / "again")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_other_programs_types_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, theirs = write(tmp_path / "own"), write(tmp_path / "theirs")
    table = pq.read_table(segment_of(theirs))
    for name, type_ in (("at", pa.timestamp("ns", "UTC")), ("status", pa.float64()), ("duration_s", pa.float32())):
        table = with_column(table, name, type_)
    pq.write_table(with_column(table, "request_body", pa.null(), None), segment_of(theirs))
    for arguments in (("inspect", theirs), ("compare", own, theirs), ("compare", theirs, own)):
        assert run([*map(str, arguments)]) == 0
    assert "100%" in capsys.readouterr().out


def test_what_a_manifest_says_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture = write(tmp_path / "own")
    said = json.loads((capture / "capture.json").read_text())
    said["bodies_not_kept"] = {HOSTILE: 3}
    said["scrubbing"] = {"on": True, "counts": {HOSTILE: 1}, "key_id": HOSTILE}
    (capture / "capture.json").write_text(json.dumps(said))
    page = tmp_path / f"{HOSTILE}.html"
    assert run(["inspect", str(capture), "--html", str(page)]) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "\x07" not in shown.out + shown.err
    assert shown.out.count("renamed") == 4
    assert page.exists()
