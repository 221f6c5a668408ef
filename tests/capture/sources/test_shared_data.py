"""Every capture of other people's programs is imported whole, record by record, or refused with a sentence.

How many records a file has is counted here without any of our readers.
"""

import gzip
import io
import json
from pathlib import Path

import pytest
from mitmproxy.exceptions import FlowReadException
from mitmproxy.io import FlowReader

from replay.capture.importing import Importing, import_files, try_import
from replay.capture.inputs import input_of
from replay.capture.sources import find_source
from replay.capture.sources.source import ReadOptions, Record
from replay.capture.store import open_capture, read_skipped
from replay.errors import InputError

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data"
FILES = sorted(str(file.relative_to(FOLDER)) for file in FOLDER.glob("*/*"))

# What is no HTTP traffic, or of what is none left: by a part of the file's name, and of what is said of it.
REFUSED = {
    "access/crowdsec_http-magento-bf.log": "in no format that is known",  # messages of an application
    "access/crowdsec_litespeed-logs.log": "in no format that is known",  # an error log
    "access/lnav_logfile_bro_http.log.0": "in no format that is known",  # Zeek's, of a network
    "access/lnav_logfile_crlf.0": "in no format that is known",  # an error log
    "access/lnav_logfile_invalid_utf8.0": "in no format that is known",  # no log of requests
    "har/haralyzer_single_entry.har": "the time cannot be read (1)",  # an entry by itself, whose time has no date
    "har/harvalidator_invalid.har": "it has no log",
    "har/harviewer_not-json.har": "it is no valid JSON",
    "har/mitmproxy_broken_headers.har": "in no format that is known",
    "har/mitmproxy_brokenfile.har": "in no format that is known",
    "har/mitmproxy_har_extractor.har": "it has no log",
    # requests alone, without a HAR around them
    "har_k6/httpsnippet_cookies": "in no format that is known",
    "har_k6/httpsnippet_full": "in no format that is known",
    "har_k6/httpsnippet_multipart-data": "in no format that is known",
    "har_k6/httpsnippet_multipart-file": "in no format that is known",
    "har_k6/httpsnippet_multipart-form-data.request": "in no format that is known",
    "har_k6/k6_page.har": "its log has no entries",
    "haproxy/beats_haproxy_log_default.log": "in no format that is known",  # connections, no requests
    "haproxy/beats_haproxy_log_tcplog.log": "in no format that is known",  # connections, no requests
    "iis/crowdsec_iis-xml-logs.log": "is XML, as Windows exports events",
    "iis/lnav_logfile_w3c.5": "in no format that is known",  # its lines have other fields than it says
    "json_access/lnav_logfile_ecs_log.json": "an event that is no request (5)",
    "traefik/crowdsec_tcpudp-flood-traefik.log": "in no format that is known",  # messages of Traefik itself
}


def contents(name: str) -> bytes:
    data = (FOLDER / name).read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def flows_in(data: bytes) -> int:
    count = 0
    try:
        for _ in FlowReader(io.BytesIO(data)).stream():
            count += 1
    except FlowReadException:
        count += 1  # what is damaged is one record more
    return count


def records_in(name: str) -> int:
    data, folder = contents(name), name.partition("/")[0]
    if folder in {"har", "har_k6"}:
        return len(json.loads(data.decode("utf-8-sig"))["log"]["entries"])
    if folder == "mitm":
        return flows_in(data)
    if folder == "gor":
        return sum(record.startswith(b"1 ") for record in data.split("\n🐵🙈🙉\n".encode()))
    lines = [line for line in data.split(b"\n") if line.strip()]
    return sum(not line.startswith(b"#") for line in lines)


def test_there_is_data(shared_data):
    assert len(FILES) > 150
    assert {name for name in REFUSED if not any(file.startswith(name) for file in FILES)} == set()
    assert shared_data == FOLDER


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_imported_whole_or_refused(name, tmp_path):
    out = tmp_path / "capture"
    why = next((why for part, why in REFUSED.items() if name.startswith(part)), None)
    if why:
        with pytest.raises(InputError) as refused:
            import_files(Importing((input_of(FOLDER / name),)), out)
        assert why in refused.value.message
        assert refused.value.message.endswith(".")
        assert not out.exists()
        return
    (tally,) = try_import(Importing((input_of(FOLDER / name),))).tallies
    if not tally.kept:
        assert sum(tally.skipped.values()) == records_in(name)
        with pytest.raises(InputError, match="No request is left to import: "):
            import_files(Importing((input_of(FOLDER / name),)), out)
        assert not out.exists()
        return
    capture = import_files(Importing((input_of(FOLDER / name),)), out)
    (source,) = capture.manifest.sources
    assert (source.kept, source.skipped) == (tally.kept, tally.skipped)
    assert source.format
    assert source.read == records_in(name)
    assert source.read == source.kept + sum(source.skipped.values())
    assert len(list(open_capture(out).exchanges())) == source.kept
    skipped = read_skipped(out)
    assert len(skipped) == sum(source.skipped.values())
    assert all(one.source == source.name and one.where and one.reason for one in skipped)


def is_refused(name: str) -> bool:
    return name.startswith(tuple(REFUSED))


@pytest.mark.parametrize(
    "name", [name for name in FILES if name.startswith(("gor/", "har", "mitm/")) and not is_refused(name)]
)
def test_whole_messages_are_in_no_envelope(name):
    """A header in a GoReplay file, or a line of a HAR, is like what some collector of logs puts before a line."""
    file = input_of(FOLDER / name)
    named = next(source for source in ("gor", "har", "mitmproxy") if name.startswith(source[:3]))
    found = find_source(file)
    assert found.name == named
    assert " in " not in found.title
    records = [item for item in found.read(file, ReadOptions()) if isinstance(item, Record)]
    assert all(name.isascii() and " " not in name for one in records for name, _ in one.exchange.request.headers)
