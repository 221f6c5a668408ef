from replay.scenario.runtime.carried import CarriedValues, Missing, find_renewals
from replay.scenario.schedule import Extract, Inject, PlannedRequest
from replay.traffic import Response

TOKEN = "POST /oauth/token"
RENEWALS = {TOKEN: frozenset({"json:/refresh"})}


def planned(
    request: int, endpoint: str, *, extracts: str = "", injects: tuple[str, int] | None = None
) -> PlannedRequest:
    method, path = endpoint.split()
    return PlannedRequest(
        request=request,
        visit=0,
        client="kiosk-01",
        endpoint=endpoint,
        due_s=float(request),
        after=None,
        method=method,
        path=path,
        query="",
        headers=(),
        body=None,
        expected_status=200,
        expected_shape=None,
        extracts=(Extract("json:/refresh", extracts),) if extracts else (),
        injects=(Inject("form:refresh", injects[0], injects[1]),) if injects else (),
    )


def handing_out(value: str) -> Response:
    return Response(200, (("content-type", "application/json"),), f'{{"refresh": "{value}"}}'.encode())


def test_a_value_is_carried_under_its_captured_name() -> None:
    values = CarriedValues({}, RENEWALS)
    values.answered(planned(1, TOKEN, extracts="a"), handing_out("stage-a"))
    needed = values.needed(planned(2, TOKEN, injects=("a", 1)))
    assert not isinstance(needed, Missing)
    assert list(needed.values()) == ["stage-a"]


def test_what_needs_a_value_that_never_came_is_missing_it() -> None:
    values = CarriedValues({}, RENEWALS)
    values.answered(planned(1, TOKEN, extracts="a"), Response(200))
    needed = values.needed(planned(2, "GET /v1/events", injects=("a", 1)))
    assert isinstance(needed, Missing)
    assert needed.caused_by == 1


def test_a_renewal_falls_back_on_what_its_client_had_last() -> None:
    values = CarriedValues({}, RENEWALS)
    values.answered(planned(1, TOKEN, extracts="a"), handing_out("stage-a"))
    values.answered(planned(2, TOKEN, extracts="b", injects=("a", 1)), Response(200))
    renewal = values.needed(planned(3, TOKEN, extracts="c", injects=("b", 2)))
    assert not isinstance(renewal, Missing)
    assert list(renewal.values()) == ["stage-a"]


def test_only_a_renewal_does() -> None:
    values = CarriedValues({}, RENEWALS)
    values.answered(planned(1, TOKEN, extracts="a"), handing_out("stage-a"))
    values.answered(planned(2, TOKEN, extracts="b", injects=("a", 1)), Response(200))
    assert isinstance(values.needed(planned(3, "GET /v1/events", injects=("b", 2))), Missing)
    assert isinstance(values.needed(planned(4, "POST /v1/events", injects=("b", 2))), Missing)


def test_a_first_login_that_failed_leaves_nothing_to_fall_back_on() -> None:
    values = CarriedValues({}, RENEWALS)
    values.failed(planned(1, TOKEN, extracts="a"), "no answer in 30 s")
    assert isinstance(values.needed(planned(2, TOKEN, injects=("a", 1))), Missing)


def test_what_nobody_asked_for_in_the_capture_is_there_to_fall_back_on() -> None:
    values = CarriedValues({}, RENEWALS)
    values.answered(planned(1, TOKEN), handing_out("stage-a"))
    values.answered(planned(2, TOKEN, extracts="b"), Response(200))
    renewal = values.needed(planned(3, TOKEN, injects=("b", 2)))
    assert not isinstance(renewal, Missing)
    assert list(renewal.values()) == ["stage-a"]


def test_renewals_are_found_in_the_schedule() -> None:
    page = "GET /v1/events"
    requests = [
        planned(1, TOKEN, extracts="a"),
        planned(2, TOKEN, extracts="b", injects=("a", 1)),
        planned(3, page, extracts="c", injects=("b", 2)),
        planned(4, page, injects=("c", 3)),
    ]
    assert find_renewals(requests) == RENEWALS
