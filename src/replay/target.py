"""Where load and steps may go. Imports nothing of ours but errors."""

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit

from replay.errors import InputError, Refused

_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")
_NOT_IN_A_HOST = re.compile(r"[^\w.:-]")  # a zone of IPv6 and percent escapes are no part of a name that is compared
_OLD_IPV4 = re.compile(r"[0-9a-fx.]+")


PRODUCTION = "production"
_ALSO_PRODUCTION = frozenset({"prod", "prd", "live", PRODUCTION})

_FORMS = ("{}", "{}[-0-9]*", "*-{}", "*-{}[-0-9]*")
USUAL_NAMES = tuple(form.format(word) for word in ("prod", PRODUCTION, "prd", "live") for form in _FORMS)
NOT_PRODUCTION = "I have looked, and this is not production"
_PARTED = re.compile(r"[./:@\s]")
_SAYS_NO = re.compile(r"(?<![a-z])(pre|non|not|no)[-_](?=[a-z])")


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
    if is_allowed(host, allow):
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


def is_allowed(host: str, allow: Collection[str]) -> bool:
    """Whether ``host`` is one of ``allow``, as ``check_allowed`` looks at them."""
    return (_name(host) or None) in {_name(entry) for entry in allow}


def check_not_production(target: Target, production_hosts: Collection[str]) -> None:
    """Raise Refused where the target is a host that a production capture was recorded from.

    ``production_hosts`` are hosts with or without a port; one without a port stands for every port of it. A port
    decides only where both sides name one, so that Stage and production may share an address, as on one machine.
    Without any host nobody knows where production is, and every target is refused; an empty name is none.
    """
    for entry, host, port in _hosts_and_ports(production_hosts):
        if host == target.host and port in (None, target.port):
            raise Refused(
                f"The target {target.url} is the host of a production capture ({entry}).",
                "A rehearsal runs on Stage: point the target there. If it was Stage that was captured, say so in a "
                "copy: replay import CAPTURE --environment stage --out COPY.",
            )


def check_host_not_production(user: str, host: str, target: Target, production_hosts: Collection[str]) -> None:
    """Raise Refused where ``user`` goes to a ``host`` that a production capture was recorded from, as to a database.

    Its port is another than the API's anyhow and tells nothing. Only where an address is shared does the port of the
    capture name production alone: where the target is there too, by another port, and on this very machine.
    """
    place = canonical_host(host)
    for entry, other, port in _hosts_and_ports(production_hosts):
        shared = port is not None and (other == target.host or _is_loopback(other))
        if place == other and not shared:
            raise Refused(
                f"{user} goes to the host {host}, which is one of a production capture ({entry}).",
                "A rehearsal runs on Stage: point it there.",
            )


def check_name(what: str, name: str, patterns: Iterable[str] = USUAL_NAMES, *, by_option: bool = False) -> None:
    """Raise Refused where the ``name`` of a host or a database, or a part of it between dots, matches a pattern.

    ``what`` says whose it is. In names and patterns ``-``, ``_`` and ``.`` are the same, and ``pre-``, ``non-``,
    ``not-`` and ``no-`` are one word with what follows, so that no pattern for ``prod`` matches ``pre-prod``. The parts
    of a socket's path are parts too. ``by_option`` says that the place was given to a command and not in a plan.
    """
    lower = unicodedata.normalize("NFKC", name).lower().removesuffix(".")  # as a resolver reads it
    if lower.count(".") > 1:
        lower = lower.removesuffix(".live")  # a domain of the first level, as .com
    for part in (lower, *_PARTED.split(lower)):
        for pattern in patterns:
            if part and fnmatchcase(_plain(part), _plain(pattern.lower())):
                raise Refused(
                    f"{what} {name}, which looks like production ({pattern!r}).", override(by_option=by_option)
                )


def override(*, by_option: bool) -> str:
    """What to do about a place that looks like production and is not."""
    if by_option:
        return f"Give Stage's. If it is Stage's, add --not-production \"{NOT_PRODUCTION}\"."
    return f'Point the plan to Stage. If it is Stage, write not_production = "{NOT_PRODUCTION}" in [target].'


def _plain(name: str) -> str:
    return _SAYS_NO.sub(r"\1", name).replace("_", "-").replace(".", "-")


def _hosts_and_ports(production_hosts: Collection[str]) -> list[tuple[str, str, int | None]]:
    """Each entry with its host and its port. Raises Refused where there is none."""
    entries = [production_hosts] if isinstance(production_hosts, str) else map(str, filter(None, production_hosts))
    named = [(entry, *found) for entry in entries if (found := _host_and_port(entry.strip()))[0]]
    if not named:
        raise Refused(
            "A production capture does not say which hosts it was recorded from.",
            "Import it again with --host HOST, production's own, and build the scenario from that: without it, nothing "
            "keeps load away from production.",
        )
    return named


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
