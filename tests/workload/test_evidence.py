from typing import Any

from replay.traffic import Client, Endpoint
from replay.workload.correlations.evidence import borne_out, rank
from replay.workload.correlations.links import Correlation, Traffic
from replay.workload.correlations.values import Value

MADE, USED = Endpoint("POST", "/a"), Endpoint("GET", "/b")


def traffic_of(sent: list[list[str]]) -> Traffic:
    """Every other exchange makes something, every other uses the values given at ``path``."""
    values: Any = []
    for texts in sent:
        values += [[], [Value("path", "b_id", text) for text in texts]]
    count = len(values)
    moments = [float(number) for number in range(count)]
    return Traffic(
        [None] * count,  # type: ignore[list-item]
        moments,
        moments,
        [Client("a", "address")] * count,
        [0] * count,
        [MADE, USED] * (count // 2),
        values,
    )


def link(number: int, text: str) -> Correlation:
    return Correlation("", 2 * number, "json:/number", 2 * number + 1, "path", text)


def test_pairs_that_always_agree_are_borne_out() -> None:
    texts = ["300", "301", "302", "303"]
    links = [link(number, text) for number, text in enumerate(texts)]
    assert list(borne_out(traffic_of([[text] for text in texts]), links)) == links


def test_values_that_are_sent_without_having_been_handed_out_are_chance() -> None:
    texts = ["300", "301", "302", "303"]
    links = [link(number, text) for number, text in enumerate(texts)]
    others = [["302"], ["303"], ["301"]]
    assert list(borne_out(traffic_of([[text] for text in texts] + others), links)) == []


def test_few_values_are_no_evidence() -> None:
    links = [link(number, "300") for number in range(9)]
    assert list(borne_out(traffic_of([["300"]] * 9), links)) == []


def test_the_surest_patterns_come_first() -> None:
    long = "Zk3x9Qw7Lm2pR5tV8yB1"
    traffic = traffic_of([["300"], [long], [long]])
    first, second = rank(traffic, [link(0, "300"), Correlation("token", 2, "json:/token", 3, "path", long)])
    assert (first.kind, second.kind) == ("token", "")
    assert first.evidence > second.evidence
    assert (first.count, first.values) == (1, 1)
