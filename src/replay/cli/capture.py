"""`replay capture`: record traffic while it flows."""

import signal
import threading
from pathlib import Path

import click
from rich.console import Console
from rich.status import Status

from replay.capture.live.recording import Mirror, Progress, Proxy, Recording, parse_listen, parse_upstream
from replay.capture.sources.moments import parse_duration_s
from replay.cli.scrubbing import check_scrubbing, key_and_rules, scrubbing_options
from replay.cli.text import plain, print_json
from replay.errors import InputError
from replay.target import parse_environment


@click.command(name="capture")
@click.option("--upstream", metavar="URL", help="The API that answers, such as http://127.0.0.1:8000.")
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where clients send to; port 0 takes a free one.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The capture's folder, made anew.")
@click.option(
    "--mirror",
    is_flag=True,
    help="No proxy: answer every request at once, for the copies that nginx, Envoy, Traefik or GoReplay sends.",
)
@click.option(
    "--mode",
    default="reverse",
    show_default=True,
    metavar="MODE",
    help="The proxy's, as mitmproxy has it: reverse, upstream:URL, transparent, socks5, regular.",
)
@click.option(
    "--upstream-ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Certificates (PEM) that the upstream's must come from.",
)
@click.option("--insecure", is_flag=True, help="Take any certificate of the upstream.")
@click.option(
    "--certificates",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the authority that clients of the proxy trust: mitmproxy's confdir.",
)
@click.option(
    "--client-share",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=1.0,
    metavar="SHARE",
    help="Record so much of the clients, each wholly or not at all: 0.1 for a tenth.",
)
@click.option(
    "--environment",
    default="production",
    show_default=True,
    help="Where the traffic belongs: production, pre-production, stage... Load never goes to a host of production.",
)
@click.option("--name", default="", help="The capture's name; its folder's by default.")
@scrubbing_options
@click.option("--duration", metavar="TIME", help="End by itself after so long: 90, 90s, 10m, 1h.")
@click.option("--json", "as_json", is_flag=True, help="At the end, the capture's manifest as JSON.")
def command(
    *,
    upstream: str | None,
    listen: str,
    out: Path,
    mirror: bool,
    mode: str,
    upstream_ca: Path | None,
    insecure: bool,
    certificates: Path | None,
    client_share: float,
    environment: str,
    name: str,
    scrub: str,
    scrub_key: Path | None,
    scrub_rules: Path | None,
    duration: str | None,
    as_json: bool,
) -> None:
    """Record what passes between clients and an API, as a reverse proxy before it, or what a mirror sends.

    \b
    Examples:
      replay capture --upstream http://127.0.0.1:8000 --listen 127.0.0.1:8080 --out captures/qa \\
        --environment pre-production
      replay capture --mirror --listen 127.0.0.1:9090 --out captures/production \\
        --client-share 0.1 --duration 1h --scrub-key secrets/scrub.key
      replay capture --mode socks5 --listen 127.0.0.1:1080 --out captures/crawler

    Ctrl-C ends the recording and completes the capture, with exit code 0. Traffic goes on when the disk is full or the
    writer falls behind: the capture says how much it lacks. One proxy takes about a thousand exchanges a second: before
    a busier API, mirror its traffic. docs/capturing.md has the configuration of servers for that.
    """
    from replay.capture.live.record import record  # noqa: PLC0415 - --help need not wait for pyarrow

    check_scrubbing(scrub, scrub_key, scrub_rules)
    front = _front(upstream, mirror=mirror, mode=mode, ca=upstream_ca, insecure=insecure, certificates=certificates)
    address, duration_s = parse_listen(listen), _duration_s(duration)
    if out.exists():
        raise InputError(f"{out} exists already.", "Give the capture another folder, or move that one away.")
    key, rules = key_and_rules(scrub_key, scrub_rules)
    recording = Recording(
        front=front,
        listen=address,
        out=out,
        environment=parse_environment(environment),
        name=name,
        scrub=scrub == "on",
        key=key,
        rules=rules,
        client_share=client_share,
    )
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    display = _Display(console, recording, duration_s)
    try:
        with display.status:
            capture = record(recording, stop=stop, duration_s=duration_s, on_progress=display.show)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    manifest = capture.manifest
    if as_json:
        print_json(manifest.to_json(), sort_keys=True)
    console.print(f"{manifest.exchanges} exchanges in {out}")
    counted = [("skipped", source.skipped) for source in manifest.sources]
    counted += [("bodies not kept", manifest.bodies_not_kept), ("LACKING", manifest.lacking)]
    for what, counts in counted:
        for reason, count in sorted(counts.items()):
            console.print(plain(f"  {what} {count}: {reason}"))


def _front(
    upstream: str | None, *, mirror: bool, mode: str, ca: Path | None, insecure: bool, certificates: Path | None
) -> Proxy | Mirror:
    if not mirror:
        if upstream is None and mode == "reverse":
            raise InputError("Nothing says what to record.", "Give --upstream URL, --mirror, or another --mode.")
        target = None if upstream is None else parse_upstream(upstream)
        return Proxy(mode, target, ca, insecure, certificates)
    if upstream or mode != "reverse" or ca or insecure or certificates:
        raise InputError(
            "A mirror's sink passes nothing on, so that --upstream, --mode and what belongs to them are of no use.",
            "Leave them out, or leave out --mirror.",
        )
    return Mirror()


def _duration_s(text: str | None) -> float | None:
    if text is None:
        return None
    duration_s = parse_duration_s(text)
    if not duration_s:
        raise InputError(f"{text!r} is not a duration.", "Write it like 90, 90s, 10m or 1h.")
    return duration_s


class _Display:
    """One line of progress where there is a terminal, else only a line when somebody listens, and one a trouble."""

    def __init__(self, console: Console, recording: Recording, duration_s: float | None) -> None:
        self._console = console
        self._recording = recording
        self._duration_s = duration_s
        self._before: Progress | None = None
        self.status = Status("Starting", console=console)

    def show(self, progress: Progress) -> None:
        """Say where it listens, then how many exchanges there are, how fast they come, and what goes wrong."""
        before, self._before = self._before, progress
        if before is None:
            front = self._recording.front
            until = "until Ctrl-C" if self._duration_s is None else f"for {self._duration_s:g} s, or until Ctrl-C"
            self._console.print(f"Recording http://{progress.listening} {_described(front)}, {until}")
            if isinstance(front, Proxy) and front.insecure:
                self._console.print("WARNING: --insecure: whoever stands before the upstream can read and change all.")
            if not self._recording.scrub:
                self._console.print("WARNING: --scrub off: the capture holds every secret that passes.")
            return
        if progress.trouble and progress.trouble != before.trouble:
            self._console.print(plain(f"Traffic goes on, but nothing of it is written: {progress.trouble}."))
        elif before.trouble and not progress.trouble:
            self._console.print("Written again.")
        passed_s = progress.elapsed_s - before.elapsed_s
        rate = (progress.exchanges - before.exchanges) / passed_s if passed_s else 0.0
        end = f" of {self._duration_s:.0f}" if self._duration_s else ""
        line = f"{progress.elapsed_s:.0f}{end} s: {progress.exchanges} exchanges, {rate:.0f} a second"
        if progress.waiting:
            line += f", {progress.waiting} to be written"
        if lacking := sum(progress.lacking.values()):
            line += f", {lacking} LACKING"
        self.status.update(line)


def _described(front: Proxy | Mirror) -> str:
    if isinstance(front, Mirror):
        return "(a mirror's sink)"
    return f"-> {front.upstream.url}" if front.upstream and front.mode == "reverse" else f"({front.mode})"
