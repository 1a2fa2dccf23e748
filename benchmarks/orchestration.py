"""Questions a second of modes with a model and an index that answer at once, and memory over many questions.

Only ragscale's and LangGraph's own time is left. A row a mode: questions and model calls a second, eight questions in
flight; the process's memory after the first tenth of the questions and at the end. Each mode runs in a process of its
own, so that none inherits the memory of another.

    python benchmarks/orchestration.py --questions 1000 --modes "chain,vote(of=chain, n=8),mcts,evolve"
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

from langgraph_overhead import QUESTION, Instant, reply

from ragscale.agent import Agent
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import spec

_PAGE = 4096  # bytes, as /proc counts memory
_MODES = "chain,vote(of=chain, n=8),mcts,evolve"


def measure(label: str, questions: int, flight: int) -> dict[str, Any]:
    """One mode."""
    return asyncio.run(_measure(label, questions, flight))


async def _measure(label: str, questions: int, flight: int) -> dict[str, Any]:
    [mode] = spec.parse_list(label)
    llm = ScriptedLLM(reply, score=lambda messages, text: -1.0)
    megabytes, calls, done = [], 0, 0
    with Agent(Instant(), llm, mode) as agent:  # type: ignore[arg-type]
        await agent.abatch([QUESTION] * flight, concurrency=flight)
        start = time.perf_counter()
        for part in range(10):
            for answer in await agent.abatch([f"{QUESTION} {part}"] * (questions // 10), concurrency=flight):
                calls += answer.spend.total.llm_calls
                done += 1
            llm.calls.clear()  # the model double keeps every call
            gc.collect()
            megabytes.append(_memory())
        seconds = time.perf_counter() - start
    return {
        "mode": label,
        "questions": done,
        "questions_a_second": round(done / seconds, 2),
        "calls_a_second": round(calls / seconds),
        "megabytes": [megabytes[0], megabytes[-1]],
    }


def _memory() -> int:
    """Megabytes of the process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE // 2**20


def main() -> None:
    """Print a row of JSON a mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default=_MODES, help="comma-separated")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--flight", type=int, default=8, help="questions at once")
    options = parser.parse_args()
    for mode in spec.parse_list(options.modes):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(measure, (spec.label(mode), options.questions, options.flight))
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
