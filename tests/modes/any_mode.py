"""Any mode with any parameters, drawn at random: every built-in one, nested up to a depth, and small enough to run."""

from __future__ import annotations

import functools
import random
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ragscale.errors import InvalidInput
from ragscale.modes import Mode, built_in

__all__ = ["any_mode"]

_LARGEST = 3
_TRIES = 100


def any_mode(dice: random.Random, *, depth: int = 2, **fixed: Any) -> Mode:
    """A mode with each parameter at its default, or at a small or odd value; modes inside, up to `depth` levels.

    Args:
        dice: By which it is drawn.
        depth: Levels of modes inside; 0 for none.
        fixed: Values of parameters that are not drawn, where a mode has them, those inside included.
    """
    kinds = [kind for kind in _kinds() if depth or not _nests(kind)]
    for _ in range(_TRIES):
        kind = dice.choice(kinds)
        hints = _hints(kind)
        drawn = {field.name: _value(dice, kind, field.name, hints[field.name], depth, fixed) for field in fields(kind)}
        drawn |= {name: value for name, value in fixed.items() if name in drawn}
        try:
            return kind(**{name: value for name, value in drawn.items() if value is not None})
        except InvalidInput:  # parameters that do not go together
            continue
    raise AssertionError("no mode can be drawn")


@functools.cache
def _kinds() -> tuple[type[Mode], ...]:
    return tuple(built_in().values())


@functools.cache
def _hints(kind: type[Mode]) -> dict[str, Any]:
    return get_type_hints(kind)


def _nests(kind: type[Mode]) -> bool:
    return Mode in _hints(kind).values()


def _value(dice: random.Random, kind: type[Mode], name: str, hint: Any, depth: int, fixed: dict[str, Any]) -> Any:
    """A value of a parameter; None for its default."""
    if hint is Mode:
        return any_mode(dice, depth=depth - 1, **fixed)
    if hint is int and not name.endswith("_tokens"):  # defaults are for real runs: too many calls
        return dice.randint(int(kind.least.get(name, 1)), _LARGEST)
    if dice.random() < 0.5:
        return None
    if hint is int:
        return dice.choice([1, 8, 96, 1024])
    if hint is float:
        return dice.choice([kind.least.get(name, 0.0), 0.3, 0.7, 1.0])
    if hint is bool:
        return dice.random() < 0.5
    if get_origin(hint) is Literal:
        return dice.choice(get_args(hint))
    return None
