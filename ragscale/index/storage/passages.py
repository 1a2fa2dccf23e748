"""Passages in Arrow files that are read by memory map, and a compact table from id to row."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import InvalidInput
from ragscale.index.storage.damage import damaged, reading
from ragscale.index.storage.fields import Fields, FieldWriter
from ragscale.index.storage.hashes import id_hash, row_hashes
from ragscale.index.storage.layout import HASHES_FILE, PASSAGES_FILE
from ragscale.text import encodable
from ragscale.types import Passage

__all__ = ["BATCH_SIZE", "PassageStore", "PassageWriter", "full_text", "id_table"]

_COLUMNS = ("id", "document", "title", "text", "metadata")
_BATCH = 4096
BATCH_SIZE = 32 << 20
"""Characters of texts from which on no more passages are held together."""


def _schema() -> Any:
    import pyarrow as pa

    # 64-bit offsets: a batch of long texts may pass 2 GiB
    return pa.schema([(name, pa.large_string()) for name in _COLUMNS])


def full_text(passage: Passage) -> str:
    """Text of a passage that is embedded and put into the lexical index: the title, a line break, the text."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def id_table(hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Content of `IDS_FILE`: the hashes of some ids in ascending order, and under each its row; shape (2, n)."""
    order = np.argsort(hashes, kind="stable")
    return np.stack([hashes[order], rows[order].astype(np.uint64)])


class PassageWriter:
    """Writes the passages of a folder as they come, and their hashes; holds one batch; a context manager.

    Args:
        folder: Where the files are written.
        fields: Types of the metadata fields to write as columns; see `FieldTypes`.
    """

    def __init__(self, folder: Path, fields: Mapping[str, str] | None = None) -> None:
        import pyarrow as pa

        self._schema = _schema()
        self._writer = pa.ipc.new_file(str(folder / PASSAGES_FILE), self._schema)
        self._hashes = (folder / HASHES_FILE).open("wb")
        self._fields = FieldWriter(folder, fields) if fields else None
        self._rows: list[Passage] = []
        self._size = 0

    def add(self, passage: Passage) -> None:
        """Append a passage; its row is the count of those before it."""
        self._hashes.write(row_hashes(passage).tobytes())
        self._rows.append(passage)
        self._size += len(passage.text) + len(passage.title)
        if len(self._rows) == _BATCH or self._size >= BATCH_SIZE:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = [[_cell(row, name) for row in self._rows] for name in _COLUMNS]
            self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
            if self._fields:
                self._fields.add([row.metadata for row in self._rows])
            self._rows.clear()
            self._size = 0

    def close(self) -> None:
        """Write the rest and close the files."""
        try:
            self._flush()
        finally:
            self._hashes.close()
            self._writer.close()
            if self._fields:
                self._fields.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _cell(passage: Passage, name: str) -> str:
    if name == "metadata":
        return json.dumps(dict(passage.metadata)) if passage.metadata else ""
    return str(getattr(passage, name))


class _Batch:
    """Some thousand rows of texts, read straight from the mapped columns.

    Arrow would follow an offset wherever it leads; here each is compared with what there is first.
    """

    def __init__(self, path: Path, batch: Any) -> None:
        self._path = path
        self._batch = batch
        self._columns = []
        for column in batch.columns:
            _, offsets, data = column.buffers()
            ends = np.frombuffer(offsets, dtype="<i8", count=batch.num_rows + 1)
            self._columns.append((ends, memoryview(b"" if data is None else data)))

    def cell(self, row: int, column: int) -> str:
        """The text of a row in a column of `_COLUMNS`."""
        ends, data = self._columns[column]
        start, stop = int(ends[row]), int(ends[row + 1])
        if not 0 <= start <= stop <= len(data):
            raise damaged(self._path, f"a text from {start} to {stop} of {len(data)} bytes")
        try:
            return str(data[start:stop], "utf-8")
        except UnicodeDecodeError as error:
            raise damaged(self._path, error) from error

    def passage(self, row: int) -> Passage:
        """A row."""
        return self._passage(*(self.cell(row, column) for column in range(len(_COLUMNS))))

    def passages(self, rows: NDArray[np.int64]) -> Iterator[Passage]:
        """Many rows: the same, faster."""
        for ends, data in self._columns:
            starts, stops = ends[rows], ends[rows + 1]
            if ((starts < 0) | (starts > stops) | (stops > len(data))).any():
                raise damaged(self._path, f"a text beyond its {len(data)} bytes")
        with reading(self._path):
            columns = self._batch.take(rows).to_pydict()
        return (self._passage(*cells) for cells in zip(*(columns[name] for name in _COLUMNS), strict=True))

    def _passage(self, identity: str, document: str, title: str, text: str, metadata: str) -> Passage:
        try:
            return Passage(identity, title, text, document, json.loads(metadata) if metadata else {})
        except ValueError as error:
            raise damaged(self._path, error) from error


class PassageStore:
    """Reads what `PassageWriter` wrote to some folders, as one row space; safe from many threads; a context manager.

    Args:
        folders: In row order.
        ids: The table of `id_table`; without it no passage is found by id.

    Raises:
        IndexDamaged: A file is not what was written. One whose texts are damaged raises it as they are read.
    """

    def __init__(self, folders: Sequence[Path], ids: NDArray[np.uint64] | None = None) -> None:
        self._files: list[Any] = []
        self._batches: list[Any] = []
        self._views: dict[int, _Batch] = {}
        self._paths: list[Path] = []
        self._segments: list[tuple[Path, int]] = []
        for folder in folders:
            with reading(folder / PASSAGES_FILE):
                batches = self._open(folder / PASSAGES_FILE)
            self._batches += batches
            self._paths += [folder / PASSAGES_FILE] * len(batches)
            self._segments.append((folder, sum(batch.num_rows for batch in batches)))
        self.fields = Fields(self._segments)
        """Metadata, a row a row and a column a field."""
        # where each batch starts, and where the last one ends
        self._starts: list[int] = [0, *accumulate(batch.num_rows for batch in self._batches)]
        self._hashes: NDArray[np.uint64]
        self._hashes, self._order = np.empty((2, 0), dtype=np.uint64) if ids is None else ids

    def _open(self, path: Path) -> list[Any]:
        import pyarrow as pa

        file = pa.memory_map(str(path))
        self._files.append(file)
        reader = pa.ipc.open_file(file)
        if reader.schema != _schema():
            raise damaged(path, f"its columns are {', '.join(reader.schema.names)}")
        return [reader.get_batch(number) for number in range(reader.num_record_batches)]

    def __len__(self) -> int:
        """Rows, deleted ones included."""
        return self._starts[-1]

    @property
    def folders(self) -> list[Path]:
        """Folders of the segments, in row order."""
        return [folder for folder, _ in self._segments]

    @property
    def id_hashes(self) -> NDArray[np.uint64]:
        """Hashes of the ids of all passages that are found by id, in ascending order."""
        return self._hashes

    def id(self, row: int) -> str:
        """Id of a row."""
        batch, local = self._find(row)
        return batch.cell(local, 0)

    def __getitem__(self, row: int) -> Passage:
        """Passage of a row, 0 to `len` - 1."""
        batch, local = self._find(row)
        return batch.passage(local)

    def take(self, rows: NDArray[np.int64]) -> Iterator[Passage]:
        """Passages of some rows, in ascending order; a batch in memory at a time."""
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for part in np.split(rows, np.flatnonzero(np.diff(numbers)) + 1) if len(rows) else ():
            batch, first = self._find(int(part[0]))
            yield from batch.passages(part - part[0] + first)

    def texts(self, start: int, stop: int) -> list[str]:
        """`full_text` of the rows from `start` up to, not including, `stop`."""
        return [full_text(passage) for passage in self.take(np.arange(start, min(stop, len(self))))]

    def row(self, identity: str) -> int | None:
        """Row of an id, or None where there is no such passage."""
        if not isinstance(identity, str):
            return None
        try:
            wanted = np.uint64(id_hash(identity))
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
            count = len(self._hashes)
            raise InvalidInput(f"no passage {identity!r} among {count:,}", "Use an id that a search returned.")
        return self[row]

    def named(self, names: Iterable[str]) -> set[str]:
        """Those of some names that are the id, the document or the title of a passage; reads all of these columns once.

        Names that are ids are found without reading.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = dict.fromkeys(filter(None, names))
        found = {name for name in wanted if self.row(name) is not None}
        rest = pa.array([name for name in wanted if name not in found and encodable(name) == name], pa.large_string())
        for number, batch in enumerate(self._batches if len(rest) else ()):
            for column in ("document", "title"):
                with reading(self._paths[number]):
                    cells = batch.column(column)
                    rows = pc.indices_nonzero(pc.is_in(cells, value_set=rest)).to_pylist()
                    there = {row: cells[row].as_py() for row in rows}
                start = self._starts[number]
                for row, name in there.items():  # all passages may be of one document
                    # rows of removed documents have no id any more
                    if name not in found and self.row(self.id(start + row)) == start + row:
                        found.add(name)
        return found

    def _find(self, row: int) -> tuple[_Batch, int]:
        number = bisect_right(self._starts, row) - 1
        if not 0 <= number < len(self._batches):  # said by another file of the index
            raise damaged(self._paths[-1], f"row {row} of {len(self)} is wanted")
        if number not in self._views:
            with reading(self._paths[number]):
                self._views[number] = _Batch(self._paths[number], self._batches[number])
        return self._views[number], row - self._starts[number]

    def close(self) -> None:
        """Drop the memory maps; passages already handed out stay valid."""
        self._batches.clear()
        self._views.clear()
        self.fields.close()
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
