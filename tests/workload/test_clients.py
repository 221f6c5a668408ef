import base64
import dataclasses
from typing import Any

from replay.workload.model import model_workload


def names(recording: Any) -> list[str]:
    return [client.name for client in model_workload(recording.exchanges).clients]


def log_in(recording: Any, at_s: float, client_id: str, token: str, **more: str) -> int:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": f"hidden-{client_id}"}
    return recording.add(at_s, "POST /oauth/token", form=form, answer={"access_token": token, **more})


def test_a_client_keeps_its_name_over_its_tokens(recording: Any) -> None:
    log_in(recording, 0, "scanner-1", "tokenA11111", refresh_token="refreshA1111")
    recording.add(1, "GET /v1/events", bearer="tokenA11111")
    form = {"grant_type": "refresh_token", "client_id": "scanner-1", "refresh_token": "refreshA1111"}
    recording.add(2, "POST /oauth/token", form=form, answer={"access_token": "tokenA22222"})
    recording.add(3, "GET /v1/events", bearer="tokenA22222")
    log_in(recording, 4, "scanner-2", "tokenB11111")
    recording.add(5, "GET /v1/events", bearer="tokenB11111")
    assert names(recording) == ["scanner-1"] * 4 + ["scanner-2"] * 2


def test_an_app_does_not_join_its_users(recording: Any) -> None:
    for number, user in enumerate(("ada", "bea")):
        form = {"grant_type": "password", "client_id": "app", "username": user, "password": "hidden"}
        headers = {"X-Api-Key": "the-key-of-the-app"}
        recording.add(number, "POST /token", form=form, headers=headers, answer={"access_token": f"token-of-{user}"})
        recording.add(number + 0.5, "GET /me", bearer=f"token-of-{user}", headers=headers)
    assert names(recording) == ["ada", "ada", "bea", "bea"]


def test_two_refreshing_clients_of_one_app_stay_two(recording: Any) -> None:
    for number in (1, 2):
        form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": f"refresh-{number}"}
        recording.add(number, "POST /token", form=form, answer={"access_token": f"token-{number}"})
        recording.add(number + 0.5, "GET /me", bearer=f"token-{number}")
    first, second = names(recording)[::2]
    assert first == "app"
    assert second.startswith("app-")
    assert names(recording) == [first, first, second, second]


def test_basic_names_its_user(recording: Any) -> None:
    pair = base64.b64encode(b"crm:hidden").decode()
    headers = {"Authorization": f"Basic {pair}"}
    recording.add(0, "POST /oauth/token", headers=headers, answer={"access_token": "token-of-crm"})
    recording.add(1, "GET /v1/events", bearer="token-of-crm")
    assert names(recording) == ["crm", "crm"]


def test_a_session_cookie_is_followed_from_where_it_is_set(recording: Any) -> None:
    recording.add(0, "GET /login", answered={"Set-Cookie": "sid=before11; Path=/; HttpOnly"})
    body = {"email": "ada@example.org", "password": "hidden"}
    cookie = {"Cookie": "sid=before11; lang=en"}
    recording.add(1, "POST /login", headers=cookie, body=body, answered={"Set-Cookie": "sid=after222"})
    recording.add(2, "GET /home", headers={"Cookie": "lang=en; sid=after222"})
    recording.add(3, "GET /home", headers={"Cookie": "lang=en"}, client="address-2")
    own = names(recording)
    assert len(set(own[:3])) == 1
    assert own[3] == "address-2"


def test_a_body_about_somebody_is_not_from_them(recording: Any) -> None:
    recording.add(0, "POST /v1/users", bearer="admin-token", body={"username": "ada", "password": "hidden"})
    recording.add(1, "POST /v1/users", bearer="admin-token", body={"username": "bea", "password": "hidden"})
    (only,) = set(names(recording))
    assert only.startswith("token-")


def test_a_token_made_for_another_does_not_join_the_two(recording: Any) -> None:
    recording.add(0, "POST /v1/keys", bearer="admin-token", answer={"token": "token-for-somebody-else"})
    recording.add(1, "GET /v1/events", bearer="token-for-somebody-else")
    assert len(set(names(recording))) == 2


def test_keys_and_addresses(recording: Any) -> None:
    recording.add(0, "GET /v1/events", headers={"X-Api-Key": "key-of-partner"})
    recording.add(1, "GET /v1/events?api_key=key-of-partner")
    recording.add(2, "GET /v1/events")
    recording.add(3, "GET /v1/events", client="address-2")
    own = names(recording)
    assert own[0] == own[1] != own[2]
    assert own[0].startswith("key-")
    assert own[2:] == ["address-1", "address-2"]
    assert "key-of-partner" not in "".join(own)


def test_two_seats_of_a_client_do_not_wait_for_each_other(recording: Any) -> None:
    for seat in (1, 2):
        log_in(recording, seat / 10, "scanner", f"token-of-seat-{seat}")
    for number in range(3):
        for seat in (1, 2):
            recording.add(1 + number + seat / 4, "GET /v1/events?limit=5", bearer=f"token-of-seat-{seat}")
    own = [dataclasses.replace(one, connection=str(number % 2)) for number, one in enumerate(recording.exchanges)]
    workload = model_workload(own)
    assert {client.name for client in workload.clients} == {"scanner"}
    assert workload.after == (None, None, 0, 1, 2, 3, 4, 5)


def test_the_connections_of_a_browser_are_one_strand(recording: Any) -> None:
    for number in range(4):
        recording.add(number, "GET /v1/events", headers={"Cookie": "sid=abcabcabc"})
    own = [dataclasses.replace(one, connection=str(number)) for number, one in enumerate(recording.exchanges)]
    assert model_workload(own).after == (None, 0, 1, 2)


def test_an_authorization_code_joins_who_was_given_it(recording: Any) -> None:
    for user in ("ada", "bea"):
        code = f"code-of-{user}-x1y2"
        form = {"username": user, "password": f"hidden-{user}"}
        answered = {"Location": f"https://api.test/back?code={code}&state=s1"}
        recording.add(0, "POST /login", form=form, status=302, answered=answered)
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": "made-by-the-client"}
        basic = {"Authorization": "Basic " + base64.b64encode(b"site:hidden").decode()}
        answer = {"access_token": f"token-of-{user}"}
        recording.add(1, "POST /oauth/token", form=form, headers=basic, answer=answer, client="address-9")
        recording.add(2, "GET /me", bearer=f"token-of-{user}", client="address-9")
    assert sorted(names(recording)) == ["ada"] * 3 + ["bea"] * 3
