"""What the conductor tells while it plays. This one listens to nothing; the command line shows it."""

from collections.abc import Sequence

from replay.evidence.values import ArmInfo, Mark
from replay.rehearsal.arms import ArmOutline
from replay.rehearsal.outline import Outline
from replay.rehearsal.steps.runner import Step
from replay.rehearsal.watch import Sight
from replay.scenario.process import Web


class Observer:
    """Told what goes on, from several threads. What it raises is ignored.

    ``web`` is where locust shall serve its page meanwhile, in each arm that has a load.
    """

    web: Web | None = None

    def begins(self, outline: Outline) -> None:
        """The rehearsal begins."""

    def confirms(self, outline: Outline, workloads: Sequence[str]) -> None:
        """Something was suspected under these workloads: ``outline`` has a second pair of arms for each."""

    def doing(self, arm: ArmOutline, what: str) -> None:
        """Something is being done before the arm's first second or after its last."""

    def started(self, arm: ArmOutline, number: int) -> None:
        """The arm's clock runs. ``number`` counts arms from 1."""

    def mark(self, arm: ArmOutline, mark: Mark) -> None:
        """A step or a statement started, ended or failed."""

    def progress(self, arm: ArmOutline, at_s: float, sight: Sight) -> None:
        """A few times a second: the arm's time, and what is to be seen of it."""

    def wants(self, arm: ArmOutline, rollback: Step) -> bool:  # noqa: ARG002 - an observer's signature
        """Whether a step that rolls back is done, where Ctrl-C came after others had begun. Nobody there: no."""
        return False

    def ended(self, arm: ArmOutline, info: ArmInfo) -> None:
        """The arm is over."""
