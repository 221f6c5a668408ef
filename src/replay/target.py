"""Where load and steps may go. Imports nothing of ours but errors."""

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from replay.errors import InputError, Refused

_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")
_NOT_IN_A_HOST = re.compile(r"[^\w.:-]")  # a zone of IPv6 and percent escapes are no part of a name that is compared
_OLD_IPV4 = re.compile(r"[0-9a-fx.]+")


PRODUCTION = "production"
_ALSO_PRODUCTION = frozenset({"prod", "prd", "live", PRODUCTION})


def parse_environment(text: str) -> str:
    """Where traffic was recorded, in small letters; ``prod``, ``prd`` and ``live`` are production."""
    name = text.strip().lower()
    return PRODUCTION if name in _ALSO_PRODUCTION else name


@dataclass(frozen=True, slots=True)
class Target:
    """The Stage that requests are sent to. ``base_path`` has no slash at its end."""

    scheme: str
    host: str
    port: int
    base_path: str = ""

    @property
    def url(self) -> str:
        """The target as a URL, with its port."""
        return f"{self.scheme}://{_bracketed(self.host)}:{self.port}{self.base_path}"

    @property
    def authority(self) -> str:
        """The ``Host`` header for this target: the port is left out where it is the scheme's own."""
        usual = {"http": 80, "https": 443}[self.scheme]
        return _bracketed(self.host) if self.port == usual else f"{_bracketed(self.host)}:{self.port}"


def parse_target(url: str) -> Target:
    """Read a target's URL. Raises InputError where it is not an http or https URL with a host."""
    parts = _split(url)
    if "@" in parts.netloc:
        raise InputError("The target's URL holds credentials.", "Put them into the identities file instead.")
    host = canonical_host(parts.hostname or "")
    odd = _NOT_IN_A_URL.search(url) or _NOT_IN_A_HOST.search(host) or parts.query or parts.fragment or parts.port == 0
    if parts.scheme not in {"http", "https"} or not host or odd:
        raise InputError(f"{url!r} is not a target.", "Give a URL such as http://127.0.0.1:8000.")
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return Target(parts.scheme, host, port, parts.path.rstrip("/"))


def canonical_host(host: str) -> str:
    """One way to write a host: lower case, no dot at the end, an address as it is usually written.

    ``Stage.test.`` is ``stage.test``; ``2130706433``, ``127.1`` and ``::ffff:127.0.0.1`` are ``127.0.0.1``.
    """
    name = host.lower().removesuffix(".")
    try:
        # What the resolver takes for an IPv4 address: fewer parts, octal, hexadecimal.
        address: ipaddress.IPv4Address | ipaddress.IPv6Address
        if _OLD_IPV4.fullmatch(name):
            address = ipaddress.IPv4Address(socket.inet_aton(name))
        else:
            address = ipaddress.ip_address(name)
    except (ValueError, OSError):
        return name
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def check_allowed(host: str, allow: Collection[str], what: str, *, by_option: bool = False) -> None:
    """Raise Refused unless ``host`` is one of ``allow`` (names or addresses, in any case, with or without a port).

    An empty name is none. ``by_option`` says that ``allow`` was given with ``--allow`` and not in a plan.
    """
    if (_name(host) or None) in {_name(entry) for entry in allow}:
        return
    allowed = ", ".join(sorted(filter(_name, allow))) or "nothing"
    if by_option:
        raise Refused(
            f"{what} would go to {host}, which is not allowed (allowed: {allowed}).",
            f"Give --allow {host} if it is Stage.",
        )
    raise Refused(
        f"{what} would go to {host}, which the plan does not allow (allowed: {allowed}).",
        f'Add "{host}" to allow in [target] if it is Stage.',
    )


def check_not_production(target: Target, production_hosts: Collection[str]) -> None:
    """Raise Refused where the target is a host that a production capture was recorded from.

    ``production_hosts`` are hosts with or without a port; one without a port stands for every port of it. A port
    decides only where both sides name one, so that Stage and production may share an address, as on one machine.
    Without any host nobody knows where production is, and every target is refused; an empty name is none.
    """
    entries = [production_hosts] if isinstance(production_hosts, str) else map(str, filter(None, production_hosts))
    named = [(entry, *found) for entry in entries if (found := _host_and_port(entry.strip()))[0]]
    if not named:
        raise Refused(
            "A production capture does not say which hosts it was recorded from.",
            "Import it again with --host HOST, production's own, and build the scenario from that: without it, nothing "
            "keeps load away from production.",
        )
    for entry, host, port in named:
        if host == target.host and port in (None, target.port):
            raise Refused(
                f"The target {target.url} is the host of a production capture ({entry}).",
                "A rehearsal runs on Stage: point the target there.",
            )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InputError(f"{url!r} is not a URL: {error}.") from error
    return parts


def _name(host: str) -> str:
    """The host alone: ``Stage.test:8000`` is ``stage.test``, ``[::1]:80`` and ``::1`` are ``::1``."""
    return _host_and_port(host)[0]


def _host_and_port(text: str) -> tuple[str, int | None]:
    if text.count(":") > 1 and not text.startswith("["):  # IPv6 without brackets
        return canonical_host(text), None
    parts = _split(f"//{text}")
    return canonical_host(parts.hostname or ""), parts.port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
