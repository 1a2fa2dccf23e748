"""Speed of `Index.build` against `SentenceTransformer.encode` of the same texts.

Both load the model and end with vectors of length 1; the build also reads the corpus and writes passages, terms,
vectors and checksums. Runs alternate, so that a machine that gets slower does so for both; the ratio is that of the
medians.

    python benchmarks/build.py CORPUS.jsonl --limit 1000 --runs 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

from ragscale.corpus import read
from ragscale.index import Index
from ragscale.index.storage.passages import full_text
from ragscale.weights import pinned

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SHIPPED = Path(__file__).parents[1] / "corpora" / "elements" / "passages.jsonl"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "corpus", type=Path, nargs="?", default=SHIPPED, help="file or folder to index (default: the shipped corpus)"
    )
    parser.add_argument("--limit", type=int, default=1000, help="passages (default: 1000)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--embedder", help="folder of a sentence-transformers model (default: the packaged one)")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: for a busy machine, with OMP_NUM_THREADS=1"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    passages = [record.passage for record in islice(read([options.corpus]), options.limit)]
    folder = Path(options.embedder) if options.embedder else pinned.path("embedder")
    raw(folder, [full_text(passage) for passage in passages[:64]], options)  # imports, page cache
    seconds: dict[str, list[float]] = {"raw": [], "build": []}
    with tempfile.TemporaryDirectory() as work:
        part = Path(work, "part.jsonl")
        part.write_text(
            "".join(json.dumps({"id": p.id, "title": p.title, "text": p.text}) + "\n" for p in passages),
            encoding="utf-8",
        )
        for run in range(options.runs):
            seconds["raw"].append(raw(folder, [full_text(passage) for passage in passages], options))
            seconds["build"].append(build(part, Path(work, f"index-{run}"), options))
    rates = {name: len(passages) / statistics.median(values) for name, values in seconds.items()}
    result = {
        "passages": len(passages),
        "dtype": options.dtype,
        "clock": options.clock,
        "raw_passages_per_second": round(rates["raw"], 1),
        "build_passages_per_second": round(rates["build"], 1),
        "ratio": round(rates["build"] / rates["raw"], 3),
    }
    print(json.dumps(result) if options.json else "\n".join(f"{name:28} {value}" for name, value in result.items()))


def raw(folder: Path, texts: list[str], options: argparse.Namespace) -> float:
    """Seconds to load the model and encode the texts, without anything of ragscale."""
    import torch
    from sentence_transformers import SentenceTransformer

    clock = CLOCKS[options.clock]
    start = clock()
    model = SentenceTransformer(str(folder), local_files_only=True)
    model.to(dtype=getattr(torch, options.dtype))
    model.encode_document(texts, batch_size=options.batch_size, normalize_embeddings=True, show_progress_bar=False)
    return clock() - start


def build(corpus: Path, out: Path, options: argparse.Namespace) -> float:
    """Seconds of a whole build."""
    clock = CLOCKS[options.clock]
    start = clock()
    Index.build(
        [corpus], out, embedder=options.embedder or "default", dtype=options.dtype, batch_size=options.batch_size
    ).close()
    return clock() - start


if __name__ == "__main__":
    main()
