"""An agent inside LangChain's and LangGraph's own agents; the page on it runs as it stands.

That an agent's run is not one with the graph around it is `tests/test_nested.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from smallworld import ANSWERS, QUESTIONS, build, script

import ragscale as rs
from ragscale.index import Index
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM

PAGE = (Path(__file__).parents[1] / "docs" / "frameworks.md").read_text("utf-8")
ASKED = [row["question"] for row in QUESTIONS]
EXPECTED = ["Warsaw, Poland", "The Seine", "no"]
THREAD: Any = {"configurable": {"thread_id": "outer"}}


class Caller(BaseChatModel):
    """Calls a tool with each line of what the user says, all at once, and repeats what comes back."""

    tool: str = ""

    @property
    def _llm_type(self) -> str:
        return "caller"

    def bind_tools(self, tools: Any, **_: Any) -> Caller:
        return Caller(tool=tools[0].name)

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        told = [str(message.content) for message in messages if isinstance(message, ToolMessage)]
        lines = str(messages[0].content).split("\n")
        calls = [
            {"name": self.tool, "args": {"question": line}, "id": f"call{number}", "type": "tool_call"}
            for number, line in enumerate(lines)
        ]
        message = AIMessage("; ".join(told)) if told else AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index(build(tmp_path_factory.mktemp("world")))


def user(questions: list[str]) -> Any:
    return {"messages": [("user", "\n".join(questions))]}


def asking(agent: rs.Agent) -> BaseTool:
    @tool
    def ask(question: str) -> str:
        """Answer a question."""
        return agent.ask(question).text

    return ask


def asking_in_the_loop(agent: rs.Agent) -> BaseTool:
    @tool
    async def ask(question: str) -> str:
        """Answer a question."""
        return (await agent.aask(question)).text

    return ask


@pytest.mark.parametrize("mode", ["once", "chain", "parallel", "tree(steps=6, rollouts=1)"])
@pytest.mark.parametrize("make", [asking, asking_in_the_loop])
@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
async def test_an_agent_is_a_tool_of_an_agent(make: Any, mode: str, kept: bool, index: Index) -> None:
    """Under the least limit of steps that the agent around it needs."""
    mine = rs.Agent(index, ScriptedLLM(script, score=lambda messages, text: -1.0), mode)
    outer = create_agent(Caller(), [make(mine)], checkpointer=InMemorySaver() if kept else None)
    state = await outer.ainvoke(user(ASKED), {**THREAD, "recursion_limit": 4})
    assert state["messages"][-1].content == "; ".join(EXPECTED)
    if make is asking:
        state = outer.invoke(user(ASKED), {"configurable": {"thread_id": "other"}, "recursion_limit": 4})
        assert state["messages"][-1].content == "; ".join(EXPECTED)


class Killed(Exception):
    """Stand-in for the end of a process; here, of the run."""


class Mortal:
    """The small world's model, that dies at its call number `at`, and once."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.asked: Counter[str] = Counter()
        """Number of closing answers that came, by the word of `ANSWERS` that was asked for."""
        self.calls = 0

    def __call__(self, messages: Any, call: ScriptedCall) -> Any:
        self.left -= 1
        if not self.left:
            raise Killed
        self.calls += 1
        if "answer" in (call.schema or {}).get("properties", {}):
            question = messages[-1]["content"].rpartition("Question:")[2].casefold()
            self.asked[next(word for word in ANSWERS if word in question)] += 1
        return script(messages, call)


@pytest.mark.parametrize("at", [1, 4, 6, 10, 15])
async def test_a_parent_that_is_killed_and_resumed_gives_each_question_its_own_answer(
    at: int, index: Index, tmp_path: Path
) -> None:
    """One after the other, and each with its limits; questions that were done are not asked again."""
    model = Mortal(at)
    mine = rs.Agent(index, ScriptedLLM(model), "chain(steps=2)", rs.Budget(llm_calls=5))
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "outer.sqlite")) as saver:
        outer = create_agent(Caller(), [asking_in_the_loop(mine)], checkpointer=saver)
        with pytest.raises(Killed):
            await outer.ainvoke(user(ASKED), {**THREAD, "max_concurrency": 1})
        state = await outer.ainvoke(None, {**THREAD, "max_concurrency": 1})
    assert state["messages"][-1].content == "; ".join(EXPECTED)
    assert set(model.asked.values()) == {1}


@pytest.mark.parametrize("at", [2, 6, 15])
async def test_nothing_is_charged_twice_where_runs_are_kept_by_the_names_of_their_calls(
    at: int, index: Index, tmp_path: Path
) -> None:
    """The run inside goes on too: the calls of all attempts are those of an undisturbed run, and so is each charge."""
    charged: dict[str, int] = {}

    def kept(model: Any, name: str) -> BaseTool:
        agent = rs.Agent(index, ScriptedLLM(model), "chain(steps=2)", checkpoints=tmp_path / f"{name}.sqlite")

        @tool
        async def look_up(question: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> str:
            """Answer a question."""
            answer = await agent.aask(question, thread_id=tool_call_id)
            charged[f"{name} {tool_call_id}"] = answer.spend.total.llm_calls
            return answer.text

        return look_up

    whole, model = Mortal(0), Mortal(at)
    await create_agent(Caller(), [kept(whole, "whole")]).ainvoke(user(ASKED), {"max_concurrency": 1})
    outer = create_agent(Caller(), [kept(model, "killed")], checkpointer=InMemorySaver())
    with pytest.raises(Killed):
        await outer.ainvoke(user(ASKED), {**THREAD, "max_concurrency": 1})
    state = await outer.ainvoke(None, {**THREAD, "max_concurrency": 1})
    assert state["messages"][-1].content == "; ".join(EXPECTED)
    assert model.calls == whole.calls
    for call in ("call0", "call1", "call2"):
        assert charged[f"killed {call}"] == charged[f"whole {call}"]


def test_a_blocking_parent_that_is_killed_and_resumed(index: Index, tmp_path: Path) -> None:
    model = Mortal(8)
    mine = rs.Agent(index, ScriptedLLM(model), "chain(steps=2)")
    with SqliteSaver.from_conn_string(str(tmp_path / "outer.sqlite")) as saver:
        outer = create_agent(Caller(), [asking(mine)], checkpointer=saver)
        with pytest.raises(Killed):
            outer.invoke(user(ASKED), {**THREAD, "max_concurrency": 1})
        state = outer.invoke(None, {**THREAD, "max_concurrency": 1})
    assert state["messages"][-1].content == "; ".join(EXPECTED)
    assert set(model.asked.values()) == {1}


class TheTool:
    """`ask` of the page."""

    @pytest.fixture(autouse=True)
    def _made(self, page: dict[str, Any]) -> None:
        self._tool = page["ask"]

    @property
    def tool_constructor(self) -> BaseTool:
        return self._tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"question": ASKED[0]}


class TestTheToolByLangChainsOwnSuite(TheTool, ToolsIntegrationTests):
    """Of its package `langchain-tests`."""


class TestTheToolByLangChainsOwnUnitSuite(TheTool, ToolsUnitTests):
    """Likewise."""


@pytest.fixture(scope="module")
def page(index: Index, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names of the page after its snippets, with a model and an index of the small world in place of the demo's."""
    make, names = rs.Agent, {"chat_model": Caller()}
    patch = pytest.MonkeyPatch()
    patch.chdir(tmp_path_factory.mktemp("page"))
    patch.setattr(rs, "Agent", lambda index, llm, **options: make(index, ScriptedLLM(script), **options))
    patch.setattr(Index, "open", lambda path: index)
    text = PAGE.replace("the discoverer of rhodium", "the discoverer of polonium")
    for snippet in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(snippet, names)
    patch.undo()
    return names


async def test_the_page_runs_as_it_stands(page: dict[str, Any]) -> None:
    assert page["retriever"].invoke("Polonium element")[0].metadata["title"] == "Polonium"
    assert page["state"]["messages"][-1].content == "Warsaw, Poland"
    artifacts = [message.artifact for message in page["state"]["messages"] if isinstance(message, ToolMessage)]
    assert [artifact["stop_reason"] for artifact in artifacts] == ["answered"]
    assert page["ask"].invoke({"question": " "}).startswith("The question is ' '")
    call = {"name": "look_up", "args": {"question": ASKED[1]}, "id": "7", "type": "tool_call"}
    assert page["look_up"].invoke(call).content == "The Seine"
    assert (await page["by_hand"](ASKED[1]))["text"] == "The Seine"


@pytest.mark.slow
def test_the_pages_pool_runs_as_it_stands(page: dict[str, Any]) -> None:
    assert page["answers"](ASKED) == EXPECTED
