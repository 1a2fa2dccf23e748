"""The race of a run: its looks, taken once each and kept in the run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import InvalidInput
from ragscale.measure.cell import Cell
from ragscale.measure.questions import Question
from ragscale.measure.racing import COSTS, Drop, race
from ragscale.measure.store import Row, Store

__all__ = ["Race", "Rows"]

Rows = Mapping[str, Mapping[str, Row]]
"""By the cell's key, by the question's id."""


class Race:
    """The cells that are still in the race, and looks at all of them.

    Args:
        store: Keeps the looks.
        cells: All of the run's call, dropped ones included.
        taken: Questions, in the order in which they are asked.
        kept: Keys of the cells that are never dropped.

    Raises:
        InvalidInput: The run's race was over other questions: its evidence is not of these.
    """

    def __init__(self, store: Store, cells: Sequence[Cell], taken: Sequence[Question], kept: set[str]) -> None:
        self._store, self._taken, self._kept = store, taken, kept
        self._keys = [cell.key for cell in cells]
        self._looks = store.looks()
        for look in self._looks:
            if look["questions"] <= len(taken) and look["mark"] != self._mark(look["questions"]):
                raise InvalidInput(
                    f"{store.folder}: a race over other questions (its first {look['questions']} are not these)",
                    "Give another --out, the questions of that race, or no --race.",
                )
        dropped = {drop["cell"] for look in self._looks for drop in look["drops"]}
        self.dropped = [key for key in self._keys if key in dropped and key not in kept]
        """Keys of the cells that get no further questions."""

    def look(self, rung: int, rows: Rows) -> list[Drop]:
        """Drop what is dominated by the first `rung` questions, which all cells in the race have been asked.

        A look that the run has had already, with the same cells, is not taken again: repeated ones cost certainty.
        """
        racing = [key for key in self._keys if key not in self.dropped]
        if any(look["questions"] == rung and set(racing) <= set(look["cells"]) for look in self._looks):
            return []
        part = self._taken[:rung]
        found = [[rows[key].get(question.id) for key in self._keys] for question in part]
        costs = {name: _values(found, _cost(column)) for name, column in COSTS.items()}
        asked = [at for at, key in enumerate(self._keys) if key in racing]
        if np.isnan(costs["usd"][:, asked]).any():  # a price is not known
            del costs["usd"]
        drops = race(
            self._keys, _values(found, lambda row: row.f1), costs, kept=self._kept, dropped=self.dropped,
            clusters=[question.cluster or question.id for question in part], rung=len(self._looks) + 1,
            failed=[[row is not None and row.failed for row in line] for line in found],
        )  # fmt: skip
        look = {
            "questions": rung,
            "mark": self._mark(rung),
            "cells": racing,
            "drops": [asdict(drop) for drop in drops],
        }
        self._store.add_look(look)
        self._looks.append(look)
        self.dropped += [drop.cell for drop in drops]
        return drops

    def _mark(self, number: int) -> str:
        ids = "\n".join(question.id for question in self._taken[:number])
        return hashlib.sha256(ids.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _cost(column: str) -> Callable[[Row], float | None]:
    """The cost of a row that `Run.rows` has in this column."""
    kind, _, dimension = column.partition("_")
    return lambda row: getattr(getattr(row.spend, kind), dimension)


def _values(rows: Sequence[Sequence[Row | None]], of: Callable[[Row], float | None]) -> NDArray[np.float64]:
    """A matrix, questions by cells; NaN where there is no row or no value."""

    def value(row: Row | None) -> float:
        found = of(row) if row else None
        return np.nan if found is None else found

    return np.array([[value(row) for row in line] for line in rows], dtype=np.float64)
