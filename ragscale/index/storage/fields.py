"""Metadata as typed columns, for filters, in files that are read by memory map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ragscale.index.storage.damage import damaged, reading
from ragscale.index.storage.layout import FIELDS_FILE
from ragscale.types import Scalar

__all__ = ["FieldWriter", "Fields"]

_TYPES = {"bool", "int64", "double", "large_string"}


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


class Fields:
    """Metadata of several segments as typed columns, sorted by name, null where a passage lacks the field.

    The files are mapped here and read as they were then, whatever stands at their paths later.

    Args:
        segments: Folder and number of rows of each; one without `FIELDS_FILE` has nulls.
    """

    def __init__(self, segments: Sequence[tuple[Path, int]]) -> None:
        import pyarrow as pa

        self._paths = [folder / FIELDS_FILE for folder, _ in segments]
        self._parts = [(_mapped(path, rows), rows) for path, (_, rows) in zip(self._paths, segments, strict=True)]
        self._whole = False
        kinds: dict[str, Any] = {}
        for table, _ in self._parts:
            for column in table.schema if table is not None else ():
                known = kinds.setdefault(column.name, column.type)
                if known != column.type:
                    kinds[column.name] = pa.float64()  # FieldTypes lets no other two types meet
        self.schema = pa.schema(sorted(kinds.items()))
        """Names and types, a ``pyarrow.Schema``."""

    def table(self) -> Any:
        """A ``pyarrow.Table`` with a row for each row of the segments; no columns (and rows) where none has metadata.

        Made anew by each call: what is mapped stays so, but nulls and numbers of a changed type take memory. The first
        one reads everything, to check it.

        Raises:
            IndexDamaged: A file is not what was written.
        """
        import pyarrow as pa

        self._check()
        parts = []
        for table, rows in self._parts:
            present = table.column_names if table is not None else []
            # whole numbers beyond 2^53 are rounded, as they are where a column has fractions from the start
            columns = [
                table[f.name].cast(f.type, safe=False) if f.name in present else pa.nulls(rows, f.type)
                for f in self.schema
            ]
            parts.append(pa.table(columns, schema=self.schema))
        return pa.concat_tables(parts) if parts else pa.table({})

    def _check(self) -> None:
        if not self._whole:
            for path, (table, _) in zip(self._paths, self._parts, strict=True):
                if table is not None:
                    with reading(path):
                        table.validate(full=True)
            self._whole = True

    def close(self) -> None:
        """Drop the memory maps; tables that were made stay valid."""
        self._parts.clear()


def _mapped(path: Path, rows: int) -> Any:
    import pyarrow as pa

    if not path.exists():
        return None
    with reading(path), pa.memory_map(str(path)) as source:  # the table keeps the map
        table = pa.ipc.open_file(source).read_all()
        if table.num_rows != rows or not {str(field.type) for field in table.schema} <= _TYPES:
            raise damaged(path, f"{table.num_rows:,} rows of {rows:,}, of {', '.join(map(str, table.schema.types))}")
        return table.rename_columns(table.schema.names)  # which are read here, as texts that may be none
