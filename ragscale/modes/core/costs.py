"""Expected cost of moves, before they are made, and the room for them: by both a mode sizes itself to its budget."""

from __future__ import annotations

import math
import operator
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from statistics import fmean
from typing import Any, Self

from ragscale.budget import ALONG, Ledger, unpriced
from ragscale.errors import InvalidInput
from ragscale.llm.prices import Price
from ragscale.llm.tokens import with_margin
from ragscale.modes.core.state import State
from ragscale.types import Spend

__all__ = [
    "Cost",
    "Costs",
    "Forecast",
    "Means",
    "Room",
    "abreast",
    "beside",
    "check_priced",
    "closing_tokens",
    "closing_usd",
    "counted",
    "dollars_a_token",
    "floored",
    "series",
]

_PLAN, _GLIMPSE, _SAMPLE, _REASON = 340, 90, 50, 150
_PASSAGE, _ANSWER, _SCORE = 140, 150, 250
"""Tokens typical of encyclopedia passages, until a run has costs of its own: a planner's turn, the beginning of a
passage that it sees, a sampled sub-query, a turn of reasoning beside its passages; a passage that is read, a closing
answer beside its passages, a score."""
_LONGER = 1.15  # passages that are found later may have more words
_LONGEST = 128  # tokens of a closing answer, with the margin of its prompt
_EACH = "plan: a passage"
_WHOLE, _CLOSING, _READING = "passage", "answer: alone", "read: alone"
_SAID = 32  # tokens of a sub-answer or a closing answer, nominally
_SPARE = 128  # tokens that a call reserves for its completion beyond what it writes
_SUMMED = ("tokens", "llm_calls", "queries")
_WRITTEN = 0.1  # typical share of completions in the tokens, until a run has a share of its own


Means = dict[str, list[float]]
"""Mean prompt tokens and mean completion tokens a sample, by move; those of ``read`` are of one passage, and there are
such of ``plan``, too. Before a run has made such moves, those of their prompts as counted (`counted`): of a passage,
and of a reading and a closing answer without any."""


@dataclass(frozen=True, slots=True)
class Cost(Spend):
    """Expected cost in total, with all tokens in ``prompt_tokens``, and along the critical path.

    ``rounds`` are those of the critical path. A plain `Spend` stands for moves that all follow one another. ``usd`` is
    not reckoned here: see `Room.dollars`.
    """

    serial_tokens: int = 0
    """Tokens of the critical path."""
    serial_calls: int = 0
    """Model calls of the critical path."""

    @classmethod
    def of(cls, spend: Spend) -> Cost:
        """The cost of moves that follow one another, unless it is a `Cost` already."""
        if isinstance(spend, Cost):
            return spend
        return Cost(**spend.to_dict(), serial_tokens=spend.tokens, serial_calls=spend.llm_calls)

    @property
    def total(self) -> Spend:
        """Without the critical path."""
        return Spend(**{field.name: getattr(self, field.name) for field in fields(Spend)})

    def __add__(self, other: Spend) -> Cost:
        return _combined(operator.add, self, other)

    __radd__ = __add__

    def __sub__(self, other: Spend) -> Cost:
        return _combined(operator.sub, self, other)

    def __rsub__(self, other: Spend) -> Cost:
        return _combined(operator.sub, other, self)


_values = operator.attrgetter(*(field.name for field in fields(Cost)))


def _combined(by: Callable[[Any, Any], Any], one: Spend, other: Spend) -> Cost:
    return Cost(*map(by, _values(Cost.of(one)), _values(Cost.of(other))))


@dataclass(frozen=True)
class Costs:
    """Mean tokens of each move: those of a run so far; before the first those that were counted, or typical ones.

    Pure: the same means give the same costs.
    """

    means: Means = field(default_factory=dict)
    samples: bool = True
    """Whether one call draws several samples (`Capabilities.samples`)."""
    passage: int = _PASSAGE
    """Tokens of a passage that is read or shown to a closing answer, where `means` has no such move."""

    @classmethod
    def of(cls, state: State, *, samples: bool = True) -> Costs:
        """Measured by a run, before its first move of a kind by the run around it, or counted."""
        return cls.by({**state["scope"]["typical"], **state["typical"], **_measured(state["trace"])}, samples=samples)

    @classmethod
    def by(cls, means: Means, *, samples: bool = True) -> Costs:
        """By those means, that of a passage among them."""
        return cls(means, samples, math.ceil(means[_WHOLE][0]) if _WHOLE in means else _PASSAGE)

    def spare(self, k: int) -> Cost:
        """Tokens that a run must have beyond the costs of its moves, if its last reading is to have all `k` passages:
        what this reserves and does not use."""
        tokens = self.read(k).tokens
        return Cost.of(Spend(prompt_tokens=_SPARE + with_margin(tokens) - tokens))

    def plan(self, glimpses: int = 0, n: int = 1, *, prompt: int | None = None) -> Cost:
        """A planner's turn: `n` samples, from the beginnings of so many passages.

        `prompt` are the tokens typical of its prompt where that is another one than a planner's.
        """
        calls, each = (1, n) if self.samples else (n, 1)
        nominal = (_PLAN if prompt is None else prompt) + min(_GLIMPSE, self.passage) * glimpses + _SAMPLE * each
        return Cost.of(Spend(llm_calls=calls, prompt_tokens=calls * self._mean("plan", nominal, each)))

    def reason(self, k: int) -> Cost:
        """A turn in plain text from `k` whole passages: a draft, a sentence, a critique."""
        if _EACH in self.means:  # of earlier turns, which had fewer passages: their prompt's share is in it
            return _call(max(1, k) * self._mean(_EACH, 0))
        return _call(_REASON + k * self.passage)

    def step(self, k: int) -> Cost:
        """A sub-query: `k` passages retrieved and read."""
        return self.retrieve() + self.read(k)

    def read(self, k: int) -> Cost:
        """A reading of `k` passages."""
        return _call(k * self._mean("read", self.passage) + (0 if "read" in self.means else self._mean(_READING, 0)))

    def retrieve(self, queries: int = 1) -> Cost:
        """A round of so many queries."""
        return Cost(queries=queries, rounds=1)

    def score(self, n: int = 1) -> Cost:
        """A score, or `n` samples of a judgement."""
        calls, each = (1, n) if self.samples else (n, 1)
        nominal = _SCORE + _SAMPLE * (each - 1)
        return Cost.of(Spend(llm_calls=calls, prompt_tokens=calls * self._mean("score", nominal, each)))

    def answer(self, k: int) -> Cost:
        """A closing answer from `k` passages."""
        return _call(self._mean("answer", k * self.passage + self._mean(_CLOSING, _ANSWER)))

    def kept(self, k: int, total: float) -> Cost:
        """Share of `total` tokens that a run keeps for such an answer, once it has seen passages; see `Moves.hold`."""
        need = int(self.answer(k).tokens * _LONGER) + _LONGEST
        return _call(min(need, closing_tokens(total, 0)))

    def _mean(self, move: str, nominal: int, samples: int = 1) -> int:
        prompt, completion = self.means.get(move, [nominal, 0])
        return math.ceil(prompt + completion * samples)


def counted(passage: float, reading: int, closing: int, plan: int | None = None) -> Means:
    """Means by what prompts were counted to have, with typical completions.

    Args:
        passage: Tokens of a whole passage in a prompt.
        reading: Tokens of a reading without passages.
        closing: Tokens of a closing answer without passages.
        plan: Tokens of a planner's turn, with what it sees of passages; None where that is not known.
    """
    found: Means = {_WHOLE: [passage, 0], _READING: [reading, _SAID], _CLOSING: [closing, _SAID]}
    return found if plan is None else {**found, "plan": [plan, _SAMPLE]}


def _call(tokens: int) -> Cost:
    return Cost.of(Spend(llm_calls=1, prompt_tokens=tokens))


def _measured(trace: Sequence[dict[str, Any]]) -> Means:
    costs: dict[str, list[tuple[float, float]]] = {}
    for event in trace:
        if not event["spend"]["llm_calls"]:
            continue
        spend, drawn = event["spend"], len(event["output"]) if isinstance(event["output"], list) else 1
        move, shown = event["move"], len(event["passages"])
        parts = {move: max(1, shown) if move == "read" else 1}
        if move == "plan" and shown:
            parts[_EACH] = shown
        for name, part in parts.items():
            cost = spend["prompt_tokens"] / part, spend["completion_tokens"] / max(1, drawn) / part
            costs.setdefault(name, []).append(cost)
    return {move: [fmean(column) for column in zip(*pairs, strict=True)] for move, pairs in costs.items()}


def beside(cost: Spend, branches: int) -> Cost:
    """Cost of so many equal branches side by side: everything is multiplied but what is along the critical path."""
    cost = Cost.of(cost)
    return replace(
        cost,
        llm_calls=cost.llm_calls * branches,
        prompt_tokens=cost.prompt_tokens * branches,
        queries=cost.queries * branches,
    )


def abreast(one: Spend, other: Spend) -> Cost:
    """Cost of two different branches side by side: they add up, and along the critical path the longer one counts."""
    left, right = Cost.of(one), Cost.of(other)
    return replace(left + right, **{name: max(getattr(left, name), getattr(right, name)) for name in ALONG})


def series(first: Spend, last: Spend, n: int) -> Cost:
    """Cost of `n` turns in a row, which grows evenly from the first to the last."""
    both = Cost.of(first) + last
    names = ("llm_calls", "prompt_tokens", "queries", *ALONG)
    return Cost(**{name: getattr(both, name) * n // 2 for name in names})


def closing_tokens(total: float, thinking: int) -> int:
    """Tokens kept for a closing answer out of `total`: a quarter, 512 to 2,048.

    For a model that thinks first, its allowance for thoughts (`thinking`) comes on top, to half of the tokens at most.
    """
    quarter = min(2048.0, max(512.0, total / 4))
    return int(min(total / 2, quarter + thinking) if thinking else quarter)


def check_priced(price: Price | None, usd: float) -> None:
    """Raises `InvalidInput` for a limit in dollars where what a call costs is not known before it is made."""
    if price is None or not price.by_token:
        raise InvalidInput(*unpriced(usd))


def closing_usd(price: Price | None, tokens: int, thinking: int) -> float:
    """Dollars kept for a closing answer of so many tokens, of which it writes, and thinks, as many as it may.

    0 without a price by the token: dollars are not limited then.
    """
    if price is None or not price.by_token:
        return 0.0
    written = min(tokens, _LONGEST + thinking)
    return price.most(tokens - written, written)


def dollars_a_token(price: Price | None, spent: Spend) -> float:
    """Expected dollars a token: by the share of completions in `spent`, or a typical one. 0 without a price by the
    token."""
    if price is None or not price.by_token:
        return 0.0
    if not spent.tokens:
        return price.mean(round(1000 * (1 - _WRITTEN)), round(1000 * _WRITTEN))
    return price.mean(spent.prompt_tokens, spent.completion_tokens)


@dataclass(frozen=True, kw_only=True)
class Room:
    """Remainder of a budget for a run or a branch; infinite where nothing limits it."""

    tokens: float = math.inf
    llm_calls: float = math.inf
    queries: float = math.inf
    rounds: float = math.inf
    """Of the critical path, like the two that follow: branches side by side have the same."""
    serial_tokens: float = math.inf
    serial_calls: float = math.inf
    usd: float = math.inf
    rate: float = 0.0
    """Expected dollars a token."""

    @classmethod
    def of(cls, ledger: Ledger, clock: Spend | None = None, price: Price | None = None) -> Self:
        """Remainder of a ledger, for a branch whose critical path is at `clock`, of a model of that price."""
        left = {name: ledger.left(name, clock) for name in (*_SUMMED, "usd", *ALONG)}
        return cls(**left, rate=dollars_a_token(price, ledger.spent))

    def dollars(self, need: Spend) -> float:
        """Expected dollars of `need`, by its tokens."""
        return round(need.tokens * self.rate, 12)

    def lacks(self, need: Spend) -> dict[str, float]:
        """Amounts of `need` for which it has too little, by dimension; empty where it pays it."""
        cost = Cost.of(need)
        amounts = {name: getattr(cost, name) for name in (*_SUMMED, *ALONG)} | {"usd": self.dollars(cost)}
        return {name: amount for name, amount in amounts.items() if amount > getattr(self, name)}

    def pays(self, need: Spend) -> bool:
        """Whether it has `need` in every dimension."""
        return not self.lacks(need)

    def reaches(self, need: Spend) -> bool:
        """Whether it has `need` along the critical path."""
        cost = Cost.of(need)
        return all(getattr(cost, name) <= getattr(self, name) for name in ALONG)

    def times(self, need: Spend) -> float:
        """Branches side by side that it pays, each of which costs `need`; the critical path aside."""
        parts = [getattr(self, name) / cost for name in _SUMMED if (cost := getattr(need, name))]
        if dollars := self.dollars(need):
            parts.append(self.usd / dollars)
        return _whole(min(parts, default=math.inf))

    def branches(self, need: Spend, most: int) -> int:
        """Branches side by side that it pays, each of which costs `need`: `most` at most, and none where its critical
        path is too short for one."""
        return int(min(most, self.times(need))) if self.reaches(need) else 0

    def turns(self, need: Spend) -> float:
        """Turns one after another that it pays, each of which costs `need`."""
        cost = Cost.of(need)
        parts = (getattr(self, name) / each for name in ALONG if (each := getattr(cost, name)))
        return min(self.times(need), _whole(min(parts, default=math.inf)))

    def most(self, upto: int, cost: Callable[[int], Spend]) -> int:
        """The greatest number, `upto` at most, of which it pays the cost, which grows with the number; 0 for none."""
        return bisect(range(1, upto + 1), False, key=lambda n: not self.pays(cost(n)))

    def in_turn(
        self, most: int, width: int, first: Callable[[int], Spend], more: Callable[[int, int], Spend]
    ) -> tuple[Cost, int]:
        """Cost and number of the rounds that it pays one after another: all of full width, and a narrower last one.

        Args:
            most: Rounds at most.
            width: Queries of the last one at most; 0 for none.
            first: Cost of the first so many in full, which grows with their number.
            more: Cost of one after so many, with so many queries.
        """
        done = self.most(most, first)
        spend = Cost.of(first(done))
        few = self.less(spend).most(width if done < most else 0, lambda few: more(done, few))
        return (spend + more(done, few), done + 1) if few else (spend, done)

    def layers(self, need: Spend, most: int) -> int:
        """Layers one after another, each of which costs `need`, that it is to be shared by: as many as it pays, `most`
        at most, and one at least."""
        return int(max(1, min(most, self.turns(need))))

    def less(self, spent: Spend) -> Room:
        """Remainder after `spent`; never below zero."""
        cost = Cost.of(spent)
        left = {name: max(0, getattr(self, name) - getattr(cost, name)) for name in (*_SUMMED, *ALONG)}
        return Room(**left, usd=max(0.0, self.usd - self.dollars(cost)), rate=self.rate)

    def dealt(self, branches: int, layers: int = 1, runs: int = 0) -> Room:
        """An equal part for each of `branches` side by side, in each of so many layers one after another, which have so
        many `runs` in all (0: as many in each layer)."""
        parts = runs or branches * layers
        summed = {name: floored(getattr(self, name) / parts, name) for name in (*_SUMMED, "usd")}
        along = {name: _whole(getattr(self, name) / layers) for name in ALONG}
        return Room(**summed, **along, rate=self.rate)

    @property
    def path_tokens(self) -> float:
        """Tokens for moves that all follow one another."""
        return min(self.bought, self.serial_tokens)

    @property
    def bought(self) -> float:
        """Tokens over all branches that its tokens and its dollars pay."""
        return min(self.tokens, _whole(self.usd / self.rate)) if self.rate else self.tokens

    def within(self, need: Spend) -> Cost:
        """`need` with no more tokens than there are: prompts are cut to what fits."""
        cost = Cost.of(need)
        serial = int(min(cost.serial_tokens, self.serial_tokens))
        total = int(min(cost.prompt_tokens - (cost.serial_tokens - serial), self.bought))
        return replace(cost, prompt_tokens=total, serial_tokens=min(serial, total))


def _whole(amount: float) -> float:
    return math.floor(amount) if math.isfinite(amount) else amount


def floored(part: float, dimension: str) -> float:
    """A part of an amount without its fraction, dollars (``"usd"``) without that of a nanodollar, so that equal parts
    never add up to more than the whole."""
    return _whole(part * 1e9) / 1e9 if dimension == "usd" else _whole(part)


@dataclass(frozen=True)
class Forecast:
    """Expected course of a run."""

    spend: Spend
    """As a `Cost`; a plain `Spend` stands for moves that all follow one another."""
    shape: dict[str, Any]
    """Sizes that the budget pays for, by name, as plain values: steps, levels, members and the shape of each."""
