"""The flower task, and the policies of `benchmarks/flower.py` on it: the bound holds, by what the ledger counts."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ragscale.budget import Budget, Ledger
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index import Index
from ragscale.measure import load_questions
from ragscale.types import Spend
from ragscale.worlds import World, flower
from ragscale.worlds.flower import paths_from

PETALS, INSTANCES = 2, 100


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """`benchmarks/flower.py`."""
    spec = importlib.util.spec_from_file_location(
        "flower_benchmark", Path(__file__).parents[2] / "benchmarks" / "flower.py"
    )
    assert spec
    assert spec.loader
    module = sys.modules["flower_benchmark"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["flower_benchmark"]


@pytest.fixture(scope="module")
def world() -> World:
    return flower(petals=PETALS, questions=INSTANCES)


def graph(world: World) -> dict[str, list[str]]:
    return dict(paths_from(row["text"]) for row in world.passages)


def reached(around: dict[str, list[str]], start: str) -> dict[str, int]:
    """Steps from a place to each that it can reach."""
    steps, todo = {start: 0}, [start]
    for place in todo:
        for other in around[place]:
            if other not in steps:
                steps[other] = steps[place] + 1
                todo.append(other)
    return steps


@pytest.mark.parametrize("petals", [1, 2, 3, 5])
def test_an_instance_is_two_equal_flowers(petals: int) -> None:
    """10 D + 1 places and 11 D paths each; the answer s * D steps away, the other target nowhere."""
    made = flower(petals=petals, questions=3, seed=petals)
    around = graph(made)
    assert len(around) == len(made.passages) == 3 * 2 * (10 * petals + 1)
    assert all(place in around[other] for place, near in around.items() for other in near)
    for row in made.questions:
        start, targets = row["form"]["start"], row["form"]["targets"]
        [wrong] = set(targets) - set(row["answers"])
        here, there = reached(around, start), reached(around, wrong)
        assert here[row["answers"][0]] == row["hops"] == len(row["supporting"]) == 3 * petals
        assert not here.keys() & there.keys()
        shapes = [sorted((steps, len(around[place])) for place, steps in side.items())
                  for side in (reached(around, row["answers"][0]), there)]  # fmt: skip
        assert shapes[0] == shapes[1]
        assert sum(len(around[place]) for place in here) == 2 * 11 * petals
        degrees = Counter(len(around[place]) for place in here)
        assert degrees == {1: petals, 2: 8 * petals + 1, 3: 1, 5: petals - 1} if petals > 1 else degrees[3] == 1
        assert [step["passage"] for step in row["decomposition"]] == row["supporting"]


def test_the_order_of_targets_and_passages_tells_nothing(world: World) -> None:
    first = sum(row["form"]["targets"][0] == row["answers"][0] for row in world.questions)
    assert 0.35 < first / INSTANCES < 0.65
    place = {row["title"]: number for number, row in enumerate(world.passages)}
    earlier = sum(place[a] < place[b] for a, b in (row["form"]["targets"] for row in world.questions))
    assert 0.35 < earlier / INSTANCES < 0.65


def test_the_same_seed_makes_the_same_flowers(tmp_path: Path) -> None:
    card = flower(petals=2, questions=3, seed=7).card()
    assert card["sha256"] == {
        "corpus.jsonl": "81f506b41d5c90b0379478fb5a14ee222cac9728cb26fe5fe9fc45b6da37a09a",
        "questions.jsonl": "3d9385a57001ee5c681b60b6ab58bf2a0681a59567c01eb640dcd48b7862623d",
    }
    small, large = flower(petals=2, questions=2, seed=7), flower(petals=2, questions=3, seed=7)
    assert large.questions[:2] == small.questions
    large.save(tmp_path / "w")
    assert len(load_questions(tmp_path / "w" / "questions.jsonl")) == 3


@pytest.mark.parametrize(
    "given",
    [
        {"petals": 0},
        {"petals": 21},
        {"petals": 2.5},
        {"petals": "2"},
        {"petals": 2, "questions": 0},
        {"petals": 2, "seed": "x"},
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        flower(**given)


def test_the_bound_shows(bench: ModuleType, index: Index, world: World) -> None:
    """All figures of the benchmark at its smallest size: none of its claims fails."""
    rows = {row["what"]: row for row in bench.measure(index, world.questions, PETALS, 7)}
    assert [what for what, row in rows.items() if row["holds"] is False] == []
    assert rows["one depth_first chain"]["rate"] == 1.0
    assert all(rows[what]["blind"] for what in rows if what.startswith("vote of 1"))
    assert rows["merged notes of 7: depth_first, from both ends"]["low"] > 0.8
    # the same chains, the same cost: only what is made of them differs
    both = [rows[f"{how} of 7: depth_first, from both ends"] for how in ("vote", "merged notes")]
    assert both[0]["retrievals"] == both[1]["retrievals"] == 7 * 5
    assert both[0]["serial"] == both[1]["serial"] == 5
    assert both[0]["rate"] < both[1]["rate"]


def test_one_retrieval_more_and_views_decide(bench: ModuleType, index: Index, world: World) -> None:
    """The bound is tight: at s * D retrievals some walks see a target, below it none does."""
    for limit, some in ((3 * PETALS - 1, False), (3 * PETALS, True)):
        runs = list(bench.instances(index, world.questions, bench.walk, 3, limit, ends=False))
        assert any(chain.decided for _, chains in runs for chain in chains) is some
        answers = [row["answers"][0] for row in world.questions]
        decided = [
            (chain.decided, answer) for (_, chains), answer in zip(runs, answers, strict=True) for chain in chains
        ]
        assert all(said in (None, answer) for said, answer in decided)


def test_what_the_ledger_counts_is_what_was_searched(bench: ModuleType, index: Index, world: World) -> None:
    """Limits are reached to the search and not passed; totals are sums, the serial path is the longest chain."""
    for limit in (1, 4, 5):
        runs = list(bench.instances(index, world.questions[:20], bench.depth_first, 5, limit, ends=True))
        assert bench.charged(runs, limit) == []
        for ledger, chains in runs:
            assert [chain.looked for chain in chains] == [limit] * 5
            assert all(chain.refused for chain in chains)
            assert ledger.spent == Spend(queries=5 * limit, rounds=5 * limit, passages=5 * limit)
            assert max(chain.clock.rounds for chain in chains) == limit


def test_a_ledger_that_counts_wrong_is_found(
    bench: ModuleType, index: Index, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "_settle", lambda self, held, actual, stored: None)
    runs = list(bench.instances(index, world.questions[:2], bench.walk, 3, 4, ends=False))
    assert bench.charged(runs, 4)


def test_a_ledger_that_refuses_late_is_found(bench: ModuleType, index: Index, world: World) -> None:
    runs = list(bench.instances(index, world.questions[:2], bench.depth_first, 3, 5, ends=False))
    assert bench.charged(runs, 5) == []
    assert bench.charged(runs, 4)


def test_a_search_that_finds_another_place_stops_the_run(bench: ModuleType, index: Index, world: World) -> None:
    """The view would be one of another task: it is not taken."""
    moves = bench.walk("Elsewhere", random.Random(0))
    form = world.questions[0]["form"]
    chain = bench.Chain(world.questions[0], Ledger(Budget()), moves, next(moves), frozenset(form["targets"]), "")
    with pytest.raises(RagscaleError, match="a search for Elsewhere found"):
        chain.see(index.passage(world.passages[0]["id"]))


def test_the_walk_takes_one_turn_of_all_but_the_way_back(bench: ModuleType, world: World) -> None:
    """By its formula: 1/3 at the start, 1/4 at each later junction, on walks without an index."""
    around, row = graph(world), world.questions[0]
    rng, hits, count = random.Random(1), 0, 6000
    for _ in range(count):
        moves = bench.walk(row["form"]["start"], rng)
        place = next(moves)
        for _ in range(3 * PETALS - 1):
            try:
                place = moves.send(around[place])
            except StopIteration:
                break
        else:
            hits += row["answers"][0] in around[place]
    from scipy.stats import binomtest

    assert binomtest(hits, count, 1 / 3 / 4).pvalue > 1e-3


def test_the_steps_of_the_paper_are_moves_of_the_same_search(world: World) -> None:
    """14 on average for two petals: moves back along the trail, and the one onto the target, count too."""
    around, row = graph(world), world.questions[0]
    rng, moves, count = random.Random(2), 0, 4000
    for _ in range(count):
        trail, seen = [row["form"]["start"]], {row["form"]["start"]}
        while trail[-1] != row["answers"][0]:
            new = [place for place in around[trail[-1]] if place not in seen]
            trail.append(rng.choice(new)) if new else trail.pop()
            seen.add(trail[-1])
            moves += 1
    assert abs(moves / count - 14) < 0.3
