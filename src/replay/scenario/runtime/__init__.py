"""The open-loop engine inside locust: the only room that imports it.

``import locust`` patches the whole process, so ``Replay`` is fetched only when it is asked for. The other modules of
this room but ``user`` and ``options`` do without locust, and are tested without it.
"""

from typing import TYPE_CHECKING, Any

from replay.scenario.runtime.retries import Retry
from replay.scenario.schedule import PlannedRequest

if TYPE_CHECKING:
    from replay.scenario.runtime.user import Replay

__all__ = ["PlannedRequest", "Replay", "Retry"]


def __getattr__(name: str) -> Any:
    if name == "Replay":
        from replay.scenario.runtime.user import Replay  # noqa: PLC0415 - see above

        return Replay
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
