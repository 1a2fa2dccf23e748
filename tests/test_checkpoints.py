"""Runs that are kept: crashes at every place, what a thread is tied to, one call at a time, hostile files, savers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import pickle
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import ormsgpack
import pytest
from conformance import CrashError, crashing, spread, story
from doubles import QUESTION, StubIndex, run, scripted
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph._branch import BranchSpec
from smallworld import PASSAGES, build

import ragscale as rs
from ragscale.answer import Answer
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import Chain, Mode, Once, Parallel, Tree
from ragscale.modes.core.checkpoints import PlainSerializer
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node
from ragscale.modes.core.state import State, Update
from ragscale.types import Event

SMALL: dict[str, Mode] = {
    "once": Once(),
    "chain": Chain(steps=4),
    "parallel": Parallel(rounds=2),
    "tags": Parallel(rounds=2, profile="rag-r1"),
    "tree": Tree(steps=2, expand=2, samples=3, rollouts=2, rollout_steps=1),
}
LIMITS: tuple[dict[str, Any], ...] = ({}, {"tokens": 1_755}, {"llm_calls": 9, "queries": 5})


def agent(**options: Any) -> rs.Agent:
    return rs.Agent(options.pop("index", StubIndex()), options.pop("llm", scripted()), **options)


def outcome(answer: Answer) -> Any:
    return answer.text, answer.citations, answer.stop_reason, answer.reason, story(answer)


class Dying(InMemorySaver):
    """Dies as it is about to write the checkpoint of a step, whose nodes' writes it has."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0
        self.at = 0
        """At which checkpoint; 0 for never."""

    async def aput(self, *arguments: Any, **options: Any) -> Any:
        self.puts += 1
        if self.puts == self.at:
            raise CrashError("killed")
        return await super().aput(*arguments, **options)


@pytest.mark.parametrize("mode", SMALL.values(), ids=SMALL.keys())
@pytest.mark.parametrize("limits", LIMITS, ids=str)
class TestACrash:
    def test_between_a_nodes_writes_and_its_checkpoint(self, mode: Mode, limits: dict[str, Any]) -> None:
        """An empty `next` is no end: it is the same for a run that has closed and for one that died here."""
        budget, counting = rs.Budget(**limits), Dying()
        whole, _ = run(mode, budget=budget, checkpoints=counting, thread="t")
        assert whole.text
        for at in spread(counting.puts, 5):
            saver = Dying()
            saver.at = at + 1
            with pytest.raises(CrashError):
                run(mode, budget=budget, checkpoints=saver, thread="t")
            answer, _ = run(mode, budget=budget, checkpoints=saver, thread="t")
            assert outcome(answer) == outcome(whole)

    def test_at_a_call_leaves_the_closing_answer_its_share(self, mode: Mode, limits: dict[str, Any]) -> None:
        """The share is cut from the budget, not anew from what is left of it."""
        budget, llm = rs.Budget(**limits), scripted()
        whole, _ = run(mode, budget=budget, llm=llm)
        for at in spread(len(llm.calls), 4):
            saver = InMemorySaver()
            with pytest.raises(CrashError):
                run(mode, budget=budget, llm=crashing(at, CrashError("killed")), checkpoints=saver, thread="t")
            with contextlib.suppress(CrashError):  # and again on the way, or where few calls are left, not
                second = crashing((len(llm.calls) - at) // 2, CrashError("killed"))
                run(mode, budget=budget, llm=second, checkpoints=saver, thread="t")
            answer, _ = run(mode, budget=budget, checkpoints=saver, thread="t")
            assert answer.text
            if outcome(answer) != outcome(whole):  # the limits do not pay for the calls that are made again
                assert answer.spend.lost.llm_calls
                assert limits


class Fingerprinted(StubIndex):
    """An index in memory that says which it is."""

    how = "bm25"  # type: ignore[assignment]

    def __init__(self, fingerprint: str, **options: Any) -> None:
        super().__init__(**options)
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        return self._fingerprint


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 2}, "seed 1, not 2"),
    "how": ({"how": "dense"}, "how 'bm25', not 'dense'"),
    "model": ({"llm": scripted(name="other")}, "model 'scripted', not 'other'"),
    "index": ({"index": Fingerprinted("bb")}, "index 'aa', not 'bb'"),
    "mode": (
        {"mode": Chain(steps=3)},
        r"""mode "\.\.\. [^"]{,30}steps=4, [^"]{,80}", not "\.\.\. [^"]{,30}steps=3, [^"]{,80}"\.""",
    ),
    "question": ({"question": "Who else?"}, r"question 'Who is older.*, not 'Who else\?'"),
}


def ask(question: str = QUESTION, *, thread: str = "t", limits: dict[str, Any] | None = None, **options: Any) -> Answer:
    given = {"index": Fingerprinted("aa"), "llm": scripted(), "mode": Chain(steps=4), "seed": 1, **options}
    budget = rs.Budget(**limits) if limits is not None else None
    return asyncio.run(agent(**given).aask(question, budget=budget, thread_id=thread))


def crashed(at: int = 4, **options: Any) -> InMemorySaver:
    saver = InMemorySaver()
    with pytest.raises(KeyError):
        ask(llm=crashing(at, KeyError("boom")), checkpoints=saver, **options)
    return saver


class TestAThread:
    @pytest.mark.parametrize(("other", "told"), OTHERS.values(), ids=OTHERS.keys())
    def test_is_not_resumed_with_something_else(self, other: dict[str, Any], told: str) -> None:
        saver = crashed()
        with pytest.raises(InvalidInput, match=rf"thread_id='t' is a run of {told}.*Use another id"):
            ask(**other, checkpoints=saver)
        assert ask(checkpoints=saver).text == ask(checkpoints=InMemorySaver()).text

    @pytest.mark.parametrize(("other", "told"), [OTHERS[name] for name in OTHERS if name != "index"])
    def test_that_has_ended_does_not_answer_for_something_else(self, other: dict[str, Any], told: str) -> None:
        saver = InMemorySaver()
        ask(checkpoints=saver)
        with pytest.raises(InvalidInput, match=rf"thread_id='t' is a run of {told}"):
            ask(**other, checkpoints=saver)

    def test_that_has_ended_answers_from_what_it_found_in_the_index_of_then(self) -> None:
        saver = InMemorySaver()
        whole = ask(checkpoints=saver)
        assert outcome(ask(index=Fingerprinted("bb"), checkpoints=saver)) == outcome(whole)

    def test_that_has_ended_needs_no_endpoint(self, tmp_path: Path) -> None:
        file = tmp_path / "runs.sqlite"
        whole = ask(llm=scripted(name="m"), checkpoints=file)
        dead = "openai:http://127.0.0.1:9/v1#m"
        assert outcome(ask(llm=dead, checkpoints=file)) == outcome(whole)
        assert outcome(ask(llm="openai:http://127.0.0.1:9/v1", checkpoints=file)) == outcome(whole)

    @pytest.mark.parametrize("question", ["Who\x00 is it?", 'Who is "it"? \\', "誰?", "Who\u2028 is it?"])
    def test_knows_its_question_again(self, question: str) -> None:
        saver = InMemorySaver()
        assert ask(question, checkpoints=saver).text == ask(question, checkpoints=saver).text

    def test_may_be_given_other_limits_but_not_none(self) -> None:
        """A limit that is forgotten would be a run that spends freely."""
        limits = {"tokens": 2_000, "queries": 9}
        saver = crashed(at=2, limits=limits)
        for missing in limits:
            fewer = {name: limit for name, limit in limits.items() if name != missing}
            with pytest.raises(
                InvalidInput, match=rf"is a run with the limit {missing}=.*Give {missing} in the budget"
            ):
                ask(limits=fewer, checkpoints=saver)
        small = ask(limits=limits, checkpoints=InMemorySaver())
        assert small.stop_reason == "budget:tokens"
        large = ask(limits={"tokens": 50_000, "queries": 99, "rounds": 99}, checkpoints=saver)
        assert (large.stop_reason, len(large.trace) > len(small.trace)) == ("answered", True)
        assert large.limits == {"tokens": 50_000, "queries": 99, "rounds": 99}

    def test_that_has_not_ended_is_of_its_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nodes and keys of its state may mean something else; an answer is one in any version."""
        saver = crashed()
        ended = InMemorySaver()
        whole = ask(checkpoints=ended)
        monkeypatch.setattr("ragscale.modes.core.run.__version__", "0.0.9")
        with pytest.raises(
            InvalidInput, match=r"unfinished run of ragscale 0\.1\.0, this is 0\.0\.9.*End it with that"
        ):
            ask(checkpoints=saver)
        assert outcome(ask(checkpoints=ended)) == outcome(whole)
        monkeypatch.undo()
        assert ask(checkpoints=saver).text == whole.text

    @pytest.mark.parametrize("thread", ["", " ", 5, b"t", "half \ud800"])
    def test_has_a_name(self, thread: Any) -> None:
        with pytest.raises(InvalidInput, match=r"thread_id=.* names no run"):
            ask(thread=thread, checkpoints=InMemorySaver())


class TestAnAnswerOfLongAgo:
    def test_outlives_its_passages(self, tmp_path: Path) -> None:
        """The cited passage is gone from the index: it is left out and that is said."""
        (tmp_path / "old").mkdir()
        old, file = build(tmp_path / "old"), tmp_path / "runs.sqlite"
        with agent(index=str(old), mode="once", checkpoints=file) as mine:
            whole = mine.ask("Where does the Seine flow?", thread_id="t")
        assert whole.citations == list(whole.passages)
        (tmp_path / "rest.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in PASSAGES if row["id"] not in whole.citations)
        )
        rs.Index.build([tmp_path / "rest.jsonl"], tmp_path / "new", embedder=None).close()
        with agent(index=str(tmp_path / "new"), mode="once", checkpoints=file) as mine:
            again = mine.ask("Where does the Seine flow?", thread_id="t")
        assert (again.text, again.citations, again.passages) == (whole.text, whole.citations, {})
        *trace, last = again.trace
        assert trace == whole.trace
        assert (last.passages, last.spend.llm_calls) == (whole.citations, 0)
        assert whole.citations[0] in last.note

    @pytest.mark.parametrize("error", [KeyError("p1"), RagscaleError("the server is gone")])
    def test_outlives_whatever_keeps_its_passages_away(self, error: Exception) -> None:
        saver, index = InMemorySaver(), Fingerprinted("aa")
        whole = ask(index=index, checkpoints=saver)

        def passage(_: str) -> Any:
            raise error

        index.passage = passage  # type: ignore[method-assign]
        again = ask(index=index, checkpoints=saver)
        assert (again.text, again.citations, again.passages) == (whole.text, whole.citations, {})


class TestSeveralCallsAtOnce:
    @pytest.mark.parametrize("kept", ["file", "saver"])
    def test_on_one_thread_pay_once(self, tmp_path: Path, kept: str) -> None:
        llm = scripted(delay=0.02)
        place: Any = tmp_path / "runs.sqlite" if kept == "file" else InMemorySaver()

        async def work() -> list[Any]:
            # Two agents of one place.
            agents = [agent(llm=llm, mode=Chain(steps=2), checkpoints=place) for _ in range(2)]
            asks = [agents[i % 2].aask(QUESTION, thread_id="t") for i in range(4)]
            return await asyncio.gather(*asks, return_exceptions=True)

        answers = asyncio.run(work())
        [answer] = [answer for answer in answers if isinstance(answer, Answer)]
        refused = [error for error in answers if isinstance(error, RagscaleError)]
        assert len(refused) == 3
        assert str(refused[0]).startswith("thread_id='t': another call is running it. Wait until that has ended")
        assert len(llm.calls) == answer.spend.total.llm_calls
        again = agent(llm=llm, mode=Chain(steps=2), checkpoints=place).ask(QUESTION, thread_id="t")
        assert (outcome(again), len(llm.calls)) == (outcome(answer), answer.spend.total.llm_calls)
        assert list(tmp_path.glob("*.lock")) == []

    def test_from_several_python_threads_pay_once(self, tmp_path: Path) -> None:
        llm = scripted(delay=0.02)
        mine, done = agent(llm=llm, mode=Chain(steps=2), checkpoints=tmp_path / "runs.sqlite"), []

        def work() -> None:
            try:
                done.append(asyncio.run(mine.aask(QUESTION, thread_id="t")).spend.total.llm_calls)
            except RagscaleError as error:
                done.append(error.problem)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(map(str, done)) == [str(len(llm.calls)), *["thread_id='t': another call is running it"] * 2]

    def test_on_several_threads_all_run(self, tmp_path: Path) -> None:
        mine = agent(llm=scripted(delay=0.01), mode=Chain(steps=2), checkpoints=tmp_path / "runs.sqlite")

        async def work() -> list[Answer]:
            return await asyncio.gather(*(mine.aask(QUESTION, thread_id=f"t{i}") for i in range(4)))

        assert len({answer.text for answer in asyncio.run(work())}) == 1

    def test_in_several_processes_pay_once(self, tmp_path: Path) -> None:
        """The system drops the hold of a process that is killed."""
        file = tmp_path / "runs.sqlite"
        script = (
            "import asyncio, sys\n"
            "from ragscale.modes.core.checkpoints import Checkpoints\n"
            "async def hold():\n"
            "    async with Checkpoints(sys.argv[1]).of_run('t'):\n"
            "        print('held', flush=True); sys.stdin.read()\n"
            "asyncio.run(hold())\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(RagscaleError, match="thread_id='t': another call is running it"):
                ask(checkpoints=file)
            assert ask(checkpoints=file, thread="u").text
            other.kill()
        assert ask(checkpoints=file).text

    def test_a_call_that_is_cancelled_lets_go(self, tmp_path: Path) -> None:
        mine = agent(llm=scripted(delay=3600.0), mode="once", checkpoints=tmp_path / "runs.sqlite")

        async def work() -> None:
            task = asyncio.create_task(mine.aask(QUESTION, thread_id="t"))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(work())
        assert agent(mode="once", checkpoints=tmp_path / "runs.sqlite").ask(QUESTION, thread_id="t").text

    @pytest.mark.parametrize("kept", ["file", "saver"])
    def test_one_that_is_ending_is_waited_for(self, tmp_path: Path, kept: str) -> None:
        """A stream that was closed, or left in the middle, or whose reader was interrupted, lets go a moment later."""
        llm = scripted(delay=0.002)
        place: Any = tmp_path / "runs.sqlite" if kept == "file" else InMemorySaver()
        mine = agent(llm=llm, mode=Chain(steps=2), checkpoints=place)
        whole = agent(llm=scripted(), mode=Chain(steps=2)).ask(QUESTION)

        async def left() -> list[Answer]:
            async for _ in mine.astream(QUESTION, thread_id="t"):
                break
            ended = [await mine.aask(QUESTION, thread_id="t")]
            task = asyncio.create_task(mine.aask(QUESTION, thread_id="u"))
            await asyncio.sleep(0.01)
            task.cancel()
            ended.append(await mine.aask(QUESTION, thread_id="u"))
            return ended

        if kept == "file":  # a saver belongs to its loop
            items = mine.stream(QUESTION, thread_id="s")
            next(items)
            items.close()
            assert outcome(mine.ask(QUESTION, thread_id="s")) == outcome(whole)
        assert [outcome(answer) for answer in asyncio.run(left())] == [outcome(whole)] * 2

    def test_calls_that_are_cancelled_in_the_middle_of_a_write_leave_no_lock(self, tmp_path: Path) -> None:
        """Seen in one of some twenty: whoever came next waited for seconds, and gave up."""
        mine = agent(llm=scripted(delay=0.004), mode=SMALL["tree"], checkpoints=tmp_path / "runs.sqlite")

        async def work(i: int) -> None:
            task = asyncio.create_task(mine.aask(QUESTION, thread_id=f"t{i}"))
            await asyncio.sleep(0.01 + i / 400)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with contextlib.closing(sqlite3.connect(tmp_path / "runs.sqlite", timeout=20)) as other:
                other.execute("BEGIN IMMEDIATE")

        for i in range(60):
            asyncio.run(work(i))


def packed(value: Any) -> tuple[str, bytes]:
    return "msgpack", ormsgpack.packb(value)


def called(code: int, module: str, name: str, *rest: Any) -> Any:
    return ormsgpack.Ext(code, ormsgpack.packb([module, name, *rest]))


class Reduced:
    def __reduce__(self) -> Any:
        return Path.touch, (MARK,)


MARK = Path("was-run")
HOSTILE: dict[str, Callable[[str], tuple[str, bytes]]] = {
    "os.system": lambda mark: packed({"v": called(0, "posix", "system", f"touch {mark}")}),
    "a function of two arguments": lambda mark: packed([called(1, "os", "mkdir", [mark, 0o700])]),
    "keyword arguments": lambda mark: packed(called(2, "subprocess", "call", {"args": ["touch", mark]})),
    "a method": lambda mark: packed(called(3, "pathlib", "Path", mark, "touch")),
    "a pydantic 1 model": lambda mark: packed(called(4, "subprocess", "call", {"args": ["touch", mark]})),
    "a pydantic 2 model": lambda mark: packed(called(5, "subprocess", "call", {"args": ["touch", mark]}, "x")),
    "an import": lambda mark: packed(called(0, "hostile_module", "anything", mark)),
    "inside a Send": lambda mark: packed(
        called(1, "langgraph.types", "Send", ["plan", {"x": called(0, "posix", "system", f"touch {mark}")}])
    ),
    "a type that LangGraph thinks safe": lambda mark: packed(called(0, "pathlib", "PosixPath", mark)),
    "an array": lambda mark: packed(ormsgpack.Ext(6, ormsgpack.packb(["<f8", [1], "C", b"\0" * 8]))),
    "a snapshot": lambda mark: packed(ormsgpack.Ext(7, ormsgpack.packb(1))),
    "an unknown object": lambda mark: packed(ormsgpack.Ext(99, b"x")),
    "a pickle": lambda mark: ("pickle", pickle.dumps(Reduced())),
    "a constructor in JSON": lambda mark: (
        "json", json.dumps({"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "args": [mark]}).encode(),
    ),
    "a LangChain object in JSON": lambda mark: (
        "json", json.dumps({"lc": 1, "type": "constructor", "id": ["langchain", "llms", "OpenAI"]}).encode(),
    ),
    "an unknown format": lambda mark: ("yaml", f"!!python/object/apply:os.system ['touch {mark}']".encode()),
    "bytes": lambda mark: ("bytes", b"x"),
    "no msgpack": lambda mark: ("msgpack", b"\xc1"),
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoints of a `tree` that died with some of its branches done; a module lies about that marks imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "hostile_module.py").write_text("from pathlib import Path\nPath('was-run').touch()\n")
    path = tmp_path / "runs.sqlite"
    with pytest.raises(KeyError):
        ask(mode=SMALL["tree"], llm=crashing(4, KeyError("boom")), checkpoints=path)
    return path


def changed(file: Path, statement: str, *values: Any) -> None:
    with sqlite3.connect(file) as connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


@pytest.mark.parametrize("where", ["checkpoints", "writes"])
@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_is_refused_and_runs_nothing(
    file: Path, where: str, payload: Callable[[str], tuple[str, bytes]]
) -> None:
    column = "checkpoint" if where == "checkpoints" else "value"
    changed(file, f"UPDATE {where} SET type = ?, {column} = ?", *payload(str(MARK)))
    llm = scripted()
    with pytest.raises(RagscaleError, match=r"thread_id='t': its checkpoints cannot be read .*Use another id"):
        ask(mode=SMALL["tree"], llm=llm, checkpoints=file)
    assert not MARK.exists()
    assert "hostile_module" not in sys.modules
    assert llm.calls == []


def test_what_a_hostile_file_names_is_told(file: Path) -> None:
    changed(file, "UPDATE checkpoints SET type = ?, checkpoint = ?", *HOSTILE["os.system"](str(MARK)))
    with pytest.raises(RagscaleError, match=r"cannot be read \(an object, 'posix.system'\)"):
        ask(mode=SMALL["tree"], checkpoints=file)


@pytest.mark.parametrize("value", [None, 7, [1, 2], {"v": 4, "id": "x"}, {"v": 4, "id": "zz", "channel_values": 5}])
def test_plain_values_that_are_no_checkpoint_are_refused(file: Path, value: Any) -> None:
    changed(file, "UPDATE checkpoints SET type = ?, checkpoint = ?", *packed(value))
    with pytest.raises(RagscaleError, match="thread_id='t': its checkpoints cannot be read"):
        ask(mode=SMALL["tree"], checkpoints=file)


@pytest.mark.parametrize(
    "metadata",
    ["", "[]", "7", "{", '{"ragscale": 5}', '{"ragscale": "[]"}', '{"ragscale": "{\\"limits\\": 3}"}', "null"],
)
def test_metadata_that_ragscale_did_not_write_is_refused(file: Path, metadata: str) -> None:
    changed(file, "UPDATE checkpoints SET metadata = ?", metadata)
    with pytest.raises(RagscaleError, match="thread_id='t'"):
        ask(mode=SMALL["tree"], checkpoints=file)


@pytest.mark.parametrize(
    "values",
    [
        {"total": "x"}, {"total": {"llm_calls": "x"}}, {"serial": {"nothing": 1}}, {"trace": [5]}, {"trace": {}},
        {"text": 5}, {"stop": None}, {"citations": "p1"}, {"total": {"seconds": None}},
        {"total": {"prompt_tokens": float("inf")}}, {"serial": {"seconds": float("nan")}}, {"total": {"queries": -1}},
    ],
    ids=str,
)  # fmt: skip
def test_values_that_make_no_answer_are_refused(file: Path, values: dict[str, Any]) -> None:
    serializer = PlainSerializer()
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM writes")
        for id, kind, data in connection.execute("SELECT checkpoint_id, type, checkpoint FROM checkpoints").fetchall():
            checkpoint = serializer.loads_typed((kind, data))
            checkpoint["channel_values"] |= values
            changed = serializer.dumps_typed(checkpoint)[1]
            connection.execute("UPDATE checkpoints SET checkpoint = ? WHERE checkpoint_id = ?", (changed, id))
    connection.close()
    with pytest.raises(RagscaleError, match="thread_id='t': its checkpoints cannot be read"):
        ask(mode=SMALL["tree"], checkpoints=file)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"lost": {"prompt_tokens": 1e999}, "open": {}}', "prompt_tokens is inf"),
        ('{"lost": {"prompt_tokens": NaN}, "open": {}}', "prompt_tokens is nan"),
        ('{"lost": {"prompt_tokens": -15000}, "open": {}}', "prompt_tokens is -15000"),
        ('{"lost": {"queries": 0.5}, "open": {}}', "queries is 0.5"),
        ('{"lost": {"llm_calls": 1e300}, "open": {}}', r"llm_calls is 1e\+300"),
        ('{"lost": {"completion_tokens": "7"}, "open": {}}', "completion_tokens is '7'"),
        ('{"lost": {"seconds": -1.5}, "open": {}}', "seconds is -1.5"),
        ('{"lost": {"usd": Infinity}, "open": {}}', "usd is inf"),
        ('{"lost": {"rounds": [1]}, "open": {}}', "rounds is a list"),
        ('{"lost": {"rounds": true}, "open": {}}', "rounds is True"),
        ("[]", "TypeError"),
        ("{}", "KeyError"),
    ],
)
def test_a_line_that_holds_no_costs_is_refused(file: Path, line: str, told: str) -> None:
    metadata = json.dumps({"source": "update", "step": -1, "parents": {}, "ragscale_line": line})
    changed(file, "UPDATE checkpoints SET metadata = ? WHERE checkpoint_ns = 'ragscale.line'", metadata)
    llm = scripted()
    with pytest.raises(RagscaleError, match=rf"thread_id='t': its checkpoints cannot be read \(.*{told}"):
        ask(mode=SMALL["tree"], llm=llm, checkpoints=file, limits={"tokens": 4_000})
    assert llm.calls == []


def test_checkpoints_that_another_program_wrote_are_told(tmp_path: Path) -> None:
    """A thread of a graph of the user's own, in the same saver."""
    saver, graph = InMemorySaver(), StateGraph(dict)
    graph.add_node("own", lambda state: {"x": 1})
    graph.add_edge(START, "own")
    graph.compile(checkpointer=saver).invoke({"x": 0}, {"configurable": {"thread_id": "t"}})
    with pytest.raises(RagscaleError, match="thread_id='t'"):
        ask(checkpoints=saver)


class Odd(Mode):
    """Ends without an answer, keeps what is no plain value, or never ends."""

    name = "odd"
    update: Any = None
    forever = False

    def graph(self) -> StateGraph[Any, Any, Any, Any]:
        @node
        async def step(moves: Moves, state: State) -> Update:
            return self.update or {}

        async def after(state: State) -> str:
            return "step" if self.forever else END

        graph = StateGraph(State, rs.modes.core.calls.Context)  # type: ignore[attr-defined]
        graph.add_node("step", step)
        graph.add_edge(START, "step")
        graph.add_conditional_edges("step", after, ["step", END])
        return graph


@pytest.mark.parametrize("update", [{}, {"text": ""}, {"text": None}], ids=str)
def test_a_mode_that_ends_without_an_answer_has_failed(update: Update) -> None:
    mode, saver = type("Ending", (Odd,), {"update": update})(), InMemorySaver()
    for _ in range(2):
        answer = ask(mode=mode, checkpoints=saver)
        assert (answer.text, answer.stop_reason) == ("", "failed")
        assert answer.reason.startswith("The mode odd ended without an answer")


def test_a_mode_that_never_ends_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragscale.modes.core.run._STEPS", 50)
    answer = agent(mode=type("Endless", (Odd,), {"forever": True})()).ask(QUESTION)
    assert (answer.text, answer.stop_reason) == ("", "failed")


@pytest.mark.parametrize("value", [{1, 2}, Path("x"), Event("plan", ""), 1j, 2**70], ids=str)
def test_a_mode_that_keeps_what_is_not_plain_is_told_when_it_writes_it(tmp_path: Path, value: Any) -> None:
    mode = type("Unplain", (Odd,), {"update": {"known": value}})()
    with pytest.raises(RagscaleError, match="a state that no checkpoint can keep"):
        ask(mode=mode, checkpoints=tmp_path / "runs.sqlite")


class TestSavers:
    def test_without_asynchronous_methods_are_refused_when_given(self, tmp_path: Path) -> None:
        class Half(InMemorySaver):
            aput = BaseCheckpointSaver.aput

        connection = sqlite3.connect(tmp_path / "x.sqlite", check_same_thread=False)
        for saver in (SqliteSaver(connection), BaseCheckpointSaver(), Half()):
            with pytest.raises(
                InvalidInput, match=rf"{type(saver).__name__}\(...\) has no asynchronous.*AsyncSqliteSaver"
            ):
                agent(checkpoints=saver)
        connection.close()

    async def test_of_a_users_own_are_used(self, tmp_path: Path) -> None:
        class InThreads(SqliteSaver):
            """A blocking saver that its owner made asynchronous."""

            async def aget_tuple(self, config: Any) -> Any:
                return await asyncio.to_thread(self.get_tuple, config)

            async def aput(self, *arguments: Any) -> Any:
                return await asyncio.to_thread(self.put, *arguments)

            async def aput_writes(self, *arguments: Any) -> None:
                await asyncio.to_thread(self.put_writes, *arguments)

        connection = sqlite3.connect(tmp_path / "x.sqlite", check_same_thread=False)
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "y.sqlite")) as saver:
            for own in (saver, InThreads(connection)):
                llm = scripted()
                mine = agent(llm=llm, checkpoints=own)
                answer = await mine.aask(QUESTION, thread_id="t")
                before = len(llm.calls)
                assert (await mine.aask(QUESTION, thread_id="t")).text == answer.text
                assert len(llm.calls) == before
        connection.close()

    @pytest.mark.parametrize("nowhere", ["", ":memory:", "a\0b", 5, True, object()])
    def test_and_places_that_keep_nothing_are_refused(self, nowhere: Any) -> None:
        with pytest.raises(InvalidInput, match=r"checkpoints=.* keeps no runs. Give the path of an SQLite file"):
            agent(checkpoints=nowhere)

    async def test_are_used_in_one_event_loop(self, tmp_path: Path) -> None:
        """Their locks are of the loop in which they were used first: in another, they fail now and then."""
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "x.sqlite")) as saver:
            mine = agent(mode="once", checkpoints=saver)
            answer = await mine.aask(QUESTION, thread_id="t")
            for asked in (mine, agent(mode="once", checkpoints=saver)):
                with pytest.raises(InvalidInput, match=r"AsyncSqliteSaver\(...\) belongs to the event loop.*Use aask"):
                    await asyncio.to_thread(asked.ask, QUESTION, thread_id="u")
            assert (await mine.aask(QUESTION, thread_id="t")).text == answer.text
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "y.sqlite")) as saver:
            mine = agent(mode="once", checkpoints=saver)
            for thread in ("t", "u"):
                assert (await asyncio.to_thread(mine.ask, QUESTION, thread_id=thread)).text == answer.text


class Failing(InMemorySaver):
    """Fails at one of its writes."""

    def __init__(self, method: str, at: int, error: Exception) -> None:
        super().__init__()
        self.method, self.at, self.error = method, at, error
        self.count = 0

    def check(self, method: str) -> None:
        self.count += method == self.method
        if method == self.method and self.count == self.at:
            raise self.error

    async def aput(self, *arguments: Any, **options: Any) -> Any:
        self.check("aput")
        return await super().aput(*arguments, **options)

    async def aput_writes(self, *arguments: Any, **options: Any) -> None:
        self.check("aput_writes")
        await super().aput_writes(*arguments, **options)


class TestASaverThatFails:
    """Its failure is neither a model's nor an index's, without which a mode goes on to an answer."""

    @pytest.mark.parametrize("error", [TimeoutError("db slow"), RuntimeError("db odd")])
    @pytest.mark.parametrize("method", ["aput", "aput_writes"])
    @pytest.mark.parametrize("mode", [SMALL["chain"], SMALL["tree"]], ids=["chain", "tree"])
    def test_is_told_and_the_same_call_goes_on(self, mode: Mode, method: str, error: Exception) -> None:
        sound = Failing(method, 0, error)
        whole = ask(mode=mode, checkpoints=sound)
        for at in spread(sound.count, 4):
            saver = Failing(method, at + 1, error)
            with pytest.raises(
                RagscaleError, match=rf"'t': checkpoints=Failing\(...\) failed \(.*{error}\).*same call"
            ):
                ask(mode=mode, checkpoints=saver)
            again = ask(mode=mode, checkpoints=saver)
            assert outcome(again) == outcome(whole)

    def test_to_read_is_no_damage(self) -> None:
        class Unread(InMemorySaver):
            async def aget_tuple(self, config: Any) -> Any:
                raise ConnectionError("db gone")

        with pytest.raises(RagscaleError, match=r"checkpoints=Unread\(...\) failed \(ConnectionError: db gone\)"):
            ask(checkpoints=Unread())

    def test_or_a_place_that_takes_no_file_is_not_another_call(self) -> None:
        if not Path("/proc/self").exists():
            pytest.skip("no /proc")
        with pytest.raises(RagscaleError, match=r"checkpoints '/proc/x.sqlite': .*Give a file"):
            ask(checkpoints="/proc/x.sqlite")


class TestACancellation:
    """A run is cut off while a node's conditional edge is read: its node had written, and had not said what follows."""

    @pytest.mark.parametrize("kept", ["file", "saver"])
    @pytest.mark.parametrize("mode", [Chain(steps=3), Parallel(rounds=2)], ids=["chain", "parallel"])
    async def test_between_a_node_and_its_edge(self, mode: Mode, kept: str, tmp_path: Path) -> None:
        index = StubIndex()
        whole = await agent(index=index, mode=mode).aask(QUESTION)
        original = BranchSpec._aroute
        for at in range(1, 4):
            saver = InMemorySaver() if kept == "saver" else tmp_path / f"{at}.sqlite"
            asked = agent(index=index, mode=mode, checkpoints=saver)
            edges = itertools.count(1)
            reached = asyncio.Event()

            async def stopping(*arguments: Any, **options: Any) -> Any:
                if next(edges) == at:  # noqa: B023
                    reached.set()  # noqa: B023
                    await asyncio.sleep(60)
                return await original(*arguments, **options)

            with mock.patch.object(BranchSpec, "_aroute", stopping):
                task = asyncio.create_task(asked.aask(QUESTION, thread_id="t"))
                await reached.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            answer = await asked.aask(QUESTION, thread_id="t")
            assert outcome(answer) == outcome(whole)
            again = await asked.aask(QUESTION, thread_id="t")
            assert outcome(again) == outcome(whole)


def test_what_differs_is_shown_and_little_more() -> None:
    """Long questions, modes and settings: the words around the difference, not the whole of both."""
    saver = InMemorySaver()
    long = "Which of the directors of the two films " + "that were shown in that year " * 40 + "was born first"
    ask(f"{long}, A?", checkpoints=saver)
    with pytest.raises(InvalidInput) as caught:
        ask(f"{long}, B?", checkpoints=saver)
    assert caught.value.problem == (
        "thread_id='t' is a run of question '... year was born first, A?', not '... year was born first, B?'"
    )
    with pytest.raises(InvalidInput) as caught:
        ask("Who? " * 500, checkpoints=saver, mode=Chain(steps=3))
    assert len(str(caught.value)) < 600


def test_a_thread_belongs_to_the_program_that_computes_its_model() -> None:
    saver = InMemorySaver()
    ask(checkpoints=saver, llm=by("llama.cpp"))
    with pytest.raises(InvalidInput, match=r"is a run of runtime 'llama\.cpp', not 'openvino'"):
        ask(checkpoints=saver, llm=by("openvino"))
    assert ask(checkpoints=saver, llm=by("llama.cpp")).text


def by(runtime: str) -> ScriptedLLM:
    model = scripted()
    model.runtime = runtime  # type: ignore[attr-defined]
    return model
