"""Metadata as typed columns, for filters, in files that are read by memory map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ragscale.types import Scalar

__all__ = ["FIELDS_FILE", "FieldWriter", "read_fields"]

FIELDS_FILE = "fields.arrow"


class FieldWriter:
    """Writes `FIELDS_FILE`, a column a field and a row a passage.

    Args:
        folder: Where it is written.
        types: Of the fields; other fields are left out.
    """

    def __init__(self, folder: Path, types: Mapping[str, str]) -> None:
        import pyarrow as pa

        self._schema = pa.schema([(name, getattr(pa, _arrow(kind))()) for name, kind in types.items()])
        self._writer = pa.ipc.new_file(str(folder / FIELDS_FILE), self._schema)

    def add(self, rows: Sequence[Mapping[str, Scalar]]) -> None:
        """Append the metadata of some passages."""
        import pyarrow as pa

        columns = [_column(rows, f) for f in self._schema]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        """Write the end of the file."""
        self._writer.close()


def _column(rows: Sequence[Mapping[str, Scalar]], column: Any) -> Any:
    import pyarrow as pa

    values = [row.get(column.name) for row in rows]
    if column.type == pa.float64():  # large whole numbers are refused, not rounded, unless asked
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, type=column.type)


def _arrow(kind: str) -> str:
    return {"bool": "bool_", "double": "float64"}.get(kind, kind)


def read_fields(segments: Sequence[tuple[Path, int]]) -> Any:
    """The columns of several segments as one ``pyarrow.Table``, sorted by name, null where a passage lacks the field.

    Args:
        segments: Folder and number of rows of each; one without `FIELDS_FILE` has nulls.

    Returns:
        A row for each row of the segments; without columns (and rows) where no passage has metadata.
    """
    import pyarrow as pa

    tables = [_read(folder / FIELDS_FILE) for folder, _ in segments]
    kinds: dict[str, Any] = {}
    for table in tables:
        for column in table.schema if table is not None else ():
            known = kinds.setdefault(column.name, column.type)
            if known != column.type:
                kinds[column.name] = pa.float64()  # FieldTypes lets no other two types meet
    schema = pa.schema(sorted(kinds.items()))
    parts = []
    for table, (_, rows) in zip(tables, segments, strict=True):
        present = table.column_names if table is not None else []
        columns = [table[f.name].cast(f.type) if f.name in present else pa.nulls(rows, f.type) for f in schema]
        parts.append(pa.table(columns, schema=schema))
    return pa.concat_tables(parts) if parts else pa.table({})


def _read(path: Path) -> Any:
    import pyarrow as pa

    if not path.exists():
        return None
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
