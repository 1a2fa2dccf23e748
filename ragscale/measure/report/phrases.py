"""Figures in words: scores, intervals, costs, limits."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from ragscale.measure.statistics import Comparison, Interval
from ragscale.view.report import Axis, EstimateData
from ragscale.words import counted, dollars

__all__ = [
    "amount", "at_cost", "code", "confidence", "estimate", "interval", "listing", "needed", "number", "of", "percent",
    "plenty", "ratio", "same", "score", "signed", "unit",
]  # fmt: skip

_UNITS: dict[Axis, str] = {
    "tokens": "tokens", "serial_tokens": "tokens one after another", "rounds": "rounds", "seconds": "seconds",
    "usd": "dollars",
}  # fmt: skip


def score(value: float | None) -> str:
    """``.70``, ``-.02``, ``1.00``; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    # halves away from 0, as the page's script has them: one report told .12 here and .13 there
    text = str(Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP))
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-.00", ".00")


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    return f"+{score(value)}" if value is not None and round(value, 2) > 0 else score(value)


def interval(found: EstimateData, *, sign: bool = False) -> str:
    """``.70 [.58, .80]``, without limits where there are none; with `sign`, the value of a difference: ``+.06``."""
    value = signed(found["value"]) if sign else score(found["value"])
    if found["low"] is None or found["high"] is None:
        return value
    return f"{value} [{score(found['low'])}, {score(found['high'])}]"


def percent(value: float) -> str:
    """A share: ``26 %``, ``0.4 %``, ``0.03 %``; only none is 0 %."""
    if not 0 < value < 0.01:
        return f"{100 * value:.0f} %"
    return f"{100 * value:.1f} %" if value >= 0.001 else f"{100 * value:.1g} %"


def confidence(level: float) -> str:
    """A level of confidence: ``95 %``, ``99.9 %``."""
    return f"{100 * level:.10g} %"


def of(found: Interval) -> EstimateData:
    """An interval as the report has it."""
    return EstimateData(value=found.value, low=found.low, high=found.high, n=found.n)


def estimate(value: float | None, n: int) -> EstimateData:
    """A figure without an interval."""
    return EstimateData(value=value, low=None, high=None, n=n)


def number(axis: Axis, value: float) -> str:
    """A cost without its unit: ``4,000``, ``$0.012``."""
    if axis == "usd":
        return dollars(value)
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


def amount(axis: Axis, value: float) -> str:
    """A cost with its unit: ``4,000 tokens``, ``$0.012``, ``1 round``."""
    told = number(axis, value)
    if axis == "usd":
        return told
    return f"{told} {_UNITS[axis].removesuffix('s') if told == '1' else _UNITS[axis]}"


def unit(axis: Axis) -> str:
    """Name of a cost: ``tokens``, ``tokens one after another``."""
    return _UNITS[axis]


def at_cost(axis: Axis, limit: float | None, low: float, high: float) -> str:
    """A level of cost: ``up to 4,000 tokens`` for a limit, else the range of the means."""
    if limit is not None:
        return f"up to {amount(axis, limit)}"
    if axis == "usd":
        return f"about {amount(axis, low)} to {amount(axis, high)}"
    first, last = (amount(axis, value) for value in (low, high))
    return f"about {last}" if first == last else f"about {first.partition(' ')[0]} to {last}"


def ratio(first: float, second: float) -> float | None:
    """Cost of the first as a share of the second; None where that is nothing."""
    return first / second if second > 0 and not math.isnan(first) else None


def code(name: str) -> str:
    """A name between backquotes: the page and the terminal show it as code."""
    return f"`{name.replace('`', chr(39))}`"


def listing(names: Sequence[str], most: int = 5) -> str:
    """``a, b and c``; of many the first ones and the number of the others."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def plenty(number: int) -> str:
    """A rough number of questions: two digits, as the estimate is no better."""
    if number < 100:
        return counted(number, "more question")
    digits = 10 ** (len(str(number)) - 2)
    return counted(round(number / digits) * digits, "more question")


def same(what: str, found: Interval) -> str:
    """That two cells have the same answers (or scores) to all questions, and on how many others they may differ."""
    level = found.level
    share = 1 - (1 - level) ** (1 / found.clusters)  # the largest that would show none of its kind by chance
    asked = {1: "the 1 question", 2: "both questions"}.get(found.n, f"all {counted(found.n, 'question')}")
    return (
        f"the same {what} on {asked}: at most {percent(share)} of further questions like these would get different "
        f"ones ({confidence(level)} certain)"
    )


def needed(found: Comparison) -> str:
    """Ending of a sentence on what is undecided; empty where it is decided."""
    if found.verdict != "undecided":
        return ""
    if found.further is None:
        return ", undecided"
    if found.further > 100_000:
        return ", undecided, and no number of questions that one can ask would tell"
    return f", undecided; about {plenty(found.further)} would tell"
