"""Questions a second of modes with a model and an index that answer at once, and memory over many questions.

Only ragscale's and LangGraph's own time is left. A row a mode: questions and model calls a second, eight questions in
flight; questions a second of processor time, which hardly depends on what else runs; LangGraph's own share of
that, as a bare graph of the same steps takes it (not of modes with parallel branches); the process's memory after the
first tenth of the questions and at the end. Each mode runs in a process of its own, so that none inherits the memory of
another.

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

from langgraph_overhead import QUESTION, Instant, bare, contexts, reply, supersteps, walk

from ragscale.agent import Agent
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import Mode, spec

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
        start, busy = time.perf_counter(), time.process_time()
        for part in range(10):
            for answer in await agent.abatch([f"{QUESTION} {part}"] * (questions // 10), concurrency=flight):
                calls += answer.spend.total.llm_calls
                done += 1
            llm.calls.clear()  # the model double keeps every call
            gc.collect()
            megabytes.append(_memory())
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    langgraph = await _langgraph(mode, max(10, questions // 10))
    return {
        "mode": label,
        "questions": done,
        "questions_a_second": round(done / seconds, 2),
        "questions_a_core_second": round(done / busy, 2),
        "langgraph_share": langgraph and round(langgraph / (busy / done), 2),
        "calls_a_second": round(calls / seconds),
        "megabytes": [megabytes[0], megabytes[-1]],
    }


async def _langgraph(mode: Mode, runs: int) -> float | None:
    """Processor seconds of a bare graph of the same steps; None where the mode has parallel branches."""
    context, graph = await contexts(), mode.graph().compile()
    nodes = await walk(graph, context())
    if len(nodes) != await supersteps(graph, context()):
        return None
    plain = bare(nodes)
    for run in range(-3, runs):
        if run == 0:  # the first runs warm up
            busy = time.process_time()
        async for _ in plain.astream({"at": 1}, stream_mode="values"):
            pass
    return (time.process_time() - busy) / runs


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
