"""A small corpus, with and without vectors of a model that is made on the spot."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragscale.errors import ModelFileError
from ragscale.index import Index
from ragscale.weights import pinned

ROWS: list[dict[str, str]] = [
    {"id": "curie", "title": "Marie Curie", "text": "Marie Curie discovered polonium and radium in Paris."},
    {"id": "polonium", "title": "Polonium", "text": "Polonium is an element named after Poland."},
    {"id": "radium", "title": "Radium", "text": "Radium is a radioactive metal that glows."},
    {"id": "warsaw", "title": "Warsaw", "text": "Warsaw is the capital of Poland, where Curie was born."},
    {"id": "paris", "title": "Paris", "text": "Paris is the capital of France and lies on the river Seine."},
    {"id": "seine", "title": "Seine", "text": "The Seine flows through Paris to the English Channel."},
    {"id": "bicycle", "title": "", "text": "A bicycle has two wheels, pedals and a chain."},
    {"id": "violin", "title": "Violin", "text": "The violin is played with a bow and has four strings."},
    {"id": "bread", "title": "Bread", "text": "Bread is baked from flour, water, salt and yeast."},
    {"id": "glacier", "title": "Glacier", "text": "A glacier is a slow river of ice in the mountains."},
    {"id": "twin-1", "title": "Twin", "text": "Two passages say exactly the same."},
    {"id": "twin-2", "title": "Twin", "text": "Two passages say exactly the same."},
]

MakeModel = Callable[..., Path]


def _write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def write_corpus() -> Callable[[Path, list[dict[str, str]]], Path]:
    """Writes rows to a jsonl file and returns its path."""
    return _write


@pytest.fixture(scope="session")
def rows() -> list[dict[str, str]]:
    """The rows of `corpus`."""
    return [dict(row) for row in ROWS]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ROWS` as a jsonl file."""
    return _write(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", ROWS)


@pytest.fixture(scope="session")
def model(make_model: MakeModel) -> Path:
    """A small random model with prompts of its own."""
    return make_model(prompts={"query": "question: ", "document": "text: "})


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The default embedder's folder; skips where it was not fetched."""
    try:
        return pinned.path("embedder")
    except ModelFileError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data sets; skips where it is absent."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("RAGSCALE_DATA", default))
    if not (folder / "hotpotqa" / "corpus.jsonl").is_file():
        pytest.skip(f"no data sets in {folder} (set RAGSCALE_DATA)")
    return folder


@pytest.fixture(scope="module")
def lexical(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """`ROWS` without vectors."""
    with Index.build([corpus], tmp_path_factory.mktemp("lexical") / "index", embedder=None) as index:
        yield index


@pytest.fixture(scope="module")
def dense(corpus: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """`ROWS` with vectors of the random model."""
    with Index.build([corpus], tmp_path_factory.mktemp("dense") / "index", embedder=model, dtype="float32") as index:
        yield index


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[object]]:
    """Puts a model on a hub under any name, its commit forty times c; gives the list of what is asked of it."""
    import huggingface_hub

    def serve(model: Path) -> list[object]:
        snapshot = shutil.copytree(model, tmp_path / ("c" * 40))
        asked: list[object] = []

        def deliver(name: str, *, revision: str | None, ignore_patterns: list[str]) -> str:
            asked.append((name, revision, "*.bin" in ignore_patterns))
            return str(snapshot)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", deliver)
        return asked

    return serve
