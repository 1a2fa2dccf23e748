"""Racing: what is dropped, on what evidence, and what never is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ragscale.errors import InvalidInput
from ragscale.measure.racing import Drop, race, replay, rungs

CELLS = ["once", "chain", "tree"]


def scores(n: int, *means: float, seed: int = 0) -> np.ndarray:
    """Rates, by cell."""
    return (np.random.default_rng(seed).random((n, len(means))) < means).astype(float)


def costs(n: int, *each: float) -> np.ndarray:
    return np.tile(each, (n, 1))


def test_a_dominated_cell_is_dropped_with_its_evidence() -> None:
    y = scores(64, 0.3, 0.9, 0.4)
    [drop] = race(CELLS, y, {"tokens": costs(64, 1, 4, 9)}, rung=3)
    means = y.mean(axis=0)
    assert (drop.cell, drop.by, drop.rung, drop.n) == ("tree", "chain", 3, 64)
    assert drop.difference == pytest.approx(means[1] - means[2])
    assert 0 <= drop.bound < drop.difference
    assert (drop.cost, drop.cost_by) == (9, 4)


def test_a_cell_that_is_cheaper_in_any_way_stays() -> None:
    y, spent = scores(200, 0.5, 0.9, 0.1), costs(200, 1, 4, 9)
    assert [drop.cell for drop in race(CELLS, y, {"tokens": spent})] == ["tree"]
    serial = costs(200, 1, 4, 2)
    assert [drop.by for drop in race(CELLS, y, {"tokens": spent, "serial": serial})] == ["once"]
    assert race(CELLS, y, {"tokens": spent, "serial": costs(200, 1, 4, 0.5)}) == []


def test_the_baseline_is_never_dropped() -> None:
    y, spent = scores(200, 0.1, 0.9, 0.1), costs(200, 4, 4, 4)
    assert [drop.cell for drop in race(CELLS, y, {"tokens": spent})] == ["once", "tree"]
    assert [drop.cell for drop in race(CELLS, y, {"tokens": spent}, kept={"once"})] == ["tree"]


def test_what_was_dropped_neither_drops_nor_is_dropped_again() -> None:
    y, spent = scores(200, 0.1, 0.9, 0.1), costs(200, 4, 4, 4)
    y[64:, 1] = math.nan
    assert [drop.n for drop in race(CELLS, y, {"tokens": spent})] == [64, 64]
    assert race(CELLS, y, {"tokens": spent}, dropped=["chain"]) == []
    assert [drop.cell for drop in race(CELLS, y, {"tokens": spent}, dropped=["once"])] == ["tree"]


def test_a_few_questions_drop_nothing() -> None:
    assert race(CELLS, scores(4, 0.0, 1.0, 0.0), {"tokens": costs(4, 1, 1, 1)}) == []


def test_evidence_does_not_shrink_when_questions_are_added_nor_change_by_their_order() -> None:
    y, spent = scores(128, 0.2, 0.8, 0.5), costs(128, 1, 1, 1)
    bounds: dict[str, float] = {}
    for n in (32, 64, 128):
        for drop in race(CELLS, y[:n], {"tokens": spent[:n]}):
            # Labels in another order than the questions', of which none is shared, change nothing.
            assert drop in race(CELLS, y[:n], {"tokens": spent[:n]}, clusters=[f"{-i:04}" for i in range(n)])
            bounds[drop.cell + drop.by] = max(bounds.get(drop.cell + drop.by, 0.0), drop.bound)
            assert drop.bound == bounds[drop.cell + drop.by]
    assert bounds


def test_questions_of_one_document_are_one_observation() -> None:
    y, spent = scores(40, 0.0, 1.0, 0.0), costs(40, 1, 1, 1)
    assert {drop.cell for drop in race(CELLS, y, {"tokens": spent})} == {"once", "tree"}
    assert race(CELLS, y, {"tokens": spent}, clusters=["a", "b"] * 20) == []


@pytest.mark.parametrize("cell", [0, 1, 2])
def test_failures_that_are_tried_again_drop_no_cell(cell: int) -> None:
    """An endpoint that is gone for 20 of 64 questions of one cell."""
    y, spent = np.full((64, 3), 0.6), costs(64, 4, 4, 4)
    failed = np.zeros((64, 3), dtype=bool)
    failed[10:30, cell] = True
    y[failed] = 0.0
    assert {drop.cell for drop in race(CELLS, y, {"tokens": spent})} == {CELLS[cell]}
    assert race(CELLS, y, {"tokens": spent}, failed=failed) == []
    # nor does one that beats others only where they failed; what is sure all the same is dropped
    y[:, cell] = 0.0
    [drop] = {drop.cell: drop for drop in race(CELLS, y, {"tokens": spent}, failed=failed)}.values()
    assert (drop.cell, drop.difference) == (CELLS[cell], pytest.approx((44 * 0.6 - 20 * 0.4) / 64))
    better = np.where(np.arange(3) == cell, 1.0, 0.0) * ~failed
    assert {one.difference for one in race(CELLS, better, {"tokens": spent}, failed=failed)} == {44 / 64}


def test_an_unknown_price_cannot_be_compared() -> None:
    y, spent = scores(200, 0.1, 0.9, 0.1), costs(200, 1, 1, math.nan)
    assert [drop.cell for drop in race(CELLS, y, {"usd": spent})] == ["once"]


@pytest.mark.parametrize(("n", "expected"), [(0, []), (10, [10]), (16, [16]), (100, [16, 32, 64, 100])])
def test_rungs_double(n: int, expected: list[int]) -> None:
    assert rungs(n) == expected


def test_a_replay_says_what_racing_would_have_saved() -> None:
    y, spent = scores(200, 0.3, 0.9, 0.2), costs(200, 1, 4, 5)
    found = replay(CELLS, y, {"tokens": spent}, kept={"once"})
    [drop] = found.drops
    assert isinstance(drop, Drop)
    assert (drop.cell, found.best_full, found.best_raced, found.same) == ("tree", "chain", "chain", True)
    assert found.saved == pytest.approx((200 - drop.n) * 5 / (200 * 10))
    assert found.front_lost == ()


def test_a_replay_tells_what_racing_lost() -> None:
    y = np.vstack([scores(64, 0.0, 1.0, 0.0), scores(600, 0.0, 0.0, 1.0)])  # the questions are in no random order
    found = replay(CELLS, y, {"tokens": costs(664, 1, 4, 5)}, kept={"once"})
    assert not found.same
    assert (found.best_full, found.front_lost) == ("tree", ("tree",))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"cells": ["a", "a"]}, "twice"),
        ({"cells": ["a"]}, "of 1 cells"),
        ({"costs": {}}, "at least one cost"),
        ({"costs": {"tokens": [[1.0]]}}, "with costs"),
        ({"scores": [[2.0, 0.0]]}, "the bounds are 0 and 1"),
        ({"kept": ["z"]}, "'z' is not in the race"),
        ({"dropped": ["z"]}, "'z' is not in the race"),
        ({"alpha": 0}, "alpha 0"),
        ({"rung": 0}, "rung 0"),
        ({"clusters": ["a", "b"]}, "2 clusters for 1 questions"),
    ],
)
def test_what_is_no_race_is_refused(changed: dict[str, object], problem: str) -> None:
    given = {"cells": ["a", "b"], "scores": [[1.0, 0.0]], "costs": {"tokens": [[1.0, 1.0]]}, **changed}
    with pytest.raises(InvalidInput, match=problem):
        race(given.pop("cells"), given.pop("scores"), given.pop("costs"), **given)  # type: ignore[arg-type]


def test_a_replay_needs_a_full_grid() -> None:
    with pytest.raises(InvalidInput, match="no question has a value in all of 2 cells"):
        replay(["a", "b"], [[1.0, math.nan]], {"tokens": [[1.0, 1.0]]})
    with pytest.raises(InvalidInput, match="first rung of 0"):
        replay(["a", "b"], [[1.0, 1.0]], {"tokens": [[1.0, 1.0]]}, first=0)
