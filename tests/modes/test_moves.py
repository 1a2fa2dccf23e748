"""Single moves under a tight budget, in a mode of one node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from conformance import check
from doubles import StubIndex, run, scripted
from langgraph.graph import END, START, StateGraph

from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Mode
from ragscale.modes.core.moves import Context, Moves
from ragscale.modes.core.nodes import node
from ragscale.modes.core.state import State, Update
from ragscale.modes.core.steps import penalty as penalty_of
from ragscale.modes.core.steps import read as read_passages
from ragscale.prompts import Step
from ragscale.types import Usage

Body = Callable[[Moves, State], Awaitable[Any]]


@dataclass(frozen=True, kw_only=True)
class Only(Mode):
    """Runs `body`, then answers."""

    name: ClassVar[str] = "only"
    body: Body
    k: int = 20
    context: int = 40

    def graph(self) -> StateGraph[Any, Context, Any, Any]:
        async def work(moves: Moves, state: State) -> Update:
            await self.body(moves, state)
            return {}

        graph = StateGraph(State, Context)
        graph.add_node("work", node(work))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "work")
        graph.add_edge("work", "answer")
        graph.add_edge("answer", END)
        return graph


def only(body: Body, **options: Any) -> Answer:
    budget = options.get("budget", Budget())
    answer, ledger = run(Only(body=body), **options)
    check(answer, ledger, budget)
    return answer


def greedy(true: Usage, call: ScriptedCall) -> Usage:
    """As much as a server may report without breaking its word."""
    most = len(call.continuation) + 1 if call.continuation is not None else call.max_tokens * call.n
    return Usage(true.prompt_tokens + 8 + true.prompt_tokens // 32, most)


async def penalty(moves: Moves, state: State) -> Any:
    await penalty_of(moves, state["question"], [Step(query="q", passages=[], answer="a")])


async def plan(moves: Moves, state: State) -> Any:
    await moves.ask(lambda docs: moves.profile.plan(state["question"], docs, []), n=3)


@pytest.mark.parametrize("body", [penalty, plan])
@pytest.mark.parametrize("samples", [True, False])
def test_a_call_that_uses_all_it_may_stays_within_the_tokens(body: Body, samples: bool) -> None:
    """Every budget around the point where the call begins to fit beside the closing answer."""
    outcomes = set()
    for tokens in [*range(560, 640, 2), *range(640, 1_600, 20)]:
        llm = scripted(usage=greedy, capabilities=Capabilities(scoring=True, samples=samples, json_schema=True))
        answer = only(body, llm=llm, index=StubIndex(words=20), budget=Budget(tokens=tokens))
        outcomes.add(answer.trace[0].spend.llm_calls)
    assert {0, 1} <= outcomes


def test_samples_one_by_one_are_as_long_as_those_of_one_call() -> None:
    """A turn that would be too short to be of use is not begun on a short budget, however samples are drawn."""
    for tokens in range(600, 1_600, 20):
        llm = scripted(capabilities=Capabilities(json_schema=True))
        only(plan, llm=llm, budget=Budget(tokens=tokens))
        assert all(call.max_tokens >= 64 for call in llm.calls if call.schema and "queries" in str(call.schema))


@pytest.mark.parametrize("window", [40, 120, 200, 300, 500, 2_000])
def test_reading_shows_the_best_passages_that_fit_the_window(window: int) -> None:
    async def read(moves: Moves, state: State) -> Any:
        answers.append(await read_passages(moves, "q", ["p1", "p2", "p3"]))

    answers: list[str] = []
    llm = scripted(context_window=window)
    answer = only(read, llm=llm, index=StubIndex(words=60))
    event = answer.trace[0]
    assert event.passages == ["p1", "p2", "p3"][: len(event.passages)]
    if event.spend.llm_calls:
        prompt = llm.calls[0].messages[-1]["content"]
        assert [f"Title {id}:" in prompt for id in ("p1", "p2", "p3")] == [
            id in event.passages for id in ("p1", "p2", "p3")
        ]
        assert event.spend.tokens <= window
    assert answers
    assert bool(event.spend.llm_calls) == bool(event.passages)
    assert (window >= 300) == bool(event.passages)  # the instructions and examples alone take over 200


def test_a_retrieval_is_one_batch_and_one_round() -> None:
    async def retrieve(moves: Moves, state: State) -> Any:
        assert await moves.retrieve(["a", "b"], 2) == [["p1", "p2"], []]

    index = StubIndex(lambda query: ["p1", "p2", "p3"] if query == "a" else [])
    answer = only(retrieve, index=index)
    event = answer.trace[0]
    assert index.searches[0] == ["a", "b"]
    assert (event.spend.queries, event.spend.rounds, event.spend.passages) == (2, 1, 2)
    assert (event.passages, event.note) == (["p1", "p2"], "no hits for ['b']")


def test_a_call_gets_what_is_left_of_the_tokens_and_no_more() -> None:
    """512 are kept for the answer; of the rest the prompt and its margin are reserved first."""

    async def write(moves: Moves, state: State) -> Any:
        await moves.write("read", [{"role": "user", "content": "one two three"}], max_tokens=100)

    need = 7 + 8  # the prompt by the scripted tokenizer, and the margin
    for tokens in range(520, 650, 5):
        llm = scripted(lambda messages, call: "word " * 500)
        only(write, llm=llm, budget=Budget(tokens=tokens))
        room = min(100, tokens - 512 - need)
        lengths = [call.max_tokens for call in llm.calls if call.schema is None]
        assert lengths == ([room] if room >= 16 else [])


def test_a_call_cut_off_by_time_is_charged_what_it_may_have_cost() -> None:
    async def read(moves: Moves, state: State) -> Any:
        await read_passages(moves, "q", ["p1"])

    llm = scripted(delay=lambda call: 60.0 if call.index == 0 else 0.0)
    answer = only(read, llm=llm, budget=Budget(seconds=8))
    spend = answer.trace[0].spend
    assert (spend.llm_calls, spend.completion_tokens, spend.seconds) == (1, llm.calls[0].max_tokens, 6)
    assert spend.prompt_tokens > 20
    assert (answer.stop_reason, bool(answer.text)) == ("budget:seconds", True)
