"""Building an index: written to a folder beside the destination, which is renamed when it is complete."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Unpack, get_args

import numpy as np

from ragscale.arguments import listed, refuse_options
from ragscale.corpus import By, Chunking, Columns, FieldTypes, read, refuse_unknown
from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index.dense.auto import AUTO, parse_memory
from ragscale.index.dense.factory import check_factory, require_faiss
from ragscale.index.dense.search import METRIC
from ragscale.index.encoders.embedder import DEFAULT, Embedder
from ragscale.index.lexical.bm25 import KINDS, settings
from ragscale.index.options import BuildEngine, BuildOptions, Dtype, LexicalKind, Progress
from ragscale.index.storage.checksums import damaged_files, refuse_lost
from ragscale.index.storage.durable import put, remove_folder, removed_name, settled, storage_errors
from ragscale.index.storage.layout import GENERATIONS, MANIFEST_FILE, building_folder
from ragscale.index.storage.locks import writing
from ragscale.index.storage.manifest import Manifest, Segment, described
from ragscale.index.write import ray as on_ray
from ragscale.index.write.commit import commit
from ragscale.index.write.embedding import WriteSettings, embed_segments
from ragscale.index.write.language import language_of
from ragscale.index.write.segments import discard, drop_vectors, embedded, note_kept, write_texts
from ragscale.index.write.staging import staged
from ragscale.language.terms import AUTO as AUTO_LANGUAGE
from ragscale.language.terms import known_language

__all__ = ["build"]

_OF_VECTORS = ("factory", "memory", "query_prompt", "document_prompt", "dtype", "backend", "devices")


@dataclass(frozen=True, kw_only=True)
class _Settings(WriteSettings):
    """`BuildOptions` with their defaults."""

    embedder: str | Path | None = DEFAULT
    factory: str = AUTO
    memory: str | int | None = None
    lexical: LexicalKind = "bm25s"
    language: str = AUTO_LANGUAGE
    chunk_by: By = "characters"
    chunk_size: int | None = None
    chunk_overlap: int | None = None
    chunk_rows: bool = False
    query_prompt: str | None = None
    document_prompt: str | None = None
    dtype: Dtype = "auto"
    engine: BuildEngine = "local"
    description: str = ""
    force: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.embedder == "none":  # as at the command line
            object.__setattr__(self, "embedder", None)

    @property
    def chunking(self) -> Chunking:
        """Chunking of the documents."""
        chunking = Chunking(self.chunk_size, self.chunk_overlap, self.chunk_by, self.chunk_rows)
        return chunking.counted_by(self.embedder)

    @property
    def bytes(self) -> int | None:
        """Bytes that searching may hold resident."""
        return None if self.memory is None else parse_memory(self.memory)


def build(corpora: Sequence[str | Path], out: str | Path, **given: Unpack[BuildOptions]) -> None:
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
    paths = [Path(corpus) for corpus in listed("corpora", corpora, (str, Path))]
    if not str(out).strip():
        raise InvalidInput(f"out {str(out)!r} names no folder", "Name the folder of the new index.")
    refuse_options("a build", given, BuildOptions.__annotations__)
    options = _Settings(**given)
    chunking, memory, description = options.chunking, options.bytes, described(options.description)
    known_language(options.language)
    _check(paths, Path(out), options)
    out = settled(Path(out))  # a link to an index goes on pointing at it
    report = options.report
    ray = options.engine == "ray"
    with (
        storage_errors(out),
        _workplace(out) as folder,
        on_ray.connected() if ray else nullcontext(),
        _embedder(options) as embedder,
    ):
        types = FieldTypes()
        reading = on_ray.read if ray else read
        columns = options.columns or Columns()
        records = reading(paths, chunking, columns=columns, fields=types, problems=options.problems)
        with staged(folder, records, report) as found:
            count = len(found)
            language, chosen = language_of(options.language, found.store, np.arange(count))
            segments = write_texts(
                folder,
                0,
                found.store,
                np.arange(count),
                size=options.segment_rows,
                fields=types.types,
                language=language,
                report=lambda done: report("bm25", done, count),
            )
        if embedder is not None:
            _embed(folder, segments, embedder, count, memory, options, report)
        else:
            for segment in segments:
                drop_vectors(folder, segment)
        draft = Manifest(
            generation=0,
            segments=tuple(segments),
            passages=count,
            content="",
            lexical=settings(options.lexical, language, chosen),
            chunking=asdict(chunking),
            fields=types.types,
            embedder=embedder.info if embedder else None,
            metric=METRIC if embedder else None,
            description=description,
        )
        commit(folder, draft, None, old=None, factory=options.factory, memory=memory)
        _refuse_taken(out, options)  # again: it may have been hours
        put(folder, out, replace=options.force)


def _check(corpora: Sequence[Path], out: Path, options: _Settings) -> None:
    """Refuse whatever can be refused before work starts, except by the embedder."""
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


def _refuse_taken(out: Path, options: _Settings) -> None:
    """Refuse what stands at the destination, unless it is an index and may be replaced."""
    if out.exists() or out.is_symlink():
        if not options.force:
            raise InvalidInput(f"{out} exists", "Choose another --out, or replace it with --force.")
        if not (out / MANIFEST_FILE).is_file():
            raise InvalidInput(
                f"{out} exists and is not an index", "Choose another --out; --force replaces indexes only."
            )


def _refuse_unused(options: _Settings) -> None:
    """Refuse vector options for a lexical-only index; they would be ignored."""
    defaults = {known.name: known.default for known in fields(options)}
    for name in _OF_VECTORS:
        value = getattr(options, name)
        if value != defaults[name]:
            shown = ", ".join(value) if name == "devices" else value
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
    """Prepare what a killed build left for going on; remove a finished index of damaged segments."""
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
def _embedder(options: _Settings) -> Iterator[Embedder | None]:
    """The embedder, loaded before the corpus is read, so that a refusal by it or by FAISS costs no hours of reading."""
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
    memory: int | None,
    options: _Settings,
    report: Progress,
) -> None:
    assert options.embedder is not None
    # before hours of encoding: too few passages for its lists, or too little memory
    check_factory(options.factory, embedder.info.dimension, count, memory=memory)
    encode = None
    if options.engine == "ray":
        encode = on_ray.encoder(embedder.info, options.embedder, options.batch_size, options.backend)
    embed_segments(folder, segments, embedder, batch_size=options.batch_size, report=report, encode=encode)
    embedder.close()  # FAISS may need the memory of its processes
