"""The notebooks run from end to end, and are committed as they ran."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import shutil
from collections.abc import Iterable
from html import escape
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

import ragscale as rs
from ragscale.weights import pinned

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


MODES = ("once", "chain", "parallel")
ABSENT = [name for name in ("llm", "embedder") if not pinned.present(name)]


CORPUS = (ROOT / "corpora" / "elements" / "passages.jsonl").read_text("utf-8")
PASSAGES = {row["id"]: row for row in map(json.loads, CORPUS.splitlines())}


def cell_of(notebook: NotebookNode, words: str) -> NotebookNode:
    """The code cell whose source has these words."""
    [cell] = [cell for cell in notebook.cells if cell.cell_type == "code" and words in cell.source]
    return cell


def outputs(cells: Iterable[NotebookNode], kind: str) -> list[str]:
    """All outputs of a MIME type; the place of a sign of life is empty at the end."""
    found = (output.data.get(kind) for cell in cells for output in cell.outputs if "data" in output)
    return [shown for shown in found if shown]


def printed(cell: NotebookNode) -> str:
    """Output of a cell."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def ran(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells, all of which ran, in order and without an error."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    return cells


def check_quickstart(notebook: NotebookNode) -> None:
    """Answers of three modes to the notebook's question, a chart, and the modes of today."""
    cells = ran(notebook)
    assert outputs(cells[:1], "text/plain") == [f"Index('../indexes/quickstart', {len(PASSAGES)} passages, hybrid)"]
    check_hits(printed(cell_of(notebook, "index.search(")))
    asking = cell_of(notebook, "question = ")
    question = ast.literal_eval(asking.source.partition("question = ")[2].partition("\n")[0])
    answers = {mode: cell_of(notebook, f'answers["{mode}"] = ' if mode != "once" else "rs.Agent(") for mode in MODES}
    shown = outputs(cells, "text/html")
    assert len(shown) == len(MODES)
    for mode, cell in answers.items():
        assert cell.source.rstrip().endswith(f'answers["{mode}"]')
        check_answer(outputs([cell], "text/html"), mode, question)
    assert len(outputs(cells, "image/png")) == 1
    listing = cell_of(notebook, "rs.modes.registered()")
    with contextlib.redirect_stdout(io.StringIO()) as today:
        exec(listing.source, {"rs": rs})
    assert printed(listing) == today.getvalue()


def check_which_mode(notebook: NotebookNode) -> None:
    """A plan, the table of a sweep, the report's words, a chart, rows and the trace of a question."""
    cells = ran(notebook)
    budgets = (2_000, 4_000)
    planned = printed(cell_of(notebook, "ragscale plan"))
    assert all(re.search(rf"^{mode} +[0-9]", planned, re.MULTILINE) for mode in MODES)
    swept = cell_of(notebook, "rs.sweep(")
    [table] = outputs([swept], "text/html")
    keys = [f"{mode}@tokens={tokens}" for mode in MODES for tokens in budgets]
    assert all(key in table for key in keys)
    assert "Means over 4 questions" in table
    words = printed(cell_of(notebook, 'report["answer"]'))
    assert "With 4,000 tokens" in words
    assert "4 questions" in words
    assert len(outputs(cells, "image/png")) == 1
    [rows] = outputs([cell_of(notebook, "run.to_pandas()[columns]")], "text/html")
    assert all(key in rows for key in keys)
    moves = printed(cell_of(notebook, "run.trace(")).splitlines()
    assert {line.split()[0] for line in moves} >= {"plan", "retrieve", "answer"}


CHECKS = {"01-quickstart": check_quickstart, "02-which-mode": check_which_mode}


def check(path: Path, notebook: NotebookNode) -> None:
    """Outputs of a notebook are those that its source gives today."""
    CHECKS[path.stem](notebook)


def check_hits(text: str) -> None:
    """Lines of a score, a title and the beginning of that passage of the shipped corpus."""
    lines = text.strip().splitlines()
    assert len(lines) == 3
    for line in lines:
        assert any(line[5:] == f"  {row['title']}: {row['text'][:70]}..." for row in PASSAGES.values()), line


def check_answer(shown: list[str], mode: str, question: str) -> None:
    """One answer as HTML, to the notebook's question, that says something and cites passages of the corpus."""
    [html] = shown
    assert f">{escape(question)}</div>" in html
    assert f"{mode} · " in html
    assert "Trace (" in html
    assert "limit 4,000" in html
    text = re.search(r"font-size:1\.25em[^>]*>(.*?)</div>", html, re.DOTALL)
    assert text is not None
    assert text[1].strip()
    assert "no answer" not in text[1]
    cited = re.findall(r"\[([^\]<]+)\]</span></summary>", html)
    assert cited
    assert set(cited) <= PASSAGES.keys()
    assert all(escape(PASSAGES[id]["text"]) in html for id in cited)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_shows_what_it_did(path: Path) -> None:
    check(path, nbformat.read(path, as_version=4))
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("site-packages", "/home/", "/root/", "/tmp/") if word in text]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem == "02-which-mode" else ())
        for path in NOTEBOOKS
    ],
)
@pytest.mark.skipif(bool(ABSENT), reason=f"weights that `ragscale model fetch` gets are absent: {ABSENT}")
def test_a_notebook_runs_from_end_to_end(path: Path, tmp_path: Path) -> None:
    # In a copy of the layout, so that nothing is written into the repository.
    folder = tmp_path / "notebooks"
    folder.mkdir()
    shutil.copytree(ROOT / "corpora", tmp_path / "corpora")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(
        notebook, timeout=1_800, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    check(path, notebook)
    assert len(list(tmp_path.glob("indexes/*/manifest.json"))) == 1


def test_there_is_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["01-quickstart.ipynb", "02-which-mode.ipynb"]
