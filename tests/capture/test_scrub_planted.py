"""Secrets of many kinds in every place: none of them is left, in any byte, decoded in any of the ways used."""

from random import Random

import planted
import pytest

from replay.capture.pseudonyms import fresh_key
from replay.capture.scrub import Scrubber
from replay.traffic import Skipped

SEEDS = range(4)


def _chance(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - made-up secrets, which must be the same in each run


def test_enough_is_planted():
    assert len(planted.KINDS) >= 60
    assert len(planted.PLACES) >= 40
    secrets = planted.plant(_chance(1))
    held = planted.bytes_of(planted.exchanges(secrets, _chance(1)))
    assert planted.leaks(held, secrets) == [one.kind.name for one in secrets]


@pytest.mark.parametrize("seed", SEEDS)
def test_two_passes_leave_none(seed):
    random = _chance(seed)
    secrets = planted.plant(random)
    made = list(planted.exchanges(secrets, random))
    scrubber = Scrubber(fresh_key())
    for one in made:
        scrubber.learn(one)
    assert not scrubber.counts
    scrubbed = [scrubber.exchange(one) for one in made]
    assert len(scrubbed) == len(made)
    assert all(one.request.body is not None for one, was in zip(scrubbed, made, strict=True) if was.request.body)
    assert planted.leaks(planted.bytes_of(scrubbed), secrets) == []


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_caution_leaves_none_before_any_is_known(seed):
    random = _chance(seed)
    secrets = planted.plant(random)
    made = list(planted.exchanges(secrets, random))
    scrubber, again = Scrubber(key := fresh_key()), Scrubber(key)
    cautious = [scrubber.cautious(one) for one in made]
    assert planted.leaks(planted.bytes_of(one for one, _ in cautious), secrets) == []
    assert any(undecided for _, undecided in cautious)
    assert [again.cautious(one) for one in reversed(made)] == list(reversed(cautious))
    counted = Scrubber(key)
    decided = [was for was, (_, undecided) in zip(made, cautious, strict=True) if not undecided]
    assert [counted.exchange(one) for one in decided] == [one for one, undecided in cautious if not undecided]
    assert scrubber.counts == counted.counts
    assert scrubber.dropped == counted.dropped


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_columns_and_skipped_records_hold_none(seed):
    random = _chance(seed)
    secrets = [one for one in planted.plant(random) if "\n" not in one.value]
    made = list(planted.exchanges(secrets, random))
    scrubber = Scrubber(fresh_key())
    for one in made:
        scrubber.learn(one)
    held = []
    for one in made:
        held += [scrubber.path(one.request.path), scrubber.query(one.request.query), scrubber.text(one.error)]
        held += [scrubber.header(name, value) for name, value in one.request.headers]
        skipped = scrubber.skipped(Skipped("a.log", f"line 3, {one.request.path}", f"no time in {one.request.query}"))
        held += [skipped.where, skipped.reason]
    assert planted.leaks("\n".join(held).encode("utf-8", "surrogatepass"), secrets) == []


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_what_shows_itself_is_found_alone(seed):
    random = _chance(seed)
    key = fresh_key()
    for secret in planted.plant(random):
        if secret.kind.shows_itself:
            for one in planted.exchanges([secret], random):
                scrubbed = Scrubber(key).exchange(one)
                assert planted.leaks(planted.bytes_of([scrubbed]), [secret]) == [], one
