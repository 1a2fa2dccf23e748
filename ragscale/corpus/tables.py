"""Readers of jsonl, Wikipedia and parquet files: one row a passage, other columns as metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import IO, Any

from ragscale.corpus.lines import DAMAGE, lines, reading_from, whole
from ragscale.corpus.problems import Problems
from ragscale.corpus.record import Place
from ragscale.corpus.rows import Columns, Row
from ragscale.corpus.source import Source, unpacked_limit
from ragscale.errors import BadDocument

__all__ = ["LINES", "json_rows", "json_value", "jsonl_rows", "parquet_rows", "rows_of", "wikipedia_rows"]

LINES: Any = object()
"""Stands for the value of a json file that has an object on each line, in place of one value."""

_INNER = ("metadata.", "meta.")
_JSON_LIMIT = 64 << 20
_ROWS_AT_ONCE = 1024
_ROOM = 64 << 20
_WRAPPED = (("row_idx", "row"), ("lc", "kwargs"), ("__type__", "__data__"))
"""Keys beside which others hold the row itself: of Hugging Face's server, LangChain's dumps, LlamaIndex's stores."""
_ROW, _VALUE = 64, 8
"""Minimum size in bytes of a row, and of a value that is not text."""


def json_rows(source: Source, columns: Columns, problems: Problems) -> Iterator[Row]:
    """Rows of a json file, which may be compressed: one, those of an array, or of the only array in an object.

    So are those that pandas wrote column by column, those under the keys of an object (the key is the id of a row that
    has none), and those that Hugging Face's server, LangChain or LlamaIndex wrapped. A file of one object a line is
    read as that. Other values, such as settings, are no rows: they are counted.

    Raises:
        BadDocument: Not JSON, too large to be read as a whole, or damaged.
    """
    try:
        value = json_value(source, _JSON_LIMIT)
    except BadDocument as error:
        if not error.reason.startswith("more than "):
            raise
        remedy = f"{error.remedy} Or write one object a line, for instance with jq -c '.[]', and name it .jsonl."
        raise BadDocument(source.place, error.reason, remedy) from None
    if value is LINES:
        yield from jsonl_rows(source)
        return
    value = rows_of(value, columns.are_in)
    if isinstance(value, dict) and not columns.are_in(value):
        arrays = [inner for inner in value.values() if isinstance(inner, list)]
        if len(arrays) > 1 or (value and all(isinstance(inner, dict) for inner in value.values())):
            problems.leave_out("json files of several arrays or of an object of objects, which may be no rows")
            return
        value = arrays[0] if arrays else None
    elif isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not any(isinstance(row, dict) for row in value):
        problems.leave_out("json files without an array of objects")
        return
    for number, row in enumerate(value, 1):
        yield Place(source.place, "row", number), row


def rows_of(value: Any, is_row: Callable[[Collection[Any]], bool]) -> Any:
    """The rows of a JSON value in one of the shapes that libraries write; any other value as it is.

    Args:
        value: Of a whole file.
        is_row: Whether names are those of a row's columns.
    """
    if isinstance(value, dict) and "docstore/data" in value:
        value = value["docstore/data"]
    if isinstance(value, dict) and isinstance(value.get("rows"), list):
        value = value["rows"]
    if isinstance(value, dict) and len(value) > 1 and is_row(value):
        keys = next((kind for kind in map(_keys, value.values()) if kind), None)
        if not keys or any(_keys(column) != keys for column in value.values()):
            return value
        return [{name: column[key] for name, column in value.items()} for key in keys]  # column by column
    if isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
        inner = [(key, _unwrapped(row)) for key, row in value.items()]
        return (
            [{"id": key, **row} for key, row in inner] if all(is_row({"id": 1, **row}) for _, row in inner) else value
        )
    return [_unwrapped(row) for row in value] if isinstance(value, list) else value


def _keys(column: Any) -> list[Any] | None:
    return list(column) if isinstance(column, dict) else list(range(len(column))) if isinstance(column, list) else None


def _unwrapped(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    return next((row[key] for beside, key in _WRAPPED if beside in row and isinstance(row.get(key), dict)), row)


def json_value(source: Source, limit: int | None) -> Any:
    """The value of a json file, which may be compressed; `LINES` for one that has to be read by `jsonl_rows`.

    That is one with an object on each line, and one that is not UTF-8, of which `jsonl_rows` names the line.

    Raises:
        BadDocument: Not JSON (with line and column), of more than `limit` bytes, or damaged.
    """
    try:
        data = whole(source, limit)
    except DAMAGE as error:
        raise BadDocument(source.place, f"damaged or unreadable ({error})", "Check the file.") from error
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return LINES
    except (ValueError, RecursionError) as error:
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b"\n" in data.strip():
            return LINES
        raise BadDocument(source.place, f"not JSON ({error})", "Write an array of objects.") from error


def jsonl_rows(source: Source) -> Iterator[Row]:
    """Rows of a jsonl file, which may be compressed; blank lines are skipped, and so is what makes an array of lines.

    Raises:
        BadDocument: A compressed file that is damaged or cut short; says after which line.
    """
    number = 0
    begins: bool | None = None
    try:
        with reading_from(source) as stream:
            for line in lines(stream):
                number = line.number
                place = Place(source.place, "line", number)
                try:
                    text = line.decode(place).strip()
                    begins = begins if begins is not None or not text else text[0] == "[" and not text.endswith("]")
                    if begins:  # an array, an object a line
                        text = text.removeprefix("[").removesuffix("]").removesuffix(",")
                    if text:
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
        # the error's own line is 1, as it was given no other
        what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise BadDocument(place, f"not JSON ({what})", "Write one JSON object on each line.") from error


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

    Columns of lists (but a text may be one of texts), bytes and objects (but those named ``metadata`` and ``meta``,
    without lists and objects in them) are not read.

    Raises:
        BadDocument: Not a parquet file, damaged, without columns for ids and texts that can hold them, or unpacking to
            more than `unpacked_limit` bytes.
    """
    import pyarrow as pa

    with source.seekable() as stream:
        try:
            file, schema = _opened(stream)
        except (pa.ArrowException, OSError) as error:
            reason = f"not a parquet file ({error})"
            raise BadDocument(source.place, reason, "Check the file, or rename it to what it is.") from error
        with file:
            limit, size = unpacked_limit(source.size), 0
            groups = (file.metadata.row_group(at) for at in range(file.metadata.num_row_groups))
            _refuse_more(sum(group.total_byte_size for group in groups), limit, source.place)
            columns.check(schema.names, source.place)
            columns = columns.among(schema.names)
            readable = _readable(schema, columns.text)
            for name in (columns.text, columns.id):
                if name in schema.names and name not in readable:
                    reason = f"`{name}` is {schema.field(name).type}, not text"
                    raise BadDocument(source.place, reason, "Write it as text, or name another column by --columns.")
            number = 0
            try:
                for batch in file.iter_batches(batch_size=_rows_at_once(file, columns.text), columns=readable):
                    for row in range(batch.num_rows):
                        number += 1
                        place = Place(source.place, "row", number)
                        values = _values(batch, row, place)
                        size += _ROW + _size(values)
                        _refuse_more(size, limit, place)
                        yield place, values
            except (pa.ArrowException, OSError) as error:
                reason = f"damaged parquet file after row {number} ({error})"
                raise BadDocument(source.place, reason, "Write or download the file again.") from error


def _opened(stream: IO[bytes]) -> tuple[Any, Any]:
    """The file and its schema, but with texts left in their dictionaries: one may stand in each of millions of rows."""
    import pyarrow.parquet as pq

    known = pq.ParquetFile(stream)
    # those in objects cannot be left there
    texts = [leaf.path for _, leaf in _texts(known) if leaf.path == leaf.name]
    stream.seek(0)
    return pq.ParquetFile(stream, metadata=known.metadata, read_dictionary=texts), known.schema_arrow


def _texts(file: Any) -> list[tuple[int, Any]]:
    """Columns of texts or bytes, those in objects too, with their places."""
    leaves = [(at, file.schema.column(at)) for at in range(len(file.schema))]
    return [(at, leaf) for at, leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]


def _rows_at_once(file: Any, text: str) -> int:
    """So few that texts in ``metadata`` and in lists fit in memory, were each as long as all that its column holds."""
    inner = [at for at, leaf in _texts(file) if leaf.path != leaf.name and leaf.path.startswith((*_INNER, f"{text}."))]
    groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
    longest = max((group.column(at).total_uncompressed_size for group in groups for at in inner), default=0)
    return max(1, min(_ROWS_AT_ONCE, _ROOM // max(longest, 1)))


def _refuse_more(size: int, limit: int, place: object) -> None:
    if size > limit:
        raise BadDocument(
            place,
            f"its rows unpack to {size:,} bytes, the limit is {limit:,} (256 MiB and a hundred times the file's size)",
            "Write them as jsonl, if you trust them.",
        )


def _readable(schema: Any, text: str) -> list[str]:
    """Names of the columns that can hold text, numbers, truth values or times, and of those within metadata."""
    from pyarrow import types

    names = []
    for field in schema:
        if f"{field.name}." in _INNER and types.is_struct(field.type):
            inner = [field.type.field(at) for at in range(field.type.num_fields)]
            names += [f"{field.name}.{part.name}" for part in inner if _is_plain(part.type)]
        elif _is_plain(field.type) or (field.name == text and _is_texts(field.type)):
            names.append(field.name)
    return names


def _is_plain(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return not any(test(kind) for test in (types.is_nested, *binary))


def _is_texts(kind: Any) -> bool:
    """Whether it is lists of texts, or lists of them."""
    from pyarrow import types

    for _ in range(2):
        if not (types.is_list(kind) or types.is_large_list(kind)):
            return False
        kind = kind.value_type
        if types.is_string(kind) or types.is_large_string(kind):
            return True
    return False


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


def _size(values: Any) -> int:
    """Bytes that the values of a row take at least."""
    if isinstance(values, dict):
        return sum(map(_size, values.values()))
    if isinstance(values, list):
        return sum(map(_size, values))
    return len(values) if isinstance(values, str) else _VALUE
