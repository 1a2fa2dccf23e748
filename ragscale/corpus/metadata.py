"""Metadata: which values a passage may carry, and one type for each field over the whole corpus."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Mapping
from typing import Any

from ragscale.corpus.record import shown, whole_text
from ragscale.errors import BadDocument
from ragscale.types import Scalar

__all__ = ["FieldTypes", "scalar"]

_LIMIT = 1000
_INT64 = range(-(2**63), 2**63)
_KINDS: dict[type, str] = {str: "large_string", int: "int64", float: "double", bool: "bool"}
_WORDS = {"bool": "true or false", "int64": "a whole number", "double": "a number", "large_string": "text"}
_NUMBERS = {"int64", "double"}


class FieldTypes:
    """The type of each metadata field seen so far, by Arrow's names; whole numbers give way to other numbers.

    Args:
        types: What is known already: the fields of the index that a corpus is added to. Columns of csv files, which
            have no types of their own, follow it.
    """

    def __init__(self, types: Mapping[str, str] | None = None) -> None:
        self.types: dict[str, str] = dict(types or {})
        """``"bool"``, ``"int64"``, ``"double"`` or ``"large_string"`` by name, in order of appearance."""

    def add(self, metadata: Mapping[str, Scalar], place: object) -> None:
        """Take in the fields of one passage, all or none.

        Raises:
            BadDocument: A value of another type than the field had before, or more than 1,000 fields.
        """
        merged: dict[str, str] = {}
        for name, value in metadata.items():
            kind = _KINDS[type(value)]
            known = self.types.get(name, kind)
            if known != kind:
                if not {known, kind} <= _NUMBERS:
                    reason = f"field `{name}` is {_WORDS[kind]} here ({shown(value)}) and was {_WORDS[known]} before"
                    raise BadDocument(place, reason, "Give the field one type everywhere, or make it two fields.")
                kind = "double"
            merged[name] = kind
        new = [name for name in merged if name not in self.types]
        if len(self.types) + len(new) > _LIMIT:
            reason = f"field `{shown(new[-1])}` is one more than {_LIMIT:,}"
            raise BadDocument(place, reason, "Put what differs from row to row under one name.")
        self.types.update(merged)


def scalar(value: Any, name: str, place: object) -> Scalar | None:
    """A value of a row as metadata; None for what is left out: nothing, NaN, infinity, lists, objects and bytes.

    Dates and times become ISO 8601 text, decimals become floats.

    Raises:
        BadDocument: A whole number beyond 64 bits, or text that UTF-8 cannot hold.
    """
    if isinstance(value, str):
        return whole_text(value, name, place)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value not in _INT64:
            reason = f"field `{name}` is a number of {value.bit_length()} bits, 63 fit"
            raise BadDocument(place, reason, "Write it as text.")
        return value
    if isinstance(value, (float, decimal.Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return None
