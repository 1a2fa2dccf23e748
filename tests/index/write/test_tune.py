"""Tuning: recall as it is, the cheapest settings that reach it, and nothing changed where none does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import unit, write_vectors
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.errors import IndexBusy, InvalidInput
from ragscale.index import Index, Manifest
from ragscale.index.dense import exact
from ragscale.index.dense.factory import build_dense
from ragscale.index.dense.search import DenseIndex
from ragscale.index.storage.layout import VECTORS_FILE
from ragscale.index.storage.manifest import DenseInfo
from ragscale.index.storage.vectors import Vectors
from ragscale.index.write import maintain
from ragscale.index.write.tune import Trial, Tuning, tune, tune_index

D = 24


def tuned(folder: Path, vectors: Vectors, factory: str, recall: float, **options: object) -> Tuning:
    info = build_dense(vectors, folder / VECTORS_FILE, factory=factory)
    index = DenseIndex(vectors, info, folder / VECTORS_FILE)
    return tune(index, vectors, info, recall=recall, k=10, sample=60, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("factory", ["IVF32,Flat", "IVF20,SQ8", "HNSW8", "PQ6x4fs", "IVF16,RaBitQfs"])
def test_the_wanted_recall_is_reached(tmp_path: Path, factory: str) -> None:
    found = tuned(tmp_path, write_vectors(tmp_path, unit(2000, D)), factory, 0.9)
    assert found.reached
    assert found.chosen.recall >= 0.9
    assert found.queries == 60
    enough = [trial for trial in found.trials if trial.recall >= 0.9]
    assert found.chosen.milliseconds == min(trial.milliseconds for trial in enough)


def test_more_lists_find_more(tmp_path: Path) -> None:
    found = tuned(tmp_path, write_vectors(tmp_path, unit(2000, D)), "IVF32,Flat", 1)
    recalls = [trial.recall for trial in found.trials]
    assert [trial.settings["nprobe"] for trial in found.trials] == [1, 2, 4, 8, 16, 32][: len(recalls)]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1] == 1


def test_an_index_so_small_that_searches_are_exact_is_measured_all_the_same(tmp_path: Path) -> None:
    """It has the settings still when it has grown beyond that."""
    vectors, queries = write_vectors(tmp_path, unit(2000, D)), unit(40, D, seed=1)
    found = tuned(tmp_path, vectors, "IVF32,PQ6x4fs", 0.9, queries=queries)
    index = DenseIndex(
        vectors, build_dense(vectors, tmp_path / VECTORS_FILE, factory="IVF32,PQ6x4fs"), tmp_path / VECTORS_FILE
    )
    wanted = exact.search(vectors, queries, 10)
    assert index.search(queries, 10) == wanted
    cheapest = index.tuned(1, {"nprobe": 1}).search(queries, 10)
    pairs = zip(cheapest, wanted, strict=True)
    assert sum(len({row for row, _ in one} & {row for row, _ in other}) for one, other in pairs) < 0.9 * 400
    assert found.chosen.recall >= 0.9
    assert found.trials[0].recall < 0.9


def test_a_recall_out_of_reach(tmp_path: Path) -> None:
    """Two numbers of 24, and few candidates: the best is what is reported."""
    found = tuned(tmp_path, write_vectors(tmp_path, unit(3000, D)), "PCA2,SQ4", 0.999)
    assert not found.reached
    assert found.chosen.recall == max(trial.recall for trial in found.trials)


def test_the_vector_itself_does_not_count(tmp_path: Path) -> None:
    """An index that finds nothing but the vector asked for has a recall of 0."""

    class Blind:
        def tuned(self, refine: int, settings: dict[str, int]) -> Blind:
            return self

        def search(self, queries: np.ndarray, k: int) -> list[list[tuple[int, float]]]:
            rows = [int(np.argmax(array @ query)) for query in queries]
            return [[(row, 1.0)] for row in rows]

    array = unit(500, D)
    vectors = write_vectors(tmp_path, array)
    info = DenseInfo("HNSW8", 500, 1, {"efSearch": 16}, "")
    found = tune(Blind(), vectors, info, recall=0.9, k=5, sample=20)  # type: ignore[arg-type]
    assert {trial.recall for trial in found.trials} == {0.0}


def test_deleted_rows_are_neither_asked_nor_wanted(tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path, unit(1000, D))
    deleted = np.arange(1000) % 2 == 0
    info = build_dense(vectors, tmp_path / VECTORS_FILE, factory="IVF8,Flat")
    index = DenseIndex(vectors, info, tmp_path / VECTORS_FILE, deleted=deleted)
    seen: list[Trial] = []
    found = tune(index, vectors, info, recall=1, k=10, sample=30, deleted=deleted, report=seen.append)
    assert found.reached
    assert tuple(seen) == found.trials


@pytest.fixture
def built(tmp_path: Path, model: Path, write_corpus: Callable[[Path, list[dict[str, str]]], Path]) -> Path:
    """300 passages in 8 lists."""
    rows = [{"id": f"p{n}", "title": "", "text": f"passage {n * 7919 % 1000} of {n}"} for n in range(300)]
    corpus = write_corpus(tmp_path / "corpus.jsonl", rows)
    Index.build([corpus], tmp_path / "index", embedder=model, factory="IVF8,Flat", dtype="float32").close()
    return tmp_path / "index"


def test_settings_are_committed_and_used(built: Path) -> None:
    before = Manifest.read(built)
    found = tune_index(built, recall=1, sample=50, queries=["passage 5"])
    after = Manifest.read(built)
    assert after.dense is not None
    assert before.dense is not None
    assert after.dense.settings == found.chosen.settings
    assert after.generation == before.generation + 1
    assert found.queries == 51
    with Index.open(built) as index:
        assert len(index.search(["passage 5"], 5, how="dense")[0]) == 5
        index.verify()
    with pytest.raises(IndexBusy, match="built anew"):
        maintain.retune(built, replace(after.dense, rows=7))


def test_another_factory_without_embedding(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragscale.index.encoders.embedder.Embedder.encode_documents", None)
    info = maintain.reindex(built, "auto", memory=10**9)
    assert (info.factory, info.rows) == ("Flat", 0)
    with pytest.raises(InvalidInput, match="a Flat index, which is exact: nothing to tune"):
        tune_index(built)


@pytest.mark.parametrize("factory", [None, 5])
def test_a_factory_that_is_no_text(built: Path, factory: Any) -> None:
    with pytest.raises(InvalidInput, match=f"factory {factory} is no text"):
        maintain.reindex(built, factory)


@pytest.mark.parametrize("options", [{"recall": 0}, {"recall": 1.5}, {"k": 0}, {"sample": 0}])
def test_arguments_out_of_range(built: Path, options: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="cannot be measured"):
        tune_index(built, **options)  # type: ignore[arg-type]


def test_the_commands(built: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "passage 3"}\n\nplain text\n', encoding="utf-8")
    shown = CliRunner().invoke(app, ["index", "tune", str(built), "--recall", "1", "--queries", str(questions)])
    assert shown.exit_code == 0, shown.output
    header, *trials, kept = shown.stdout.splitlines()
    assert header.split() == ["settings", "refine", "recall@10", "ms", "a", "query"]
    assert [len(line) for line in trials] == [len(header)] * len(trials)
    assert trials[0].startswith("nprobe 1 ")
    assert re.fullmatch(r"[01]\.\d{4}", trials[0].split()[3])
    assert kept.startswith("kept: nprobe")
    assert kept.endswith("(recall 1.0000), measured with 258 queries")
    refused = CliRunner().invoke(app, ["index", "tune", str(built), "--recall", "2"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    shown = CliRunner().invoke(app, ["index", "reindex", str(built), "--factory", "auto", "--memory", "1GB"])
    assert shown.exit_code == 0, shown.output
    assert "Flat (a search through 300 vectors of 32 dimensions takes milliseconds)" in shown.output
    questions.write_text('{"query": 1}\n', encoding="utf-8")
    shown = CliRunner().invoke(app, ["index", "tune", str(built), "--queries", str(questions)])
    assert shown.exit_code == 1
