"""The moves (plan, retrieve, read, score, answer), each reserved before it runs, settled after it and traced."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Protocol, Self, TypeVar

from langgraph.runtime import Runtime

from ragscale import prompts
from ragscale.budget import Budget, Ledger
from ragscale.errors import BudgetExceeded, ModelError, RagscaleError
from ragscale.index import How
from ragscale.llm.base import LLM, Capabilities, Generation, Score, Usage
from ragscale.llm.retry import attempts
from ragscale.prompts import NO_INFORMATION, Step, parse
from ragscale.types import Event, Hit, Message, Move, Passage, Spend

__all__ = ["Context", "Moves", "Retriever", "share", "typical"]

PLAN_TOKENS, READ_TOKENS, ANSWER_TOKENS = 128, 128, 96
"""Most tokens that a planner's turn, a sub-answer and a closing answer may have."""

_LEAST = 4  # a completion shorter than this says nothing, whatever it is

_Result = TypeVar("_Result", Generation, Score)


class Retriever(Protocol):
    """What a mode needs of an index."""

    async def asearch(self, queries: Sequence[str], k: int = 10, how: How | None = None) -> list[list[Hit]]:
        """The `k` best hits of each query, best first."""
        ...

    def passage(self, id: str) -> Passage:
        """The passage of that id."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the nodes of a run share, by reference; never checkpointed."""

    index: Retriever
    llm: LLM
    ledger: Ledger
    capabilities: Capabilities
    seed: int = 0
    how: How | None = None
    """Kind of search; ``None`` is the index's best."""


class Moves:
    """The moves of one node of one branch: what they cost advances the branch's clock and is traced.

    Made by the `node` decorator. `ledger` is the run's, or a child of it that holds a branch to its share.
    """

    def __init__(self, runtime: Runtime[Context], *, branch: str, clock: Spend, ledger: Ledger) -> None:
        self.context = runtime.context
        self.branch = branch
        self.ledger = ledger
        self._emit = runtime.stream_writer
        self._before = clock
        self._cost = Spend()
        self._events: list[Event] = []

    @classmethod
    def begin(cls, state: dict[str, Any], runtime: Runtime[Context]) -> Self:
        """Bind to a node's state: its clock and, in a branch (a `Send` payload), its name and its share."""
        ledger = runtime.context.ledger
        if state.get("share") is not None:
            ledger = ledger.child(Budget(**state["share"]))
        return cls(runtime, branch=state.get("branch", ""), clock=Spend(**state["serial"]), ledger=ledger)

    @property
    def clock(self) -> Spend:
        """The branch's critical path up to now."""
        return self._before + self._cost

    def charged(self) -> dict[str, Any]:
        """The state update that carries what the moves so far cost and did."""
        return {
            "total": self._cost.to_dict(),
            "serial": self.clock.to_dict(),
            "trace": [event.to_dict() for event in self._events],
        }

    def note(self, move: Move, text: str, **values: Any) -> None:
        """Trace something that cost nothing."""
        self._record(Event(move, self.branch, note=text, **values))

    async def plan(
        self,
        question: str,
        seen: Sequence[str],
        steps: Sequence[Step],
        *,
        temperature: float = 0.0,
        n: int = 1,
        attempt: int = 0,
    ) -> list[str]:
        """Write `n` next sub-queries, from the passages `seen` (ids) and the earlier steps.

        A malformed sample is left out; its tokens are charged.
        """
        messages, shown = await self.fit(lambda docs: prompts.plan(question, docs, steps), seen, PLAN_TOKENS * n)
        texts = await self.write(
            "plan",
            messages,
            max_tokens=PLAN_TOKENS,
            least=PLAN_TOKENS // 2,
            n=n,
            temperature=temperature,
            schema=parse.queries_schema(1),
            attempt=attempt,
            passages=shown,
        )
        found = [parse.queries(text, 1) for text in texts]
        for text, queries in zip(texts, found, strict=True):
            if not queries:
                self.note("plan", "malformed turn", output=text)
        return [query for queries in found for query in queries]

    async def retrieve(self, queries: list[str], k: int) -> list[list[str]]:
        """Send the queries of one round to the index as one batch; the ids of each query's hits, best first."""
        started = time.perf_counter()
        wanted = Spend(queries=len(queries), rounds=1)
        with self.ledger.reserve(wanted, clock=self.clock) as held:
            try:
                async with self._in_time():
                    found = await self.context.index.asearch(queries, k, self.context.how)
            except BudgetExceeded as limit:
                cost = replace(wanted, seconds=time.perf_counter() - started)
                held.settle(cost)
                self._record(Event("retrieve", self.branch, input=queries, spend=cost, note=limit.problem))
                raise
            passages = sum(len(hits) for hits in found)
            cost = replace(wanted, passages=passages, seconds=time.perf_counter() - started)
            held.settle(cost)
        ids = [[hit.passage.id for hit in hits] for hits in found]
        unique = list(dict.fromkeys(id for ranking in ids for id in ranking))
        empty = [query for query, ranking in zip(queries, ids, strict=True) if not ranking]
        note = f"no hits for {empty}" if empty else ""
        self._record(Event("retrieve", self.branch, input=queries, passages=unique, spend=cost, note=note))
        return ids

    async def read(self, query: str, ids: Sequence[str]) -> str:
        """The sub-answer to `query` from its passages, or `NO_INFORMATION`; no call where there are none."""
        if not ids:
            self.note("read", "empty retrieval, nothing to read", input=query, output=NO_INFORMATION)
            return NO_INFORMATION
        messages, shown = await self.fit(lambda docs: prompts.read(query, docs), ids, READ_TOKENS)
        texts = await self.write("read", messages, max_tokens=READ_TOKENS, input=query, passages=shown)
        text = " ".join(texts[0].split())
        # Small models vary the sentence: "No relevant information was found", "Yes relevant information found".
        return text if text and "information found" not in text.casefold().replace(" was ", " ") else NO_INFORMATION

    async def penalty(self, question: str, steps: Sequence[Step]) -> float:
        """How sure the model is that the chain does *not* answer the question: lower is better (CoRAG).

        The mean log-likelihood of `NO_INFORMATION` given the chain's pairs; where the endpoint cannot score, the
        share of steps that found nothing, which the trace then says.
        """
        last = steps[-1]["query"] if steps else ""
        if not self.context.capabilities.scoring:
            empty = sum(step["answer"] == NO_INFORMATION for step in steps) / max(len(steps), 1)
            self.note("score", "endpoint cannot score: share of steps without information", input=last, score=empty)
            return empty
        messages = prompts.support(question, steps)

        async def call(room: int) -> Score:
            return await self.context.llm.score(messages, NO_INFORMATION)

        # A token is at least a character, so the sentence bounds its own tokens; one more ends the turn.
        score, cost, note = await self._charge("score", messages, (_LEAST, len(NO_INFORMATION) + 1), 1, call)
        if not math.isfinite(score.logprob):
            problem = f"{self.context.llm.name} scored {score.logprob}"
            self._record(Event("score", self.branch, input=last, spend=cost, note=problem))
            raise ModelError(problem, "Its log-probabilities must be finite.")
        self._record(Event("score", self.branch, input=last, score=score.logprob, spend=cost, note=note))
        return score.logprob

    async def close(self, question: str, ids: Sequence[str], chain: Sequence[Step], stop: str) -> dict[str, Any]:
        """Write the closing answer, from the best passages that fit, out of the share that was held for it."""
        self.context.ledger.release_closing()
        try:
            messages, shown = await self.fit(lambda docs: prompts.answer(question, docs, chain), ids, ANSWER_TOKENS)
            texts = await self.write(
                "answer", messages, max_tokens=ANSWER_TOKENS, schema=parse.ANSWER_SCHEMA, passages=shown
            )
        except (BudgetExceeded, ModelError) as error:
            reason = f"budget:{error.dimension}" if isinstance(error, BudgetExceeded) else "failed"
            return {**_best_known(chain), "stop": stop or reason, "reason": str(error)}
        text, numbers = parse.answer(texts[0])
        if not text:
            return {**_best_known(chain), "stop": stop or "failed", "reason": "The model wrote an empty answer."}
        return {"text": text, "citations": self.cite(text, numbers, shown)}

    def cite(self, text: str, numbers: Sequence[int], shown: Sequence[str]) -> list[str]:
        """Ids of the documents that the model named by number (1 is ``shown[0]``).

        Where it named none: those that hold the answer word for word, else the best one.
        """
        named = [shown[n - 1] for n in dict.fromkeys(numbers) if 1 <= n <= len(shown)]
        words = re.compile(rf"(?<!\w){re.escape(text.casefold())}(?!\w)")
        index = self.context.index
        return named or [id for id in shown if words.search(index.passage(id).text.casefold())] or list(shown[:1])

    async def write(
        self,
        move: Move,
        messages: list[Message],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        schema: dict[str, Any] | None = None,
        attempt: int = 0,
        least: int = _LEAST,
        input: str = "",
        passages: Sequence[str] = (),
    ) -> list[str]:
        """One model call: n samples of the next turn. `attempt` tells repeated calls of the same prompt apart.

        A budget that cannot pay `least` completion tokens a sample is spent: half a JSON turn would be wasted.
        """
        llm, context = self.context.llm, self.context
        if n > 1 and not context.capabilities.samples:
            texts = []
            for i in range(n):
                texts += await self.write(
                    move, messages, max_tokens=max_tokens, temperature=temperature, schema=schema,
                    attempt=attempt * n + i, input=input, passages=passages,
                )  # fmt: skip
            return texts
        # A seed that depends on nothing but the run's seed and what is asked: the order of branches cannot change it.
        key = f"{context.seed}|{self.branch}|{attempt}|{messages[-1]['content']}"
        seed = zlib.crc32(key.encode()) & 0x7FFFFFFF

        async def call(room: int) -> Generation:
            return await llm.generate(
                messages, max_tokens=room, n=n, temperature=temperature, seed=seed,
                schema=schema if context.capabilities.json_schema else None,
            )  # fmt: skip

        result, cost, note = await self._charge(move, messages, (least, max_tokens), n, call)
        if "length" in result.finish_reasons:
            note = f"{note}; cut off at max_tokens".lstrip("; ")
        texts = [parse.encodable(text) for text in result.texts]
        self._record(
            Event(
                move,
                self.branch,
                input=input,
                output=texts[0] if n == 1 else texts,
                passages=list(passages),
                spend=cost,
                note=note,
            )
        )
        return texts

    async def fit(
        self, build: Callable[[list[Passage]], list[Message]], ids: Sequence[str], completion: int
    ) -> tuple[list[Message], list[str]]:
        """The prompt with as many of the best passages as the budget and the context window have room for.

        The last passage left is cut to half again and again rather than dropped while it has words.

        Returns:
            The messages and the ids of the passages in them, best first.
        """
        left = min(self.ledger.left("tokens"), self.context.llm.context_window) - completion
        shown = [self.context.index.passage(id) for id in ids]
        while True:
            messages = build(shown)
            need = _with_margin(await self.context.llm.count_tokens(messages))
            if need <= left or not shown:
                return messages, [passage.id for passage in shown]
            if len(shown) > 1:
                keep = math.floor(len(shown) * max(left, 0) / need)
                shown = shown[: max(1, min(keep, len(shown) - 1))]
            else:
                words = shown[0].text.split()
                shown = [replace(shown[0], text=" ".join(words[: len(words) // 2]))] if len(words) > 8 else []

    async def _charge(
        self,
        move: Move,
        messages: list[Message],
        length: tuple[int, int],
        n: int,
        call: Callable[[int], Awaitable[_Result]],
    ) -> tuple[_Result, Spend, str]:
        """Reserve, call, settle; again after a retryable failure. Every attempt is charged.

        `length` is the fewest and the most completion tokens of a sample.

        Returns:
            The result, the cost of all attempts, and the failures among them in words.
        """
        cost = Spend()
        failures: list[str] = []
        result: _Result | None = None

        async def wait(seconds: float) -> None:
            await asyncio.sleep(max(0.0, min(seconds, self.ledger.left("seconds"))))

        try:
            prompt = await self.context.llm.count_tokens(messages)
            async for attempt in attempts(sleep=wait):
                with attempt:
                    room = self._room(prompt, length, n)
                    outcome, spent = await self._attempt(prompt, room, n, call)
                    cost += spent
                    if isinstance(outcome, RagscaleError):
                        failures.append(outcome.problem)
                        raise outcome
                    result = outcome
        except (BudgetExceeded, ModelError) as error:
            note = "; ".join(dict.fromkeys([*failures, error.problem]))
            self._record(Event(move, self.branch, spend=cost, note=note))
            raise
        assert result is not None  # the loop ends with a result or an error
        return result, cost, "; ".join(failures)

    async def _attempt(
        self, prompt: int, room: int, n: int, call: Callable[[int], Awaitable[_Result]]
    ) -> tuple[_Result | ModelError | BudgetExceeded, Spend]:
        """One attempt under its reservation: the result or the error, and what it was charged."""
        wanted = Spend(llm_calls=1, prompt_tokens=_with_margin(prompt), completion_tokens=room * n)
        outcome: _Result | ModelError | BudgetExceeded
        with self.ledger.reserve(wanted, clock=self.clock) as held:
            started = time.perf_counter()
            try:
                async with self._in_time():
                    outcome = await call(room)
                spent = _spend(outcome.usage)
            except ModelError as error:
                outcome, spent = error, error.spend or Spend(llm_calls=1, prompt_tokens=prompt)
            except BudgetExceeded as limit:
                outcome = limit
                spent = replace(wanted, prompt_tokens=prompt)  # nobody knows what it wrote: the most it may have
            spent = replace(spent, seconds=time.perf_counter() - started)
            held.settle(spent)
        return outcome, spent

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Cancels the block and raises `BudgetExceeded` when the seconds run out."""
        timer = asyncio.timeout(_finite(self.ledger.left("seconds")))
        try:
            async with timer:
                yield
        except TimeoutError:
            if not timer.expired():
                raise
            limit = self.ledger.limit("seconds")
            raise BudgetExceeded("seconds", limit, limit) from None

    def _room(self, prompt: int, length: tuple[int, int], n: int) -> int:
        """Completion tokens a sample that this call may have; raises where an answer of any use does not fit."""
        need = _with_margin(prompt)
        window = self.context.llm.context_window - prompt
        least, most = length
        if window < least:
            raise ModelError(
                f"the prompt has {prompt} tokens, the context window of {self.context.llm.name} "
                f"{self.context.llm.context_window}",
                "Show fewer passages (k, context) or use a model with a larger window.",
            )
        left = (self.ledger.left("tokens") - need) / n
        if left < least:
            limit = self.ledger.limit("tokens")
            raise BudgetExceeded("tokens", limit, limit - self.ledger.left("tokens") + need + least * n)
        return int(min(most, left, window))

    def _record(self, event: Event) -> None:
        self._events.append(event)
        self._cost += event.spend
        self._emit(event.to_dict())


def share(ledger: Ledger, branches: int) -> dict[str, int]:
    """An equal part of what is left for each of `branches`, to put into their `Send` payloads.

    Branches that draw on shares of their own never compete, so a run does not depend on which of them is faster. Call
    it in a node of the trunk, while no branch runs.
    """
    left = {name: ledger.left(name) for name in ("tokens", "llm_calls", "queries")}
    return {name: max(0, int(amount // branches)) for name, amount in left.items() if amount != math.inf}


def typical(state: Mapping[str, Any], move: Move, nominal: int, *, each_passage: bool = False) -> int:
    """Mean tokens of a move (or of a passage in it) over the run so far; `nominal` before the first."""
    events = [event for event in state["trace"] if event["move"] == move and event["spend"]["llm_calls"]]
    costs = [
        Spend(**event["spend"]).tokens / (max(1, len(event["passages"])) if each_passage else 1) for event in events
    ]
    return math.ceil(fmean(costs)) if costs else nominal


def _best_known(chain: Sequence[Step]) -> dict[str, Any]:
    for step in reversed(chain):
        if step["answer"] != NO_INFORMATION:
            return {"text": step["answer"], "citations": step["passages"][:1]}
    return {"text": "", "citations": []}


def _with_margin(count: int) -> int:
    # Servers differ from their own tokenizers by a token or two (a template's first token, a space).
    return count + 8 + count // 32


def _finite(seconds: float) -> float | None:
    return None if seconds == math.inf else seconds


def _spend(usage: Usage) -> Spend:
    return Spend(
        llm_calls=1,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
    )
