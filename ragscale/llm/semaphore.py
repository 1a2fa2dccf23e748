"""Admits work to a shared space of fixed size, first come first served, across event loops and threads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager

__all__ = ["WeightedSemaphore"]


class WeightedSemaphore:
    """A semaphore with weights.

    Args:
        capacity: What all that is inside may weigh together; heavier than that goes in alone.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free = capacity
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    @asynccontextmanager
    async def admit(self, weight: int) -> AsyncIterator[None]:
        """Wait for room for `weight`, and give it back at the end of the block."""
        weight = min(weight, self._capacity)
        turn: Future[None] = Future()
        with self._lock:
            self._waiting.append((weight, turn))
            self._let_in()
        try:
            await asyncio.wrap_future(turn)
            yield
        finally:
            with self._lock:
                # Let in, even if the task was cancelled in the same moment; otherwise it took nothing and may not wait
                # in front of the others.
                if turn.done() and not turn.cancelled():
                    self._free += weight
                else:
                    turn.cancel()
                    self._waiting = deque(entry for entry in self._waiting if entry[1] is not turn)
                self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            weight, turn = self._waiting.popleft()
            if turn.set_running_or_notify_cancel():
                self._free -= weight
                turn.set_result(None)
