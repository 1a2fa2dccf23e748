"""Types of metadata fields."""

from __future__ import annotations

import datetime
import decimal

import pytest

from ragscale.corpus import Columns, FieldTypes, Problems
from ragscale.corpus.metadata import scalar
from ragscale.errors import BadDocument, InvalidInput
from ragscale.types import Scalar


def test_whole_numbers_give_way_to_others() -> None:
    fields, problems = FieldTypes(), Problems()
    fields.fitted({"a": 1, "b": True, "c": "x"}, "row 1", problems)
    assert fields.types == {"a": "int64", "b": "bool", "c": "large_string"}
    fields.fitted({"a": 2.5}, "row 2", problems)
    row = {"a": 3}
    assert fields.fitted(row, "row 3", problems) is row
    assert fields.types["a"] == "double"
    assert not problems.left_out


@pytest.mark.parametrize(
    ("first", "then", "what"),
    [
        (1, "x", "text, not a whole number"),
        (True, 1, "a whole number, not true or false"),
        (1.5, False, "true or false, not a number"),
        ("x", True, "true or false, not text"),
    ],
)
def test_values_of_other_types_are_left_out_and_counted(first: Scalar, then: Scalar, what: str) -> None:
    fields, problems = FieldTypes(), Problems()
    fields.fitted({"a": first}, "row 1", problems)
    before = dict(fields.types)
    assert fields.fitted({"new": 1, "a": then}, "row 2", problems) == {"new": 1}
    assert fields.types == {**before, "new": "int64"}
    assert problems.left_out == {f"values of `a` that are {what}": 1}


def test_numbers_in_a_field_of_texts_become_text() -> None:
    fields, problems = FieldTypes(), Problems()
    fields.fitted({"a": "MCMXC"}, "row 1", problems)
    assert fields.fitted({"a": 1990}, "row 2", problems) == {"a": "1990"}
    assert fields.fitted({"a": 1.5}, "row 3", problems) == {"a": "1.5"}
    assert not problems.left_out


def test_a_field_for_every_row_is_refused() -> None:
    fields, problems = FieldTypes(), Problems()
    for row in range(1000):
        fields.fitted({f"f{row}": row}, f"row {row}", problems)
    with pytest.raises(BadDocument, match="row 1000: field `'f1000'` is one more than 1,000"):
        fields.fitted({"f1000": 1}, "row 1000", problems)
    fields.fitted({"f999": 1}, "row", problems)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (float("nan"), None),
        (decimal.Decimal("NaN"), None),
        (float("-inf"), None),
        (decimal.Decimal("1e400"), None),
        ([1], None),
        ({"a": 1}, None),
        (b"x", None),
        (decimal.Decimal("1.5"), 1.5),
        (datetime.date(2020, 1, 2), "2020-01-02"),
        (datetime.datetime(2020, 1, 2, 3, 4), "2020-01-02T03:04:00"),
        (datetime.time(3, 4), "03:04:00"),
        (-(2**63), -(2**63)),
        (False, False),
        ("", ""),
    ],
)
def test_values_that_become_metadata(value: object, kept: object) -> None:
    found = scalar(value, "f", "row 1")
    assert (type(found), found) == (type(kept), kept)


def test_numbers_beyond_64_bits_are_text() -> None:
    for value in (2**63, -(2**63) - 1):
        assert scalar(value, "f", "row 1") == str(value)
    assert scalar(10**5000, "f", "row 1") is None


def test_columns_of_an_option() -> None:
    assert Columns.parse("text=contents, id=#") == Columns(text="contents", id="#")
    assert Columns.parse("text=a=b").text == "a=b"
    assert Columns.parse("title=name,document=name") == Columns(title="name", document="name")
    for text in ("text=title,title=title", "id=body,text=body"):
        with pytest.raises(InvalidInput, match=r"columns '.*': the text and the (title|id) are both '(title|body)'"):
            Columns.parse(text)
    for text in ("", "text", "text=", "body=x", "=x", "text=a,,"):
        with pytest.raises(InvalidInput, match=r"Write MEANING=COLUMN.*id, title, text, document"):
            Columns.parse(text)
