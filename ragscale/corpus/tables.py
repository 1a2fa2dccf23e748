"""Readers of jsonl, Wikipedia and parquet files: one row a passage, other columns as metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ragscale.corpus.lines import DAMAGE, lines, reading_from
from ragscale.corpus.problems import Problems
from ragscale.corpus.record import Place
from ragscale.corpus.rows import Columns, Row
from ragscale.corpus.source import Source
from ragscale.errors import BadDocument

__all__ = ["jsonl_rows", "parquet_rows", "wikipedia_rows"]

_ROWS_AT_ONCE = 1024


def jsonl_rows(source: Source) -> Iterator[Row]:
    """Rows of a jsonl file, which may be compressed; blank lines are skipped.

    Raises:
        BadDocument: A compressed file that is damaged or cut short; says after which line.
    """
    number = 0
    try:
        with reading_from(source) as stream:
            for line in lines(stream):
                number = line.number
                place = Place(source.place, "line", number)
                try:
                    text = line.decode(place)
                    if text.strip():
                        yield place, _parse(text, place)
                except BadDocument as error:
                    yield place, error
    except DAMAGE as error:
        reason = f"damaged or unreadable after line {number} ({error})"
        raise BadDocument(source.place, reason, "Check the file, or download it again.") from error


def _parse(text: str, place: Place) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadDocument(place, f"not JSON ({error})", "Write one JSON object on each line.") from error


def wikipedia_rows(source: Source, problems: Problems) -> Iterator[Row]:
    """Articles in a file of wikiextractor's JSON output.

    Articles without text, which it writes for redirects and pages that are only a template, are left out and counted.
    """
    for place, row in jsonl_rows(source):
        if isinstance(row, dict) and row.get("text") == "":
            problems.leave_out("articles without text")
        else:
            yield place, row


def parquet_rows(source: Source, columns: Columns) -> Iterator[Row]:
    """Rows of a parquet file, a few in memory at a time.

    Columns of lists, bytes and objects (but one named ``metadata``) are not read.

    Raises:
        BadDocument: Not a parquet file, damaged, or without columns for ids and texts that can hold them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with source.seekable() as stream:
        try:
            file = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            reason = f"not a parquet file ({error})"
            raise BadDocument(source.place, reason, "Check the file, or rename it to what it is.") from error
        with file:
            columns.check(file.schema_arrow.names, source.place)
            readable = _readable(file.schema_arrow)
            for name in (columns.text, columns.id):
                if name in file.schema_arrow.names and name not in readable:
                    reason = f"`{name}` is {file.schema_arrow.field(name).type}, not text"
                    raise BadDocument(source.place, reason, "Write it as text, or name another column by --columns.")
            number = 0
            try:
                for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=readable):
                    for row in range(batch.num_rows):
                        number += 1
                        place = Place(source.place, "row", number)
                        yield place, _values(batch, row, place)
            except (pa.ArrowException, OSError) as error:
                reason = f"damaged parquet file after row {number} ({error})"
                raise BadDocument(source.place, reason, "Write or download the file again.") from error


def _readable(schema: Any) -> list[str]:
    """Names of the columns that can hold text, numbers, truth values or times, or metadata as a struct."""
    from pyarrow import types

    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    unread = (types.is_nested, *binary)

    def read(field: Any) -> bool:
        if field.name == "metadata" and types.is_struct(field.type):
            return True
        return not any(test(field.type) for test in unread)

    return [field.name for field in schema if read(field)]


def _values(batch: Any, row: int, place: Place) -> dict[str, Any] | BadDocument:
    values = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values[name] = column[row].as_py()
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            reason = f"invalid UTF-8 in `{name}`, byte 0x{byte:02x} at its offset {error.start}"
            return BadDocument(place, reason, "Write the column again as UTF-8 text.")
        except (OverflowError, ValueError) as error:  # Python has no such value: a time beyond the year 9999
            return BadDocument(place, f"`{name}` cannot be read ({error})", "Write it as text.")
    return values
