"""What else was read with the steps and without them, series by series, what clearly differs first.

The rule, for reading only: a series clearly differs where, while the steps ran or afterwards, its median is more than
half as large again as any that the controls had, and that the time before the steps had, or less than two thirds of the
least of these; or where its maximum is half as large again (of what is scarce: its minimum two thirds). Of counters it
is the amount a second. Each time by as much as is worth a look: 0.1 s, 1 MB, a tenth of a processor or of all, 3 of
what is counted, or as `replay.report.besides.measures` has it. A series that no control had, nor the time before the
steps, differs too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from replay.evidence.run import ArmEvidence
from replay.report.besides.measures import KNOWN, Measure, measure_of
from replay.report.besides.series import PARTS, Cut, Figure, Figures, Name, figures_of
from replay.report.story import Story

MOST_CLEAR = 30
MOST_OTHERS = 150
_RATIO = 1.5
_MOST_TIMES = 1000.0
_NOTHING: Figures = (None, None, None)
_ORDER = {metric: place for place, metric in enumerate(KNOWN)}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the arms, in words: with the steps, in the control, under pre-production; empty: not read.

    ``clear`` says that what was read with the steps clearly differs here.
    """

    name: str
    steps: str
    control: str
    before: str
    clear: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One series. ``times`` is how many times the others' figure it reached (0: it does not clearly differ)."""

    probe: str
    words: str
    series: str
    parts: tuple[Part, ...]
    times: float


@dataclass(frozen=True, slots=True)
class Changed:
    """All series: those that clearly differ, the others, and how many of each are not shown."""

    clear: list[Row]
    others: list[Row]
    clear_left_out: int
    others_left_out: int
    with_control: bool

    @property
    def count(self) -> int:
        """How many series there are, those that are not shown too."""
        return len(self.clear) + len(self.others) + self.clear_left_out + self.others_left_out


def changed(story: Story) -> Changed:
    """Every series of the main workload's shown arm beside its controls, and pre-production's with the steps."""
    main = story.arm(story.main)
    labelled = _labelled(story)
    cut = Cut.of(main) if main is not None else Cut(float("inf"), float("inf"))
    steps = figures_of(main, cut, labelled)
    limits = _limits(main)
    shown = story.arm(story.main, steps=False)
    arms = [arm for arm in story.arms if arm.info.workload == story.main and not arm.info.steps]
    controls = [figures_of(arm, cut, labelled) for arm in arms]
    before = _of_workload(story.arm(story.before) if story.before else None, labelled)
    control = controls[arms.index(shown)] if shown is not None else {}
    known = {name.probe for figures in controls for name in figures}
    rows = []
    for name, figures in steps.items():
        sides = figures, control.get(name, _NOTHING), before.get(name, _NOTHING)
        rows.append(_row(name, _words(name, limits), sides, _clear(name, figures, controls, known)))
    first = sorted((row for row in rows if row.times), key=lambda row: (-row.times, row.probe, row.words, row.series))
    others = [row for row in rows if not row.times]
    return Changed(
        first[:MOST_CLEAR],
        others[:MOST_OTHERS],
        len(first[MOST_CLEAR:]),
        len(others[MOST_OTHERS:]),
        bool(controls),
    )


def _labelled(story: Story) -> set[str]:
    """The probes whose readings' details are labels."""
    plan = story.rehearsal.get("plan")
    probes = plan.get("probes") if isinstance(plan, dict) else None
    told = probes.items() if isinstance(probes, dict) else ()
    return {str(name) for name, probe in told if isinstance(probe, dict) and probe.get("kind") == "prometheus"}


def _of_workload(arm: ArmEvidence | None, labelled: set[str]) -> dict[Name, Figures]:
    return {} if arm is None else figures_of(arm, Cut.of(arm), labelled)


def _limits(arm: ArmEvidence | None) -> dict[str, float]:
    """By probe, how many connections there may be."""
    if arm is None:
        return {}
    rows = arm.readings[arm.readings["metric"] == "connections_limit"]
    return {str(probe): float(value) for probe, value in zip(rows["probe"], rows["value"], strict=True)}


def _words(name: Name, limits: Mapping[str, float]) -> str:
    measure, limit = measure_of(name.metric), limits.get(name.probe)
    if name.metric != "connections" or limit is None:
        return measure.words
    return f"{measure.words}, of {measure.text(limit)} at most"


def _row(name: Name, words: str, sides: tuple[Figures, Figures, Figures], clear: Sequence[float]) -> Row:
    """``sides`` are with the steps, in the control and under pre-production."""
    measure = measure_of(name.metric)
    told = zip(PARTS, *sides, clear, strict=True)
    parts = tuple(
        Part(part, _text(measure, mine), _text(measure, quiet), _text(measure, other), times > 0)
        for part, mine, quiet, other, times in told
    )
    return Row(name.probe, words, f"{name.metric}{_label(name)}", parts, max(clear))


def _label(name: Name) -> str:
    return name.label if name.label.startswith("{") or not name.label else f" {name.label}"


def _text(measure: Measure, figure: Figure | None) -> str:
    if figure is None:
        return ""
    usual = measure.text(figure.usual)
    if measure.counts:
        plain = measure.unit == "count" or not figure.usual
        return usual if plain else f"{usual} ({measure.rate(figure.most)})"
    most = measure.text(figure.most)
    return usual if most == usual else f"{usual}, {'least' if measure.scarce else 'most'} {most}"


def _clear(name: Name, steps: Figures, controls: Sequence[dict[Name, Figures]], known: set[str]) -> list[float]:
    """How many times the others' figures each part reached: 0 where it does not clearly differ."""
    measure, later = measure_of(name.metric), steps[1:]
    others = [figure for figures in controls for figure in figures.get(name, _NOTHING) if figure is not None]
    if not controls or (not others and name.probe not in known):
        return [0.0, 0.0, 0.0]
    others += [steps[0]] if steps[0] is not None else []
    if not others:
        return [0.0, *(0.0 if one is None else _RATIO for one in later)]
    return [0.0, *(0.0 if one is None else _times(measure, one, others) for one in later)]


def _times(measure: Measure, figure: Figure, others: Sequence[Figure]) -> float:
    extremes = [one.most for one in others]
    if measure.counts:
        lasted_s = figure.usual / figure.most if figure.most else 1.0
        return _risen(figure.most, max(extremes), measure.telling / lasted_s)
    usual = [one.usual for one in others]
    return max(
        _risen(figure.usual, max(usual), measure.telling),
        _fallen(figure.usual, min(usual), measure.telling),
        _fallen(figure.most, min(extremes), measure.telling)
        if measure.scarce
        else _risen(figure.most, max(extremes), measure.telling),
    )


def _risen(value: float, known: float, least: float) -> float:
    risen = value > known and value >= _RATIO * known and value - known >= least
    return value / max(known, least, value / _MOST_TIMES) if risen else 0.0


def _fallen(value: float, known: float, least: float) -> float:
    """The same the other way round."""
    return _risen(known, value, least)
