"""The dense section of `retrieval.py`: every index type built, measured at its settings, and drawn."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from ragscale.index.dense import exact
from ragscale.index.dense.auto import choose_factory
from ragscale.index.dense.factory import build_dense
from ragscale.index.dense.search import DenseIndex
from ragscale.index.storage.vectors import Vectors
from ragscale.index.write.tune import efforts

K = 10
BATCHES = (1, 16, 64)
_ENOUGH = 0.995
_TOLERANCE = 1e-6
_GRAPH = 200_000  # building a graph of a million vectors takes an hour on two cores: ask for it by name
Seconds = Callable[[Callable[[], Any], argparse.Namespace], float]


def measure_types(
    name: str, vectors: Vectors, queries: NDArray[np.float32], seconds: Seconds, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row a setting of each type: recall@10, queries/s at each batch size, bytes and CPU seconds of the build."""
    bounds = [ranking[-1][1] for ranking in exact.search(vectors, queries, K)]
    found = []
    for factory in options.factory or types(len(vectors), vectors.dimension):
        path = options.work / f"{name}-{factory.replace(',', '-')}.faiss"
        began = time.process_time()
        info = build_dense(vectors, path, factory=factory)
        built = time.process_time() - began
        index = DenseIndex(vectors, info, path if info.rows else None)
        size = path.stat().st_size / 1e6 if info.rows else 0
        for settings in efforts(info):
            tuned = index.tuned(info.refine, settings)
            row = {"vectors": f"{name} {len(vectors):,}", "factory": factory, **settings, "refine": info.refine}
            row |= {"recall": recall(tuned, queries, bounds)}
            row |= {f"qps_{batch}": rate(tuned.search, queries, batch, seconds, options) for batch in BATCHES}
            found.append({**row, "mb": round(size, 1), "build_cpu_s": round(built, 1)})
            if row["recall"] >= _ENOUGH:
                break
        path.unlink(missing_ok=True)
    return [*found, default_flat(name, vectors, queries, seconds, options)]


def types(rows: int, dimension: int) -> list[str]:
    """Exact, what ``auto`` chooses, and the kinds that people ask about."""
    lists = 2 ** round(np.log2(4 * np.sqrt(rows)))
    kinds = ["Flat", choose_factory(rows, dimension)[0], "SQ8", "RaBitQfs"]
    kinds += ["HNSW32"] if rows <= _GRAPH else []
    kinds += [f"IVF{lists},{codes}" for codes in ("Flat", "SQ8", "RaBitQfs", f"PQ{dimension // 4}x4fs")]
    return list(dict.fromkeys(kinds))


def recall(index: DenseIndex, queries: NDArray[np.float32], bounds: list[float]) -> float:
    """Share of the ten nearest that were found; by score, since the pool repeats passages of the sets."""
    found = index.search(queries, K)
    near = [sum(score >= bound - _TOLERANCE for _, score in one) for one, bound in zip(found, bounds, strict=True)]
    return round(float(np.mean(near)) / K, 4)


def rate(
    search: Callable[..., Any],
    queries: NDArray[np.float32],
    batch: int,
    seconds: Seconds,
    options: argparse.Namespace,
) -> float:
    """Queries/s in batches of this size; of single queries a part will do."""
    asked = queries[: max(64, len(queries) // 4)] if batch == 1 else queries

    def run() -> None:
        for start in range(0, len(asked), batch):
            search(asked[start : start + batch], K)

    return round(len(asked) / seconds(run, options), 1)


def default_flat(
    name: str, vectors: Vectors, queries: NDArray[np.float32], seconds: Seconds, options: argparse.Namespace
) -> dict[str, Any]:
    """FAISS's own flat index as it comes, in memory: the peer of our exact search."""
    index = faiss.IndexFlatIP(vectors.dimension)
    for _, block in vectors.blocks():
        index.add(block)
    before = faiss.cvar.distance_compute_blas_threshold
    faiss.cvar.distance_compute_blas_threshold = 128_000
    row = {
        "vectors": f"{name} {len(vectors):,}",
        "factory": "Flat (FAISS alone, its defaults)",
        "refine": 1,
        "recall": 1.0,
    }
    row |= {f"qps_{batch}": rate(index.search, queries, batch, seconds, options) for batch in BATCHES}
    faiss.cvar.distance_compute_blas_threshold = before
    return row


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Recall against queries/s at batch 64, a panel for each set of vectors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sets = list(dict.fromkeys(row["vectors"] for row in rows))
    kinds = list(dict.fromkeys(_kind(row["factory"]) for row in rows))
    figure, panels = pyplot.subplots(1, len(sets), figsize=(8 * len(sets), 4.5), squeeze=False)
    for panel, name in zip(panels[0], sets, strict=True):
        for factory in dict.fromkeys(row["factory"] for row in rows if row["vectors"] == name):
            points = _worth([row for row in rows if (row["vectors"], row["factory"]) == (name, factory)])
            panel.plot(
                [row["recall"] for row in points],
                [row["qps_64"] for row in points],
                marker="o",
                label=factory,
                color=f"C{kinds.index(_kind(factory))}",
            )
        panel.set(title=f"{name} vectors", xlabel="recall@10", ylabel="queries/s, batches of 64", yscale="log")
        panel.set_xlim(0.5, 1.005)
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _kind(factory: str) -> str:
    """The factory without its number of lists: one colour in all panels."""
    return re.sub(r"IVF\d+", "IVF", factory)


def _worth(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Settings that find more than every cheaper one."""
    return [row for i, row in enumerate(points) if all(row["recall"] > other["recall"] + 1e-3 for other in points[:i])]


__all__ = ["measure_types", "plot"]
