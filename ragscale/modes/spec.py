"""Modes as text: ``chain``, ``parallel(max_queries=1)``, ``vote(of=chain(steps=3), n=5)``, and lists of such."""

from __future__ import annotations

import ast
import re
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from ragscale import modes
from ragscale.arguments import nearest
from ragscale.errors import InvalidInput
from ragscale.modes.core.mode import Mode

__all__ = ["label", "parse", "parse_list"]

_SYNTAX = "Write names, with parameters in parentheses where needed: once,vote(of=chain(steps=3), n=5)."
_WORD = re.compile(
    r"""(?P<quoted>(?P<mark>'{3}|"{3})(?:\\.|[^\\])*?(?P=mark)|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
    r"""|(?<![\w.])[^\W\d][\w.-]*""",
    re.DOTALL,
)
_READABLE, _WRITTEN = str.maketrans("-.", "\u01c3\u01c2"), str.maketrans("\u01c3\u01c2", "-.")
"""Letters stand for the marks in names such as ``best-of-n`` while Python's parser reads them."""


def parse_list(text: str) -> list[Mode]:
    """The modes of a comma-separated list, in order.

    Raises:
        InvalidInput: Bad syntax, an unknown mode or parameter, a value of the wrong type, or a mode given twice.
    """
    found: dict[str, Mode] = {}
    for item in _items(text):
        mode = _mode(item)
        if label(mode) in found:
            raise InvalidInput(f"mode {label(mode)!r} is given twice in {text!r}", "Give it once.")
        found[label(mode)] = mode
    return list(found.values())


def parse(text: str, preset: str = "") -> Mode:
    """A single mode; errors as in `parse_list`.

    Args:
        text: A name, with parameters where needed, ``preset`` among them: ``chain(preset=corag-paper, steps=3)``.
        preset: The same beside the text.
    """
    found = [_mode(item, preset) for item in _items(text)] if preset else parse_list(text)
    if len(found) > 1:
        raise InvalidInput(f"{len(found)} modes in {text!r}, one is wanted", "Give a single mode.")
    return found[0]


def label(mode: Mode) -> str:
    """The shortest text that `parse` turns into this mode: its name, and the parameters that are not the defaults."""
    changed = {f.name: getattr(mode, f.name) for f in fields(mode) if getattr(mode, f.name) != _default(f)}
    shown = {name: label(value) if isinstance(value, Mode) else repr(value) for name, value in changed.items()}
    inside = ", ".join(f"{name}={value}" for name, value in shown.items())
    return f"{mode.name}({inside})" if inside else mode.name


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _items(text: str) -> list[ast.expr]:
    """The items of a list, as Python reads the arguments of a call."""
    readable = _WORD.sub(lambda word: word[0] if word["quoted"] else word[0].translate(_READABLE), text)
    try:
        call = ast.parse(f"f({readable})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):  # "chain)(once" would be two calls
            raise ValueError
        if not call.args or call.keywords or readable.rstrip().endswith(","):
            raise ValueError
    except SyntaxError as error:
        at = max(1, min((error.offset or 3) - 2, len(text)))
        raise InvalidInput(f"mode {text!r} cannot be read from character {at} on", _SYNTAX) from error
    except (ValueError, MemoryError, RecursionError) as error:  # the last two: nested too deep
        raise InvalidInput(f"mode {text[:200]!r} cannot be read from character 1 on", _SYNTAX) from error
    return call.args


def _mode(item: ast.expr, preset: str = "") -> Mode:
    """The mode that an item names, with its parameters; literals only, nothing is evaluated."""
    name = _named(item.func if isinstance(item, ast.Call) else item)
    if name is None:
        raise InvalidInput(f"{_text(item)} names no mode and cannot be read", _SYNTAX)
    cls = type(modes.get(name))
    if not isinstance(item, ast.Call):
        return cls.preset(preset) if preset else cls()
    if item.args or any(keyword.arg is None for keyword in item.keywords):
        inside = _text(item).removeprefix(name)
        raise InvalidInput(
            f"parameters {inside!r} of mode {name} cannot be read", "Write them as (name=value, name=value)."
        )
    hints = get_type_hints(cls)
    accepted = [f.name for f in fields(cls)]
    values: dict[str, Any] = {"preset": preset} if preset else {}
    for keyword in item.keywords:
        key = str(keyword.arg)
        if key not in (*accepted, "preset"):
            guess = nearest(key, accepted)
            inner = f"Give it to the mode inside: {name}(of=chain({key}=...)). " if _nests(cls, key) else ""
            raise InvalidInput(f"{name} has no parameter {key!r}", f"{guess}{inner}Parameters: {', '.join(accepted)}.")
        if key in values:
            raise InvalidInput(f"{name}: {key} is given twice", "Give it once.")
        values[key] = _inner(keyword.value) if hints.get(key) is Mode else _value(keyword.value, name)
    preset = str(values.pop("preset", ""))
    return cls.preset(preset, **values) if preset else cls(**values)


def _inner(item: ast.expr) -> Mode:
    """The mode inside another one; quoted, too."""
    if isinstance(item, ast.Constant) and isinstance(item.value, str):
        return parse(item.value)
    return _mode(item)


def _value(item: ast.expr, mode: str) -> Any:
    # A bare word is a string, so that a shell needs no second pair of quotes.
    word = _named(item)
    if word is not None:
        return {"true": True, "false": False}.get(word, word)
    try:
        return ast.literal_eval(item)
    except (ValueError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidInput(
            f"parameter {_text(item)!r} of mode {mode} cannot be read", "Write them as (name=value, name=value)."
        ) from error


def _nests(cls: type[Mode], key: str) -> bool:
    """Whether a mode has an inner one whose kind has a parameter of this name."""
    inner = getattr(cls(), "of", None)
    return isinstance(inner, Mode) and key in {f.name for f in fields(inner)}


def _named(item: ast.expr) -> str | None:
    """The word that an item consists of, as it was written."""
    return item.id.translate(_WRITTEN) if isinstance(item, ast.Name) else None


def _text(item: ast.expr) -> str:
    """An item as it was written, cut short."""
    try:
        return ast.unparse(item).translate(_WRITTEN)[:200]
    except RecursionError:
        return "a parameter that is nested too deep"
