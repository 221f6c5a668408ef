"""Pairs of arms, told apart with arrays, against the same told one by one."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simulate
from hypothesis import given
from hypothesis import strategies as st
from incident import incident, qa

from replay.evidence.files import OBSERVATION_SCHEMA
from replay.evidence.run import ArmEvidence, read_run
from replay.evidence.values import ArmInfo, Outcome, expected_outcome
from replay.judge.answers.differences import COLUMNS, OUTCOMES, WRONG_SHAPE, expected_outcomes, find, pair, paired
from replay.judge.phases import Span, phase_order
from replay.judge.verdict import judge

SPANS = (Span("one", "migrate", 10.0, 12.0), Span("two", "migrate", 15.0, None))
LOST = {"server error", "timeout", "no connection", "unsent"}
WORSE = {"ok": LOST | {"empty", "refused"}, "empty": LOST | {"refused"}, "refused": LOST | {"empty"}}
moments = st.floats(0, 20).map(lambda value: round(value, 1))


@st.composite
def observations(draw: st.DrawFn, most: int = 12) -> dict[str, object]:
    sent = draw(st.none() | moments)
    done = draw(st.none() | moments) if sent is not None else None
    return {
        "request": draw(st.integers(0, most)),
        "visit": 0,
        "endpoint": draw(st.sampled_from(["GET /a", "GET /b"])),
        "due_s": draw(moments),
        "waited_s": draw(st.sampled_from([0.0, 0.5, -0.1])),
        "sent_s": sent,
        "done_s": done,
        "status": draw(st.sampled_from([None, 200, 500])),
        "shape": draw(st.sampled_from([None, "", "x", "y", "[]"])),
        "expected_status": draw(st.sampled_from([None, 200, 404, 500])),
        "expected_shape": draw(st.sampled_from([None, "", "x", "z", "[]"])),
        "outcome": draw(st.sampled_from([*OUTCOMES, "ok", "ok", "odd"])),
        "caused_by": draw(st.sampled_from([None, None, 0, 1, 2, 3, 99])),
        "digest": None,
        "items": None,
        "expected_items": None,
        "reads_back": None,
    }


def arm(rows: list[dict[str, object]], *, lean: bool) -> ArmEvidence:
    frame = pd.DataFrame(rows, columns=COLUMNS)
    whole = {"request", "visit"}
    for field in OBSERVATION_SCHEMA:
        if field.name not in COLUMNS:
            continue
        if str(field.type) == "string":
            frame[field.name] = frame[field.name].astype("category" if lean else object)
        else:
            frame[field.name] = frame[field.name].astype("int64" if field.name in whole else "float64")
    info = ArmInfo("a", "a", "production", True, "2026-01-01T00:00:00Z", 20.0, len(frame), "complete")
    return ArmEvidence(info, frame, pd.DataFrame(), pd.DataFrame(), (), ())


def told(control: list[dict], steps: list[dict]) -> list[dict[str, object]]:
    """The pairs, one request after the other."""
    first = {}
    for row in control:
        first.setdefault(row["request"], row)
    seen: dict[object, dict] = {}
    for row in steps:
        if row["request"] in first:
            seen.setdefault(row["request"], row)
    had = {name: {row["request"]: _row(row) for row in rows.values()} for name, rows in (("t", seen), ("c", first))}
    kinds = {name: {number: _kind(seen[number], had[name][number]) for number in seen} for name in had}
    shapes = {
        name: {(seen[n]["endpoint"], _raw(name, n, seen, first)["shape"]) for n in seen if _ok(name, n, seen, first)}
        for name in had
    }
    captured = {(row["endpoint"], row["expected_shape"]) for row in seen.values() if _answered(row)}
    before = {
        (row["endpoint"], row["shape"])
        for n, row in seen.items()
        if _ok("t", n, seen, first) and _phase(row) == "before"
    }
    for name, others in (("t", captured | before | shapes["c"]), ("c", captured | shapes["t"])):
        for n, row in seen.items():
            if _ok(name, n, seen, first) and (row["endpoint"], _raw(name, n, seen, first)["shape"]) not in others:
                kinds[name][n] = WRONG_SHAPE
    found = []
    for number, row in seen.items():
        root = number
        for _ in range(100):
            cause = seen[root]["caused_by"]
            if cause is None or cause not in seen or cause == root:
                break
            root = cause
        t_bad, c_bad = kinds["t"][number] != "", kinds["c"][number] != ""
        one = {"request": number, "endpoint": row["endpoint"], "phase": _phase(row), "root": root}
        one |= {"root_endpoint": seen[root]["endpoint"], "root_start": had["t"][root]["start"]}
        one |= {"t_new": t_bad and not c_bad, "c_new": c_bad and not t_bad, "t_good": not t_bad, "c_good": not c_bad}
        one |= {f"{name}_{key}": value for name in had for key, value in had[name][number].items()}
        found.append(one | {"t_kind": kinds["t"][number], "c_kind": kinds["c"][number]})
    return found


def _raw(name, number, seen, first):
    return (seen if name == "t" else first)[number]


def _row(row: dict) -> dict[str, object]:
    start = row["due_s"] + max(0.0, row["waited_s"])
    end = next(value for value in (row["done_s"], row["sent_s"], start) if value is not None)
    came = row["status"] is not None and row["done_s"] is not None
    return {
        "start": start,
        "end": max(end, start),
        "latency": row["done_s"] - row["sent_s"] if came else None,
        "outcome": row["outcome"],
    }


def _kind(asked: dict, answer: dict) -> str:
    expected = str(expected_outcome(asked["expected_status"], asked["expected_shape"]))
    return answer["outcome"] if answer["outcome"] in WORSE.get(expected, ()) else ""


def _answered(row: dict) -> bool:
    expected = expected_outcome(row["expected_status"], row["expected_shape"])
    return expected == Outcome.OK and row["expected_shape"] is not None


def _ok(name, number, seen, first) -> bool:
    answer = _raw(name, number, seen, first)
    return _answered(seen[number]) and answer["outcome"] == "ok" and answer["shape"] is not None


def _phase(row: dict) -> str:
    start, end = row["due_s"], max(row["due_s"], _row(row)["end"])
    for span in SPANS:
        if end >= span.started_s and start <= span.end_s(np.inf):
            return span.during
    return next((span.after for span in reversed(SPANS) if start >= span.started_s), "before")


@given(st.lists(observations(), max_size=16), st.lists(observations(), max_size=16), st.booleans(), st.booleans())
def test_arrays_say_what_a_loop_says(control, steps, in_order, lean):
    if in_order:
        control, steps = (sorted(rows, key=lambda row: row["request"]) for rows in (control, steps))
    pairs = pair(arm(control, lean=lean), arm(steps, lean=lean), SPANS)
    expected = told(control, steps)
    assert len(pairs) == len(expected)
    for name in expected[0] if expected else ():
        if name in {"t_outcome", "c_outcome"}:
            continue
        values = [None if value is None else value for value in (row[name] for row in expected)]
        seen = [None if isinstance(value, float) and np.isnan(value) else value for value in pairs[name].tolist()]
        assert seen == values, name


@given(st.lists(st.integers(-3, 12)), st.lists(st.integers(-3, 12), unique=True))
def test_a_value_is_found_where_it_is(values, among):
    found = find(np.array(values, dtype=np.int64), np.array(among, dtype=np.int64))
    assert found.tolist() == [among.index(value) if value in among else -1 for value in values]


@given(st.lists(observations(), max_size=30), st.booleans())
def test_what_the_capture_had_is_told_for_each(rows, lean):
    found = expected_outcomes(arm(rows, lean=lean).observations)
    wanted = [str(expected_outcome(row["expected_status"], row["expected_shape"])) for row in rows]
    assert [OUTCOMES[place] for place in found] == wanted


def test_the_first_of_a_repeated_request_counts():
    steps, control = (pd.DataFrame({"request": numbers}) for numbers in ([0, 1, 1, 4], [4, 1, 4, 0]))
    assert [rows.tolist() for rows in paired(steps, control)] == [[0, 1, 3], [3, 1, 0]]


@pytest.mark.parametrize("order", [1, -1])
def test_a_run_is_judged_alike_however_its_evidence_is_read(tmp_path: Path, order: int):
    """Whole or lean, in memory or from files; and in whatever order categories and arms come."""
    planted = incident()
    planted.steps.loc[planted.steps.index[::50], "shape"] = "{id:text}"
    evidence = simulate.evidence(*[planted, qa()][::order])
    run = simulate.write(evidence, tmp_path / "run")
    lean, whole = judge(read_run(run, COLUMNS)), judge(read_run(run))
    assert lean.to_json() == whole.to_json()
    assert lean.verdict == judge(evidence).verdict == "NO_GO"


def test_the_phases_of_pairs_are_in_the_order_of_time():
    rows = [{**row, "request": n} for n, row in enumerate([_plain(1.0), _plain(11.0), _plain(14.0), _plain(16.0)])]
    phases = pair(arm(rows, lean=False), arm(rows, lean=False), SPANS)["phase"]
    assert phases.tolist() == phase_order(SPANS)[:4]
    assert phases.cat.categories.tolist() == phase_order(SPANS)


def _plain(due_s: float) -> dict[str, object]:
    return {
        **dict.fromkeys(COLUMNS),
        "endpoint": "GET /a",
        "due_s": due_s,
        "waited_s": 0.0,
        "outcome": "ok",
        "visit": 0,
    }
