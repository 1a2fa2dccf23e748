"""64 concurrent searches through the broker against one raw batch, and against one query after the other.

*raw*: sentence-transformers and FAISS's exact index called directly with all queries at once, row numbers for results.
*single*: the same calls, a query at a time. *broker*: as many tasks in an event loop as there are queries, each of
them awaiting `Index.asearch` of one, with passages for results. Runs alternate; ratios are those of the medians.

    python benchmarks/broker.py --index INDEX --questions QUESTIONS.jsonl --concurrency 64 --runs 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ragscale.index import DEFAULT_NAME, Index
from ragscale.index.storage.snapshot import open_vectors
from ragscale.weights import pinned

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SHIPPED = Path(__file__).parents[1] / "corpora" / "elements"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, help="an index with vectors (default: the shipped corpus, indexed anew)")
    parser.add_argument(
        "--questions", type=Path, default=SHIPPED / "questions.jsonl", help='jsonl file with "question" in each row'
    )
    parser.add_argument("--concurrency", type=int, default=64, help="searches in flight (default: 64)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--how", choices=["dense", "hybrid"], default="dense", help="what the broker does")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a busy machine, with OMP_NUM_THREADS=1"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    with options.questions.open(encoding="utf-8") as lines:
        questions = [json.loads(line)["question"] for line in lines]
    size = options.concurrency
    if len(questions) < size:
        parser.error(f"{len(questions)} questions, {size} needed")
    with tempfile.TemporaryDirectory() as work, open_index(options.index, Path(work)) as index:
        passages = len(index)
        seconds = measure(index, questions, options)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "searches": size,
        "passages": passages,
        "how": options.how,
        "clock": options.clock,
        **{f"{name}_ms": round(1000 * value, 1) for name, value in median.items()},
        "broker_speed_of_raw_batch": round(median["raw"] / median["broker"], 3),
        "broker_speedup_over_single": round(median["single"] / median["broker"], 2),
    }
    print(json.dumps(result) if options.json else "\n".join(f"{name:28} {value}" for name, value in result.items()))


def open_index(path: Path | None, work: Path) -> Index:
    """The index asked for, or one of the shipped corpus."""
    return Index.open(path) if path else Index.build([SHIPPED / "passages.jsonl"], work / "index", dtype="float32")


def measure(index: Index, questions: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every run of each way."""
    size = options.concurrency
    clock = CLOCKS[options.clock]
    raw = raw_search(index, options)
    ways: dict[str, Callable[[list[str]], Any]] = {
        "raw": raw,
        "broker": lambda queries: asyncio.run(through_broker(index, queries, options)),
        "single": lambda queries: [raw([query]) for query in queries],
    }
    for way in ways.values():
        way(questions[:size])  # models loaded, pages read
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(options.runs):
        # other questions each run, the same for the three ways
        start = run * size % (len(questions) - size + 1)
        for name, way in ways.items():
            began = clock()
            way(questions[start : start + size])
            seconds[name].append(clock() - began)
    return seconds


def raw_search(index: Index, options: argparse.Namespace) -> Callable[[list[str]], Any]:
    """The two libraries with nothing between them."""
    import faiss
    from sentence_transformers import SentenceTransformer

    info = index.manifest.embedder
    if info is None:
        raise SystemExit(f"{index.path} has no vectors")
    folder = pinned.path("embedder") if info.name == DEFAULT_NAME else info.name
    model = SentenceTransformer(str(folder), local_files_only=True)
    vectors = faiss.IndexFlatIP(info.dimension)
    for _, block in open_vectors(index.path, index.manifest).blocks():
        vectors.add(block)

    def search(queries: list[str]) -> Any:
        encoded = model.encode_query(queries, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        return vectors.search(encoded, options.k)

    return search


async def through_broker(index: Index, queries: list[str], options: argparse.Namespace) -> Any:
    """All queries in flight at once, each a request of its own."""
    return await asyncio.gather(*(index.asearch([query], options.k, options.how) for query in queries))


if __name__ == "__main__":
    main()
