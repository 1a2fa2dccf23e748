"""Metadata: which values a passage may carry, and one type for each field over the whole corpus."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ragscale.corpus.problems import Problems
from ragscale.corpus.record import Record, shown, whole_text
from ragscale.errors import BadDocument
from ragscale.types import Scalar

__all__ = ["FieldTypes", "fitted", "scalar"]

_LIMIT = 1000
_LONGEST = 1024
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

    def fitted(self, metadata: Mapping[str, Scalar], place: object, problems: Problems) -> Mapping[str, Scalar]:
        """Take in the fields of one passage, all or none, and give those that fit.

        A number in a field of texts becomes text. Any other value of another type than the field had before is left
        out, and counted: one odd value is no reason to lose a passage.

        Raises:
            BadDocument: More than 1,000 fields.
        """
        kept: dict[str, Scalar] = {}
        merged: dict[str, str] = {}
        odd = False
        for name, value in metadata.items():
            kind = _KINDS[type(value)]
            known = self.types.get(name, kind)
            if known != kind and known == "large_string" and kind in _NUMBERS:
                value, kind = str(value), known
            elif known != kind and {known, kind} <= _NUMBERS:
                kind = "double"
            elif known != kind:
                problems.leave_out(f"values of `{shown(name)[1:-1]}` that are {_WORDS[kind]}, not {_WORDS[known]}")
                odd = True
                continue
            kept[name], merged[name] = value, kind
            odd |= value is not metadata[name]
        new = [name for name in merged if name not in self.types]
        if len(self.types) + len(new) > _LIMIT:
            reason = f"field `{shown(new[-1])}` is one more than {_LIMIT:,}"
            raise BadDocument(place, reason, "Put what differs from row to row under one name.")
        self.types.update(merged)
        return kept if odd else metadata


def fitted(record: Record, fields: FieldTypes, problems: Problems) -> Record:
    """A record with the metadata that fits; see `FieldTypes.fitted`."""
    kept = fields.fitted(record.passage.metadata, record.place, problems)
    if kept is record.passage.metadata:
        return record
    return replace(record, passage=replace(record.passage, metadata=kept))


def scalar(value: Any, name: str, place: object) -> Scalar | None:
    """A value of a row as metadata; None for what is left out: nothing, NaN, infinity, lists, objects and bytes.

    Dates and times become ISO 8601 text, decimals become floats, whole numbers beyond 64 bits text.

    Raises:
        BadDocument: Text that UTF-8 cannot hold.
    """
    if isinstance(value, str):
        return whole_text(value, name, place)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value in _INT64 else str(value) if value.bit_length() < _LONGEST else None
    if isinstance(value, (float, decimal.Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return None
