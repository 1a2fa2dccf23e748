"""Trace pages of a run's questions, by the command and for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.errors import InvalidInput
from ragscale.measure import Question, Run, asweep
from ragscale.measure.pages import cell_of, page_data, pages
from ragscale.view.page import read_trace


@pytest.fixture
async def run(make_agent: Any, questions: list[Question], tmp_path: Path) -> Run:
    """Two modes over two questions."""
    return await asweep(make_agent(), questions[:2], ["once", "chain(steps=1)"], tmp_path / "run")


async def test_the_data_of_a_page_are_the_trace_and_the_right_answer(run: Run, questions: list[Question]) -> None:
    for row in run.rows().to_pylist():
        data = page_data(run, row["cell"], row["id"])
        assert {**data, "gold": None} == {**run.trace(row["cell"], row["id"]), "gold": None}
        asked = run.questions[row["id"]]
        assert data["gold"] == {
            "answers": list(asked.answers), "supporting": list(asked.supporting),
            "em": row["em"], "f1": row["f1"], "gold_recall": row["gold_recall"],
        }  # fmt: skip


async def test_pages_of_a_report_are_named_by_place(run: Run) -> None:
    cells, ids = list(run.cells), list(run.questions)
    found = list(pages(run, cells, [*ids, "nobody asked"]))
    assert [(cell, question) for cell, question, _ in found] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert all(data["question"] == run.questions[ids[question]].question for _, question, data in found)


async def test_a_cell_is_named_by_its_key_or_its_mode(run: Run) -> None:
    assert [cell_of(run, name) for name in ("once", "chain(steps=1)")] == list(run.cells)
    assert cell_of(Run(run.folder, [next(iter(run.cells))]), None) == next(iter(run.cells))
    for name, problem in ((None, "2 cells are meant"), ("tree", "no cells are meant by 'tree'")):
        with pytest.raises(InvalidInput, match=problem) as error:
            cell_of(run, name)
        assert "chain(steps=1)" in str(error.value)


async def test_the_command_shows_a_question_of_a_run(run: Run, tmp_path: Path) -> None:
    def call(*words: str) -> Any:
        return CliRunner().invoke(app, ["trace", *words, "--out", str(tmp_path / "a.html")])

    folder, id = str(run.folder), next(iter(run.questions))
    result = call(folder, "--cell", "once", "--question", id)
    assert result.exit_code == 0, result.stderr
    data = read_trace(tmp_path / "a.html")
    assert data["mode"] == "once"
    assert data["gold"]["answers"] == list(run.questions[id].answers)
    for words, problem in (
        ([folder], "2 questions, and none of them is named. Give --question ID: "),
        ([folder, "--question", "no"], "2 cells are meant"),
        ([folder, "--question", "no", "--cell", "once"], "no question 'no'"),
        ([str(tmp_path / "a.html"), "--cell", "once"], "is none"),
    ):
        result = call(*words)
        assert result.exit_code == 1
        assert problem in " ".join(result.stderr.split())
