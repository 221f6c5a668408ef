"""The fitted model: small tables, whatever the capture's size."""

from dataclasses import dataclass

from replay.workload.synthesis.arrivals import Arrivals
from replay.workload.synthesis.classes import Classes
from replay.workload.synthesis.habits import Habits
from replay.workload.synthesis.keys import Keys
from replay.workload.synthesis.quantiles import Floats
from replay.workload.synthesis.variants import Variants


@dataclass(frozen=True, slots=True)
class VisitModel:
    """What traffic is drawn from: visitors, who come and go, and residents, who are there all the time.

    ``arrivals`` has for each origin (what visits begin with) when visitors come, ``classes`` what they are like.
    ``visits_per_client`` is one row of quantiles. ``residents`` has the exchanges per second of each resident: each
    is a class of its own, numbered after those of the visitors. ``duration_s`` has a row of quantiles per endpoint.
    ``dispersion`` is that of ``bursts.WINDOWS_S``. ``left_out`` is the share of exchanges at endpoints too rare to be
    kept.
    """

    endpoints: tuple[str, ...]
    arrivals: tuple[Arrivals, ...]
    classes: Classes
    visits_per_client: Floats
    residents: Floats
    habits: Habits
    keys: Keys
    duration_s: Floats
    variants: Variants
    dispersion: tuple[float | None, ...]
    left_out: float
