"""A mode's own graph, compiled and run by hand: without an agent, on threads, inside another graph."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles import QUESTION, StubIndex, never_repeating, scripted
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

import ragscale as rs
from ragscale import modes
from ragscale.budget import Budget, Ledger
from ragscale.errors import InvalidInput
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes.core.moves import Context
from ragscale.modes.core.state import initial

MODES = ["once", "chain(steps=2)", "parallel(rounds=2)", "tree(steps=2, expand=2, samples=2, rollouts=1)"]
OTHER = "Where was the discoverer of polonium born?"
THREAD: Any = {"configurable": {"thread_id": "1"}}


def context(llm: ScriptedLLM | None = None, budget: Budget | None = None) -> Context:
    """Of one run."""
    capabilities = Capabilities(json_schema=True, scoring=True, tokenizer=True, samples=True)
    return Context(index=StubIndex(), llm=llm or scripted(), ledger=Ledger(budget), capabilities=capabilities)


def told(state: dict[str, Any]) -> dict[str, Any]:
    """A final state but for the seconds, as JSON has it."""
    timeless = [{**event, "start": 0, "spend": {**event["spend"], "seconds": 0}} for event in state["trace"]]
    spends = {name: {**state[name], "seconds": 0} for name in ("total", "serial")}
    told: dict[str, Any] = json.loads(json.dumps({**state, **spends, "trace": timeless}))
    return told


@pytest.mark.parametrize("name", MODES)
async def test_a_question_is_enough(name: str) -> None:
    """Given alone, it is answered as from the whole state that an agent starts from; all is charged."""
    graph = modes.get(name).graph().compile()
    mine, whole = context(), context()
    state = await graph.ainvoke({"question": QUESTION}, context=mine)
    assert told(state) == told(await graph.ainvoke(initial(QUESTION), context=whole))
    assert state["text"].startswith("answer w")
    assert (state["question"], state["stop"]) == (QUESTION, "")
    assert state["total"]["llm_calls"] == mine.ledger.spent.llm_calls > 0
    assert state["total"]["llm_calls"] == sum(event["spend"]["llm_calls"] for event in state["trace"])


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("given", [None, {}, "spent"])
async def test_a_run_without_what_its_nodes_share_says_how(name: str, given: Any) -> None:
    graph = modes.get(name).graph().compile()
    with pytest.raises(InvalidInput, match=r"or use Agent\.|Or use Agent\."):
        await graph.ainvoke({"question": QUESTION}, context=given)


async def test_a_context_of_other_fields_is_refused_and_the_fields_are_named() -> None:
    fields = {name: getattr(context(), name) for name in ("index", "llm", "ledger", "capabilities")}
    graph = modes.get("once").graph().compile()
    state = await graph.ainvoke({"question": QUESTION}, context=fields)
    assert state["text"]
    with pytest.raises(InvalidInput, match=r"'tokenz'\. There are: index, llm, ledger, capabilities, price, seed, how"):
        await graph.ainvoke({"question": QUESTION}, context={**fields, "tokenz": 5})
    with pytest.raises(InvalidInput, match=r"'capabilities'\. There are: index, llm"):
        await graph.ainvoke({"question": QUESTION}, context={"index": fields["index"]})


@pytest.mark.parametrize("given", [{}, {"question": ""}, {"question": " \n"}, {"question": 5}, {"text": "x"}])
async def test_no_question_is_refused(given: dict[str, Any]) -> None:
    llm = scripted()
    with pytest.raises(InvalidInput, match="The question is"):
        await modes.get("chain").graph().compile().ainvoke(given, context=context(llm))
    assert not llm.calls


@pytest.mark.parametrize("name", MODES)
def test_without_a_loop_it_says_what_to_call(name: str) -> None:
    graph = modes.get(name).graph().compile()
    for call in (graph.invoke, lambda given, context: list(graph.stream(given, context=context))):
        with pytest.raises(InvalidInput, match=r"asynchronous nodes only\. Use ainvoke or astream"):
            call({"question": QUESTION}, context=context())


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("given", [{"question": OTHER}, initial(OTHER), {"question": QUESTION}])
async def test_a_second_question_on_a_thread_knows_nothing_of_the_first(
    name: str, given: dict[str, Any], tmp_path: Path
) -> None:
    """Nor does the same question, asked once more; nothing is charged twice."""
    alone = await modes.get(name).graph().compile().ainvoke(given, context=context())
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph = modes.get(name).graph().compile(checkpointer=saver)
        await graph.ainvoke({"question": QUESTION}, THREAD, context=context())
        second = await graph.ainvoke(given, THREAD, context=context())
        assert told(second) == told({**alone, **{key: second[key] for key in second.keys() - alone.keys()}})
        kept = (await graph.aget_state(THREAD)).values
        assert told(kept) == told(second)


async def test_a_question_after_one_that_was_cut_short_is_not(tmp_path: Path) -> None:
    graph = modes.get("chain(steps=2)").graph().compile(checkpointer=InMemorySaver())
    short = await graph.ainvoke({"question": QUESTION}, THREAD, context=context(budget=Budget(llm_calls=2)))
    assert short["stop"] == "budget:llm_calls"
    second = await graph.ainvoke({"question": OTHER}, THREAD, context=context())
    assert (second["stop"], second["reason"], second["failed"]) == ("", "", [])


@pytest.mark.parametrize("name", MODES)
async def test_a_run_that_died_goes_on_where_it_was(name: str) -> None:
    """`None` in place of a question goes on; a new question on the same thread begins anew."""
    whole = await modes.get(name).graph().compile().ainvoke({"question": QUESTION}, context=context())

    class Killed(Exception):
        pass

    def dying(messages: Any, call: Any) -> Any:
        if "answer" in (call.schema or {}).get("properties", {}):
            raise Killed
        return never_repeating(messages, call)

    graph = modes.get(name).graph().compile(checkpointer=InMemorySaver())
    with pytest.raises(Killed):
        await graph.ainvoke({"question": QUESTION}, THREAD, context=context(scripted(dying)))
    state = await graph.ainvoke(None, THREAD, context=context())
    assert told(state)["trace"] == told(whole)["trace"]
    assert told(state)["total"] == told(whole)["total"]


async def test_a_mode_is_a_node_of_another_graph() -> None:
    class Asked(TypedDict):
        question: str
        text: str
        trace: list[Any]
        total: dict[str, Any]

    parent = StateGraph(Asked, Context)
    parent.add_node("mode", modes.get("chain(steps=1)").graph().compile())
    parent.add_edge(START, "mode")
    graph = parent.compile(checkpointer=InMemorySaver())
    for question in (QUESTION, OTHER):
        alone = await modes.get("chain(steps=1)").graph().compile().ainvoke({"question": question}, context=context())
        state = await graph.ainvoke({"question": question}, THREAD, context=context())
        assert (state["question"], state["text"]) == (question, alone["text"])
        assert len(state["trace"]) == len(alone["trace"])
        assert state["total"]["llm_calls"] == alone["total"]["llm_calls"]


async def test_a_subgraph_that_keeps_its_state_begins_each_question_anew() -> None:
    class Asked(TypedDict):
        question: str
        trace: list[Any]

    parent = StateGraph(Asked, Context)
    parent.add_node("mode", modes.get("chain(steps=1)").graph().compile(checkpointer=True))
    parent.add_edge(START, "mode")
    graph = parent.compile(checkpointer=InMemorySaver())
    traces = [
        (await graph.ainvoke({"question": question}, THREAD, context=context()))["trace"]
        for question in (QUESTION, OTHER)
    ]
    assert len(traces[0]) == len(traces[1])


async def test_an_agent_is_not_touched_by_any_of_it() -> None:
    """The graphs that agents compile are the same ones."""
    by_hand = await modes.get(MODES[1]).graph().compile().ainvoke({"question": QUESTION}, context=context())
    answer = await rs.Agent(StubIndex(), scripted(), MODES[1]).aask(QUESTION)
    assert answer.text == by_hand["text"]
    assert [replace(event, start=0.0, spend=rs.types.Spend()) for event in answer.trace] == [
        replace(rs.types.Event.from_dict(event), start=0.0, spend=rs.types.Spend()) for event in by_hand["trace"]
    ]
