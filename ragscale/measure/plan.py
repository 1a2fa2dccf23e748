"""Plan of a sweep: calls, tokens, seconds and dollars of its cells, before anything is spent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ragscale.budget import Ledger
from ragscale.errors import ModelError
from ragscale.llm import LLM
from ragscale.llm.prices import Price
from ragscale.measure.cell import Cell
from ragscale.modes.core import Costs, Room
from ragscale.modes.core.costs import check_priced, dollars_a_token
from ragscale.types import Message, Spend

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Estimate", "Planned", "means", "passage_tokens", "plan", "speed", "total"]

_SAMPLE = 1_000
"""Passages whose lengths are averaged."""
Means = Mapping[str, Mapping[str, float | None]]
"""Means a question by the key of a cell: ``llm_calls``, ``prompt_tokens``, ``completion_tokens``, ``seconds`` (from the
question to its answer) and ``usd``; the last two are None where they are unknown. `means` has more: ``paid_tokens``
(without it all were paid), ``queries``, and those of the critical path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Expected cost; what nobody knows is None."""

    llm_calls: float
    tokens: float
    seconds: float | None
    """From the question to its answer; of all questions: with as many in flight as are planned."""
    usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Expected cost of a cell."""

    cell: str
    """Its key."""
    questions: int
    """Questions that are to be asked."""
    each: Estimate
    """Of a question."""
    all: Estimate
    """Of all of them, each charged in full: what a call store has is charged, too, though it is not paid again."""
    basis: Literal["rows", "shape"]
    """Source of the estimate: questions that the cell was asked before, or the mode's own sizing for a model that
    always finds more to ask."""
    shape: dict[str, Any]
    """Sizes that the budget pays for, as of `Forecast.shape`."""


def plan(
    cells: Sequence[Cell],
    questions: int | Mapping[str, int],
    *,
    costs: Costs | None = None,
    price: Price | None = None,
    speed: float | None = None,
    concurrency: int = 1,
    means: Means | None = None,
) -> list[Planned]:
    """Expected cost of each cell. Pure: nothing is called.

    Args:
        cells: Modes at budgets.
        questions: Number of questions of each cell, or of each cell by its key.
        costs: Tokens of moves, as of an index; typical ones by default.
        price: Of the model; None where it is unknown, so that dollars are too, unless `means` has them.
        speed: Tokens a second of one question. Default: cells in `means` take the seconds that they took, others go at
            the speed of all of these, by the tokens that were paid; without any, seconds are unknown.
        concurrency: Questions in flight. Seconds in `means` were measured with others in flight, and are not corrected:
            sums of them are an upper bound where those were more, a lower bound where they were fewer.
        means: Of questions that were asked before, by the key of their cell.

    Raises:
        InvalidInput: A budget limits dollars, and the model has no price by the token.
    """
    known = means or {}
    costs, pace = costs or Costs(), speed or _pace(known)
    ran = Spend(
        prompt_tokens=round(sum(row["prompt_tokens"] or 0 for row in known.values())),
        completion_tokens=round(sum(row["completion_tokens"] or 0 for row in known.values())),
    )
    planned = []
    for cell in cells:
        limit = cell.budget.usd
        if limit is not None:
            check_priced(price, limit)
        course = cell.mode.forecast(costs, Room.of(Ledger(cell.budget), price=price))
        row = known.get(cell.key)
        if row:
            tokens = _tokens(row)
            calls, seconds, usd = row["llm_calls"] or 0, None if speed else row.get("seconds"), row.get("usd")
        else:
            calls, tokens, seconds, usd = course.spend.llm_calls, course.spend.tokens, None, None
        if seconds is None and pace:
            seconds = tokens / pace
            seconds = seconds if cell.budget.seconds is None else min(seconds, cell.budget.seconds)
        if usd is None and price is not None:
            if price.hour is None:
                usd = round(tokens * dollars_a_token(price, _call(ran, tokens, calls)), 12)
            elif seconds is not None:
                usd = round(price.hour * seconds / 3600, 12)
        each = Estimate(llm_calls=calls, tokens=tokens, seconds=seconds, usd=usd)
        n = questions if isinstance(questions, int) else questions[cell.key]
        planned.append(
            Planned(
                cell=cell.key, questions=n, each=each, all=_times(each, n, concurrency),
                basis="rows" if row else "shape", shape=course.shape,
            )
        )  # fmt: skip
    return planned


def total(planned: Sequence[Planned]) -> Estimate:
    """Cost of all cells together; unknown where that of one is."""
    parts = [cell.all for cell in planned]
    return Estimate(
        llm_calls=sum(part.llm_calls for part in parts),
        tokens=sum(part.tokens for part in parts),
        seconds=_sum([part.seconds for part in parts]),
        usd=_sum([part.usd for part in parts]),
    )


def means(rows: pyarrow.Table) -> dict[str, dict[str, float | None]]:
    """Means a question of each cell, from the rows of a run (`Run.rows`); those of failed questions are left out."""
    import pyarrow.compute as pc

    columns = {
        "llm_calls": "total_llm_calls", "prompt_tokens": "total_prompt_tokens",
        "completion_tokens": "total_completion_tokens", "seconds": "wall_seconds", "usd": "total_usd",
        "paid_tokens": "paid_tokens", "queries": "total_queries", "rounds": "serial_rounds",
        "serial_tokens": "serial_tokens", "serial_calls": "serial_llm_calls",
    }  # fmt: skip
    grouped = rows.filter(pc.invert(rows["failed"])).group_by("cell")
    found = grouped.aggregate(
        [*((column, "mean") for column in columns.values()), ("total_usd", "count"), ([], "count_all")]
    )
    return {
        line["cell"]: {
            name: line[f"{column}_mean"] if name != "usd" or line["total_usd_count"] == line["count_all"] else None
            for name, column in columns.items()
        }
        for line in found.to_pylist()
    }


def passage_tokens(folder: Path) -> int:
    """Mean tokens of the passages of an index, title included, as an endpoint without a tokenizer has them counted."""
    import numpy as np

    from ragscale.index import Manifest
    from ragscale.index.storage.passages import full_text
    from ragscale.index.storage.snapshot import open_passages
    from ragscale.llm.tokens import TokenEstimator

    count = TokenEstimator().text
    with open_passages(folder, Manifest.read(folder)) as store:
        rows = np.linspace(0, len(store) - 1, min(_SAMPLE, len(store))).astype(np.int64)
        return round(float(np.mean([count(full_text(passage)) for passage in store.take(rows)])))


async def speed(llm: LLM) -> float:
    """Tokens a second of one call of about the size of a planner's turn; a first one, as long, warms the model up.

    Two calls of some 400 tokens, which no answer is charged for.

    Raises:
        ModelError: A call failed, or took no time that can be measured.
    """
    took, tokens = 0.0, 0
    for word in ("amber", "basalt"):  # another text, or its prompt would come from the server's cache
        text = f"{word} quarry ledger " * 100
        messages: list[Message] = [{"role": "user", "content": f"{text}\nDescribe in fifty words what this is."}]
        started = time.perf_counter()
        found = await llm.generate(messages, max_tokens=48)
        took, tokens = time.perf_counter() - started, found.usage.prompt_tokens + found.usage.completion_tokens
    if not took or not tokens:
        raise ModelError(f"{llm.name}: {tokens} tokens in {took:g} s tell no speed", "Give --speed.")
    return tokens / took


def _pace(known: Means) -> float | None:
    """Tokens a second of the rows whose seconds are known; calls that a store had took no time, and do not count."""
    timed = [row for row in known.values() if row.get("seconds")]
    tokens = sum(_tokens(row) if row.get("paid_tokens") is None else row["paid_tokens"] or 0 for row in timed)
    return tokens / sum(row["seconds"] or 0 for row in timed) if tokens else None


def _tokens(row: Mapping[str, float | None]) -> float:
    return (row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0)


def _call(ran: Spend, tokens: float, calls: float) -> Spend:
    """One call of a cell, with the share of completions that rows have: a price with tiers is that of a call."""
    part = tokens / calls / ran.tokens if calls and ran.tokens else 0
    return Spend(prompt_tokens=round(ran.prompt_tokens * part), completion_tokens=round(ran.completion_tokens * part))


def _times(each: Estimate, n: int, concurrency: int) -> Estimate:
    return Estimate(
        llm_calls=each.llm_calls * n,
        tokens=each.tokens * n,
        seconds=None if each.seconds is None else each.seconds * n / max(1, min(n, concurrency)),
        usd=None if each.usd is None else round(each.usd * n, 12),
    )


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return None if len(known) < len(parts) else round(sum(known), 12)
