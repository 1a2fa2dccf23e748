"""`--race` replayed on finished runs of the full grid, from their rows, without a model.

For each order of the questions: the share of the full grid's charged tokens that racing would not have spent, whether
it recommends the same cell, and which cells it would have dropped. A cell that was asked all questions has the same
score in any order, so that the recommendation is another one only where the best cell was dropped. Questions that a
cell lacks are left out for all. Orders are of the same questions: their intervals say how much hangs on the order, not
what other questions would give. Charged tokens are what strategies cost; a call that cells share is counted in each.

    python benchmarks/racing.py RUN ... [--orders 500] [--first 16] [--baseline once] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ragscale.errors import InvalidInput
from ragscale.measure import Run
from ragscale.measure.questions import shuffled
from ragscale.measure.racing import COSTS, RUNGS, replay, rungs
from ragscale.measure.statistics import interval
from ragscale.measure.statistics.arrays import grid


def raced(run: Run, *, orders: int = 500, first: int = RUNGS, baseline: str | None = None) -> dict[str, Any]:
    """Racing on the rows of a run, in its own order of the questions and in others by chance.

    Args:
        run: Of the full grid.
        orders: Orders by chance.
        first: Questions of the first rung.
        baseline: Mode whose cells are never dropped; None for that of the run's first cell.
    """
    rows = run.rows()
    cells = [key for key in run.cells if key in set(rows["cell"].to_pylist())]
    kept = [key for key in cells if run.cells[key].mode == (baseline or run.cells[cells[0]].mode)]
    if not kept:
        raise InvalidInput(f"{run.folder}: no cell of mode {baseline!r}", f"It has: {', '.join(cells)}.")
    asked = shuffled(run.questions.values())

    def matrix(column: str) -> np.ndarray[Any, Any]:
        names, ids = rows["cell"].to_pylist(), rows["id"].to_pylist()
        return grid(names, ids, rows[column].to_pylist(), cells=cells, ids=[question.id for question in asked])

    scores, costs = matrix("f1"), {name: matrix(column) for name, column in COSTS.items()}
    if np.isnan(costs["usd"][~np.isnan(scores)]).any():  # as a sweep does: a price is not known
        del costs["usd"]
    whole = ~np.isnan(scores).any(axis=1)
    scores, costs = scores[whole], {name: cost[whole] for name, cost in costs.items()}
    clusters = np.array([question.cluster or question.id for question in asked], dtype=object)[whole]
    rng = np.random.default_rng(0)
    found = [
        replay(
            cells, scores[order], {name: cost[order] for name, cost in costs.items()}, kept=kept,
            clusters=clusters[order], first=first,
        )
        for order in (np.arange(len(scores)), *(rng.permutation(len(scores)) for _ in range(orders)))
    ]  # fmt: skip
    own, *others = found
    dropped = Counter(drop.cell for one in others for drop in one.drops)
    return {
        "run": str(run.folder),
        "questions": len(scores),
        "cells": len(cells),
        "looks": rungs(len(scores), first)[:-1],
        "kept": kept,
        "best": own.best_full,
        "orders": orders,
        "saved": _spread([one.saved for one in others]),
        "same": _rate([one.same for one in others]),
        "front_lost": _rate([bool(one.front_lost) for one in others]),
        "dropped": {cell: dropped[cell] / orders for cell in cells if dropped[cell]},
        "own_order": {
            "saved": own.saved,
            "same": own.same,
            "dropped": [f"{drop.cell} after {drop.n} by {drop.by}" for drop in own.drops],
        },
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return {"mean": float(np.mean(values)), "low": float(low), "high": float(high)}


def _rate(hits: Sequence[bool]) -> dict[str, float | None]:
    found = interval(np.array(hits, dtype=float))  # Wilson's
    return {"share": found.value, "low": found.low, "high": found.high}


def _told(found: dict[str, Any], name: str) -> str:
    return f"{found[name]:.1%} [{found['low']:.1%}, {found['high']:.1%}]"


def main() -> None:
    """Print what racing would have saved in each run."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("runs", nargs="+", type=Path)
    options.add_argument("--orders", type=int, default=500)
    options.add_argument("--first", type=int, default=RUNGS, help="questions of the first rung")
    options.add_argument("--baseline", help="mode that is never dropped; the first by default")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    found = [raced(Run(run), orders=given.orders, first=given.first, baseline=given.baseline) for run in given.runs]
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for one in found:
        saved, same, lost = one["saved"], one["same"], one["front_lost"]
        print(f"{one['run']}: {one['cells']} cells x {one['questions']} questions, looks after {one['looks']}")
        print(f"  saved {_told(saved, 'mean')} of the charged tokens ({one['orders']} orders, 95 % of them)")
        print(f"  same recommendation ({one['best']}): {_told(same, 'share')}")
        print(f"  a cell of the front lost: {_told(lost, 'share')}")
        print(f"  dropped: {', '.join(f'{key} {share:.0%}' for key, share in one['dropped'].items()) or 'none'}")
        own = one["own_order"]
        print(f"  in the run's own order: saved {own['saved']:.1%}; {'; '.join(own['dropped']) or 'nothing dropped'}")


if __name__ == "__main__":
    main()
