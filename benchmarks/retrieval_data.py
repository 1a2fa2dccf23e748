"""Data that `retrieval.py` searches: real passages embedded once, and synthetic vectors of any number.

Everything is kept in a work folder and found again: embedding 100,000 passages takes a quarter of an hour or more. A
killed run goes on where it was, because it is `Index.build` that does it.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.index import Index
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.storage.manifest import Manifest
from ragscale.index.storage.snapshot import open_vectors
from ragscale.index.storage.vectors import Vectors

SETS = ("hotpotqa", "2wikimultihopqa", "musique")
POOL = "wikipool"
BLOCK = 50_000


def rows(data: Path) -> Iterator[dict[str, Any]]:
    """Passages of the three sets, then of the pool, which repeats many of them under ids of its own."""
    seen: set[str] = set()
    for name in (*SETS, POOL):
        path = data / name / "corpus.jsonl"
        opened: Any = open if path.is_file() else gzip.open
        with opened(path if path.is_file() else f"{path}.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if row["id"] not in seen:
                    seen.add(row["id"])
                    yield {"id": row["id"], "title": row["title"], "text": row["text"]}


def questions(data: Path, limit: int) -> list[str]:
    """As many of each set."""
    found = []
    for name in SETS:
        with (data / name / "questions.jsonl").open(encoding="utf-8") as lines:
            found.append([json.loads(line)["question"] for line in lines])
    return [question for group in zip(*found, strict=False) for question in group][:limit]


def corpus(work: Path, data: Path, passages: int) -> Path:
    """A jsonl file of that many real passages."""
    path = work / f"corpus-{passages}.jsonl"
    if not path.is_file():
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            for _, row in zip(range(passages), rows(data), strict=False):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        part.rename(path)
    return path


def real_index(work: Path, data: Path, passages: int) -> Path:
    """An exact index of real passages; embedded where it is not there yet."""
    path = work / f"index-{passages}"
    if not (path / "manifest.json").is_file():
        Index.build([corpus(work, data, passages)], path, factory="Flat", progress=_progress).close()
    return path


def lexical_index(work: Path, data: Path, passages: int) -> Path:
    """A lexical-only index of the same passages; nothing is embedded."""
    path = work / f"lexical-{passages}"
    if not (path / "manifest.json").is_file():
        Index.build([corpus(work, data, passages)], path, embedder=None, progress=_progress).close()
    return path


def _progress(stage: str, done: int, total: int) -> None:
    if done % 10_240 == 0 or done == total:
        print(f"  {stage} {done:,} of {total:,}", file=sys.stderr, flush=True)


def real_vectors(path: Path) -> Vectors:
    """The stored vectors of an index."""
    return open_vectors(path, Manifest.read(path))


def real_queries(path: Path, texts: list[str]) -> NDArray[np.float32]:
    """Questions, embedded as a search does it."""
    info = Manifest.read(path).embedder
    assert info is not None
    return Embedder.for_queries(info).encode_queries(texts)


def synthetic(work: Path, count: int, dimension: int) -> Vectors:
    """Vectors of a mixture, in a file written block by block.

    Isotropic random vectors have no neighbours worth the name: recall on them means nothing. These have 2,000 clusters
    of unequal size, and most of their variance in few directions, as the vectors of texts do.
    """
    path = work / f"synthetic-{count}x{dimension}.f32"
    if not path.is_file():
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            for start in range(0, count, BLOCK):
                mixture(min(BLOCK, count - start), dimension, seed=1 + start // BLOCK).tofile(file)
        part.rename(path)
    return Vectors([path], [count], dimension)


def mixture(count: int, dimension: int, *, seed: int) -> NDArray[np.float32]:
    """Some vectors of that mixture; the same seed, the same vectors."""
    shape = 1 / np.sqrt(1 + np.arange(dimension) / 16)
    centres = np.random.default_rng(0).normal(size=(2000, dimension)) * shape
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(20, 2020)
    chosen = centres[rng.choice(2000, count, p=weights / weights.sum())]
    found = (chosen + 0.8 * shape * rng.normal(size=(count, dimension))).astype(np.float32)
    return np.ascontiguousarray(found / np.linalg.norm(found, axis=1, keepdims=True))
