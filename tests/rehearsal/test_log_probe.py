"""The log probe beside a file that is written, moved away, cut and flooded."""

import time
from pathlib import Path

import pandas as pd
import pytest

from replay.evidence.files import ArmFolder
from replay.rehearsal.clock import ArmClock
from replay.rehearsal.probes.log import NOT_READ, OTHER, LogProbePlan, template_of
from replay.rehearsal.probes.plan import Setting
from replay.rehearsal.secrets import Scrubber


class Followed:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "error.log"
        self.arm = ArmFolder(folder / "arm")
        self.arm.create()
        scrub = Scrubber({}, ["hush-hush-42"])
        setting = Setting(ArmClock.started_now(), readings=self.arm.readings, log=self.arm.log, scrub=scrub)
        self.probe = LogProbePlan("errors", self.file).open(setting)

    def append(self, text: str) -> None:
        with self.file.open("a") as file:
            file.write(text)

    def events(self) -> dict[str, int]:
        return self._frame("log").groupby("template")["count"].sum().to_dict()

    def example(self) -> str:
        return " ".join(self._frame("log")["example"])

    def lines(self) -> pd.DataFrame:
        frame = self._frame("readings")
        return frame[frame["metric"] == "log_lines"]

    def failures(self) -> list[str]:
        frame = self._frame("readings")
        return frame[frame["metric"] == "probe_failed"]["detail"].tolist()

    def _frame(self, kind: str) -> pd.DataFrame:
        return pd.concat([pd.read_parquet(file) for file in sorted((self.arm.path / kind).glob("*.parquet"))])


@pytest.fixture
def followed(tmp_path) -> Followed:
    return Followed(tmp_path)


def test_from_its_end_on_a_second_at_a_time(followed) -> None:
    followed.append("old line\n")
    followed.probe.start()
    followed.append("ERROR pool timeout after 1.50 s (client 17)\nERROR pool timeout after 0.20 s (client 4)\nhalf")
    time.sleep(1.3)
    followed.append(" a line hush-hush-42 password=abcdef\n")
    time.sleep(0.3)
    followed.probe.stop()
    events = followed.events()
    assert events["ERROR pool timeout after <n> s (client <n>)"] == 2
    assert sum(events.values()) == 3
    assert "half a line *** password=***" in followed.example()
    assert followed.lines()["value"].tolist() == [2, 1]
    assert followed.lines()["at_s"].tolist() == [0, 1]


def test_rotation_and_truncation(followed) -> None:
    followed.append("old\n")
    followed.probe.start()
    followed.append("before\n")
    followed.file.rename(followed.file.with_suffix(".1"))
    with followed.file.with_suffix(".1").open("a") as moved:
        moved.write("to the moved one\n")
    time.sleep(0.3)
    followed.append("after\n")
    time.sleep(0.3)
    followed.file.write_text("")
    time.sleep(0.3)
    followed.append("cut\n")
    followed.probe.stop()
    assert followed.events() == {"before": 1, "to the moved one": 1, "after": 1, "cut": 1}


def test_a_file_that_appears_later(followed) -> None:
    followed.probe.start()
    time.sleep(0.2)
    followed.append("first\n")
    followed.probe.stop()
    assert followed.events() == {"first": 1}
    assert followed.failures() == []


def test_a_file_that_never_appears_is_said(followed) -> None:
    followed.probe.start()
    followed.probe.stop()
    assert followed.lines()["value"].tolist() == [0]
    assert "there was no file" in followed.failures()[0]


def test_a_flood_is_counted_without_being_read(followed) -> None:
    followed.append("")
    followed.probe.start()
    followed.append("".join(f"ERROR relation {n}\n" for n in range(300_000)))
    followed.append("".join(f"{chr(97 + n % 26) * (n % 50 + 1)} failed\n" for n in range(10_000)))
    began = time.monotonic()
    followed.probe.stop()
    assert time.monotonic() - began < 8
    events = followed.events()
    assert sum(events.values()) == 310_000 == followed.lines()["value"].sum()
    assert events[NOT_READ] > 300_000


def test_templates_are_bounded(followed) -> None:
    followed.append("")
    followed.probe.start()
    followed.append("".join(f"{chr(97 + n % 26)}{chr(97 + n // 26)} failed\n" for n in range(400)))
    time.sleep(0.3)
    followed.probe.stop()
    events = followed.events()
    assert len(events) == 201
    assert events[OTHER] == 200


@pytest.mark.parametrize(
    ("line", "template"),
    [
        ("2026-01-02 03:04:05,678 ERROR in 12 ms", "<time> ERROR in <n> ms"),
        ("2026-01-02T03:04:05Z x", "<time> x"),
        ('  File "/srv/app/main.py", line 10, in call', "  File <text>, line <n>, in call"),
        ("client 10.0.0.7:5123 gone", "client <address> gone"),
        ("id 3f2504e0-4f89-41d3-9a0c-0305e82c3301 twice", "id <uuid> twice"),
        ("at 0x7f00aa and deadbeef01", "at <hex> and <hex>"),
        ("GET /v2/events/17?after=abc 500", "GET /v2/events/<n>?<query> <n>"),
        ("couldn't open /var/lib/app/data.bin, won't retry", "couldn't open <path>, won't retry"),
        ("column 'a' of \"b\" is null", "column <text> of <text> is null"),
        ('column "a_1" of relation "b" is not "c"', 'column "a_1" of relation "b" is not <text>'),
    ],
)
def test_templates(line: str, template: str) -> None:
    assert template_of(line) == template


def test_hostile_lines_take_no_time() -> None:
    began = time.monotonic()
    for line in ("-".join("ab" * 3 for _ in range(140)), "'" * 1000, "?=" * 500, "/a" * 500, "1." * 500):
        template_of(line)
        Scrubber()(line)
    assert time.monotonic() - began < 2
