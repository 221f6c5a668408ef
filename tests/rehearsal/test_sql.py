import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.errors import InputError
from replay.rehearsal.steps.sql import split_statements

WORDS = st.sampled_from(
    [
        "select 1",
        "insert into t values ('a;b''c')",
        r"select E'\';', ';'",
        'alter table "odd;name" add column x int',
        "do $$ begin; end; $$",
        "create function f() returns int as $body$ select $$;$$; $body$ language sql",
        "select a$b, $1 -- not; the end\n, 2",
        "/*+ a hint /* nested; */ stays; */ commit",
        "create rule r as on insert to t do (select 1; select 2)",
        "create or replace procedure p() begin atomic select case when true then 1 end; select 2; end",
        "begin",
        "copy t to stdout",
        "select 'Grüße' as ümlaut",
        "select 1::int, a[1:2], x->>'k', -1/2*3",
        "create table begin_at (function int, procedure int)",
    ]
)


@given(st.lists(WORDS, max_size=8), st.sampled_from([";\n", " ; ", ";", ";\n-- and then;\n", ";;\n"]))
def test_what_is_joined_splits_back(texts: list[str], separator: str) -> None:
    found = [statement.text for statement in split_statements(separator.join(texts))]
    assert found == texts


@given(st.text(max_size=200))
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        statements = split_statements(text)
    except InputError:
        return
    assert all(statement.text and statement.text in text for statement in statements)


@given(st.text(alphabet="ab;'\n\"\\$-/*", max_size=60))
def test_a_quoted_text_is_never_cut(inside: str) -> None:
    quoted = "'" + inside.replace("'", "''") + "'"
    tag = "$q$" + inside.replace("$", "") + "$q$"
    assert [s.text for s in split_statements(f"select {quoted}; select {tag}")] == [f"select {quoted}", f"select {tag}"]


def test_lines_are_those_where_a_statement_begins() -> None:
    statements = split_statements("-- first\n\nselect 1;\n/* two\nlines */ select\n2;\nselect 3")
    assert [statement.line for statement in statements] == [3, 5, 7]


def test_comments_before_a_statement_are_no_part_of_it() -> None:
    (statement,) = split_statements("-- why;\n/* a /* nested; */ one; */ commit -- and so on")
    assert statement.text == "commit -- and so on"


def test_comments_alone_are_no_statement() -> None:
    assert split_statements("-- nothing\n;;/* at all */;\n") == ()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select 1;\n\\d token", "line 2: a command of psql"),
        ("\\set x 1", "line 1: a command of psql"),
        ("select 1;\ncopy t (a) from stdin with (format csv);\n1\n", "line 2: COPY FROM stdin"),
        ("select 'open", "quote that does not end"),
        ("select 1; do $x$ begin", "dollar quote"),
        ("/* open /* */", "comment that does not end"),
    ],
)
def test_what_only_psql_understands_is_refused(sql: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        split_statements(sql)
