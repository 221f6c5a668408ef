"""HARs that other people's programs wrote, each file accounted for entry by entry."""

import json
from collections import Counter
from pathlib import Path

from replay.capture.inputs import Input
from replay.capture.sources.har import Har
from replay.capture.sources.har_entry import FROM_CACHE, NO_TIME
from replay.capture.sources.http_message import WEBSOCKET
from replay.capture.sources.source import ReadOptions, Record
from replay.errors import InputError
from replay.traffic import Skipped


def entries_of(file: Path) -> list[object] | None:
    """What the standard library finds in the file; None where it is no HAR."""
    try:
        document = json.loads(file.read_bytes())
    except ValueError:
        return None
    log = document.get("log") if isinstance(document, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    return entries if isinstance(entries, list) else None


def read(file: Path) -> list[Record | Skipped]:
    return list(Har().read(Input(file.name, file), ReadOptions()))


def files(shared_data: Path) -> list[Path]:
    found = sorted(path for folder in ("har", "har_k6") for path in (shared_data / folder).iterdir())
    assert len(found) > 100
    return found


def test_every_file_is_read_whole_or_refused_with_a_sentence(shared_data: Path) -> None:
    refused = []
    for file in files(shared_data):
        entries = entries_of(file)
        try:
            items = read(file)
        except InputError as error:
            refused.append((entries, error.message))
            continue
        assert entries is not None, file
        assert len(items) == len(entries), file
        assert Har().likeness(Input(file.name, file).head) >= 0.9, file
    assert 5 <= len(refused) <= 20
    assert all(entries is None and " cannot be read as a HAR: " in message for entries, message in refused)


def test_every_exchange_is_what_its_entry_says(shared_data: Path) -> None:
    for file in files(shared_data):
        entries = entries_of(file)
        for entry, item in zip(entries or (), read(file) if entries else (), strict=True):
            if isinstance(item, Skipped):
                continue
            request, response = item.exchange.request, item.exchange.response
            url, _, _ = entry["request"]["url"].partition("#")
            assert request.method == entry["request"]["method"]
            assert not request.query or url.endswith(f"?{request.query}")
            assert request.path in {url.partition("?")[0][-len(request.path) :], "/"}
            assert url.startswith("/") or request.host.partition(":")[0] in url.lower()
            if response is None:
                assert entry.get("response", {"status": 0})["status"] == 0
                continue
            content = entry["response"]["content"]
            assert response.status == entry["response"]["status"]
            if response.body and content.get("encoding") != "base64":
                kind = "latin-1" if "8859-1" in content.get("mimeType", "").lower() else "utf-8"
                assert content["text"] == response.body.decode(kind)
            assert item.exchange.duration_s >= 0


def test_what_is_skipped_has_few_reasons(shared_data: Path) -> None:
    reasons: Counter[str] = Counter()
    kept = 0
    for file in files(shared_data):
        if entries_of(file) is not None:
            items = read(file)
            kept += sum(isinstance(item, Record) for item in items)
            reasons.update(item.reason for item in items if isinstance(item, Skipped))
    assert kept > 2_000
    assert reasons[FROM_CACHE] > 100
    assert reasons[NO_TIME] > 100  # what is written by hand for converters has no times
    assert reasons[WEBSOCKET] == 3
    assert len(reasons) < 12
