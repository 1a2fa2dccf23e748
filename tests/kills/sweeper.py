"""A process that sweeps and may be killed at it, or be refused the disk; `test_sweep_kills.py` starts it."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import CallStoreError, RagscaleError
from ragscale.llm import LLM, load
from ragscale.llm import store as calls
from ragscale.measure import store, sweep

CONCURRENCY = 3
PLACES = ("append", "torn", "appended", "written", "reply", "kept")
"""At which turns a process may be killed: before, within and after a line or a trace; when a new ``config.json`` or
``questions.jsonl`` is written and has not its name yet; when a reply has come and is not kept yet, and when it is."""


@dataclass(frozen=True)
class Sweep:
    """Job of the process: its sweep, and what happens to it."""

    index: str
    llm: str
    questions: str
    out: str
    modes: tuple[str, ...]
    tokens: tuple[int, ...]
    record: str | None = None
    die: tuple[str, int] | None = None
    """Point at which it kills itself: a place and a turn. ``full``: from that append on its files may not grow."""
    largest: int | None = None
    """Bytes that its files may have: a disk that is full."""


def work(job: Sweep, told: Connection) -> None:
    """Sweep, and tell how often each place came, or the error."""
    turns = dict.fromkeys((*PLACES, "full"), 0)

    def turn(place: str) -> bool:
        turns[place] += 1
        return job.die == (place, turns[place])

    def die() -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    append, replace, keep = store._append, Path.replace, calls.CallFile.keep

    def appended(path: Path, data: bytes) -> int:
        if turn("append"):
            die()
        half = len(data) * (turns["append"] % 7) // 7
        if turn("torn"):
            path.parent.mkdir(exist_ok=True)
            with path.open("ab") as file:
                file.write(data[:half])
            die()
        if turn("full"):
            grown(half + (path.stat().st_size if path.exists() else 0))
        start = append(path, data)
        if turn("appended"):
            die()
        return start

    def replaced(self: Path, target: Path) -> Any:
        if self.suffix == ".part" and turn("written"):
            die()
        return replace(self, target)

    def kept(self: Any, *values: Any) -> None:
        if turn("reply"):
            die()
        keep(self, *values)
        if turn("kept"):
            die()

    store._append, Path.replace, calls.CallFile.keep = appended, replaced, kept  # type: ignore[method-assign, assignment]
    if job.largest:
        grown(job.largest)
    model: str | LLM = calls.StoredLLM(job.record, load(job.llm)) if job.record else job.llm
    budgets = [Budget(tokens=tokens) for tokens in job.tokens]
    try:
        with Agent(job.index, model) as agent:
            sweep(agent, job.questions, job.modes, job.out, budgets=budgets, concurrency=CONCURRENCY)
    except (RagscaleError, CallStoreError) as error:
        told.send((f"{type(error).__name__}: {error}", turns))
    else:
        told.send(("", turns))


def grown(most: int) -> None:
    """Let no file of this process grow beyond so many bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
