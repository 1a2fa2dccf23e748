"""How long an event loop is blocked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["LONGEST", "ticking", "unblocked"]

T = TypeVar("T")

LONGEST = 1.0
"""Seconds that a loop may be blocked."""


@contextlib.asynccontextmanager
async def ticking(gaps: list[float]) -> AsyncIterator[None]:
    """Adds to `gaps` for how long the running loop was blocked, again and again."""

    async def tick() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - begun)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    try:
        yield
        await asyncio.sleep(0.01)
    finally:
        ticker.cancel()


def unblocked(work: Callable[[], Awaitable[T]]) -> T:
    """The result of work that blocks its loop for less than `LONGEST`; it has three tries, as machines may be busy."""

    async def once(gaps: list[float]) -> Any:
        async with ticking(gaps):
            return await work()

    for _ in range(3):
        gaps = [0.0]
        result = asyncio.run(once(gaps))
        if max(gaps) < LONGEST:
            return result
    raise AssertionError(f"the loop was blocked for {max(gaps):.1f} s")
