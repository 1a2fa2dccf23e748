"""The share of a model's saturated tokens a second that a sweep reaches.

One side is a sweep, with so many questions in flight and nothing shared from earlier runs. The other is the same model
saturated: the very calls that reached it in the sweep (prompts, limits, schemas, seeds), each sent as soon as one of so
many at once has ended, with nothing between them. Both begin every prompt with a mark of their own, so that neither
finds the other's prompts in a cache, and both find the same shared beginnings within. Tokens are those of prompts and
replies, as charged, of each call by the part of its time that lies within the window: from the first call until fewer
are left than may be in flight, as a tail keeps no model busy; *whole* takes the tail with it. Sides take turns, in the
other order each time; the median share with the least and the most of n.

    python benchmarks/saturation.py indexes/demo corpora/elements/questions.jsonl --llm openvino --flight 32 --repeats 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import ModelError
from ragscale.llm import LLM, load
from ragscale.llm.base import Capabilities, Generation, Score
from ragscale.measure import asweep, load_questions
from ragscale.modes import spec
from ragscale.types import Message


@dataclass(frozen=True)
class Call:
    """One call that reached the model."""

    kind: str
    messages: Sequence[Message]
    given: dict[str, Any]
    began: float
    ended: float
    tokens: int


class Marked:
    """A model whose prompts begin with a mark, and that keeps its calls."""

    name = property(lambda self: self.model.name)
    context_window = property(lambda self: self.model.context_window)

    def __init__(self, model: LLM) -> None:
        self.model = model
        self.mark = uuid.uuid4().hex[:8]
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    async def capabilities(self, **given: Any) -> Capabilities:
        """As of the model."""
        return await self.model.capabilities(**given)

    async def aclose(self) -> None:
        """Does nothing: the model serves both sides."""

    def _marked(self, messages: Sequence[Message]) -> list[Message]:
        first: Message = {**messages[0], "content": f"[{self.mark}] {messages[0]['content']}"}
        return [first, *messages[1:]]

    async def count_tokens(self, messages: Sequence[Message], **given: Any) -> int:
        """Of the prompt with its mark."""
        return await self.model.count_tokens(self._marked(messages), **given)

    async def generate(self, messages: Sequence[Message], **given: Any) -> Generation:
        """As the model, kept."""
        return await self._kept("generate", messages, given, self.model.generate(self._marked(messages), **given))

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """As the model, kept."""
        given = {"continuation": continuation}
        return await self._kept("score", messages, given, self.model.score(self._marked(messages), continuation))

    async def _kept(self, kind: str, messages: Sequence[Message], given: dict[str, Any], made: Awaitable[Any]) -> Any:
        began = time.perf_counter()
        done = await made
        tokens = done.usage.prompt_tokens + done.usage.completion_tokens
        self.calls.append(Call(kind, messages, given, began, time.perf_counter(), tokens))
        return done


@dataclass(frozen=True)
class Side:
    """Tokens a second of one side, until fewer were left than may be in flight, and with the tail."""

    window: float
    whole: float


def rates(calls: Sequence[Call], until: float) -> Side:
    """Tokens a second of calls within the window that ends then, and of all."""
    start, end = min(call.began for call in calls), max(call.ended for call in calls)
    until = min(until, end)

    def tokens(stop: float) -> float:
        parts = [
            call.tokens * max(0.0, min(call.ended, stop) - call.began) / (call.ended - call.began) for call in calls
        ]
        return sum(parts) / (stop - start)

    return Side(tokens(until), tokens(end))


async def sweep(model: LLM, options: argparse.Namespace) -> tuple[Side, list[Call]]:
    """The sweep's side, and its calls."""
    marked = Marked(model)
    ended: list[float] = []
    questions = load_questions(options.questions)[: options.limit]
    modes = spec.parse_list(options.mode)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names of gold passages are of no matter here
        agent = Agent(options.index, marked, how=options.how)
        await asweep(
            agent, questions, modes, Path(folder, "run"), budgets=[Budget(tokens=options.tokens)], health=False,
            concurrency=options.flight, progress=lambda cell, row, done, of: row and ended.append(time.perf_counter()),
        )  # fmt: skip
    return rates(marked.calls, _few_left(ended, options.flight)), marked.calls


async def raw(model: LLM, calls: Sequence[Call], flight: int) -> Side:
    """The saturated side: the same calls, so many at once."""
    marked = Marked(model)
    left = iter(sorted(calls, key=lambda call: call.began))
    ended: list[float] = []

    async def client() -> None:
        for call in left:
            ask: Callable[..., Awaitable[Any]] = getattr(marked, call.kind)
            try:
                await ask(call.messages, **call.given)
            except ModelError as error:
                print(f"a raw call failed: {error}")
            ended.append(time.perf_counter())

    await asyncio.gather(*(client() for _ in range(flight)))
    return rates(marked.calls, _few_left(ended, flight))


def _few_left(ended: Sequence[float], flight: int) -> float:
    """When fewer were left than may be in flight; the end, where there never were as many."""
    return ended[len(ended) - flight - 1] if len(ended) > flight else max(ended)


async def measure(options: argparse.Namespace) -> list[dict[str, float]]:
    """Both sides, in turns."""
    model = load(options.llm)
    rows = []
    try:
        await model.capabilities()
        _, calls = await sweep(model, options)  # warms up, and tells the calls of the first turn
        for turn in range(options.repeats):
            if turn % 2:
                ours, calls = await sweep(model, options)
                theirs = await raw(model, calls, options.flight)
            else:
                theirs = await raw(model, calls, options.flight)
                ours, calls = await sweep(model, options)
            rows.append({
                "sweep": ours.window, "saturated": theirs.window, "share": ours.window / theirs.window,
                "whole": ours.whole / theirs.whole, "calls": len(calls),
            })  # fmt: skip
    finally:
        await model.aclose()
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index")
    parser.add_argument("questions")
    parser.add_argument("--llm", default="embedded", help="as of ragscale")
    parser.add_argument("--mode", default="once,chain,parallel", help="modes of the sweep")
    parser.add_argument("--how", choices=["dense", "bm25", "hybrid"], help="kind of search (default: the index's)")
    parser.add_argument("--tokens", type=int, default=4000, help="budget of a question (default: 4000)")
    parser.add_argument("--limit", type=int, default=64, help="questions (default: 64)")
    parser.add_argument("--flight", type=int, default=32, help="questions, and raw calls, at once (default: 32)")
    parser.add_argument("--repeats", type=int, default=3, help="turns (default: 3)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = asyncio.run(measure(options))
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print("  ".join(f"{name} {value:.3f}" for name, value in row.items()))
    for name in ("share", "whole"):
        values = [row[name] for row in rows]
        middle = statistics.median(values)
        print(f"{name}: {middle:.3f} ({min(values):.3f}-{max(values):.3f}, n={len(values)}) of the saturated tokens/s")


if __name__ == "__main__":
    main()
