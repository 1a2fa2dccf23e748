"""The parts of `evolve` and `mcts` that are values: turns in order, their widths, islands, plans, the tree."""

from __future__ import annotations

from typing import Any

import pytest
from test_mcts import Tree

from ragscale.modes import Evolve
from ragscale.modes.core.costs import Cost, Costs, Room
from ragscale.modes.core.state import Outcome
from ragscale.modes.search.population import Individual, Islands, recombined
from ragscale.modes.search.uct import RolloutTree
from ragscale.prompts import Step
from ragscale.types import Spend

COSTS = Costs()


def sizes(**changed: Any) -> Evolve:
    """Of which a child is two calls, one query and one round."""
    return Evolve(**{"conversations": 4, "reset": 2, "queries": 1, "question_k": 0, **changed})


def step(query: str) -> Step:
    return Step(query=query, passages=[], answer="")


def born(*queries: str, answer: str = "Ann", support: float = 5.0) -> Individual:
    return Individual(
        place=[0, 0, 0, 0], chain=[*map(step, queries)], answer=answer, citations=[], support=support, missing=""
    )


def ended(*queries: str, score: float | None = None, stop: str = "") -> Outcome:
    return Outcome(
        branch="", text="", said="", citations=[], chain=[*map(step, queries)], known=[], passages=[], score=score,
        stop=stop, reason="",
    )  # fmt: skip


def test_each_island_in_turn_has_its_turns_in_each_generation() -> None:
    assert [tuple(sizes().at(n)) for n in range(sizes().all_turns)] == [
        (generation, island, turn) for generation in range(3) for island in range(2) for turn in range(2)
    ]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({}, [8]), ({"reset": 1}, [4, 8]), ({"reset": 0}, []), ({"islands": 1}, []), ({"reset": 3}, [])],
)
def test_islands_are_reset_between_generations_and_never_after_the_last(changed: Any, expected: list[int]) -> None:
    made = sizes(**changed)
    assert [n for n in range(made.all_turns + 3) if made.resets(n)] == expected


@pytest.mark.parametrize(
    ("calls", "number", "before", "children", "width"),
    [
        (100, 0, 0, 0, 4),
        (11, 0, 0, 0, 2),  # five are paid for, and two conversations can take both turns
        (2, 2, 4, 3, 1),  # one begins though it cannot end
        (100, 1, 3, 3, 3),
        (5, 1, 3, 3, 2),
        (1, 1, 3, 3, 0),
        (1, 0, 0, 0, 1),  # the first is tried
        (100, 12, 4, 9, 0),  # behind the last
    ],
)
def test_as_many_conversations_begin_as_can_end(
    calls: int, number: int, before: int, children: int, width: int
) -> None:
    assert sizes().wide(COSTS, Room(llm_calls=calls), number, before, children) == width


def test_branches_are_those_that_are_paid_for_unless_the_path_is_too_short_for_one() -> None:
    need = Cost.of(Spend(llm_calls=2, queries=1, rounds=2))
    assert [Room(llm_calls=calls).branches(need, 3) for calls in (1, 2, 5, 9)] == [0, 1, 2, 3]
    assert [Room(rounds=rounds).branches(need, 3) for rounds in (1, 2)] == [0, 3]


def test_newcomers_join_but_for_duplicates_of_plan_and_answer() -> None:
    islands = Islands([born("a b"), born("A b"), born("a b", answer="Bob"), born("c d", support=9.0)], [[0], []])
    assert islands.join(0, [1, 2, 2, 3, 0]) == [2, 3]
    assert islands.emigrate(0, 2) == (1, [3, 0])
    assert islands.emigrate(0, 2) == (1, [])
    assert islands.members == [[0, 2, 3], [3, 0]]
    assert islands.elites(9) == [3, 0, 2]
    assert Islands(islands.population, [[0]]).emigrate(0, 2) == (0, [])


def test_the_islands_of_lowest_mean_are_refilled_and_one_stays() -> None:
    islands = Islands([born("a", support=1.0), born("b", support=9.0), born("c", support=5.0)], [[0, 1], [2], [1], []])
    assert islands.refill(2, [1, 2]) == [0, 3]
    assert islands.members == [[1, 2], [2], [1], [1, 2]]
    assert islands.refill(9, [0]) == [0, 1, 3]


@pytest.mark.parametrize(
    ("keep", "queries", "most", "longest", "kept", "new"),
    [
        ([2, 3, 9], ["x y"], 2, 6, ["c d", "e f"], ["x y"]),
        ([], ["E F", "x y", "X y", "z"], 1, 6, ["e f"], ["X y"]),  # in the last spelling
        (None, [], 2, 6, ["a b", "c d"], []),
        ([1, 2, 3], ["x y"], 2, 2, ["a b"], ["x y"]),
    ],
)
def test_a_child_keeps_steps_of_its_parents_and_asks_what_none_has_asked(
    keep: list[int] | None, queries: list[str], most: int, longest: int, kept: list[str], new: list[str]
) -> None:
    chain, asked = recombined([born("a b", "c d"), born("e f")], keep, queries, most, longest)
    assert ([one["query"] for one in chain], asked) == (kept, new)


def leaves(done: list[Outcome], starts: list[int], most: int, **rules: Any) -> list[list[str]]:
    tree = RolloutTree(done=done, starts=starts, **{"expand": 2, "deepest": 3, "exploration": 1.4, **rules})
    return [[one["query"] for one in chain] for chain in tree.leaves(most)]


def test_the_first_rollouts_start_at_the_root_as_many_as_expand_it() -> None:
    assert leaves([], [], 4) == [[], []]
    assert leaves([], [], 4, expand=9) == [[]] * 4


def test_rollouts_under_way_count_as_visits_so_that_a_batch_takes_several_ways() -> None:
    done = [ended("a", "b"), ended("c", "d")]
    assert leaves(done, [0, 0], 5) == [["a"], ["c"], ["a"], ["c"]]
    assert leaves(done, [0, 0], 5, exploration=0.0) == [["a"], ["a"], ["c"], ["c"]]


def test_a_path_that_came_to_its_own_end_is_not_gone_on_from_and_one_that_was_cut_short_is() -> None:
    assert leaves([ended("a")], [0], 3, expand=1) == []
    assert leaves([ended("a", stop="budget:tokens")], [0], 3, expand=1) == [["a"]]
    assert leaves([ended("a", stop="budget:tokens")], [0], 3, expand=1, deepest=1) == []


@pytest.mark.parametrize("expand", [1, 2, 3])
def test_one_rollout_at_a_time_the_tree_is_that_of_the_published_algorithm(expand: int) -> None:
    tree, done, starts = Tree(expand, 4, 1.4), list[Outcome](), list[int]()
    for n in range(30):
        leaf, [*chosen] = tree.select(), leaves(done, starts, 1, expand=expand, deepest=4)
        assert chosen == ([] if leaf is None else [list(leaf)])
        if leaf is None:
            return
        path = (*leaf, *(f"{'abc'[(n + at) % 3]} {n % 2}" for at in range(len(leaf), 2 + n % 3)))[:4]
        reward = float(n * 7 % 11)
        tree.back_up(path, reward)
        done.append(ended(*path, score=reward))
        starts.append(len(leaf))
