"""Progress bars for reading, counting and embedding passages."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragscale.index import Progress

__all__ = ["Terminated", "progress_bars", "terminating"]

_STAGES = {"read": "Reading", "bm25": "Terms", "embed": "Embedding"}


class Terminated(KeyboardInterrupt):
    """SIGTERM while a bar is shown; it stops the work as Ctrl-C does, so that what is done is kept."""


@contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does while the block runs, and then raises `Terminated`."""
    told = False

    def terminate(number: int, frame: Any) -> None:
        nonlocal told
        told = True
        interrupt = signal.getsignal(signal.SIGINT)  # an event loop's lets its tasks come to an end
        if not callable(interrupt):  # Ctrl-C is ignored, as in the background of a script
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt as stop:
        if not told:
            raise
        ended = Terminated()
        for note in getattr(stop, "__notes__", ()):
            ended.add_note(note)
        raise ended from stop
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A bar a stage, on standard error, with passages a second and the time left; SIGTERM raises `Terminated`."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars, terminating():
        tasks: dict[str, tuple[TaskID, int]] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(_STAGES.get(stage, stage), total=None, rate=""), done
            identity, first = tasks[stage]
            # Of the whole stage, without what a killed process had done: rich knows no speed before a third report.
            made, seconds = done - first, bars.tasks[identity].elapsed
            rate = f"{made / seconds:,.0f} passages/s" if made and seconds else ""
            bars.update(identity, completed=done, total=total or None, rate=rate)

        yield report
