"""A run's verdict and evidence brought together: what every form of the report says, before it has a form.

Everything that is missing from a run is None or empty here, never an error: a run that did not end has a report too.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replay.errors import InputError
from replay.evidence.run import ArmEvidence, Evidence, read_run, second_pairs
from replay.evidence.values import QUIET
from replay.judge.findings import GROUNDS
from replay.report import frames
from replay.report.frames import AS_EXPECTED, OUTCOMES, StepSpan

WORDS = {"GO": "GO", "NO_GO": "NO GO", "INCONCLUSIVE": "INCONCLUSIVE"}
ADVICE = {
    "GO": "Nothing in this rehearsal speaks against releasing the change.",
    "NO_GO": "Do not release this change as it is.",
    "INCONCLUSIVE": "This rehearsal does not show whether the change is safe. Do not release on it.",
}
PRODUCTION = "production"
PRE_PRODUCTION = "pre-production"
_FIRST_SCREEN_CHARACTERS = 1000
_SLOW = frozenset({"latency_p95_s", "drift_p50_s", "drift_p95_s"})  # metrics of answers that are well, and late
Kinds = dict[str, tuple[tuple[str, int], ...]]  # by endpoint: outcomes that were not as expected, counted
# What a finding and a criterion have at least, so that a verdict of another version can be shown too.
_FINDING: dict[str, Any] = dict.fromkeys(
    "workload phase severity endpoint probe metric outcome explanation root p_value only_in_production "
    "first_bad_s arm evidence".split()
)
_CRITERION: dict[str, Any] = dict.fromkeys(
    "name about limit observed passed workload sentence hint unit limit_unit evidence".split()
)


@dataclass(frozen=True, slots=True)
class Slowness:
    """How slow an endpoint became in the ``phase`` in which it was slowest: so many ``times`` as long as without steps.

    What it took is the 95th percentile, in seconds. None (of ``times`` 0) is what is not known.
    """

    phase: str
    times: float
    p95_s: float | None
    control_p95_s: float | None


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """What became of one endpoint under one workload, with the steps and without.

    ``failed`` counts new failures as the judge does; ``kinds`` the outcomes that were not as expected, the most
    frequent first. ``broke`` says that the judge holds failures against the change here, ``slow`` is what it holds
    against its answers' time. Times are arm seconds and None where the moment never came.
    """

    endpoint: str
    requests: int
    failed: int
    empty: int
    control_requests: int
    control_failed: int
    kinds: tuple[tuple[str, int], ...]
    p95_s: float | None
    control_p95_s: float | None
    first_bad_s: float | None
    recovered_s: float | None
    never_recovered: bool
    broke: bool
    slow: Slowness | None
    only_in_production: bool | None
    root: str
    explanations: tuple[str, ...]
    role: str

    @property
    def share(self) -> float:
        """The share of its requests that failed, with the steps."""
        return self.failed / self.requests if self.requests else 0.0

    @property
    def faltered(self) -> bool:
        """Whether it failed without the judge holding its failures against the change."""
        return not self.broke and self.failed > 0 and self.first_bad_s is not None

    @property
    def how(self) -> str:
        """Its bad outcomes in words: ``38 empty, 6 timeout``."""
        return ", ".join(f"{count:,} {name}" for name, count in self.kinds)


@dataclass(frozen=True, slots=True)
class Story:
    """One run: its evidence, its verdict as ``verdict.json`` has it, and each workload's outcomes with the steps."""

    evidence: Evidence
    verdict: dict[str, Any]
    kinds: dict[str, Kinds] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """GO, NO_GO or INCONCLUSIVE. Anything else in the file is INCONCLUSIVE: never a GO by mistake."""
        word = str(self.verdict.get("verdict"))
        return word if word in WORDS else "INCONCLUSIVE"

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.verdict.get("name") or self.rehearsal.get("name") or self.evidence.path.name)

    @property
    def state(self) -> str:
        """What became of the run: complete, running, failed, interrupted."""
        return str(self.rehearsal.get("state") or "without a state")

    @property
    def folder(self) -> str:
        """The run's folder as it was called when it was rehearsed, ``runs/NAME``, wherever it lies by now."""
        written = self.rehearsal.get("folder")
        if isinstance(written, str) and written:
            return written
        path = self.evidence.path.resolve()
        return f"{path.parent.name}/{path.name}".lstrip("/")

    @property
    def rehearsal(self) -> dict[str, Any]:
        """``rehearsal.json``."""
        return self.evidence.rehearsal

    @property
    def reasons(self) -> list[str]:
        """The verdict's reasons, as sentences."""
        return [str(reason) for reason in as_list(self.verdict.get("reasons"))]

    @property
    def own_reasons(self) -> list[str]:
        """The reasons without what they rest on, for where that is said beside the verdict already."""
        return [reason for reason in self.reasons if reason not in self._grounds]

    @property
    def rests_on(self) -> str:
        """What a NO GO rests on, in a sentence or more; nothing of another verdict."""
        return " ".join(self._grounds)

    @property
    def _grounds(self) -> list[str]:
        if self.word != "NO_GO":
            return []
        told = [str(one) for one in as_list(self.verdict.get("grounds"))]
        other = GROUNDS.get(str(self.verdict.get("rests_on")))  # of a verdict that has no more than its name
        return told or [one for one in self.reasons if one == other]

    @property
    def first_reasons(self) -> list[str]:
        """Those that fit onto the first screen: three at least, five at most."""
        shown = self.own_reasons[:3]
        for reason in self.own_reasons[3:5]:
            if sum(map(len, shown)) + len(reason) > _FIRST_SCREEN_CHARACTERS:
                break
            shown.append(reason)
        return shown

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The verdict's findings, in the order in which things broke."""
        return [_FINDING | one for one in rows(self.verdict.get("findings"))]

    @property
    def criteria(self) -> list[dict[str, Any]]:
        """Every criterion that was checked."""
        return [_CRITERION | one for one in rows(self.verdict.get("criteria"))]

    @property
    def workloads(self) -> dict[str, str]:
        """The role of each workload that has an arm, a plan or a model, production's first."""
        roles = {name: str(model.get("role") or "") for name, model in self.evidence.workloads.items()}
        roles |= {arm.info.workload: arm.info.role for arm in self.evidence.arms.values()}
        return dict(sorted(roles.items(), key=lambda item: (item[1] != PRODUCTION, item[1] == PRE_PRODUCTION, item[0])))

    @property
    def main(self) -> str | None:
        """The workload that decides: production's, or else the first there is."""
        return next(iter(self.workloads), None)

    @property
    def before(self) -> str | None:
        """The workload of pre-production, where one was rehearsed."""
        return next(
            (name for name, role in self.workloads.items() if role == PRE_PRODUCTION and name != self.main), None
        )

    @property
    def quiet(self) -> str | None:
        """What stands for a workload where the steps were tried without traffic."""
        return QUIET if QUIET in self.workloads and self.main != QUIET else None

    @property
    def arms(self) -> list[ArmEvidence]:
        """The arms as they are shown: production's first, with the steps first."""
        order = list(self.workloads)
        return sorted(
            self.evidence.arms.values(),
            key=lambda arm: (order.index(arm.info.workload), not arm.info.steps, arm.info.arm),
        )

    @property
    def lost_arms(self) -> list[str]:
        """Arms that were planned and of which there is nothing."""
        return [name for name in map(str, as_list(self.rehearsal.get("order"))) if name not in self.evidence.arms]

    @property
    def length_s(self) -> float:
        """The seconds that every chart spans: the longest arm, and what it sent late because answers were awaited."""
        lengths = [arm.info.duration_s for arm in self.arms]
        for arm in self.arms:
            seen = arm.observations
            last = seen["sent_s"].fillna(seen["due_s"] + seen["waited_s"]).max()
            lengths += [math.floor(last) + 1.0] if last >= arm.info.duration_s else []
        return max(lengths, default=0.0) or 1.0

    def arm(self, workload: str | None, steps: bool = True) -> ArmEvidence | None:
        """The arm of a workload, with the steps or without, or None. Of several, the one of its weightiest finding."""
        arms = [arm for arm in self.arms if arm.info.workload == workload and arm.info.steps == steps]
        told = next((one.get("arm") for one in self.findings if one.get("workload") == workload), None)
        return next((arm for arm in arms if arm.info.arm == told), arms[0] if arms else None)

    @property
    def confirmed_workloads(self) -> set[str]:
        """The workloads of which a second pair of arms was played."""
        return set(second_pairs(self.rehearsal))

    def repetitions(self, workload: str | None) -> int:
        """How often the steps were played under a workload."""
        return sum(arm.info.workload == workload and arm.info.steps for arm in self.arms)

    def arm_facts(self, name: str) -> dict[str, Any]:
        """The judge's figures for one arm."""
        return next((row for row in rows(self.verdict.get("arms")) if row.get("arm") == name), {})

    def step_spans(self, workload: str | None) -> list[StepSpan]:
        """The steps of a workload's arm, in the order they began."""
        arm = self.arm(workload)
        return [] if arm is None else frames.step_spans(arm)

    def findings_of(self, *metrics: str, workload: str | None = None) -> list[dict[str, Any]]:
        """The findings of these metrics, of one workload or of all."""
        return [
            one
            for one in self.findings
            if one.get("metric") in metrics and (workload is None or one.get("workload") == workload)
        ]

    def endpoint_rows(self, workload: str | None) -> list[EndpointRow]:
        """Every endpoint that the workload called: those that broke first, in the order they did, then the slowest."""
        shown = self.arm(workload)
        name_of_arm = shown.info.arm if shown else ""
        kinds = self.kinds.get(name_of_arm, {})
        found = [one for one in self.findings if one.get("workload") == workload and one.get("endpoint")]
        roles = self.rehearsal.get("endpoint_roles")
        made = []
        for row in rows(self.verdict.get("endpoints")):
            if row.get("workload") != workload or row.get("arm", name_of_arm) != name_of_arm:
                continue
            name = str(row.get("endpoint"))
            mine = [one for one in found if one.get("endpoint") == name]
            made.append(_endpoint_row(name, row, mine, kinds, roles if isinstance(roles, dict) else {}))
        return sorted(
            made,
            key=lambda one: (
                (not one.broke, not one.broke and one.slow is None, not one.faltered),
                -one.slow.times if one.slow and not one.broke else 0.0,
                float("inf") if one.first_bad_s is None else one.first_bad_s,
                one.role != "authentication",
                -one.share,
                one.endpoint,
            ),
        )


def read_story(run: Path) -> Story:
    """Read a run's evidence and its ``verdict.json``. Raises InputError where either is not there or not readable."""
    evidence = read_run(run)
    file = run / "verdict.json"
    message = f"{run} has no readable verdict.json."
    hint = f"Judge the run first: replay judge {run}"
    try:
        verdict = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(message, hint) from error
    if not isinstance(verdict, dict):
        raise InputError(message, hint)
    kinds = {arm.info.arm: _kinds(arm) for arm in evidence.arms.values() if arm.info.steps}
    return Story(evidence, verdict, kinds)


def as_list(value: Any) -> list[Any]:
    """``value`` where it is a list, else nothing."""
    return value if isinstance(value, list) else []


def rows(value: Any) -> list[dict[str, Any]]:
    """The objects of a list."""
    return [one for one in as_list(value) if isinstance(one, dict)]


def _kinds(arm: ArmEvidence) -> Kinds:
    """By endpoint: its outcomes that were not as expected, counted."""
    told = frames.told_apart(arm.observations)
    bad = told[told["outcome"] != AS_EXPECTED]
    made: dict[str, list[tuple[str, int]]] = {}
    for endpoint, found in bad.groupby("endpoint")["outcome"]:
        made[str(endpoint)] = [(str(outcome), int(count)) for outcome, count in found.value_counts().items()]
    order = {name: place for place, name in enumerate(OUTCOMES)}
    return {
        endpoint: tuple(sorted(pairs, key=lambda pair: (-pair[1], -order.get(pair[0], 0))))
        for endpoint, pairs in made.items()
    }


def _root(held: list[dict[str, Any]]) -> str:
    """The cause of most of what an endpoint had against it: what a few requests followed from is none of the others."""
    failed = [one for one in held if isinstance(one.get("failures"), int) and one.get("unit") == "share"]
    weightiest = max(failed, key=lambda one: one["failures"], default=None)
    told = held if weightiest is None else [weightiest]
    return next((str(one["root"]) for one in told if one.get("root")), "")


def _slowness(finding: dict[str, Any]) -> Slowness:
    evidence = finding.get("evidence")
    told = evidence if isinstance(evidence, dict) else {}
    times, observed, control = told.get("times"), finding.get("observed"), finding.get("control")
    if "times" not in told and observed and control:  # null is the judge's: it cannot tell
        times = observed / control
    return Slowness(str(finding["phase"] or ""), times or 0.0, observed, control)


def _endpoint_row(
    name: str,
    row: dict[str, Any],
    findings: list[dict[str, Any]],
    kinds: Kinds,
    roles: dict[str, Any],
) -> EndpointRow:
    held = [one for one in findings if one.get("severity") in {"blocking", "suspect"}]
    slow = [one for one in held if one.get("metric") in _SLOW]
    steps, control = row.get("steps") or {}, row.get("control") or {}
    only = [one.get("only_in_production") for one in held]
    firsts = [row.get("first_bad_s"), *(one.get("first_bad_s") for one in held if one not in slow)]
    return EndpointRow(
        endpoint=name,
        requests=int(steps.get("requests") or 0),
        failed=int(steps.get("failed") or 0),
        empty=int(steps.get("empty") or 0),
        control_requests=int(control.get("requests") or 0),
        control_failed=int(control.get("failed") or 0),
        kinds=kinds.get(name, ()),
        p95_s=steps.get("p95_s"),
        control_p95_s=control.get("p95_s"),
        first_bad_s=next((float(value) for value in firsts if value is not None), None),
        recovered_s=row.get("recovered_s"),
        never_recovered=bool(row.get("never_recovered")),
        broke=len(held) > len(slow),
        slow=max(map(_slowness, slow), key=lambda one: one.times, default=None),
        only_in_production=True if True in only else only[0] if only else None,
        root=_root(held),
        explanations=tuple(str(one["explanation"]) for one in findings if one.get("explanation")),
        role=str(roles.get(name) or ""),
    )
