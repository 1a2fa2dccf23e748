"""`choose` and `oracle`: the best mode by the run, as measured on other questions, and the best for each question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ragscale.errors import InvalidInput
from ragscale.measure.statistics.arrays import (
    Array,
    Bounds,
    Codes,
    Labels,
    best,
    check_level,
    common,
    floats,
    labelled,
    ordered,
)
from ragscale.measure.statistics.intervals import Interval, interval

__all__ = ["CrossValidatedChoice", "Oracle", "choose", "oracle"]


@dataclass(frozen=True, slots=True)
class Oracle:
    """The best cell for each question, chosen with its gold answer: an upper limit that no method reaches.

    It collects the luck of every cell, too: cells that are equal, but noisy, have an oracle above each of them.
    """

    score: Interval
    cost: float
    """Mean cost of the chosen cells."""
    gain: Interval
    """Over the best fixed cell."""
    chosen: tuple[float, ...]
    """Share of the questions for each cell."""


@dataclass(frozen=True, slots=True)
class CrossValidatedChoice:
    """The rule "take the mode that was best in this run", measured on questions that it was not chosen by."""

    best: tuple[int, ...]
    """Column chosen by all questions; with groups, one for each group in order."""
    score: Interval
    """Cross-validated: every question is scored in the cell chosen without its fold."""
    apparent: float
    """Score of `best` on the questions that chose it: too high on average."""
    cost: float
    """Mean cost of the cross-validated choice."""
    steady: float
    """Share of the questions for which the choice without their fold is `best`."""


def oracle(
    costs: ArrayLike,
    scores: ArrayLike,
    clusters: Labels | None = None,
    *,
    bounds: Bounds = (0.0, 1.0),
    level: float = 0.95,
    seed: int = 0,
) -> Oracle:
    """The mean score of the best cell for each question: a limit, to be shown apart from all that was selected.

    Args:
        costs: Matrix: questions by cells; the cheapest of equally good cells is taken.
        scores: Matrix of the same shape.
        clusters: The source document of each question; None: each question is its own.
        bounds: The lowest and the highest possible score.
        level: Level of the intervals.
        seed: Seed of the resampling.

    Raises:
        InvalidInput: Shapes that differ, no question that all cells have, a score out of `bounds`, or a level out of
            (0, 1).
    """
    shared = common(costs, scores, clusters=clusters)
    cost, y = shared.matrices
    pick = best(cost, y)
    gains = None if bounds is None else (0.0, bounds[1] - bounds[0])
    top, fixed = y.max(axis=1), _picks(cost, y, np.zeros(len(y), dtype=int), 1)[0]
    return Oracle(
        score=interval(top, shared.codes, bounds=bounds, level=level, seed=seed),
        cost=float(cost[np.arange(len(y)), pick].mean()),
        gain=interval(top - y[:, fixed], shared.codes, bounds=gains, level=level, seed=seed),
        chosen=floats(np.bincount(pick, minlength=y.shape[1]) / len(y)),
    )


def choose(
    costs: ArrayLike,
    scores: ArrayLike,
    clusters: Labels | None = None,
    groups: Labels | None = None,
    *,
    folds: int = 10,
    bounds: Bounds = (0.0, 1.0),
    level: float = 0.95,
    seed: int = 0,
) -> CrossValidatedChoice:
    """The best cell by this run, and by cross-validation what choosing it is worth on other questions.

    Args:
        costs: Matrix: questions by cells; the cheapest of equally good cells is taken.
        scores: Matrix of the same shape.
        clusters: The source document of each question, which is never in two folds; None: each question is its own.
        groups: The group of each question: each group has a choice of its own, made by all questions where the other
            folds have none of the group. Questions without one (None) are a group, the last. None: one choice.
        folds: Folds, but not more than documents.
        bounds: The lowest and the highest possible score.
        level: Level of the interval.
        seed: Seed of the folds and of the resampling.

    Raises:
        InvalidInput: Shapes that differ, fewer than two folds, fewer than two documents with a value in all cells, a
            score out of `bounds`, or a level out of (0, 1).
    """
    from sklearn.model_selection import GroupKFold

    check_level(level)
    shared = common(costs, scores, clusters=clusters)
    cost, y = shared.matrices
    documents = len(np.unique(shared.codes))
    if folds < 2 or documents < 2:
        raise InvalidInput(f"{folds} folds of {documents} documents, the least is 2 of 2", "Give more of both.")
    group, number = np.zeros(len(y), dtype=int), 1
    if groups is not None:
        labels = labelled("groups", groups, len(shared.kept))[shared.kept]
        place = {name: at for at, name in enumerate(ordered(labels))}
        group = np.array([place.get(label, len(place)) for label in labels.tolist()])
        number = int(group.max()) + 1
    pick = np.zeros(len(y), dtype=int)
    split = GroupKFold(min(folds, documents), shuffle=True, random_state=seed).split(y, groups=shared.codes)
    for train, test in split:
        pick[test] = _picks(cost[train], y[train], group[train], number)[group[test]]
    chosen = _picks(cost, y, group, number)
    lines = np.arange(len(y))
    return CrossValidatedChoice(
        best=tuple(int(column) for column in chosen),
        score=interval(y[lines, pick], shared.codes, bounds=bounds, level=level, seed=seed),
        apparent=float(y[lines, chosen[group]].mean()),
        cost=float(cost[lines, pick].mean()),
        steady=float((pick == chosen[group]).mean()),
    )


def _picks(cost: Array, score: Array, group: Codes, groups: int) -> Codes:
    """The best column of each group, by all questions for a group without any."""
    members = [group == at if (group == at).any() else np.ones(len(group), dtype=bool) for at in range(groups)]
    return best(
        np.array([cost[member].mean(axis=0) for member in members]),
        np.array([score[member].mean(axis=0) for member in members]),
    )
