"""``replay report``: the report again, from a run's evidence and verdict."""

from pathlib import Path

import click

from replay.cli.text import plain, print_json
from replay.report.story import read_story
from replay.report.write import write_page, write_reports


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the page to FILE, and nothing else."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: the verdict and the paths written.")
def command(run: Path, out: Path | None, as_json: bool) -> None:
    """Write report.html, summary.md and junit.xml into RUN, from its verdict and evidence alone.

    The page is one file that opens offline. The same run gives the same files, to the byte. It does not judge: after a
    change of the criteria, run `replay judge` first. The exit code is 0 whatever the verdict is.

    \b
    Examples:
      replay report runs/demo
      replay report runs/demo --out /tmp/demo.html
      replay report runs/demo --json
    """
    story = read_story(run)
    if out is None:
        page = write_reports(run)
        written = [page, run / "summary.md", run / "junit.xml"]
    else:
        page, written = out, [out]
        write_page(story, out)
    if as_json:
        document = {
            "name": story.name,
            "verdict": story.word,
            "reasons": story.reasons,
            "report": str(page),
            "written": [str(path) for path in written],
        }
        print_json(document)
        return
    click.echo(plain(f"{story.word}: {story.name}"))
    for path in written:
        click.echo(str(path))
