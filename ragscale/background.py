"""The event loop of blocking calls: one thread a process, so that they work in scripts and beside a running loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from ragscale.errors import RagscaleError

__all__ = ["submit", "wait"]

T = TypeVar("T")
_lock = threading.Lock()
_running: asyncio.AbstractEventLoop | None = None


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Start work on the loop; it may be called from any thread."""
    global _running
    with _lock:
        if _running is None:
            _running = asyncio.new_event_loop()
            threading.Thread(target=_serve, args=(_running,), name="ragscale", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, _running)


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Result of the work, which is cancelled if the wait is interrupted.

    Raises:
        RagscaleError: It is called on the loop itself, as by a model's own `generate`, and would wait for ever.
        BaseException: The errors of the work, `SystemExit` and `KeyboardInterrupt` too.
    """
    if _running is not None and asyncio._get_running_loop() is _running:
        work.close()
        raise RagscaleError(
            "a blocking call within the event loop that would have to do its work, as from a model or an index of "
            "your own, would wait for ever",
            "Await the asynchronous method there (aask, abatch, asearch).",
        )
    future = submit(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop for ever. What a task raises to end the program is its waiter's: others need the loop still."""
    while True:
        with contextlib.suppress(SystemExit, KeyboardInterrupt):  # asyncio hands them on to whoever runs the loop
            loop.run_forever()


def _forget() -> None:
    """A forked child has none of its parent's threads, and perhaps a lock that one of them held."""
    global _lock, _running
    _lock, _running = threading.Lock(), None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)
