"""Modes as text: ``chain``, ``parallel(max_queries=1)``, and lists of such."""

from __future__ import annotations

import ast
import difflib
import re
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ragscale import modes
from ragscale.errors import InvalidInput
from ragscale.modes.core.mode import Mode

__all__ = ["label", "parse", "parse_list", "type_name"]

_ITEM = re.compile(r"\s*([\w.-]+)\s*(\([^()]*\))?\s*(,|$)")
_SYNTAX = "Write names, with parameters in parentheses where needed: once,parallel(max_queries=1)."


def parse_list(text: str) -> list[Mode]:
    """The modes of a comma-separated list, in order.

    Raises:
        InvalidInput: Bad syntax, an unknown mode or parameter, a value of the wrong type, or a mode given twice.
    """
    found: dict[str, Mode] = {}
    at = 0
    while at < len(text) or not found:
        item = _ITEM.match(text, at)
        if item is None or (item[3] and item.end() == len(text)):
            raise InvalidInput(f"mode {text!r} cannot be read from character {at + 1} on", _SYNTAX)
        mode = _make(item[1], item[2] or "()")
        if label(mode) in found:
            raise InvalidInput(f"mode {label(mode)!r} is given twice in {text!r}", "Give it once.")
        found[label(mode)] = mode
        at = item.end()
    return list(found.values())


def parse(text: str) -> Mode:
    """A single mode; errors as in `parse_list`."""
    found = parse_list(text)
    if len(found) > 1:
        raise InvalidInput(f"{len(found)} modes in {text!r}, one is wanted", "Give a single mode.")
    return found[0]


def label(mode: Mode) -> str:
    """The shortest text that `parse` turns into this mode: its name, and the parameters that are not the defaults."""
    changed = {f.name: getattr(mode, f.name) for f in fields(mode) if getattr(mode, f.name) != _default(f)}
    inside = ", ".join(f"{name}={value!r}" for name, value in changed.items())
    return f"{mode.name}({inside})" if inside else mode.name


def type_name(hint: Any) -> str:
    """A parameter's type as the reader writes it: ``int``, ``'json' or 'tags'``."""
    if get_origin(hint) is Literal:
        return " or ".join(repr(value) for value in get_args(hint))
    return hint.__name__ if isinstance(hint, type) else str(hint).removeprefix("typing.")


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _make(name: str, arguments: str) -> Mode:
    cls = type(modes.get(name))
    hints = get_type_hints(cls)
    accepted = [f.name for f in fields(cls)]
    values: dict[str, Any] = {}
    for key, value in _keywords(name, arguments):
        if key not in accepted:
            near = difflib.get_close_matches(key, accepted, n=1)
            guess = f"Did you mean {near[0]!r}? " if near else ""
            raise InvalidInput(f"{name} has no parameter {key!r}", f"{guess}Parameters: {', '.join(accepted)}.")
        if key in values:
            raise InvalidInput(f"{name}: {key} is given twice", "Give it once.")
        if not _fits(value, hints[key]):
            raise InvalidInput(f"{name}: {key}={value!r} does not fit", f"Accepted: {type_name(hints[key])}.")
        values[key] = value
    return cls(**values)


def _keywords(name: str, arguments: str) -> list[tuple[str, Any]]:
    """The (name, value) pairs of ``(a=1, b='x')``; literals only, nothing is evaluated."""
    try:
        call = ast.parse(f"f{arguments}", mode="eval").body
        assert isinstance(call, ast.Call)  # the brackets are balanced and not nested
        if call.args or any(keyword.arg is None for keyword in call.keywords):
            raise ValueError
        # A bare word is a string, so that a shell needs no second pair of quotes.
        pairs = [(str(k.arg), k.value.id if isinstance(k.value, ast.Name) else ast.literal_eval(k.value))
                 for k in call.keywords]  # fmt: skip
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:  # the last two: nested too deep
        raise InvalidInput(
            f"parameters {arguments!r} of mode {name} cannot be read", "Write them as (name=value, name=value)."
        ) from error
    return pairs


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True
