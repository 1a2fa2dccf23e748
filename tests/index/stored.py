"""Files as the segments of an index have them, for tests that need no index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.index.lexical.bm25 import TermCounter
from ragscale.index.storage.vectors import Vectors
from ragscale.language.terms import Terms


def tokenize(texts: Sequence[str]) -> list[list[str]]:
    """Terms of each text, as those of `write_segment`."""
    return list(map(Terms("english"), texts))


def write_segment(folder: Path, slabs: Sequence[Sequence[str]]) -> Path:
    """A segment's three term files, written slab by slab."""
    folder.mkdir(parents=True)
    counter = TermCounter("english")
    with (
        (folder / "terms.i32").open("wb") as terms,
        (folder / "lengths.i32").open("wb") as lengths,
        (folder / "vocabulary.txt").open("w", encoding="utf-8") as vocabulary,
    ):
        for texts in slabs:
            pairs, counts, new = counter.count(texts)
            pairs.tofile(terms)
            counts.tofile(lengths)
            vocabulary.writelines(f"{term}\n" for term in new)
    return folder


def unit(count: int, dimension: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of length 1 in ten clusters, as those of texts are in clusters."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(10, dimension))
    found = centres[rng.integers(0, 10, count)] + 0.7 * rng.normal(size=(count, dimension))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def write_vectors(folder: Path, array: NDArray[np.float32], cuts: Sequence[int] = ()) -> Vectors:
    """The rows in a file a segment, cut before the given rows."""
    parts = np.split(array, list(cuts))
    files = [folder / f"vectors-{number}.f32" for number in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        part.tofile(file)
    return Vectors(files, [len(part) for part in parts], array.shape[1])
