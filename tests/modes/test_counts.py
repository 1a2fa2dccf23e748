"""Cost of runs, against the papers and against critical paths computed by hand."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest
from doubles import QUESTION, StubIndex, Together, ask, move_of, never_repeating, run, scripted, virtually

from ragscale.answer import Answer
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Chain, Once, Parallel, Tree
from ragscale.types import Spend, Usage


def test_once() -> None:
    total = run(Once())[0].spend.total
    assert (total.llm_calls, total.queries, total.rounds, total.passages) == (1, 1, 1, 5)


@pytest.mark.parametrize("steps", [1, 2, 6])
def test_chain_as_published(steps: int) -> None:
    """CoRAG greedy, L=6: 13 calls, 6 retrievals."""
    answer, _ = run(Chain(steps=steps, question_k=0))
    total = answer.spend.total
    assert (total.llm_calls, total.queries, total.rounds) == (2 * steps + 1, steps, steps)
    assert answer.spend.serial == total  # nothing is parallel


def test_chain_by_default_asks_the_index_the_question_too() -> None:
    total = run(Chain())[0].spend.total
    assert (total.llm_calls, total.queries) == (13, 7)
    assert total.rounds <= 7


def test_tree_as_published() -> None:
    """CoRAG tree search, L=6, E=4, R=2, look-ahead 2: 223 calls in the paper, 96 retrievals.

    Four of them are scores that are equal by construction: the last level cannot look ahead.
    """
    answer, _ = run(Tree(question_k=0))
    total, serial = answer.spend.total, answer.spend.serial
    assert (total.llm_calls, total.queries) == (219, 96)
    # Levels 1 to 4 look 2 steps ahead, level 5 one, level 6 none: rounds 3, 3, 3, 3, 2, 1.
    assert serial.rounds == 15
    # A level on the critical path: plan, read, then (plan, read) a look-ahead step, score. And the answer.
    assert serial.llm_calls == 4 * (2 + 2 * 2 + 1) + (2 + 2 + 1) + (2 + 1) + 1
    assert serial.tokens < total.tokens / 3


def test_tree_by_default_asks_the_index_the_question_too() -> None:
    answer, _ = run(Tree())
    assert (answer.spend.total.llm_calls, answer.spend.total.queries) == (219, 97)
    assert answer.spend.serial.rounds <= 16


@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("rounds", [1, 4])
@pytest.mark.parametrize("profile", ["generic", "rag-r1"])
def test_parallel(most: int, rounds: int, profile: Any) -> None:
    index = StubIndex()
    mode = Parallel(question_k=0, max_queries=most, rounds=rounds, profile=profile, ending="call")
    answer, _ = run(mode, index=index)
    total = answer.spend.total
    assert (total.llm_calls, total.rounds, total.queries) == (rounds + 1, rounds, rounds * most)
    # The queries of a round reach the index together.
    assert [len(batch) for batch in index.searches] == [most] * rounds


def test_parallel_by_default_asks_the_index_the_question_first() -> None:
    index = StubIndex()
    answer, _ = run(Parallel(), index=index)
    total = answer.spend.total
    assert (total.llm_calls, total.rounds, total.queries) == (5, 5, 13)
    assert index.searches[0] == [QUESTION]
    assert [len(batch) for batch in index.searches[1:]] == [3] * 4


def critical_path(answer: Answer) -> Spend:
    """The serial spend of a tree's trace: trunk in sum, branches that are sent together by their maximum."""
    trunk = Spend()
    waves: dict[tuple[str, int], dict[str, Spend]] = defaultdict(lambda: defaultdict(Spend))
    for event in answer.trace:
        if event.branch:
            level, *rest = event.branch.split(".")
            wave = waves[level, len(rest)]
            wave[event.branch] += event.spend
        else:
            trunk += event.spend
    for wave in waves.values():
        longest = Spend()
        for spend in wave.values():
            longest = longest.maximum(spend)
        trunk += longest
    return trunk


class TestTheCriticalPath:
    def test_by_hand(self) -> None:
        """Two children, then two scores: each time the tokens are those of the branch that has more of them."""
        reads = {"first": Usage(1000, 2, 30), "second": Usage(100, 50, 40)}
        scores = {"first": Usage(7, 5), "second": Usage(70, 1)}

        def reply(messages: Any, call: ScriptedCall) -> Any:
            return ['["first"]', '["second"]'] if move_of(call) == "plan" else "fact"

        def usage(true: Usage, call: ScriptedCall) -> Usage:
            which = "first" if "first" in call.messages[-1]["content"] else "second"
            fixed = {"plan": Usage(10, 4), "read": reads[which], "score": scores[which], "answer": Usage(500, 3)}
            return fixed[move_of(call)]

        tree = Tree(steps=1, expand=2, samples=2, rollouts=1, rollout_steps=0, question_k=0, k=3)
        delays = {"plan": 1.0, "read": 2.0, "score": 4.0, "answer": 8.0}
        llm = scripted(reply, usage=usage, delay=lambda call: delays[move_of(call)])
        answer, _ = run(tree, llm=llm, index=StubIndex(delay=lambda queries: 0.25 if queries == ["first"] else 0.5))
        assert answer.spend.total == Spend(
            llm_calls=6, prompt_tokens=10 + 1100 + 77 + 500, completion_tokens=4 + 52 + 6 + 3, cached_tokens=70,
            queries=2, passages=6, rounds=2, seconds=1 + 4 + 0.75 + 8 + 8, usd=0.0002868,
        )  # fmt: skip
        assert answer.spend.serial == Spend(
            llm_calls=4, prompt_tokens=10 + 1000 + 70 + 500, completion_tokens=4 + 2 + 1 + 3, cached_tokens=30,
            queries=1, passages=3, rounds=1, seconds=1 + 2 + 0.5 + 4 + 8, usd=0.00024075,
        )  # fmt: skip

    @pytest.mark.parametrize("seed", range(4))
    def test_of_a_deep_tree_with_random_costs(self, seed: int) -> None:
        source = random.Random(seed)

        def usage(true: Usage, call: ScriptedCall) -> Usage:
            return Usage(source.randrange(1, 400), source.randrange(0, 60), source.randrange(0, 20))

        async def work() -> tuple[Answer, float]:
            llm = scripted(usage=usage, delay=lambda call: source.random())
            answer, _ = await ask(tree, llm=llm, index=StubIndex(delay=lambda queries: source.random()))
            return answer, asyncio.get_running_loop().time()

        tree = Tree(steps=3, expand=3, samples=4, rollouts=2, rollout_steps=2)
        answer, elapsed = virtually(work)
        expected = critical_path(answer)
        for name in ("llm_calls", "prompt_tokens", "completion_tokens", "cached_tokens", "queries", "rounds"):
            assert getattr(answer.spend.serial, name) == getattr(expected, name), name
        # Nothing else takes time, so the critical path's seconds are the run's.
        assert answer.spend.serial.seconds == pytest.approx(elapsed)
        assert answer.spend.total.seconds > 2 * elapsed


class TestBranchesRunAtOnce:
    TREE = Tree(steps=1, expand=4, samples=4, rollouts=2, rollout_steps=0, question_k=0)

    @pytest.mark.parametrize(("move", "width"), [("read", 4), ("score", 4)])
    def test_in_the_model(self, move: str, width: int) -> None:
        """Each call waits until as many as there are branches wait; one after another would time out."""
        together = Together(width)
        llm = scripted(delay=lambda call: float(move_of(call) == move), sleep=together)
        answer, _ = run(self.TREE, llm=llm)
        assert together.failed == 0
        assert answer.stop_reason == "answered"
        assert llm.most_running == max(width, 4)

    def test_all_rollouts_of_a_level(self) -> None:
        """In virtual time, where whatever is not waited for runs at once."""
        llm = scripted(delay=1.0)
        run(Tree(steps=2, expand=4, samples=4, rollouts=2, rollout_steps=1), llm=llm)
        assert llm.most_running == 8

    def test_a_lone_child_is_not_rolled_out(self) -> None:
        """There is nothing to choose from: plan and read at each level, and the answer."""
        answer, _ = run(Tree(question_k=0, samples=4), llm=scripted(_one_query))
        assert (answer.spend.total.llm_calls, answer.spend.total.queries) == (13, 6)

    def test_in_the_index(self) -> None:
        index = StubIndex(delay=1.0)
        most = 0

        def delay(queries: Any) -> float:
            nonlocal most
            most = max(most, index.running)
            return 1.0

        index._delay = delay
        run(self.TREE, index=index)
        assert (most, len(index.searches)) == (4, 4)

    def test_questions_of_a_batch(self) -> None:
        async def work() -> int:
            from ragscale.agent import Agent

            llm = scripted(delay=1.0, sleep=together)
            agent = Agent(StubIndex(), llm, Once())
            await agent.abatch([f"Question {i}?" for i in range(6)], concurrency=3)
            return llm.most_running

        together = Together(3)
        assert virtually(work) == 3
        assert together.failed == 0


def _one_query(messages: Any, call: Any) -> Any:
    """All samples of a level ask the same."""
    texts = never_repeating(messages, call)
    return [texts[0]] * len(texts)
