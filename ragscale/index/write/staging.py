"""Staging: the corpus, written once to a scratch folder and checked before anything is embedded."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.corpus import Place, Record
from ragscale.errors import CorpusError
from ragscale.index.options import Progress
from ragscale.index.storage.hashes import Hashes, load_hashes
from ragscale.index.storage.layout import STAGING
from ragscale.index.storage.passages import PassageStore, PassageWriter

__all__ = ["Staged", "staged"]


class Staged:
    """Staged passages of a corpus, with their hashes and the place where each was read.

    Holds 24 bytes a passage, so that a corpus of any size passes through.

    Args:
        folder: An empty folder.
        records: The corpus.

    Raises:
        CorpusError: Two passages have the same id (names both places).
    """

    def __init__(self, folder: Path, records: Iterable[Record]) -> None:
        self._numbers = array("Q")
        self._sources: list[tuple[int, Place]] = []
        with PassageWriter(folder) as writer:
            for record in records:
                self._note(record.place)
                writer.add(record.passage)
        self.store = PassageStore([folder])
        self.hashes: Hashes = load_hashes(folder)
        self._refuse_duplicates()

    def __len__(self) -> int:
        return len(self._numbers)

    def _note(self, place: Place) -> None:
        if not self._sources or place.file != self._sources[-1][1].file:
            self._sources.append((len(self._numbers), place))
        self._numbers.append(place.number)

    def place(self, row: int) -> Place:
        """Place where a row was read."""
        source = next(place for start, place in reversed(self._sources) if start <= row)
        return Place(source.file, source.unit, self._numbers[row])

    def _refuse_duplicates(self) -> None:
        ids = self.hashes[:, 0]
        ranked = np.sort(ids)
        suspects = np.unique(ranked[1:][ranked[1:] == ranked[:-1]])
        first: dict[str, int] = {}
        for row in _rows_with(ids, suspects).tolist():
            identity = self.store.id(row)
            if identity in first:
                one, other = self.place(first[identity]), self.place(row)
                if one == other:
                    raise CorpusError(f"{one.file} is read twice", "Give each corpus once.")
                raise CorpusError(
                    f"duplicate id {identity!r}: {one} and {other}", "Remove one of them or rename its id."
                )
            first[identity] = row

    def refuse_known(self, rows: NDArray[np.int64], index: PassageStore, gone: NDArray[np.bool_]) -> None:
        """Raise a `CorpusError` where a row has the id of a passage of another document of an index.

        Args:
            rows: Rows to be added.
            index: The passages that are there.
            gone: Rows of the index that will be deleted.
        """
        for row in _rows_with(self.hashes[:, 0], index.id_hashes, rows).tolist():
            known = index.row(self.store.id(row))
            if known is not None and not gone[known]:
                passage = index[known]
                raise CorpusError(
                    f"{self.place(row)}: the id {passage.id!r} is in the index already, in document "
                    f"{passage.document or passage.id!r}",
                    "Rename one of them, or remove that document first.",
                )


def _rows_with(
    ids: NDArray[np.uint64], wanted: NDArray[np.uint64], rows: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Rows among `rows` (all where None) whose id hash is in `wanted`, which is sorted."""
    rows = np.arange(len(ids), dtype=np.int64) if rows is None else rows
    if not len(wanted):
        return rows[:0]
    at = np.minimum(np.searchsorted(wanted, ids[rows]), len(wanted) - 1)
    found: NDArray[np.int64] = rows[wanted[at] == ids[rows]]
    return found


@contextmanager
def staged(folder: Path, records: Iterable[Record], report: Progress) -> Iterator[Staged]:
    """Stage a corpus for as long as the block runs.

    Args:
        folder: The index.
        records: The corpus.
        report: Progress.
    """
    scratch = folder / STAGING
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        report("read", 0, 0)
        found = Staged(scratch, _counted(records, report))
        report("read", len(found), len(found))
        yield found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _counted(records: Iterable[Record], report: Progress) -> Iterator[Record]:
    for number, record in enumerate(records, 1):
        yield record
        if number % 1000 == 0:
            report("read", number, 0)
