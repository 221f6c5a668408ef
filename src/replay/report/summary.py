"""``summary.md``: the verdict for the comment on a merge request."""

import re

from replay.report import formats
from replay.report.besides.brief import brief
from replay.report.differences import compare
from replay.report.sections import outages, smallest_sentence
from replay.report.story import ADVICE, WORDS, Story

_SIGNS = {"GO": "✅", "NO_GO": "⛔", "INCONCLUSIVE": "⚠️"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#&~@])")


def summary(story: Story) -> str:
    """The summary of one run, as GitHub and GitLab render Markdown. Text from the evidence cannot add markup."""
    lines = [
        f"## {_SIGNS[story.word]} {WORDS[story.word]}: {plain(story.name)}",
        "",
        ADVICE[story.word],
        *(["", plain(beside)] if (beside := story.rests_on or smallest_sentence(story)) else []),
        "",
        *(f"- {plain(reason)}" for reason in story.own_reasons),
        "",
    ]
    if story.state != "complete":
        lines += [
            f"**This run is {plain(story.state)}.** {plain(str(story.rehearsal.get('reason') or ''))}".strip(),
            "",
        ]
    table = compare(story)
    if table.symptoms:
        lines += [f"| | {table.before} | {table.production} |", "|---|---|---|"]
        for one in table.symptoms:
            value = f"**{plain(one.production)}**" if one.worse else plain(one.production)
            lines.append(f"| {one.name} | {plain(one.before)} | {value} |")
        lines.append("")
    broke = [row for row in story.endpoint_rows(story.main) if row.broke]
    if broke:
        lines += [
            "| Endpoint, in the order of breaking | Failed, of the whole arm | How | Broke | Works again |",
            "|---|---|---|---|---|",
        ]
        for row in broke:
            again = "never" if row.never_recovered else formats.moment(row.recovered_s)
            only = " (only in production)" if row.only_in_production else ""
            failed = f"{row.failed:,} of {row.requests:,} ({formats.share(row.share)})"
            how = plain(row.how) or "slower answers"
            lines.append(
                f"| {plain(row.endpoint)}{only} | {failed} | {how} | {formats.moment(row.first_bad_s)} | {again} |"
            )
        lines.append("")
    slow = sorted(
        ((row, row.slow) for row in story.endpoint_rows(story.main) if row.slow), key=lambda pair: -pair[1].times
    )
    if slow:
        lines += [
            "| Endpoint that became slow, the slowest first | When | Slowest 5% took | Without the steps | As long |",
            "|---|---|---|---|---|",
        ]
        for row, worst in slow:
            only = " (only in production)" if row.only_in_production else ""
            took = f"{formats.seconds(worst.p95_s)} | {formats.seconds(worst.control_p95_s)}"
            lines.append(
                f"| {plain(row.endpoint)}{only} | {plain(worst.phase)} | {took} | {formats.times(worst.times)} |"
            )
        lines.append("")
    gone = outages(story)
    if gone:
        lines += [
            "When it broke, when it came back (each interval holds the moment):",
            "",
            "| Endpoint | Broke | Came back | Failed meanwhile |",
            "|---|---|---|---|",
        ]
        for outage in gone:
            broken = f"{outage.broke}, {plain(outage.broke_in)}"
            later = "; not for good, see above" if outage.again else ""
            back = "not seen to" if outage.back is None else f"{outage.back}, {plain(outage.back_in)}{later}"
            failed = f"{outage.failures:,} of {outage.requests:,} ({formats.share(outage.share)})"
            lines.append(f"| {plain(outage.endpoint)} | {broken} | {back} | {failed} |")
        lines.append("")
    besides = brief(story)
    if besides:
        lines += ["What else was read (it decides nothing):", "", *(f"- {plain(line)}" for line in besides), ""]
    lines.append(f"The report: `{code(story.folder)}/report.html`; the verdict: `{code(story.folder)}/verdict.json`.")
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", formats.visible(" ".join(text.split())))


def code(text: str) -> str:
    """Text for within backticks."""
    return formats.visible(" ".join(text.replace("`", "'").split()))
