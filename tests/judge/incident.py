"""The rehearsal of an incident, as the tests simulate it, and how they look at verdicts."""

import simulate
from simulate import EXPORT, STEP, TOKEN

from replay.evidence.run import Evidence
from replay.judge.findings import BLOCKING, Finding

EVENTS = "GET /v1/events/{event_id}"
CHECK_IN = "POST /v1/check-ins"
PRODUCTION = {TOKEN: (1500, 0.003), EXPORT: (60, 0.0), EVENTS: (1500, 0.0), CHECK_IN: (600, 0.003)}
SQL = {"name": STEP, "kind": "migrate", "sql": "up.sql", "dsn": "${STAGE_DSN}"}
QA = {TOKEN: (300, 0.0), EVENTS: (300, 0.0), EXPORT: (60, 0.0)}


def production(seed=1, regime=simulate.I):
    planted = simulate.workload(seed, regime=regime, mix=PRODUCTION)
    planted.step(20, 25)
    return planted


def qa(seed=2):
    planted = simulate.workload(seed, name="qa", role="pre-production", mix=QA)
    planted.step(20, 25)
    return planted


def incident():
    """Production's clients queue behind the ALTER; QA's do not."""
    planted = production()
    planted.lock()
    planted.fail(TOKEN, 20, 25, 0.4)
    return planted


def run_with(*databases, planted=None, steps=(SQL,), control=None, **rehearsal) -> Evidence:
    """A run whose steps arm of production noted these databases."""
    beside = list(databases) if control is None else control
    stage = {"databases": {"production-steps": list(databases), "production-control": beside}}
    return simulate.evidence(planted or production(), stage=stage, plan={"steps": list(steps)}, **rehearsal)


def of(verdict, **fields):
    """The findings that have these fields."""
    return [
        finding
        for finding in verdict.to_json()["findings"]
        if all(finding[name] == value for name, value in fields.items())
    ]


def finding(arm: str, endpoint: str, severity: str, *, proven: bool = False) -> Finding:
    """A finding about an endpoint's failures; only a blocking one can be proven."""
    return Finding(
        workload="production",
        arm=arm,
        phase="after step",
        unit="share",
        observed=0.1,
        control=0.0,
        explanation="It failed.",
        severity=severity,
        endpoint=endpoint,
        outcome="empty",
        effect=0.1,
        proven=proven and severity == BLOCKING,
    )


def failed_criteria(verdict):
    """The criteria about the change that failed, each with its workload."""
    return {(check.name, check.workload) for check in verdict.checks if not check.passed and check.about == "change"}


def failed(verdict):
    return {check.name for check in verdict.checks if not check.passed and check.about == "evidence"}
