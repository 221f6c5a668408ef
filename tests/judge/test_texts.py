import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from replay.judge.answers.texts import alike, codes_of, texts_of

columns = st.lists(st.sampled_from([None, "", "a", "b", "c"]))


def as_series(values, kind):
    if kind == "object":
        return pd.Series(values, dtype=object)
    return pd.Series(pd.Categorical(values, categories=["c", "unused", "", "b", "a"]))


def texts(column):
    return [None if code < 0 else column.names[code] for code in column.codes]


@given(columns, st.sampled_from(["object", "category"]))
def test_a_column_says_what_it_said(values, kind):
    column = texts_of(as_series(values, kind))
    assert texts(column) == values
    assert set(column.names) == set(values) - {None}
    assert column.counts() == {name: values.count(name) for name in column.names}
    assert column.are("a").tolist() == [value == "a" for value in values]
    assert column.of(column.are("a")).codes.tolist() == [column.names.index("a") for value in values if value == "a"]
    places = ("b", "a")
    assert column.as_in(places).tolist() == [places.index(value) if value in places else -1 for value in values]


@given(columns, columns, st.sampled_from(["object", "category"]))
def test_columns_made_alike_can_be_compared(one, other, kind):
    first, second = alike(texts_of(as_series(one, "object")), texts_of(as_series(other, kind)))
    assert first.names == second.names
    assert texts(first) == one
    assert texts(second) == other


@given(columns, st.sampled_from(["object", "category"]))
def test_codes_are_the_same_for_the_same_text(values, kind):
    codes = codes_of(as_series(values, kind))
    assert [code == -1 for code in codes] == [value is None for value in values]
    told = zip(codes.tolist(), values, strict=True)
    assert len(set(told)) == len(set(codes.tolist())) == len(set(values))


def test_numbers_are_codes_already():
    assert codes_of(pd.Series([5, -1, 5])).tolist() == [5, -1, 5]
    assert codes_of(pd.Series([5, -1, 5])).dtype == np.int64
