import base64
import dataclasses
from typing import Any

from replay.workload.model import model_workload

SECRET = {"grant_type": "client_credentials", "client_id": "crm", "client_secret": "hidden-for-crm"}


def links(recording: Any) -> set[tuple[Any, ...]]:
    """Kind, producer, handed at, consumer, sent at."""
    found = model_workload(recording.exchanges).correlations
    return {(link.kind, link.producer, link.handed, link.consumer, link.sent) for link in found}


def credentials(recording: Any) -> set[tuple[Any, ...]]:
    found = model_workload(recording.exchanges).credentials
    return {(one.exchange, one.place, one.column) for one in found}


def test_oauth_with_a_refresh(recording: Any) -> None:
    recording.add(0, "POST /oauth/token", form=SECRET, answer={"access_token": "tokenA11", "refresh_token": "renewA11"})
    recording.add(1, "GET /v1/events", bearer="tokenA11")
    refresh = {"grant_type": "refresh_token", "client_id": "crm", "refresh_token": "renewA11"}
    recording.add(
        2, "POST /oauth/token", form=refresh, answer={"access_token": "tokenA22", "refresh_token": "renewA22"}
    )
    recording.add(3, "GET /v1/events", bearer="tokenA22")
    recording.add(4, "GET /v1/events", bearer="tokenA11", status=401)
    assert links(recording) == {
        ("token", 0, "json:/access_token", 1, "bearer"),
        ("token", 0, "json:/refresh_token", 2, "form:refresh_token"),
        ("token", 2, "json:/access_token", 3, "bearer"),
        ("token", 0, "json:/access_token", 4, "bearer"),
    }
    assert credentials(recording) == {(0, "form:client_secret", "client_secret")}


def test_a_token_that_is_handed_out_twice_comes_from_the_latest_answer(recording: Any) -> None:
    for at_s in (0, 2):
        recording.add(at_s, "POST /oauth/token", form=SECRET, answer={"access_token": "tokenA11"})
        recording.add(at_s + 1, "GET /v1/events", bearer="tokenA11")
    assert {link[:4:2] + link[1:2] for link in links(recording)} == {
        ("token", "json:/access_token", 0),
        ("token", "json:/access_token", 2),
    }
    assert {(link[1], link[3]) for link in links(recording)} == {(0, 1), (2, 3)}


def test_nobody_gets_a_value_before_it_is_handed_out(recording: Any) -> None:
    recording.add(0, "POST /oauth/token", form=SECRET, answer={"access_token": "tokenA11"}, took_s=5)
    recording.add(1, "GET /v1/events", bearer="tokenA11")
    assert links(recording) == set()
    assert (1, "bearer", "bearer") in credentials(recording)


def test_what_a_client_makes_is_followed(recording: Any) -> None:
    registration = {"id": 991, "event_id": 55, "status": "open"}
    recording.add(0, "GET /v1/events", answer={"items": [{"id": 54}, {"id": 55}]}, bearer="tokenA11")
    recording.add(
        1, "POST /v1/events/55/registrations", status=201, body={"name": "Ada"}, answer=registration, bearer="tokenA11"
    )
    recording.add(2, "GET /v1/registrations/991", answer=registration, bearer="tokenA11")
    recording.add(3, "POST /v1/check-ins", body={"registration_id": 991, "gate": 2}, bearer="tokenA11")
    recording.add(4, "GET /v1/events/55", answer={"id": 55}, bearer="tokenA11")
    assert links(recording) == {
        ("created", 1, "json:/id", 2, "path"),
        ("created", 1, "json:/id", 3, "json:/registration_id"),
    }


def test_what_was_there_before_is_sent_as_it_is(recording: Any) -> None:
    """Stage is a copy: an id that a list held, or that somebody used before, is the same there."""
    recording.add(0, "GET /v1/registrations", answer={"items": [{"id": 991}]}, client="address-2")
    recording.add(1, "POST /v1/check-ins", status=201, answer={"id": 7, "registration_id": 991}, body={"code": "x"})
    recording.add(2, "GET /v1/registrations/991")
    recording.add(3, "POST /v1/search", answer={"event_id": 55, "total": 3}, body={"text": "x"})
    recording.add(4, "GET /v1/attendees/3")
    assert links(recording) == set()


def test_a_number_met_by_chance_is_no_link(recording: Any) -> None:
    for number in range(1, 9):
        recording.add(number, "POST /v1/check-ins", status=201, answer={"id": number}, body={"code": f"c{number}"})
        recording.add(number + 0.5, f"GET /v1/events/{number if number < 4 else number + 100}")
    assert links(recording) == set()


def test_a_pair_of_places_that_always_agrees_is_a_link_whatever_its_names(recording: Any) -> None:
    for number in range(300, 304):
        recording.add(number, "POST /v1/orders", status=201, answer={"number": number}, body={"code": "x"})
        recording.add(number + 0.5, f"GET /v1/receipts/{number}")
    assert {link[0] for link in links(recording)} == {"created"}
    assert len(links(recording)) == 4


def test_location_names_what_was_made(recording: Any) -> None:
    recording.add(0, "POST /v1/exports", status=202, answered={"Location": "http://api.test/v1/exports/77"}, body={})
    recording.add(1, "GET /v1/exports/77")
    recording.add(2, "GET /v1/exports/77/file")
    assert links(recording) == {("created", 0, "location", 1, "path"), ("created", 0, "location", 2, "path")}


def test_cursors_lead_from_page_to_page(recording: Any) -> None:
    recording.add(0, "GET /v1/attendees?limit=2", answer={"items": [{"id": 1}, {"id": 2}], "next_cursor": "Mg"})
    recording.add(
        1, "GET /v1/attendees?limit=2&cursor=Mg", answer={"items": [{"id": 3}, {"id": 4}], "next_cursor": "NA"}
    )
    recording.add(2, "GET /v1/attendees?limit=2&cursor=NA", answer={"items": [], "next_cursor": None})
    assert links(recording) == {
        ("cursor", 0, "json:/next_cursor", 1, "query:cursor"),
        ("cursor", 1, "json:/next_cursor", 2, "query:cursor"),
    }


def test_page_numbers_are_no_cursors(recording: Any) -> None:
    recording.add(0, "GET /v1/attendees?page=1", answer={"items": [{"id": 1}], "next_page": 2})
    recording.add(1, "GET /v1/attendees?page=2", answer={"items": [{"id": 2}]})
    assert links(recording) == set()


def test_csrf_cookies_and_validators(recording: Any) -> None:
    answered = {"Set-Cookie": "sid=s1s1s1s1; Path=/", "ETag": '"v1"'}
    recording.add(0, "GET /form", answer={"csrf": "guard-11"}, answered=answered)
    cookie = {"Cookie": "sid=s1s1s1s1"}
    recording.add(1, "POST /form", form={"csrf": "guard-11", "name": "Ada"}, headers=cookie)
    recording.add(2, "GET /form", headers={**cookie, "If-None-Match": '"v1"'}, status=304)
    assert links(recording) == {
        ("token", 0, "json:/csrf", 1, "form:csrf"),
        ("token", 0, "cookie:sid", 1, "cookie:sid"),
        ("token", 0, "cookie:sid", 2, "cookie:sid"),
        ("validator", 0, "header:etag", 2, "header:if-none-match"),
    }
    assert credentials(recording) == set()


def test_a_cursor_comes_from_the_same_strand(recording: Any) -> None:
    """Two seats of a client turn the same pages; the later answer is not always one's own."""
    for seat in (1, 2):
        form = {**SECRET, "device": str(seat)}
        recording.add(seat / 10, "POST /oauth/token", form=form, answer={"access_token": f"token-of-seat-{seat}"})
    for seat in (1, 2):
        recording.add(seat, "GET /v1/events", bearer=f"token-of-seat-{seat}", answer={"next_cursor": "Mg"})
    for seat in (1, 2):
        recording.add(2 + seat, "GET /v1/events?cursor=Mg", bearer=f"token-of-seat-{seat}", answer={"items": []})
    seats = [dataclasses.replace(one, connection=str(number % 2)) for number, one in enumerate(recording.exchanges)]
    found = model_workload(seats).correlations
    assert {(link.producer, link.consumer) for link in found if link.kind == "cursor"} == {(2, 4), (3, 5)}


def test_what_another_client_made_is_followed_too(recording: Any) -> None:
    recording.add(0, "POST /v1/registrations", status=201, answer={"id": 991}, bearer="token-of-kiosk", body={"a": 1})
    recording.add(1, "GET /v1/registrations", answer={"items": [{"id": 991}, {"id": 12}]}, bearer="token-of-door")
    recording.add(2, "POST /v1/registrations/991/check-in", bearer="token-of-door")
    recording.add(3, "POST /v1/registrations/12/check-in", bearer="token-of-door")
    assert links(recording) == {("created", 0, "json:/id", 2, "path")}


def test_polling_that_overlaps_keeps_its_token_and_its_order(recording: Any) -> None:
    recording.add(0, "POST /oauth/token", form=SECRET, answer={"access_token": "tokenA11"})
    for number in range(10):
        recording.add(1 + number, "GET /v1/changes", bearer="tokenA11", answer={"items": [{"id": 55}]}, took_s=3.5)
        recording.add(1.2 + number, "GET /v1/events/55", bearer="tokenA11", answer={"id": 55})
    workload = model_workload(recording.exchanges)
    assert {(link.producer, link.sent) for link in workload.correlations} == {(0, "bearer")}
    assert len(workload.correlations) == 20
    for number in range(1, len(workload.exchanges)):
        earlier = workload.after[number]
        assert earlier is not None
        ended_s = workload.starts_s[earlier] + workload.exchanges[earlier].duration_s
        assert ended_s <= workload.starts_s[number]


def test_secrets_that_nobody_handed_out_are_credentials(recording: Any) -> None:
    pair = base64.b64encode(b"crm:hidden").decode()
    recording.add(0, "GET /v1/events", bearer="from-before")
    recording.add(1, "POST /oauth/token", headers={"Authorization": f"Basic {pair}"}, body={"scope": "read"})
    recording.add(2, "GET /v1/events", headers={"X-Api-Key": "hidden-key"})
    recording.add(3, "GET /v1/events", headers={"Cookie": "lang=en; PHPSESSID=abc123abc"})
    recording.add(4, "POST /login", body={"user": {"email": "ada@example.org", "password": "hidden"}})
    recording.add(5, "GET /v1/events?api_key=hidden-key")
    recording.add(6, "GET /v1/events", headers={"Authorization": "Token raw-token-1"})
    assert credentials(recording) == {
        (0, "bearer", "bearer"),
        (1, "basic:password", "password"),
        (2, "header:x-api-key", "x-api-key"),
        (3, "cookie:PHPSESSID", "PHPSESSID"),
        (4, "json:/user/email", "email"),
        (4, "json:/user/password", "password"),
        (5, "query:api_key", "api_key"),
        (6, "header:authorization", "authorization"),
    }


def test_a_secret_that_was_always_refused_stays(recording: Any) -> None:
    recording.add(0, "GET /v1/events", bearer="expired-long-ago", status=401)
    recording.add(1, "GET /v1/events", bearer="expired-long-ago", status=401)
    assert credentials(recording) == set()


def test_a_password_that_is_made_is_not_asked_for(recording: Any) -> None:
    recording.add(0, "POST /v1/users", bearer="from-before", body={"email": "ada@example.org", "password": "hidden"})
    assert credentials(recording) == {(0, "bearer", "bearer")}


def test_signatures_are_left_to_the_scenario(recording: Any) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0f0f0f"
    recording.add(0, "GET /v1/events", headers={"Authorization": signed})
    assert credentials(recording) == set()


def test_what_a_client_computes_is_no_credential(recording: Any) -> None:
    form = {"grant_type": "authorization_code", "code": "c1", "code_verifier": "made-by-the-client"}
    recording.add(0, "POST /oauth/token", form=form, headers={"X-Signature": "0f0f0f0f"})
    assert credentials(recording) == set()


def test_amounts_flags_and_dates_are_no_links(recording: Any) -> None:
    for number in range(6):
        at = f"2026-03-02T09:00:{number:02}Z"
        answer = {
            "total": 1200 + number,
            "status": f"state{number}",
            "version": 300 + number,
            "at": at,
            "price": "12.50",
        }
        recording.add(number, "POST /v1/quotes", body={"a": number}, answer=answer)
        target = (
            f"GET /v1/pages?page={1200 + number}&status=state{number}&version={300 + number}&since={at}&price=12.50"
        )
        recording.add(number + 0.5, target)
    assert links(recording) == set()
