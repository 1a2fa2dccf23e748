"""The ledger: every model call and every retrieval is reserved before it happens and settled after it.

A reservation that does not fit is refused with `BudgetExceeded` *before* anything is spent, so limits are hard. One
ledger serves one question; its parent (if any) serves a whole batch, its children serve parallel branches.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import numbers
import operator
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import TracebackType
from typing import Any, Self

from ragscale.arguments import refuse_options
from ragscale.errors import BudgetExceeded, InvalidInput
from ragscale.types import Spend, brief

__all__ = ["ALONG", "Budget", "Ledger", "Reservation", "Share", "unpriced"]

_PARTS = ("seconds", "usd")  # of which there are fractions
_ATTEMPTS = 1_000  # at a share of what is left
_SUMMED = ("queries", "tokens", "llm_calls", "usd")
_NOTHING = Spend()
ALONG = {"rounds": "rounds", "serial_tokens": "tokens", "serial_calls": "llm_calls"}
"""Limits along the critical path, and the dimension of a branch's clock that each of them holds."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Budget:
    """Upper limits of a run; ``None`` leaves a dimension open.

    Raises:
        InvalidInput: A limit does not exist; or it is negative, not a number, beyond every float, or a fraction of what
            only comes whole: all but seconds and dollars.
    """

    rounds: int | None = None
    """Retrievals along the critical path: rounds of parallel branches count once."""
    queries: int | None = None
    """Sub-queries sent to the index, over all branches."""
    tokens: int | None = None
    """Prompt and completion tokens, over all branches; cached tokens count in full."""
    llm_calls: int | None = None
    """Attempts at a model call, over all branches."""
    seconds: float | None = None
    """Wall-clock time of the run from its start."""
    serial_tokens: int | None = None
    """Prompt and completion tokens along the critical path: those of parallel branches count once. With it, an
    ensemble may cost as much as it likes in total and still not be slower than one of its members."""
    serial_calls: int | None = None
    """Attempts at a model call along the critical path."""
    usd: float | None = None
    """Dollars of the model calls, over all branches. It needs a price by the token (`Price`)."""

    def __repr__(self) -> str:
        return brief(self)

    def __new__(cls, *_: Any, **given: Any) -> Self:
        """Refuse a limit that does not exist by name, before the fields are set."""
        refuse_options("a budget", given, [field.name for field in fields(cls)], kind="limit")
        return object.__new__(cls)

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is None:
                continue
            if not isinstance(limit, int | float) and isinstance(limit, numbers.Number):
                if not isinstance(limit, numbers.Integral):
                    what = f"budget {field.name}={limit!r} is a {type(limit).__name__}, neither int nor float"
                    raise InvalidInput(what, "Give it as one of these, or leave it out for no limit.")
                limit = operator.index(limit)  # of NumPy, for one
                object.__setattr__(self, field.name, limit)
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit >= 0:
                raise InvalidInput(f"budget {field.name}={limit!r} is not a number >= 0", "Leave it out for no limit.")
            if limit == math.inf:  # no limit, which is written None: JSON has no such number
                object.__setattr__(self, field.name, None)
            elif field.name not in _PARTS and limit % 1:
                raise InvalidInput(f"budget {field.name}={limit!r} is no whole number", f"Give {math.floor(limit)}.")
            elif limit > sys.float_info.max:  # not shown: Python writes no whole number of that length
                raise InvalidInput(f"budget {field.name} is above {sys.float_info.max:g}", "Leave it out for no limit.")

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, by dimension."""
        return {name: limit for name, limit in asdict(self).items() if limit is not None}

    @classmethod
    def of(cls, given: Any) -> Self:
        """A budget that was given as an argument: itself, or no limits for None.

        Raises:
            InvalidInput: It is something else.
        """
        if given is None:
            return cls()
        if not isinstance(given, cls):
            raise InvalidInput(f"budget={given!r} is no Budget", "Give one, as in Budget(tokens=4000).")
        return given


@dataclass(frozen=True, slots=True)
class Share:
    """A branch's part of a run's limits: what its ledger tells where it is used up."""

    branch: str
    """By its full name."""
    kept: Mapping[str, float]
    """By dimension, the amounts of it that are kept for a closing answer, beside the ledger's own limits."""
    fewer: str = ""
    """Parameters that would leave it more of a summed limit if they were lower, in words; empty for none."""


class Ledger:
    """Counts what a run spends against its budget. Safe under threads and asyncio.

    Args:
        budget: The limits.
        parent: A ledger that is charged as well and whose limits hold too. A parent's `rounds` and serial
            limits hold for each child, since different questions do not follow one another.
        spent: What was charged before (a resumed run).
        lost: What killed processes had spent besides (a resumed run). It counts against the limits, but `left` does not
            show it, so that the run plans as it would have without a kill.
        elapsed: Seconds that the run had taken before (a resumed run).
        share: The branch that has `budget` for its share of its parent's; None for one of a run or of a batch.
        clock: Seconds; only differences matter.

    Raises:
        InvalidInput: `budget` is not a `Budget`, or `parent` not a ledger.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        *,
        parent: Ledger | None = None,
        spent: Spend | None = None,
        lost: Spend | None = None,
        elapsed: float = 0.0,
        share: Share | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = Budget.of(budget)
        if parent is not None and not isinstance(parent, Ledger):
            raise InvalidInput(f"parent={parent!r} is no Ledger", "Give one, as in Ledger(Budget(tokens=4000)).")
        self.parent = parent
        self._share = share
        self._above: tuple[Ledger, ...] = (parent, *parent._above) if parent else ()
        self._clock: Callable[[], float] = parent._clock if parent else clock
        # One lock for the whole family: a reservation is granted by every ancestor or by none.
        self._lock: threading.Lock = parent._lock if parent else threading.Lock()
        self._spent = spent or Spend()
        self._held = Spend()
        self._lost = lost or Spend()
        self._stored = Spend()
        self._closing: Reservation | None = None
        self._most = Spend()  # that may be held for it
        self._released = False
        self._start = self._clock() - elapsed
        self._limited = {name for led in self._family for name in led.budget.limits}
        """Dimensions that it or a ledger around it limits."""

    @property
    def spent(self) -> Spend:
        """Spend settled so far, children included."""
        with self._lock:
            return self._spent

    @property
    def held(self) -> Spend:
        """Reservations that are not settled yet."""
        with self._lock:
            return self._held

    @property
    def stored(self) -> Spend:
        """The part of `spent` that nobody paid: calls that a call store had, charged as they were when made."""
        with self._lock:
            return self._stored

    def left(self, dimension: str, clock: Spend | None = None) -> float:
        """Remainder of a limit that can be reserved; infinite if open.

        `clock` is the critical path of a branch: the limits in `ALONG` hold along it. It may have taken more seconds
        than the run did, too: calls from a call store take no time, and are charged what they took when they were made.

        The closing answer's share is not counted as left while it is held; released, it is left to this ledger alone.
        """
        if dimension not in self._limited:
            return math.inf
        with self._lock:
            return min(left for left, _ in self._lefts(dimension, clock))

    def limit(self, dimension: str) -> float:
        """The tightest limit of the family in one dimension; infinite if open."""
        if dimension not in self._limited:
            return math.inf
        limits: Iterator[float | None] = (getattr(led.budget, dimension) for led in self._family)
        return min(limit for limit in limits if limit is not None)

    def check_path(self, wanted: Mapping[str, float], clock: Spend) -> None:
        """Make sure that amounts of the limits in `ALONG` are left for a branch whose critical path is at `clock`.

        Raises:
            BudgetExceeded: The first limit that would be passed; what costs nothing passes none.
        """
        for dimension, amount in wanted.items():
            if amount and amount > self.left(dimension, clock):
                raise self.exceeded(dimension, amount, clock)

    def exceeded(self, dimension: str, wanted: float, clock: Spend | None = None) -> BudgetExceeded:
        """The error of a call that wants more of a dimension than is left of its tightest limit.

        It names the limit as it was given, and the share of it where a branch has used that up.

        Args:
            dimension: The limit's.
            wanted: Amount of the call.
            clock: The critical path of the calling branch.
        """
        with self._lock:
            left, led = min(self._lefts(dimension, clock), key=lambda found: found[0])
        return self._refusal(led, dimension, getattr(led.budget, dimension) - left + wanted)

    def _refusal(self, led: Ledger, dimension: str, spent: float) -> BudgetExceeded:
        """The error of a call after which a ledger of the family would have `spent` so much."""
        limit, share = getattr(led.budget, dimension), led._share
        run = next(led for led in self._family if not led._share)
        if share is None:
            closing = led is run and self.holds_closing and dimension != "seconds"
            return BudgetExceeded(dimension, limit, spent, closing=closing, total=led is not run)
        kept, given = share.kept.get(dimension, 0), run.limit(dimension)
        part = limit + kept
        return BudgetExceeded(
            dimension, given if given < math.inf else part, spent + kept, closing=kept > 0, branch=share.branch,
            share=part if part < given < math.inf else None, fewer=share.fewer if dimension in _SUMMED else "",
        )  # fmt: skip

    def tokens_left(self, clock: Spend) -> tuple[float, str]:
        """Tokens that a branch whose critical path is at `clock` may still spend, and the limit that says so."""
        total, serial = self.left("tokens"), self.left("serial_tokens", clock)
        return (serial, "serial_tokens") if serial < total else (total, "tokens")

    def child(
        self,
        budget: Budget | None = None,
        *,
        spent: Spend | None = None,
        elapsed: float = 0.0,
        share: Share | None = None,
    ) -> Ledger:
        """A ledger for a branch or a question: what it spends is charged here as well.

        Args:
            budget: Its own limits.
            spent: Charged before, against its own limits; here it is charged already.
            elapsed: Seconds that it had taken before.
            share: The branch that has its own limits for a share of these.
        """
        return Ledger(budget, parent=self, spent=spent, elapsed=elapsed, share=share)

    def reserve(self, wanted: Spend, *, clock: Spend | None = None) -> Reservation:
        """Take `wanted` out of what is left, here and in every ancestor, or nothing at all.

        Args:
            wanted: An upper bound of what the call will cost.
            clock: The critical path of the calling branch, against which `Budget.rounds` and the serial limits hold.

        Raises:
            BudgetExceeded: The first limit that would be passed.
            InvalidInput: Dollars are limited, and nobody knows what the call will cost.
        """
        if wanted.usd is None and self.limit("usd") < math.inf:
            raise InvalidInput(*unpriced(self.limit("usd")))
        if (left := self.left("seconds", clock)) <= 0:
            raise self.exceeded("seconds", left, clock)
        if clock is not None:
            self.check_path({dimension: getattr(wanted, name) for dimension, name in ALONG.items()}, clock)
        with self._lock:
            held, own = _held(wanted), self._own()
            more = held if own is _NOTHING else held - own
            for led in self._family:
                for dimension in filter(self._limited.__contains__, _SUMMED):
                    amount = getattr(more, dimension)
                    # What costs nothing of an overrun dimension is still allowed.
                    if getattr(held, dimension) and amount > led._left(dimension):
                        limit = getattr(led.budget, dimension)
                        raise self._refusal(led, dimension, limit - led._left(dimension) + amount)
            for led in self._family:
                led._held += more
            if self._released:
                self._closing = None
        return Reservation(self, wanted)

    @contextlib.asynccontextmanager
    async def in_time(self, clock: Spend | None = None) -> AsyncIterator[None]:
        """Cancels the block and raises `BudgetExceeded` when the seconds run out; `clock` is as of `left`."""
        left = self.left("seconds", clock)
        timer = asyncio.timeout(None if left == math.inf else left)
        try:
            async with timer:
                yield
        except TimeoutError:
            if not timer.expired():
                raise
            raise self.exceeded("seconds", self.left("seconds", clock), clock) from None

    def hold_closing(self, wanted: Spend) -> None:
        """Set the closing answer's share aside until `release_closing`: as much of `wanted` as the budget has.

        It is the most that is ever held; `fit_closing` makes it what the answer needs. A quarter of the seconds (30 at
        most) is kept for it too.

        Raises:
            BudgetExceeded: Not even one model call or one token is left.
        """
        if self.limit("serial_calls") < wanted.llm_calls:
            raise self.exceeded("serial_calls", wanted.llm_calls, Spend())
        self._most = wanted
        if self._closing is not None:
            return
        for attempt in itertools.count(1):
            tokens = min(wanted.tokens, self.left("tokens") - self._lost.tokens)
            if tokens < 1:
                raise self.exceeded("tokens", wanted.tokens)
            usd = min(wanted.usd or 0.0, round(self.left("usd") - (self._lost.usd or 0.0), 12))
            if usd < 0:
                raise self.exceeded("usd", wanted.usd or 0.0)
            try:
                self._closing = self.reserve(Spend(llm_calls=wanted.llm_calls, prompt_tokens=int(tokens), usd=usd))
                return
            except BudgetExceeded as limit:
                if limit.dimension not in ("tokens", "usd") or attempt == _ATTEMPTS:
                    raise  # else another thread took some since, and less may do

    @property
    def holds_closing(self) -> bool:
        """Whether a share is set aside for the closing answer, and not yet released."""
        return self._closing is not None and not self._released

    def fit_closing(self, tokens: int, usd: float = 0.0) -> None:
        """Hold `tokens`, and `usd` where dollars are held, for the closing answer: within its share and what the budget
        has.

        Nothing happens where none is held, or where it was released.
        """
        with self._lock:
            if self._closing is None or self._released:
                return
            fitting = Spend(prompt_tokens=max(1, min(tokens, self._most.tokens)), usd=min(usd, self._most.usd or 0.0))
            held = self._closing.wanted
            more = fitting - Spend(prompt_tokens=held.prompt_tokens, usd=held.usd)
            tokens, dollars = more.prompt_tokens, more.usd or 0.0
            if tokens > 0:
                tokens = int(min(tokens, *(led._left("tokens") for led in self._family)))
            if dollars > 0:
                dollars = max(0.0, min(dollars, *(led._left("usd") for led in self._family)))
            more = Spend(prompt_tokens=tokens, usd=dollars)
            for led in self._family:
                led._held += more
            self._closing.wanted += more

    def release_closing(self) -> None:
        """Make the closing answer's share available to this ledger's next reservation, and to no other's."""
        self._released = True

    def drop_closing(self) -> None:
        """Give back what is still held for the closing answer: the run is over. Idempotent."""
        closing, self._closing = self._closing, None
        if closing is not None:
            closing.refund()

    def _own(self) -> Spend:
        """The released share: held against every ledger but this one."""
        return self._closing.wanted if self._closing and self._released else _NOTHING

    @property
    def _family(self) -> tuple[Ledger, ...]:
        """This ledger and all around it."""
        return self, *self._above

    def _left(self, dimension: str) -> float:
        limit = getattr(self.budget, dimension)
        if limit is None:
            return math.inf
        gone = [getattr(part, dimension) for part in (self._spent, self._held, self._lost)]
        if None in gone:  # dollars of a call without a price: nobody knows what is left
            return 0.0
        return round(limit - sum(gone), 12) if dimension == "usd" else float(limit - sum(gone))

    def _lefts(self, dimension: str, clock: Spend | None = None) -> list[tuple[float, Ledger]]:
        """Remainder of a dimension that can be reserved, by each ledger of the family that limits it."""
        along = self._path_left if dimension in ALONG else self._sum_left
        left = self._seconds_left if dimension == "seconds" else along
        limited = [led for led in self._family if getattr(led.budget, dimension) is not None]
        return [(left(led, dimension, clock or _NOTHING), led) for led in limited]

    def _sum_left(self, led: Ledger, dimension: str, _: Spend) -> float:
        own: float = getattr(self._own(), dimension)
        lost: float = getattr(self._lost, dimension) or 0.0
        left = led._left(dimension) + own + (lost if led is self and not self._released else 0.0)
        return round(left, 12) if dimension == "usd" else left

    def _path_left(self, led: Ledger, dimension: str, clock: Spend) -> float:
        name = ALONG[dimension]
        kept = getattr(led._closing.wanted, name) if led._closing and not led._released else 0
        left: float = getattr(led.budget, dimension) - kept - getattr(clock, name)
        return left

    def _seconds_left(self, led: Ledger, _: str, clock: Spend) -> float:
        limit: float = led.budget.seconds or 0.0
        kept = min(limit / 4, 30.0) if led._closing and not led._released else 0.0
        gone = led._clock() - led._start
        # A batch around it runs other questions meanwhile.
        return limit - kept - (max(gone, clock.seconds) if led is self else gone)

    def _settle(self, held: Spend, actual: Spend, stored: bool) -> None:
        held = _held(held)
        with self._lock:
            for led in self._family:
                led._held -= held
                led._spent += actual
                if stored:
                    led._stored += actual


def unpriced(usd: float) -> tuple[str, str]:
    """Problem and remedy of a limit in dollars for a model whose calls have no price beforehand."""
    return (
        f"budget usd={usd:g}: what a call costs is not known before it is made, as the model's price is unknown or by "
        "the hour",
        "Give its price by the token, as in prices={'NAME': Price(input=0.15, output=0.6)} or --prices FILE.toml, or "
        "limit the seconds.",
    )


def _held(wanted: Spend) -> Spend:
    """The part of a reservation that counts against limits: dollars of an unknown amount count against none."""
    return wanted if wanted.usd is not None else replace(wanted, usd=0.0)


class Reservation:
    """A granted reservation: settle it with the real cost, or refund it.

    As a context manager it never leaks: leaving the block unsettled charges everything that was reserved, since
    the cost of an interrupted call is unknown.
    """

    def __init__(self, ledger: Ledger, wanted: Spend) -> None:
        self.wanted = wanted
        self.actual: Spend | None = None
        """Cost that it was settled with; None while it is open."""
        self._ledger = ledger
        self._open = True

    def settle(self, actual: Spend, *, stored: bool = False) -> None:
        """Replace the reservation by what the call really cost. Further calls do nothing.

        Args:
            actual: Charge.
            stored: Whether the call came from a call store, so that nobody pays it.
        """
        with self._ledger._lock:
            first, self._open = self._open, False
        if first:
            self.actual = actual
            self._ledger._settle(self.wanted, actual, stored)

    def refund(self) -> None:
        """Give everything back: the call never happened."""
        self.settle(Spend())

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle(self.wanted)
