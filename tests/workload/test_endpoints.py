from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.traffic import Exchange, Request, Response
from replay.workload.endpoints import learn_endpoints, resource_of, singular, snake

AT = datetime(2026, 3, 2, tzinfo=UTC)


def visit(path: str, status: int = 200) -> Exchange:
    return Exchange(AT, 0.1, "c", "1", Request("GET", "api.test", path), Response(status))


def template(path: str, *others: str) -> str:
    return learn_endpoints(visit(other) for other in (path, *others)).endpoint("get", path).template


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/events/55", "/v1/events/{event_id}"),
        ("/v1/events/55/registrations/9", "/v1/events/{event_id}/registrations/{registration_id}"),
        ("/v2.1/categories/7", "/v2.1/categories/{category_id}"),
        ("/people/8/addresses/9", "/people/{person_id}/addresses/{address_id}"),
        ("/check-ins/12", "/check-ins/{check_in_id}"),
        ("/orderItems/12", "/orderItems/{order_item_id}"),
        ("/events/0b8f2a34-9c1d-4e5f-8a6b-7c8d9e0f1a2b", "/events/{event_id}"),
        ("/files/d41d8cd98f00b204e9800998ecf8427e", "/files/{file_id}"),
        ("/files/3f9a2c01", "/files/{file_id}"),
        ("/orders/ORD-10023", "/orders/{order_id}"),
        ("/payments/pay_1Nx83jds", "/payments/{payment_id}"),
        ("/tickets/01HZX3J8K2M4N6P8Q0R2S4T6V8", "/tickets/{ticket_id}"),
        ("/links/aZ3xQ9mN2bV7cK1pL5wE", "/links/{link_id}"),
        ("/users/ada%40example.org", "/users/{user_id}"),
        ("/reports/2026-03-01", "/reports/{report_date}"),
        ("/exports/991.csv", "/exports/{export_id}.csv"),
        ("/events/5/7", "/events/{event_id}/{event_id_2}"),
        ("/v1/77", "/v1/{id}"),
        ("/v1/events/", "/v1/events/"),
        ("/", "/"),
        ("/status", "/status"),
        ("/oauth2/token", "/oauth2/token"),
        ("/v1beta1/me", "/v1beta1/me"),
        ("/password-reset", "/password-reset"),
        ("/getEventAttendeesByRegistration", "/getEventAttendeesByRegistration"),
    ],
)
def test_a_parameter_is_known_by_its_form(path: str, expected: str) -> None:
    assert template(path) == expected


def test_slugs_are_known_by_their_number() -> None:
    slugs = [f"/v1/talks/a-talk-on-topic-{word}" for word in "abcdefghijkl"]
    assert template(*slugs, "/v1/talks/search") == "/v1/talks/{talk_id}"
    assert template("/v1/talks/search", *slugs) == "/v1/talks/search"


def test_names_are_known_by_new_ones_that_keep_coming() -> None:
    words = "ada bea cleo dora emmy fay gwen hedy ida joan katherine lise".split()
    learned = learn_endpoints(visit(f"/v1/users/{word}/badges") for word in words)
    assert learned.endpoint("GET", "/v1/users/mary/badges").template == "/v1/users/{user_id}/badges"
    assert learned.endpoint("GET", "/v1/users/me/badges").template == "/v1/users/me/badges"


def test_the_resources_of_an_api_stay_words_however_many() -> None:
    words = "events users orders tickets badges venues rooms talks speakers sponsors invoices payments refunds".split()
    assert template(*(f"/v1/{word}" for word in words)) == "/v1/events"


def test_a_scan_teaches_nothing() -> None:
    scan = [visit(f"/admin-{number}.php-x-y", 404) for number in range(50)]
    learned = learn_endpoints([*scan, visit("/health-check")])
    assert learned.endpoint("GET", "/health-check").template == "/health-check"


def test_the_names_of_a_path_stand_beside_its_segments() -> None:
    learned = learn_endpoints([])
    assert learned.parameters("/v1/events/55/check-in") == ("", "", "event_id", "")


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=20), max_size=12))
def test_any_path_has_an_endpoint_with_as_many_segments(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    learned = learn_endpoints([visit(path)])
    assert len(learned.parameters(path)) == len(path.removeprefix("/").split("/"))
    assert learned.endpoint("GET", path).template.startswith("/")


def test_a_path_without_end_is_read() -> None:
    assert template("/a" * 5000).startswith("/a/a")


def test_words() -> None:
    assert [singular(word) for word in ("events", "status", "classes", "boxes", "bus", "s")] == [
        *("event", "status", "class", "box", "bus", "s")
    ]
    assert snake("checkIns-2") == "check_ins_2"
    assert resource_of("/v1/events/{event_id}/ticket-classes") == "ticket_class"
    assert resource_of("/v1/{id}") == ""
