"""`Index`: an index on disk, opened for searching."""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, overload

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.index.dense.factory import require_faiss
from ragscale.index.encoders.embedder import refuse_other_name
from ragscale.index.options import (
    AddOptions,
    BuildOptions,
    Gpus,
    How,
    Progress,
    QueryBackend,
    SearchOptions,
    UpdateOptions,
)
from ragscale.index.query.broker import Broker, Load
from ragscale.index.query.engine import Engine
from ragscale.index.query.request import SearchRequest, check_request
from ragscale.index.remote.wire import is_url
from ragscale.index.searchable import Searchable
from ragscale.index.storage.manifest import Manifest
from ragscale.index.storage.snapshot import Snapshot, verify
from ragscale.index.write import grow, maintain
from ragscale.index.write.build import build
from ragscale.index.write.session import Changes
from ragscale.types import Hit, Passage
from ragscale.view.life import in_notebook, life
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.index.remote.index import RemoteIndex

__all__ = ["Index"]

_MAX_WORK = 32_768  # of one batch: some tenths of a second of a small embedder on a CPU


class Index(Searchable):
    """Passages with a lexical index and, usually, vectors; made by `Index.build` or `Index.open`.

    Safe from any number of threads and event loops: all searches meet in one broker, which encodes and searches
    waiting requests together. Pickled by its path and the arguments of `open`: another process opens it anew.
    """

    def __init__(
        self,
        path: Path,
        *,
        embedder: str | Path | None = None,
        backend: QueryBackend = "auto",
        gpus: Gpus | None = None,
    ) -> None:
        snapshot = Snapshot(path)
        refuse_other_name(path, snapshot.manifest.embedder, embedder)
        if snapshot.manifest.embedder is not None:
            require_faiss()
        self.path = path
        self._source = embedder
        self._backend = backend
        self._gpus = gpus
        self._reloading = threading.Lock()
        self._current = _Current(Engine(snapshot, embedder=embedder, backend=backend, gpus=gpus))
        self._broker: Broker[SearchRequest, list[list[Hit]]] = Broker(
            self._current.run,
            work=lambda request: request.work,
            max_work=_MAX_WORK,
            name=f"ragscale-broker-{path.name}",
        )
        # also when the index is forgotten, and at the end of the program
        self._finalizer = weakref.finalize(self, _stop, self._broker, self._current)

    @property
    def manifest(self) -> Manifest:
        """Manifest of the commit that is open."""
        return self._snapshot.manifest

    @property
    def fingerprint(self) -> str:
        """Equal for two indexes only if they return the same, up to rounding; for cache keys and reports."""
        return self.manifest.fingerprint

    @property
    def description(self) -> str:
        """Subject of the corpus, for prompts; empty where its builder gave none."""
        return self.manifest.description

    @property
    def how(self) -> How:
        """The kind of search where a call names none: hybrid where the index has vectors, else BM25."""
        return "bm25" if self.manifest.embedder is None else "hybrid"

    @property
    def _snapshot(self) -> Snapshot:
        return self._current.engine.snapshot

    @classmethod
    def build(cls, corpora: Sequence[str | Path], out: str | Path, **options: Unpack[BuildOptions]) -> Index:
        """Build an index and open it. In a notebook a line below the cell tells how far it is.

        Args:
            corpora: Files, folders and names of data sets; see `ragscale.corpus.KINDS`.
            out: Folder to write; appears complete or not at all.
            options: As `BuildOptions` describes them: `embedder`, `factory`, `memory`, `dtype`, `query_prompt`,
                `document_prompt`, `batch_size`, `backend` and `devices` of the vectors; `lexical` and `language`;
                `chunk_by`, `chunk_size`, `chunk_overlap` and `chunk_rows`; `columns` and `problems` of the corpora;
                `description`, `segment_rows`, `engine`, `force` and `progress`.

        Raises:
            CorpusError: The corpus cannot be indexed; names file and line.
            InvalidInput: An unknown option, an argument out of range, or `out` exists.
            MissingDependency: No faiss is installed.
            ModelFileError: The embedder cannot be loaded.
            RagscaleError: The disk is full.
        """
        with life("index: reading the corpus, loading the embedder") as shown:
            if in_notebook():
                options.setdefault("progress", lambda stage, done, total: shown.tell(_told(stage, done, total)))
            build(corpora, out, **options)
            return cls.open(Path(out))

    @overload
    @classmethod
    def open(
        cls, path: Path, *, embedder: str | Path | None = None, backend: QueryBackend = "auto", gpus: Gpus | None = None
    ) -> Index: ...

    @overload
    @classmethod
    def open(
        cls, path: str, *, embedder: str | Path | None = None, backend: QueryBackend = "auto", gpus: Gpus | None = None
    ) -> Index | RemoteIndex: ...

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        embedder: str | Path | None = None,
        backend: QueryBackend = "auto",
        gpus: Gpus | None = None,
    ) -> Index | RemoteIndex:
        """Open an index for searching; the embedder is loaded by the first search that needs it.

        A URL (``http://127.0.0.1:8765``) opens the index that ``ragscale serve`` shares there, as a `RemoteIndex`.
        Else checks the size of every file, and the checksum of those up to 64 MiB, smallest first, up to 1 GiB in all:
        about a second. Larger ones are mapped and not read before they are searched; `verify` checks all.

        Args:
            path: The index folder, or the URL of a server.
            embedder: Name of the embedder that the index must have, or the folder where it lies on this machine, or the
                endpoint that serves it now; by default the one that the manifest names.
            backend: Computes the vectors of queries: ``"torch"``, ``"openvino"``, ``"onnx"`` or ``"auto"``: NumPy for a
                plain BERT where there is no GPU, which starts at once, and is up to twice as slow for many queries at a
                time; else torch.
            gpus: How several GPUs share the vectors: ``"shard"`` (a part each, for more vectors) or ``"replicate"`` (a
                copy each, for more searches); None for the first GPU alone, or the CPU where there is none.

        Raises:
            InvalidInput: Not an index, or an embedder or GPUs for a server, which has its own.
            IndexServerError: The server cannot be reached, or refuses the token.
            IndexDamaged: A file is missing, cut short or changed.
            IndexMismatch: Another format version or another embedder.
            MissingDependency: The index has vectors and no faiss is installed.
        """
        if is_url(path):
            if embedder is not None or backend != "auto" or gpus is not None:
                raise InvalidInput(f"embedder, backend or gpus for {path}", "Leave them out: the server has its own.")
            from ragscale.index.remote.index import RemoteIndex  # the HTTP client loads where it is used

            return RemoteIndex(str(path))
        if not isinstance(path, str | Path):
            raise InvalidInput(f"index {path!r} is neither a folder nor a URL", "Give the path of an index as text.")
        return cls(Path(path), embedder=embedder, backend=backend, gpus=gpus)

    def add(self, corpora: Sequence[str | Path], **options: Unpack[AddOptions]) -> Changes:
        """Add the documents of some corpora and move to the new commit; see `ragscale.index.write.grow.add`."""
        chosen: AddOptions = {"embedder": self._source, **options}
        return self._write(grow.add(self.path, corpora, **chosen))

    def update(self, corpora: Sequence[str | Path], **options: Unpack[UpdateOptions]) -> Changes:
        """Add new documents, replace changed ones and move to the new commit; see `write.grow.update`."""
        chosen: UpdateOptions = {"embedder": self._source, **options}
        return self._write(grow.update(self.path, corpora, **chosen))

    def remove(self, names: Sequence[str]) -> Changes:
        """Remove documents or passages by id and move to the new commit; see `ragscale.index.write.maintain.remove`."""
        return self._write(maintain.remove(self.path, names))

    def compact(self, *, progress: Progress | None = None) -> None:
        """Drop the rows of removed documents and move to the new commit; see `write.maintain.compact`."""
        maintain.compact(self.path, progress=progress)
        self._write(Changes())

    def _write(self, changes: Changes) -> Changes:
        if self.reload():
            maintain.sweep(self.path)
        return changes

    def reload(self) -> bool:
        """Move to the newest commit of the index; searches under way end on the one that they began with.

        Returns:
            Whether there was a newer one.

        Raises:
            RagscaleError: See `open`; the commit that was open stays so.
        """
        with self._reloading:
            old = self._current.engine
            if Manifest.read(self.path) == old.snapshot.manifest and old.snapshot.in_place():
                return False
            self._current.engine = old.follow(Snapshot(self.path, known=old.snapshot.manifest.files))
            return True

    def verify(self) -> None:
        """Compute the checksum of every file again, of the newest commit in the folder.

        Raises:
            IndexDamaged: One differs from the manifest.
            IndexMismatch: Another index was put in its place meanwhile.
        """
        verify(self.path)

    def search(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Search for several queries at once; see `Searchable.search` for arguments and result.

        Raises:
            InvalidInput: A blank query, a value out of range, an unknown `how` or option, a filter that cannot be read
                or names an unknown field, vectors asked of a lexical-only index, or a closed index.
            IndexDamaged: A file that this search is the first to need cannot be read.
            IndexMismatch: The folder holds another index by now, or the embedder found is not the one that it was
                built with.
            ModelFileError: The embedder or the reranker cannot be loaded.
            MissingDependency: They, or the backend, need a package that is not installed.
            EndpointError: The endpoint that embeds the queries cannot be reached, or refuses the key.
            ModelError: It failed six times, or refused a query.
            RagscaleError: The index was opened before this process was forked.
        """
        return self._broker.submit(self._check(queries, k, how, options)).result()

    async def asearch(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """`search` without blocking the event loop; cancelling it drops the request if it has not started."""
        if options.get("where") is None:
            request = self._check(queries, k, how, options)
        else:  # to read a filter takes milliseconds
            request = await asyncio.to_thread(self._check, queries, k, how, options)
        return await asyncio.wrap_future(self._broker.submit(request))

    def reranker_revision(self, name: str | Path) -> str:
        """Revision of the weights of a cross-encoder that searches here use; loads it.

        Returns:
            ``sha256:...`` of the weights of a local model, the commit of a hub model.

        Raises:
            ModelFileError: It cannot be loaded.
        """
        self.search([], 1, "bm25", rerank=name)
        return self._current.engine.reranker_revision(str(name))

    def passage(self, identity: str) -> Passage:
        """The passage with this id. Raises `InvalidInput` where there is none."""
        return self._snapshot.passages.get(identity)

    def known(self, names: Collection[str]) -> set[str]:
        """Those of some names that are the id, the document or the title of a passage; see `Searchable.known`."""
        return self._snapshot.passages.named(names)

    @property
    def load(self) -> Load:
        """Searches that wait, and batches run so far."""
        return self._broker.load

    def __len__(self) -> int:
        return self.manifest.passages

    def __contains__(self, identity: object) -> bool:
        return isinstance(identity, str) and self._snapshot.passages.row(identity) is not None

    def __reduce__(self) -> tuple[Callable[..., Index], tuple[Path]]:
        # absolute: the other process may work elsewhere
        source = self._source
        if source is not None and Path(source).is_dir():
            source = Path(source).absolute()
        again = functools.partial(type(self), embedder=source, backend=self._backend, gpus=self._gpus)
        return again, (self.path.absolute(),)

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {counted(len(self), 'passage')}, {self.how})"

    def close(self, seconds: float | None = None) -> None:
        """Finish the searches under way and stop the broker; later searches are refused. Idempotent.

        Args:
            seconds: Wait for them no longer; those not finished then end with the program at the latest. By default
                all are waited for, also where an endpoint that embeds takes minutes to give up.
        """
        if self._finalizer.detach():
            _stop(self._broker, self._current, seconds)

    def _refuse(self, how: How | None, options: SearchOptions) -> None:
        self._check((), 1, how, options)

    def _check(self, queries: Sequence[str], k: int, how: How | None, options: SearchOptions) -> SearchRequest:
        vectors = self.manifest.embedder is not None
        how = self.how if how is None else how
        return check_request(queries, k, how, options, fields=self._snapshot.passages.fields.schema, vectors=vectors)


class _Current:
    """The engine in use; apart from `Index`, so that the broker does not keep a forgotten index alive."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def run(self, requests: Sequence[SearchRequest]) -> Sequence[list[list[Hit]] | RagscaleError]:
        """`Engine.run` of the newest commit."""
        return self.engine.run(requests)


def _stop(broker: Broker[SearchRequest, list[list[Hit]]], current: _Current, seconds: float | None = None) -> None:
    broker.close(seconds)
    current.engine.snapshot.release()


def _told(stage: str, done: int, total: int) -> str:
    """A line on how far a build is; the total is 0 while it is unknown."""
    return f"index: {stage}, {done:,}" + (f" of {total:,}" if total else "")
