"""The notebooks run from end to end, and are committed as they ran."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from ragscale.llm import weights

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


ABSENT = [name for name in ("llm", "embedder") if not weights.present(name)]


def outputs(notebook: NotebookNode, kind: str) -> list[str]:
    """All outputs of a MIME type."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [output.data[kind] for cell in cells for output in cell.outputs if kind in output.get("data", {})]


def check(notebook: NotebookNode) -> None:
    """Every code cell ran, in order and without an error, and the answers and the plot are there."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    answers = outputs(notebook, "text/html")
    assert len(answers) == 3
    for mode, html in zip(("once", "chain", "parallel"), answers, strict=True):
        assert f"{mode} · " in html
        assert "Trace (" in html
        assert "limit 4,000" in html
    assert len(outputs(notebook, "image/png")) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_shows_what_it_did(path: Path) -> None:
    check(nbformat.read(path, as_version=4))
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("site-packages", "/home/", "/root/", "/tmp/") if word in text]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
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
        notebook, timeout=540, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    check(notebook)
    assert (tmp_path / "indexes" / "quickstart" / "manifest.json").is_file()


def test_there_is_a_notebook() -> None:
    assert [path.name for path in NOTEBOOKS] == ["01-quickstart.ipynb"]
