"""Variants of what an endpoint is sent and answers: found from the distinct forms of bodies and names of queries."""

import json
from dataclasses import dataclass

import ibis
import pandas as pd

from replay.shapes import is_empty, shape_of
from replay.workload.engine import Engine
from replay.workload.profile.facts import SEPARATOR

_MOST = 20_000
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Variants:
    """What requests are made of. ``texts`` names each variant, such as ``?limit {name:str}``.

    ``numbers`` maps ``made`` (the fingerprint of a fact's ``variant``) to ``variant``, a number in ``texts``;
    ``empties`` maps ``answered`` (that of a fact's ``small``) to ``empty``.
    """

    texts: tuple[str, ...]
    numbers: pd.DataFrame
    empties: pd.DataFrame


def find_variants(facts: ibis.Table, engine: Engine) -> Variants:
    """Find the variants of a capture's requests and the forms of its empty answers.

    The most frequent 20,000 forms are told apart; the rest count as others.
    """
    made = facts.group_by("variant").aggregate(count=facts.count(), made=engine.fingerprint(facts.variant).max())
    rows = engine.frame(made.order_by(ibis.desc("count"), "variant").limit(_MOST))
    texts: dict[str, int] = {OTHERS: 0}
    numbers = [texts.setdefault(_described(text), len(texts)) for text in rows["variant"]]
    answered = facts.filter(facts.small.notnull())
    small = answered.group_by("small").aggregate(
        count=answered.count(), answered=engine.fingerprint(answered.small).max()
    )
    answers = engine.frame(small.order_by(ibis.desc("count"), "small").limit(_MOST))
    empties = [is_empty(shape_of("application/json", text.encode())) for text in answers["small"]]
    return Variants(
        tuple(texts),
        pd.DataFrame({"made": rows["made"], "variant": pd.array(numbers, dtype="int64")}),
        pd.DataFrame({"answered": answers["answered"], "empty": pd.array(empties, dtype="bool")}),
    )


def _described(variant: str) -> str:
    names, body = variant.split(SEPARATOR, 1)
    query = "&".join(sorted(set(filter(None, names.split("&")))))
    if body.startswith("json "):
        body = _shape(body.removeprefix("json "))
    elif body.startswith("form "):
        body = f"form {'&'.join(sorted(set(body.removeprefix('form ').split('&'))))}"
    return " ".join(filter(None, (f"?{query}" if query else "", body)))


def _shape(text: str) -> str:
    """The shape of JSON, or ``json`` for what is not, or not all of it."""
    try:
        json.loads(text)
        shape = shape_of("application/json", text.encode())
    except (ValueError, RecursionError):
        return "json"
    return shape.encode("utf-8", "replace").decode()
