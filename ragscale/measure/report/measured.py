"""`Measured`: the rows of one run, or of two runs of the same questions, as matrices of questions by cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import InvalidInput
from ragscale.measure.cell import MeasuredCell
from ragscale.measure.questions import LEFT_OUT, Question, left_out
from ragscale.measure.racing import Drop
from ragscale.measure.statistics.arrays import Array, core
from ragscale.view.report import Axis

if TYPE_CHECKING:
    import pyarrow

__all__ = ["AXES", "DIMENSIONS", "EQUAL", "Measured", "ReadableRun", "measured"]

AXES: dict[Axis, str] = {
    "tokens": "total_tokens", "serial_tokens": "serial_tokens", "rounds": "serial_rounds", "seconds": "serial_seconds",
    "usd": "total_usd",
}  # fmt: skip
"""Costs of a question, and the column of each."""
DIMENSIONS = {
    "tokens": "total_tokens", "queries": "total_queries", "llm_calls": "total_llm_calls", "rounds": "serial_rounds",
    "serial_tokens": "serial_tokens", "serial_calls": "serial_llm_calls", "seconds": "serial_seconds",
    "usd": "total_usd",
}  # fmt: skip
"""Limits of a budget, and the column of what is charged to each."""

EQUAL = 1e-12
"""Scores that are closer are the same."""
_SCORES = ("f1", "em", "full_recall", "gold_recall", "gold_passages")
_TEXTS = ("answer", "stop_reason", "reason", "code", "settings")


class ReadableRun(Protocol):
    """A run that can be read: `ragscale.measure.Run`."""

    folder: Path
    settings: dict[str, Any]
    cells: dict[str, MeasuredCell]
    questions: dict[str, Question]
    drops: list[Drop]
    broken: int

    def rows(self) -> pyarrow.Table:
        """As `ragscale.measure.Run.rows`."""
        ...


@dataclass(frozen=True)
class Measured:
    """Everything that the rows say. A *matrix* has a line a question and a column a cell, NaN or None without a row."""

    runs: list[str]
    """Names of the runs."""
    cells: list[MeasuredCell]
    """Cells with rows."""
    run: list[int]
    """The run of each cell."""
    unasked: list[tuple[int, str]]
    """Cells without a row of these questions: run and key."""
    questions: list[Question]
    """Those that any cell has answered; of two runs, those that both have."""
    clusters: NDArray[Any]
    """Source document of each question."""
    numbers: dict[str, Array]
    """Matrices by column, of all rows."""
    texts: dict[str, NDArray[Any]]
    known: NDArray[np.bool_]
    """Matrix: whether there is a row."""
    core: NDArray[np.bool_]
    """Cells that most questions have been asked of: all figures of theirs are over the questions `shared`."""
    shared: NDArray[np.bool_]
    """Questions that all cells of the core have."""

    @property
    def documents(self) -> int:
        """Source documents of the questions `shared`."""
        return len(set(self.clusters[self.shared].tolist()))

    @property
    def axes(self) -> list[Axis]:
        """Costs that are known."""
        return [axis for axis, column in AXES.items() if column in self.numbers]

    def name(self, cell: int) -> str:
        """Key of a cell; of two runs with the name of its run, as both may have a cell of that key."""
        return self.named(self.run[cell], self.cells[cell].key)

    def named(self, run: int, key: str) -> str:
        """As `name`, of any cell of the runs."""
        return f"{self.runs[run]}: {key}" if len(self.runs) > 1 else key

    def values(self, column: str) -> Array:
        """The matrix of a column over the questions that count: of cells of the core those that all of them have."""
        kept = np.where(self.core[None, :], self.shared[:, None], True)
        return np.where(kept, self.numbers[column], np.nan)

    def cost(self, axis: Axis) -> Array:
        """The matrix of a cost, as `values`."""
        return self.values(AXES[axis])

    def mean(self, column: str, cell: int) -> float:
        """Mean of a column over the questions of a cell that count; NaN where none is known."""
        values = self.values(column)[:, cell]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")

    def differing(self, first: int, second: int) -> int:
        """Questions that count on which the scores of two cells differ."""
        values = self.values("f1")
        return int((np.abs(values[:, first] - values[:, second]) > EQUAL).sum())

    def same(self, first: int, second: int) -> Literal["answers", "scores"] | None:
        """Whether two cells have the same answers to all questions that count, or else the same scores."""
        if self.differing(first, second):
            return None
        lines = ~np.isnan(self.values("f1")[:, [first, second]]).any(axis=1)
        one, other = (self.texts["answer"][lines, cell].tolist() for cell in (first, second))
        return "answers" if [*map(left_out, one)] == [*map(left_out, other)] else "scores"

    def failed(self, cell: int) -> int:
        """Questions of a cell that failed."""
        return int((self.texts["stop_reason"][self.known[:, cell], cell] == "failed").sum())

    def nothing_ran(self, cell: int) -> bool:
        """Whether every question of a cell failed: its scores of 0 are no result of its mode."""
        return self.failed(cell) == int(self.known[:, cell].sum())

    def together(self, cells: Sequence[int]) -> list[int]:
        """Those of the cells that belong to the core."""
        return [cell for cell in cells if self.core[cell]]

    @property
    def gold(self) -> NDArray[np.int64]:
        """Number of gold passages of each question that the index knows, as its rows have it."""
        found: Array = np.nan_to_num(np.where(self.known, self.numbers["gold_passages"], 0)).max(axis=1)
        return found.astype(np.int64)

    def seeds(self) -> list[int]:
        """Different seeds, in order."""
        return sorted({cell.seed for cell in self.cells})

    @property
    def advised_seed(self) -> int:
        """The seed that advice is from: the smallest one of the last run, of cells of the core if it has any."""
        last = [at for at, run in enumerate(self.run) if run == max(self.run)]
        return min(self.cells[at].seed for at in self.together(last) or last)

    def property(self, name: str) -> list[Any]:
        """A property of each question, such as ``hops``; None where it has none."""
        return [getattr(question, name) for question in self.questions]


def measured(runs: Sequence[ReadableRun]) -> Measured:
    """The rows of one run, or of two.

    Raises:
        InvalidInput: There are no rows, or the runs have no question in common, or different ones of the same id.
    """
    names = _names(runs)
    tables = [run.rows() for run in runs]
    for run, table in zip(runs, tables, strict=True):
        if not table.num_rows:
            raise InvalidInput(f"{run.folder}: no finished question", "Run the sweep first.")
    asked = [set(table["id"].to_pylist()) for table in tables]
    both = set.intersection(*asked)
    ids = [id for id in runs[-1].questions if id in both]
    if not ids:
        raise InvalidInput(
            f"{runs[0].folder} and {runs[-1].folder} have no question in common", "Give two runs of the same questions."
        )
    for run in runs[:-1]:
        for id in ids:
            words = {run.questions[id].question, runs[-1].questions[id].question} - {LEFT_OUT}
            if len(words) > 1:
                raise InvalidInput(
                    f"question {id!r} is another one in {run.folder}", "Give runs of the same questions."
                )
    cells, of, unasked, wide = [], [], [], []
    for at, (run, table) in enumerate(zip(runs, tables, strict=True)):
        pairs = zip(table["cell"].to_pylist(), table["id"].to_pylist(), strict=True)
        have = {cell for cell, id in pairs if id in both}
        unasked += [(at, key) for key in run.cells if key not in have]
        cells += [cell for key, cell in run.cells.items() if key in have]
        of += [at for key in run.cells if key in have]
        wide.append([key for key in run.cells if key in have])
    questions = [runs[-1].questions[id] for id in ids]
    clusters = np.array([question.cluster or question.id for question in questions], dtype=object)
    numbers, texts, known = _matrices(tables, wide, ids)
    full = np.asarray(known.any(axis=1))
    questions = [question for question, one in zip(questions, full, strict=True) if one]
    dropped = [any(drop.cell == cell.key for drop in runs[run].drops) for cell, run in zip(cells, of, strict=True)]
    in_core, shared = core(known[full], np.array(dropped))
    return Measured(
        runs=names, cells=cells, run=of, unasked=unasked, questions=questions, clusters=clusters[full],
        numbers={name: matrix[full] for name, matrix in numbers.items()},
        texts={name: matrix[full] for name, matrix in texts.items()}, known=known[full], core=in_core, shared=shared,
    )  # fmt: skip


def _names(runs: Sequence[ReadableRun]) -> list[str]:
    """The folders' names, with as much of their paths as tells them apart."""
    parts = [run.folder.absolute().parts for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{part[-1]} ({at})" for at, part in enumerate(parts, 1)]  # the same run twice


def _matrices(
    tables: Sequence[pyarrow.Table], cells: Sequence[Sequence[str]], ids: Iterable[str]
) -> tuple[dict[str, Array], dict[str, NDArray[Any]], NDArray[np.bool_]]:
    import pyarrow as pa

    line: Mapping[str, int] = {id: at for at, id in enumerate(ids)}
    size = (len(line), sum(map(len, cells)))
    names = [name for name in tables[-1].column_names if name.startswith(("total_", "serial_", "paid_"))]
    numbers = {name: np.full(size, np.nan) for name in (*_SCORES, *names)}
    texts = {name: np.full(size, None, dtype=object) for name in _TEXTS}
    known = np.zeros(size, dtype=bool)
    before = 0
    for table, keys in zip(tables, cells, strict=True):
        column = {key: before + at for at, key in enumerate(keys)}
        before += len(keys)
        lines = np.array([line.get(id, -1) for id in table["id"].to_pylist()])
        columns = np.array([column.get(key, -1) for key in table["cell"].to_pylist()])
        kept = lines >= 0
        at = (lines[kept], columns[kept])
        known[at] = True
        for name in numbers:
            if name in table.column_names:
                values = table[name].cast(pa.int8()) if name == "full_recall" else table[name]
                numbers[name][at] = values.cast(pa.float64()).to_numpy()[kept]
        for name in texts:
            texts[name][at] = np.array(table[name].to_pylist(), dtype=object)[kept]
    for name in ("total_usd", "serial_usd", "paid_usd"):
        if name in numbers:  # of a cell, all or none: a mean over what is known would say 0 for what is not
            numbers[name][:, (np.isnan(numbers[name]) & known).any(axis=0)] = np.nan
            unknown = np.isnan(numbers[name])
            if not numbers[name][~unknown].any() and unknown[known].any():
                del numbers[name]  # no price is known: the cells at 0 made no call
    return numbers, texts, known
