"""Writing a scenario, a locustfile with its data beside it, and reading one back. Never imports locust.

::

    NAME.py                            an ordinary locustfile, to be read and edited
    NAME.data/schedule.parquet         the planned requests
    NAME.data/scenario.json            where they come from: capture, mix, the credentials that are needed
    NAME.data/identities.example.csv   the credentials to fill in, where there are any
    NAME.data/payloads.toml            the templates of bodies that the capture lacks, where any were given
"""

import ast
import csv
import hashlib
import json
import keyword
import re
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.capture.store import Capture, open_capture
from replay.errors import InputError
from replay.scenario.modelled import Ask, Modelled, model_schedule
from replay.scenario.payloads import PAYLOADS, Payloads, check_payloads, needed_pools, read_payloads
from replay.scenario.planning import left_out, schedule_of
from replay.scenario.retries import find_retries, suggest
from replay.scenario.schedule import Schedule, read_schedule, write_schedule
from replay.scenario.words import many, quoted
from replay.workload import Workload, read_workload

FORMAT = 1
_ENDPOINTS_SHOWN = 20
_WIDEST = 110
_REBUILD = "Build the scenario again with `replay build`."


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload that locust can run: the locustfile, the folder of its data, ``scenario.json`` and the schedule."""

    path: Path
    data: Path
    meta: dict[str, Any]
    schedule: Schedule


def build_scenario(
    capture: Path, out: Path, *, force: bool = False, payloads: Path | None = None, model: Ask | None = None
) -> Scenario:
    """Write the scenario that replays the capture in folder ``capture``: ``out`` (``NAME.py``) and its data.

    ``payloads`` names a file of templates for bodies that the capture lacks. With ``model`` the schedule is drawn from
    a model of the capture, as is asked there, instead of being the capture's own. Raises InputError where the capture
    cannot be read or holds nothing to send, where what is asked of the model cannot be, and where ``out`` is there and
    was edited by hand, or was not built by us, unless ``force``.
    """
    _check_name(out)
    opened = open_capture(capture)
    data = out.with_suffix(".data")
    if not force:
        _check_untouched(out, data)
    workload = read_workload(capture)
    if not workload.exchanges:
        raise InputError(f"The capture {capture} holds no exchanges.", "Record some traffic with `replay capture`.")
    templates = read_payloads(payloads) if payloads else {}
    check_payloads(templates, map(str, workload.endpoints))
    modelled = model_schedule(workload, model, templates) if model else None
    schedule = modelled.schedule if modelled else schedule_of(workload, templates)
    if not schedule.requests:
        raise InputError(
            f"The capture {capture} has no request that can be sent: all are writes whose bodies it does not hold.",
            "Give their bodies with --payloads FILE.",
        )
    text = locustfile_text(workload, out.stem, templates, modelled)
    meta = _meta(workload, opened, schedule, out.stem, text)
    if modelled:
        meta |= _modelled(modelled)
    meta |= {"left_out": left_out(workload, templates), "pools": sorted(needed_pools(templates))}
    try:
        data.mkdir(parents=True, exist_ok=True)
        write_schedule(schedule, data / "schedule.parquet")
        _write_identities(workload, data / "identities.example.csv")
        if payloads is None:
            (data / PAYLOADS).unlink(missing_ok=True)
        elif payloads.resolve() != (data / PAYLOADS).resolve():
            shutil.copyfile(payloads, data / PAYLOADS)
        _write_whole(data / "scenario.json", json.dumps(meta, indent=2, ensure_ascii=False) + "\n")
        _write_whole(out, text)
    except OSError as error:
        raise InputError(f"The scenario cannot be written to {out}: {error.strerror}.") from error
    return Scenario(out, data, meta, schedule)


def read_scenario(locustfile: Path) -> Scenario:
    """The scenario of a locustfile, edited by hand as it may be.

    Its data lies in the folder that its class names as ``scenario``, else in ``NAME.data`` beside it. Raises InputError
    where the locustfile or the data is missing or cannot be read.
    """
    try:
        tree = ast.parse(locustfile.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"There is no locustfile at {locustfile}.", "Build one with `replay build`.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"The locustfile {locustfile} cannot be read: {error}.") from error
    data = locustfile.parent / (_named_folder(tree) or f"{locustfile.stem}.data")
    file = data / "scenario.json"
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"The locustfile {locustfile} lacks its data, {file}.", _REBUILD) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}.", _REBUILD) from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"{file} is not a scenario of format {FORMAT}.", _REBUILD)
    return Scenario(locustfile, data, meta, read_schedule(data / "schedule.parquet"))


def locustfile_text(
    workload: Workload, name: str, payloads: Payloads | None = None, modelled: Modelled | None = None
) -> str:
    """The locustfile of a workload, or of what was ``modelled`` after it; its file is ``name`` (without ``.py``)."""
    recorded = f", recorded {workload.start:%Y-%m-%d %H:%M} UTC" if workload.start else ""
    clients = len(set(workload.clients))
    identities = f" --identities {name}.csv" if workload.credentials else ""
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
    missing = left_out(workload, payloads)
    if missing:
        lines += ["", "Left out, as the capture lacks their bodies:", ""]
        share = sum(missing.values()) / len(workload.exchanges)
        lines += [f"    {share:6.1%}  {many(sum(missing.values()), 'request')}, the most of {next(iter(missing))}"]
    pools = "".join(f" --pool {pool}={pool}.csv" for pool in sorted(needed_pools(payloads or {})))
    lines += ["", "Run it:", "", f"    locust -f {name}.py --host http://127.0.0.1:8000{identities}{pools}"]
    if workload.credentials:
        lines += ["", f"{name}.data/identities.example.csv has the credentials to fill in."]
    return _TEMPLATE.format(
        docstring="\n".join(_in_docstring(line) for line in lines),
        class_name=_class_name(name),
        data=quoted(f"{name}.data"),
        **_retries(workload),
    )


def _retries(workload: Workload) -> dict[str, str]:
    """What a locustfile says of retries: nothing where its capture shows none."""
    learned = suggest(find_retries(workload))
    names = ["PlannedRequest", "Replay", *(["Retry"] if "Retry(" in learned else [])]
    comment = "    # What clients did about failures in the capture.\n"
    return {
        "names": ", ".join(names),
        "on_failure": comment + textwrap.indent(learned, "    ") + "\n" if learned else "",
    }


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
            "hosts": sorted({*capture.manifest.hosts, *workload.hosts}),
            "exchanges": len(workload.exchanges),
        },
        "duration_s": schedule.duration_s,
        "requests": len(schedule),
        "visits": len(workload.visits),
        "clients": len(set(workload.clients)),
        "endpoints": model["endpoints"],
        "correlations": model["correlations"],
        "credentials": model["credentials"],
        "locustfile": _digest(text),
    }


def _modelled(modelled: Modelled) -> dict[str, Any]:
    """What ``scenario.json`` says of a modelled schedule, and where it differs from the capture's own."""
    schedule = modelled.schedule
    return {
        "visits": len({planned.visit for planned in schedule}),
        "clients": len({planned.client for planned in schedule}),
        "model": modelled.to_json(),
    }


def _write_identities(workload: Workload, file: Path) -> None:
    """One row for each client that needs credentials; a cell that the client does not need says so with a dash."""
    needed = workload.columns()
    if not needed:
        file.unlink(missing_ok=True)
        return
    columns = sorted({column for own in needed.values() for column in own})
    with file.open("w", encoding="utf-8", newline="") as lines:
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow(["client", *columns])
        rows.writerows(
            [client, *("" if column in own else "-" for column in columns)] for client, own in needed.items()
        )


def _write_whole(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


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
    return f"{joined}Traffic" if joined in {"Replay", "PlannedRequest"} or keyword.iskeyword(joined) else joined


def _in_docstring(text: str) -> str:
    """Text of a capture's, as it may stand between triple quotes."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown.replace("\\", "\\\\").replace('"', "'").rstrip()


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
