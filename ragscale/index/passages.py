"""Passages in an Arrow file that is read by memory map, and a compact table from id to row."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ragscale.corpus import Place, Record
from ragscale.errors import CorpusError, InvalidInput
from ragscale.types import Passage

__all__ = ["IDS_FILE", "PASSAGES_FILE", "PassageStore", "PassageWriter", "full_text"]

PASSAGES_FILE = "passages.arrow"
IDS_FILE = "ids.npy"
_BATCH = 4096


def full_text(passage: Passage) -> str:
    """What is embedded and put into the lexical index: the title, a line break, the text."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def _hash(identity: str) -> int:
    return int.from_bytes(hashlib.blake2b(identity.encode("utf-8"), digest_size=8).digest(), "little")


class PassageWriter:
    """Writes passages as they come; a context manager.

    Holds one batch of texts and 16 bytes a passage, so that a corpus of any size passes through.

    Args:
        folder: Where `PASSAGES_FILE` and `IDS_FILE` are written.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        self._folder = folder
        # 64-bit offsets: a batch of long texts may pass 2 GiB
        self._schema = pa.schema([(name, pa.large_string()) for name in ("id", "title", "text")])
        self._writer = pa.ipc.new_file(str(folder / PASSAGES_FILE), self._schema)
        self._rows: list[Passage] = []
        self._hashes = array("Q")
        self._numbers = array("Q")
        self._sources: list[tuple[int, Place]] = []

    def add(self, record: Record) -> None:
        """Append one passage; its row is the count of those before it."""
        if not self._sources or record.place.file != self._sources[-1][1].file:
            self._sources.append((len(self._hashes), record.place))
        self._hashes.append(_hash(record.passage.id))
        self._numbers.append(record.place.number)
        self._rows.append(record.passage)
        if len(self._rows) == _BATCH:
            self._flush()

    def __len__(self) -> int:
        return len(self._hashes)

    def finish(self) -> None:
        """Write the rest and the id table.

        Raises:
            CorpusError: Two passages have the same id; names both places.
        """
        self._flush()
        self._writer.close()
        hashes = np.array(self._hashes, dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        self._refuse_duplicates(hashes, order)
        np.save(self._folder / IDS_FILE, np.stack([hashes[order], order.astype(np.uint64)]), allow_pickle=False)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = [[getattr(row, name) for row in self._rows] for name in self._schema.names]
            self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
            self._rows.clear()

    def _refuse_duplicates(self, hashes: NDArray[np.uint64], order: NDArray[np.int64]) -> None:
        ranked = hashes[order]
        suspects = np.unique(ranked[1:][ranked[1:] == ranked[:-1]])
        if not suspects.size:
            return
        with PassageStore(self._folder, ids=np.stack([ranked, order.astype(np.uint64)])) as store:
            first: dict[str, int] = {}
            for row in np.flatnonzero(np.isin(hashes, suspects)).tolist():
                identity = store.id(row)
                if identity in first:
                    raise CorpusError(
                        f"duplicate id {identity!r}: {self._place(first[identity])} and {self._place(row)}",
                        "Remove one of them or rename its id.",
                    )
                first[identity] = row

    def _place(self, row: int) -> Place:
        source = next(place for start, place in reversed(self._sources) if start <= row)
        return Place(source.file, source.unit, self._numbers[row])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._writer.close()


class PassageStore:
    """Reads what `PassageWriter` wrote, by row or by id; safe from many threads; a context manager.

    Args:
        folder: The index folder.
        ids: The id table, where it is not on disk yet.
    """

    def __init__(self, folder: Path, *, ids: NDArray[np.uint64] | None = None) -> None:
        import pyarrow as pa

        self._file: Any = pa.memory_map(str(folder / PASSAGES_FILE))
        table = pa.ipc.open_file(self._file).read_all()
        self._ids, self._titles, self._texts = (table.column(name) for name in ("id", "title", "text"))
        self._length: int = table.num_rows
        loaded = np.load(folder / IDS_FILE, mmap_mode="r", allow_pickle=False) if ids is None else ids
        self._hashes, self._order = loaded

    def __len__(self) -> int:
        return self._length

    def id(self, row: int) -> str:
        """Id of a row."""
        return str(self._ids[row].as_py())

    def __getitem__(self, row: int) -> Passage:
        """Passage of a row, 0 to `len` - 1."""
        return Passage(self._ids[row].as_py(), self._titles[row].as_py(), self._texts[row].as_py())

    def __iter__(self) -> Iterator[Passage]:
        return (self[row] for row in range(self._length))

    def row(self, identity: str) -> int | None:
        """Row of an id, or None where there is no such passage."""
        try:
            wanted = np.uint64(_hash(identity))
        except UnicodeEncodeError:
            return None  # half a surrogate pair is in no UTF-8 file
        at = int(np.searchsorted(self._hashes, wanted))
        while at < len(self._hashes) and self._hashes[at] == wanted:
            row = int(self._order[at])
            if self.id(row) == identity:
                return row
            at += 1
        return None

    def get(self, identity: str) -> Passage:
        """Passage of an id.

        Raises:
            InvalidInput: There is none.
        """
        row = self.row(identity)
        if row is None:
            raise InvalidInput(f"no passage {identity!r} among {self._length:,}", "Use an id that a search returned.")
        return self[row]

    def texts(self, start: int, stop: int) -> list[str]:
        """`full_text` of the rows from `start` up to, not including, `stop`."""
        titles = self._titles.slice(start, stop - start).to_pylist()
        texts = self._texts.slice(start, stop - start).to_pylist()
        return [full_text(Passage("", title, text)) for title, text in zip(titles, texts, strict=True)]

    def fields(self) -> Any:
        """Metadata."""
        import pyarrow as pa

        return pa.table({"n": list(range(self._length)), "odd": [row % 2 == 1 for row in range(self._length)], "word": [str(self.id(r))[:1] for r in range(self._length)]})

    def close(self) -> None:
        """Drop the memory map; passages already handed out stay valid."""
        self._ids = self._titles = self._texts = None
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
