"""`replay capture`: record traffic through mitmproxy."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.status import Status

from replay.errors import InputError

if TYPE_CHECKING:
    from replay.capture.proxy import Progress


@click.command(name="capture")
@click.option("--upstream", required=True, metavar="URL", help="The API that answers, such as http://127.0.0.1:8000.")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where clients send to; port 0 takes a free one.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The capture's folder, made anew.")
@click.option(
    "--environment",
    default="production",
    show_default=True,
    help="Where the upstream is: production, pre-production, stage... A rehearsal never sends to a host of production.",
)
@click.option("--name", default="", help="The capture's name; its folder's by default.")
@click.option(
    "--scrub",
    type=click.Choice(["on", "off"]),
    default="on",
    show_default=True,
    help="Replace secrets with pseudonyms before anything is written.",
)
@click.option(
    "--scrub-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A key file, made if missing: captures with one key have the same pseudonyms. Without: a key in memory only.",
)
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="End by itself after so long."
)
def command(
    *,
    upstream: str,
    listen: str,
    out: Path,
    environment: str,
    name: str,
    scrub: str,
    scrub_key: Path | None,
    duration: float | None,
) -> None:
    """Record what passes between clients and an API, as a reverse proxy before it.

    \b
    Examples:
      replay capture --upstream http://127.0.0.1:8000 --listen 127.0.0.1:8080 --out captures/qa \\
        --environment pre-production
      replay capture --upstream https://api.example.com --listen 0.0.0.0:8080 --out captures/production \\
        --duration 3600 --scrub-key secrets/scrub.key

    Ctrl-C ends the recording and completes the capture, with exit code 0. One proxy takes some hundred exchanges a
    second: before a busier API, record a share of its traffic.
    """
    # mitmproxy takes a second to import, which a wrong option need not wait for.
    from replay.capture.proxy import Recording, parse_listen, parse_upstream, record  # noqa: PLC0415
    from replay.capture.pseudonyms import fresh_key, load_key  # noqa: PLC0415

    if scrub_key and scrub == "off":
        raise InputError("--scrub-key is of no use with --scrub off.", "Leave one of them out.")
    target, address = parse_upstream(upstream), parse_listen(listen)
    if out.exists():
        raise InputError(f"{out} exists already.", "Give the capture another folder, or move that one away.")
    recording = Recording(
        upstream=target,
        listen=address,
        out=out,
        environment=environment.strip().lower(),
        name=name,
        scrub=scrub == "on",
        key=load_key(scrub_key) if scrub_key else fresh_key(),
    )
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    display = _Display(console, target.url, duration)
    try:
        with display.status:
            capture = record(recording, stop=stop, duration_s=duration, on_progress=display.show)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    manifest = capture.manifest
    console.print(f"{manifest.exchanges} exchanges in {out}")
    for source in manifest.sources:
        for reason, count in sorted(source.skipped.items()):
            console.print(f"  skipped {count}: {reason}")
    for reason, count in sorted(manifest.bodies_not_kept.items()):
        console.print(f"  bodies not kept {count}: {reason}")


class _Display:
    """One line of progress where there is a terminal, else only a line when the proxy listens."""

    def __init__(self, console: Console, upstream: str, duration_s: float | None) -> None:
        self._console = console
        self._upstream = upstream
        self._duration_s = duration_s
        self._before: tuple[float, int] | None = None
        self.status = Status("Starting the proxy", console=console)

    def show(self, progress: "Progress") -> None:
        """Say where the proxy listens, then how many exchanges there are and how fast they come."""
        if self._before is None:
            self._console.print(f"Recording http://{progress.listening} -> {self._upstream}, until Ctrl-C")
            self._before = (progress.elapsed_s, progress.exchanges)
            return
        elapsed_s, exchanges = self._before
        rate = (progress.exchanges - exchanges) / (progress.elapsed_s - elapsed_s)
        self._before = (progress.elapsed_s, progress.exchanges)
        end = f" of {self._duration_s:.0f}" if self._duration_s else ""
        self.status.update(f"{progress.elapsed_s:.0f}{end} s: {progress.exchanges} exchanges, {rate:.0f} a second")
