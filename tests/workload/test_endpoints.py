import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.traffic import Endpoint, Exchange, Request, Response
from replay.workload.endpoints.templates import (
    LOST,
    SeenPath,
    learn_endpoints,
    learn_paths,
    resource_of,
    singular,
    snake,
)

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
        ("/issues/PROJ-123/comments", "/issues/{issue_id}/comments"),
        ("/webhooks/evt_9fK2", "/webhooks/{webhook_id}"),
        ("/certificates/0ujtsYcgvSTl8PAuAdqWYSMnLOv", "/certificates/{certificate_id}"),
        ("/notes/V1StGXR8_Z5jdHi6B-myT", "/notes/{note_id}"),
        ("/docs/507f1f77bcf86cd799439011", "/docs/{doc_id}"),
        ("/users/ada@example.org", "/users/{user_id}"),
        ("/projects/group%2Fproject/issues", "/projects/{project_id}/issues"),
        ("/places/48.137,-11.575", "/places/{place_id}"),
        ("/blobs/sha256:9f86d081884c7d65", "/blobs/{blob_id}"),
        ("/map;lat=1;lon=2/x", "/map;lat={lat};lon={lon}/x"),
        ("/events/5;v=2", "/events/{event_id};v={v}"),
        ("/v1/messages/123:send", "/v1/messages/{message_id}:send"),
        ("/v1/messages:batchGet", "/v1/messages:batchGet"),
        ("/Products(123)/Name", "/Products({product_id})/Name"),
        ("/Products('tea')", "/Products('{product_id}')"),
        ("/Lines(OrderID=1,ProductID=2)", "/Lines(OrderID={order_id},ProductID={product_id})"),
        ("/odata/$metadata", "/odata/$metadata"),
        ("/events/undefined", "/events/{event_id}"),
        ("/a//b", "/a//b"),
        ("/v2", "/v2"),
        ("/en", "/en"),
        ("/oauth2/userinfo/base64", "/oauth2/userinfo/base64"),
        ("/rest/api/2/issue/7", "/rest/api/2/issue/{issue_id}"),
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


def test_what_is_asked_for_below_names_tells_that_they_are_names() -> None:
    paths = [f"/users/{name}/{what}" for name in ("ada", "bea", "cleo") for what in ("badges", "orders")]
    assert template("/users/ada/badges", *paths) == "/users/{user_id}/badges"


def test_a_chain_of_names_is_known_by_what_ends_it() -> None:
    owners = "ada bea cleo dora emmy fay gwen hedy ida joan".split()
    paths = [
        f"/{owner}/{repo}/{what}"
        for owner in owners
        for repo in (f"{owner}-tea", "cup")
        for what in ("issues", "pulls")
    ]
    paths += ["/login", "/search/issues", "/search/users"] * 20
    assert template("/ada/ada-tea/issues", *paths) == "/{id}/{id_2}/issues"
    assert template("/search/issues", *paths) == "/search/issues"
    assert template("/login", *paths) == "/login"


def test_languages_stay_words_and_slugs_below_them_do_not() -> None:
    slugs = [f"/{language}/products/a-{word}-b" for language in ("en", "de") for word in "red green blue pink".split()]
    assert template("/en/products/a-red-b", *slugs) == "/en/products/{product_id}"


def test_files_in_folders_are_one_value() -> None:
    files = [f"/static/{name}.{kind}" for name in ("a", "css/b", "js/lib/c", "js/d") for kind in ("js", "css", "svg")]
    learned = learn_endpoints(map(visit, files))
    assert learned.endpoint("GET", "/static/js/lib/c.js").template == "/static/{static_path}"
    assert learned.parameters("/static/js/lib/c.js") == ("", "", "", "")
    assert learned.values("/static/js/new.js") == (("static_path", "js/new.js"),)


def test_names_of_files_have_their_extensions_in_them() -> None:
    files = [f"/files/{name}" for name in ("report-2024.pdf", "plan-2-a.docx", "notes-of-may.txt", "a-b-c.pdf")]
    assert template("/files/report-2024.pdf", *files) == "/files/{file_id}"


def test_a_slash_at_the_end_makes_no_other_endpoint() -> None:
    assert template("/events", "/events/", "/events/") == "/events/"
    assert template("/events/", "/events", "/events") == "/events"
    assert template("/events/5/", "/events/6", "/events/7") == "/events/{event_id}"
    learned = learn_endpoints([visit("/events"), visit("/events/", 404)])
    assert learned.endpoint("GET", "/events/").template == "/events/"


def test_a_name_that_is_not_there_was_taken_for_an_id() -> None:
    learned = learn_endpoints([visit("/events/5"), visit("/events/upcoming-ones"), visit("/events/none", 404)])
    assert learned.endpoint("GET", "/events/none").template == "/events/{event_id}"
    assert learned.endpoint("GET", "/events/upcoming-ones").template == "/events/upcoming-ones"


def test_values_stand_beside_their_parameters() -> None:
    learned = learn_endpoints([])
    assert learned.values("/users/ada%40example.org/events/55") == (("user_id", "ada@example.org"), ("event_id", "55"))
    assert learned.values("/map;lat=1;lon=2/x") == (("lat", "1"), ("lon", "2"))
    assert learned.values("/v1/status") == ()


def test_an_operation_tells_endpoints_apart() -> None:
    endpoint = learn_endpoints([]).endpoint("post", "/graphql", "GetUser")
    assert str(endpoint) == "POST /graphql#GetUser"
    assert Endpoint.parse(str(endpoint)) == endpoint
    assert Endpoint.parse("GET /v1/events/{event_id}") == Endpoint("GET", "/v1/events/{event_id}")


def guesses(number: int) -> list[str]:
    draw = random.Random(number)  # noqa: S311 - guesses are no secrets
    words = [f"{a}{b}" for a in "admin backup config shell test old wp db".split() for b in "abcdefghijkl-_"]
    ends = ["", "", ".php", ".bak", ".zip", "1", "~"]
    made = set[str]()
    while len(made) < number:
        made.add(
            "".join(f"/{draw.choice(words)}{draw.choice(words)}{draw.choice(ends)}" for _ in range(draw.randint(1, 4)))
        )
    return sorted(made)


@pytest.mark.parametrize("found", [False, True])
def test_a_robots_guesses_are_few_endpoints(found: bool) -> None:
    seen = [SeenPath("GET", path, "", 1, found) for path in guesses(30_000)]
    seen += [SeenPath("GET", f"/v1/users/{number}") for number in range(2_000)]
    seen += [SeenPath("GET", "/v1/status", "", 500), SeenPath("GET", "/login", "", 800)]
    learned = learn_paths(seen)
    templates = {learned.endpoint(one.method, one.path).template for one in seen}
    assert {"/v1/users/{user_id}", "/v1/status", "/login", LOST} <= templates
    assert len(templates) < 20
    assert learned.lost > 10_000 or found


def test_a_few_paths_that_are_not_there_keep_their_names() -> None:
    learned = learn_paths([SeenPath("GET", "/v0/status", "", 5, found=False), SeenPath("GET", "/v1/status")])
    assert learned.endpoint("GET", "/v0/status").template == "/v0/status"
    assert learned.lost == 0


def test_what_is_asked_for_often_keeps_its_name_amid_guesses() -> None:
    seen = [SeenPath("GET", path, "", 1, found=False) for path in guesses(1_000)]
    learned = learn_paths([*seen, SeenPath("GET", "/v0/status", "", 500, found=False)])
    assert learned.endpoint("GET", "/v0/status").template == "/v0/status"
    assert learned.lost > 0


SEGMENT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(
        "events v1 v2 2 1.0 api en users ada bea 5 77 2026-03-01 a-b-c a.csv 9.csv 5:send x:get Products(5) "
        "Products('a') map;lat=1 %2F a%2Fb.png @ada undefined PROJ-1 search \0 \1 \2 {id} # 9f86d081884c7d65".split(" ")
    ),
)
PATHS = st.lists(SEGMENT, max_size=5).map(lambda segments: "/" + "/".join(segments))


@given(st.lists(st.tuples(PATHS, st.booleans(), st.integers(1, 9)), max_size=40), st.randoms(use_true_random=False))
def test_any_path_has_one_endpoint_whatever_the_order(paths: list[tuple[str, bool, int]], draw: random.Random) -> None:
    seen = [SeenPath("GET", path, "", count, found) for path, found, count in paths]
    once = learn_paths(seen)
    shuffled = list(seen)
    draw.shuffle(shuffled)
    again = learn_paths(shuffled)
    for one in seen:
        endpoint = once.endpoint("GET", one.path)
        assert endpoint == again.endpoint("GET", one.path) == once.endpoint("GET", one.path)
        assert endpoint.template.startswith("/")
        assert len(once.parameters(one.path)) == len(one.path.removeprefix("/").split("/"))
        assert all(name for name, _ in once.values(one.path))


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
