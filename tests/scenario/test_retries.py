"""Retries found in traffic that is written by hand."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from replay.scenario.retries import find_retries, suggest
from replay.scenario.runtime.retries import Policies, Retry
from replay.traffic import Exchange, Request, Response
from replay.workload.model import Workload, model_workload


class Traffic:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def add(self, at_s: float, path: str, status: int | None, *, client: str = "a", **more: str) -> float:
        """Add an exchange; when it ended. ``body`` makes it a POST, ``token`` its bearer."""
        body = more.get("body")
        headers: tuple[tuple[str, str], ...] = ()
        if "token" in more:
            headers = (("Authorization", f"Bearer {more['token']}"),)
        if body:
            headers = (("Content-Type", "application/x-www-form-urlencoded"),)
        self.exchanges.append(
            Exchange(
                at=datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=at_s),
                duration_s=0.1,
                client=client,
                connection=client,
                request=Request(
                    "POST" if body else "GET", "api.test", path, "", headers, body.encode() if body else None
                ),
                response=Response(status, (("Content-Type", "application/json"),), more.get("answer", "").encode(), 0)
                if status
                else None,
                error="" if status else "connection reset",
            )
        )
        return at_s + 0.1

    def tries(self, at_s: float, path: str, statuses: list[int | None], waits_s: list[float], **more: str) -> None:
        end_s = self.add(at_s, path, statuses[0], **more)
        for status, wait_s in zip(statuses[1:], waits_s, strict=True):
            end_s = self.add(end_s + wait_s, path, status, **more)

    def workload(self) -> Workload:
        return model_workload(self.exchanges)


def test_waits_that_double_are_found() -> None:
    traffic = Traffic()
    for number in range(5):
        traffic.tries(number * 20, "/v1/events", [503, 503, None, 200], [0.5, 1.0, 2.0], client=f"c{number}")
    for number in range(9):
        traffic.add(number * 10 + 3, "/v1/events", 200, client="other")
    (found,) = find_retries(traffic.workload())
    assert (found.endpoint, found.failures, found.retried) == ("GET /v1/events", 5, 5)
    assert (found.times, found.backoff, found.first_s, found.jitter) == (3, "exponential", 0.5, False)
    assert found.on == (503, "no connection")
    assert found.source == (
        'Retry(times=3, backoff="exponential", first_s=0.5, jitter=False, on=(503, "no connection"))'
    )


@pytest.mark.parametrize(("waits", "backoff"), [([1.0, 1.0, 1.0], "constant"), ([1.0, 2.0, 3.0], "linear")])
def test_other_backoffs_are_found(waits: list[float], backoff: str) -> None:
    traffic = Traffic()
    for number in range(3):
        traffic.tries(number * 30, "/v1/orders", [502, 502, 502, 502], waits, client=f"c{number}", body="{}")
    (found,) = find_retries(traffic.workload())
    assert (found.backoff, found.first_s, found.on) == (backoff, 1.0, (502,))


def test_chance_in_the_waits_is_seen() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    traffic = Traffic()
    for number in range(200):
        traffic.tries(number * 20, "/v1/events", [503, 200], [chance.uniform(0, 2)], client=f"c{number}")
    (found,) = find_retries(traffic.workload())
    assert found.jitter
    assert found.first_s == pytest.approx(2.0, abs=0.3)


def test_a_login_anew_is_found() -> None:
    traffic = Traffic()
    for number in range(3):
        old, new = f"tok-old-8f3a91c{number}", f"tok-new-8f3a91c{number}"
        client = f"c{number}"
        end_s = traffic.add(number * 20, "/v1/me", 401, client=client, token=old)
        end_s = traffic.add(
            end_s + 0.1,
            "/oauth/token",
            200,
            client=client,
            body=f"client_id=c{number}&refresh_token={old}",
            answer=f'{{"access_token": "{new}"}}',
        )
        traffic.add(end_s + 0.1, "/v1/me", 200, client=client, token=new)
    (found,) = find_retries(traffic.workload())
    assert found.endpoint == "GET /v1/me"
    assert found.reauth
    assert found.source == '"reauth"'


def test_who_polls_does_not_retry_and_who_gives_up_neither() -> None:
    traffic = Traffic()
    for number in range(40):
        traffic.add(number * 5, "/v1/status", 503 if number % 7 == 3 else 200, client="poller")
    for number in range(6):
        traffic.add(number * 5, "/v1/events", 503, client=f"c{number}")
        traffic.add(number * 5 + 100, "/v1/events", 200, client=f"c{number}")
    traffic.tries(300, "/v1/rare", [500, 200], [1.0])
    assert find_retries(traffic.workload()) == ()


def test_healthy_traffic_and_none_at_all_suggest_nothing() -> None:
    traffic = Traffic()
    for number in range(10):
        traffic.add(number, "/v1/events", 200)
    assert find_retries(traffic.workload()) == ()
    assert find_retries(Traffic().workload()) == ()
    assert suggest(()) == ""


def test_what_is_suggested_is_what_a_locustfile_takes() -> None:
    traffic = Traffic()
    for number in range(3):
        traffic.tries(number * 20, "/v1/events", [503, 200], [0.25], client=f"c{number}")
    names: dict[str, object] = {"Retry": Retry}
    exec(suggest(find_retries(traffic.workload())), names)  # noqa: S102 - our own text
    on_failure = names["on_failure"]
    assert on_failure == {"GET /v1/events": Retry(times=1, backoff="constant", first_s=0.25, jitter=False, on=(503,))}
    assert isinstance(on_failure, dict)
    Policies(on_failure)
