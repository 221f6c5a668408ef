"""What is on disk while a live capture grows, and what becomes of it at the close."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from replay.capture.pseudonyms import Key
from replay.capture.repair import BROKE_OFF
from replay.capture.scrub import Scrubber
from replay.capture.store import CaptureWriter, open_capture, read_exchanges, read_manifest, repair_capture
from replay.traffic import Exchange, Request, Response

AT = datetime(2026, 3, 1, 8, tzinfo=UTC)
JSON = (("content-type", "application/json"),)
KEY = Key(b"k" * 32)
UUID = "3f8b2c1d-9a47-4e02-b6d5-0c9e8f7a6b51"


def token(seed: int) -> str:
    digest = hashlib.blake2b(b"%d" % seed, digest_size=21).digest()
    return base64.b64encode(digest, altchars=b"xY").decode()


def handing_out(number: int, secret: str) -> Exchange:
    """A response that hands out a secret under a name that does not say so, beside an id that is none."""
    body = json.dumps({"t": secret, "id": UUID, "n": number}).encode()
    request = Request("POST", "api.example.com", f"/sessions/{number}/{UUID}")
    return Exchange(AT + timedelta(seconds=number), 0.1, "c", "k", request, Response(200, JSON, body, len(body)))


def sending_back(number: int, secret: str) -> Exchange:
    request = Request("GET", "api.example.com", "/me", headers=(("Authorization", f"Bearer {secret}"),))
    return Exchange(AT + timedelta(seconds=number), 0.1, "c", "k", request, Response(200, JSON, b"{}", 2))


def held(folder: Path) -> Iterator[bytes]:
    """Every byte on disk, Parquet decoded too. Files come and go meanwhile."""
    for file in sorted(folder.rglob("*")):
        try:
            if file.is_file():
                yield file.read_bytes()
            if file.suffix == ".parquet" and not file.name.startswith("."):
                yield repr(pq.ParquetFile(file).read().to_pylist()).encode()
        except OSError:
            continue


def live(path: Path) -> CaptureWriter:
    return CaptureWriter(path, environment="stage", scrubber=Scrubber(KEY), live=True)


def test_a_secret_that_shows_itself_late_is_never_on_disk_and_what_is_none_comes_back(tmp_path):
    secrets = [token(seed) for seed in range(5)]
    found: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            found.extend(secret for data in held(tmp_path) for secret in secrets if secret.encode() in data)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with live(tmp_path / "a") as writer:
            for number, secret in enumerate(secrets):
                writer.add(handing_out(number, secret), "proxy")
                writer.flush()
            assert list((tmp_path / "a" / "exchanges").glob("*.sealed"))
            meanwhile = list(read_exchanges(tmp_path / "a", repair=True))
            for number, secret in enumerate(secrets):
                writer.add(sending_back(10 + number, secret), "proxy")
            writer.flush()
    finally:
        ended.set()
        watcher.join()
    assert found == []
    assert len(meanwhile) == 5
    assert not list(tmp_path.rglob("*.sealed"))
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"capture.json", "exchanges", "skipped.jsonl"}
    capture = open_capture(tmp_path / "a")
    exchanges = list(capture.exchanges())
    assert not [secret for secret in secrets if secret in repr(exchanges)]
    for number, one in enumerate(exchanges[:5]):
        answer = json.loads(one.response.body)
        assert one.request.path == f"/sessions/{number}/{UUID}"
        assert (answer["id"], answer["n"]) == (UUID, number)
        # The same pseudonym where it was handed out and where it was sent back, so that replay finds the link.
        assert exchanges[5 + number].request.header("authorization") == f"Bearer {answer['t']}"
    manifest = capture.manifest
    assert (manifest.exchanges, manifest.notes, manifest.sources[0].kept) == (10, (), 10)
    assert manifest.scrubbing.counts


def test_the_same_as_two_passes_over_a_file(tmp_path):
    exchanges = [
        handing_out(1, token(1)),
        sending_back(2, token(1)),
        handing_out(3, token(2)),
        sending_back(4, "x" * 9),
    ]
    with live(tmp_path / "live") as writer:
        for one in exchanges:
            writer.add(one, "proxy")
            writer.flush()
    scrubber = Scrubber(KEY)
    for one in exchanges:
        scrubber.learn(one)
    with CaptureWriter(tmp_path / "file", environment="stage", scrubber=scrubber) as writer:
        for one in exchanges:
            writer.add(one, "proxy")
    one, other = open_capture(tmp_path / "live"), open_capture(tmp_path / "file")
    assert list(one.exchanges()) == list(other.exchanges())
    assert one.digest() == other.digest()
    assert one.manifest.scrubbing == other.manifest.scrubbing


def test_after_a_crash_what_was_not_judged_stays_a_pseudonym_and_the_manifest_says_so(tmp_path):
    writer = live(tmp_path / "a")
    writer.add(handing_out(1, token(1)), "proxy")
    writer.flush()
    writer.add(sending_back(2, token(2)), "proxy")
    writer.flush()
    writer._lock.close()  # as the end of its process would
    manifest = read_manifest(tmp_path / "a", repair=True)
    assert (*manifest.notes, BROKE_OFF) == repair_capture(tmp_path / "a").notes
    assert manifest.notes[0].startswith("In 1 exchange, values stayed pseudonyms,")
    assert not list(tmp_path.rglob("*.sealed"))
    saved = list(open_capture(tmp_path / "a").exchanges())
    assert len(saved) == 2
    assert token(1) not in repr(saved)
    assert open_capture(tmp_path / "a").manifest.notes == (*manifest.notes, BROKE_OFF)


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_what_was_sealed_and_cannot_be_opened_stays_a_pseudonym(damage, tmp_path):
    with live(tmp_path / "a") as writer:
        writer.add(handing_out(1, token(1)), "proxy")
        writer.flush()
        (sealed,) = (tmp_path / "a" / "exchanges").glob("*.sealed")
        if damage == "gone":
            sealed.unlink()
        else:
            sealed.write_bytes(sealed.read_bytes()[:-1] + b"?")
    (one,) = open_capture(tmp_path / "a").exchanges()
    assert token(1) not in repr(one)


def test_what_is_lacking_is_told(tmp_path):
    with live(tmp_path / "a") as writer:
        writer.set_lacking({"the disk was full": 3})
        writer.set_lacking({"the disk was full": 1200, "the writer fell behind": 0})
    assert read_manifest(tmp_path / "a").notes == ("Not written, the disk was full: 1,200 exchanges.",)


def test_what_could_not_be_written_is_written_later(tmp_path):
    exchanges = tmp_path / "a" / "exchanges"
    with live(tmp_path / "a") as writer:
        exchanges.rename(tmp_path / "away")
        writer.add(handing_out(1, token(1)), "proxy")
        with pytest.raises(OSError, match="No such file"):
            writer.flush()
        writer.add(handing_out(2, token(2)), "proxy")
        assert writer.waiting == 2
        (tmp_path / "away").rename(exchanges)
        writer.flush()
        assert writer.waiting == 0
    assert [one.request.path for one in open_capture(tmp_path / "a").exchanges()] == [
        f"/sessions/1/{UUID}",
        f"/sessions/2/{UUID}",
    ]
