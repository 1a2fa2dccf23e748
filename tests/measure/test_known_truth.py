"""Simulated runs of known truth (`benchmarks/known_truth.py`): a few in the default suite, 500 of each with -m slow."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from scipy.stats import binom

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "known_truth.py"
RUNS = 500


@pytest.fixture(scope="module")
def known() -> ModuleType:
    """`benchmarks/known_truth.py`."""
    spec = importlib.util.spec_from_file_location("known_truth", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def at_least(share: float, runs: int) -> float:
    """The share that so many runs show all but once in a thousand times, where `share` is the true one."""
    return float(binom.ppf(0.001, runs, share)) / runs


def at_most(share: float, runs: int) -> float:
    return float(binom.ppf(0.999, runs, share)) / runs


SHAPES = ["rate .5", "rate .9", "rate .05", "F1 .48", "F1 .15", "F1 .88", "F1 .04", "difference"]


@pytest.mark.parametrize(
    ("shape", "clustered"), [("rate .9", False), ("F1 .15", False), ("difference", False), ("F1 .48", True)]
)
def test_a_few_intervals_of_twenty_questions_cover(known: ModuleType, shape: str, clustered: bool) -> None:
    assert known.intervals(shape, 20, 60, clustered=clustered)["covers"] >= at_least(0.95, 60)


def test_the_floor_holds_where_rare_questions_decide_and_few_were_asked(known: ModuleType) -> None:
    found = known.floors("rare", 12, 100)
    assert found["covers_with"] >= at_least(0.95, 100)
    assert found["covers_without"] < at_least(0.95, 100)
    assert found["width_with"] < 0.7


def test_a_few_comparisons_of_equal_modes(known: ModuleType) -> None:
    found = known.verdicts("F1", 30, 40)
    assert found["better"] + found["worse"] <= at_most(0.05, 40)


def test_a_few_modes_a_margin_apart(known: ModuleType) -> None:
    found = known.margins(100, 40, margin=0.25)
    assert found["equal"] > 0.8
    assert found["a_margin_apart"] <= at_most(0.05, 40)


def test_a_few_races(known: ModuleType) -> None:
    found = known.racing(200, 20)
    assert found["best_kept"] == 1.0
    assert found["wrong_drop"] == 0.0
    assert found["saved"] > 0.15


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_cover_at_their_level(known: ModuleType, shape: str, clustered: bool, n: int) -> None:
    assert known.intervals(shape, n, RUNS, clustered=clustered)["covers"] >= at_least(0.95, RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize(("kind", "clustered"), [("rate", False), ("F1", False), ("F1", True), ("skewed", False)])
def test_equal_modes_are_seldom_called_better(known: ModuleType, kind: str, clustered: bool, n: int) -> None:
    found = known.verdicts(kind, n, RUNS, clustered=clustered)
    assert found["better"] <= 0.05
    assert found["better"] + found["worse"] <= at_most(0.05, RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 200])
def test_modes_a_margin_apart_are_seldom_called_equivalent(known: ModuleType, n: int) -> None:
    assert known.margins(n, RUNS)["a_margin_apart"] <= at_most(0.05, RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 200])
def test_a_family_of_equal_modes_is_seldom_told_apart(known: ModuleType, n: int) -> None:
    assert known.family(n, RUNS)["any_by_holm"] <= at_most(0.05, RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize("docs_of", ["", "one", "mixed"])
def test_no_interaction_is_seldom_found(known: ModuleType, docs_of: str, n: int) -> None:
    found = known.interactions(n, RUNS, docs_of=docs_of)
    assert found["false"] <= at_most(0.05, RUNS)
    assert found["gain_covers"] >= at_least(0.95, RUNS)


@pytest.mark.slow
def test_the_questions_said_to_be_missing_decide(known: ModuleType) -> None:
    assert 0.7 <= known.further(RUNS)["decided"] <= 0.9  # 0.8, where the interval and the p-value agree with the normal


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("n", [50, 200, 500])
def test_racing_keeps_the_best_cell(known: ModuleType, n: int, clustered: bool) -> None:
    found = known.racing(n, RUNS, clustered=clustered)
    assert found["best_kept"] >= 0.95
    assert found["wrong_drop"] <= 0.05


@pytest.mark.slow
def test_many_looks_at_equal_cells_drop_seldom(known: ModuleType) -> None:
    assert known.looks(200, 100)["any_drop"] <= at_most(0.05, 100)
