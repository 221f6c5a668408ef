"""``rehearsal.json``: what was rehearsed with what, and the state of the run, true at every moment."""

import hashlib
import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from replay import __version__
from replay.evidence.files import write_json
from replay.evidence.run import FORMAT
from replay.rehearsal.arms import ArmOutline
from replay.rehearsal.databases import Fingerprint
from replay.rehearsal.outline import Outline
from replay.rehearsal.resume import Earlier
from replay.rehearsal.reuse import Reused
from replay.rehearsal.steps.sql_session import SqlWork

_LONGEST_SQL = 200_000
_BY_ARM = ("fingerprints", "rows", "schemas", "differences", "pools", "databases")


class Record:
    """The run's own file, written anew whenever something in it changes."""

    def __init__(self, folder: Path, outline: Outline) -> None:
        plan = outline.plan
        self._file = folder / "rehearsal.json"
        self._stage: dict[str, Any] = {
            "database version": "",
            "fingerprints": {},
            "schemas": {},
            "rows": {},
            "differences": {},
        }
        self._order = outline.arms
        self._first: Fingerprint | None = None
        self._pools: dict[tuple[str, str], tuple[str, str]] = {}  # the first arm with a pool, and what it got
        self._values: dict[str, Any] = {
            "format": FORMAT,
            "name": plan.name,
            "folder": f"{folder.absolute().parent.name}/{folder.name}".lstrip("/"),
            "state": "running",
            "settled": False,
            "reason": "",
            "started_at": _now(),
            "ended_at": "",
            "replay_version": __version__,
            "plan": plan.resolved,
            "plan_digest": _digest(json.dumps(plan.resolved, sort_keys=True)),
            "criteria": plan.criteria,
            "seed": plan.seed,
            "captures": {workload.plan.name: workload.capture.to_json() for workload in outline.workloads},
            "kept_back": {workload.plan.name: workload.kept_back.to_json() for workload in outline.workloads},
            "migrations": list(_migrations(outline)),
            "target": plan.target.target.url,
            "stage": self._stage,
            "order": [arm.name for arm in outline.arms],
            "reset": plan.target.reset is not None,
            "confirming": {},
            "seals": {},
            "reused": {},
            "warnings": [*outline.warnings, *(note for workload in outline.workloads for note in workload.notes)],
            "endpoint_roles": _roles(outline),
        }

    @property
    def values(self) -> dict[str, Any]:
        """What the file says."""
        return self._values

    def begin(self) -> None:
        """Write it for the first time."""
        self._write()

    def go_on(self, earlier: Earlier) -> None:
        """Take over what an earlier rehearsal noted of the arms that are whole, and say that it was interrupted."""
        self._adopt(earlier.values, earlier.whole)
        reused = earlier.values.get("reused")
        if isinstance(reused, dict):
            self._values["reused"] = {arm: told for arm, told in reused.items() if arm in earlier.whole}
        self._values["started_at"] = str(earlier.values.get("started_at") or self._values["started_at"])
        before = ", ".join(earlier.whole) or "any arm was whole"
        self._values["warnings"].append(f"The rehearsal was interrupted after {before}, and went on at {_now()}.")
        self._write()

    def reuse(self, reused: Reused) -> None:
        """Take over what an earlier rehearsal noted of the controls that serve again, and say so."""
        self._adopt(reused.values, reused.arms)
        told = {"run": reused.source.name, "started_at": str(reused.values.get("started_at", ""))}
        self._values["reused"] = dict.fromkeys(reused.arms, told)
        self._values["warnings"].append(
            f"{', '.join(reused.arms)} {'was' if len(reused.arms) == 1 else 'were'} not played again: the run "
            f"{reused.source.name} of {reused.when} had the same workloads and plan, and the same Stage."
        )
        self._write()

    @property
    def strangers(self) -> tuple[str, ...]:
        """The controls taken over that met another Stage than the arms that were played since."""
        prints, reused = self._stage["fingerprints"], self._values["reused"]
        played = {found for arm, found in prints.items() if arm not in reused}
        return tuple(arm for arm in reused if played and prints.get(arm) not in played)

    def forget(self, arms: Collection[str]) -> None:
        """Controls taken over do not serve after all."""
        for arm in arms:
            for noted in (
                self._values["reused"],
                self._values["seals"],
                *(self._stage[key] for key in _BY_ARM if key in self._stage),
            ):
                noted.pop(arm, None)
        self._values["warnings"].append(f"Stage's database is another now: {', '.join(arms)} had to be played again.")
        self._stage["differences"] = {}
        self._first = None
        self._find_first()
        self._write()

    def _adopt(self, values: dict[str, Any], arms: Collection[str]) -> None:
        read, seals = values.get("stage"), values.get("seals")
        stage = read if isinstance(read, dict) else {}
        self._values["seals"] = {arm: seals[arm] for arm in arms if isinstance(seals, dict) and arm in seals}
        for key in _BY_ARM:
            had = stage.get(key)
            if isinstance(had, dict) and (own := {arm: had[arm] for arm in arms if arm in had}):
                self._stage[key] = own
        self._stage["database version"] = str(stage.get("database version", ""))
        self._find_first()
        for arm in self._order:
            for pool, digest in self._stage.get("pools", {}).get(arm.name, {}).items():
                self._pools.setdefault((arm.workload_name, pool), (arm.name, digest))

    def _find_first(self) -> None:
        for arm in self._order:
            if arm.name in self._stage["schemas"]:
                rows = self._stage["rows"].get(arm.name, {})
                version = self._stage["database version"]
                self._first = Fingerprint(version, self._stage["schemas"][arm.name], rows)
                return

    def confirm(self, pairs: Sequence[tuple[ArmOutline, ArmOutline]], more: Sequence[ArmOutline]) -> None:
        """Note that second pairs (control, steps) are played, ``more`` being their arms in order: the run goes on."""
        self._order = (*self._order, *more)
        self._values["order"] = [arm.name for arm in self._order]
        self._values["confirming"] = {
            control.workload_name: {"control": control.name, "steps": steps.name} for control, steps in pairs
        }
        self._values.update(state="running", ended_at="", settled=False)
        self._write()

    def fingerprint(self, arm: str, found: Fingerprint) -> None:
        """Note what Stage's database was like before an arm."""
        first = self._first = self._first or found
        self._stage["database version"] = found.version
        self._stage["fingerprints"][arm] = found.digest
        self._stage["schemas"][arm] = found.schema
        self._stage["rows"][arm] = found.rows
        differences = found.differences(first)
        if differences:
            self._stage["differences"][arm] = differences
        self._write()

    def seal(self, arm: str, digest: str) -> None:
        """Note the digest of the seal of an arm that has ended."""
        self._values["seals"][arm] = digest
        self._write()

    def databases(self, arm: str, found: list[dict[str, Any]]) -> None:
        """Note what was seen of the plan's databases while an arm was played; nothing where it names none."""
        if found:
            self._stage.setdefault("databases", {})[arm] = found
            self._write()

    def pools(self, arm: str, workload: str, digests: dict[str, str]) -> None:
        """Note which values of its pools an arm got, as digests; a warning where another of the workload got others."""
        if not digests:
            return
        self._stage.setdefault("pools", {})[arm] = digests
        for pool, digest in digests.items():
            first, had = self._pools.setdefault((workload, pool), (arm, digest))
            if had != digest:
                self._values["warnings"].append(
                    f"The pool {pool} gave {arm} other values than {first}: each arm was bound to its own."
                )
        self._write()

    @property
    def counted(self) -> tuple[str, ...] | None:
        """The tables that the first fingerprint counted."""
        return None if self._first is None else tuple(self._first.rows)

    def end(self, state: str, reason: str = "", *, settled: bool = True) -> None:
        """The run is over: complete, failed or interrupted. Until it is ``settled``, a second pair may be wanted."""
        self._values.update(state=state, reason=reason, ended_at=_now(), settled=settled and state == "complete")
        self._write()

    def _write(self) -> None:
        write_json(self._file, self._values)


def _migrations(outline: Outline) -> list[dict[str, Any]]:
    found = []
    written = {table["name"]: table for table in outline.plan.resolved["steps"] if isinstance(table.get("name"), str)}
    for step in outline.steps:
        if not isinstance(step.work, SqlWork):
            continue
        (name, _), *_ = files = step.work.script.files
        own = str(written.get(step.plan.name, {}).get("sql", name))
        for called, sql in [(own, files[0][1]), *files[1:]]:
            shown = outline.plan.scrubber()(sql[:_LONGEST_SQL])
            found.append(
                {
                    "step": step.plan.name,
                    "file": called,
                    "digest": _digest(sql),
                    "sql": shown if len(sql) <= _LONGEST_SQL else f"{shown}\n-- cut: {len(sql)} characters",
                }
            )
    return found


def _roles(outline: Outline) -> dict[str, str]:
    """The endpoints whose answers hand out what later requests authenticate with."""
    roles: dict[str, str] = {}
    for workload in outline.workloads:
        if workload.model is None:
            continue
        for link in workload.model.correlations:
            if link.sent in {"bearer", "header:authorization"}:
                roles[str(workload.model.endpoints[link.producer])] = "authentication"
    return dict(sorted(roles.items()))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
