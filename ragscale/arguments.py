"""Checks of arguments: lists, whole numbers, shares and switches."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

from ragscale.errors import InvalidInput

__all__ = ["flag", "listed", "named_columns", "nearest", "present_as", "refuse_options", "share", "whole"]


def listed(
    name: str, given: Iterable[Any], kind: type | tuple[type, ...] = object, *, remedy: str | None = None
) -> list[Any]:
    """The items of an argument that is a list.

    Args:
        name: Name of the argument, for the error.
        given: The argument.
        kind: Type of each item.
        remedy: For the error, where "a list of" and the name are no words.

    Raises:
        InvalidInput: It is one text, which would be taken letter by letter, or not a list, or an item is of another
            type.
    """
    remedy = remedy or f"Give a list of {name}."
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        what = "one string" if isinstance(given, str | bytes) else "no list"
        raise InvalidInput(f"{name} is {what} ({given!r})", remedy)
    items = list(given)
    for item in items:
        if not isinstance(item, kind):
            raise InvalidInput(f"{name} holds {item!r}, which is no text", remedy)
    return items


def whole(name: str, value: Any, remedy: str, *, least: int = 1) -> int:
    """`value`, a whole number of at least `least`. Raises `InvalidInput` otherwise; True and False are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{name} {value!r} is no whole number", remedy)
    if value < least:
        raise InvalidInput(f"{name} {value!r}, the least is {least}", remedy)
    return value


def flag(name: str, value: Any) -> bool:
    """`value`, which is True or False. Raises `InvalidInput` otherwise."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} {value!r} is neither True nor False", "Give one of them, or leave it out.")
    return value


def share(name: str, value: Any) -> float | None:
    """`value`, a number from 0 to 1, or None. Raises `InvalidInput` otherwise."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidInput(f"{name} {value!r} is not between 0 and 1", "Give a number such as 0.5, or leave it out.")
    return float(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """The beginning of a remedy for an unknown name: ``Did you mean 'tokens'? ``, or nothing where none is near."""
    small = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), list(small), n=1)
    return f"Did you mean {small[near[0]]!r}? " if near else ""


def refuse_options(call: str, given: Iterable[str], known: Collection[str], *, kind: str = "option") -> None:
    """Raise `InvalidInput` for the first keyword of a call that is not known.

    Args:
        call: The call, for the error: ``"a search"``.
        given: Names of the keywords given.
        known: Names of all keywords.
        kind: Word for a keyword, for the error.
    """
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"unknown {kind} {name!r} of {call}", f"{nearest(name, known)}There are: {', '.join(known)}."
            )


def present_as(names: Iterable[str], present: Iterable[Any]) -> str | None:
    """The first of some usual names that a table has, as it is written there; None where it has none.

    Names that differ in case, or in a space or a hyphen for an underscore, are the same: ``Final answer`` is
    ``final_answer``. Where a table has several of these, the one that is written as usual counts, else the first.
    """
    there = [name for name in present if isinstance(name, str)]
    alike = {_plain(name): name for name in reversed(there)} | {name: name for name in there}
    return next((alike[name] for name in names if name in alike), None)


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return re.sub(r"[ -]+", "_", name.strip()).lower()


def named_columns(text: str, known: Collection[str], kind: str) -> dict[str, str]:
    """Columns of a table by what they hold, of an option such as ``text=contents,id=#``.

    Args:
        text: The option.
        known: What a column may hold.
        kind: Word for one of `known`, for the error: ``"field"``.

    Raises:
        InvalidInput: Not of that form, or something else than `known`.
    """
    found = {}
    for part in text.split(","):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if name not in known or not equals or not column:
            raise InvalidInput(
                f"columns {text!r}: cannot read {part.strip()!r}",
                f"Write {kind.upper()}=COLUMN, with commas between; the {kind}s are {', '.join(known)}.",
            )
        found[name] = column
    return found
