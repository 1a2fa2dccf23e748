"""Expected cost of moves, before they are made: by it a mode fits its shape to what is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from ragscale.modes.core.state import State
from ragscale.types import Move, Spend

__all__ = ["Costs", "Means", "beside"]

_PLAN, _GLIMPSE, _SAMPLE = 340, 90, 50
_PASSAGE, _ANSWER, _SCORE = 140, 150, 250
"""Tokens typical of encyclopedia passages, until a run has costs of its own: a planner's turn, the beginning of a
passage that it sees, a sampled sub-query; a passage that is read, a closing answer beside its passages, a score."""


Means = dict[str, list[float]]
"""Mean prompt tokens and mean completion tokens a sample, by move; those of ``read`` are of one passage."""


@dataclass(frozen=True)
class Costs:
    """Mean tokens of each move: those of a run so far, typical ones before the first.

    Each method returns a `Spend` whose ``rounds`` are those of the critical path and whose tokens are all in
    ``prompt_tokens``. Pure: the same means give the same costs.
    """

    means: Means = field(default_factory=dict)
    samples: bool = True
    """Whether one call draws several samples (`Capabilities.samples`)."""

    @classmethod
    def of(cls, state: State, *, samples: bool = True) -> Costs:
        """Measured by a run, before its first move of a kind by the run around it."""
        return cls({**state["scope"]["typical"], **_measured(state["trace"])}, samples)

    def plan(self, glimpses: int = 0, n: int = 1) -> Spend:
        """A planner's turn: `n` samples, from the beginnings of so many passages."""
        calls, each = (1, n) if self.samples else (n, 1)
        nominal = _PLAN + _GLIMPSE * glimpses + _SAMPLE * each
        return Spend(llm_calls=calls, prompt_tokens=calls * self._mean("plan", nominal, each))

    def step(self, k: int) -> Spend:
        """A sub-query: `k` passages retrieved and read."""
        return self.retrieve() + Spend(llm_calls=1, prompt_tokens=k * self._mean("read", _PASSAGE))

    def retrieve(self, queries: int = 1) -> Spend:
        """A round of so many queries."""
        return Spend(queries=queries, rounds=1)

    def score(self) -> Spend:
        """A score."""
        return Spend(llm_calls=1, prompt_tokens=self._mean("score", _SCORE))

    def answer(self, k: int) -> Spend:
        """A closing answer from `k` passages."""
        return Spend(llm_calls=1, prompt_tokens=self._mean("answer", k * _PASSAGE + _ANSWER))

    def _mean(self, move: Move, nominal: int, samples: int = 1) -> int:
        prompt, completion = self.means.get(move, [nominal, 0])
        return math.ceil(prompt + completion * samples)


def _measured(trace: Sequence[dict[str, Any]]) -> Means:
    costs: dict[str, list[tuple[float, float]]] = {}
    for event in trace:
        if not event["spend"]["llm_calls"]:
            continue
        spend, drawn = event["spend"], len(event["output"]) if isinstance(event["output"], list) else 1
        parts = max(1, len(event["passages"])) if event["move"] == "read" else 1
        cost = spend["prompt_tokens"] / parts, spend["completion_tokens"] / max(1, drawn) / parts
        costs.setdefault(event["move"], []).append(cost)
    return {move: [fmean(column) for column in zip(*pairs, strict=True)] for move, pairs in costs.items()}


def beside(spend: Spend, branches: int) -> Spend:
    """Cost of so many equal branches side by side: everything is multiplied but the rounds of the critical path."""
    return replace(
        spend,
        llm_calls=spend.llm_calls * branches,
        prompt_tokens=spend.prompt_tokens * branches,
        queries=spend.queries * branches,
    )
