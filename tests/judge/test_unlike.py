"""Answers that are well by themselves and are nothing like the captured ones."""

import pandas as pd
import pytest
import simulate
from incident import EVENTS, incident, production, qa

from replay.judge.trust.unlike import unlike
from replay.judge.verdict import judge

THING, LIST = "{id:number,name:str}", "[{id:number}]"


@pytest.mark.parametrize(
    ("status", "shape", "expected_status", "expected_shape", "told"),
    [
        (200, THING, 200, THING, False),
        (302, "empty", 200, THING, True),
        (200, "text/html", 302, "empty", True),
        (302, "empty", 303, None, False),
        (304, "empty", 200, THING, False),
        (200, THING, 304, "empty", False),
        (201, THING, 200, THING, False),
        (200, "text/html", 200, THING, True),
        (200, THING, 200, "text/html", True),
        (200, "text/html", 200, "text/csv", True),
        (200, "text/plain", 200, "application/pdf", False),
        (200, LIST, 200, THING, True),
        (200, "{error:str}", 200, THING, True),
        (200, "{error:str,id:number}", 200, THING, False),
        (200, "{data:{id:number,name:str},meta:{next:null}}", 200, "{id:number,name:str}", True),
        (200, "{data:[{id:number}],name:str}", 200, THING, False),
        (200, "{a:str,b:{c~00112233aabb", 200, "{b:str,c:number}", False),
        (200, "null", 200, THING, True),
        (200, "str", 200, "number", False),
        (200, THING, 200, None, False),
        (200, None, 200, THING, False),
        (200, "unknown", 200, THING, False),
        (500, "text/html", 200, THING, False),
        (404, "text/html", 200, THING, False),
        (200, THING, 404, "text/html", False),
        (None, None, 200, THING, False),
        (200, "text/html", None, None, False),
    ],
)
def test_what_is_unlike(status, shape, expected_status, expected_shape, told) -> None:
    row = {"status": status, "shape": shape, "expected_status": expected_status, "expected_shape": expected_shape}
    other = {"status": 200, "shape": THING, "expected_status": 200, "expected_shape": THING}
    assert unlike(pd.DataFrame([other, row, other])).tolist() == [False, told, False]


@pytest.mark.parametrize(
    ("status", "shape"), [(302, "empty"), (200, "text/html"), (200, "{error:str}"), (302, "text/html")]
)
@pytest.mark.parametrize("endpoint", [None, EVENTS])
def test_a_login_in_every_arm_proves_nothing(status, shape, endpoint) -> None:
    """An application with cookies sends whom it does not know to its login, and refuses nobody."""
    planted, other = incident(), qa()
    for one in (planted, other):
        for frame in (one.control, one.steps):
            mine = frame["outcome"] == "ok"
            if endpoint is not None:
                mine &= frame["endpoint"] == endpoint
            frame["status"] = frame["status"].astype("float64")
            frame.loc[mine, ["status", "shape"]] = [float(status), shape]
    verdict = judge(simulate.evidence(planted, other))
    assert verdict.verdict == "INCONCLUSIVE"
    (wrong,) = [
        check
        for check in verdict.checks
        if check.name == "control_agreement" and check.workload == "production" and not check.passed
    ]
    assert "login page" in wrong.sentence


def test_a_few_answers_of_another_kind_are_put_up_with() -> None:
    planted = production()
    for frame in (planted.control, planted.steps):
        hit = frame["request"] % 50 == 0
        frame.loc[hit, "shape"] = "text/html"
    assert judge(simulate.evidence(planted, qa())).verdict == "GO"
