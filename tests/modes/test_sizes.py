"""Modes size themselves to the budget: how long, how wide and how many they are at several, on long passages."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from conformance import check
from doubles import StubIndex, move_of, never_repeating, of, run, scripted

from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.errors import BudgetExceeded, ModelError
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import (
    BestOfN,
    Bidirectional,
    Chain,
    IRCoT,
    Mcts,
    Mixture,
    Mode,
    MultiChain,
    Muse,
    Once,
    Parallel,
    Retry,
    Revise,
    SelfAsk,
    Tree,
    Vote,
    built_in,
)
from ragscale.modes.core import costs
from ragscale.modes.core import moves as core_moves
from ragscale.modes.core.costs import Costs, Room
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import outermost
from ragscale.modes.ensemble.ensemble import Ensemble
from ragscale.modes.search.levels import Shape
from ragscale.types import Event, Spend

WORDS = 100
"""Of a passage: about what one of an encyclopedia has."""


def told(mode: Mode, tokens: int | None) -> Answer:
    """Answer of the mode on that budget; its model always has another sub-query."""
    budget = Budget(tokens=tokens)
    answer, ledger = run(mode, llm=scripted(), index=StubIndex(words=WORDS), budget=budget)
    check(answer, ledger, budget)
    assert answer.text
    return answer


def levels(answer: Answer) -> list[Shape]:
    """The shape of every level of a tree, from its trace: what was retrieved and scored in which branch."""
    reads: dict[str, list[int]] = {}
    scores: dict[str, int] = {}
    for event in answer.trace:
        if event.move == "retrieve" and event.branch:
            reads.setdefault(event.branch, []).append(len(event.passages))
        elif event.move == "score":
            scores[event.branch] = scores.get(event.branch, 0) + 1
    assert set(scores.values()) <= {1}
    found = []
    for level in sorted({int(name.partition(".")[0]) for name in reads}):
        children = [name for name in reads if name.count(".") == 1 and name.startswith(f"{level}.")]
        rollouts = [[name for name in scores if name.startswith(f"{child}.")] for child in children]
        depths = {len(reads.get(name, [])) for names in rollouts for name in names}
        ks = {k for name, sizes in reads.items() if name.startswith(f"{level}.") for k in sizes}
        # Every child and every rollout of a level gets the same.
        assert len({len(names) for names in rollouts}) == len(ks) == 1
        assert len(depths) <= 1
        found.append(Shape(len(children), len(rollouts[0]), depths.pop() if depths else 0, ks.pop()))
    return found


@pytest.mark.parametrize(
    ("tokens", "shapes"),
    [
        (4_000, [(2, 1, 0, 3), (1, 0, 0, 2)]),
        (9_000, [(4, 1, 0, 5), (3, 1, 0, 5), (1, 0, 0, 2)]),
        (30_000, [(4, 2, 2, 5), (4, 1, 0, 5), (3, 1, 0, 5), (1, 0, 0, 2)]),
        (None, [(4, 2, 2, 5), (4, 2, 2, 5), (4, 2, 2, 5), (4, 2, 2, 5), (4, 2, 1, 5), (4, 1, 0, 5)]),
    ],
)
def test_the_levels_of_a_tree_are_as_wide_as_the_budget_pays(tokens: int | None, shapes: list[Any]) -> None:
    answer = told(Tree(), tokens)
    assert levels(answer) == shapes
    assert answer.stop_reason == ("budget:tokens" if tokens else "answered")


@pytest.mark.parametrize("tokens", [2_000, 2_500, 3_000, 4_000, 5_000, 6_000])
def test_a_small_budget_still_gets_two_levels_the_second_greedy(tokens: int) -> None:
    first, second, *_ = levels(told(Tree(), tokens))
    assert (second.expand, second.rollouts) == (1, 0)
    assert first.expand <= 3


def test_a_tree_never_does_less_for_more() -> None:
    """The first level of each budget: children, then rollouts, then how far these look ahead."""
    firsts = [levels(told(Tree(), tokens))[0] for tokens in (2_000, 4_000, 6_000, 9_000, 15_000, 20_000, 30_000)]
    assert all(one[:3] <= other[:3] for one, other in pairwise(firsts))
    assert (firsts[0][:3], firsts[-1][:3]) == ((1, 0, 0), (4, 2, 2))


def first_that_fits(tree: Tree, moves: Any, costs: Costs, state: Any) -> Shape | None:
    """The widest level that the ledger pays for, by trying one after the other; None where none fits."""
    levels = tree.steps - len(state["chain"])
    few, least = min(tree.k, 3), min(tree.k, 2)
    depths = range(min(tree.rollout_steps, levels - 1), -1, -1)
    shapes = [Shape(tree.expand, tree.rollouts if depth else 1, depth, tree.k) for depth in depths]
    shapes += [Shape(expand, 1, 0, k) for k in (tree.k, few) for expand in range(tree.expand, 1, -1)]
    shapes += [Shape(1, 0, 0, k) for k in (tree.k, few)]
    thin = tree._cost(Shape(1, 0, 0, least), costs)
    later = thin if levels > 1 else Spend()
    for shape, need in [*((s, tree._cost(s, costs) + later) for s in shapes), (Shape(1, 0, 0, least), thin)]:
        left = all(getattr(need, name) <= moves.ledger.left(name) for name in ("tokens", "llm_calls", "queries"))
        if left and need.rounds <= moves.ledger.left("rounds", moves.clock):
            return shape
    return None


@pytest.mark.parametrize("seed", range(50))
def test_a_level_is_the_first_that_fits_of_all_that_there_are(seed: int) -> None:
    drawn = random.Random(seed)
    tree = Tree(
        steps=drawn.randint(1, 6), expand=drawn.randint(1, 9), samples=drawn.randint(1, 9),
        rollouts=drawn.randint(1, 4), rollout_steps=drawn.randint(0, 5), k=drawn.randint(1, 6),
    )  # fmt: skip
    spent = [
        {"move": "plan", "passages": [], "output": ["q"] * drawn.randint(1, 6)},
        {"move": "read", "passages": ["p"] * drawn.randint(1, 5), "output": "fact"},
    ]
    trace = [
        event | {"spend": Spend(llm_calls=1, prompt_tokens=drawn.randint(1, 900), completion_tokens=50).to_dict()}
        for event in spent
    ]
    state: Any = {
        "chain": [{}] * drawn.randint(0, tree.steps - 1),
        "trace": trace[: drawn.randint(0, 2)],
        "scope": outermost(),
        "typical": {},
    }
    for _ in range(50):
        limits = {"tokens": 60_000, "llm_calls": 120, "queries": 60, "rounds": 8}
        budget = Budget(**{name: drawn.randint(0, most) for name, most in limits.items() if drawn.random() < 0.5})
        moves: Any = SimpleNamespace(
            ledger=Ledger(budget), clock=Spend(),
            context=SimpleNamespace(capabilities=Capabilities(samples=drawn.random() < 0.5), price=None),
        )  # fmt: skip
        moves.need = partial(Moves.need, moves)
        moves.room = Room.of(moves.ledger, moves.clock)
        costs = Costs.of(state, samples=moves.context.capabilities.samples)
        given = moves, costs, moves.room, tree.steps - len(state["chain"])
        expected = first_that_fits(tree, moves, costs, state)
        if expected is None:
            with pytest.raises(BudgetExceeded):
                tree._shape(*given)
        else:
            assert tree._shape(*given) == expected


@pytest.mark.parametrize("tree", [Tree(expand=10**6), Tree(steps=10**6, rollout_steps=10**6)], ids=str)
def test_sizing_a_level_does_not_grow_with_what_is_asked_for(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It happens on the event loop, where nothing else runs meanwhile."""
    cost, tries = Tree._cost, []

    def counted(self: Tree, shape: Shape, *rest: Any) -> Spend:
        tries.append(shape)
        assert len(tries) < 1_000
        return cost(self, shape, *rest)

    monkeypatch.setattr(Tree, "_cost", counted)
    assert len(levels(told(tree, 20_000))) > 1


def test_a_chain_is_shorter_at_a_small_budget_and_begins_no_step_that_it_cannot_end() -> None:
    lengths = []
    for tokens in (1_500, 3_000, 6_000, 9_000, None):
        answer = told(Chain(), tokens)
        moves = [event.move for event in answer.trace if event.move != "answer"]
        lengths.append(moves.count("read"))
        assert moves == ["retrieve", *["plan", "retrieve", "read"] * lengths[-1]]
        assert answer.stop_reason == ("answered" if lengths[-1] == 6 else "budget:tokens")
    assert lengths == [1, 2, 4, 6, 6]


NESTED: list[Mode] = [
    *(cls() for cls in built_in().values()),
    Vote(of=Once()),
    Vote(of=Parallel(), n=3),
    Vote(of=Tree(), n=2),
    Vote(of=BestOfN(of=Chain(steps=3), n=2), n=2),
    BestOfN(of=Parallel(), n=3, scorer="judge"),
    BestOfN(of=Vote(of=Chain(steps=2), n=2), n=2, scorer="agreement"),
    Mcts(of=Tree(steps=2), rollouts=4, scorer="penalty"),
]
SIZES = (1_000, 4_000, 16_000, 64_000)


def work(answer: Answer) -> tuple[int, int]:
    """Inner runs of the outermost mode, and everything that was retrieved."""
    names = {event.branch.partition(".")[0] for event in answer.trace if event.branch and event.spend.llm_calls}
    return len(names), answer.spend.total.queries


def turn(mode: Mode) -> int:
    """Tokens of the smallest further thing that a mode can do, for each inner run that would do it.

    With its own margin: an equal part of what is left has to pay for it.
    """
    if isinstance(mode, Ensemble):
        return mode.n * turn(mode.of)
    if isinstance(mode, Muse | Bidirectional):
        return turn(mode.of)
    if isinstance(mode, Mcts | Retry):
        return mode.inner_cost(Costs())[0].tokens
    return {Chain: 1_300, SelfAsk: 1_300, IRCoT: 2_200, Revise: 2_700, Tree: 1_300, Parallel: 2_600}.get(type(mode), 0)


@pytest.mark.parametrize("mode", NESTED, ids=str)
def test_given_only_tokens_every_mode_does_something_sensible(mode: Mode) -> None:
    """At each size an answer, and the money is used, or less than another turn of the mode is left; more for more."""
    done = []
    for tokens in SIZES:
        answer = told(mode, tokens)
        spent = answer.spend.total.tokens
        assert answer.stop_reason == "answered" or spent >= 0.85 * tokens or tokens - spent < turn(mode) + 1_000
        done.append(work(answer))
    assert all(one[0] <= other[0] and one[1] <= other[1] for one, other in pairwise(done)), done


@pytest.mark.parametrize("tokens", [1_000, 1_500, 2_000, 2_500, 3_000, 4_000, 6_000, 9_000, 12_000, 16_000])
@pytest.mark.parametrize("mode", [mode for mode in NESTED if hasattr(mode, "of")], ids=str)
def test_no_inner_run_is_without_a_step_while_fewer_could_make_one(mode: Any, tokens: int) -> None:
    answer = told(mode, tokens)
    names = {event.branch.partition(".")[0] for event in answer.trace if event.branch}
    idle = [
        name
        for name in names
        if not any(
            event.spend.queries for event in answer.trace if event.branch == name or event.branch.startswith(f"{name}.")
        )
    ]
    assert not idle or len(names) == 1 or mode.of.cost(Costs())[0].queries <= 1


def two_hops(messages: Any, call: ScriptedCall) -> Any:
    """A question of two steps: the planner says that nothing is missing once it has two sub-answers."""
    if move_of(call) == "plan" and sum(message["content"].count("fact w") for message in messages) >= 2:
        return [json.dumps({"known": "all", "missing": "nothing", "query": ""})] * call.n
    return never_repeating(messages, call)


@pytest.mark.parametrize("words", [30, 100, 300, 700])
@pytest.mark.parametrize("mode", [Vote(), BestOfN(), MultiChain(), Mixture()], ids=str)
def test_side_by_side_runs_take_both_steps_of_a_question_on_whole_passages(mode: Ensemble, words: int) -> None:
    """As many runs as can, with passages of any length: their sizes are counted in the first that are found."""
    members = []
    for tokens in SIZES:
        budget = Budget(tokens=tokens)
        answer, ledger = run(mode, llm=scripted(two_hops), index=StubIndex(words=words), budget=budget)
        check(answer, ledger, budget)
        runs: dict[str, list[Event]] = {}
        for event in answer.trace:
            if event.branch and event.spend.llm_calls:
                runs.setdefault(event.branch, []).append(event)
        members.append(len(runs))
        for events in runs.values() if len(runs) > 1 else ():
            reads = [event for event in events if event.move == "read"]
            assert [len(event.passages) for event in reads] == [mode.of.k] * 2
    assert members == sorted(members)
    assert members[-1] == max(mode.n, members[-1])


def test_what_is_counted_is_what_moves_cost() -> None:
    """A passage, and prompts without any, under the model's own tokenizer."""
    means: dict[str, Any] = {}

    def counted(*sizes: Any) -> Any:
        means.update(costs.counted(*sizes))
        return costs.counted(*sizes)

    with mock.patch.object(core_moves, "counted", counted):
        answer, _ = run(Chain(), index=StubIndex(words=WORDS), budget=Budget(tokens=9_000))
    known = Costs.by(means)
    first = {move: next(event for event in answer.trace if event.move == move) for move in ("plan", "read", "answer")}
    prompts = {move: event.spend.prompt_tokens for move, event in first.items()}
    assert prompts["plan"] == means["plan"][0]
    longer = 32 + 16  # what it writes, nominally, and how much longer a question is than a sub-query
    assert prompts["read"] <= known.read(5).tokens <= prompts["read"] + longer
    assert known.answer(8).tokens == pytest.approx(prompts["answer"], rel=0.05)


def test_nothing_is_counted_where_no_tokens_are_limited() -> None:
    with mock.patch.object(core_moves, "counted", side_effect=AssertionError):
        run(Chain(steps=1), budget=Budget(queries=9))


@pytest.mark.parametrize("tokens", range(2_000, 9_000, 500))
@pytest.mark.parametrize("mode", [Chain(), SelfAsk()], ids=str)
def test_no_step_is_begun_whose_passages_cannot_be_read_whole(mode: Mode, tokens: int) -> None:
    """After the first, which tells what a step costs: a reading reserves its longest reply, too."""
    answer = told(mode, tokens)
    reads = [event for event in answer.trace if event.move == "read"]
    assert [len(event.passages) for event in reads[1:]] == [mode.k] * (len(reads) - 1)


def test_a_first_run_has_all_that_pays_for_no_second_one() -> None:
    """Half of it was kept for branches that half a budget could not pay."""
    answer = told(Muse(), 3_000)
    alone = told(Chain(), 3_000)
    assert len(of(answer, "read")) == len(of(alone, "read"))


@pytest.mark.parametrize("calls", range(1, 8))
def test_what_was_kept_for_a_closing_answer_is_the_members_own_where_they_answer(calls: int) -> None:
    """A `vote` gives it up before it counts its members."""
    answer, _ = run(Vote(of=Once(), n=5), budget=Budget(llm_calls=calls))
    assert answer.spend.total.llm_calls == min(5, calls)


@pytest.mark.parametrize(
    "limits", [{"queries": n} for n in range(1, 14)] + [{"rounds": n} for n in range(1, 6)], ids=str
)
@pytest.mark.parametrize("mode", [Parallel(), Parallel(max_queries=2, profile="rag-r1")], ids=str)
def test_a_conversation_asks_no_turn_whose_queries_cannot_be_sent(mode: Parallel, limits: dict[str, int]) -> None:
    """It asks for as many queries as are left."""
    answer, _ = run(mode, budget=Budget(**limits))  # type: ignore[arg-type]
    moves = [event.move for event in answer.trace if event.move != "answer"]
    assert all(after == "retrieve" for before, after in pairwise([*moves, ""]) if before == "plan")
    if answer.stop_reason == "budget:queries":
        assert answer.spend.total.queries == limits["queries"]


@pytest.mark.parametrize("tokens", [3_000, 6_000, 12_000])
@pytest.mark.parametrize("inner", [Chain(), Tree(steps=2, expand=2, samples=2, rollouts=1, rollout_steps=1)])
def test_a_vote_of_eight_at_the_latency_of_one(inner: Mode, tokens: int) -> None:
    """The serial limit is one run's: all members run, each with the path of that run, and none is narrower."""
    alone, _ = run(inner, budget=Budget(serial_tokens=tokens))
    budget = Budget(serial_tokens=tokens)
    answer, ledger = run(Vote(of=inner, n=8), budget=budget)
    check(answer, ledger, budget)
    members = {event.branch.partition(".")[0] for event in answer.trace if event.branch}
    assert len(members) == 8
    assert answer.spend.serial.tokens <= tokens
    assert answer.spend.total.tokens > 6 * alone.spend.total.tokens
    rounds = [
        sum(event.move == "retrieve" for event in answer.trace if event.branch.partition(".")[0] == member)
        for member in members
    ]
    own = sum(event.move == "retrieve" for event in alone.trace) - 1  # the look is shared
    assert min(rounds) >= own - 1


def test_a_tree_is_as_wide_as_the_total_allows_and_as_deep_as_the_path() -> None:
    """One level of a tree is a few calls long, however many children it has."""
    budget = Budget(serial_calls=8)
    answer, ledger = run(Tree(question_k=0), budget=budget)
    check(answer, ledger, budget)
    assert answer.spend.serial.llm_calls <= 8 < answer.spend.total.llm_calls
    assert len([event for event in answer.trace if event.move == "score"]) >= 8


@pytest.mark.parametrize("serial_calls", [1, 2, 3, 5])
def test_attempts_of_a_call_follow_one_another(serial_calls: int) -> None:
    """Each counts along the critical path, before the next is made."""

    def reply(messages: Any, call: ScriptedCall) -> Any:
        raise ModelError("overloaded", retryable=True)

    llm = scripted(reply)
    budget = Budget(serial_calls=serial_calls)
    answer, ledger = run(Once(), llm=llm, budget=budget)
    check(answer, ledger, budget)
    assert answer.spend.serial.llm_calls == len(llm.calls) == min(serial_calls, 4)


@pytest.mark.parametrize(
    ("mode", "tokens", "reads"),
    [
        (Vote(n=5, width=4, stop="posterior"), 32_000, [4, 4, 4, 4, 6]),
        (Vote(n=5, width=2, stop="posterior"), 32_000, [4, 4, 5, 5, 6]),
        (Mcts(scorer="penalty"), 64_000, [6, 6, 6, 5, 5, 5, 5, 5]),
    ],
    ids=str,
)
def test_runs_of_uneven_batches_have_equal_shares(mode: Mode, tokens: int, reads: list[int]) -> None:
    """Before, each batch had an equal share: the last one was a single run, and what that could not use was lost (the
    first vote read 2, 2, 2, 2, 6 times with 59 % of its tokens)."""
    answer, _ = run(mode, index=StubIndex(words=100), budget=Budget(tokens=tokens))
    made = Counter(event.branch for event in of(answer, "read"))
    assert [made[str(n)] for n in range(len(reads))] == reads
    assert answer.spend.total.tokens > 0.8 * tokens
