"""The engines: what they read and keep, and that a capture's whole profile is the same on both."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from engines import EITHER, assert_alike, exchange, made_capture, profile_of, table_of

from replay.capture.segments import SCHEMA, to_table, write_segment
from replay.errors import InputError, ToolError
from replay.workload.engine import Engine
from replay.workload.profile.profile import read_profile

CAPTURES = Path(__file__).resolve().parents[2] / "captures"


def test_there_is_no_such_engine() -> None:
    with pytest.raises(InputError, match="no engine 'postgres'"):
        Engine("postgres")


def test_spark_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(InputError, match="Spark is not installed") as raised:
        Engine("local[2]")
    assert "pip install '.[spark]'" in (raised.value.hint or "")


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Engine() as engine:
        engine.keep(table_of([exchange(0, "GET /")], engine))
        assert list(tmp_path.iterdir())
    with pytest.raises(InputError):
        Engine("nowhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a*.parquet", "[a].parquet", "a b's \"{1}?.parquet", "ü:%20.parquet"])
def test_a_file_may_have_any_name(tmp_path: Path, duckdb: Engine, name: str) -> None:
    write_segment([to_table([exchange(0, "GET /right")])], tmp_path / name)
    write_segment([to_table([exchange(0, "GET /wrong")])], tmp_path / "a.parquet")
    assert duckdb.frame(duckdb.read([tmp_path / name]))["path"].tolist() == ["/right"]


def test_files_are_one_table_and_none_an_empty_one(tmp_path: Path, duckdb: Engine) -> None:
    for number in range(3):
        write_segment([to_table([exchange(number, f"GET /{number}")])], tmp_path / f"{number}.parquet")
    paths = duckdb.frame(duckdb.read(sorted(tmp_path.iterdir())))["path"]
    assert sorted(paths) == ["/0", "/1", "/2"]
    nothing = duckdb.frame(duckdb.read([]))
    assert list(nothing.columns) == SCHEMA.names
    assert nothing.empty


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"PAR1")], ids=["gone", "cut"])
@pytest.mark.parametrize("run", [Engine.keep, Engine.frame])
@pytest.mark.parametrize("place", [0, 1])
def test_a_file_that_cannot_be_read_is_bad_input(
    place: int, run: Callable[[Engine, Any], Any], damage: Callable[[Path], Any], tmp_path: Path, duckdb: Engine
) -> None:
    files = [tmp_path / f"{number}.parquet" for number in range(2)]
    for file in files:
        write_segment([to_table([exchange(0, "GET /")])], file)
    read = duckdb.read(files)
    damage(files[place])
    with pytest.raises(InputError, match=f"{files[place]} cannot be read") as raised:
        run(duckdb, read)
    assert raised.value.hint
    with pytest.raises(InputError, match=f"{files[place]} is damaged"):
        duckdb.read(files)


def test_what_another_program_made_of_a_segment_is_read(tmp_path: Path, duckdb: Engine) -> None:
    table = to_table([exchange(0, "GET /theirs")])
    write_segment([table], tmp_path / "1.parquet")
    pq.write_table(table.set_column(0, "at", table["at"].cast(pa.timestamp("ns", "UTC"))), tmp_path / "2.parquet")
    for files in (["1", "2"], ["2", "1"]):
        read = duckdb.read([tmp_path / f"{name}.parquet" for name in files])
        moments = duckdb.frame(read.select(us=duckdb.microseconds(read["at"])))
        assert moments["us"].nunique() == 1
        assert len(moments) == 2


@pytest.mark.parametrize("run", ["keep", "frame"])
def test_ctrl_c_ends_a_query(run: str) -> None:
    script = (
        "import os, signal, threading\nimport ibis\nimport pandas as pd\n"
        "from replay.workload.engine import Engine\n"
        "with Engine() as engine:\n"
        "    numbers = engine.keep(engine.given(pd.DataFrame({'a': range(3_000)})))\n"
        "    endless = numbers.cross_join(numbers.select(b='a')).cross_join(numbers.select(c='a'))\n"
        "    endless = endless.cross_join(numbers.select(d='a')).aggregate(a=(ibis._.a * ibis._.b + ibis._.d).sum())\n"
        "    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    try:\n"
        f"        engine.{run}(endless)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted', len(engine.frame(numbers)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "interrupted 3000\n", done.stderr


@pytest.mark.slow
def test_spark_leaves_nothing_where_the_user_stands(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    script = (
        "import pandas as pd\nfrom replay.workload.engine import Engine\n"
        "with Engine('local[1]') as engine:\n"
        "    table = engine.keep(engine.given(pd.DataFrame({'a': [1, 2]})))\n"
        "    print(engine.frame(table)['a'].sum())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.workload.engine._MEMORY_BYTES", 32 * 2**20)
    with Engine() as engine:
        numbers = engine.given(pd.DataFrame({"number": range(8_000_000)}))
        with pytest.raises(ToolError, match="too little memory") as raised:
            engine.frame(numbers.aggregate(median=numbers.number.median()))
    assert "--engine spark://" in (raised.value.hint or "")


def test_a_larger_capture_may_have_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.workload.engine._MEMORY_BYTES", 64 * 2**20)
    monkeypatch.setattr("replay.workload.engine._MEMORY_OF_EXCHANGE_BYTES", 2**20)
    write_segment([to_table([exchange(number, "GET /") for number in range(64)])], tmp_path / "a.parquet")
    with Engine() as engine:
        engine.read([tmp_path / "a.parquet"])
        found = engine._backend.raw_sql("SELECT current_setting('memory_limit')").fetchone()[0]
    assert found == "128.0 MiB"


@EITHER
def test_tables_do_not_collide(either: Engine) -> None:
    kept = [either.keep(either.given(pd.DataFrame({"a": [number]}))) for number in range(3)]
    given = [either.given(pd.DataFrame({"a": [10 + number]})) for number in range(3)]
    read = [table_of([exchange(0, f"GET /{number}")], either) for number in range(3)]
    assert [int(either.frame(table)["a"].iloc[0]) for table in kept + given] == [0, 1, 2, 10, 11, 12]
    assert [either.frame(table)["path"].iloc[0] for table in read] == ["/0", "/1", "/2"]


def test_engines_side_by_side_are_apart() -> None:
    with Engine() as one, Engine() as other:
        first = one.keep(one.given(pd.DataFrame({"a": [1]})))
        second = other.keep(other.given(pd.DataFrame({"a": [2]})))
        assert one.frame(first)["a"].tolist() == [1]
        assert other.frame(second)["a"].tolist() == [2]


@EITHER
def test_what_is_no_text_is_null(either: Engine) -> None:
    bodies = [None, b"", "ü€\U0001f600".encode(), b"a\x00b", b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xc0\x80"]
    table = table_of([exchange(number, "GET /", body=body) for number, body in enumerate(bodies)], either)
    rows = either.frame(table.select("at", text=either.text(table.request_body)).order_by("at"))
    found = [None if pd.isna(text) else text for text in rows["text"]]
    assert found == [None, "", "ü€\U0001f600", "a\x00b", None, None, None, None]


@EITHER
def test_moments_are_whole_microseconds(either: Engine) -> None:
    table = table_of([exchange(1e-6, "GET /"), exchange(86_400 * 365, "GET /")], either)
    rows = either.frame(table.select(us=either.microseconds(table["at"])).order_by("us"))
    assert rows["us"].tolist() == [1_772_442_000_000_001, 1_803_978_000_000_000]


@EITHER
def test_a_fingerprint_tells_texts_apart(either: Engine) -> None:
    texts = pd.DataFrame({"text": ["", " ", "a", "b", "ab", "ba", "a", "ü", "\x1f"]})
    given = either.given(texts)
    rows = either.frame(given.select("text", mark=either.fingerprint(given.text)))
    assert rows.groupby("text")["mark"].nunique().tolist() == [1] * 8
    assert rows["mark"].nunique() == 8


@EITHER
def test_logarithms_of_whole_powers_are_whole(either: Engine) -> None:
    powers = either.given(pd.DataFrame({"power": list(range(40)), "number": [2**power for power in range(40)]}))
    rows = either.frame(powers.mutate(log=powers.number.log2().floor().cast("int64")))
    assert rows["log"].tolist() == rows["power"].tolist()


@pytest.mark.slow
def test_a_made_capture_has_one_profile(duckdb: Engine, spark: Engine) -> None:
    made = made_capture()
    assert_alike(profile_of(made, duckdb), profile_of(made, spark))


def test_a_profile_does_not_depend_on_the_order_of_rows(duckdb: Engine) -> None:
    made = made_capture()
    assert_alike(profile_of(made, duckdb), profile_of(made[::-1], duckdb))
    assert_alike(profile_of(made, duckdb), profile_of(made[::2] + made[1::2], duckdb))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["production", "qa"])
def test_a_capture_of_the_demonstration_has_one_profile(duckdb: Engine, spark: Engine, name: str) -> None:
    assert_alike(read_profile(CAPTURES / name, duckdb), read_profile(CAPTURES / name, spark))


@pytest.mark.slow
@pytest.mark.parametrize("made", [[], [exchange(0, "GET /a/1?b=c")]], ids=["empty", "one"])
def test_next_to_nothing_has_one_profile(duckdb: Engine, spark: Engine, made: list[Any]) -> None:
    assert_alike(profile_of(made, duckdb), profile_of(made, spark))
