from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.workload.endpoints.routes import Rules, read_rules
from replay.workload.endpoints.templates import SeenPath, learn_paths


def written(folder: Path, text: str, name: str = "routes.txt") -> Rules:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return read_rules(file)


def template(rules: Rules, method: str, path: str) -> str:
    match = rules.match(method, path)
    return match.template if match else ""


LIST = """
# users
GET /users/{id}            # one
GET,DELETE /users/:id/badges/<int:badge>
POST /users/search
/users/{id}
https://api.test/things/{thing_id}:send
/things/{thing_id}
/files/{path:path}
/static/*
/codes/{code:[A-Z]{3}}
/codes/{code}
/map;lat={lat};lon={lon}
"""


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/users/5", "/users/{id}"),
        ("GET", "/users/5/", "/users/{id}"),
        ("POST", "/users/search", "/users/search"),
        ("DELETE", "/users/ada/badges/7", "/users/{id}/badges/{badge}"),
        ("PATCH", "/users/ada/badges/7", "/users/{id}/badges/{badge}"),
        ("DELETE", "/users/ada/badges/gold", ""),
        ("POST", "/things/5:send", "/things/{thing_id}:send"),
        ("GET", "/things/5", "/things/{thing_id}"),
        ("GET", "/files/a/b/c.txt", "/files/{path}"),
        ("GET", "/files", ""),
        ("GET", "/static/css/a.css", "/static/{path}"),
        ("GET", "/map;lat=1;lon=2", "/map;lat={lat};lon={lon}"),
        ("GET", "/elsewhere", ""),
    ],
)
def test_a_list_of_routes(tmp_path: Path, method: str, path: str, expected: str) -> None:
    assert template(written(tmp_path, LIST), method, path) == expected


def test_parameters_and_values_stand_beside_the_segments(tmp_path: Path) -> None:
    rules = written(tmp_path, LIST)
    match = rules.match("GET", "/users/a%2Fb/badges/7")
    assert match is not None
    assert match.parameters == ("", "id", "", "badge")
    assert match.values == (("id", "a/b"), ("badge", "7"))
    tail = rules.match("GET", "/files/a/b%20c")
    assert tail is not None
    assert tail.parameters == ("", "", "")
    assert tail.values == (("path", "a/b c"),)


OPENAPI = """
openapi: 3.1.0
servers:
  - url: https://{region}.test/v1/
    variables: {region: {default: eu}}
  - url: /beta
paths:
  x-note: none of ours
  /users/{user_id}:
    parameters: [{name: user_id, in: path}]
    get: {}
  /users/me: {get: {}}
  /status: {servers: [{url: "https://status.test"}], get: {}}
"""
SWAGGER = '{"swagger": "2.0", "basePath": "/v2", "paths": {"/pets/{petId}": {"get": {}}, "/pets/{petId}/x": {}}}'


def test_an_openapi_document(tmp_path: Path) -> None:
    rules = written(tmp_path, OPENAPI, "api.yaml")
    assert template(rules, "GET", "/v1/users/7") == "/v1/users/{user_id}"
    assert template(rules, "GET", "/v1/users/me") == "/v1/users/me"
    assert template(rules, "GET", "/beta/users/7") == "/beta/users/{user_id}"
    assert template(rules, "GET", "/status") == "/status"
    assert template(rules, "GET", "/v1/status") == ""


def test_a_swagger_document(tmp_path: Path) -> None:
    rules = written(tmp_path, SWAGGER, "api.json")
    assert template(rules, "GET", "/v2/pets/7") == "/v2/pets/{petId}"
    assert template(rules, "PUT", "/v2/pets/7/x") == "/v2/pets/{petId}/x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no routes"),
        ("# nothing yet\n", "holds no routes"),
        ("GET users\n", "line 1"),
        ('{"paths": ', "is not JSON: line 1"),
        ('{"paths": %s' % ("[" * 100_000), "is nested too deeply"),
        ('{"paths": {}, "x": %s}' % ("9" * 5_000), "is not JSON"),
        ("openapi: 3.0.0\npaths: [\n", "is not YAML"),
        ("openapi: 3.0.0\ninfo: {}\n", "has no `paths`"),
        ("openapi: 3.0.0\npaths: {users: {}}\n", "begin with a slash"),
        ("/users/{id:[}\n", "a pattern that is none"),
    ],
)
def test_what_is_no_description_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as raised:
        written(tmp_path, text)
    assert raised.value.hint


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_rules(tmp_path / "none.yaml")
    (tmp_path / "image").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match="not a text"):
        read_rules(tmp_path / "image")


def test_rules_go_before_what_is_learned(tmp_path: Path) -> None:
    rules = written(tmp_path, "/tags/{name}\n/users/new\n")
    learned = learn_paths([SeenPath("GET", "/tags/tea"), SeenPath("GET", "/users/5")], rules)
    assert str(learned.endpoint("get", "/tags/tea")) == "GET /tags/{name}"
    assert learned.values("/tags/green%20tea") == (("name", "green tea"),)
    assert learned.parameters("/tags/tea") == ("", "name")
    assert str(learned.endpoint("GET", "/users/5")) == "GET /users/{user_id}"


@pytest.mark.parametrize(
    ("rule", "path", "values"),
    [
        ("/u/{id:(?P<id>[0-9]+)}", "/u/7", (("id", "7"),)),
        ("/u/{id:(?P<a>[0-9]+)-(?P=a)}/{b}", "/u/7-7/x", (("id", "7-7"), ("b", "x"))),
        ("/u/{id:(a|b)(c)?}/{n:int}", "/u/bc/5", (("id", "bc"), ("n", "5"))),
        ("/u/{id:[(]x}", "/u/(x", (("id", "(x"),)),
        (r"/u/{id:\\(x)}", "/u/\\x", (("id", "\\x"),)),
    ],
)
def test_a_rule_may_have_groups(rule: str, path: str, values: tuple[tuple[str, str], ...]) -> None:
    match = Rules([("GET", rule)]).match("GET", path)
    assert match is not None
    assert match.values == values
    assert Rules([("GET", rule)]).match("GET", "/u/!") is None


@pytest.mark.parametrize("order", [1, -1])
def test_a_pattern_goes_before_anything_whatever_is_read_first(order: int) -> None:
    rules = Rules([("", "/u/{any}"), ("", "/u/{word:[a-z]+}"), ("", "/u/{three:[0-9]{3}}")][::order])
    assert [template(rules, "GET", f"/u/{text}") for text in ("abc", "123", "1234")] == [
        *("/u/{word}", "/u/{three}", "/u/{any}"),
    ]


def test_very_many_rules() -> None:
    count = 20_000
    rules = Rules((f"M{number}", f"/u{number}/{{id:[a-z]{{{number + 1}}}}}") for number in range(count))
    assert rules.match("GET", f"/u{count - 1}/x") is None
    match = rules.match("GET", f"/u7/{'x' * 8}")
    assert match is not None
    assert match.template == "/u7/{id}"


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_path_matches_or_does_not(path: str) -> None:
    rules = Rules([("", "/{a}/{b}"), ("", "/{a}.{b}"), ("", "/x/{rest:path}"), ("GET", "/")])
    match = rules.match("GET", path)
    assert match is None or len(match.parameters) == len(path.removeprefix("/").split("/"))
