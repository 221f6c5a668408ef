"""The judge on a real Stage: equal arms again and again, and faults that were planted.

    python bench/judging/real.py aa [--times N] [--loaded] [--seed S] [--record FILE]
    python bench/judging/real.py planted [--times N] [--seed S] [--record FILE]

``aa``: short rehearsals (arms of 25 s) of a migration that does nothing, under both of the demonstration's workloads;
with ``--loaded`` another process keeps one core busy meanwhile. Any NO_GO is a false alarm. ``planted``: production's
workload alone; a proxy before Stage plants 20 failures into one endpoint, an outage of 5 s into another, and doubles
the latency of a third. Each must be found, with its endpoint and by a NO_GO.

Each rehearsal adds a line to ``--record``, so that runs add up; the table is of all its lines. Leaves with 1 where a
verdict was wrong.
"""

import argparse
import contextlib
import json
import os
import random
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from replay.demo.identities import write_identities
from replay.demo.stage import Stage

_ROOT = Path(__file__).parents[2]
_LIMIT_S = 900.0
_ID = "[^/]+"
# Where faults are planted: each fails only by the proxy's doing, and has 4% of the requests or more.
_ENDPOINTS = {
    "GET /v1/events/{event_id}/attendees": f"GET /v1/events/{_ID}/attendees",
    "GET /v1/events": "GET /v1/events",
    "POST /v1/registrations/{registration_id}/check-in": f"POST /v1/registrations/{_ID}/check-in",
    "GET /v1/events/{event_id}": f"GET /v1/events/{_ID}",
    "GET /v1/attendees/{attendee_id}": f"GET /v1/attendees/{_ID}",
    "GET /v1/events/{event_id}/summary": f"GET /v1/events/{_ID}/summary",
    "GET /v1/search": "GET /v1/search",
    "GET /v1/registrations/{registration_id}": f"GET /v1/registrations/{_ID}",
}
_KINDS = ("failures", "outage", "slow")
_PLAN = """
[rehearsal]
name = "{name}"
seed = {seed}

[target]
url = "{url}"
allow = ["127.0.0.1"]
ready = "GET /health"
reset = "{reset}"
{workloads}
{steps}
[probes.database]
kind = "postgres"
dsn = "${{STAGE_DSN}}"
replicas = ["${{STAGE_REPLICA_DSN}}"]

[probes.errors]
kind = "log"
path = "${{STAGE_ERROR_LOG}}"
"""
_WORKLOAD = """
[workloads.{name}]
capture = "${{DEMO_CAPTURES}}/{name}"
role = "{role}"
duration = "{duration_s}s"
identities = "${{DEMO_IDENTITIES}}"
"""
_NOTHING = """
[[steps]]
name = "nothing"
kind = "migrate"
at = "8s"
sql = "nothing.sql"
dsn = "${STAGE_DSN}"
"""
_PLANT = """
[[steps]]
name = "plant {kind}"
kind = "deploy"
at = "{at_s}s"
http = "POST /_planting/{kind}?endpoint={endpoint}"
"""


def main() -> int:
    """Rehearse so many times, and say what came of all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["aa", "planted"])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of the first one; each has the next")
    parser.add_argument("--loaded", action="store_true", help="keep one core busy")
    parser.add_argument("--record", type=Path, help="a file of JSON lines that results are added to")
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which else are removed")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-bench-")))
        folder = folder.resolve()
        record = options.record or folder / "record.jsonl"
        stage = stack.enter_context(Stage(folder / "stage"))
        url = stack.enter_context(_proxy(stage)) if options.what == "planted" else stage.url
        if options.loaded:
            stack.enter_context(_busy())
        for seed in range(options.seed, options.seed + options.times):
            planted = _planted(seed) if options.what == "planted" else {}
            row = _rehearse(folder / f"{options.what}-{seed}", stage, url, planted, seed)
            row["loaded"] = options.loaded
            with record.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return _tell([row for row in rows if bool(row["planted"]) == (options.what == "planted")])


def _planted(seed: int) -> dict[str, str]:
    """The endpoint that each kind of fault is planted into."""
    chance = random.Random(seed)  # noqa: S311 - places, not secrets
    return dict(zip(_KINDS, chance.sample(sorted(_ENDPOINTS), len(_KINDS)), strict=True))


def _rehearse(folder: Path, stage: Stage, url: str, planted: dict[str, str], seed: int) -> dict[str, Any]:
    folder.mkdir(parents=True)
    (folder / "nothing.sql").write_text("SELECT 1;\n", encoding="utf-8")
    plan = folder / "plan.toml"
    plan.write_text(_plan(folder, stage, url, planted, seed), encoding="utf-8")
    write_identities(folder / "identities.csv")
    environment = {
        **os.environ,
        **stage.environment,
        "DEMO_CAPTURES": str(_ROOT / "captures"),
        "DEMO_IDENTITIES": str(folder / "identities.csv"),
    }
    began_s = time.monotonic()
    with (folder / "said").open("w", encoding="utf-8") as said:
        done = subprocess.run(
            [sys.executable, "-m", "replay", "rehearse", str(plan), "--out", str(folder / "run")],
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            timeout=_LIMIT_S,
            check=False,
        )
    if done.returncode not in {0, 1, 3}:
        raise RuntimeError((folder / "said").read_text(encoding="utf-8"))
    verdict = json.loads((folder / "run" / "verdict.json").read_text(encoding="utf-8"))
    blocking = [one for one in verdict["findings"] if one["severity"] == "blocking"]
    return {
        "seed": seed,
        "took_s": round(time.monotonic() - began_s),
        "verdict": verdict["verdict"],
        "rests_on": verdict["rests_on"],
        "arms": len(verdict["arms"]),
        "reasons": verdict["reasons"],
        "planted": planted,
        "found": {kind: any(_is(one, kind, endpoint) for one in blocking) for kind, endpoint in planted.items()},
        "others": sorted({str(one["endpoint"]) for one in blocking} - set(planted.values())),
    }


def _is(finding: dict[str, Any], kind: str, endpoint: str) -> bool:
    """Whether a finding is of what was planted."""
    slow = finding["metric"] is not None and str(finding["metric"]).startswith("latency")
    return bool(finding["endpoint"] == endpoint and slow == (kind == "slow"))


def _plan(folder: Path, stage: Stage, url: str, planted: dict[str, str], seed: int) -> str:
    names = {"production": "production"} if planted else {"production": "production", "qa": "pre-production"}
    workloads = [_WORKLOAD.format(name=name, role=role, duration_s=25) for name, role in names.items()]
    reset = stage.environment["STAGE_RESET"]
    if planted:
        calm = f"{shlex.quote(sys.executable)} -c {shlex.quote(_CALM.format(url=url))}"
        (folder / "put-back").write_text(f"#!/bin/sh\n{calm} && {reset}\n", encoding="utf-8")
        (folder / "put-back").chmod(0o755)
        reset = "./put-back"
    steps = [
        _PLANT.format(kind=kind, at_s=8 + number / 2, endpoint=quote(_ENDPOINTS[endpoint], safe=""))
        for number, (kind, endpoint) in enumerate(planted.items())
    ]
    return _PLAN.format(
        name="planted" if planted else "equal arms",
        seed=seed,
        url=url,
        reset=reset,
        workloads="".join(workloads),
        steps="".join(steps) if planted else _NOTHING,
    )


_CALM = "import urllib.request as u; u.urlopen(u.Request('{url}/_planting/calm', method='POST'), timeout=10).read()"


@contextlib.contextmanager
def _proxy(stage: Stage) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    script = Path(__file__).with_name("planting.py")
    words = [sys.executable, str(script), "--listen", str(port), "--to", str(urlsplit(stage.url).port)]
    with _running(words):
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"


def _busy() -> contextlib.AbstractContextManager[None]:
    return _running([sys.executable, "-c", "while True: pass"])


@contextlib.contextmanager
def _running(words: list[str]) -> Iterator[None]:
    process = subprocess.Popen(words)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _tell(rows: list[dict[str, Any]]) -> int:
    """Print the table; 1 where something was wrong."""
    verdicts = Counter((row["loaded"], row["verdict"]) for row in rows)
    for (loaded, verdict), count in sorted(verdicts.items()):
        print(f"{'one core busy' if loaded else 'quiet'}: {verdict} {count} of {len(rows)}")
    print(f"a second pair was played in {sum(row['arms'] > (2 if row['planted'] else 4) for row in rows)}")
    wrong = [row for row in rows if not row["planted"] and row["verdict"] == "NO_GO"]
    for kind in _KINDS:
        planted = [row for row in rows if kind in row["planted"]]
        if planted:
            print(f"{kind}: found {sum(row['found'][kind] for row in planted)} of {len(planted)}")
            wrong += [row for row in planted if not row["found"][kind]]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
