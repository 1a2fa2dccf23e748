"""Caveats of a policy: in words, how a run differs from the one that the policy was fitted on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

from ragscale.budget import Budget
from ragscale.modes.auto.policy import CellOf
from ragscale.modes.core.moves import Context, Moves

__all__ = ["other_budget", "other_settings"]


def other_settings(fitted: Mapping[str, str], context: Context) -> str:
    """In words, which of model, index and kind of search are not those of the fit; empty if none is known to differ."""
    index, how = (str(getattr(context.index, name, "") or "") for name in ("fingerprint", "how"))
    now = {"model": context.llm.name, "index": index, "kind of search": str(context.how or how)}
    then = {"model": fitted.get("llm", ""), "index": fitted.get("index", ""), "kind of search": fitted.get("how", "")}
    other = [
        f"another {name} ({then[name][:80]}, now {now[name][:80]})"
        for name in now
        if then[name] and now[name] and then[name] != now[name]
    ]
    return f"the policy was fitted with {' and '.join(other)}: its gate is a guess here" if other else ""


def other_budget(cells: Sequence[CellOf], moves: Moves) -> str:
    """In words, the limits of the fit where the run has others; empty where they are the same."""
    limits = {field.name: moves.ledger.limit(field.name) for field in fields(Budget)}
    now = {name: limit for name, limit in limits.items() if limit < math.inf}
    other = [cell for cell in cells if cell.budget != now]
    if not other:
        return ""
    same, here = all(cell.budget == other[0].budget for cell in cells), "its share here" if moves.branch else "this run"
    fitted = [_limits(cell.budget) if same else f"{cell.mode} {_limits(cell.budget)}" for cell in other]
    return (
        f"the policy was fitted {', '.join(dict.fromkeys(fitted))}, and {here} is {_limits(now)}: what it expects of "
        "each mode was measured there"
    )


def _limits(budget: Mapping[str, float]) -> str:
    return f"at {', '.join(f'{name}={limit:,.12g}' for name, limit in budget.items())}" if budget else "without limits"
