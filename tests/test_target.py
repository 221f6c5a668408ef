import pytest

from replay.errors import InputError, Refused
from replay.target import check_allowed, check_not_production, parse_target


def test_a_target_knows_its_port_and_authority() -> None:
    assert parse_target("http://Stage.Test").url == "http://stage.test:80"
    assert parse_target("http://stage.test").authority == "stage.test"
    assert parse_target("https://stage.test:8443/api/").url == "https://stage.test:8443/api"
    assert parse_target("http://[::1]:8000").authority == "[::1]:8000"


@pytest.mark.parametrize(
    "url", ["", "stage.test", "ftp://stage.test", "http://", "http://stage.test:port", "http://[::1"]
)
def test_what_is_not_a_target(url: str) -> None:
    with pytest.raises(InputError):
        parse_target(url)


def test_credentials_do_not_belong_into_a_target() -> None:
    with pytest.raises(InputError, match="credentials"):
        parse_target("http://user:word@stage.test")


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


def test_the_host_of_a_production_capture_is_refused() -> None:
    with pytest.raises(Refused, match="production"):
        check_not_production(parse_target("https://api.test"), ["api.test:443"])
    with pytest.raises(Refused):
        check_not_production(parse_target("http://api.test:8000"), ["API.test"])


def test_another_port_of_a_shared_address_is_not_production() -> None:
    check_not_production(parse_target("http://127.0.0.1:8001"), ["127.0.0.1:8000"])
    check_not_production(parse_target("http://stage.test"), ["api.test"])
