"""Retries with back-off, for callers who reserve budget before each attempt and settle after it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tenacity import AsyncRetrying, RetryCallState

from ragscale.errors import InvalidInput, ModelError

__all__ = ["ATTEMPTS", "attempts"]

ATTEMPTS = 4
"""Attempts at a call by default."""
_LONGEST_WAIT = 60.0  # of what a server may ask for; longer, and the next attempt finds out


def attempts(
    max_attempts: int = ATTEMPTS,
    base: float = 0.5,
    cap: float = 8.0,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    seed: int | None = None,
) -> AsyncRetrying:
    """Attempts at one call, to iterate over::

        async for attempt in attempts():
            with attempt:
                result = await model.generate(messages, max_tokens=100)

    Only a `ModelError` whose `retryable` is true leads to another attempt; any other error, and the last one, leaves
    the loop as it was raised. An attempt at trying a model out that found out more than those before
    (`ModelError.found`) begins the count anew: there is an end to what can be found out. The wait after the k-th
    attempt of a count is ``min(cap, base * 2**(k-1))`` times a random factor from 0.5 to 1, and never less than what
    the server asked for (up to a minute).

    Args:
        max_attempts: Attempts in all that find out nothing.
        base: Seconds of the first wait.
        cap: Most seconds of a wait that the server did not ask for.
        sleep: What waits.
        seed: Makes the random factors repeatable.

    Raises:
        InvalidInput: `max_attempts` is below 1.
    """
    if max_attempts < 1:
        raise InvalidInput(f"max_attempts={max_attempts} must be 1 or more", "1 means no second attempt.")
    uniform = random.uniform if seed is None else random.Random(seed).uniform

    found, tried = 0, 0

    def again(state: RetryCallState) -> bool:
        nonlocal found, tried
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ModelError) or not error.retryable:
            return False
        tried = 1 if error.found > found else tried + 1
        found = max(found, error.found)
        return tried < max_attempts

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked: float = getattr(error, "retry_after", None) or 0.0
        backoff: float = min(cap, base * 2 ** (tried - 1)) * uniform(0.5, 1.0)
        return max(backoff, min(asked, _LONGEST_WAIT))

    return AsyncRetrying(wait=wait, retry=again, sleep=sleep)
