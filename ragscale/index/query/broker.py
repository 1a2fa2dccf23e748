"""Threads and event loops in, batches out: one worker gathers what waits and runs it together."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

from ragscale.errors import InvalidInput, RagscaleError

__all__ = ["Broker", "Load"]

Request = TypeVar("Request")
Result = TypeVar("Result")


class Load(NamedTuple):
    """Load of a broker, for metrics."""

    waiting: int
    """Requests that wait for the next batch."""
    batches: int
    """Batches begun so far."""
    requests: int
    """Requests in those batches."""


class Broker(Generic[Request, Result]):
    """Runs requests from any thread or event loop in batches, in one thread of its own.

    A request that arrives while the worker is idle runs at once and alone; those that arrive while it works make up the
    next batch. So a request never waits to fill a batch; batches form only under load. The worker starts with the first
    request and is the only thread that calls `run`.

    Args:
        run: Takes a batch and returns a result for each request, in order; a `RagscaleError` in the place of a
            result is raised by that request. Where `run` itself raises, each request of the batch is run again
            alone, so that one cannot spoil the others: return, do not raise, an error that would slowly hit every
            request.
        max_batch: Most requests in one call of `run`.
        work: Work of a request, in a unit of the caller's; by default 1.
        max_work: Most of it in one call of `run`, so that what comes meanwhile need not wait long; a single request
            may be more.
        name: Name of the worker thread.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Request]], Sequence[Result | RagscaleError]],
        *,
        max_batch: int = 256,
        work: Callable[[Request], int] = lambda request: 1,
        max_work: float = math.inf,
        name: str = "broker",
    ) -> None:
        if max_batch < 1:
            raise InvalidInput(f"max_batch {max_batch}, the least is 1")
        self._run = run
        self._max_batch = max_batch
        self._work_of = work
        self._max_work = max_work
        self._name = name
        self._queue: queue.SimpleQueue[tuple[Request, Future[Result]] | None] = queue.SimpleQueue()
        self._next: tuple[Request, Future[Result]] | None = None  # did not fit into the batch under way
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._process = os.getpid()
        self._closed = False
        self._batches = 0
        self._requests = 0

    @property
    def load(self) -> Load:
        """Requests that wait now, and batches run so far."""
        return Load(self._queue.qsize() + (self._next is not None), self._batches, self._requests)

    def submit(self, request: Request) -> Future[Result]:
        """Hand in a request; cancelling its future drops it if it has not started.

        Raises:
            InvalidInput: The broker is closed.
            RagscaleError: Called in a process forked after the broker was made.
        """
        if os.getpid() != self._process:
            raise RagscaleError(
                "the index was opened before this process was forked",
                'Open it in the child, and start workers with the "spawn" method.',
            )
        future: Future[Result] = Future()
        with self._lock:
            if self._closed:
                raise InvalidInput("the index is closed", "Open it again.")
            if self._worker is None:
                self._start()
            self._queue.put((request, future))
        return future

    def close(self, seconds: float | None = None) -> None:
        """Finish what was handed in, then stop; later requests are refused. Idempotent.

        Args:
            seconds: Wait for it no longer; what is not finished then goes on, and ends with the program at the latest.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        worker = self._worker
        if worker is not None and worker is not threading.current_thread() and os.getpid() == self._process:
            worker.join(seconds)

    def _start(self) -> None:
        # a daemon, so that a program that never closes its broker still ends
        self._worker = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._worker.start()

    def _work(self) -> None:
        open_for_more = True
        while open_for_more:
            first = self._next or self._queue.get()
            self._next = None
            if first is None:
                return
            waiting, work = [first], self._work_of(first[0])
            while len(waiting) < self._max_batch:
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    break
                if entry is None:
                    open_for_more = False
                    break
                work += self._work_of(entry[0])
                if work > self._max_work:
                    self._next = entry
                    break
                waiting.append(entry)
            batch = [(request, future) for request, future in waiting if future.set_running_or_notify_cancel()]
            if batch:
                self._batches += 1
                self._requests += len(batch)
                self._serve(batch)

    def _serve(self, batch: list[tuple[Request, Future[Result]]]) -> None:
        try:
            results = self._run([request for request, _ in batch])
        except BaseException as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for entry in batch:
                self._serve([entry])
            return
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, RagscaleError):
                future.set_exception(_own(result))
            else:
                future.set_result(result)


def _own(error: RagscaleError) -> RagscaleError:
    """A copy of an error, since several threads may be handed the same one; its class may want other arguments."""
    own = type(error).__new__(type(error), *error.args)
    own.__dict__.update(error.__dict__)
    return own
