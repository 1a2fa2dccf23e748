"""Vectors of segments: written from one iterator over all of them, resumed where it broke, and of the right rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray

from ragscale.index.storage.layout import RAW_FILE
from ragscale.index.storage.manifest import Segment
from ragscale.index.write import segments as module
from ragscale.index.write.segments import fill_vectors, missing

INFO = tiny.INFO
SEGMENTS = (Segment("000000", 5), Segment("000001", 3), Segment("000002", 4))


@pytest.fixture(autouse=True)
def slabs_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLAB", 2)
    for segment in SEGMENTS:
        segment.path(tmp_path).mkdir(parents=True)


@pytest.mark.parametrize("broken_after", [1, 3, 4, 6])
def test_one_iterator_fills_all_segments(tmp_path: Path, broken_after: int) -> None:
    """An iterator that breaks leaves whole slabs; one over what is missing then goes on from there."""
    with pytest.raises(RuntimeError, match="gone"):
        fill(tmp_path, broken(made(tmp_path), broken_after))
    assert len(list(made(tmp_path))) == 3 + 2 + 2 - broken_after
    fill(tmp_path, made(tmp_path))
    for number, segment in enumerate(SEGMENTS):
        stored = np.fromfile(segment.path(tmp_path) / RAW_FILE, dtype="<f4").reshape(-1, INFO.dimension)
        assert stored[:, 0].tolist() == [10 * number + row for row in range(segment.rows)]
    fill(tmp_path, iter(()))  # nothing is asked for any more


@pytest.mark.parametrize("blocks", [[(1, INFO.dimension)], [(2, INFO.dimension + 1)], [(2, INFO.dimension), (2, 1)]])
def test_vectors_of_other_rows_are_refused(tmp_path: Path, blocks: Sequence[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="vectors of shape"):
        fill_vectors(tmp_path, SEGMENTS[0], INFO, iter([np.zeros(shape, dtype=np.float32) for shape in blocks]))


def test_an_iterator_that_ends_early_is_refused(tmp_path: Path) -> None:
    first = next(made(tmp_path))
    with pytest.raises(ValueError, match="2 of 5 rows"):
        fill_vectors(tmp_path, SEGMENTS[0], INFO, iter([first]))


def made(folder: Path) -> Iterator[NDArray[np.float32]]:
    """Vectors of all slabs that are missing; the first number of each is ten times its segment's, plus its row."""
    for number, segment in enumerate(SEGMENTS):
        for slab in missing(folder, segment, INFO):
            rows = np.arange(slab.start, slab.stop, dtype=np.float32)
            yield np.repeat(10 * number + rows[:, None], INFO.dimension, axis=1)


def broken(vectors: Iterator[NDArray[np.float32]], after: int) -> Iterator[NDArray[np.float32]]:
    for _ in range(after):
        yield next(vectors)
    raise RuntimeError("gone")


def fill(folder: Path, vectors: Iterator[NDArray[np.float32]]) -> None:
    for segment in SEGMENTS:
        fill_vectors(folder, segment, INFO, vectors)
