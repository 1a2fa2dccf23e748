"""Filters: what they let through, checked against plain Python with SQL's three truth values, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ragscale.errors import InvalidInput
from ragscale.index.query.filters import compile_filter

COLUMNS: dict[str, list[Any]] = {
    "year": [1989, 1990, None, 2**53 + 1, -5],
    "score": [0.5, 1.0, 2.0, None, 0.1],
    "lang": ["en", None, "de", 'a"b', "e%"],
    "draft": [True, False, None, True, False],
    "odd name": ["x", "y", "z", "", "x"],
    "order": [1, 2, 3, 4, 5],
}
FIELDS = pa.table(COLUMNS)


def rows(text: str) -> list[int]:
    return [row for row, found in enumerate(compile_filter(text, FIELDS.schema).mask(FIELDS)) if found]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("year >= 1990", [1, 3]),
        ("1990 <= year", [1, 3]),
        ("year = -5 or year = 1989", [0, 4]),
        ("year > 1989.5 and year < 1e6", [1]),
        ("year = 9007199254740993", [3]),
        ("year < 10000000000000000000000", [0, 1, 3, 4]),
        ("year between 1989 and 1990", [0, 1]),
        ("score = 0.1", [4]),
        ("score > 1", [2]),
        ('lang = "en"', [0]),
        ("lang = 'en'", [0]),
        ('lang != "en"', [2, 3, 4]),
        ('not lang = "en"', [2, 3, 4]),
        ('lang = "a""b"', [3]),
        ("lang is null", [1]),
        ("lang is not null", [0, 2, 3, 4]),
        ('lang in ("en", "de")', [0, 2]),
        ('lang not in ("en", "de")', [3, 4]),
        ('lang like "e%"', [0, 4]),
        ('lang not like "e%"', [2, 3]),
        (r'lang like "e\\%"', [4]),
        ('contains(lang, "e")', [0, 2, 4]),
        ('contains(lang, "%")', [4]),
        ("draft", [0, 3]),
        ("not draft", [1, 4]),
        ("draft = false", [1, 4]),
        ('`odd name` = "x" and not (year > 0)', [4]),
        ('lang = "en" and year > 2000 or `order` = 2', [1]),
        ('lang = "en" AND (year > 2000 OR order = 1)', [0]),
    ],
)
def test_what_matches(text: str, wanted: list[int]) -> None:
    assert rows(text) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "blank"),
        ("yaer = 1", "no field 'yaer'.*Did you mean 'year'"),
        ("nothing = 1", r"no field 'nothing'\. The passages have: draft, lang"),
        ("lang = 1", "lang is text, 1 is number"),
        ('year = "1990"', "year is number, '1990' is text"),
        ("draft = 1", "draft is yes or no, 1 is number"),
        ("year in (1, 'x')", "year is number, 'x' is text"),
        ('year between "a" and 3', "year is number, 'a' is text"),
        ('year like "19%"', "year is number, '19%' is text"),
        ("year like 19", "like and contains are for text, not for 19"),
        ("lang", "lang is text, not true or false"),
        ("lang = lang", "not offered"),
        ("year = null", "'NULL' is not offered"),
        ('lang in ("en", null)', "'NULL' is not offered"),
        ("year + 1 = 2", "not offered"),
        ("year in ()", "not offered"),
        ("year in (select 1)", "not offered"),
        ("draft is true", "not offered"),
        ("upper(lang) = 'EN'", "not offered"),
        ('contains(lang, "a", "b")', "not offered"),
        ("x.year = 1", "not offered"),
        ("year = @x", "not offered"),
        ("year = 1; drop table x", "not offered"),
        ("drop table x", "not offered"),
        ("1 = 1", "not offered"),
        ('"x"', "not offered"),
        ("year =", "cannot be read, near"),
        ("(year = 1", "cannot be read, near"),
        ('title contains "x"', "cannot be read, near"),
        ('lang = "en', "a quotation mark is missing"),
        ("lang = b'en'", r"cannot be read\. Write"),
        ("lang = [1]", "not offered"),
        ('lang = "\udce9"', r"holds half a character \('\\udce9'\)"),
        ("(" * 1990 + "draft" + ")" * 1990, "nested too deeply"),
        ("draft or " * 500 + "draft", "the most is 4,000"),
    ],
)
def test_what_is_refused(text: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        compile_filter(text, FIELDS.schema)
    assert caught.value.remedy
    assert not caplog.records  # sqlglot has its own opinion of some


def test_passages_without_metadata_have_no_fields() -> None:
    with pytest.raises(InvalidInput, match=r"no field 'year'\. The passages have: no metadata"):
        compile_filter("year = 1", pa.schema([]))


Row = dict[str, Any]
Truth = Callable[[Row], bool | None]


def _comparison(name: str, sign: str, value: Any) -> tuple[str, Truth]:
    signs: dict[str, Callable[[Any, Any], bool]] = {
        "=": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    }
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return f"{name} {sign} {shown}", lambda row: None if row[name] is None else signs[sign](row[name], value)


def _joined(word: str, one: tuple[str, Truth], other: tuple[str, Truth]) -> tuple[str, Truth]:
    def truth(row: Row) -> bool | None:
        found = (one[1](row), other[1](row))
        decided = word == "or"  # the value that decides alone
        return decided if decided in found else None if None in found else not decided

    return f"({one[0]} {word} {other[0]})", truth


def _not(one: tuple[str, Truth]) -> tuple[str, Truth]:
    def truth(row: Row) -> bool | None:
        found = one[1](row)
        return None if found is None else not found

    return f"not ({one[0]})", truth


SIGNS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
YEARS, LANGS = st.integers(-2, 2), st.sampled_from(["", "a", "b", "é", "ab"])
LEAVES = st.one_of(
    st.builds(_comparison, st.just("year"), SIGNS, YEARS),
    st.builds(_comparison, st.just("year"), SIGNS, st.floats(-2, 2)),
    st.builds(_comparison, st.just("lang"), SIGNS, LANGS),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.builds(_joined, st.sampled_from(["and", "or"]), inner, inner), st.builds(_not, inner)),
    max_leaves=12,
)


@given(CONDITIONS, st.lists(st.fixed_dictionaries({"year": st.none() | YEARS, "lang": st.none() | LANGS}), max_size=8))
def test_conditions_mean_what_sql_says(condition: tuple[str, Truth], table: list[Row]) -> None:
    text, truth = condition
    fields = pa.Table.from_pylist(table, schema=pa.schema([("year", pa.int64()), ("lang", pa.large_string())]))
    assert compile_filter(text, fields.schema).mask(fields).tolist() == [truth(row) is True for row in table]


WORDS = """
    year lang draft `odd name` 1 -2 1.5 "en" null true = != < like in ( ) , and or not is between contains( case when
    then end select from cast( as int * . ; + || interval date exists( -- /* [ { @ : ? % any( over
""".split()  # noqa: SIM905


@example("0E")
@example("year = 1e")
@example("year > -2E")
@example("year = " + "9" * 400)
@example("year = " + "9" * 5000)
@given(st.text(max_size=40) | st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join))
@settings(max_examples=400)
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        found = compile_filter(text, FIELDS.schema)
    except InvalidInput:
        return
    assert len(found.mask(FIELDS)) == len(FIELDS)
