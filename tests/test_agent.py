"""`Agent`: asking from scripts, loops and threads; streams, batches, checkpoints and clear errors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from conformance import check, crashing
from doubles import QUESTION, StubIndex, never_repeating, run, scripted, virtually
from langgraph.checkpoint.memory import InMemorySaver

import ragscale as rs
from ragscale.answer import Answer
from ragscale.errors import EndpointError, InvalidInput
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.modes import Chain, Mode, Once, Parallel, Tree
from ragscale.types import Event, Spend


def agent(**options: Any) -> rs.Agent:
    return rs.Agent(options.pop("index", StubIndex()), options.pop("llm", scripted()), **options)


class TestAModelThatEndsTheProgram:
    """`sys.exit` and Ctrl-C inside a model object: the event loop of all blocking calls outlives them."""

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
    @pytest.mark.parametrize("mode", [Once(), Parallel(rounds=2), Tree(steps=1)], ids=["once", "parallel", "tree"])
    @pytest.mark.parametrize("how", ["ask", "stream", "batch"])
    def test_ends_the_caller_and_no_other(self, error: BaseException, mode: Mode, how: str) -> None:
        def asked(mine: rs.Agent) -> Answer:
            if how == "stream":
                return cast(Answer, list(mine.stream(QUESTION))[-1])
            return mine.ask(QUESTION) if how == "ask" else mine.batch([QUESTION])[0]

        found: list[BaseException | Answer] = []

        def work() -> None:
            try:
                asked(agent(llm=crashing(0, error), mode=mode))
            except BaseException as raised:
                found.append(raised)
            found.append(asked(agent(mode=mode)))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(60)
        assert [type(item) for item in found] == [type(error), Answer]


class TestAsking:
    def test_from_a_script(self) -> None:
        with agent(mode="once") as mine:
            answer = mine.ask("Who?")
        assert isinstance(answer, Answer)
        assert (answer.mode, answer.question, answer.stop_reason) == ("once", "Who?", "answered")
        assert answer.text.startswith("answer w")
        assert mine.llm.closed

    def test_a_seed_of_the_call_is_that_of_an_agent(self, tmp_path: Path) -> None:
        """It decides the samples, stands in the answer and belongs to the run of a thread."""
        mode, kept = "vote(of=chain(steps=1), n=2)", tmp_path / "runs.sqlite"
        llm = scripted()
        with agent(mode=mode, llm=llm, checkpoints=kept) as mine, agent(mode=mode, seed=7) as other:
            first, answer = mine.ask("Who?"), mine.ask("Who?", seed=7, thread_id="one")
            asked = [call.seed for call in llm.calls]
            assert (first.seed, answer.seed) == (0, 7)
            assert set(asked[: len(asked) // 2]).isdisjoint(asked[len(asked) // 2 :])
            assert answer.trace[1].to_dict()["output"] == other.ask("Who?").trace[1].to_dict()["output"]
            assert mine.ask("Who?", seed=7, thread_id="one").text == answer.text
            with pytest.raises(InvalidInput, match="is a run of seed 7, not 0"):
                mine.ask("Who?", thread_id="one")
            with pytest.raises(InvalidInput, match="seed='x' is no whole number"):
                mine.ask("Who?", seed="x")  # type: ignore[arg-type]

    async def test_from_a_running_loop(self) -> None:
        """As in a notebook: the cell blocks, the run goes on in a thread of its own."""
        answer = agent(mode="once").ask("Who?")
        assert answer.text == (await agent(mode="once").aask("Who?")).text

    def test_from_several_threads_at_once(self) -> None:
        mine = agent(mode=Chain(steps=2))
        alone = {question: mine.ask(question).text for question in map(str, range(6))}
        answers: dict[str, str] = {}

        def work(question: str) -> None:
            answers[question] = mine.ask(question).text

        threads = [threading.Thread(target=work, args=(question,)) for question in alone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert answers == alone

    def test_from_loops_in_several_threads(self) -> None:
        mine = agent(mode=Tree(steps=1, expand=2, samples=2))
        expected = mine.ask("Who?").text
        found: list[str] = []

        def work() -> None:
            found.append(asyncio.run(mine.aask("Who?")).text)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [expected] * 4

    def test_mode_and_budget_of_a_call_replace_the_agents(self) -> None:
        mine = agent(mode="once", budget=rs.Budget(llm_calls=5))
        assert mine.ask("Who?").mode == "once"
        assert mine.ask("Who?", mode="chain").spend.total.llm_calls <= 5
        answer = mine.ask("Who?", mode=rs.modes.Chain(steps=2, question_k=0), budget=rs.Budget())
        assert (answer.mode, answer.spend.total.llm_calls) == ("chain(question_k=0, steps=2)", 5)
        assert mine.ask("Who?", budget=rs.Budget(llm_calls=0)).text == ""

    @pytest.mark.parametrize("question", ["", "  \n", "\u200b", "\ufeff \u2060", "\0", "\u00ad\u200e", None, 3])
    def test_no_question_is_refused(self, question: Any) -> None:
        with pytest.raises(InvalidInput, match="The question is"):
            agent().ask(question)

    def test_an_unknown_mode_suggests_the_nearest(self) -> None:
        with pytest.raises(InvalidInput, match=r"Unknown mode 'chian'. Did you mean 'chain'\? Modes: direct, once"):
            agent(mode="chian")
        with pytest.raises(InvalidInput, match=r"Unknown mode 'zzz'. Modes: direct"):
            agent().ask("Who?", mode="zzz")

    def test_a_mode_as_text_has_parameters_as_on_the_command_line(self) -> None:
        mine = agent(mode="chain(steps=1, question_k=0)")
        assert mine.mode == Chain(steps=1, question_k=0)
        assert len(mine.ask("Who?", mode="once(k=3)").trace[0].passages) == 3
        with pytest.raises(InvalidInput, match=r"chain has no parameter 'step'. Did you mean 'steps'\?"):
            agent(mode="chain(step=1)")

    def test_a_mode_that_is_none_says_what_would_do(self) -> None:
        with pytest.raises(InvalidInput, match=r"mode=Chain is a class. Give an object: Chain\(\)\."):
            agent(mode=rs.modes.Chain)
        with pytest.raises(InvalidInput, match=r"mode=\['chain'\] is no mode"):
            agent().ask("Who?", mode=["chain"])  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"budget": {"tokens": 5}}, "budget={'tokens': 5} is no Budget"),
            ({"budget": 0}, "budget=0 is no Budget"),
            ({"index": None}, "A NoneType is no index"),
            ({"index": ["indexes/demo"]}, "A list is no index"),
            ({"seed": "x"}, "seed='x' is no whole number"),
            ({"seed": 1.5}, "seed=1.5 is no whole number"),
            ({"how": "nonsense"}, "unknown kind of search 'nonsense'. Choose one of: hybrid, dense, bm25."),
            ({"checkpoints": 5}, "checkpoints=5 keeps no runs"),
        ],
    )
    def test_what_an_agent_cannot_be_made_of_is_refused_at_once(self, options: dict[str, Any], problem: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            agent(**options)
        assert problem in str(refused.value)
        assert refused.value.remedy

    @pytest.mark.parametrize("budget", [5, 0, {}, {"tokens": 5}])
    def test_a_budget_of_a_call_that_is_none_is_refused(self, budget: Any) -> None:
        for ask in (agent().ask, lambda question, budget: agent().batch([question], budget=budget)):
            with pytest.raises(InvalidInput, match=r"budget=.* is no Budget. Give one, as in Budget\(tokens=4000\)\."):
                ask("Who?", budget=budget)

    def test_threads_need_a_place_to_be_kept(self) -> None:
        with pytest.raises(InvalidInput, match=r"thread_id='t' without checkpoints. Give Agent\(checkpoints="):
            agent().ask("Who?", thread_id="t")

    def test_an_index_by_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "corpus.jsonl").write_text('{"id": "a", "title": "Jaws", "text": "A film by Steven Spielberg."}\n')
        rs.Index.build([tmp_path / "corpus.jsonl"], tmp_path / "index", embedder=None).close()
        with rs.Agent(str(tmp_path / "index"), scripted(), "once") as mine:
            answer = mine.ask("a film by Spielberg")
        assert (answer.citations, answer.passages["a"].title) == (["a"], "Jaws")


class TestStreams:
    def test_events_come_as_they_happen_and_the_answer_last(self) -> None:
        """The model is held at its third call until the events before it were seen."""
        seen = threading.Event()

        async def hold(_: float) -> None:
            while not seen.is_set():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.001)

        llm = scripted(delay=lambda call: float(call.index == 2), sleep=hold)
        items = agent(llm=llm, mode=Chain(steps=2, question_k=0)).stream(QUESTION)
        early = [next(items) for _ in range(3)]
        assert [item.move for item in early if isinstance(item, Event)] == ["plan", "retrieve", "read"]
        seen.set()
        *events, answer = items
        assert isinstance(answer, Answer)
        assert [*early, *events] == answer.trace

    def test_of_parallel_branches_hold_every_event_of_the_trace(self) -> None:
        *events, answer = agent(mode=Tree(steps=2, expand=3, samples=3)).stream(QUESTION)
        assert isinstance(answer, Answer)
        assert sorted(map(repr, events)) == sorted(map(repr, answer.trace))

    def test_closing_one_early_cancels_the_run(self) -> None:
        llm = scripted(delay=lambda call: 3600.0 if call.index else 0.0)
        items = agent(llm=llm, mode=Chain(question_k=0)).stream(QUESTION)
        next(items)
        _until(lambda: llm.running == 1)
        items.close()
        _until(lambda: llm.running == 0)

    async def test_closing_an_asynchronous_one_early_leaves_nothing_running(self) -> None:
        llm, parent = scripted(delay=lambda call: 3600.0 if call.index else 0.0), rs.Ledger()
        stream = agent(llm=llm, mode=Tree(question_k=0)).astream(QUESTION, parent=parent)
        async with contextlib.aclosing(stream) as items:
            async for _ in items:
                break
        assert (llm.running, parent.held) == (0, Spend())
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    def test_errors_reach_the_reader(self) -> None:
        with pytest.raises(InvalidInput, match="The question is"):
            next(agent().stream(""))
        with pytest.raises(KeyError):
            list(agent(llm=scripted(lambda messages, call: KeyError("bug"))).stream("Who?"))


class TestBatches:
    def test_keep_the_order_of_the_questions(self) -> None:
        """The first question takes longest."""
        questions = [f"Question {i}?" for i in range(7)]
        delays = {question: 0.07 - 0.01 * i for i, question in enumerate(questions)}

        def delay(call: ScriptedCall) -> float:
            return next(seconds for question, seconds in delays.items() if question in call.messages[-1]["content"])

        answers = agent(llm=scripted(delay=delay), mode="once").batch(questions, concurrency=4)
        assert [answer.question for answer in answers] == questions
        assert len({answer.text for answer in answers}) == 7
        assert agent().batch([]) == []

    def test_share_a_total_that_holds(self) -> None:
        total = rs.Budget(llm_calls=20, tokens=6_000)

        async def work() -> list[Answer]:
            return await agent(llm=scripted(delay=1.0), mode=Chain()).abatch(["a?", "b?", "c?", "d?"], total=total)

        answers = virtually(work)
        spent = sum((answer.spend.total for answer in answers), Spend())
        assert spent.llm_calls <= 20
        assert spent.tokens <= 6_000
        assert all(answer.text for answer in answers)
        assert any(answer.stop_reason.startswith("budget:") for answer in answers)

    def test_a_question_without_a_share_says_so(self) -> None:
        answers = agent(mode="once").batch(["a?", "b?", "c?"], total=rs.Budget(llm_calls=2), concurrency=1)
        assert [bool(answer.text) for answer in answers] == [True, True, False]
        assert (answers[2].stop_reason, answers[2].trace) == ("budget:llm_calls", [])

    @pytest.mark.parametrize("mode", [Once(), Chain(steps=2), Parallel(rounds=2), Tree(steps=1)], ids=str)
    def test_no_question_takes_the_closing_share_of_another(self, mode: rs.modes.Mode) -> None:
        """Counting tokens takes time here, as it does over HTTP: others run between release and reservation."""

        async def work() -> tuple[list[Answer], rs.Ledger]:
            llm = scripted()
            count = llm.count_tokens

            async def slowly(messages: Any) -> int:
                await asyncio.sleep(0.1)
                return await count(messages)

            llm.count_tokens = slowly  # type: ignore[method-assign]
            mine, total = agent(llm=llm, mode=mode), rs.Ledger(rs.Budget(tokens=4_200))
            answers = await asyncio.gather(*(mine.aask(f"Question {i}?", parent=total) for i in range(4)))
            return list(answers), total

        answers, total = virtually(work)
        assert all(answer.text.startswith("answer w") for answer in answers)
        assert total.held == Spend()
        assert total.spent.tokens == sum(answer.spend.total.tokens for answer in answers) <= 4_200

    def test_errors_are_raised_as_they_are(self) -> None:
        with pytest.raises(InvalidInput, match="The question is ''"):
            agent(mode="once").batch(["a?", "", "c?"])
        with pytest.raises(InvalidInput, match="concurrency=0 is below 1"):
            agent().batch(["a?"], concurrency=0)
        with pytest.raises(InvalidInput, match="concurrency='2' is no whole number"):
            agent().batch(["a?"], concurrency="2")  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="budget=5 is no Budget"):
            agent().batch([], total=5)  # type: ignore[arg-type]
        for odd in (None, 5, b"abc", {"q": "a?"}):
            with pytest.raises(InvalidInput, match=rf"questions is a {type(odd).__name__}. Give a list"):
                agent().batch(odd)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match=r"questions is one string \('abc'\). Give a list"):
            agent().batch("abc")
        llm = scripted()
        llm._capabilities = None  # type: ignore[assignment]

        async def dead() -> Capabilities:
            raise EndpointError("nobody there")

        llm.capabilities = dead  # type: ignore[method-assign]
        with pytest.raises(EndpointError, match="nobody there"):
            agent(llm=llm, mode="once").batch(["a?", "b?"])


class TestResuming:
    def test_with_a_smaller_budget_reports_what_was_spent(self) -> None:
        """The earlier cost stays visible, and the passages found are not thrown away."""
        saver = InMemorySaver()

        def crash(messages: Any, call: ScriptedCall) -> Any:
            return KeyError("bug") if call.index == 4 else never_repeating(messages, call)

        with pytest.raises(KeyError):
            run(Chain(question_k=0), llm=scripted(crash), checkpoints=saver, thread="t")
        answer, ledger = run(Chain(question_k=0), checkpoints=saver, thread="t", budget=rs.Budget(llm_calls=2))
        assert answer.stop_reason == "budget:llm_calls"
        assert (answer.spend.total.llm_calls, ledger.spent.llm_calls) == (4, 0)
        assert sum((event.spend for event in answer.trace), Spend()).llm_calls == 4
        assert answer.text.startswith("fact ")

    def test_a_run_that_crashed_before_its_first_move(self) -> None:
        saver = InMemorySaver()
        broken = StubIndex(lambda query: None)  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError):
            run(Once(), index=broken, checkpoints=saver, thread="t")
        answer, ledger = run(Once(), checkpoints=saver, thread="t")
        check(answer, ledger, rs.Budget())
        assert answer.stop_reason == "answered"

    @pytest.mark.parametrize("content", [None, b"no database, but long enough to be read as one " * 40])
    def test_checkpoints_that_cannot_be_kept_are_named(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "nosuch" / "x.sqlite" if content is None else tmp_path / "x.sqlite"
        if content:
            path.write_bytes(content)
        mine = agent(mode="once", checkpoints=path)
        with pytest.raises(rs.RagscaleError, match=rf"checkpoints '{path}': .*Give a file of earlier checkpoints"):
            mine.ask("Who?", thread_id="t")


class TestLoading:
    def test_is_before_the_clock_and_once(self) -> None:
        """An embedder that takes a minute leaves a question of ten seconds its ten seconds."""
        index = StubIndex()
        found, loads = index.asearch, []

        async def asearch(queries: Any, k: int = 10, how: Any = None) -> Any:
            if not queries:
                loads.append(how)
                await asyncio.sleep(60)
            return await found(queries, k, how)

        index.asearch = asearch  # type: ignore[method-assign]
        mine = agent(index=index, mode="once", how="bm25")

        async def work() -> list[Answer]:
            return [await mine.aask(question, budget=rs.Budget(seconds=10)) for question in ("Who?", "When?")]

        for answer in virtually(work):
            assert (answer.stop_reason, len(answer.trace[0].passages)) == ("answered", 5)
        assert loads == ["bm25"]

    def test_a_search_that_the_index_has_not_is_told_before_the_model_is_asked(self, tmp_path: Path) -> None:
        (tmp_path / "corpus.jsonl").write_text('{"id": "a", "title": "Jaws", "text": "A film by Steven Spielberg."}\n')
        with rs.Index.build([tmp_path / "corpus.jsonl"], tmp_path / "index", embedder=None) as index:
            mine = agent(index=index, llm="openai:http://127.0.0.1:9/v1#m", how="dense")
            with pytest.raises(InvalidInput, match="dense search needs vectors"):
                mine.ask("Who?")


def test_a_blocking_call_on_the_loop_that_does_its_work_says_so() -> None:
    """As from a model of the user's own that asks another agent: it waited for ever."""
    inner = agent(mode="once")

    class Asking(ScriptedLLM):
        async def generate(self, messages: Any, **settings: Any) -> Any:
            return inner.ask("Inner?")

    answer = agent(llm=Asking("blue"), mode="once").ask("Who?")
    assert (answer.stop_reason, answer.text) == ("failed", "")
    assert "would wait for ever" in answer.reason
    assert "aask" in answer.reason


@pytest.mark.parametrize("call", ["aask", "abatch"])
def test_a_loop_that_is_not_asyncios_says_so(call: str) -> None:
    """As trio's, which drives coroutines by itself."""
    with pytest.raises(rs.RagscaleError, match=r"no event loop of asyncio runs here.*trio.to_thread"):
        getattr(agent(mode="once"), call)("Who?" if call == "aask" else ["Who?"]).send(None)


def test_a_parent_that_is_no_ledger_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"parent=Budget\(tokens=5\) is no Ledger"):
        asyncio.run(agent().aask("Who?", parent=rs.Budget(tokens=5)))  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_told_and_can_make_an_agent_of_its_own() -> None:
    mine = agent(mode="once")
    expected = mine.ask("Who?").text
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with contextlib.suppress(Exception), mine:
                try:
                    mine.ask("Who?")
                except rs.RagscaleError as error:
                    os.write(writer, f"{error}|".encode())
            os.write(writer, agent(mode="once").ask("Who?").text.encode())
        finally:
            os._exit(0)
    os.close(writer)
    ended = _ends(child)
    told, _, answer = os.read(reader, 10_000).decode().partition("|")
    assert ended, f"the child hangs, after {told!r}"
    assert told.startswith("the agent was made before this process was forked. Make it in the child")
    assert answer == expected == mine.ask("Who?").text


def _ends(child: int) -> bool:
    """Whether a child ends within twenty seconds; it is killed if not."""
    for _ in range(200):
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _until(true: Callable[[], bool]) -> None:
    """Wait for another thread; the test's own time-out guards against forever."""
    while not true():
        time.sleep(0.005)
