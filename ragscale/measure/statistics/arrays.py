"""Arrays of scores by question and cell: checks, the questions in common, sums over documents, resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ragscale.errors import InvalidInput

__all__ = [
    "RESAMPLES",
    "Array",
    "Bounds",
    "Codes",
    "Common",
    "Labels",
    "batch",
    "best",
    "by_cluster",
    "check_level",
    "checked",
    "common",
    "core",
    "floats",
    "grid",
    "labelled",
    "ordered",
]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Labels = Sequence[Any] | NDArray[Any]
Bounds = tuple[float, float] | None

RESAMPLES = 2_000


def grid(
    cell: Sequence[str], id: Sequence[str], values: ArrayLike, *, cells: Sequence[str], ids: Sequence[str]
) -> Array:
    """The matrix of a column of a run's rows.

    Args:
        cell: The cell of each row.
        id: The question of each row.
        values: The column; nulls become NaN.
        cells: Columns of the matrix, in order; rows of other cells are left out.
        ids: Lines of the matrix, in order; rows of other questions are left out.

    Returns:
        An array of shape ``(len(ids), len(cells))``, NaN where there is no row.
    """
    column, line = {name: at for at, name in enumerate(cells)}, {name: at for at, name in enumerate(ids)}
    found = np.full((len(ids), len(cells)), np.nan)
    for name, question, value in zip(cell, id, np.asarray(values, dtype=float), strict=True):
        if name in column and question in line:
            found[line[question], column[name]] = value
    return found


# Checks


def check_level(level: float) -> None:
    """Raise `InvalidInput` for a confidence level outside (0, 1)."""
    if not 0 < level < 1:
        raise InvalidInput(f"level {level!r} is not between 0 and 1", "Give a number such as 0.95.")


def checked(values: ArrayLike, bounds: Bounds = None) -> Array:
    """The values as floats. Raises `InvalidInput` for infinite ones and those out of bounds."""
    x = np.asarray(values, dtype=float)
    if np.isinf(x).any():
        raise InvalidInput("an infinite value", "Give finite numbers, NaN where there is none.")
    if bounds is not None and ((x < bounds[0]) | (x > bounds[1])).any():
        raise InvalidInput(
            f"values from {np.nanmin(x):g} to {np.nanmax(x):g}, the bounds are {bounds[0]:g} and {bounds[1]:g}",
            "Give the lowest and the highest possible value as bounds, None for costs.",
        )
    return x


def labelled(name: str, labels: Labels | None, n: int) -> NDArray[Any]:
    """A label for each question; None: each its own. Raises `InvalidInput` where their number is not `n`."""
    if labels is None:
        return np.arange(n)
    if len(labels) != n:
        raise InvalidInput(f"{len(labels)} {name} for {n} questions", f"Give each question its own of the {name}.")
    if isinstance(labels, np.ndarray):
        return labels
    found = np.empty(n, dtype=object)
    found[:] = list(labels)
    return found


def ordered(labels: NDArray[Any]) -> list[Any]:
    """The different labels in order, without None and NaN: numbers, then texts."""
    known = {label for label in labels.tolist() if label is not None and label == label}
    return sorted(known, key=lambda label: (isinstance(label, str), label))


# Questions in common


@dataclass(frozen=True)
class Common:
    """The questions that all cells have."""

    matrices: list[Array]
    """The matrices given, with the lines of these questions."""
    kept: NDArray[np.bool_]
    """Mask of the questions given: those that are kept."""
    codes: Codes
    """Number of the source document of each, from 0 without gaps."""

    def __len__(self) -> int:
        return len(self.codes)

    def resampled(self, seed: int, *matrices: Array) -> list[Array]:
        """Means of the columns over documents drawn with replacement, the same ones for all columns and matrices.

        Returns:
            For each matrix an array: resamples by columns. The first line has the means without resampling.
        """
        sizes = np.bincount(self.codes).astype(float)
        even = np.full(len(sizes), 1 / len(sizes))
        times = np.random.default_rng(seed).multinomial(len(sizes), even, size=RESAMPLES)
        drawn = np.vstack([np.ones_like(sizes), times])
        return [drawn @ by_cluster(x, self.codes)[0] / (drawn @ sizes)[:, None] for x in matrices]


def common(*matrices: ArrayLike, clusters: Labels | None) -> Common:
    """The questions that have a value in every cell. Raises `InvalidInput` for none, and for shapes that differ."""
    given = [checked(one) for one in matrices]
    shapes = {x.shape for x in given}
    if len(shapes) > 1 or given[0].ndim != 2 or not given[0].shape[1]:
        raise InvalidInput(
            f"arrays of shape {' and '.join(str(x.shape) for x in given)}",
            "Give matrices, questions by cells, all with the same questions and cells.",
        )
    kept = ~np.any([np.isnan(x).any(axis=1) for x in given], axis=0)
    if not kept.any():
        raise InvalidInput(
            f"no question has a value in all of {given[0].shape[1]} cells", "Leave out cells that have too few."
        )
    labels = labelled("clusters", clusters, len(kept))
    return Common([x[kept] for x in given], kept, np.unique(labels[kept], return_inverse=True)[1])


def core(known: NDArray[np.bool_], dropped: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The cells and questions of the core: cells with few rows leave it until the others share half of theirs.

    A cell that a race dropped has the questions of the rungs before: it leaves the core before the others' figures are
    cut to those, unless it was asked the rest all the same.

    Args:
        known: Whether there is a row: questions by cells, at least one of each.
        dropped: Whether a race dropped the cell.
    """
    rows = known.sum(axis=0)
    kept = ~dropped | (rows == rows.max())
    while True:
        shared = cast("NDArray[np.bool_]", known[:, kept].all(axis=1))
        if 2 * shared.sum() >= rows[kept].max() or kept.sum() == 1:
            return kept, shared
        kept[np.where(kept, rows, np.iinfo(int).max).argmin()] = False


# Sums and choices


def by_cluster(x: Array, codes: Codes) -> tuple[Array, Array]:
    """Sums of `x` over each document, and the number of its questions."""
    sizes = np.bincount(codes).astype(float)
    sums = np.zeros((len(sizes), *x.shape[1:]))
    np.add.at(sums, codes, x)
    return sums, sizes


def best(cost: Array, score: Array) -> Codes:
    """Column of the highest score on each line; among equal ones the cheapest, then the first."""
    score = score.round(12)  # means of the same scores in another order differ in their last bit
    tied = score == score.max(axis=1, keepdims=True)
    found: Codes = np.where(tied, cost, np.inf).argmin(axis=1)
    return found


def floats(values: Array) -> tuple[float, ...]:
    """The values as Python floats, for JSON."""
    return tuple(float(value) for value in values)


def batch(n: int) -> int:
    """Resamples of `n` values to hold at a time, in 16 MB."""
    return max(1, 2**21 // n)
