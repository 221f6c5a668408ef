import pytest

from replay.errors import InputError, Refused
from replay.target import PRODUCTION, check_allowed, check_not_production, parse_environment, parse_target


def test_a_target_knows_its_port_and_authority() -> None:
    assert parse_target("http://Stage.Test").url == "http://stage.test:80"
    assert parse_target("http://stage.test").authority == "stage.test"
    assert parse_target("https://stage.test:8443/api/").url == "https://stage.test:8443/api"
    assert parse_target("http://[::1]:8000").authority == "[::1]:8000"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "stage.test",
        "ftp://stage.test",
        "http://",
        "http://stage.test:port",
        "http://stage.test:0",
        "http://[::1",
        "http://127.0.0.1 .test",
        "http://stage\r\n.test",
        "http://stage.test/?a=1",
        "http://stage.test#x",
        "http://stage.test;evil.test",
        "http://127.0.0.1%00.evil.test",
        "http://stage.test\\evil.test",
    ],
)
def test_what_is_not_a_target(url: str) -> None:
    with pytest.raises(InputError):
        parse_target(url)


@pytest.mark.parametrize("before", ["user:word@", "127.0.0.1@", "@"])
def test_credentials_do_not_belong_into_a_target(before: str) -> None:
    with pytest.raises(InputError, match="credentials"):
        parse_target(f"http://{before}stage.test")


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "127.0.0.1."]
)
def test_an_address_is_the_same_however_it_is_written(host: str) -> None:
    target = parse_target(f"http://{host}:8000")
    assert target.url == "http://127.0.0.1:8000"
    with pytest.raises(Refused, match="production"):
        check_not_production(target, ["127.0.0.1:8000"])
    with pytest.raises(Refused, match="production"):
        check_not_production(parse_target("http://127.0.0.1:8000"), [f"{host}:8000"])


@pytest.mark.parametrize("host", ["stage.test", "STAGE.test", "stage.test:8000", "127.0.0.1", "::1", "[::1]:80"])
def test_an_allowed_host_passes(host: str) -> None:
    check_allowed(host, ["stage.test", "127.0.0.1:9999", "[::1]"], "The load")


@pytest.mark.parametrize("host", ["production.test", "stage.test.evil.test", "127.0.0.11", ""])
def test_any_other_host_is_refused(host: str) -> None:
    with pytest.raises(Refused, match="does not allow"):
        check_allowed(host, ["stage.test", "127.0.0.1"], "The load")


def test_nothing_is_allowed_by_an_empty_list() -> None:
    with pytest.raises(Refused, match="nothing"):
        check_allowed("127.0.0.1", [], "The load")


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
@pytest.mark.parametrize("allow", [[""], ["", ":80"]])
def test_an_empty_name_allows_nothing(host: str, allow: list[str]) -> None:
    with pytest.raises(Refused, match="nothing"):
        check_allowed(host, allow, "The load")


def test_what_an_option_does_not_allow_is_said_of_the_option() -> None:
    with pytest.raises(Refused, match="is not allowed") as refused:
        check_allowed("127.0.0.1", ["stage.test"], "Load", by_option=True)
    assert "plan" not in refused.value.message
    assert "--allow 127.0.0.1" in refused.value.hint


def test_the_host_of_a_production_capture_is_refused() -> None:
    with pytest.raises(Refused, match="production"):
        check_not_production(parse_target("https://api.test"), ["api.test:443"])
    with pytest.raises(Refused):
        check_not_production(parse_target("http://api.test:8000"), ["API.test"])
    with pytest.raises(Refused):
        check_not_production(parse_target("http://api.test."), ["api.test"])
    with pytest.raises(Refused):
        check_not_production(parse_target("http://[::1]:80"), ["::1"])


@pytest.mark.parametrize("hosts", [[], [""], "", ["", " "], [":443"], ["."]])
def test_a_production_capture_that_names_no_host_lets_nothing_pass(hosts: list[str]) -> None:
    with pytest.raises(Refused, match="does not say") as refused:
        check_not_production(parse_target("http://stage.test"), hosts)
    assert "--host" in refused.value.hint


def test_an_empty_name_beside_others_is_none() -> None:
    check_not_production(parse_target("http://stage.test"), ["", "api.test"])
    with pytest.raises(Refused, match="production"):
        check_not_production(parse_target("http://api.test"), ["", "api.test"])


def test_another_port_of_a_shared_address_is_not_production() -> None:
    check_not_production(parse_target("http://127.0.0.1:8001"), ["127.0.0.1:8000"])
    check_not_production(parse_target("http://stage.test"), ["api.test"])


@pytest.mark.parametrize("text", ["production", " Production ", "prod", "PRD", "live"])
def test_production_by_any_of_its_names(text: str) -> None:
    assert parse_environment(text) == PRODUCTION


@pytest.mark.parametrize("text", ["pre-production", "stage", "", "prod-like", "liverpool"])
def test_what_is_not_production(text: str) -> None:
    assert parse_environment(text) != PRODUCTION
