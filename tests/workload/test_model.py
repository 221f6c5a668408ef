import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from replay.capture.store import CaptureWriter
from replay.errors import InputError
from replay.workload.model import model_workload, read_workload


def test_nothing(recording: Any) -> None:
    workload = model_workload(recording.exchanges, name="empty")
    assert (workload.start, workload.duration_s, workload.visits, workload.mix()) == (None, 0.0, (), ())
    assert workload.to_json()["exchanges"] == 0


def test_one_exchange(recording: Any) -> None:
    recording.add(5, "GET /v1/events/55", answer={"id": 55}, took_s=0.25)
    workload = model_workload(recording.exchanges)
    assert workload.duration_s == 0.25
    assert workload.after == (None,)
    assert workload.shapes == ("{id:number}",)


def test_the_order_is_that_of_time(recording: Any) -> None:
    for number in range(20):
        recording.add(number * 0.5, f"GET /v1/events/{number}")
    mixed = [*recording.exchanges[::-2], *recording.exchanges[::2]]
    assert model_workload(mixed).exchanges == tuple(recording.exchanges)


def test_clocks_that_stand_still_or_run_backwards(recording: Any) -> None:
    for _ in range(3):
        recording.add(1, "GET /v1/events", took_s=-4)
    late = dataclasses.replace(recording.exchanges[0], at=recording.exchanges[0].at - timedelta(hours=2))
    workload = model_workload([*recording.exchanges, late])
    assert workload.starts_s == (0.0, 7200.0, 7200.0, 7200.0)
    assert workload.duration_s == 7200.0
    assert [visit.exchanges for visit in workload.visits] == [(0,), (1, 2, 3)]


def test_a_capture_without_bodies_or_answers(recording: Any) -> None:
    recording.add(0, "GET /v1/events", status=0)
    recording.add(1, "GET /v1/events")
    bare = dataclasses.replace(recording.exchanges[1].response, body=None)
    workload = model_workload([recording.exchanges[0], dataclasses.replace(recording.exchanges[1], response=bare)])
    assert workload.shapes == (None, None)
    assert workload.to_json()["endpoints"][0]["statuses"] == {"200": 1, "none": 1}


def test_the_model_as_json(recording: Any) -> None:
    form = {"client_id": "crm", "client_secret": "hidden-for-crm"}
    recording.add(0, "POST /oauth/token", form=form, answer={"access_token": "tokenA11"})
    recording.add(1, "GET /v1/events/55", bearer="tokenA11", answer={"id": 55})
    recording.add(2, "GET /v1/events/56", bearer="tokenA11")
    recording.add(3, "DELETE /v1/events/56", bearer="tokenA11", status=204)
    model = model_workload(recording.exchanges, name="production", environment="production").to_json(role="production")
    assert model["name"] == model["role"] == model["environment"] == "production"
    assert (model["exchanges"], model["clients"], model["visits"]) == (4, 1, 1)
    assert model["duration_s"] == pytest.approx(3.1)
    assert model["endpoints"][0] == {
        "endpoint": "GET /v1/events/{event_id}",
        "count": 2,
        "share": 0.5,
        "statuses": {"200": 2},
        "empty_share": 0.5,
    }
    assert model["endpoints"][1]["empty_share"] == 0.0
    assert {link["count"] for link in model["correlations"]} == {1, 2}
    assert model["credentials"] == [{"client": "crm", "columns": ["client_secret"]}]
    assert "hidden" not in json.dumps(model)


def test_a_capture_is_read(recording: Any, tmp_path: Path) -> None:
    recording.add(0, "GET /v1/events")
    with CaptureWriter(tmp_path / "qa", environment="qa", scrubber=None) as writer:
        writer.add(recording.exchanges[0])
    workload = read_workload(tmp_path / "qa")
    assert (workload.name, workload.environment, len(workload.exchanges)) == ("qa", "qa", 1)


def test_a_capture_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_workload(tmp_path / "nowhere")
