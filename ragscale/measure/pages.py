"""Pages of a run's questions: the stored answer with what is known of the right one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ragscale.errors import InvalidInput
from ragscale.measure.run import Run

__all__ = ["cell_of", "page_data", "pages"]


def page_data(run: Run, cell: str, question: str) -> dict[str, Any]:
    """The answer to a question as `ragscale.view.page.trace_page` shows it, with right answers, passages and scores.

    Args:
        run: That holds it.
        cell: Key of the cell.
        question: Id of the question.

    Raises:
        InvalidInput: As `Run.trace`.
    """
    data = run.trace(cell, question)
    asked = run.questions[question]
    row = run.row(cell, question)
    scores = {name: getattr(row, name) for name in ("em", "f1", "gold_recall")}
    gold = {"answers": list(asked.answers), "supporting": list(asked.supporting), **scores}
    return {**data, "gold": gold}


def pages(run: Run, cells: Iterable[str], questions: Iterable[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The traces that `ragscale.view.report.report_page` takes: those that the run has, all cells of a question first.

    Args:
        run: That holds them.
        cells: Keys, in the order of the report.
        questions: Ids, in the order of the report.
    """
    keys = list(cells)
    for place, question in enumerate(questions):
        for number, cell in enumerate(keys):
            try:
                yield number, place, page_data(run, cell, question)
            except InvalidInput:  # not asked yet, or its run raised an error: the report says so
                continue


def cell_of(run: Run, name: str | None) -> str:
    """The key of the cell that is named, by its key or by its mode.

    Args:
        run: That has it.
        name: None where the run has one cell only.

    Raises:
        InvalidInput: None or several are meant.
    """
    meant = [key for key, cell in run.cells.items() if name in (None, key, cell.mode)]
    if len(meant) == 1:
        return meant[0]
    if name in run.cells:
        return str(name)
    several = meant or list(run.cells)
    problem = f"{run.folder}: {len(meant) or 'no'} cells are meant" + (f" by {name!r}" if name else "")
    raise InvalidInput(problem, f"Give --cell as one of: {', '.join(map(repr, several[:20]))}.")
