"""An agent inside other frameworks' runs: runnables, tools, graphs with checkpoints. Its run is its own."""

from __future__ import annotations

import asyncio
import operator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from doubles import StubIndex, never_repeating, scripted
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

import ragscale as rs
from ragscale.answer import Answer
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Chain, Mode, Tree

LONG: dict[str, Mode] = {
    "tree": Tree(steps=6, expand=2, samples=2, rollouts=1, rollout_steps=1),
    "chain": Chain(steps=12),
}


def agent(**options: Any) -> rs.Agent:
    return rs.Agent(StubIndex(), options.pop("llm", None) or scripted(), **options)


@pytest.mark.parametrize("mode", LONG.values(), ids=LONG.keys())
@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
class TestTheLimitOfSteps:
    """Of what is around, 25 by default, is not the run's."""

    async def test_of_a_runnable(self, mode: Mode, kept: bool, tmp_path: Path) -> None:
        mine = agent(mode=mode, checkpoints=tmp_path / "runs.sqlite")
        expected = mine.ask("Who?").text
        thread = {"thread_id": "t"} if kept else {}

        async def asynchronous(question: str) -> str:
            return (await mine.aask(question, **thread)).text

        def blocking(question: str) -> str:
            return mine.ask(question, **thread).text

        assert await RunnableLambda(asynchronous).ainvoke("Who?") == expected
        assert await RunnableLambda(blocking).ainvoke("Who?", {"recursion_limit": 3}) == expected
        assert await asyncio.to_thread(RunnableLambda(blocking).invoke, "Who?") == expected

    async def test_of_a_tool_of_a_graph(self, mode: Mode, kept: bool, tmp_path: Path) -> None:
        mine = agent(mode=mode, checkpoints=tmp_path / "runs.sqlite")
        expected = mine.ask("Who?").text

        @tool
        async def look_up(question: str) -> str:
            """Look a question up."""
            return (await mine.aask(question, thread_id="t" if kept else None)).text

        call = {"name": "look_up", "args": {"question": "Who?"}, "id": "1", "type": "tool_call"}
        graph = StateGraph(_Messages)
        graph.add_node("tools", ToolNode([look_up]))
        graph.add_edge(START, "tools")
        outer = graph.compile(checkpointer=InMemorySaver())
        config: Any = {"recursion_limit": 5, "configurable": {"thread_id": "outer"}}
        state = await outer.ainvoke({"messages": [AIMessage("", tool_calls=[call])]}, config)  # type: ignore[list-item]
        assert state["messages"][-1].content == expected


class _Messages(TypedDict):
    messages: Annotated[list[Any], operator.add]


class _Questions(TypedDict, total=False):
    questions: list[str]
    question: str
    answers: Annotated[list[tuple[str, str, int]], operator.add]


QUESTIONS = [f"Question {i}?" for i in range(5)]


class Parent:
    """A graph with checkpoints that asks several questions, in one node or in parallel, and can be made to die."""

    def __init__(self, shape: str, file: Path | None = None) -> None:
        self.calls: list[ScriptedCall] = []
        self.die_at = -1
        """The call of the model at which everything dies; -1 for none: then questions are asked in another order."""
        self.agent = agent(llm=scripted(self._reply), mode=Chain(steps=3), checkpoints=file)
        self.kept = file is not None
        self.threads = iter(range(100))
        graph = StateGraph(_Questions)
        if shape == "one node":
            graph.add_node("ask", self._ask_all)
            graph.add_edge(START, "ask")
        else:
            graph.add_node("ask", self._ask)
            graph.add_conditional_edges(START, self._spread, ["ask"])
        graph.add_edge("ask", END)
        self.saver = InMemorySaver()
        self.graph = graph.compile(checkpointer=self.saver)

    def _reply(self, messages: Any, call: ScriptedCall) -> Any:
        self.calls.append(call)
        if call.index == self.die_at:
            return KeyError("killed")
        return never_repeating(messages, call)

    async def _ask(self, state: _Questions) -> _Questions:
        answer = await self._answer(state["question"])
        return {"answers": [(answer.question, answer.text, answer.spend.total.llm_calls)]}

    async def _ask_all(self, state: _Questions) -> _Questions:
        order = -1 if self.die_at < 0 else 1
        answers = [await self._answer(question) for question in state["questions"][::order]]
        return {"answers": [(a.question, a.text, a.spend.total.llm_calls) for a in answers]}

    async def _answer(self, question: str) -> Answer:
        thread = f"own-{question}" if self.kept else None
        return await self.agent.aask(question, budget=LIMIT, thread_id=thread)

    async def _spread(self, state: _Questions) -> list[Send]:
        return [Send("ask", {"question": question}) for question in state["questions"]]

    async def run(self, questions: list[str] | None) -> list[tuple[str, str, int]]:
        config: Any = {"configurable": {"thread_id": "parent"}}
        state = await self.graph.ainvoke({"questions": questions} if questions else None, config)
        return sorted(map(tuple, state["answers"]))


LIMIT = rs.Budget(llm_calls=6)
"""A chain of two steps, and one call more: that which was in flight at a death is charged to the limit, too."""


@pytest.mark.parametrize("shape", ["one node", "in parallel"])
@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
async def test_a_parent_that_is_killed_and_resumed_gets_each_answer_to_its_question(
    shape: str, kept: bool, tmp_path: Path
) -> None:
    expected = sorted([(q, (await agent(mode=Chain(steps=3)).aask(q, budget=LIMIT)).text, 5) for q in QUESTIONS])
    assert len({text for _, text, _ in expected}) == len(QUESTIONS)
    for at in (0, 3, 4, 11, 17, 24):
        parent = Parent(shape, tmp_path / f"{at}.sqlite" if kept else None)
        parent.die_at = at
        with pytest.raises(KeyError):
            await parent.run(QUESTIONS)
        parent.die_at = -1
        died = len(parent.calls)
        # Asked in another order on the way back, what lay in a checkpoint by the order of calls would be mixed up.
        assert await parent.run(None) == expected
        # Runs that are kept make only those calls again that were in flight; others start anew, each within its limit.
        assert len(parent.calls) <= 25 + (len(QUESTIONS) if kept else died)
        namespaces = {config["configurable"]["checkpoint_ns"] for config, *_ in parent.saver.list(None)}
        assert namespaces == {""}, "the run left something in its parent's checkpoints"


async def test_a_second_call_in_a_node_does_not_see_the_first(tmp_path: Path) -> None:
    """The same question twice, then another, in a parent that streams its children."""
    mine = agent(mode=Chain(steps=2))

    async def ask(state: _Questions) -> _Questions:
        answers = [await mine.aask(q) for q in ("a?", "a?", "b?")]
        return {"answers": [(a.question, a.text, a.spend.total.llm_calls) for a in answers]}

    graph = StateGraph(_Questions)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    config: Any = {"configurable": {"thread_id": "parent"}}
    chunks = [
        chunk
        async for chunk in graph.compile(checkpointer=InMemorySaver()).astream(
            {"questions": []}, config, subgraphs=True, stream_mode=["values", "custom"]
        )
    ]
    assert {namespace for namespace, *_ in chunks} == {()}
    first, second, third = chunks[-1][-1]["answers"]
    assert first == second
    assert first[1] != third[1]


class _Seen(BaseCallbackHandler):
    def __init__(self) -> None:
        self.models = 0

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.models += 1


@pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
async def test_callbacks_of_what_is_around_see_the_calls() -> None:
    """Tracing goes through."""
    model, seen = GenericFakeChatModel(messages=iter([AIMessage("Wollaston")] * 9)), _Seen()
    mine = rs.Agent(StubIndex(), model, "once")

    async def ask(question: str) -> str:
        return (await mine.aask(question)).text

    assert await RunnableLambda(ask).ainvoke("Who?", {"callbacks": [seen]}) == "Wollaston"
    assert seen.models >= 1
