"""Search on GPUs: the same results as on the CPU, the speed of raw faiss on the card, one owner under 64 threads.

The one command that checks what a machine without a GPU cannot; there it says so and ends well. Each line is a check
with its figure, and the exit code is 1 where one fails; but the speed is only told.

    python benchmarks/gpu.py --vectors 1000000

Needs the extra ``gpu``. With several cards, shards and replicas are checked as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from retrieval_data import mixture, synthetic

from ragscale.index.dense import exact, gpu
from ragscale.index.dense.factory import build_dense
from ragscale.index.dense.search import DenseIndex
from ragscale.index.query.broker import Broker
from ragscale.index.storage.vectors import Vectors
from ragscale.ranking import Ranking

K = 10
BATCH = 64


def main() -> int:
    """Check and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=200_000, help="synthetic vectors (default: 200,000)")
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--work", type=Path, help="folder for the vectors (default: a temporary one)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    import faiss

    cards = gpu.count(faiss)
    if not cards:
        print("no GPU that this faiss can use: nothing was checked (install the extra gpu on a machine with one)")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        vectors = synthetic(work, options.vectors, options.dimension)
        rows = checks(faiss, vectors, mixture(options.queries, options.dimension, seed=1_000_003), work, cards)
    if options.json:
        print(json.dumps(rows))
    for row in rows if not options.json else ():
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    return 0 if all(row.get("passed", True) for row in rows) else 1


def checks(faiss: Any, vectors: Vectors, queries: NDArray[np.float32], work: Path, cards: int) -> list[dict[str, Any]]:
    """All checks, on one card and on all."""
    lists = 2 ** round(np.log2(4 * np.sqrt(len(vectors))))
    ways: list[gpu.Gpus | None] = [None, "shard", "replicate"] if cards > 1 else [None]
    rows = []
    for factory in ("Flat", f"IVF{lists},SQ8", f"IVF{lists},Flat"):
        path = work / "gpu.faiss"
        info = build_dense(vectors, path, factory=factory)
        stored = path if info.rows else None
        on_cpu = on_the_cpu(lambda info=info, stored=stored: DenseIndex(vectors, info, stored))
        for gpus in ways:
            index = DenseIndex(vectors, info, stored, gpus=gpus)
            name = {"factory": factory, "gpus": gpus or "one"}
            if not index._on_gpu:
                rows.append({**name, "check": "on the GPU", "passed": False})
                continue
            rows.append({**name, **parity(index, on_cpu, vectors, queries)})
            rows.append({**name, **speed(index, queries)})
            rows.append({**name, **owner(index, queries)})
    return rows


def on_the_cpu(make: Callable[[], DenseIndex]) -> DenseIndex:
    """An index that is left on the CPU."""
    count, gpu.count = gpu.count, lambda faiss: 0
    try:
        return make()
    finally:
        gpu.count = count


def parity(index: DenseIndex, on_cpu: DenseIndex, vectors: Vectors, queries: NDArray[np.float32]) -> dict[str, Any]:
    """The same rows, but where two scores agree to 5 decimals; also with half of the rows masked.

    A better hit is no disagreement: a masked query that a card leaves with too few candidates is searched exactly.
    """
    allowed = np.arange(len(vectors)) % 2 == 0
    same = [
        alike(index.search(queries, K), on_cpu.search(queries, K)),
        alike(index.search(queries, K, allowed=allowed), on_cpu.search(queries, K, allowed=allowed)),
    ]
    if index._info.factory == "Flat":
        same.append(alike(index.search(queries, K), exact.search(vectors, queries, K)))
    return {"check": "parity", "agreement": round(min(same), 4), "passed": min(same) > 0.995}


def alike(one: Sequence[Ranking], other: Sequence[Ranking]) -> float:
    """Share of hits that the other ranking has too, or whose score is that of its last or better."""
    shares = [
        sum(row in dict(theirs) or score > theirs[-1][1] - 1e-5 for row, score in ours) / max(len(theirs), 1)
        for ours, theirs in zip(one, other, strict=True)
    ]
    return float(np.mean(shares))


def speed(index: DenseIndex, queries: NDArray[np.float32]) -> dict[str, Any]:
    """Batches of 64 against the same index called without anything of ours, for as many candidates."""
    count = K * index._info.refine + 8

    def batches(search: Callable[..., Any], k: int) -> float:
        taken = []
        for _ in range(6):
            began = time.perf_counter()
            for start in range(0, len(queries), BATCH):
                search(queries[start : start + BATCH], k)
            taken.append(time.perf_counter() - began)
        return len(queries) / statistics.median(taken[1:])

    raw, ours = batches(index._index.search, count), batches(index.search, K)
    return {
        "check": "speed",
        "queries_per_second": round(ours),
        "raw": round(raw),
        "ratio": round(ours / raw, 3),
    }


def owner(index: DenseIndex, queries: NDArray[np.float32]) -> dict[str, Any]:
    """64 threads through a broker: one thread searches, and every result is that of a batch."""
    fresh = index.tuned(index._info.refine, index._info.settings)
    expected = fresh.search(queries, K)
    fresh._owner = None  # the broker's thread becomes its owner
    seen: set[int] = set()

    def run(rows: Sequence[int]) -> list[Ranking]:
        seen.add(threading.get_ident())
        return fresh.search(queries[list(rows)], K)

    broker: Broker[int, Ranking] = Broker(run)
    found: dict[int, Ranking] = {}

    def ask(first: int) -> None:
        for row in range(first, len(queries), 64):
            found[row] = broker.submit(row).result()

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broker.close()
    same = alike([found[row] for row in sorted(found)], expected)
    return {
        "check": "one owner",
        "threads": 64,
        "searching": len(seen),
        "agreement": round(same, 4),
        "passed": len(seen) == 1 and len(found) == len(queries) and same > 0.995,
    }


if __name__ == "__main__":
    sys.exit(main())
