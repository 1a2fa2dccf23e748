"""`Run`: the measured rows of a folder, as a table."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ragscale.errors import InvalidInput, MissingDependency
from ragscale.measure.cell import MeasuredCell
from ragscale.measure.questions import LEFT_OUT, Question, left_out, without_texts
from ragscale.measure.racing import Drop
from ragscale.measure.store import Row, Store
from ragscale.measure.table import ModeReport, as_html, summarise, table
from ragscale.types import Spend

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from ragscale.view.report import Report

__all__ = ["Run"]

_DIMENSIONS = (*(field.name for field in fields(Spend)), "tokens")


class Run:
    """A run of `ragscale.measure.sweep`, for reading; it may be under way meanwhile.

    Args:
        folder: The run.
        cells: Keys of the cells that are looked at; None for all.
        questions: Ids of the questions that are looked at; None for all.

    Raises:
        InvalidInput: The folder is no run, its files are damaged, or it lacks a cell or a question.
    """

    def __init__(
        self, folder: str | Path, cells: Sequence[str] | None = None, questions: Sequence[str] | None = None
    ) -> None:
        self._store = Store(Path(folder))
        self.folder = self._store.folder
        self._read: dict[str, tuple[int, dict[str, Row]]] = {}  # size of the file, and its rows
        self.settings: dict[str, Any] = self._store.config()
        """Index, model, kind of search and version."""
        self._known: dict[str, dict[str, Any]] = self.settings.pop("cells")
        everything = self._store.questions()
        self._refuse_unknown("cell", cells or (), self._known)
        self._refuse_unknown("question", questions or (), everything)
        self.cells: dict[str, MeasuredCell] = {
            key: MeasuredCell(key, self._known[key]["mode"], self._known[key]["budget"], self._known[key]["seed"])
            for key in (self._known if cells is None else cells)
        }
        """Cells by key, in the order in which they came to the run."""
        self.questions: dict[str, Question] = {
            id: everything[id] for id in (everything if questions is None else questions)
        }
        """Questions by id."""
        found = [Drop(**drop) for look in self._store.looks() for drop in look["drops"]]
        self.drops: list[Drop] = [drop for drop in found if drop.cell in self.cells]
        """Cells that a race dropped, in order, with the evidence."""
        self.broken: int = self._store.broken()
        """Times that a sweep of it was broken off and gone on with: `paid` lacks the calls of what was in flight."""

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {len(self.cells)} cells, {len(self.questions)} questions)"

    def rows(self) -> pyarrow.Table:
        """The finished questions, a line each, sorted by cell and question.

        ``cell``, ``mode``, ``budget`` (JSON) and ``seed``; ``id``, ``cluster`` (source document of the question; its id
        where that is unknown), ``type``, ``hops``, ``breadth`` and ``gold_passages`` (number of those that the index
        knows); ``answer``, ``em``, ``f1``, ``gold_recall`` and ``full_recall`` (whether all gold passages were
        retrieved); ``stop_reason``, ``reason``, ``failed``, ``cut_short``, ``wall_seconds``; marks of the ``code`` and
        of the ``settings``; and for each dimension of `Spend`, and for ``tokens``, what was charged in total
        (``total_tokens``) and along the critical path (``serial_tokens``), and what this run paid (``paid_tokens``).
        """
        import pyarrow as pa

        lines = [_line(cell, self.questions[row.id], row) for cell in self.cells.values() for row in self._rows(cell)]
        lines.sort(key=lambda line: (line["cell"], line["id"]))
        return pa.Table.from_pylist(lines, schema=_schema())

    def to_pandas(self) -> pandas.DataFrame:
        """`rows` as a data frame.

        Raises:
            MissingDependency: pandas is not installed.
        """
        try:
            return self.rows().to_pandas()
        except ImportError as error:
            raise MissingDependency(
                f"pandas cannot be imported ({error})", "Install it: pip install pandas."
            ) from error

    def _repr_html_(self) -> str:
        """The means of each cell, as a notebook shows them."""
        reports = self.reports()
        return as_html(table(reports)) if reports else f"<code>{escape(repr(self))}</code>"

    def row(self, cell: str, question: str) -> Row | None:
        """The row of a question; None where the cell has not finished it. Raises `InvalidInput` for an unknown cell."""
        self._refuse_unknown("cell", [cell], self.cells)
        return self._found(self.cells[cell]).get(question)

    def trace(self, cell: str, question: str) -> dict[str, Any]:
        """The whole answer to a question, as `Answer.to_dict` gives it.

        Args:
            cell: Key of the cell.
            question: Id of the question.

        Raises:
            InvalidInput: The run has no such cell or question, the run of the question raised an error, or the file of
                traces is absent or damaged.
        """
        self._refuse_unknown("question", [question], self.questions)
        row = self.row(cell, question)
        if row is None or row.trace is None:
            why = "it has not been asked yet" if row is None else row.reason if row.failed else "kept without traces"
            remedy = "Run it again." if row is None or row.failed else "Give the run that it was kept from."
            raise InvalidInput(f"{self.folder}: no trace of question {question!r} in {cell}: {why}", remedy)
        return self._store.read_trace(cell, row.trace)

    def finished(self, cell: str) -> set[str]:
        """Ids of the questions that a cell has finished: those of failed ones are left out.

        Raises:
            InvalidInput: The run has no such cell.
        """
        self._refuse_unknown("cell", [cell], self.cells)
        return {id for id, row in self._found(self.cells[cell]).items() if not row.failed}

    def reports(self) -> dict[str, ModeReport]:
        """Means of each cell that has finished questions, by its key; a notebook shows them as a table."""
        found = {key: list(self._rows(cell)) for key, cell in self.cells.items()}
        return _Means({key: summarise(rows) for key, rows in found.items() if rows})

    def report(self, other: Run | None = None, **options: Any) -> Report:
        """The report: what the run says, and what it does not, as one JSON value: `ragscale.measure.report.report`.

        Shown, it is its answer in words, in a notebook with the table of means.

        Args:
            other: A later run of the same questions, to compare with.
            **options: ``margin`` (0.05), ``level`` (0.95), ``tuned_on_these`` (False), ``texts`` (True).

        Raises:
            InvalidInput: No question is finished, the runs have none in common, or an option is out of range.
        """
        from ragscale.measure.report import report

        return cast("Report", _Words(self, report(self, other, **options)))

    def keep(self, out: str | Path, *, texts: bool = True) -> Run:
        """Write what reports are made of as a run of its own: settings, questions and rows.

        Args:
            out: Its folder, empty or not there yet.
            texts: Whether it has the texts of questions, answers and reasons. False for what is published: ids, scores,
                spends and marks are left, gold passages are numbered, and a short mark tells which answers are the
                same.

        Returns:
            The run that was written. It has no traces and no model calls.

        Raises:
            InvalidInput: The folder is not empty.
            RagscaleError: It cannot be written.
        """
        kept = Store(Path(out))
        questions: Iterable[Question] = self.questions.values()
        rows = {key: [replace(row, trace=None) for row in self._rows(cell)] for key, cell in self.cells.items()}
        if not texts:
            questions = map(without_texts, questions)
            rows = {key: [_without_texts(row) for row in lines] for key, lines in rows.items()}
        cells = {key: self._known[key] for key in self.cells}
        kept.copy({**self.settings, "cells": cells}, questions, rows, self._store.looks(), self.broken)
        return Run(kept.folder)

    def _refuse_unknown(self, name: str, given: Iterable[str], known: Mapping[str, Any]) -> None:
        for value in given:
            if value not in known:
                raise InvalidInput(f"{self.folder}: no {name} {value!r}", f"It has: {', '.join(list(known)[:20])}.")

    def _rows(self, cell: MeasuredCell) -> Iterator[Row]:
        return (row for id, row in self._found(cell).items() if id in self.questions)

    def _found(self, cell: MeasuredCell) -> dict[str, Row]:
        """The rows of a cell, read again where its file has grown."""
        path = self._store.path(cell.key)
        size = path.stat().st_size if path.exists() else 0
        if cell.key not in self._read or self._read[cell.key][0] != size:
            self._read[cell.key] = size, self._store.read_rows(cell.key)
        return self._read[cell.key][1]


class _Means(dict[str, ModeReport]):
    """Means by cell, short where they are shown."""

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{key!r}: F1 {one.f1:.2f} of {one.n}" for key, one in self.items()) + "}"

    def _repr_html_(self) -> str:
        return as_html(table(self)) if self else ""


class _Words(dict[str, Any]):
    """A report, short where it is shown."""

    def __init__(self, run: Run, found: Mapping[str, Any]) -> None:
        super().__init__(found)
        self._run = run

    def __repr__(self) -> str:
        return "\n".join([f"Report of {self['title']}", *self["answer"]])

    def _repr_html_(self) -> str:
        told = "".join(f"<p>{escape(line)}</p>" for line in self["answer"])
        return f"<div><h4>{escape(self['title'])}</h4>{told}{self._run._repr_html_()}</div>"


def _without_texts(row: Row) -> Row:
    return replace(row, answer=left_out(row.answer), reason=LEFT_OUT if row.reason else "")


def _line(cell: MeasuredCell, question: Question, row: Row) -> dict[str, Any]:
    spends = {"total": row.spend.total, "serial": row.spend.serial, "paid": row.paid}
    return {
        "cell": cell.key,
        "mode": cell.mode,
        "seed": cell.seed,
        "budget": json.dumps(cell.budget),
        "id": row.id,
        "cluster": question.cluster or question.id,
        "type": question.type,
        "hops": question.hops,
        "breadth": question.breadth,
        "gold_passages": len(question.supporting) if row.gold_passages is None else row.gold_passages,
        **{name: getattr(row, name) for name in ("answer", "em", "f1", "gold_recall")},
        "full_recall": None if row.gold_recall is None else row.gold_recall == 1.0,
        **{name: getattr(row, name) for name in ("stop_reason", "reason", "failed", "cut_short", "wall_seconds")},
        "code": row.code,
        "settings": row.settings,
        **{f"{name}_{part}": getattr(spend, part) for name, spend in spends.items() for part in _DIMENSIONS},
    }


@functools.cache
def _schema() -> pyarrow.Schema:
    import pyarrow as pa

    text, number, whole, truth = pa.string(), pa.float64(), pa.int64(), pa.bool_()
    kinds = {
        "cell": text, "mode": text, "seed": whole, "budget": text, "id": text, "cluster": text, "type": text,
        "hops": whole, "breadth": whole, "gold_passages": whole, "answer": text, "em": number, "f1": number,
        "gold_recall": number, "full_recall": truth, "stop_reason": text, "reason": text, "failed": truth,
        "cut_short": truth, "wall_seconds": number, "code": text, "settings": text,
    }  # fmt: skip
    of_spend = {name: number if name in ("seconds", "usd") else whole for name in _DIMENSIONS}
    spends = {f"{name}_{part}": of_spend[part] for name in ("total", "serial", "paid") for part in _DIMENSIONS}
    return pa.schema(list({**kinds, **spends}.items()))
