"""Building an index: corpus to passages, passages to vectors and terms, all in a folder renamed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.corpus import Chunking, Columns, Problems, read
from ragscale.errors import InvalidInput
from ragscale.index.dense import METRIC, VECTORS_FILE, build_dense, check_factory, require_faiss, write_dense
from ragscale.index.embed import DEFAULT, Dtype, Embedder
from ragscale.index.lexical import KINDS, LexicalKind, build_lexical, settings
from ragscale.index.manifest import MANIFEST_FILE, EmbedderInfo, Manifest, scan
from ragscale.index.passages import PassageStore, PassageWriter
from ragscale.index.place import new_folder

__all__ = ["BuildOptions", "Progress", "build"]

Progress = Callable[[str, int, int], None]
"""Called with the stage (``"read"``, ``"bm25"``, ``"embed"``), passages done and in all (0: not known yet)."""

_SLAB = 4096
_BATCHES_A_CALL = 4
_RAW_FILE = "vectors.f32"
_TRAINING_ROWS = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an index is built."""

    embedder: str | Path | None = DEFAULT
    """``"default"``, a hub name, the folder of a local model, or None for a lexical-only index."""
    factory: str = "Flat"
    """FAISS factory string; Flat is exact."""
    lexical: LexicalKind = "bm25s"
    chunking: Chunking = field(default_factory=Chunking)
    """How documents are cut."""
    columns: Columns = field(default_factory=Columns)
    """Which columns of tables mean what."""
    problems: Problems | None = None
    """Whether bad documents stop the build, which is the default, and what was left out."""
    query_prompt: str | None = None
    """Put before each query; the model's own where None."""
    document_prompt: str | None = None
    """Put before each passage; the model's own where None."""
    dtype: Dtype = "auto"
    """Number format in which passages are encoded."""
    batch_size: int = 64
    """Passages encoded at once."""
    force: bool = False
    """Whether an index at the destination is replaced."""


def build(corpora: Sequence[Path], out: Path, options: BuildOptions, progress: Progress | None = None) -> None:
    """Build an index at `out`.

    The corpus is read and checked as a whole before the first passage is embedded. Nothing stands at `out` until the
    index is complete, and an index that was there stays untouched until then.

    Raises:
        CorpusError: The corpus cannot be indexed.
        InvalidInput: `out` exists and `force` is off, or is no index; a bad factory, lexical index or chunking.
        MissingDependency: No faiss for a dense index.
        RagscaleError: The disk is full or not writable.
    """
    report = progress or (lambda stage, done, total: None)
    _check(corpora, out, options)
    chunking = options.chunking.counted_by(options.embedder)
    with new_folder(out) as folder:
        with PassageWriter(folder) as writer:
            records = read(corpora, chunking, columns=options.columns, problems=options.problems)
            for record in records:
                writer.add(record)
                if len(writer) % 1000 == 0:
                    report("read", len(writer), 0)
            writer.finish()
            report("read", len(writer), len(writer))
        with PassageStore(folder) as passages:
            terms = build_lexical(folder, options.lexical, _slabs(passages, "bm25", report))
            info = None if options.embedder is None else _embed(folder, passages, options, report)
            count = len(passages)
        manifest = Manifest(
            passages=count,
            lexical=settings(options.lexical, terms),
            chunking=asdict(chunking),
            embedder=info,
            factory=options.factory if info else None,
            metric=METRIC if info else None,
            files=scan(folder),
        )
        manifest.write(folder)


def _check(corpora: Sequence[Path], out: Path, options: BuildOptions) -> None:
    """Everything that can be refused before work starts."""
    if not corpora:
        raise InvalidInput("no corpus given", "Name at least one file or folder.")
    if options.lexical not in KINDS:
        raise InvalidInput(f"unknown lexical index {options.lexical!r}", f"Choose one of: {', '.join(KINDS)}.")
    if options.batch_size < 1:
        raise InvalidInput(f"batch size {options.batch_size}, the least is 1", "Give a number such as 64.")
    if options.embedder is not None:
        require_faiss()
    if out.exists() or out.is_symlink():
        if not options.force:
            raise InvalidInput(f"{out} exists", "Choose another --out, or replace it with --force.")
        if not (out / MANIFEST_FILE).is_file():
            raise InvalidInput(
                f"{out} exists and is not an index", "Choose another --out; --force replaces indexes only."
            )


def _slabs(passages: PassageStore, stage: str, report: Progress) -> Iterator[list[str]]:
    """Texts in row order, some at a time; reports each slab once its consumer comes back for the next."""
    for start in range(0, len(passages), _SLAB):
        stop = min(start + _SLAB, len(passages))
        yield passages.texts(start, stop)
        report(stage, stop, len(passages))


def _embed(folder: Path, passages: PassageStore, options: BuildOptions, report: Progress) -> EmbedderInfo:
    assert options.embedder is not None
    embedder = Embedder.for_documents(
        options.embedder,
        dtype=options.dtype,
        query_prompt=options.query_prompt,
        document_prompt=options.document_prompt,
    )
    dimension = embedder.info.dimension
    # made before hours of encoding, so that a wrong factory string fails in the first second
    index = check_factory(options.factory, dimension, len(passages))
    raw = folder / _RAW_FILE
    done = 0
    with raw.open("wb") as file:
        for start in range(0, len(passages), _SLAB):
            texts = passages.texts(start, start + _SLAB)
            slab = np.empty((len(texts), dimension), dtype=np.float32)
            for rows in _by_length(texts, _BATCHES_A_CALL * options.batch_size):
                slab[rows] = embedder.encode_documents([texts[row] for row in rows], batch_size=options.batch_size)
                done += len(rows)
                report("embed", done, len(passages))
            slab.tofile(file)
    vectors = np.memmap(raw, dtype=np.float32, mode="r", shape=(len(passages), dimension))
    build_dense(index, options.factory, _rows(vectors), _sample(vectors))
    write_dense(index, folder / VECTORS_FILE)
    del vectors
    raw.unlink()
    return embedder.info


def _by_length(texts: list[str], size: int) -> Iterator[list[int]]:
    """Positions in groups of like length, longest first: batches of one length need no padding, and twice the speed."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _rows(vectors: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), _SLAB):
        yield np.ascontiguousarray(vectors[start : start + _SLAB])


def _sample(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """At most `_TRAINING_ROWS` rows, evenly spaced, so that the same corpus trains the same index."""
    step = -(-len(vectors) // _TRAINING_ROWS)
    return np.ascontiguousarray(vectors[::step])
