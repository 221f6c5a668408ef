import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from replay.errors import InputError
from replay.evidence.files import ArmFolder
from replay.scenario.identities import read_identities
from replay.scenario.runtime.carried import CarriedValues, Missing
from replay.scenario.runtime.recorder import Recorder, scrubbed, unsent
from replay.scenario.schedule import Extract, Inject, PlannedRequest
from replay.traffic import Response

Plan = Callable[..., PlannedRequest]


def test_each_request_is_recorded_once_and_what_is_left_is_unsent(planned: Plan, tmp_path: Path) -> None:
    requests = [planned(i) for i in range(3)]
    recorder = Recorder(ArmFolder(tmp_path), "w", requests)
    assert recorder.record(unsent(requests[1], "w", "no credential"))
    assert not recorder.record(unsent(requests[1], "w", "again"))
    assert not recorder.close("interrupted")
    rows = pq.read_table(tmp_path / "observations").to_pylist()
    assert sorted((row["request"], row["error"]) for row in rows) == [
        (0, "interrupted"),
        (1, "no credential"),
        (2, "interrupted"),
    ]
    summary = json.loads((tmp_path / "replay-w.json").read_text())
    assert (summary["planned"], summary["observed"], summary["complete"]) == (3, 3, False)


def test_samples_are_few_and_scrubbed(planned: Plan, tmp_path: Path) -> None:
    recorder = Recorder(ArmFolder(tmp_path), "w", [])
    observation = unsent(planned(0), "w", "e")
    for _ in range(5):
        recorder.sample(observation, b'{"access_token": "abc", "note": "s3cr3t" }' + b"x" * 5000, frozenset({"s3cr3t"}))
    lines = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 3
    body = json.loads(lines[0])["body"]
    assert body.startswith('{"access_token": "[secret]", "note": "[secret]" }')
    assert len(body) == 2048


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('{"Password" : "a\\"b", "x": 1}', '{"Password" : "[secret]", "x": 1}'),
        ('{"api_key":"cut off in the mid', '{"api_key":"[secret]"'),
        ("Authorization: Bearer ab.c-d", "Authorization: Bearer [secret]"),
        ("it's \u00fcber", "it's [secret]"),
        (json.dumps("it's \u00fcber"), '"it\'s [secret]"'),
    ],
)
def test_scrubbing(text: str, clean: str) -> None:
    assert scrubbed(text, frozenset({"\u00fcber"})) == clean


def test_values_are_known_by_the_request_that_handed_them_out(planned: Plan) -> None:
    carried = CarriedValues({}, {})
    first, second = (planned(i, extracts=(Extract("json:/id", "7"),)) for i in range(2))
    carried.answered(first, Response(200, (), b'{"id": 70}'))
    carried.answered(second, Response(200, (), b'{"id": 71}'))
    origin_0, origin_1 = Inject("path", "7", 0), Inject("query:id", "7", 1)
    assert carried.needed(planned(2, injects=(origin_0, origin_1))) == {origin_0: "70", origin_1: "71"}


def test_an_expected_refusal_may_hand_out_a_value(planned: Plan) -> None:
    carried = CarriedValues({}, {})
    challenge = planned(0, extracts=(Extract("header:x-nonce", "n"),), expected_status=401)
    carried.answered(challenge, Response(401, (("X-Nonce", "m"),), b""))
    assert carried.needed(planned(1, injects=(Inject("header:x", "n", 0),))) == {Inject("header:x", "n", 0): "m"}


def test_a_failure_is_followed_to_its_root(planned: Plan) -> None:
    carried = CarriedValues({"c1": {"key": "v"}}, {})
    origin = planned(3, extracts=(Extract("json:/id", "7"),))
    carried.failed(origin, "it was not sent", 1)
    assert carried.needed(planned(4, injects=(Inject("path", "7", 3),))) == Missing(
        "no value from request 3 (it was not sent)", 1
    )
    assert carried.needed(planned(5, injects=(Inject("path", "7", None, "other"),))) == Missing(
        "no credential 'other' for client c1", None
    )


def test_identities_are_read_by_client(tmp_path: Path) -> None:
    file = tmp_path / "clients.csv"
    file.touch(mode=0o600)
    file.write_text("\ufeffclient,client_secret,bearer\nc1,s,\n", encoding="utf-8")
    assert read_identities(file) == {"c1": {"client_secret": "s"}}


@pytest.mark.parametrize("text", ["", "name,secret\na,b\n", "client,x\nc,1\nc,2\n"])
def test_an_identities_file_must_be_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "clients.csv"
    file.touch(mode=0o600)
    file.write_text(text)
    with pytest.raises(InputError, match=r"clients\.csv"):
        read_identities(file)
