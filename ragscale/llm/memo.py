"""A value that is found out once, whichever of several event loops and threads asks first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

__all__ = ["Memo"]

T = TypeVar("T")


class Memo(Generic[T]):
    """Computes a value at the first request; a failure is not remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: Future[None] | None = None
        self.value: T | None = None
        """The value, or None while it is not known."""

    async def get(self, compute: Callable[[], Awaitable[T]]) -> T:
        """The value; `compute` runs if nobody else is at it, and its error goes to its own caller only."""
        while True:
            with self._lock:
                if self.value is not None:
                    return self.value
                pending = self._pending
                if pending is None:
                    mine = self._pending = Future()
                    break
            await asyncio.shield(asyncio.wrap_future(pending))  # a cancelled waiter leaves it to the others
        try:
            self.value = await compute()
            return self.value
        finally:
            with self._lock:
                self._pending = None
            # A result even after a failure or a cancellation: a caller that waits then tries for itself.
            mine.set_result(None)

    def wait(self, compute: Callable[[], Awaitable[T]]) -> T:
        """The value from synchronous code, also where an event loop is running (which it blocks)."""
        result: Future[T] = Future()

        def work() -> None:
            try:
                result.set_result(asyncio.run(self.get(compute)))
            except BaseException as error:
                result.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return result.result()
