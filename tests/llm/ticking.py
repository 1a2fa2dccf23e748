"""Measures the longest time that an event loop is blocked."""

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
_BUSY = 5  # times as long as a machine takes for what it does on its own, when many others use it


@contextlib.asynccontextmanager
async def ticking(gaps: list[float]) -> AsyncIterator[None]:
    """Adds to `gaps` for how long the running loop was blocked, again and again.

    In seconds of the processor; those by the clock count where they are so many more that no busy machine explains it.
    """

    async def tick() -> None:
        while True:
            computed, passed = time.process_time(), time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(max(time.process_time() - computed, (time.perf_counter() - passed) / _BUSY))

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    try:
        yield
        await asyncio.sleep(0.01)
    finally:
        ticker.cancel()


def unblocked(work: Callable[[], Awaitable[T]]) -> T:
    """The result of work that blocks its loop for less than `LONGEST`."""
    gaps = [0.0]

    async def once() -> Any:
        async with ticking(gaps):
            return await work()

    result: T = asyncio.run(once())
    assert max(gaps) < LONGEST, f"the loop was blocked for {max(gaps):.1f} s"
    return result
