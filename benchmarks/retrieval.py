"""Retrieval at scale: builds, recall against speed, the broker, BM25, and memory, each against a peer in the same run.

Sections (all by default):

*build*   passages/s of `Index.build` against the raw encoder (goal: 0.95), on a part of the corpus
*dense*   recall@10 and queries/s of each index type at batch 1, 16 and 64: real passages, then synthetic vectors
*broker*  64 searches in flight through the broker against one raw batch (goal: 0.90)
*bm25*    queries/s against rank-bm25 (goal: 500), and how far the rankings agree
*memory*  peak resident memory of builds of two sizes, each in a process of its own (goal: no growth but the index)

Real passages are embedded once and kept in the work folder; a killed run goes on. Run it on a quiet machine:

    python benchmarks/retrieval.py --work /tmp/retrieval --data ../shared/data --plot docs/retrieval.svg
    python benchmarks/retrieval.py --work /tmp/small --passages 2000 --synthetic 20000 --memory 2000,8000 --runs 1
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import broker
import build
import numpy as np
import retrieval_data as stored
from retrieval_dense import measure_types, plot

from ragscale.index import Index
from ragscale.index.lexical.bm25 import open_lexical
from ragscale.index.storage.layout import BM25_FOLDER
from ragscale.index.storage.manifest import Manifest
from ragscale.ranking import best_rows

SECTIONS = ("build", "dense", "broker", "bm25", "memory")
DATA = Path(__file__).parents[2] / "shared" / "data"


def main() -> None:
    """Measure the sections asked for; each is printed when it ends, since the next may take hours, or fail."""
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    for section in options.sections:
        print(f"{section} ...", file=sys.stderr, flush=True)
        found = globals()[f"measure_{section}"](options)
        if options.json:
            print(json.dumps({section: found}), flush=True)
        else:
            show(section, found)
        if options.plot and section == "dense":
            plot(found, options.plot)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--work", type=Path, required=True, help="folder for corpora, indexes and vectors; kept")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data sets")
    parser.add_argument("--passages", type=int, default=100_000, help="real passages (default: 100,000)")
    parser.add_argument("--synthetic", type=int, default=1_000_000, help="synthetic vectors (default: 1,000,000)")
    parser.add_argument("--dimension", type=int, default=384, help="of synthetic vectors (default: 384)")
    parser.add_argument("--queries", type=int, default=512, help="queries a measurement (default: 512)")
    parser.add_argument("--factory", action="append", help="index type to measure; repeat (default: a choice by size)")
    parser.add_argument("--memory", default="100000,1000000", help="sizes of the memory section")
    parser.add_argument("--encode", type=int, default=2000, help="passages of the build section (default: 2,000)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; ratios are of medians (default: 3)")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a busy machine")
    parser.add_argument("--plot", type=Path, help="draw recall against queries/s here (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="a line a section")
    options = parser.parse_args()
    unknown = [section for section in options.sections if section not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]}; there are {', '.join(SECTIONS)}")
    return options


def show(section: str, found: Any) -> None:
    """One section for people."""
    print(f"\n{section}")
    for row in found if isinstance(found, list) else [found]:
        print("  " + "  ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def seconds(function: Callable[[], Any], options: argparse.Namespace) -> float:
    """Median of some runs, after one that does not count."""
    clock, taken = broker.CLOCKS[options.clock], []
    for _ in range(options.runs + 1):
        began = clock()
        function()
        taken.append(clock() - began)
    return statistics.median(taken[1:])


def measure_build(options: argparse.Namespace) -> dict[str, Any]:
    """Runs of the raw encoder and of the build in turn, by the means of `build.py`."""
    corpus = stored.corpus(options.work, options.data, options.encode)
    texts = [f"{row['title']}\n{row['text']}" for row in map(json.loads, corpus.open(encoding="utf-8"))]
    settings = argparse.Namespace(clock=options.clock, dtype="float32", batch_size=64, embedder=None)
    folder = build.pinned.path("embedder")
    build.raw(folder, texts[:64], settings)
    taken: dict[str, list[float]] = {"raw": [], "build": []}
    for run in range(options.runs):
        out = options.work / f"build-{time.time_ns()}-{run}"
        taken["raw"].append(build.raw(folder, texts, settings))
        taken["build"].append(build.build(corpus, out, settings))
    rates = {name: len(texts) / statistics.median(values) for name, values in taken.items()}
    return {
        "passages": len(texts),
        "raw_passages_per_second": round(rates["raw"], 1),
        "build_passages_per_second": round(rates["build"], 1),
        "ratio": round(rates["build"] / rates["raw"], 3),
    }


def measure_dense(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each index type on the real vectors, then on the synthetic ones."""
    path = stored.real_index(options.work, options.data, options.passages)
    queries = stored.real_queries(path, stored.questions(options.data, options.queries))
    found = measure_types("real", stored.real_vectors(path), queries, seconds, options)
    if options.synthetic:
        vectors = stored.synthetic(options.work, options.synthetic, options.dimension)
        queries = stored.mixture(options.queries, options.dimension, seed=1_000_003)
        found += measure_types("synthetic", vectors, queries, seconds, options)
    return found


def measure_broker(options: argparse.Namespace) -> dict[str, Any]:
    """By the means of `broker.py`, on the real index."""
    path = stored.real_index(options.work, options.data, options.passages)
    settings = argparse.Namespace(concurrency=64, runs=options.runs, k=10, how="dense", clock=options.clock)
    with Index.open(path) as index:
        taken = broker.measure(index, stored.questions(options.data, 512), settings)
    median = {name: statistics.median(values) for name, values in taken.items()}
    return {
        "searches": 64,
        "passages": options.passages,
        **{f"{name}_ms": round(1000 * value, 1) for name, value in median.items()},
        "broker_speed_of_raw_batch": round(median["raw"] / median["broker"], 3),
        "broker_speedup_over_single": round(median["single"] / median["broker"], 2),
    }


def measure_bm25(options: argparse.Namespace) -> dict[str, Any]:
    """Ours in one batch, rank-bm25 a few queries one by one; agreement where no term has the flawed idf."""
    path = stored.lexical_index(options.work, options.data, options.passages)
    manifest, segments = Manifest.read(path), Manifest.read(path).segment_paths(path)
    terms = manifest.lexical["terms"]
    ours = open_lexical(manifest.generation_path(path) / BM25_FOLDER, "bm25s", terms, manifest.lexical["language"])
    theirs: Any = open_lexical(path, "rank-bm25", terms, manifest.lexical["language"], segments=segments)
    queries = stored.questions(options.data, options.queries)
    few = queries[: max(4, options.queries // 32)]
    fast = len(queries) / seconds(lambda: ours.search(queries, 10), options)
    slow = len(few) / seconds(lambda: theirs.search(few, 10), options)
    return {
        "passages": options.passages,
        "queries_per_second": round(fast),
        "rank_bm25_queries_per_second": round(slow, 2),
        "ratio": round(fast / slow),
        "same_top_10_where_idf_agrees": agreement(ours, theirs, few),
    }


def agreement(ours: Any, theirs: Any, queries: Sequence[str]) -> float:
    """Overlap of the ten best, both with the idf of rank-bm25's: ours are scored again from its own weights.

    rank-bm25 gives terms in more than half of the passages a quarter of the average idf, and all others an idf that
    differs from Lucene's in a constant of the logarithm; so its scores with Lucene's idf must rank as ours do.
    """
    model, count = theirs._model, theirs._model.corpus_size
    frequency = dict.fromkeys(model.idf, 0)
    for document in model.doc_freqs:
        for term in document:
            frequency[term] += 1
    kept = dict(model.idf)
    model.idf = {term: float(np.log(1 + (count - n + 0.5) / (n + 0.5))) for term, n in frequency.items()}
    shares = []
    for query, ranking in zip(queries, ours.search(queries, 10), strict=True):
        numbers = [theirs._numbers[token] for token in theirs._cut(query) if token in theirs._numbers]
        scores = np.asarray(model.get_scores(numbers))
        bound = min((score for _, score in best_rows(scores, len(ranking))), default=0.0)
        shares += [scores[row] >= bound * (1 - 1e-5) for row, _ in ranking]
    model.idf = kept
    return round(float(np.mean(shares)), 4)


def measure_memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A fresh process a size."""
    found = []
    for size in options.memory.split(","):
        command = [sys.executable, str(Path(__file__).with_name("retrieval_memory.py")), size, str(options.work)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


if __name__ == "__main__":
    main()
