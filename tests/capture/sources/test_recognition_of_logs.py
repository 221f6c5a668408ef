"""Which of the formats of lines a file is taken for, and that no line of any of them is lost."""

from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.capture.inputs import Head, find_inputs
from replay.capture.logs.reader import LogSource
from replay.capture.sources.aws_alb import AWS_ALB
from replay.capture.sources.aws_elb import AWS_ELB
from replay.capture.sources.cloudfront import CLOUDFRONT
from replay.capture.sources.combined import COMBINED
from replay.capture.sources.envelopes import best
from replay.capture.sources.envoy_log import ENVOY
from replay.capture.sources.haproxy import HAPROXY
from replay.capture.sources.s3 import S3
from replay.capture.sources.squid import SQUID
from replay.capture.sources.traefik_log import TRAEFIK
from replay.capture.sources.w3c import W3C
from replay.errors import InputError

from . import test_aws_alb, test_aws_elb, test_cloudfront, test_envoy_log, test_s3, test_traefik_log, test_w3c
from .reading import read

SOURCES = cast(
    "tuple[LogSource, ...]",
    (COMBINED, TRAEFIK, ENVOY, HAPROXY, SQUID, AWS_ALB, AWS_ELB, CLOUDFRONT, S3, W3C),
)
SAMPLES = [
    (TRAEFIK, "", test_traefik_log.LINE),
    (ENVOY, "", test_envoy_log.DEFAULT),
    (ENVOY, "", test_envoy_log.ISTIO),
    (AWS_ALB, "", test_aws_alb.LINE),
    (AWS_ALB, "", test_aws_alb.OLD),
    (AWS_ELB, "", test_aws_elb.LINE),
    (AWS_ELB, "", test_aws_elb.OLD),
    (AWS_ELB, "", test_aws_elb.TCP),
    (CLOUDFRONT, test_cloudfront.FRONT, test_cloudfront.line()),
    (S3, "", test_s3.LINE),
    (S3, "", test_s3.OLD),
    (W3C, test_w3c.FRONT + test_w3c.FIELDS, test_w3c.LINE),
    (W3C, "", test_w3c.LINE),
]
TAKEN = {
    "access": {COMBINED},
    "aws": {AWS_ALB},
    "envoy": {ENVOY},
    "haproxy": {HAPROXY},
    "iis": {W3C},
    "traefik": {TRAEFIK},
}


@pytest.mark.parametrize(("source", "front", "line"), SAMPLES)
def test_each_is_told_from_the_others(source: LogSource, front: str, line: str):
    head = Head("a.log", (front + line).encode())
    likeness = {other.name: other.likeness(head) for other in SOURCES}
    assert likeness[source.name] >= 0.8
    assert max(likeness, key=lambda name: likeness[name]) == source.name
    assert all(value < 0.5 for name, value in likeness.items() if name not in {source.name, COMBINED.name})


@pytest.mark.slow
def test_no_file_of_others_is_taken_for_another_format(shared_data: Path):
    for path in sorted(shared_data.glob("*/*")):
        (file,) = find_inputs([str(path)])
        try:
            source, likeness = best(file, SOURCES)
        except InputError:  # a file that is no text at all
            continue
        if likeness >= 0.5:
            names = {each.name for each in TAKEN.get(path.parent.name, set())}
            assert source.name in names, path.name


@pytest.mark.parametrize(("source", "front", "line"), SAMPLES)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_changed_lines_are_exchanges_or_skipped(source: LogSource, front: str, line: str, data: st.DataObject):
    changed = bytearray(line.encode())
    at = data.draw(st.integers(0, len(changed)))
    changed[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20)).replace(b"\n", b"")
    changed = changed.lstrip(b"#\x1f\x00")  # no directive, not compressed, not binary
    rows, skipped = read(source, front.encode() + line.encode() + b"\n" + changed + b"\n")
    assert len(rows) + len(skipped) == 1 + bool(changed.strip())
