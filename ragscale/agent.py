"""`Agent`: one index, one model, one budget; a question in, an `Answer` out, in whichever mode is named."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, Self, cast

from langgraph.checkpoint.base import BaseCheckpointSaver

from ragscale import background, modes
from ragscale.answer import Answer, AnswerSpend
from ragscale.budget import Budget, Ledger
from ragscale.errors import BudgetExceeded, InvalidInput, ModelError, RagscaleError
from ragscale.index import How, Index, Searching
from ragscale.index.options import DESCRIPTION_LENGTH, HOWS
from ragscale.index.remote.index import RemoteIndex
from ragscale.llm import LLM, Capabilities, load
from ragscale.llm.base import runtime
from ragscale.llm.prices import Price, price_of, read_prices
from ragscale.llm.special import neutral, special_tokens
from ragscale.modes import spec
from ragscale.modes.core.checkpoints import Checkpoints
from ragscale.modes.core.costs import check_priced
from ragscale.modes.core.moves import Context
from ragscale.modes.core.run import Execution, now, prepare
from ragscale.modes.core.state import event_id, initial
from ragscale.prompts import profile
from ragscale.text import encodable, is_blank
from ragscale.types import Event, Passage, Spend, Usage
from ragscale.view.life import in_notebook, life
from ragscale.view.sent import Sent
from ragscale.view.trace import cost, line
from ragscale.words import counted

__all__ = ["Agent"]

_END = object()
_TOLD = 100
"""Characters of a move in the line below a notebook's cell."""


class Agent:
    """Answers questions over an index. Works in a script, in a notebook's running loop and from threads.

    Pickled, for a pool of processes, by what it was made of: the path or URL of the index, the specification of the
    model, the file of the checkpoints. The other process opens them anew. A model object goes along where it can.

    Args:
        index: An open `Index`, one with search settings (`Index.searching`), the folder of one, or
            the URL of one that ``ragscale serve`` shares.
        llm: A model, or a specification as `ragscale.llm.load` takes it.
        mode: The mode of calls that name none: a name, with parameters where needed (``"once(k=3)"``), or a `Mode`.
        budget: Limits of each question.
        seed: Makes sampled sub-queries repeatable: same seed, model and index give the same trace.
        how: Kind of search (``"dense"``, ``"bm25"``, ``"hybrid"``); ``None`` is the index's best.
        about: Description of the corpus, as planners are told that they look it up ("pages of an encyclopedia");
            ``None`` is the index's own (`Index.description`), empty a neutral one.
        keep_texts: Whether answers hold the passages that were retrieved and the prompts that were sent, for
            `Answer.save` and `Answer.show`; about as much memory as their traces.
        prices: Of the model, for the dollars of `Spend.usd` and `Budget.usd`: a `Price`; a TOML file or a mapping of
            models' names, or patterns of names, to prices; dollars an hour (``"0.80/h"``); a model of the bundled list
            (``"openai:gpt-4o-mini"``). ``None``, or a name that is not there: what `genai-prices` lists for the
            provider at the model's URL, else unknown.
        checkpoints: Where runs that are given a `thread_id` keep their state, so that a killed run is resumed by the
            same call: an SQLite file, which holds plain values and is refused where it holds anything else; or a
            LangGraph checkpoint saver with asynchronous methods, such as `AsyncSqliteSaver`, which reads and writes as
            its own serialiser does.

    Raises:
        InvalidInput: Unknown mode or model specification, or an argument that is not what it should be.
        MissingDependency: A package that the model or the index needs is not installed.
        ModelFileError: The embedded model's file is absent, damaged or cannot be loaded.
        EndpointError: A vLLM server that is started for it (``"vllm:MODEL"``) does not come up.
        IndexDamaged, IndexMismatch, IndexServerError: `index` cannot be opened; see `Index.open`.

    The first question loads what the index needs, before its clock starts; then it finds out what the model can do, by
    a few tiny calls (`probe_spend`). It raises what is wrong with either; see `aask`.
    """

    def __init__(
        self,
        index: Index | RemoteIndex | Searching | str | Path,
        llm: LLM | str | Any = "embedded",
        mode: str | modes.Mode = "chain",
        budget: Budget | None = None,
        *,
        seed: int = 0,
        how: How | None = None,
        about: str | None = None,
        keep_texts: bool = True,
        prices: str | Path | Price | Mapping[str, Any] | None = None,
        checkpoints: str | Path | BaseCheckpointSaver[Any] | None = None,
    ) -> None:
        if how is not None and how not in HOWS:
            raise InvalidInput(f"unknown kind of search {how!r}", f"Choose one of: {', '.join(HOWS)}.")
        self.mode = modes.get(mode)
        self.budget = Budget.of(budget)
        self.index = _opened(index)
        self.about = about
        self.keep_texts = keep_texts
        with life("agent: starting the model") if isinstance(llm, str) else contextlib.nullcontext():
            self.llm = load(llm)
        if expect := getattr(self.llm, "expect", None):
            expect(profile(about=about or "").instructions())
        self._given = llm if isinstance(llm, str) else None, checkpoints
        self.seed = _seed(seed)
        self.how = how
        self.prices = read_prices(prices)
        self._checkpoints = None if checkpoints is None else Checkpoints(checkpoints)
        self._process = os.getpid()
        self._loaded = False

    def ask(
        self,
        question: str,
        *,
        mode: str | modes.Mode | None = None,
        budget: Budget | None = None,
        thread_id: str | None = None,
        about: str | None = None,
        seed: int | None = None,
    ) -> Answer:
        """Answer one question; blocks. See `aask`. In a notebook a line below the cell tells what it is doing."""
        if not in_notebook():
            return background.wait(
                self.aask(question, mode=mode, budget=budget, thread_id=thread_id, about=about, seed=seed)
            )
        name, spent = spec.label(self.mode if mode is None else modes.get(mode)), Spend()
        with life(f"{name}: opening the index, starting the model") as shown:
            for item in self.stream(question, mode=mode, budget=budget, thread_id=thread_id, about=about, seed=seed):
                if isinstance(item, Event):
                    spent += item.spend
                    told = f"{item.move} {line(item)}"
                    shown.tell(f"{name}: {counted(spent.llm_calls, 'call')}, {cost(spent)} · {told[:_TOLD]}")
        return cast(Answer, item)  # a stream always ends with its answer

    async def aask(
        self,
        question: str,
        *,
        mode: str | modes.Mode | None = None,
        budget: Budget | None = None,
        parent: Ledger | None = None,
        thread_id: str | None = None,
        about: str | None = None,
        seed: int | None = None,
    ) -> Answer:
        """Answer one question.

        A spent budget or a model that fails midway ends in an `Answer` whose `stop_reason` and `reason` tell, never
        in an exception.

        Args:
            question: In natural language.
            mode: Instead of the agent's.
            budget: Instead of the agent's.
            parent: A ledger whose limits hold as well and which is charged too, for instance that of a batch.
            thread_id: Names the run in `checkpoints`: an unfinished run of that name is resumed where it was,
                without charging again what it had done; a finished one returns its answer. A run belongs to its
                question, mode, seed, model and kind of search, an unfinished one to its index too. Its limits may be
                others when it is resumed, but none may be left out.
            about: Description of the corpus instead of the agent's.
            seed: Instead of the agent's.

        Raises:
            InvalidInput: The question is empty, the mode is unknown, the index has no such search as `how`, or the run
                of that `thread_id` was begun with something else.
            EndpointError: At the first question, while the model is tried out and nothing was spent, it cannot be
                reached or refuses the key; the next question tries again. Once it was tried out, a failure ends the
                question alone, in an answer whose `stop_reason` is "failed".
            ModelError: Likewise, where the model failed on each of four attempts.
            RagscaleError: The agent was made before this process was forked. Or another call, here or in another
                process, is running that `thread_id`. Or `checkpoints` cannot be read or written, or holds more than
                plain values. Or what the index needs failed; its class says how (`ModelFileError`,
                `IndexServerError`).
        """
        answer = None
        async for item in self.astream(
            question, mode=mode, budget=budget, parent=parent, thread_id=thread_id, about=about, seed=seed
        ):
            answer = item
        return cast(Answer, answer)

    def stream(
        self,
        question: str,
        *,
        mode: str | modes.Mode | None = None,
        budget: Budget | None = None,
        thread_id: str | None = None,
        about: str | None = None,
        seed: int | None = None,
    ) -> Iterator[Event | Answer]:
        """The run's events as they happen, then its `Answer`; closing the iterator cancels the run."""
        items: queue.Queue[Any] = queue.Queue()

        async def pump() -> None:
            try:
                async for item in self.astream(
                    question, mode=mode, budget=budget, thread_id=thread_id, about=about, seed=seed
                ):
                    items.put(item)
                items.put(_END)
            except BaseException as error:
                items.put(error)
                raise

        future = background.submit(pump())
        try:
            while (item := items.get()) is not _END:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            future.cancel()

    async def astream(
        self,
        question: str,
        *,
        mode: str | modes.Mode | None = None,
        budget: Budget | None = None,
        parent: Ledger | None = None,
        thread_id: str | None = None,
        about: str | None = None,
        seed: int | None = None,
    ) -> AsyncIterator[Event | Answer]:
        """Like `stream`, asynchronous; arguments and errors as in `aask`."""
        if not isinstance(question, str) or is_blank(question):
            raise InvalidInput(f"The question is {question!r}", "Ask something.")
        _check_loop()
        if os.getpid() != self._process:  # the threads of its index and its model stayed behind
            raise RagscaleError(
                "the agent was made before this process was forked",
                'Make it in the child, and start workers with the "spawn" method.',
            )
        if about is not None and (not isinstance(about, str) or len(about) > DESCRIPTION_LENGTH):
            shown = f"a {type(about).__name__}" if not isinstance(about, str) else f"{len(about):,} characters"
            raise InvalidInput(f"about is {shown}", f"Describe the corpus in up to {DESCRIPTION_LENGTH:,} characters.")
        seed = self.seed if seed is None else _seed(seed)
        question = neutral(encodable(question.strip()), special_tokens(self.llm))
        chosen = modes.get(mode) if mode is not None else self.mode
        limits = self.budget if budget is None else budget
        async with self._saver(thread_id) as saver:
            run = await Execution.begin(chosen, question, saver, thread_id)
            run.pin(
                seed=seed, how=self.how or getattr(self.index, "how", None),
                about=self.about if about is None else about,
            )  # fmt: skip
            if run.finished is not None:
                with contextlib.suppress(ModelError):  # a dead endpoint that has not told its model is no hindrance
                    run.pin(model=await asyncio.to_thread(lambda: self.llm.name), runtime=runtime(self.llm) or None)
                index = self._identity(run.pins.get("index"))
                yield self._answer(chosen, run, Ledger(limits), index, {}, Sent())
                return
            if not self._loaded:
                # Before the clock starts: else the first question would be charged the seconds of loading.
                await self.index.asearch([], 1, self.how)
                self._loaded = True
            # Search settings may name a reranker, whose weights are part of the fingerprint; others have it at hand.
            blocks = isinstance(self.index, Searching)
            index = await asyncio.to_thread(self._identity) if blocks else self._identity()
            ledger = Ledger(limits, parent=parent, spent=run.spent, lost=run.lost, elapsed=run.elapsed)
            if saver is not None:
                run.limit(ledger.budget.limits)
                run.pin(index=index["fingerprint"])
            capabilities, price, usd = Capabilities(), None, ledger.limit("usd")
            if usd < math.inf:
                price = await asyncio.to_thread(lambda: self.price)
                check_priced(price, usd)
            passages: dict[str, Passage] = {}
            prompts = Sent()
            try:
                try:
                    capabilities = await prepare(ledger, self.llm, run.held, price=price, tools=chosen.calls_tools)
                    run.pin(model=self.llm.name, runtime=runtime(self.llm) or None)
                    price = await asyncio.to_thread(lambda: self.price)
                    run.pin(price=None if price is None else price.to_dict())
                except BudgetExceeded as limit:
                    # A run that is resumed goes on without: it ends in the best that it knows.
                    if run.start is not None:
                        run.finished = {**run.start, "stop": f"budget:{limit.dimension}", "reason": str(limit)}
                        yield self._answer(chosen, run, ledger, index, {}, Sent())
                        return
                    with contextlib.suppress(ModelError):
                        price = await asyncio.to_thread(lambda: self.price)
                told = self.about if about is None else about
                if told is None:
                    told = str(await asyncio.to_thread(getattr, self.index, "description", ""))
                context = Context(
                    index=self.index, llm=self.llm, ledger=ledger, capabilities=capabilities, price=price,
                    seed=seed, how=self.how, shown=chosen.context, line=run.line, about=told,
                    passages=passages if self.keep_texts else None, prompts=prompts if self.keep_texts else None,
                )  # fmt: skip
                async with contextlib.aclosing(run.events(context)) as events:
                    async for event in events:
                        yield event
            finally:
                ledger.drop_closing()
            run.finished = {**initial(question), **(run.finished or {})}
            yield self._answer(chosen, run, ledger, index, passages, prompts)

    def batch(
        self,
        questions: Sequence[str],
        *,
        mode: str | modes.Mode | None = None,
        budget: Budget | None = None,
        total: Budget | None = None,
        concurrency: int = 8,
    ) -> list[Answer]:
        """Answer many questions, several at a time; blocks. See `abatch`."""
        return background.wait(self.abatch(questions, mode=mode, budget=budget, total=total, concurrency=concurrency))

    async def abatch(
        self,
        questions: Sequence[str],
        *,
        mode: str | modes.Mode | None = None,
        budget: Budget | None = None,
        total: Budget | None = None,
        concurrency: int = 8,
    ) -> list[Answer]:
        """Answer many questions, `concurrency` at a time; their searches share the index's broker.

        Args:
            questions: In any number.
            mode: Instead of the agent's.
            budget: Limits of each question, instead of the agent's.
            total: Limits of all questions together (`rounds` holds for each).
            concurrency: Questions in flight.

        Returns:
            The answers, in the order of the questions.

        Raises:
            InvalidInput: As in `aask`, or `questions`, `total` or `concurrency` is not what it should be. The other
                questions are cancelled.
            ModelError: As in `aask`; `EndpointError` is one.
        """
        if isinstance(questions, str | bytes | Mapping) or not isinstance(questions, Iterable):
            what = f"one string ({questions!r})" if isinstance(questions, str) else f"a {type(questions).__name__}"
            raise InvalidInput(f"questions is {what}", "Give a list of questions.")
        if not isinstance(concurrency, int):
            raise InvalidInput(f"concurrency={concurrency!r} is no whole number", "Use 1 or more.")
        if concurrency < 1:
            raise InvalidInput(f"concurrency={concurrency} is below 1", "Use 1 or more.")
        _check_loop()
        ledger = Ledger(total)
        gate = asyncio.Semaphore(concurrency)

        async def one(question: str) -> Answer:
            async with gate:
                return await self.aask(question, mode=mode, budget=budget, parent=ledger)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(question)) for question in questions]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    def with_model(self, llm: LLM) -> Agent:
        """The agent over another model: the same open index and settings, without its checkpoints."""
        return Agent(self.index, llm, self.mode, self.budget, **self._settings)

    def with_price(self, price: Price) -> Agent:
        """The agent at another price: the same open index, model and settings, without its checkpoints."""
        made = Agent(self.index, self.llm, self.mode, self.budget, **{**self._settings, "prices": price})
        made._given = self._given[0], None
        return made

    @property
    def _settings(self) -> dict[str, Any]:
        """The keyword arguments that it was made with, its checkpoints left out."""
        return {name: getattr(self, name) for name in ("seed", "how", "about", "keep_texts", "prices")}

    @functools.cached_property
    def price(self) -> Price | None:
        """Price of the model, as of when it was first asked for; None where it is unknown.

        Asks the endpoint for the model's name (and blocks) where that was not given. Raises `EndpointError`.
        """
        return price_of(self.llm, self.prices)

    @property
    def probe_spend(self) -> Spend:
        """Cost of probing the model's capabilities so far; paid once, so it is in the spend of no answer."""
        spend: Spend = getattr(self.llm, "probe_spend", Spend())
        if not spend.llm_calls:
            return spend
        usage, price = Usage(spend.prompt_tokens, spend.completion_tokens, spend.cached_tokens), self.price
        return replace(spend, usd=price.usd(usage, spend.seconds) if price else None)

    def close(self) -> None:
        """Release the model and the index; in a forked child, what it has of them, which is not the model."""
        if os.getpid() == self._process:
            background.wait(self.llm.aclose())
        self.index.close()

    def __repr__(self) -> str:
        model = self._given[0] or f"<{type(self.llm).__name__}>"  # a name would have to be asked for
        limits = ", ".join(f"{name}={limit:,g}" for name, limit in self.budget.limits.items()) or "no limits"
        return f"Agent({self.index!r}, {model!s}, {spec.label(self.mode)}, {limits})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., Agent], tuple[Any, ...]]:
        specification, checkpoints = self._given
        if isinstance(checkpoints, BaseCheckpointSaver):
            kind = type(checkpoints).__name__
            raise RagscaleError(f"checkpoints={kind} stays in its process", "Give the path of an SQLite file instead.")
        if checkpoints is not None:
            checkpoints = Path(checkpoints).absolute()
        llm = specification or _sendable(
            "model", self.llm, "Make the agent with a specification, such as 'openai:URL#MODEL' or 'embedded'."
        )
        index = _sendable("index", self.index, "Make the agent with the folder of an index, or the URL of a server.")
        again = functools.partial(type(self), **self._settings, checkpoints=checkpoints)
        return again, (index, llm, self.mode, self.budget)

    @contextlib.asynccontextmanager
    async def _saver(self, thread_id: str | None) -> AsyncIterator[BaseCheckpointSaver[Any] | None]:
        if thread_id is None:
            yield None
        elif self._checkpoints is None:
            raise InvalidInput(f"thread_id={thread_id!r} without checkpoints", "Give Agent(checkpoints='runs.sqlite').")
        else:
            async with self._checkpoints.of_run(thread_id) as saver:
                yield saver

    def _identity(self, known: str | None = None) -> dict[str, str]:
        """Fingerprint (`known` of an index that may be lost by now), place and kind of search of the index."""
        inner = getattr(self.index, "index", self.index)
        return {
            "fingerprint": str((known or getattr(self.index, "fingerprint", None)) or ""),
            "source": str(getattr(inner, "url", None) or getattr(inner, "path", None) or ""),
            "how": str(self.how or getattr(self.index, "how", None) or ""),
        }

    def _answer(
        self,
        mode: modes.Mode,
        run: Execution,
        ledger: Ledger,
        index: dict[str, str],
        retrieved: dict[str, Passage],
        prompts: Sent,
    ) -> Answer:
        """The answer of a run that has ended, with the texts that were kept."""
        state = cast(dict[str, Any], run.finished)
        text, stop, reason = state["text"] or "", state["stop"], state["reason"]
        if not text and not stop:
            stop, reason = "failed", f"The mode {mode.name} ended without an answer. Report it to whoever wrote it."
        trace = [Event.from_dict(event) for event in state["trace"]]
        serial = Spend.from_dict(state["serial"])
        citations, passages = list(dict.fromkeys(state["citations"])), {}
        for id in citations:
            # The index of a run that has ended long ago may have lost it; of one that is remote, the server.
            try:
                passages[id] = retrieved.get(id) or self.index.passage(id)
            except (RagscaleError, LookupError) as error:
                trunk = [event for event in trace if not event.branch]
                trace.append(
                    Event(
                        "answer", "", passages=[id], status="failed", id=event_id("", len(trunk)),
                        parent=trunk[-1].id if trunk else "", start=serial.seconds,
                        note=f"the cited passage is not to be had: {error}",
                    )
                )  # fmt: skip
        total = Spend.from_dict(state["total"])
        if stop.startswith("budget:") and (run.lost.tokens or run.lost.queries):
            reason += (
                f" Calls of killed processes count against the limits, too: {run.lost.llm_calls:,} with "
                f"{run.lost.tokens:,} tokens, {run.lost.queries:,} queries."
            )
        counted_by = _caveat(total, ledger.budget, getattr(self.llm, "most_off", None))
        return Answer(
            text=text,
            citations=citations,
            mode=spec.label(mode),
            stop_reason=stop or "answered",
            reason=reason,
            caveat=" ".join(filter(None, [*dict.fromkeys(state["caveats"]), counted_by])),
            spend=AnswerSpend(total, serial, run.lost, ledger.stored),
            trace=trace,
            question=state["question"],
            passages=passages,
            retrieved=retrieved,
            prompts=prompts,
            limits=ledger.budget.limits,
            model=str(run.pins.get("model", "")),
            index=index,
            seed=run.pins["seed"],
            started=run.pins["started"],
            ended=run.ended or now(),
        )


def _check_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RagscaleError(
            "no event loop of asyncio runs here, which aask, abatch and astream need",
            "Call ask, batch or stream, under trio in a thread: trio.to_thread.run_sync(agent.ask, question).",
        ) from None


def _opened(index: Any) -> Index | RemoteIndex | Searching:
    if isinstance(index, str | Path):
        return Index.open(index)
    if not all(hasattr(index, name) for name in ("asearch", "passage", "close")):
        raise InvalidInput(
            f"A {type(index).__name__} is no index", "Give an open Index, the folder of one, or the URL of a server."
        )
    return cast(Index, index)


def _caveat(total: Spend, budget: Budget, most_off: float | None) -> str:
    """Caveat on a token limit: how many tokens are estimates, and how far off estimates were seen to be."""
    off = f" Where the endpoint counted, estimates were up to {most_off:.0%} off." if most_off is not None else ""
    if total.estimated_tokens:
        limit = "" if budget.tokens is None else f", on which the limit of {budget.tokens:,} rests"
        return (
            f"{total.estimated_tokens:,} of {total.tokens:,} tokens are an estimate{limit}: "
            f"the endpoint did not report them, or nothing that can be true.{off}"
        )
    if budget.tokens is not None and total.tokens > budget.tokens:
        return (
            f"The endpoint counted {total.tokens:,} tokens, the limit is {budget.tokens:,}: it wrote more than it was "
            f"allowed, or a prompt had more than was estimated; the notes of the trace tell.{off}"
        )
    return ""


def _sendable(name: str, value: Any, remedy: str) -> Any:
    try:
        ForkingPickler.dumps(value)
    except Exception as error:  # of whatever it holds
        what = f"the agent's {name}, a {type(value).__name__}, cannot be given to another process"
        raise RagscaleError(f"{what} ({type(error).__name__}: {error})", remedy) from None
    return value


def _seed(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise InvalidInput(f"seed={given!r} is no whole number", "Give one, such as 0.")
    return given
