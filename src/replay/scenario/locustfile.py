"""Writing a scenario, a locustfile with its data beside it, and reading one back. Never imports locust.

::

    NAME.py                            an ordinary locustfile, to be read and edited
    NAME.data/schedule.parquet         the planned requests
    NAME.data/scenario.json            where they come from: capture, mix, the credentials that are needed; written last
    NAME.data/identities.example.csv   the credentials to fill in, where there are any
    NAME.data/payloads.toml            the templates of bodies that the capture lacks, where any were given
    NAME.data/answers.json             the answers that the scenario gives itself, where any were asked for
"""

import ast
import csv
import dataclasses
import hashlib
import json
import keyword
import re
import shutil
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.capture.store import Capture, open_capture
from replay.errors import InputError
from replay.scenario.answers import Answers, count_sent, read_answers, write_answers
from replay.scenario.data import FORMAT, META, REBUILD, SCHEDULE, alone, digest_of, read_data, whole
from replay.scenario.identities import needed_credentials
from replay.scenario.modelled.schedule import Ask, Modelled, model_schedule
from replay.scenario.payloads import PAYLOADS, Payloads, check_payloads, needed_pools, read_payloads
from replay.scenario.planning import left_out, schedule_of
from replay.scenario.policy import KeptBack, Policy, resolve, withhold
from replay.scenario.retries import find_retries, suggest
from replay.scenario.schedule import PlannedRequest, Schedule, write_schedule
from replay.scenario.words import many, quoted
from replay.shapes import is_empty
from replay.workload.model import Workload, read_workload

_ENDPOINTS_SHOWN = 20
_WIDEST = 110
_IMPORTED = frozenset({"PlannedRequest", "Replay", "Retry"})


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload that locust can run: the locustfile, the folder of its data, ``scenario.json`` and the schedule.

    Requests to endpoints that have ``answers`` are in the schedule, and are not sent. ``kept_back`` counts these and
    what was left out when it was built.
    """

    path: Path
    data: Path
    meta: dict[str, Any]
    schedule: Schedule
    answers: Answers = field(default_factory=dict)
    kept_back: KeptBack = field(default_factory=KeptBack)


def build_scenario(
    capture: Path,
    out: Path,
    *,
    force: bool = False,
    payloads: Path | None = None,
    policy: Policy | None = None,
    model: Ask | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Scenario:
    """Write the scenario that replays the capture in folder ``capture``: ``out`` (``NAME.py``) and its data.

    ``payloads`` names a file of templates for bodies that the capture lacks; ``policy`` says what is not to be sent.
    With ``model`` the schedule is drawn from a model of the capture, as is asked there, instead of being the capture's
    own. ``say`` is told what is being done. Raises InputError where the capture cannot be read or holds nothing to
    send, where what is asked of the model or the policy cannot be, and where ``out`` is there and was edited by hand,
    or was not built by us, unless ``force``.
    """
    _check_name(out)
    opened = open_capture(capture)
    data = out.with_suffix(".data")
    if not force:
        _check_untouched(out, data)
    say(f"reading {many(opened.manifest.exchanges, 'exchange')}, and finding what follows what")
    workload = read_workload(capture)
    if not workload.exchanges:
        raise InputError(
            f"The capture {capture} holds no exchanges.",
            "Record some traffic with `replay capture`, or import some with `replay import`.",
        )
    templates = read_payloads(payloads) if payloads else {}
    check_payloads(templates, map(str, workload.endpoints))
    withheld = resolve(policy or Policy(), map(str, workload.endpoints))
    say("drawing a schedule from a model" if model else "planning the requests")
    modelled = model_schedule(workload, model, templates) if model else None
    whole_schedule = modelled.schedule if modelled else schedule_of(workload, templates, withheld.endpoints)
    if not whole_schedule.requests:
        raise InputError(
            f"The capture {capture} has no request that can be sent: all are writes whose bodies it does not hold.",
            "Give their bodies with --payloads FILE.",
        )
    schedule, kept_back = withhold(whole_schedule, withheld)
    modelled = dataclasses.replace(modelled, schedule=schedule) if modelled else None
    if not count_sent(schedule, withheld.answers):
        raise InputError(f"Of the capture {capture} nothing is left to be sent.", " ".join(kept_back.told()))
    say(f"writing {many(len(schedule), 'request')}")
    needed = _needed_columns(schedule)
    missing = left_out(workload, templates, withheld.left_out if modelled else withheld.endpoints)
    text = locustfile_text(
        workload, out.stem, templates, modelled, missing=missing, kept_back=kept_back, credentials=bool(needed)
    )
    meta = _meta(workload, opened, schedule, out.stem, text)
    meta["credentials"] = [{"client": client, "columns": list(own)} for client, own in needed.items()]
    if modelled:
        meta |= _modelled(modelled)
    meta |= {"left_out": missing, "kept_back": kept_back.to_json(), "pools": sorted(needed_pools(templates))}
    try:
        data.mkdir(parents=True, exist_ok=True)
        with alone(data):
            with whole(data / SCHEDULE) as partial:
                write_schedule(schedule, partial)
                meta["schedule"] = digest_of(partial)
            _write_identities(needed, data / "identities.example.csv")
            if payloads is None:
                (data / PAYLOADS).unlink(missing_ok=True)
            elif payloads.resolve() != (data / PAYLOADS).resolve():
                with whole(data / PAYLOADS) as partial:
                    shutil.copyfile(payloads, partial)
            write_answers(withheld.answers, data)
            _write(out, text)
            # Last: who is killed before leaves a schedule that is not the one it tells of, which is refused.
            _write(data / META, json.dumps(meta, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InputError(f"The scenario cannot be written to {out}: {error.strerror or error}.") from error
    return Scenario(out, data, meta, schedule, read_answers(data, meta), kept_back)


def read_scenario(locustfile: Path) -> Scenario:
    """The scenario of a locustfile, edited by hand as it may be.

    Its data lies in the folder that its class names as ``scenario``, else in ``NAME.data`` beside it. Raises InputError
    where the locustfile or the data is missing or cannot be read, and where the schedule was built with another one.
    """
    try:
        tree = ast.parse(locustfile.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"There is no locustfile at {locustfile}.", "Build one with `replay build`.") from error
    except SyntaxError as error:
        why = f"line {error.lineno}: {error.msg}" if error.lineno else error.msg
        raise InputError(f"The locustfile {locustfile} cannot be read: {why}.", "Mend it, or build again.") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"The locustfile {locustfile} cannot be read: {error}.") from error
    data = locustfile.parent / (_named_folder(tree) or f"{locustfile.stem}.data")
    if not data.is_dir():
        raise InputError(f"The locustfile {locustfile} lacks its data, {data}.", REBUILD)
    meta, schedule = read_data(data)
    kept_back = KeptBack.from_json(meta.get("kept_back"), len(schedule))
    return Scenario(locustfile, data, meta, schedule, read_answers(data, meta), kept_back)


def locustfile_text(
    workload: Workload,
    name: str,
    payloads: Payloads | None = None,
    modelled: Modelled | None = None,
    *,
    missing: Mapping[str, int] | None = None,
    kept_back: KeptBack | None = None,
    credentials: bool = False,
) -> str:
    """The locustfile of a workload, or of what was ``modelled`` after it; its file is ``name`` (without ``.py``).

    ``missing`` are the requests without a body to send, by endpoint, ``kept_back`` what else is not sent.
    ``credentials`` says that it needs some of the target's own.
    """
    recorded = f", recorded {workload.start:%Y-%m-%d %H:%M} UTC" if workload.start else ""
    clients = len(set(workload.clients))
    identities = f" --identities {name}.csv" if credentials else ""
    summary = _shortened(f"The traffic of {workload.name} ({workload.environment or 'unknown environment'}){recorded}")
    mix = workload.mix()
    told = [line for sentence in modelled.told() for line in textwrap.wrap(sentence, _WIDEST)] if modelled else []
    lines = [
        f"{summary}.",
        "",
        *([*told, "", "The model was made of:", ""] if told else ()),
        f"{many(len(workload.exchanges), 'request')} of {many(clients, 'client')} in {workload.duration_s:,.0f} s:",
        "",
        *(f"    {share.share:6.1%}  {_shortened(str(share.endpoint))}" for share in mix[:_ENDPOINTS_SHOWN]),
    ]
    if len(mix) > _ENDPOINTS_SHOWN:
        rest = sum(share.share for share in mix[_ENDPOINTS_SHOWN:])
        lines.append(f"    {rest:6.1%}  {many(len(mix) - _ENDPOINTS_SHOWN, 'endpoint')} more")
    if missing:
        lines += ["", "Left out, as the capture lacks their bodies:", ""]
        share = sum(missing.values()) / len(workload.exchanges)
        lines += [f"    {share:6.1%}  {many(sum(missing.values()), 'request')}, the most of {next(iter(missing))}"]
    for sentence in kept_back.told() if kept_back else ():
        lines += ["", *textwrap.wrap(sentence, _WIDEST)]
    pools = "".join(f" --pool {pool}={pool}.csv" for pool in sorted(needed_pools(payloads or {})))
    lines += ["", "Run it:", "", f"    locust -f {name}.py --host http://127.0.0.1:8000{identities}{pools}"]
    if credentials:
        lines += ["", f"{name}.data/identities.example.csv has the credentials to fill in."]
    return _TEMPLATE.format(
        docstring="\n".join(_in_docstring(line) for line in lines),
        class_name=_class_name(name),
        data=quoted(f"{name}.data"),
        **_retries(workload),
    )


def _retries(workload: Workload) -> dict[str, str]:
    """What a locustfile says of retries: what its capture shows, else that clients give up."""
    learned = suggest(find_retries(workload))
    names = ["PlannedRequest", "Replay", *(["Retry"] if "Retry(" in learned or not learned else [])]
    comment = "    # What clients did about failures in the capture.\n"
    return {
        "names": ", ".join(names),
        "on_failure": comment + textwrap.indent(learned, "    ") + "\n" if learned else _GIVE_UP,
    }


_GIVE_UP = """\
    on_failure = Retry(times=0)  # clients give up; or "retry", "reauth", {"*": "retry", "POST /pay": Retry(times=5)}
"""

_TEMPLATE = '''\
"""{docstring}
"""

from replay.scenario.runtime import {names}


class {class_name}(Replay):
    """Replays every visit at its own time, whatever the target does."""

    scenario = {data}
    pacing = "visits"  # what followed an answer waits for it; "strict" sends everything at its due time
{on_failure}
    def prepare(self, request: PlannedRequest, client: str) -> PlannedRequest:
        """Change a request just before it is sent: the place for signatures, nonces, idempotency keys."""
        return request
'''


def _meta(workload: Workload, capture: Capture, schedule: Schedule, name: str, text: str) -> dict[str, Any]:
    model = workload.to_json()
    return {
        "format": FORMAT,
        "name": name,
        "capture": {
            "name": capture.manifest.name,
            "environment": capture.manifest.environment,
            "digest": capture.digest(),
            "hosts": sorted({*filter(None, capture.manifest.hosts), *workload.hosts}),
            "exchanges": len(workload.exchanges),
        },
        "duration_s": schedule.duration_s,
        "requests": len(schedule),
        "visits": len(workload.visits),
        "clients": len(set(workload.clients)),
        "endpoints": model["endpoints"],
        "correlations": model["correlations"],
        "locustfile": _digest(text),
    }


def _modelled(modelled: Modelled) -> dict[str, Any]:
    """What ``scenario.json`` says of a modelled schedule, and where it differs from the capture's own."""
    schedule = modelled.schedule
    return {
        "visits": len({planned.visit for planned in schedule}),
        "clients": len({planned.client for planned in schedule}),
        "endpoints": _endpoints(schedule),
        "model": modelled.to_json(),
    }


def _endpoints(schedule: Schedule) -> list[dict[str, Any]]:
    """The endpoints of a schedule, the most frequent first, with the keys of those of a workload."""
    by_endpoint: dict[str, list[PlannedRequest]] = defaultdict(list)
    for planned in schedule:
        by_endpoint[planned.endpoint].append(planned)
    return [
        {
            "endpoint": endpoint,
            "count": len(own),
            "share": round(len(own) / len(schedule), 6),
            "statuses": dict(sorted(Counter(str(planned.expected_status or "none") for planned in own).items())),
            "empty_share": round(sum(_came_empty(planned) for planned in own) / len(own), 6),
        }
        for endpoint, own in sorted(by_endpoint.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _came_empty(planned: PlannedRequest) -> bool:
    status, shape = planned.expected_status or 0, planned.expected_shape
    return shape is not None and 200 <= status < 300 and status not in {204, 205} and is_empty(shape)


def _needed_columns(schedule: Schedule) -> dict[str, list[str]]:
    """The columns of the identities that each client needs, by client. A copy is its original."""
    needed: dict[str, set[str]] = defaultdict(set)
    for client, column in needed_credentials(schedule):
        needed[schedule.copies.get(client, client)].add(column)
    return {client: sorted(needed[client]) for client in sorted(needed)}


def _write_identities(needed: Mapping[str, Sequence[str]], file: Path) -> None:
    """One row for each client that needs credentials; a cell that the client does not need says so with a dash.

    Nobody else may read it, so that a copy that is filled in is as private.
    """
    if not needed:
        file.unlink(missing_ok=True)
        return
    columns = sorted({column for own in needed.values() for column in own})
    with whole(file) as partial, partial.open("w", encoding="utf-8", newline="") as lines:
        partial.chmod(0o600)
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow(["client", *columns])
        rows.writerows(
            [client, *("" if column in own else "-" for column in columns)] for client, own in needed.items()
        )


def _write(file: Path, text: str) -> None:
    with whole(file) as partial:
        partial.write_text(text, encoding="utf-8")


def _check_name(out: Path) -> None:
    if out.suffix != ".py" or not out.stem:
        raise InputError(f"{out} is not a name for a locustfile.", "Give a name that ends in .py.")
    if out.is_dir():
        raise InputError(f"{out} is a folder.", "Give a name that ends in .py.")


def _check_untouched(out: Path, data: Path) -> None:
    """Raise InputError where ``out`` exists and is not as we wrote it."""
    if not out.exists():
        return
    try:
        meta = json.loads((data / "scenario.json").read_text(encoding="utf-8"))
        written = meta.get("locustfile")
        untouched = written == _digest(out.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError):
        untouched = False
    if not untouched:
        raise InputError(
            f"{out} is there already, and was edited since it was built (or was not built by replay).",
            "Choose another name, or overwrite it with --force.",
        )


def _named_folder(tree: ast.Module) -> str | None:
    """What the first class that names its ``scenario`` says."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for statement in node.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else []
            if isinstance(statement, ast.AnnAssign):
                targets = [statement.target]
            if not any(isinstance(target, ast.Name) and target.id == "scenario" for target in targets):
                continue
            value = getattr(statement, "value", None)
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return value.value
    return None


def _class_name(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    joined = "".join(word[0].upper() + word[1:] for word in words)
    if not joined or joined[0].isdigit():
        joined = f"Traffic{joined}"
    return f"{joined}Traffic" if joined in _IMPORTED or keyword.iskeyword(joined) else joined


def _in_docstring(text: str) -> str:
    """Text of a capture's, as it may stand between triple quotes."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown.replace("\\", "\\\\").replace('"', "'").rstrip()


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
