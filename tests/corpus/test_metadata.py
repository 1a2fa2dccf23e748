"""Types of metadata fields."""

from __future__ import annotations

import datetime
import decimal

import pytest

from ragscale.corpus import Columns, FieldTypes
from ragscale.corpus.metadata import scalar
from ragscale.errors import BadDocument, InvalidInput


def test_whole_numbers_give_way_to_others() -> None:
    fields = FieldTypes()
    fields.add({"a": 1, "b": True, "c": "x"}, "row 1")
    assert fields.types == {"a": "int64", "b": "bool", "c": "large_string"}
    fields.add({"a": 2.5}, "row 2")
    fields.add({"a": 3}, "row 3")
    assert fields.types["a"] == "double"


@pytest.mark.parametrize(("first", "then"), [(1, "x"), ("x", 1.5), (True, 1), (1.5, False), ("x", True)])
def test_other_types_do_not_mix(first: object, then: object) -> None:
    fields = FieldTypes()
    fields.add({"a": first}, "row 1")  # type: ignore[dict-item]
    before = dict(fields.types)
    with pytest.raises(BadDocument, match=r"row 2: field `a` is .* here \(.*\) and was "):
        fields.add({"new": 1, "a": then}, "row 2")  # type: ignore[dict-item]
    assert fields.types == before


def test_a_field_for_every_row_is_refused() -> None:
    fields = FieldTypes()
    for row in range(1000):
        fields.add({f"f{row}": row}, f"row {row}")
    with pytest.raises(BadDocument, match="row 1000: field `'f1000'` is one more than 1,000"):
        fields.add({"f1000": 1}, "row 1000")
    fields.add({"f999": 1}, "row")


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


def test_numbers_beyond_64_bits() -> None:
    for value, bits in ((2**63, 64), (-(2**63) - 1, 64), (10**5000, 16_610)):
        with pytest.raises(BadDocument, match=f"row 1: field `f` is a number of {bits} bits, 63 fit"):
            scalar(value, "f", "row 1")


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
