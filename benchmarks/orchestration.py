"""Processor time a question of modes with a model and an index that answer at once, and memory over many questions.

Only ragscale's and LangGraph's own time is left. A row a mode, from nine rounds in which the mode and a bare LangGraph
graph take turns; the bare graph walks as many steps as a run of the mode has, those of inner runs included, one after
another, and its nodes do nothing. Medians of the rounds: milliseconds of processor time of a question, of a bare run,
their ratio, and the questions a second of processor time, which hardly depend on what else runs. Eight questions are in
flight. *megabytes*: the process's memory after the first round and after the last. Each mode runs in a process of its
own, so that none inherits the memory of another.

    python benchmarks/orchestration.py --questions 1000 --modes "chain,vote(of=chain, n=8),mcts,evolve"
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

from langgraph_overhead import QUESTION, Immediate, Instant, bare, contexts, walk

from ragscale.agent import Agent
from ragscale.modes import spec

_PAGE = 4096  # bytes, as /proc counts memory
_MODES = "once,chain,parallel,vote(of=chain, n=8),mcts,evolve"
_ROUNDS = 9


def measure(label: str, questions: int, flight: int) -> dict[str, Any]:
    """One mode."""
    return asyncio.run(_measure(label, questions, flight))


async def _measure(label: str, questions: int, flight: int) -> dict[str, Any]:
    [mode] = spec.parse_list(label)
    nodes = await walk(mode.graph().compile(), (await contexts())())
    plain = bare(nodes)
    each = max(1, questions // _ROUNDS)
    mine, langgraph, megabytes = list[float](), list[float](), list[int]()
    with Agent(Instant(), Immediate(), mode) as agent:  # type: ignore[arg-type]
        for part in range(-1, _ROUNDS):
            busy = time.process_time()
            await agent.abatch([f"{QUESTION} {part}"] * (each if part >= 0 else flight), concurrency=flight)
            own = time.process_time() - busy
            gc.collect()
            busy = time.process_time()
            for _ in range(each):
                async for _ in plain.astream({"at": 1}, stream_mode="values"):
                    pass
            if part >= 0:  # the first round warms up
                langgraph.append(1000 * (time.process_time() - busy) / each)
                mine.append(1000 * own / each)
                megabytes.append(_memory())
    return {
        "mode": label,
        "questions": each * _ROUNDS,
        "steps": len(nodes),
        "cpu_ms_a_question": round(statistics.median(mine), 2),
        "cpu_ms_of_bare_langgraph": round(statistics.median(langgraph), 2),
        "over_bare": round(statistics.median(own / bare for own, bare in zip(mine, langgraph, strict=True)), 2),
        "questions_a_core_second": round(1000 / statistics.median(mine), 1),
        "megabytes": [megabytes[0], megabytes[-1]],
    }


def _memory() -> int:
    """Megabytes of the process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE // 2**20


def main() -> None:
    """Print a row of JSON a mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default=_MODES, help="comma-separated")
    parser.add_argument("--questions", type=int, default=1000, help="of each mode")
    parser.add_argument("--flight", type=int, default=8, help="questions at once")
    options = parser.parse_args()
    for mode in spec.parse_list(options.modes):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(measure, (spec.label(mode), options.questions, options.flight))
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
