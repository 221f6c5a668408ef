"""Where load and steps may go. Imports nothing of ours but errors."""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from replay.errors import InputError, Refused


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
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(f"{url!r} is not a target.", "Give a URL such as http://127.0.0.1:8000.")
    if parts.username or parts.password:
        raise InputError("The target's URL holds credentials.", "Put them into the identities file instead.")
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return Target(parts.scheme, parts.hostname.lower(), port, parts.path.rstrip("/"))


def check_allowed(host: str, allow: Collection[str], what: str) -> None:
    """Raise Refused unless ``host`` is one of ``allow`` (names or addresses, in any case, with or without a port)."""
    if _name(host) not in {_name(entry) for entry in allow}:
        allowed = ", ".join(sorted(allow)) or "nothing"
        raise Refused(
            f"{what} would go to {host}, which the plan does not allow (allowed: {allowed}).",
            f'Add "{host}" to allow in [target] if it is Stage.',
        )


def check_not_production(target: Target, production_hosts: Collection[str]) -> None:
    """Raise Refused where the target is a host that a production capture was recorded from.

    ``production_hosts`` are hosts with or without a port; one without a port stands for every port of it. A port
    decides only where both sides name one, so that Stage and production may share an address, as on one machine.
    """
    for entry in production_hosts:
        parts = _split(f"//{entry}")
        if parts.hostname and parts.hostname.lower() == target.host and parts.port in (None, target.port):
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
    """The host alone, in lower case: ``Stage.test:8000`` is ``stage.test``, ``[::1]:80`` and ``::1`` are ``::1``."""
    bare_ipv6 = host.count(":") > 1 and not host.startswith("[")
    return host.lower() if bare_ipv6 else (_split(f"//{host}").hostname or "").lower()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
