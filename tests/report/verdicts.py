"""Three verdicts written by hand, in the form that the judge gives them."""

from typing import Any

TOKEN = "POST /oauth/token"
STEP = "add token scopes"
# endpoint: requests, failed and empty with the steps, first bad moment, recovery
PRODUCTION: dict[str, tuple[int, int, int, float | None, float | None]] = {
    TOKEN: (183, 23, 23, 10.4, 16.5),
    "GET /v2/events/{event_id}": (550, 29, 20, 11.1, 20.4),
    "GET /v2/events": (361, 21, 15, 11.2, 20.8),
    "POST /v2/events/{event_id}/registrations": (214, 62, 14, 11.3, None),
    "GET /v2/events/{event_id}/attendees": (269, 9, 6, 12.5, 17.4),
    "GET /v2/search": (172, 2, 2, None, None),
    "GET /v2/reports/attendance": (51, 0, 0, None, None),
}
REASONS = [
    f"Authentication broke first: 23 of 183 requests of {TOKEN} came back empty, under production's traffic only.",
    "Step 'add token scopes' waited 5.0 s for a lock behind GET /v2/reports/attendance; 15 sessions queued behind it.",
    "4 more endpoints failed in its wake, and POST /v2/events/{event_id}/registrations never recovered.",
    "Rollback 'undo the data' failed: violates foreign key constraint \"sessions_token_fkey\".",
    "The error log was flooded: 103 lines a second where the control had none.",
    "The replica fell 4.5 s (54 MB) behind and caught up at 38.8 s.",
]


def finding(**values: Any) -> dict[str, Any]:
    blank = dict.fromkeys(
        "endpoint probe outcome difference metric control observed effect interval p_value only_in_production "
        "interaction root first_bad_s recovered_s outage_s requests failures".split()
    )
    base = {"workload": "production", "arm": "production-steps", "phase": f"during {STEP}", "severity": "blocking"}
    return blank | base | {"proven": True, "unit": "share", "evidence": {}, "explanation": ""} | values


def endpoint(workload: str, name: str, values: tuple[int, int, int, float | None, float | None]) -> dict[str, Any]:
    requests, failed, empty, first, recovered = values
    blank = {"requests": requests, "failed": 0, "empty": 0, "p50_s": 0.016, "p95_s": 0.029}
    return {
        "workload": workload,
        "endpoint": name,
        "control": blank,
        "steps": blank | {"failed": failed, "empty": empty, "p95_s": 1.5 if failed else 0.029},
        "phases": {},
        "first_bad_s": first,
        "recovered_s": recovered,
        "never_recovered": first is not None and recovered is None,
        "outage_s": 6.1 if first is not None else None,
        "outages": [] if first is None else [outage(first, recovered, failed)],
        "smallest_effect": {"failures": 5, "share": round(5 / requests, 4)},
    }


def outage(first: float, recovered: float | None, failed: int) -> dict[str, Any]:
    return {
        "last_good_s": None if first < 11 else first - 0.31,
        "first_bad_s": first,
        "last_bad_s": (recovered or 47.0) - 0.5,
        "first_good_s": recovered,
        "broke": f"during {STEP}",
        "came_back": None if recovered is None else f"after {STEP}",
        "requests": failed + 2,
        "failures": failed,
    }


def criterion(name: str, about: str, limit: float, observed: float, sentence: str, *, passed: bool) -> dict[str, Any]:
    return {
        "name": name,
        "about": about,
        "limit": limit,
        "observed": observed,
        "passed": passed,
        "workload": "production",
        "sentence": sentence,
        "hint": "" if passed else "Read the section about it.",
        "unit": UNITS.get(name, ("", ""))[1],
        "limit_unit": UNITS.get(name, ("", ""))[0],
    }


# Of a criterion's limit and of what was observed.
UNITS = {
    "new_failures": ("endpoints", "endpoints"),
    "control_agreement": ("share or more", "share"),
    "engine_lateness": ("s", "s"),
}


def verdict(word: str, reasons: list[str], findings: list[dict[str, Any]], broke: bool) -> dict[str, Any]:
    quiet = (None, None)
    late = word == "INCONCLUSIVE"
    production = {name: values if broke else (values[0], 0, 0, *quiet) for name, values in PRODUCTION.items()}
    return {
        "format": 1,
        "name": "demo",
        "verdict": word,
        "reasons": reasons,
        "findings": findings,
        "criteria": [
            criterion("new_failures", "change", 0.0, 6 if broke else 0, "Failures beyond noise.", passed=not broke),
            criterion("lock_wait_s", "change", 2.0, 4.8 if broke else 0.0, "The longest wait.", passed=not broke),
            criterion("replica_lag_s", "change", 5.0, 4.52 if broke else 0.4, "The replicas kept up.", passed=True),
            criterion("control_agreement", "evidence", 0.95, 1.0, "The control behaves like the capture.", passed=True),
            criterion(
                "engine_lateness", "evidence", 0.25, 0.4 if late else 0.001, "Requests left late.", passed=not late
            ),
        ],
        "workload_verdicts": {"production": word, "qa": "GO"},
        "roles": {"production": "production", "qa": "pre-production"},
        "arms": [],
        "steps": [],
        "endpoints": [
            *(endpoint("production", name, values) for name, values in production.items()),
            *(endpoint("qa", name, (38, 0, 0, *quiet)) for name in PRODUCTION),
        ],
        "timeline": [],
    }


def no_go() -> dict[str, Any]:
    findings = [
        finding(
            endpoint=name,
            outcome="empty",
            difference="emptied",
            control=0.0,
            observed=values[1] / values[0],
            effect=values[1] / values[0],
            p_value=1.2e-9,
            only_in_production=True,
            root="the lock on access_tokens" if name == TOKEN else TOKEN,
            first_bad_s=values[3],
            recovered_s=values[4],
            explanation=f"{name} answered {values[2]} requests with an empty body while the step waited for its lock.",
        )
        for name, values in PRODUCTION.items()
        if values[3] is not None
    ]
    findings += [
        finding(
            probe="database", metric="lock_wait_s", unit="s", observed=4.8, explanation="15 sessions waited behind it."
        ),
        finding(
            probe="steps",
            metric="rollback_failed",
            unit="count",
            observed=1,
            phase="after undo the data",
            explanation="Rollback 'undo the data' failed.",
        ),
        finding(
            probe="database",
            metric="replica_lag_s",
            unit="s",
            observed=4.52,
            severity="note",
            explanation="The replica reporting fell 4.5 s behind and caught up at 38.8 s.",
        ),
        finding(probe="errors", metric="log_lines", unit="lines/s", observed=103, explanation="The log was flooded."),
    ]
    return verdict("NO_GO", list(REASONS), findings, broke=True)


def go() -> dict[str, Any]:
    reasons = [
        "No endpoint failed more than its control under production's traffic.",
        "Nobody waited longer than 0.1 s for a lock, and both replicas kept up.",
        "The rollback worked under traffic.",
    ]
    return verdict("GO", reasons, [], broke=False)


def inconclusive() -> dict[str, Any]:
    reasons = ["The load generator sent requests late: 0.4 s at the 99th percentile, where 0.25 s is the limit."]
    return verdict("INCONCLUSIVE", reasons, [], broke=False)
