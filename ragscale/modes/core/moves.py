"""The moves that modes are wired from: ask, score, retrieve, close, note."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any, TypeVar

from ragscale import prompts
from ragscale.budget import ALONG
from ragscale.errors import BudgetExceeded, ModelError, RagscaleError
from ragscale.llm.base import Score
from ragscale.llm.prices import Price
from ragscale.llm.tokens import with_margin
from ragscale.modes.core.calls import Calls, Context, Retriever
from ragscale.modes.core.costs import (
    Cost,
    Costs,
    Means,
    Room,
    closing_tokens,
    closing_usd,
    counted,
    dollars_a_token,
)
from ragscale.modes.core.state import State, evidence
from ragscale.prompts import NO_INFORMATION, Closing, Profile, Prompt, Step, with_budget
from ragscale.text import encodable
from ragscale.types import Event, Hit, Passage, Spend, TracedHit

__all__ = ["Context", "Moves", "Retriever", "closing_share", "share"]

T = TypeVar("T")

_LONGER = 1.15  # passages that are found later may have more words
_TOO_SHORT = 3  # characters of an answer that may stand in any passage
_TOO_LONG = 2000  # characters of an answer that stands in none word for word
_TITLE = 80  # characters of a passage's title in the trace
_TRIES = 1000  # places in a passage where an answer begins, but within other words


class Moves(Calls):
    """The moves of one node of one branch. Made by the `node` and `branch` decorators."""

    @functools.cached_property
    def profile(self) -> Profile:
        """Makes the prompts: as the run's mode says, by default as the model was trained to be asked."""
        asks, made = self.scope["asks"], self.context.profiles
        key = repr(asks)
        if key not in made:
            profile = prompts.profile(
                asks.get("profile", "auto"), model=self.context.llm.name, file=asks.get("prompts"),
                about=self.context.about, **asks.get("settings", {}),
            )  # fmt: skip
            made[key] = replace(profile, hint=asks.get("hint", ""))
        return made[key]

    @property
    def room(self) -> Room:
        """Remainder of the budget for the branch, as of now."""
        return Room.of(self.ledger, self.clock, self.context.price)

    def costs(self, state: State) -> Costs:
        """Expected costs of moves, by those of the run so far and by whether one call draws several samples."""
        return Costs.of(state, samples=self.context.capabilities.samples)

    def need(self, cost: Spend) -> None:
        """Make sure that what is left pays `cost`, before moves begin that are worth nothing by halves.

        Raises:
            BudgetExceeded: The first limit that would be passed.
        """
        whole = Cost.of(cost)
        usd = round(whole.tokens * dollars_a_token(self.context.price, self.ledger.spent), 12)
        self.ledger.reserve(replace(whole.total, usd=usd)).refund()
        self.ledger.check_path({dimension: getattr(whole, dimension) for dimension in ALONG}, self.clock)

    async def ask(
        self,
        make: Callable[[list[Passage]], Prompt[T]],
        ids: Sequence[str] = (),
        *,
        temperature: float = 0.0,
        n: int = 1,
        attempt: int = 0,
        input: str = "",
    ) -> list[T]:
        """Ask with as many of the best passages as fit, and read the replies.

        Args:
            make: Makes the prompt from passages, best first.
            ids: Those passages.
            temperature: 0 is greedy.
            n: Samples.
            attempt: Tells repeated calls of the same prompt apart.
            input: The move's input, for the trace.

        Returns:
            A value a reply; a malformed one is charged and left out.

        Raises:
            BudgetExceeded, ModelError: As of `write`.
        """

        def told(docs: list[Passage]) -> Prompt[T]:
            return self._told(make(docs))

        prompt, shown, note = await self.fit(told, ids, n) if ids else (told([]), [], "")
        return await self._put(
            prompt, temperature=temperature, n=n, attempt=attempt, input=input, passages=shown, note=note
        )

    async def put(self, prompt: Prompt[T], **call: Any) -> list[T]:
        """Ask a prompt as it is, and read the replies.

        Args:
            prompt: What is asked.
            call: Further arguments of `write`.
        """
        return await self._put(self._told(prompt), **call)

    def _told(self, prompt: Prompt[T]) -> Prompt[T]:
        """A planner's prompt with what is left of the budget, where the mode is `Planning.aware`."""
        if prompt.move != "plan" or not self.scope["asks"].get("aware"):
            return prompt
        ledger, spent = self.ledger, self.ledger.spent
        summed = ("queries", "tokens", "llm_calls", "usd")
        left = {name: (getattr(spent, name) or 0, ledger.left(name)) for name in summed}
        left |= {name: (getattr(self.clock, of), ledger.left(name, self.clock)) for name, of in ALONG.items()}
        words = {"llm_calls": "model calls", "serial_tokens": "tokens in a row", "serial_calls": "calls in a row"}
        words |= {"usd": "dollars"}
        limited = {name: amounts for name, amounts in left.items() if math.isfinite(amounts[1])}
        return with_budget(prompt, {words.get(name, name): amounts for name, amounts in limited.items()})

    async def _put(self, prompt: Prompt[T], **call: Any) -> list[T]:
        read = functools.cache(prompt.read)  # for the trace, and for the mode
        texts = await self.write(
            prompt.move, prompt.messages, max_tokens=prompt.max_tokens, least=prompt.least, schema=prompt.schema,
            stop=prompt.stop, thoughts=prompt.thoughts, tools=prompt.tools, read=read, **call,
        )  # fmt: skip
        return [value for text in texts if (value := read(text)) is not None]

    async def retrieve(self, queries: list[str], k: int) -> list[list[str]]:
        """Send the queries of one round to the index as one batch; the ids of each query's hits, best first.

        One that fails is charged like one that finds nothing.
        """
        started = time.perf_counter()
        wanted = Spend(queries=len(queries), rounds=1)
        async with self.reserve(wanted) as held:
            try:
                async with self.ledger.in_time(self.clock):
                    found = await self.context.index.asearch(queries, k, self.context.how)
            except (RagscaleError, OSError, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
                    raise
                cost = replace(wanted, seconds=time.perf_counter() - started)
                held.settle(cost)
                lost = error if isinstance(error, RagscaleError) else _lost(error)
                self.record(
                    Event("retrieve", self.branch, input=queries, spend=cost, status="failed", note=lost.problem)
                )
                if lost is error:
                    raise
                raise lost from error
            passages = sum(len(hits) for hits in found)
            cost = replace(wanted, passages=passages, seconds=time.perf_counter() - started)
            held.settle(cost)
        ids = [[hit.passage.id for hit in hits] for hits in found]
        if self.context.passages is not None:
            self.context.passages.update((hit.passage.id, hit.passage) for hits in found for hit in hits)
        unique = list(dict.fromkeys(id for ranking in ids for id in ranking))
        empty = [query for query, ranking in zip(queries, ids, strict=True) if not ranking]
        self.record(
            Event(
                "retrieve", self.branch, input=queries, passages=unique, spend=cost, hits=[*map(_traced, found)],
                status="" if unique else "empty", note=f"no hits for {empty}" if empty else "",
            )
        )  # fmt: skip
        return ids

    async def score(self, prompt: Prompt[Any], continuation: str, *, input: str = "") -> float:
        """Mean log-probability of `continuation` as the reply to `prompt`.

        Raises:
            BudgetExceeded, ModelError: It could not be paid, or the model failed.
        """

        async def call(room: int) -> Score:
            return await self.context.llm.score(prompt.messages, continuation)

        # A token is at least a character, so the sentence bounds its own tokens; one more ends the turn.
        most = len(continuation) + 1
        score, event = await self.charge("score", prompt.messages, (most, most), 1, call)
        event = replace(event, input=input)
        if not math.isfinite(score.logprob):
            problem = f"{self.context.llm.name} scored {score.logprob}"
            self.record(replace(event, status="failed", note=problem))
            raise ModelError(problem, "Its log-probabilities must be finite.")
        self.record(replace(event, score=score.logprob))
        return score.logprob

    async def sizes(
        self, question: str, ids: Sequence[str], plan: Callable[[list[Passage]], Prompt[Any]] | None = None
    ) -> Means:
        """Sizes of moves to come, as the model counts their prompts: the first passages found tell how long others are.

        Empty where no tokens are limited, so that nothing is sized, and where they cannot be counted.

        Args:
            question: The user's question.
            ids: Passages found for it.
            plan: Makes the prompt of a planner's turn from them, where the mode has one of that kind.
        """
        if not ids or not self._limited:
            return {}
        with contextlib.suppress(RagscaleError, OSError):  # the next call meets it, too
            docs = [self.passage(id) for id in ids]
            made: list[Prompt[Any]] = [self.profile.answer(question, docs), self.profile.answer(question, [])]
            made += [self.profile.read(question, []), *([plan(docs)] if plan else [])]
            full, closing, reading, *turn = [await self.count(prompt.messages) for prompt in made]
            return counted((full - closing) / len(docs), reading, closing, *turn)
        return {}

    @property
    def _limited(self) -> bool:
        """Whether tokens are limited, or dollars, which pay for them."""
        return min(map(self.ledger.limit, ("tokens", "serial_tokens", "usd"))) < math.inf

    async def hold(self, state: State) -> int | None:
        """Hold for the closing answer what it needs by what was found and by the thoughts so far, were it shown as many
        passages as it may be.

        Depends on the run's state alone, so that a run that is resumed holds the same.

        Returns:
            The tokens; None where nothing tells what it needs, so that what is held stays as it is.
        """
        outer, reserve = self.scope["share"] is None, self.scope["reserve"]
        holds = self.context.ledger.holds_closing if outer else self._holds
        if not holds or not self._limited or not (ids := evidence(state)):
            return None
        with contextlib.suppress(RagscaleError, OSError):  # the next call meets it, too
            shown = self.scope["shown"] or self.context.shown
            passages = [self.passage(id) for id in islice(cycle(ids), shown)]
            pairs = self._pairs(state["chain"])
            prompt = self.profile.answer(state["question"], passages, state["known"], pairs)
            need = await self.count(prompt.messages)
            thinking = _thought(state, self.context.capabilities.thinking)
            tokens = int(with_margin(need) * _LONGER) + prompt.max_tokens + thinking
            if outer:
                self.context.ledger.fit_closing(tokens, closing_usd(self.context.price, tokens, thinking))
            else:
                tokens = max(1, min(tokens, int(reserve["tokens"])))
                self.ledger = self._keeping(tokens)
            return tokens
        return None

    async def close(
        self,
        question: str,
        ids: Sequence[str],
        chain: Sequence[Step],
        known: Sequence[str],
        stop: str,
        make: Callable[[list[Passage]], Prompt[Closing]] | None = None,
    ) -> dict[str, Any]:
        """Write the closing answer, from the best passages that fit, out of the share that was held for it.

        `make` makes its prompt from passages, best first; by default the profile's own.
        """
        self.release()
        # Prompts are estimated on the high side, and a passage is worth more than room for a longer answer.
        room = 1.0 if self.context.capabilities.tokenizer else 0.5
        pairs = self._pairs(chain)
        make = make or (lambda docs: self.profile.answer(question, docs, known, pairs))
        try:
            prompt, shown, note = await self.fit(make, ids, room=room)
            said = await self.put(prompt, passages=shown, note=note)
        except (RagscaleError, OSError) as error:
            reason = f"budget:{error.dimension}" if isinstance(error, BudgetExceeded) else "failed"
            return {**self._best_known(chain), "stop": stop or reason, "reason": str(error)}
        if not said:
            reason = f"The model wrote an empty answer{self.ending and f': {self.ending}'}."
            return {**self._best_known(chain), "stop": stop or "failed", "reason": reason}
        [(text, numbers)] = said
        whole = {"text": text, "citations": self.cite(text, numbers, shown)}
        return whole if stop or not self.ending else {**whole, "reason": f"A part of the answer: {self.ending}."}

    def cite(self, text: str, numbers: Sequence[int], shown: Sequence[str]) -> list[str]:
        """Ids of the documents that `text` rests on, out of those ``shown`` to the model (document 1 is ``shown[0]``).

        Those that the model named by number. But small models name any document: where none of these has the answer
        word for word (title included) and others do, those others. A text of up to three characters (yes, no, a
        digit) stands in too many to tell, so what was named stays. Where none was named and none has the words: the
        best one.
        """
        named = [shown[n - 1] for n in dict.fromkeys(numbers) if 1 <= n <= len(shown)]
        if named and len(text) <= _TOO_SHORT:
            return named
        passages: list[Passage] = []
        if len(text) <= _TOO_LONG:
            with contextlib.suppress(RagscaleError, OSError):  # an index that is lost by now takes no answer with it
                passages += [self.context.index.passage(id) for id in shown]
        holding = [passage.id for passage in passages if _holds(f"{passage.title}: {passage.text}", text)]
        return named if set(named) & set(holding) else holding or named or list(shown[:1])

    def _pairs(self, chain: Sequence[Step]) -> Sequence[Step]:
        """The steps that the closing answer is shown: as the mode says, by default as the profile says."""
        shown = self.scope["asks"].get("pairs", "auto")
        return chain if shown == "all" or (shown == "auto" and self.profile.pairs) else ()

    def _best_known(self, chain: Sequence[Step]) -> dict[str, Any]:
        """The last sub-answer that says anything, for a run that could not write its closing answer."""
        for step in reversed(chain):
            if step["answer"] != NO_INFORMATION:
                return {"text": step["answer"], "citations": self.cite(step["answer"], [], step["passages"])}
        return {"text": "", "citations": []}


def _traced(hits: Sequence[Hit]) -> list[TracedHit]:
    return [
        TracedHit(
            hit.passage.id,
            encodable(" ".join(hit.passage.title[: 4 * _TITLE].split()))[:_TITLE],
            _rounded(hit.score),
            hit.dense,
            hit.bm25,
        )
        for hit in hits
    ]


def _rounded(score: Any) -> float | None:
    """A score of anybody's index, for the trace."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return float(f"{float(score):.6g}") if math.isfinite(score) else None
    return None


def _holds(passage: str, text: str) -> bool:
    """Whether a passage has the words of `text`, one behind the other and not as parts of other words."""
    passage, words = (" ".join(string.casefold().split()) for string in (passage, text))
    at = -1
    for _ in range(_TRIES):  # a regular expression takes seconds to compile where the text is long
        at = passage.find(words, at + 1)
        if at < 0:
            return False
        beside = passage[max(0, at - 1) : at] + passage[at + len(words) : at + len(words) + 1]
        if not any(char.isalnum() or char == "_" for char in beside):
            return True
    return False


def _lost(error: OSError | asyncio.CancelledError) -> RagscaleError:
    said = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    return RagscaleError(f"the index failed ({said})", "Open it again, or look at its server.")


def share(
    moves: Moves, branches: int, *, layers: int = 1, runs: int = 0, later: Spend | None = None, timed: bool = True
) -> dict[str, float]:
    """An equal part of what is left for each of `branches`, which `send` gives them: in every dimension with a limit.

    Branches that draw on shares of their own never compete, so a run does not depend on which of them is faster. Call
    it in a node of the trunk, while no branch runs.

    Args:
        moves: Of the node. Rounds, seconds and serial limits are along its critical path: all branches have the same.
        branches: Side by side. They share tokens, calls, queries and dollars.
        layers: Layers of such branches that are to follow one another, this one included: each gets an equal part.
        runs: Branches of all layers, each of which gets an equal part of what they share; 0: as many in each layer.
        later: Cost of what is to follow them, which is left out.
        timed: Whether the layers share the seconds, too. Otherwise this one has all that are left: where nothing tells
            how many seconds a layer takes, one that is cut short is money lost.
    """
    ledger, clock, room = moves.ledger, moves.clock, moves.room.less(later or Spend()).dealt(branches, layers, runs)
    part = {name: getattr(room, name) for name in ("tokens", "llm_calls", "queries")}
    part |= {dimension: getattr(room, dimension) + getattr(clock, name) for dimension, name in ALONG.items()}
    finite: dict[str, float] = {name: max(0, int(amount)) for name, amount in part.items() if math.isfinite(amount)}
    finite |= {"usd": room.usd} if room.usd < math.inf else {}
    seconds = ledger.left("seconds", clock) / (layers if timed else 1)
    return finite | ({"seconds": clock.seconds + max(0.0, seconds)} if math.isfinite(seconds) else {})


def _thought(state: State, most: int) -> int:
    """Tokens kept for the closing answer's thought: `most`, or twice the longest of this run once it has had three.

    The answer may use what is left beside them, too.
    """
    if not most:
        return 0
    thoughts = [event["spend"]["reasoning_tokens"] for event in state["trace"] if event["spend"]["reasoning_tokens"]]
    return min(most, 2 * max(thoughts)) if len(thoughts) >= 3 else most


def closing_share(
    share: Mapping[str, float], clock: Spend, thinking: int, price: Price | None = None
) -> dict[str, float]:
    """The part of a share that is kept for the closing answer; see `closing_tokens` and `closing_usd`. A quarter of the
    seconds, 30 at most."""
    reserve: dict[str, float] = {"llm_calls": 1, "serial_calls": 1}
    tokens = min(share.get("tokens", math.inf), share.get("serial_tokens", math.inf) - clock.tokens)
    if "usd" in share and (rate := dollars_a_token(price, Spend())):
        tokens = min(tokens, share["usd"] // rate)
    if tokens < math.inf:
        kept = int(max(0, min(tokens, closing_tokens(tokens, thinking))))
        reserve |= {"tokens": kept, "serial_tokens": kept, "usd": closing_usd(price, kept, thinking)}
    if "seconds" in share:
        reserve["seconds"] = min(30.0, max(0.0, share["seconds"] - clock.seconds) / 4)
    return reserve
