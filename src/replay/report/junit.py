"""``junit.xml``: one test case a criterion, for the pipeline that shows test results."""

import re
from xml.etree import ElementTree as ET

from replay.report import formats
from replay.report.story import ADVICE, WORDS, Story

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(story: Story) -> str:
    """The criteria as JUnit XML.

    A failed criterion about the change is a failure, one about the evidence an error. The verdict is a case of its own,
    so that a pipeline that reads only this file cannot miss a run without criteria.
    """
    suite = ET.Element("testsuite", name=f"replay {clean(story.name)}")
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    verdict = _case(suite, counts, "verdict", "verdict")
    if story.word == "NO_GO":
        _problem(verdict, counts, "failure", ADVICE[story.word], "\n".join(story.reasons))
    elif story.word == "INCONCLUSIVE":
        _problem(verdict, counts, "error", ADVICE[story.word], "\n".join(story.reasons))
    for one in story.criteria:
        name, workload = str(one["name"]), str(one["workload"] or "all workloads")
        case = _case(suite, counts, f"replay.{one['about']}.{workload}", f"{name} ({workload})")
        if one["passed"]:
            continue
        limit = formats.amount(one["limit"], name, one["limit_unit"])
        text = f"limit {limit}, observed {formats.amount(one['observed'], name, one['unit'])}"
        kind = "failure" if one["about"] == "change" else "error"
        _problem(case, counts, kind, str(one["sentence"] or name), f"{text}\n{one['hint'] or ''}".strip())
    for name, count in counts.items():
        suite.set(name, str(count))
    took = formats.between(str(story.rehearsal.get("started_at")), str(story.rehearsal.get("ended_at")))
    suite.set("time", f"{took or 0.0:.3f}")
    root = ET.Element("testsuites", name=f"{WORDS[story.word]}: {clean(story.name)}")
    for name in ("tests", "failures", "errors", "skipped", "time"):
        root.set(name, suite.get(name, "0"))
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def clean(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return _NOT_XML.sub("�", text)


def _case(suite: ET.Element, counts: dict[str, int], group: str, name: str) -> ET.Element:
    counts["tests"] += 1
    same = sum(case.get("name", "").partition(" #")[0] == clean(name) for case in suite)
    name = f"{name} #{same + 1}" if same else name
    return ET.SubElement(suite, "testcase", classname=clean(group), name=clean(name), time="0")


def _problem(case: ET.Element, counts: dict[str, int], kind: str, message: str, text: str) -> None:
    counts["failures" if kind == "failure" else "errors"] += 1
    problem = ET.SubElement(case, kind, message=clean(message), type="criterion")
    problem.text = clean(text)
