"""Metadata filters: ``year >= 1990 and lang = "en"``, read as SQL, checked against the fields, made into a row mask."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ragscale.arguments import nearest
from ragscale.errors import InvalidInput

__all__ = ["Filter", "compile_filter"]

_LONGEST = 4000
_DIALECT = "mysql"  # one in which double quotes hold text and backticks hold names
_REMEDY = (
    'Write it as in: year >= 1990 and lang = "en". There are =, !=, <, <=, >, >=, in (...), between, like, '
    'contains(field, "part"), is null, and, or, not and parentheses; an odd field name goes between backticks.'
)
_FLIPPED = {"LT": "GT", "LTE": "GTE", "GT": "LT", "GTE": "LTE", "EQ": "EQ", "NEQ": "NEQ"}
_PARTS = ("this", "expression", "expressions", "low", "high", "negate")
_INT64 = 1 << 63

Kind = Literal["text", "number", "yes or no"]


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on metadata; equal where its text is."""

    text: str
    expression: Any = field(compare=False, repr=False)
    """Expression of `pyarrow.compute` over the columns of the fields."""

    def mask(self, fields: Any) -> NDArray[np.bool_]:
        """Mask of the rows that match, one bool a row.

        As in SQL, a comparison with an absent value is neither true nor false, so such rows match neither
        ``lang = "en"`` nor ``lang != "en"``, only ``lang is null``.

        Args:
            fields: A `pyarrow.Table` with a row a passage and the columns that the filter was compiled for.
        """
        import pyarrow.dataset

        table = pyarrow.dataset.dataset(fields).to_table(columns={"mask": self.expression})
        found: NDArray[np.bool_] = table.column("mask").fill_null(False).to_numpy()
        return found


def compile_filter(text: str, schema: Any) -> Filter:
    """Read a filter.

    Args:
        text: The condition.
        schema: Names and types of the fields, a `pyarrow.Schema`.

    Raises:
        InvalidInput: It cannot be read, uses something that is not offered, names an unknown field, or compares text
            with a number.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"filter {text!r} is blank or not text", "Leave it out to search all passages.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"filter {text!r} holds half a character ({text[error.start]!r})", "Write it in UTF-8: no passage has such."
        ) from None
    if len(text) > _LONGEST:
        raise InvalidInput(f"filter of {len(text):,} characters, the most is {_LONGEST:,}", "Shorten it.")
    return _compiled(text, schema)


@lru_cache(maxsize=256)
def _compiled(text: str, schema: Any) -> Filter:
    try:
        return Filter(text, _Compiler(text, schema).condition(_parse(text)))
    except RecursionError:
        raise InvalidInput(f"filter {text[:60]!r}... is nested too deeply", "Use fewer parentheses.") from None


def _parse(text: str) -> Any:
    import sqlglot
    from sqlglot.errors import ParseError, SqlglotError

    try:
        return sqlglot.parse_one(text, dialect=_DIALECT)
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        raise InvalidInput(
            f"filter {text!r} cannot be read, near {first.get('highlight') or text!r}", _REMEDY
        ) from None
    except SqlglotError as error:  # of the tokenizer
        reason = " (a quotation mark is missing)" if str(error.__cause__).startswith("Missing ") else ""
        raise InvalidInput(f"filter {text!r} cannot be read{reason}", _REMEDY) from None


class _Compiler:
    """Makes a `pyarrow.compute` expression of the kinds of node it knows; every other kind is refused."""

    def __init__(self, text: str, schema: Any) -> None:
        self._text = text
        self._schema = schema
        self._kinds: dict[str, Callable[[Any], Any]] = {
            "And": lambda node: self.condition(node.this) & self.condition(node.expression),
            "Or": lambda node: self.condition(node.this) | self.condition(node.expression),
            "Not": lambda node: ~self.condition(node.this),
            "Paren": lambda node: self.condition(node.this),
            "Column": self._flag,
            "Is": self._is_null,
            "In": self._in,
            "Between": self._between,
            "Like": self._like,
            "Contains": self._contains,
            **dict.fromkeys(_FLIPPED, self._compare),
        }

    def condition(self, node: Any) -> Any:
        """The expression of a node that is true or false."""
        make = self._kinds.get(type(node).__name__)
        if make is None or any(value for name, value in node.args.items() if name not in _PARTS):
            raise self._refused(node)
        made = make(node)
        # sqlglot writes "not like" as a mark on the node
        return ~made if node.args.get("negate") else made

    def _compare(self, node: Any) -> Any:
        kind, left, right = type(node).__name__, node.this, node.expression
        if type(left).__name__ != "Column":
            kind, left, right = _FLIPPED[kind], right, left
        column, value = self._pair(left, right)
        compare: dict[str, Callable[[], Any]] = {
            "EQ": lambda: column == value,
            "NEQ": lambda: column != value,
            "LT": lambda: column < value,
            "LTE": lambda: column <= value,
            "GT": lambda: column > value,
            "GTE": lambda: column >= value,
        }
        return compare[kind]()

    def _between(self, node: Any) -> Any:
        column, low = self._pair(node.this, node.args["low"])
        _, high = self._pair(node.this, node.args["high"])
        return (column >= low) & (column <= high)

    def _in(self, node: Any) -> Any:
        if not node.expressions:  # a query of its own
            raise self._refused(node)
        pairs = [self._pair(node.this, value) for value in node.expressions]
        found = pairs[0][0] == pairs[0][1]
        for column, value in pairs[1:]:
            found = found | (column == value)
        return found

    def _is_null(self, node: Any) -> Any:
        if type(node.expression).__name__ != "Null":
            raise self._refused(node)
        return self._column(node.this)[0].is_null()

    def _like(self, node: Any) -> Any:
        import pyarrow.compute as pc

        return pc.match_like(*self._texts(node))

    def _contains(self, node: Any) -> Any:
        import pyarrow.compute as pc

        return pc.match_substring(*self._texts(node))

    def _flag(self, node: Any) -> Any:
        column, kind = self._column(node)
        if kind != "yes or no":
            raise InvalidInput(f"filter {self._text!r}: {node.name} is {kind}, not true or false", _REMEDY)
        return column

    def _texts(self, node: Any) -> tuple[Any, str]:
        column, value = self._pair(node.this, node.expression)
        if not isinstance(value, str):
            raise InvalidInput(f"filter {self._text!r}: like and contains are for text, not for {value!r}", _REMEDY)
        return column, value

    def _pair(self, left: Any, right: Any) -> tuple[Any, Any]:
        """A field and the value that it is compared with, of the same kind."""
        import pyarrow as pa

        value, given = self._value(right)
        column, kind = self._column(left)
        if kind != given:
            raise InvalidInput(
                f"filter {self._text!r}: {left.name} is {kind}, {_written(right)} is {given}",
                'Text stands in quotation marks, numbers do not; yes or no is "true" or "false" without them.',
            )
        # left to itself Arrow compares in 32 bits, and refuses whole numbers beyond 2^53 beside fractions
        if isinstance(value, float) or self._schema.field(left.name).type == pa.float64():
            column, value = column.cast(pa.float64(), safe=False), float(value)
        return column, value

    def _column(self, node: Any) -> tuple[Any, Kind]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if type(node).__name__ != "Column" or node.args.get("table"):
            raise self._refused(node)
        name = node.name
        if name not in self._schema.names:
            near = nearest(name, self._schema.names)
            has = f"The passages have: {', '.join(sorted(self._schema.names)) or 'no metadata'}."
            raise InvalidInput(f"filter {self._text!r}: no field {name!r}", f"{near}{has}")
        kind = self._schema.field(name).type
        if pa.types.is_boolean(kind):
            return pc.field(name), "yes or no"
        return pc.field(name), "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "text"

    def _value(self, node: Any) -> tuple[Any, Kind]:
        kind = type(node).__name__
        if kind == "Boolean":
            return bool(node.this), "yes or no"
        if kind == "Neg" and type(node.this).__name__ == "Literal" and not node.this.is_string:
            return -self._number(node.this), "number"
        if kind != "Literal":
            raise self._refused(node)
        return (str(node.this), "text") if node.is_string else (self._number(node), "number")

    def _number(self, node: Any) -> int | float:
        """A literal's value. Raises `InvalidInput` where it only begins like a number, as ``0E`` does."""
        with contextlib.suppress(ValueError):
            if -_INT64 < (value := int(node.this)) < _INT64:
                return value
        try:
            return float(node.this)
        except ValueError:
            raise self._refused(node) from None

    def _refused(self, node: Any) -> InvalidInput:
        return InvalidInput(f"filter {self._text!r}: {_written(node)!r} is not offered", _REMEDY)


def _written(node: Any) -> str:
    """A node as text; sqlglot would say on standard error what MySQL does not know, which is nobody's concern here."""
    from sqlglot.errors import ErrorLevel

    return str(node.sql(dialect=_DIALECT, unsupported_level=ErrorLevel.IGNORE))
