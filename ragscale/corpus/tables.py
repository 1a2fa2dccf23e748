"""Readers of jsonl, jsonl.gz and parquet files with the columns id, title and text."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ragscale.corpus.record import Place, Record, passage_of
from ragscale.errors import CorpusError

__all__ = ["read_jsonl", "read_parquet"]

_BOM = b"\xef\xbb\xbf"
_ROWS_AT_ONCE = 1024


def read_jsonl(path: Path) -> Iterator[Record]:
    """Passages of a ``.jsonl`` or ``.jsonl.gz`` file, in order; blank lines are skipped.

    Raises:
        CorpusError: A line that is not UTF-8 (with its byte offset in the uncompressed file), not JSON or not a
            passage; a gzip file that is damaged or cut short.
    """
    offset = 0
    number = 0
    try:
        with cast("IO[bytes]", gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as lines:
            for number, line in enumerate(lines, 1):
                place = Place(path, "line", number)
                text = _decode(line, place, offset)
                offset += len(line)
                if text.strip():
                    yield Record(passage_of(_parse(text, place), place), place)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(
            f"{path}: damaged gzip file after line {number} ({error})", "Compress or download the file again."
        ) from error


def _decode(line: bytes, place: Place, offset: int) -> str:
    if place.number == 1 and line.startswith(_BOM):
        line, offset = line[len(_BOM) :], offset + len(_BOM)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{place}: invalid UTF-8, byte 0x{line[error.start]:02x} at offset {offset + error.start} of the file",
            "Convert the file to UTF-8, for instance with iconv.",
        ) from error


def _parse(text: str, place: Place) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{place}: not JSON ({error})", "Write one JSON object on each line.") from error


def read_parquet(path: Path) -> Iterator[Record]:
    """Passages of a parquet file, in order, a few rows in memory at a time.

    Raises:
        CorpusError: Not a parquet file, no ``id`` or ``text`` column, or a row that is not a passage.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise CorpusError(
            f"{path}: not a parquet file ({error})", "Check the file, or rename it to what it is."
        ) from error
    with file:
        present = file.schema_arrow.names
        missing = [name for name in ("id", "text") if name not in present]
        if missing:
            raise CorpusError(
                f"{path}: no column {' and no column '.join(missing)} (there are: {', '.join(present)})",
                "Name the columns id, title and text.",
            )
        wanted = [name for name in ("id", "title", "text") if name in present]
        number = 0
        try:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
                columns = {name: batch.column(name) for name in wanted}
                for row in range(batch.num_rows):
                    number += 1
                    place = Place(path, "row", number)
                    values = {name: _value(column[row], name, place) for name, column in columns.items()}
                    yield Record(passage_of(values, place), place)
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(
                f"{path}: damaged parquet file after row {number} ({error})", "Write or download the file again."
            ) from error


def _value(scalar: object, name: str, place: Place) -> object:
    try:
        return scalar.as_py()  # type: ignore[attr-defined]
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{place}: invalid UTF-8 in `{name}`, byte 0x{error.object[error.start]:02x} at its offset {error.start}",
            "Write the column again as UTF-8 text.",
        ) from error
