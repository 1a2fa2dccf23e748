"""The stored vectors of all segments as one row space, read by memory map."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import IndexDamaged

__all__ = ["Vectors"]

_BYTES = 4


class Vectors:
    """Vectors in files of little-endian float32, row after row; nothing is read before it is used.

    Args:
        files: One file a segment, in the order of the segments.
        rows: Rows of each file.
        dimension: Numbers in a row.

    Raises:
        IndexDamaged: A file is missing or does not have the size of its rows.
    """

    def __init__(self, files: Sequence[Path], rows: Sequence[int], dimension: int) -> None:
        self.dimension = dimension
        self.parts: list[tuple[int, NDArray[np.float32]]] = []
        """The first row and the mapped array of each file that has rows."""
        first = 0
        for path, count in zip(files, rows, strict=True):
            if count:
                self.parts.append((first, _mapped(path, count, dimension)))
            first += count
        self._rows = first

    def __len__(self) -> int:
        return self._rows

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Copies of some rows, in the order given, shape (n, dimension)."""
        found = np.empty((len(rows), self.dimension), dtype=np.float32)
        for first, part in self.parts:
            here = (rows >= first) & (rows < first + len(part))
            found[here] = part[rows[here] - first]
        return found

    def blocks(self, size: int = 65_536, start: int = 0) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """All rows from `start` on, at most `size` at a time, without copying.

        Yields:
            The first row of the block, and the block; a block never spans two files.
        """
        for first, part in self.parts:
            for begin in range(max(start - first, 0), len(part), size):
                yield first + begin, part[begin : begin + size]

    def head(self, rows: int) -> Self:
        """The first `rows` rows, at most all, without copying."""
        found = copy.copy(self)
        found.parts = [(first, part[: rows - first]) for first, part in self.parts if first < rows]
        found._rows = min(rows, self._rows)
        return found


def _mapped(path: Path, rows: int, dimension: int) -> NDArray[np.float32]:
    wanted = rows * dimension * _BYTES
    size = path.stat().st_size if path.is_file() else -1
    if size != wanted:
        found = "missing" if size < 0 else f"{size:,} bytes"
        raise IndexDamaged(
            f"{path}: {found}, {rows:,} vectors of {dimension} dimensions have {wanted:,} bytes",
            "Restore the index from a copy, or build it again.",
        )
    # a plain array: the subclass of numpy costs microseconds each time it is sliced
    return np.asarray(np.memmap(path, dtype="<f4", mode="r", shape=(rows, dimension)))
