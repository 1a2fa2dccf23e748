"""Stored vectors: several files as one row space, nothing copied but what is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import unit, write_vectors

from ragscale.errors import IndexDamaged
from ragscale.index.storage.vectors import Vectors


@given(
    st.lists(st.integers(0, 25), max_size=4),
    st.integers(1, 30),
    st.integers(0, 110),
    st.lists(st.integers(0, 24), max_size=9),
)
def test_rows_of_all_files(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], size: int, start: int, wanted: list[int]
) -> None:
    array = unit(25, 3)
    vectors = write_vectors(tmp_path_factory.mktemp("vectors"), array, sorted(cuts))
    assert (len(vectors), vectors.dimension) == (25, 3)
    rows = np.array(wanted, dtype=np.int64)
    np.testing.assert_array_equal(vectors.take(rows), array[rows])
    reached = start
    for first, block in vectors.blocks(size, start):
        assert first == reached
        assert 0 < len(block) <= size
        np.testing.assert_array_equal(block, array[first : first + len(block)])
        reached += len(block)
    assert reached == max(start, 25)


def test_no_vectors() -> None:
    assert len(Vectors([], [], 3)) == 0
    assert list(Vectors([], [], 3).blocks()) == []


def test_blocks_are_not_copied(tmp_path: Path) -> None:
    (_, block), *_ = write_vectors(tmp_path, unit(10, 3)).blocks()
    assert not block.flags.owndata
    assert not block.flags.writeable


def test_files_of_another_size(tmp_path: Path) -> None:
    unit(10, 4).tofile(tmp_path / "v")
    with pytest.raises(IndexDamaged, match="160 bytes, 11 vectors of 4 dimensions have 176 bytes"):
        Vectors([tmp_path / "v"], [11], 4)
    with pytest.raises(IndexDamaged, match="missing, 2 vectors"):
        Vectors([tmp_path / "absent"], [2], 4)
