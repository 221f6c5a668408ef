from contextlib import nullcontext

import pytest

from replay.errors import InputError, Refused
from replay.target import (
    NOT_PRODUCTION,
    PRODUCTION,
    check_allowed,
    check_host_not_production,
    check_name,
    check_not_production,
    parse_environment,
    parse_target,
)


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


@pytest.mark.parametrize(
    "name",
    [
        *(
            "prod",
            "PROD",
            "production",
            "prd",
            "live",
            "shop_production",
            "app_prod",
            "shop-prd",
            "live_shop",
            "shop.live",
        ),
        *(
            "prod-eu",
            "eu-prod-2",
            "eu_production_shop",
            "db.production",
            "prod1",
            "shop-prod01",
            "use1-prd2-db",
            "prd.db",
        ),
        *("api.prod.example.com", "shop-live.cluster.eu-west-1.example.com", "not-stage-but-prod", "casino-prod"),
        *("pre-shop-prod", "preprod-prod", "live.example.live"),
    ],
)
def test_names_that_look_like_production(name: str) -> None:
    with pytest.raises(Refused, match="looks like production"):
        check_name("It goes to", name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "product",
            "products",
            "product_catalogue",
            "reproduction",
            "prodigy",
            "producer",
            "productions",
            "produce",
        ),
        *("liveness", "alive", "delivery", "livery", "livestream", "olive", "sprd", "prdx"),
        *("nonprod", "non-prod", "non_prod", "noprod", "no-prod", "not-production", "not_production", "notprod"),
        *(
            "preprod",
            "pre-prod",
            "pre_prod",
            "pre-production",
            "pre_production",
            "preproduction",
            "prelive",
            "pre-live",
        ),
        *("db-preprod-1", "shop_pre_production_2", "api.pre-prod.example.com", "eu-non-prod-db", "pre-prod1"),
        *("stage", "qa.example.com", "127.0.0.1", "::1", "stage.example.live", "/var/run/postgresql"),
    ],
)
def test_names_that_do_not(name: str) -> None:
    check_name("It goes to", name)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*_live", "shop_live", True),
        ("*_live", "shop-live", True),
        ("*_live", "shop_stage", False),
        ("pre-prod", "pre-prod", True),
        ("shop", "shop.example.com", True),
        ("shop", "shop_stage", False),
        ("10.0.1.*", "10.0.1.7", True),
        ("10.0.1.*", "10.0.2.7", False),
        ("*.PROD.example.com", "db.prod.example.com", True),
    ],
)
def test_patterns_of_a_plan(pattern: str, name: str, matches: bool) -> None:
    with pytest.raises(Refused, match="looks like production") if matches else nullcontext():
        check_name("It goes to", name, [pattern])


def test_the_hint_is_for_who_asked() -> None:
    with pytest.raises(Refused) as by_plan:
        check_name("It goes to", "prod")
    with pytest.raises(Refused) as by_option:
        check_name("It goes to", "prod", by_option=True)
    assert f'not_production = "{NOT_PRODUCTION}" in [target]' in by_plan.value.hint
    assert f'--not-production "{NOT_PRODUCTION}"' in by_option.value.hint


@pytest.mark.parametrize(
    ("host", "target", "hosts"),
    [
        ("api.test", "http://stage.test", ["api.test:443"]),
        ("API.test.", "http://stage.test", ["api.test"]),
        ("192.0.2.7", "http://stage.test:8000", ["api.test", "192.0.2.7:8000"]),
        ("::1", "http://stage.test", ["[::1]"]),
        ("127.0.0.1", "http://stage.test", ["127.0.0.1"]),
    ],
)
def test_a_database_at_a_host_of_production(host: str, target: str, hosts: list[str]) -> None:
    with pytest.raises(Refused, match=r"The probe goes to the host .*, which is one of a production capture"):
        check_host_not_production("The probe", host, parse_target(target), hosts)


@pytest.mark.parametrize(
    ("host", "target", "hosts"),
    [
        ("db.test", "http://stage.test", ["api.test:443"]),
        ("192.0.2.7", "http://192.0.2.7:8001", ["192.0.2.7:8000"]),  # Stage and production share a machine
        ("127.0.0.1", "http://stage.test", ["127.0.0.1:8000"]),  # a tunnel's end, or another machine's loopback
        ("localhost", "http://stage.test", ["localhost:8000"]),
        ("/var/run/postgresql", "http://stage.test", ["api.test"]),
    ],
)
def test_a_database_elsewhere(host: str, target: str, hosts: list[str]) -> None:
    check_host_not_production("The probe", host, parse_target(target), hosts)
