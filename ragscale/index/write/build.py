"""Building an index: adding to an empty one, in a folder beside the destination that takes its name at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ragscale.corpus import Chunking, Columns, FieldTypes, Problems, read, refuse_unknown
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index.dense.auto import AUTO
from ragscale.index.dense.factory import check_factory, require_faiss
from ragscale.index.dense.search import METRIC
from ragscale.index.encoders.embedder import DEFAULT, Backend, Dtype, Embedder
from ragscale.index.lexical.bm25 import KINDS, LexicalKind, settings
from ragscale.index.storage.checksums import damaged_files, refuse_lost
from ragscale.index.storage.durable import put, remove_folder, removed_name, settled, storage_errors
from ragscale.index.storage.layout import GENERATIONS, MANIFEST_FILE, building_folder
from ragscale.index.storage.locks import writing
from ragscale.index.storage.manifest import Manifest, Segment
from ragscale.index.write import ray as on_ray
from ragscale.index.write.commit import commit
from ragscale.index.write.embedding import SEGMENT_ROWS, Progress, embed_segments, incoming, silent
from ragscale.index.write.segments import discard, drop_vectors, embedded, note_kept, write_texts

__all__ = ["BuildEngine", "BuildOptions", "build"]

BuildEngine = Literal["local", "ray"]
"""Where passages are read and embedded: in this process, or on Ray; see `ragscale.index.write.ray`."""


_OF_VECTORS = ("factory", "memory", "query_prompt", "document_prompt", "dtype", "backend", "devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How an index is built."""

    embedder: str | Path | None = DEFAULT
    """``"default"``, a hub name, the folder of a local model, or None or ``"none"`` for a lexical-only index."""
    factory: str = AUTO
    """FAISS factory string; Flat is exact, auto chooses by number, dimension, memory and device."""
    memory: int | None = None
    """Bytes that searching may hold resident, for auto; half of the machine's where None."""
    lexical: LexicalKind = "bm25s"
    """Which BM25: bm25s, or rank-bm25, the slow reference."""
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
    segment_rows: int = SEGMENT_ROWS
    """Most rows of a segment."""
    engine: BuildEngine = "local"
    """What reads and embeds."""
    backend: Backend = "torch"
    """What computes the vectors; see `ragscale.index.encoders.backends`."""
    devices: tuple[str, ...] = ()
    """Devices of worker processes that share the encoding; none where empty."""
    force: bool = False
    """Whether an index at the destination is replaced."""

    def __post_init__(self) -> None:
        if self.embedder == "none":  # as at the command line
            object.__setattr__(self, "embedder", None)


def build(corpora: Sequence[Path], out: Path, options: BuildOptions, progress: Progress | None = None) -> None:
    """Build an index at `out`.

    The embedder is loaded, or its endpoint asked, and the factory string tried before anything is read. The corpus is
    read and checked as a whole before the first passage is embedded. Nothing stands at `out` until the
    index is complete, and an index that was there stays untouched until then. The same call after a kill goes on where
    it was.

    Raises:
        CorpusError: The corpus cannot be indexed.
        EndpointError: The endpoint that is to embed cannot be reached.
        InvalidInput: `out` exists and `force` is off, or is no index; a bad factory, lexical index or chunking.
        IndexBusy: Another process is building at `out`, or is writing the index that is to be replaced.
        MissingDependency: No faiss for a dense index, no Ray for the engine ray.
        ModelFileError: The embedder cannot be loaded.
        RagscaleError: The disk is full or not writable.
    """
    _check(corpora, out, options)
    report = progress or silent
    out = settled(out)  # a link to an index goes on pointing at it
    ray = options.engine == "ray"
    with (
        storage_errors(out),
        _workplace(out) as folder,
        on_ray.connected() if ray else nullcontext(),
        _embedder(options) as embedder,
    ):
        fields = FieldTypes()
        chunking = options.chunking.counted_by(options.embedder)
        reading = on_ray.read if ray else read
        records = reading(corpora, chunking, columns=options.columns, fields=fields, problems=options.problems)
        with incoming(folder, records, report) as found:
            count = len(found)
            segments = write_texts(
                folder,
                0,
                found.store,
                np.arange(count),
                size=options.segment_rows,
                fields=fields.types,
                report=lambda done: report("bm25", done, count),
            )
        if embedder is not None:
            _embed(folder, segments, embedder, count, options, report)
        else:
            for segment in segments:
                drop_vectors(folder, segment)
        draft = Manifest(
            generation=0,
            segments=tuple(segments),
            passages=count,
            content="",
            lexical=settings(options.lexical, 0),
            chunking=asdict(chunking),
            fields=fields.types,
            embedder=embedder.info if embedder else None,
            metric=METRIC if embedder else None,
        )
        commit(folder, draft, None, old=None, factory=options.factory, memory=options.memory)
        _refuse_taken(out, options)  # again: it may have been hours
        put(folder, out, replace=options.force)


def _check(corpora: Sequence[Path], out: Path, options: BuildOptions) -> None:
    """Everything that can be refused before work starts, but for the embedder's."""
    if not corpora:
        raise InvalidInput("no corpus given", "Name at least one file or folder.")
    for corpus in corpora:
        refuse_unknown(str(corpus))
    if options.lexical not in KINDS:
        raise InvalidInput(f"unknown lexical index {options.lexical!r}", f"Choose one of: {', '.join(KINDS)}.")
    if options.engine not in get_args(BuildEngine):
        raise InvalidInput(f"unknown engine {options.engine!r}", f"Choose one of: {', '.join(get_args(BuildEngine))}.")
    if options.engine == "ray" and options.devices:
        given = ", ".join(options.devices)
        raise InvalidInput(f"devices {given} with the engine ray, which finds them itself", "Leave them out.")
    for name, value in (("batch size", options.batch_size), ("segment size", options.segment_rows)):
        if not isinstance(value, int) or value < 1:
            raise InvalidInput(f"{name} {value!r}, it must be a whole number from 1 on", "Give a number such as 64.")
    if options.embedder is None:
        _refuse_unused(options)
    else:
        require_faiss()
    _refuse_taken(out, options)


def _refuse_taken(out: Path, options: BuildOptions) -> None:
    """Refuse what stands at the destination, unless it is an index and may be replaced."""
    if out.exists() or out.is_symlink():
        if not options.force:
            raise InvalidInput(f"{out} exists", "Choose another --out, or replace it with --force.")
        if not (out / MANIFEST_FILE).is_file():
            raise InvalidInput(
                f"{out} exists and is not an index", "Choose another --out; --force replaces indexes only."
            )


def _refuse_unused(options: BuildOptions) -> None:
    """What is about vectors in an index without would be ignored, mistakes and all."""
    defaults = {known.name: known.default for known in fields(options)}
    for name in _OF_VECTORS:
        value = getattr(options, name)
        if value != defaults[name]:
            shown = ", ".join(value) if isinstance(value, tuple) else value
            raise InvalidInput(
                f"{name} {shown!r} for an index without vectors", "Leave it out, or build with an embedder."
            )


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """The locked folder in which the index for `out` grows; kept on an error if anything in it was embedded."""
    folder = building_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder):
        shutil.rmtree(removed_name(folder), ignore_errors=True)
        _reopen(folder)
        try:
            yield folder
        except BaseException as error:
            done, rows = not folder.is_dir(), embedded(folder)  # it is gone once it has its name
            if not rows:
                remove_folder(folder)
            note_kept(error, rows, done=done)
            raise


def _reopen(folder: Path) -> None:
    """Make what a killed build left ready to go on with; a finished index of damaged segments is thrown away."""
    if (folder / MANIFEST_FILE).exists():
        try:
            manifest = Manifest.read(folder)
            refuse_lost(folder, manifest, damaged_files(folder, manifest))
        except RagscaleError:
            discard(folder, 0)
        (folder / MANIFEST_FILE).unlink()
    shutil.rmtree(folder / GENERATIONS, ignore_errors=True)
    (folder / GENERATIONS).mkdir()


@contextmanager
def _embedder(options: BuildOptions) -> Iterator[Embedder | None]:
    """The embedder, loaded before the corpus is read: what it or FAISS refuses should not cost hours of reading."""
    if options.embedder is None:
        yield None
        return
    with Embedder.for_documents(
        options.embedder,
        dtype=options.dtype,
        query_prompt=options.query_prompt,
        document_prompt=options.document_prompt,
        backend=options.backend,
        devices=options.devices,
    ) as embedder:
        if options.factory != AUTO:
            check_factory(options.factory, embedder.info.dimension, sys.maxsize)  # the number is not known yet
        yield embedder


def _embed(
    folder: Path,
    segments: Sequence[Segment],
    embedder: Embedder,
    count: int,
    options: BuildOptions,
    report: Progress,
) -> None:
    assert options.embedder is not None
    # before hours of encoding: too few passages for its lists, or too little memory
    check_factory(options.factory, embedder.info.dimension, count, memory=options.memory)
    encode = None
    if options.engine == "ray":
        encode = on_ray.encoder(embedder.info, options.embedder, options.batch_size, options.backend)
    embed_segments(folder, segments, embedder, batch_size=options.batch_size, report=report, encode=encode)
    embedder.close()  # FAISS may need the memory of its processes
