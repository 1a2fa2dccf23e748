"""A build of synthetic passages in this process, for its peak memory; `retrieval.py` starts it once a size.

The embedder is replaced by one that draws vectors: what is measured is the pipeline, not a model. Reports the peak of
all resident pages (VmHWM, mapped files included) and of anonymous memory (RssAnon, sampled), both above what the
process held before, and the bytes of the finished index.

    python benchmarks/retrieval_memory.py PASSAGES FOLDER [FACTORY]
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from retrieval_data import mixture

from ragscale.index import Index
from ragscale.index.storage.manifest import EmbedderInfo
from ragscale.index.write import build

DIMENSION = 384
WORDS = 60


class Drawn:
    """Gives vectors of the mixture for any texts."""

    info = EmbedderInfo("drawn", "0", "float32", DIMENSION, 128, "", "")
    pool = mixture(4096, DIMENSION, seed=7)
    calls = 0
    lanes = 1

    @classmethod
    def for_documents(cls, *args: Any, **options: Any) -> Drawn:
        """In place of `Embedder.for_documents`."""
        return cls()

    def __enter__(self) -> Drawn:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """It holds nothing."""

    def encode_documents(self, texts: list[str], **options: Any) -> Any:
        """Vectors near some of the pool, other ones at each call."""
        self.calls += 1
        rng = np.random.default_rng(self.calls)
        drawn = self.pool[rng.integers(0, len(self.pool), len(texts))]
        found = drawn + 0.02 * rng.normal(size=drawn.shape).astype(np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def write_corpus(path: Path, passages: int) -> None:
    """Texts whose words are as frequent as those of a language."""
    rng = np.random.default_rng(3)
    with path.open("w", encoding="utf-8") as file:
        for number in range(passages):
            words = np.minimum(rng.zipf(1.3, WORDS), 300_000)
            file.write(
                json.dumps({"id": str(number), "title": "", "text": " ".join(f"w{word}" for word in words)}) + "\n"
            )


def status() -> dict[str, int]:
    """Bytes of this process, as the kernel counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.startswith(("VmHWM", "RssAnon"))}


def main() -> None:
    """Build, and print one line of JSON."""
    passages, folder = int(sys.argv[1]), Path(sys.argv[2])
    factory = sys.argv[3] if len(sys.argv) > 3 else "auto"
    corpus = folder / f"synthetic-{passages}.jsonl"
    if not corpus.is_file():
        write_corpus(corpus, passages)
    build.Embedder = Drawn  # type: ignore[misc, assignment]
    import faiss  # noqa: F401 - libraries are not what is measured
    import numba  # noqa: F401

    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew: an earlier peak is not what is held now
    before, most, done = status(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, status()["RssAnon"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        index = Index.build([corpus], folder / f"memory-{passages}", factory=factory, force=True)
    finally:
        done.set()
        watcher.join()
    files = index.manifest.files
    result = {
        "passages": passages,
        "factory": index.manifest.dense.factory if index.manifest.dense else "",
        "peak_mb": round((status()["VmHWM"] - before["VmHWM"]) / 1e6, 1),
        "anonymous_peak_mb": round((most - before["RssAnon"]) / 1e6, 1),
        "index_mb": round(sum(info.size for info in files.values()) / 1e6, 1),
        "accelerator_mb": round(sum(info.size for name, info in files.items() if name.endswith(".faiss")) / 1e6, 1),
    }
    index.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
