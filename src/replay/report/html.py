"""``report.html``: one file that opens offline, for the person who decides about a release. See ``page``."""

from replay.report import locks
from replay.report.besides.changed import changed
from replay.report.besides.queries import queries
from replay.report.besides.sizes import indexes_sentence, sizes
from replay.report.besides.unread import unread
from replay.report.besides.vacuums import vacuums
from replay.report.besides.window import held_sentence, window_sentences
from replay.report.charts import COLOURS
from replay.report.differences import compare
from replay.report.page import render_page
from replay.report.panels import panels
from replay.report.places import at_the_same_time, place
from replay.report.sections import (
    log_lines,
    outages,
    provenance,
    quality,
    responses,
    smallest_effects,
    smallest_sentence,
    statements,
    what_cannot_be_said,
)
from replay.report.story import ADVICE, PRODUCTION, WORDS, Story


def render(story: Story) -> str:
    """The page for one run. The same evidence and verdict give the same page, to the byte."""
    main = story.arm(story.main)
    return render_page(
        "report.html.jinja",
        story=story,
        word=WORDS[story.word],
        advice=ADVICE[story.word],
        table=compare(story),
        panels=panels(story),
        endpoints=story.endpoint_rows(story.main),
        outages=outages(story),
        other_endpoints=story.endpoint_rows(story.before) if story.before else [],
        episodes=locks.episodes(main) if main else [],
        other_wait=locks.told(_episodes(story, story.before)),
        plain_waits=locks.requests_waiting(main) if main else 0,
        statements=statements(story),
        log=log_lines(story),
        window=window_sentences(story),
        changed=changed(story),
        queries=queries(story),
        indexes=indexes_sentence(story),
        held=held_sentence(main) if main else "",
        sizes=sizes(story),
        vacuums=vacuums(story),
        unread=unread(story),
        responses=responses(story),
        quality=quality(story),
        cannot_say=what_cannot_be_said(story),
        smallest=smallest_effects(story),
        beside=story.rests_on or smallest_sentence(story),
        provenance=provenance(story),
        colours=COLOURS,
        production=PRODUCTION,
        place=place,
        at_the_same_time=at_the_same_time,
    )


def _episodes(story: Story, workload: str | None) -> list[locks.Episode]:
    arm = story.arm(workload) if workload else None
    return locks.episodes(arm) if arm else []
