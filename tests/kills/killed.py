"""A process that asks one question and may be killed at it; `test_kills.py` starts it, by a fork server."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import ragscale as rs
from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.llm.prices import Price

QUESTION = "Which drawing aid did the discoverer of rhodium invent?"


PRICE = Price(input=0.15, output=0.6)


@dataclass(frozen=True)
class Job:
    """Job of the process: the question, and what it is asked of."""

    index: str
    llm: str
    mode: str
    checkpoints: str
    limits: dict[str, Any] = field(default_factory=dict)
    thread: str = "t"
    die: tuple[str, int] | None = None
    """At which turn of what it kills itself: ``put`` (a node's writes are there, its checkpoint is not), ``written``
    (a checkpoint is there, nothing of the next node), ``writes`` (a node is done, its writes are not there)."""


def work(job: Job, told: Connection) -> None:
    """Ask, and tell the answer and how often each turn came."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    turns = {"put": 0, "written": 0, "writes": 0}
    put, put_writes = AsyncSqliteSaver.aput, AsyncSqliteSaver.aput_writes

    def turn(name: str) -> None:
        turns[name] += 1
        if job.die == (name, turns[name]):
            os.kill(os.getpid(), signal.SIGKILL)

    async def aput(self: AsyncSqliteSaver, *arguments: Any, **options: Any) -> Any:
        turn("put")
        done = await put(self, *arguments, **options)
        turn("written")
        return done

    async def aput_writes(self: AsyncSqliteSaver, *arguments: Any, **options: Any) -> None:
        turn("writes")
        await put_writes(self, *arguments, **options)

    AsyncSqliteSaver.aput, AsyncSqliteSaver.aput_writes = aput, aput_writes  # type: ignore[assignment, method-assign]
    index, budget = rs.Index.open(job.index), Budget(**job.limits)
    with Agent(index, job.llm, job.mode, budget, prices=PRICE, checkpoints=job.checkpoints) as agent:
        answer = agent.ask(QUESTION, thread_id=job.thread)
    told.send((answer, turns))
