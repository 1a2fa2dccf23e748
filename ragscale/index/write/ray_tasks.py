"""Tasks that run on other nodes of Ray: one reads pieces of corpora; an actor embeds slabs.

Tables have one column of bytes. An outcome of reading is a JSON list that begins with its kind; a slab's
vectors are their bytes, after a first byte that tells them from an error.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragscale.corpus import Chunking, Columns, FieldTypes, Piece, Place, Problem, Problems, Reader, Record
from ragscale.errors import BadDocument, CorpusError, RagscaleError
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.options import Backend
from ragscale.index.storage.manifest import EmbedderInfo
from ragscale.index.write.embedding import encode_slab
from ragscale.index.write.segments import Slab
from ragscale.types import Passage, Scalar

if TYPE_CHECKING:
    from pyarrow import Table

__all__ = ["SlabEncoder", "outcomes", "read_pieces", "record_of", "unpacked"]

_ROWS_A_TABLE = 1000

Outcome = list[Any]
"""``["record", ...]`` of `record_of`; ``["problem", place, reason, remedy]``; ``["left out", kind, count]``;
``["error", class, problem, remedy]``, the last of all; ``["end"]`` of a piece; ``["vectors", bytes]``."""


def read_pieces(pieces: Table, chunking: Chunking, columns: Columns, keep_going: bool) -> Iterator[Table]:
    """A task: the outcomes of reading some pieces."""
    found = outcomes([Piece(**piece) for piece in pieces.to_pylist()], chunking, columns, keep_going)
    packed = (json.dumps(outcome).encode() for outcome in found)
    while rows := list(islice(packed, _ROWS_A_TABLE)):
        yield _table(rows)


def outcomes(pieces: list[Piece], chunking: Chunking, columns: Columns, keep_going: bool) -> Iterator[Outcome]:
    """Outcomes of reading some pieces, in order; none after the first error, unless the reader keeps going.

    Types of fields are not compared here: they depend on what is read elsewhere.
    """
    told: list[Outcome] = []
    problems = Problems(keep_going=keep_going, show=lambda problem: told.append(_problem(problem)))
    try:
        reader = Reader(chunking, columns, _AnyTypes(), problems)
        for piece in pieces:
            for record in reader.piece(piece):
                yield from _drained(told)
                yield _packed(record)
            yield from _drained(told)
            yield from (["left out", kind, count] for kind, count in problems.left_out.items())
            problems.left_out.clear()
            yield ["end"]
    except BadDocument as error:
        # one that stops even what keeps going is of a data set
        yield ["error", CorpusError.__name__, error.problem, error.remedy] if keep_going else _problem(error)
    except RagscaleError as error:
        yield _error(error)


class _AnyTypes(FieldTypes):
    def fitted(self, metadata: Mapping[str, Scalar], place: object, problems: Problems) -> Mapping[str, Scalar]:
        return metadata


def _drained(told: list[Outcome]) -> Iterator[Outcome]:
    yield from told
    told.clear()


def _problem(found: Problem | BadDocument) -> Outcome:
    return ["problem", found.place, found.reason, found.remedy]


def _error(error: RagscaleError) -> Outcome:
    """Outcome of an error, named by its nearest class in `ragscale.errors`, where the other side looks it up."""
    kin = next(kind for kind in type(error).__mro__ if kind.__module__ == RagscaleError.__module__)
    return ["error", kin.__name__, error.problem, error.remedy]


def _packed(record: Record) -> Outcome:
    passage, place = record.passage, record.place
    cells = [passage.id, passage.title, passage.text, passage.document, dict(passage.metadata)]
    return ["record", *cells, str(place.file), place.unit, place.number]


def record_of(values: list[Any]) -> Record:
    """The record of an outcome, without its kind."""
    *cells, file, unit, number = values
    return Record(Passage(*cells), Place(Path(file), unit, number))


class SlabEncoder:
    """An actor: holds a model and makes the vectors of slabs.

    Args:
        info: The embedder of the index.
        source: Name or folder of that model.
        batch_size: Passages encoded at once.
        backend: Computes the vectors.
    """

    def __init__(self, info: EmbedderInfo, source: str, batch_size: int, backend: Backend = "torch") -> None:
        self._info = info
        self._source = source
        self._batch_size = batch_size
        self._backend = backend
        self._embedder: Embedder | None = None

    def __call__(self, slabs: Table) -> Table:
        """Outcomes of some slabs."""
        return _table([self._encode(slab) for slab in slabs.to_pylist()])

    def _encode(self, slab: dict[str, Any]) -> bytes:
        try:
            if self._embedder is None:  # not before: what is raised here is sent, what is raised by a start is not
                self._embedder = Embedder.of(self._info, source=self._source, backend=self._backend)
            where = Slab(Path(slab["folder"]), slab["start"], slab["stop"])
            return _VECTORS + encode_slab(self._embedder, where, self._batch_size).astype("<f4", copy=False).tobytes()
        except RagscaleError as error:
            return json.dumps(_error(error)).encode()
        except OSError as error:
            lost = RagscaleError(
                f"node {platform.node()} cannot read {slab['folder']} ({error})",
                "Build on a disk that all nodes see under the same path.",
            )
            return json.dumps(_error(lost)).encode()


_VECTORS = b"\x00"


def _table(rows: list[bytes]) -> Table:
    import pyarrow as pa

    return pa.table({"row": pa.array(rows, pa.large_binary())})


def unpacked(table: Table) -> Iterator[Outcome]:
    """The outcomes in a table that a task sent."""
    for row in table.column("row").to_pylist():
        yield ["vectors", row[1:]] if row.startswith(_VECTORS) else json.loads(row)
