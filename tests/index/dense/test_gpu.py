"""Searching on GPUs as far as a CPU allows: a faiss that says it has some, with CPU indexes that take no parameters.

`benchmarks/gpu.py` compares with real cards.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
import tiny
from stored import unit, write_vectors

from ragscale.errors import RagscaleError
from ragscale.index import Index
from ragscale.index.dense import exact, gpu, search
from ragscale.index.dense.factory import build_dense
from ragscale.index.dense.search import DenseIndex
from ragscale.index.storage.layout import VECTORS_FILE
from ragscale.index.storage.vectors import Vectors

D = 16


class Card:
    """Stands for an index on a GPU: no parameters with a search, 2,048 results at most."""

    def __init__(self, index: Any) -> None:
        self.index = index
        self.ntotal = index.ntotal

    def add(self, block: Any) -> None:
        self.index.add(block)
        self.ntotal = self.index.ntotal

    def search(self, queries: Any, count: int) -> Any:
        if count > 2048:
            raise RuntimeError("k is limited to 2048")
        return self.index.search(queries, count)


class Several(Card):
    """Stands for IndexShards, whose parts are numbered on, and for IndexReplicas."""

    def __init__(self, dimension: int, threaded: bool, successive: bool = False) -> None:
        super().__init__(faiss.IndexFlatIP(dimension))
        self.held: list[Card] = []
        self._shards = successive

    def _hold(self, part: Card) -> None:
        self.held.append(part)
        self.ntotal = sum(part.ntotal for part in self.held) if self._shards else part.ntotal

    add_shard = add_replica = _hold

    def search(self, queries: Any, count: int) -> Any:
        if not self._shards:
            return self.held[0].search(queries, count)
        scores, rows, first = [], [], 0
        for part in self.held:
            found = part.search(queries, count)
            scores.append(found[0])
            rows.append(np.where(found[1] < 0, -1, found[1] + first))
            first += part.ntotal
        best = np.argsort(-np.concatenate(scores, axis=1), axis=1, kind="stable")[:, :count]
        return tuple(np.take_along_axis(np.concatenate(part, axis=1), best, axis=1) for part in (scores, rows))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Calls of a faiss that has two GPUs."""
    made: list[Any] = []

    class Configuration:
        device = 0

    class Parameters:
        def set_index_parameter(self, index: Card, name: str, value: int) -> None:
            made.append((name, value))
            faiss.ParameterSpace().set_index_parameter(index.index, name, value)

    def flat(resources: Any, dimension: int, configuration: Any) -> Card:
        made.append(("flat", configuration.device))
        return Card(faiss.IndexFlatIP(dimension))

    def clone(resources: Any, device: int, index: Any) -> Card:
        made.append(("clone", device))
        if "HNSW" in type(index).__name__:
            raise RuntimeError("Error in somewhere\nThis index type is not implemented on GPU.")
        return Card(index)

    def clone_to_all(resources: Any, index: Any, options: Any, cards: list[int]) -> Card:
        made.append(("clones", cards, options.shard))
        return Card(index)

    monkeypatch.setattr(search, "_FEW_ROWS", 0)
    for name, value in {
        "get_num_gpus": lambda: 2,
        "StandardGpuResources": object,
        "GpuIndexFlatConfig": Configuration,
        "GpuIndexFlatIP": flat,
        "GpuParameterSpace": Parameters,
        "GpuMultipleClonerOptions": Configuration,
        "index_cpu_to_gpu": clone,
        "index_cpu_to_gpu_multiple_py": clone_to_all,
        "IndexShards": Several,
        "IndexReplicas": Several,
    }.items():
        monkeypatch.setattr(faiss, name, value, raising=False)
    return made


@pytest.fixture
def vectors(tmp_path: Path) -> Vectors:
    """2,000 rows in two files."""
    return write_vectors(tmp_path, unit(2000, D), [900])


def test_without_gpus_nothing_is_put_there(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "flat", None)
    assert gpu.count(faiss) == 0 or not hasattr(faiss, "StandardGpuResources")
    monkeypatch.setitem(sys.modules, "torch", None)  # not even imported: that takes seconds
    assert gpu.memory() is None
    assert not DenseIndex(vectors, build_dense(vectors, Path("unused"), factory="Flat"), None)._on_gpu


def test_flat_on_the_first_card(vectors: Vectors, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_BLOCK", 300)
    info = build_dense(vectors, Path("unused"), factory="Flat")
    index, queries = DenseIndex(vectors, info, None), unit(5, D, seed=1)
    assert (calls, index._covered) == ([("flat", 0)], 2000)
    assert index.search(queries, 10) == exact.search(vectors, queries, 10)


@pytest.mark.parametrize(
    ("total", "memory", "factory"), [(10**9, None, "Flat"), (10**5, None, "IVF64,SQ8"), (10**9, 50_000, "IVF64,SQ8")]
)
def test_auto_reckons_with_the_first_card(
    tmp_path: Path,
    vectors: Vectors,
    calls: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    total: int,
    memory: int | None,
    factory: str,
) -> None:
    """From the size of the card, and what was allowed, to an index that is searched there."""
    cards = [SimpleNamespace(total_memory=total), SimpleNamespace(total_memory=1)]
    cuda = SimpleNamespace(is_available=lambda: True, get_device_properties=cards.__getitem__)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    path = tmp_path / VECTORS_FILE
    info = build_dense(vectors, path, factory="auto", memory=memory)
    assert info.factory == factory
    assert "the GPU's memory" in info.reason
    index = DenseIndex(vectors, info, path if info.rows else None)
    assert index._on_gpu
    assert all(len(ranking) == 10 for ranking in index.search(unit(5, D, seed=1), 10))


@pytest.mark.parametrize("share", [0.5, 0.05])
def test_masks_on_a_card(vectors: Vectors, calls: list[Any], share: float) -> None:
    allowed, deleted = (np.random.default_rng(seed).random(2000) < share for seed in (1, 2))
    info = build_dense(vectors, Path("unused"), factory="Flat")
    index, queries = DenseIndex(vectors, info, None, deleted=deleted), unit(5, D, seed=1)
    found = index.search(queries, 10, allowed=allowed)
    assert found == exact.search(vectors, queries, 10, allowed & ~deleted)


def test_ties_and_many_results_on_a_card(tmp_path: Path, calls: list[Any]) -> None:
    array = unit(5000, D)
    array[100:400] = array[7]
    vectors = write_vectors(tmp_path, array)
    index = DenseIndex(vectors, build_dense(vectors, tmp_path / "unused", factory="Flat"), None)
    assert [row for row, _ in index.search(array[7:8], 5)[0]] == [7, 100, 101, 102, 103]
    assert len(index.search(array[7:8], 3000)[0]) == 3000


@pytest.mark.parametrize("gpus", ["shard", "replicate"])
def test_flat_on_several_cards(vectors: Vectors, calls: list[Any], gpus: gpu.Gpus) -> None:
    found = gpu.flat(faiss, vectors, gpus)
    assert calls == [("flat", 0), ("flat", 1)]
    stored = [faiss.rev_swig_ptr(part.index.get_xb(), part.ntotal * D).reshape(-1, D) for part in found.held]
    everything = vectors.take(np.arange(2000))
    if gpus == "shard":
        assert [len(part) for part in stored] == [1000, 1000]
        np.testing.assert_array_equal(np.concatenate(stored), everything)
    else:
        for part in stored:
            np.testing.assert_array_equal(part, everything)


def test_other_kinds_are_cloned(tmp_path: Path, vectors: Vectors, calls: list[Any]) -> None:
    path = tmp_path / VECTORS_FILE
    info = build_dense(vectors, path, factory="IVF8,SQ8")
    queries = unit(5, D, seed=1)
    clones = {None: ("clone", 0), "shard": ("clones", [0, 1], True), "replicate": ("clones", [0, 1], False)}
    for gpus, call in clones.items():
        calls.clear()
        index = DenseIndex(vectors, info, path, gpus=gpus)  # type: ignore[arg-type]
        assert calls == [call, ("nprobe", 1)]
        assert index._on_gpu
        assert all(len(ranking) == 10 for ranking in index.search(queries, 10))
    assert index.tuned(4, {"nprobe": 8}).search(queries, 10) == exact.search(vectors, queries, 10)
    assert calls[-1] == ("nprobe", 8)


def test_more_results_than_a_card_gives_beside_rows_added_since(
    tmp_path: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DenseIndex, "_is_small", lambda self, live, k: False)
    array, query, path = unit(5200, D), unit(1, D, seed=1), tmp_path / VECTORS_FILE
    info = build_dense(write_vectors(tmp_path, array[:4000]), path, factory="IVF8,SQ8")
    vectors = write_vectors(tmp_path, array, [4000])
    index = DenseIndex(vectors, info, path)
    assert index._on_gpu
    assert index.search(query, 1100) == exact.search(vectors, query, 1100)  # twice as many candidates are asked for


def test_what_faiss_does_not_put_there_is_searched_here(
    tmp_path: Path, vectors: Vectors, calls: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / VECTORS_FILE
    index = DenseIndex(vectors, build_dense(vectors, path, factory="HNSW8"), path)
    assert not index._on_gpu
    assert "IndexHNSWFlat is searched on the CPU" in caplog.text
    assert "not implemented on GPU" in caplog.text
    assert len(index.search(unit(1, D), 10)[0]) == 10


def test_one_owner(vectors: Vectors, calls: list[Any]) -> None:
    index = DenseIndex(vectors, build_dense(vectors, Path("unused"), factory="Flat"), None)
    index.search(unit(1, D), 3)
    caught: list[BaseException] = []

    def other() -> None:
        try:
            index.search(unit(1, D), 3)
        except RagscaleError as error:
            caught.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert "second thread" in str(caught[0])
    assert len(index.search(unit(1, D), 3)[0]) == 3


def test_one_owner_through_an_index(tmp_path: Path, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """64 threads, and the commit of an added document: the broker's thread alone searches the cards."""
    tiny.install(monkeypatch)
    searching: list[int] = []
    search = Card.search

    def watched(card: Card, queries: Any, count: int) -> Any:
        searching.append(threading.get_ident())
        return search(card, queries, count)

    monkeypatch.setattr(Card, "search", watched)
    corpus = tiny.write_rows(tmp_path / "corpus.jsonl", tiny.rows_of(range(600)))
    queries = [tiny.text_of(n) for n in range(64)]
    start = threading.Barrier(64)

    def ask(query: str) -> list[str]:
        start.wait(60)
        return [hit.passage.id for hit in index.search([query], 3, "dense")[0]]

    with (
        Index.build([corpus], tmp_path / "index", embedder="tiny", factory="Flat") as index,
        ThreadPoolExecutor(64) as pool,
    ):
        for commit in range(2):
            with pytest.MonkeyPatch.context() as patch, Index.open(index.path) as plain:
                patch.setattr(gpu, "count", lambda faiss: 0)
                wanted = [[hit.passage.id for hit in hits] for hits in plain.search(queries, 3, "dense")]
            assert list(pool.map(ask, queries)) == wanted
            assert calls == [("flat", 0)] * (commit + 1)
            index.add([tiny.write_rows(corpus, tiny.rows_of([600 + commit]))])
    assert len(searching) >= 2
    assert len(set(searching)) == 1
    assert threading.get_ident() not in searching


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`benchmarks/gpu.py`, with sizes for a test."""
    folder = Path(__file__).parents[3] / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    spec = importlib.util.spec_from_file_location("benchmark_of_gpus", folder / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--vectors=3000", f"--dimension={D}", "--queries=128", "--json"])
    return module


def test_the_benchmark_checks_every_way_to_use_the_cards(
    bench: Any, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main() == 0
    rows = json.loads(capsys.readouterr().out)
    factories = ["Flat", "IVF256,SQ8", "IVF256,Flat"]
    assert [(row["factory"], row["gpus"], row["check"]) for row in rows] == [
        (factory, gpus, check)
        for factory in factories
        for gpus in ("one", "shard", "replicate")
        for check in ("parity", "speed", "one owner")
    ]
    assert [row.get("passed") for row in rows] == [True, None, True] * 9  # a speed is no check
    assert {row["agreement"] for row in rows if row["check"] == "parity"} == {1.0}
    assert {row["searching"] for row in rows if row["check"] == "one owner"} == {1}
    assert all(row["queries_per_second"] > 0 for row in rows if row["check"] == "speed")


def test_the_benchmark_fails_where_cards_find_something_else(
    bench: Any, calls: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Card.search

    def wrong(card: Card, queries: Any, count: int) -> Any:
        scores, rows = search(card, queries, count)
        return scores, np.where(rows < 0, -1, (rows + 1) % card.ntotal)

    monkeypatch.setattr(Card, "search", wrong)
    assert bench.main() == 1
    rows = json.loads(capsys.readouterr().out)
    assert not any(row["passed"] for row in rows if row["check"] == "parity")


def test_the_benchmark_says_where_there_is_no_gpu(
    bench: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "count", lambda faiss: 0)
    assert bench.main() == 0
    assert capsys.readouterr().out.startswith("no GPU that this faiss can use: nothing was checked")
