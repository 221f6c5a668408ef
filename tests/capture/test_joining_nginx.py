"""A real nginx with the configuration of docs/capturing.md: what its mirror sent, joined with what it logged."""

import secrets
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from import_parts import capture_of, combined, exchange, write
from measured import measured
from test_mirror import send_through, start_mirror, start_nginx  # noqa: F401 - two of them are fixtures

from replay.capture.store import open_capture


def test_every_request_gets_its_answer(start_mirror, start_nginx, api, tmp_path):  # noqa: F811 - the fixtures
    key = tmp_path / "scrub.key"
    recorder = start_mirror("--scrub-key", str(key))
    port, nginx = start_nginx(api.server_port, recorder.port)
    sent = {
        f"127.0.0.{client}": {
            f"/v2/events/{number % 3}?password=hush-Hush-42x{client}": secrets.token_bytes(100 * (number % 2) + 1)
            for number in range(3)
        }
        | {f"/v2/{client}/9fGh7Jk2Lm4Np6Qr8St0Vw3Xy5Za": b""}
        for client in range(2, 8)
    }
    with ThreadPoolExecutor(len(sent)) as clients:
        list(clients.map(lambda address: send_through(port, address, sent[address]), sent))
    nginx.send_signal(signal.SIGQUIT)  # what is under way is ended, and logged
    nginx.wait(20)
    assert recorder.end()[0] == 0

    done = measured("import", recorder.out, tmp_path / "access.log", "--scrub-key", key, "--out", tmp_path / "out")
    assert done.code == 0, done.said
    count = sum(map(len, sent.values()))
    assert f"{count} of the mirror's {count} requests (100.0%) were joined" in done.said
    assert f": {count} by X-Request-Id, 0 by time" in done.said
    capture = open_capture(tmp_path / "out")
    exchanges = list(capture.exchanges())
    assert len(exchanges) == count
    for one in exchanges:
        assert one.response
        assert one.response.status == (201 if one.request.method == "POST" else 200)
        assert one.response.size_bytes > 0
        assert 0 <= one.duration_s < 20
        assert "hush" not in repr(one)
    left_out = {Path(one.name).name: (one.kept, sum(one.left_out.values())) for one in capture.manifest.sources}
    assert left_out["access.log"] == (0, count)


@pytest.mark.slow
def test_many_requests_are_joined_in_little_memory(tmp_path):
    count = 200_000
    agent = (("User-Agent", "one/1"),)
    path = capture_of(
        tmp_path / "m",
        (exchange(n / 500, f"/v2/{n % 3000}", agent, status=None) for n in range(count)),
        source="mirror",
        environment="production",
    )
    log = write(tmp_path / "a.log", (combined(n // 500, f"/v2/{n % 3000}") for n in range(count)))
    done = measured("import", path, log, "--out", tmp_path / "out")
    assert done.code == 0, done.said
    assert "200,000 of the mirror's 200,000 requests (100.0%)" in done.said
    assert done.peak_mib < 600
