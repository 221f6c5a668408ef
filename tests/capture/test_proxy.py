import base64
import gzip
import http.client
import json
import re
import signal
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from replay.capture.store import open_capture, read_exchanges, read_manifest, repair_capture
from replay.errors import InputError
from replay.traffic import Exchange


def ask(connection: http.client.HTTPConnection, method: str, path: str, **more: object) -> tuple[int, bytes]:
    connection.request(method, path, **more)
    response = connection.getresponse()
    return response.status, response.read()


def by_path(out: Path) -> dict[str, Exchange]:
    return {exchange.request.path: exchange for exchange in open_capture(out).exchanges()}


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def test_what_passed_is_in_the_capture(api, start_capture):
    recorder = start_capture(api.url, "--environment", "Pre-Production", "--name", "qa")
    connection = recorder.connection()
    assert ask(connection, "GET", "/v2/events/41?sort=-starts_at&q=a%20b") == (
        200,
        b'{"path": "/v2/events/41?sort=-starts_at&q=a%20b"}',
    )
    assert ask(connection, "GET", "/chunked") == (200, b'{"items":[1,2,3]}')
    assert gzip.decompress(ask(connection, "GET", "/gzip")[1]) == b'{"zipped": true}'
    assert ask(connection, "GET", "/fails")[0] == 500
    body = b'{"name":  "Open Day", "price": 12.50}'
    assert ask(connection, "POST", "/v2/events", body=body, headers={"Content-Type": "application/json"}) == (201, body)
    zipped = gzip.compress(b'{"from": "a zip"}')
    ask(connection, "POST", "/zipped", body=zipped, headers={"Content-Encoding": "gzip"})
    other = recorder.connection()
    ask(other, "POST", "/form", body=urlencode({"name": "Open Day", "seats": 3}), headers={"User-Agent": "b"})
    code, said = recorder.end()
    assert (code, "7 exchanges" in said) == (0, True)

    capture = open_capture(recorder.out)
    manifest = capture.manifest
    assert (manifest.name, manifest.environment, manifest.state) == ("qa", "pre-production", "complete")
    assert manifest.hosts == (f"127.0.0.1:{api.server_port}",)
    assert [(source.read, source.kept, source.skipped) for source in manifest.sources] == [(7, 7, {})]
    assert (manifest.exchanges, manifest.scrubbing.on) == (7, True)

    exchanges = list(capture.exchanges())
    assert [exchange.at for exchange in exchanges] == sorted(exchange.at for exchange in exchanges)
    seen = by_path(recorder.out)
    event = seen["/v2/events/41"]
    assert event.request.query == "sort=-starts_at&q=a%20b"
    assert event.request.body is None
    assert event.response.status == 200
    assert 0 < event.duration_s < 20
    assert event.client.startswith("address-")
    assert seen["/chunked"].response.body == b'{"items":[1,2,3]}'
    assert seen["/gzip"].response.body == b'{"zipped": true}'
    assert seen["/gzip"].response.size_bytes == len(gzip.compress(b'{"zipped": true}'))
    assert seen["/fails"].response.status == 500
    assert seen["/v2/events"].request.body == body
    assert seen["/v2/events"].request.header("content-type") == "application/json"
    assert seen["/zipped"].request.body == b'{"from": "a zip"}'
    assert seen["/zipped"].request.header("content-encoding") is None
    assert seen["/form"].request.body == b"name=Open+Day&seats=3"
    assert seen["/form"].connection != event.connection
    assert {exchange.connection for path, exchange in seen.items() if path != "/form"} == {event.connection}
    assert seen["/form"].client != event.client


def test_what_went_wrong_is_in_the_capture_too(api, start_capture):
    recorder = start_capture(api.url)
    assert ask(recorder.connection(), "GET", "/large")[1] == b"x" * 3_000_000
    assert ask(recorder.connection(), "GET", "/unknown-encoding") == (200, b"token=unreadable-s3cret")
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(recorder.connection(), "GET", "/breaks-off")
    waiting = recorder.connection()
    waiting.request("GET", "/slow?token=n0t-answered-yet")
    impatient = recorder.connection()
    impatient.request("GET", "/slow?given=up")
    time.sleep(0.5)
    impatient.close()
    time.sleep(0.5)
    api.server_close()  # new connections are refused
    status, page = ask(recorder.connection(), "GET", "/after-the-end")
    assert status == 502
    assert b"Bad Gateway" in page
    code, said = recorder.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in said
    assert "skipped 1: had no answer yet" in said

    manifest = read_manifest(recorder.out)
    assert manifest.bodies_not_kept == {
        "larger than 2000000 bytes": 1,
        "in an encoding that cannot be decoded": 1,
    }
    assert [(s.read, s.kept, s.skipped) for s in manifest.sources] == [
        (6, 5, {"had no answer yet when the recording ended": 1})
    ]
    seen = by_path(recorder.out)
    assert (seen["/large"].response.body, seen["/large"].response.size_bytes) == (None, 3_000_000)
    assert seen["/unknown-encoding"].response.body is None
    assert seen["/breaks-off"].response is None
    assert "without sending complete message body" in seen["/breaks-off"].error
    assert (seen["/slow"].response, seen["/slow"].error) == (None, "Client disconnected.")
    assert seen["/after-the-end"].response is None
    # Whether the closed port refuses, or ends a connection that it had still taken, is the operating system's to say.
    assert re.search("Connect|closed", seen["/after-the-end"].error)
    assert b"unreadable-s3cret" not in everything_in(recorder.out)
    assert b"n0t-answered-yet" not in everything_in(recorder.out)


def test_secrets_never_reach_the_disk_and_stay_linked(api, start_capture, tmp_path):
    secrets = {
        "client_secret": "cs_R4nd0mClientSecret77",
        "token": "tok_9f8A7b6C5d4E3f2G1h0J",
        "password": "Tr0ub4dor&3",
    }
    api.tokens["client-7"] = secrets["token"]
    key = tmp_path / "keys.txt"
    recorder = start_capture(api.url, "--scrub-key", str(key))
    connection = recorder.connection()
    form = {"grant_type": "client_credentials", "client_id": "client-7", "client_secret": secrets["client_secret"]}
    ask(connection, "POST", "/oauth/token", body=urlencode(form))
    ask(connection, "GET", "/v2/events", headers={"Authorization": f"Bearer {secrets['token']}"})
    ask(connection, "POST", "/oauth/refresh", body=f"refresh_token={secrets['token']}")
    basic = base64.b64encode(f"ada:{secrets['password']}".encode()).decode()
    ask(connection, "GET", "/basic", headers={"Authorization": f"Basic {basic}"})
    time.sleep(1.5)  # the growing capture must not hold them either
    growing = everything_in(recorder.out)
    assert recorder.end()[0] == 0

    for held in (growing, everything_in(recorder.out)):
        assert b"/oauth" in held or b"exchanges" in held
        for secret in [*secrets.values(), basic]:
            assert secret.encode() not in held
    seen = by_path(recorder.out)
    handed_out = json.loads(seen["/oauth/token"].response.body)["access_token"]
    assert handed_out.startswith("tok_")
    assert seen["/v2/events"].request.header("authorization") == f"Bearer {handed_out}"
    assert seen["/oauth/refresh"].request.body == f"refresh_token={handed_out}".encode()
    assert b"client_id=client-7" in seen["/oauth/token"].request.body
    assert [seen[path].client.partition("-")[0] for path in ("/oauth/token", "/v2/events", "/basic")] == [
        "address",
        "token",
        "user",
    ]
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().strip().encode() not in everything_in(recorder.out)
    assert read_manifest(recorder.out).scrubbing.key_id


def test_scrubbing_can_be_turned_off(api, start_capture):
    recorder = start_capture(api.url, "--scrub", "off")
    ask(recorder.connection(), "GET", "/v2/events", headers={"Authorization": "Bearer tok_9f8A7b6C5d4E3f2G1h0J"})
    recorder.end()
    assert by_path(recorder.out)["/v2/events"].request.header("authorization") == "Bearer tok_9f8A7b6C5d4E3f2G1h0J"
    assert not read_manifest(recorder.out).scrubbing.on


@pytest.mark.slow
def test_a_killed_recording_keeps_all_but_its_last_second(api, start_capture):
    recorder = start_capture(api.url)
    connection = recorder.connection()
    for number in range(5):
        ask(connection, "GET", f"/v2/events/{number}")
    deadline = time.monotonic() + 20
    while not list((recorder.out / "exchanges").glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(InputError, match="is still being recorded"):
        open_capture(recorder.out)
    time.sleep(1.5)
    assert recorder.end(signal.SIGKILL)[0] == -signal.SIGKILL

    with pytest.raises(InputError, match="half written") as refused:
        open_capture(recorder.out)
    assert f"replay inspect {recorder.out}" in refused.value.hint
    with pytest.raises(InputError):
        read_exchanges(recorder.out)
    paths = [f"/v2/events/{number}" for number in range(5)]
    assert [exchange.request.path for exchange in read_exchanges(recorder.out, repair=True)] == paths
    repaired = repair_capture(recorder.out)
    assert (repaired.state, repaired.exchanges, repaired.sources[0].kept) == ("complete", 5, 5)
    assert [exchange.request.path for exchange in open_capture(recorder.out).exchanges()] == paths
