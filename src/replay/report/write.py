"""Writing a run's reports beside its evidence: ``report.html``, ``summary.md``, ``junit.xml``."""

from pathlib import Path

from replay.errors import ToolError
from replay.evidence.files import write_whole
from replay.report.html import render
from replay.report.junit import junit
from replay.report.story import Story, read_story
from replay.report.summary import summary


def write_reports(run: Path) -> Path:
    """Write all reports of the run in folder ``run``, and return the path of ``report.html``.

    Reads ``verdict.json`` and the evidence, nothing else: the same run gives the same reports, to the byte. Raises
    InputError where the folder is not a judged run, and ToolError where a report cannot be written.
    """
    story = read_story(run)
    write_text(run / "summary.md", summary(story))
    write_text(run / "junit.xml", junit(story))
    write_page(story, run / "report.html")
    return run / "report.html"


def write_page(story: Story, path: Path) -> None:
    """Write the page alone, to any place."""
    write_text(path, render(story))


def write_text(path: Path, text: str) -> None:
    """Write ``text`` whole or not at all."""
    try:
        # What no encoding has, a lone surrogate out of a broken body, becomes a question mark.
        write_whole(path, text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise ToolError(f"{path} cannot be written: {error.strerror}.", "Give another place with --out.") from error
