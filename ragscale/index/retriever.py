"""`Index`: an index on disk, opened for searching."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack, overload

from ragscale.corpus import Chunking
from ragscale.errors import IndexMismatch, InvalidInput
from ragscale.index.broker import Broker, Load
from ragscale.index.build import BuildOptions, Progress, build
from ragscale.index.dense import require_faiss
from ragscale.index.embed import DEFAULT, Dtype, canonical_name
from ragscale.index.engine import Engine
from ragscale.index.lexical import LexicalKind
from ragscale.index.manifest import Manifest, check_files
from ragscale.index.passages import PassageStore
from ragscale.index.request import How, SearchOptions, SearchRequest, check_request
from ragscale.index.view import Searching
from ragscale.types import Hit, Passage

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever

    from ragscale.index.remote import RemoteIndex

__all__ = ["Index"]

_HASHED_AT_OPEN = 64 << 20


class Index:
    """Passages with a lexical index and, usually, vectors; made by `Index.build` or `Index.open`.

    Safe from any number of threads and event loops: all searches meet in one broker, which encodes and searches what
    waits together. A context manager.
    """

    def __init__(self, path: Path, manifest: Manifest, *, embedder: str | Path | None = None) -> None:
        self.path = path
        self.manifest = manifest
        """What the index was made with."""
        self.fingerprint = manifest.fingerprint
        """Equal for two indexes only if they return the same; for cache keys and reports."""
        self.how: How = "bm25" if manifest.embedder is None else "hybrid"
        """What a search does by default: hybrid where the index has vectors, else BM25."""
        self._passages = PassageStore(path)
        engine = Engine(path, manifest, self._passages, embedder=embedder)
        self._broker: Broker[SearchRequest, list[list[Hit]]] = Broker(engine.run, name=f"ragscale-broker-{path.name}")
        # also when the index is forgotten, and at the end of the program
        self._finalizer = weakref.finalize(self, self._broker.close)

    @classmethod
    def build(
        cls,
        corpora: Sequence[str | Path],
        out: str | Path,
        *,
        embedder: str | Path | None = DEFAULT,
        factory: str = "Flat",
        lexical: LexicalKind = "bm25s",
        chunk_size: int = Chunking().size,
        chunk_overlap: int = Chunking().overlap,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        dtype: Dtype = "auto",
        batch_size: int = 64,
        force: bool = False,
        progress: Progress | None = None,
    ) -> Index:
        """Build an index and open it.

        Args:
            corpora: Files (.jsonl, .jsonl.gz, .parquet, .md, .txt) or folders of .md and .txt files.
            out: Folder to write; appears complete or not at all.
            embedder: ``"default"`` (all-MiniLM-L6-v2), a hub name, the folder of a local sentence-transformers model,
                or None for a lexical-only index, which needs neither torch nor faiss.
            factory: FAISS factory string; ``"Flat"`` is exact.
            lexical: ``"bm25s"``, or ``"rank-bm25"``, the slow reference.
            chunk_size: Most characters in a chunk of a text file.
            chunk_overlap: Characters that neighbouring chunks share at most.
            query_prompt: Put before each query when it is embedded; the model's own where None.
            document_prompt: Put before each passage when it is embedded; the model's own where None.
            dtype: Number format in which passages are encoded: ``"auto"`` (bfloat16 where the processor has
                instructions for it), ``"float32"`` or ``"bfloat16"``.
            batch_size: Passages encoded at once.
            force: Replace an index that is at `out`.
            progress: Called with stage, passages done and passages in all.

        Raises:
            CorpusError: The corpus cannot be indexed; names file and line.
            InvalidInput: An argument out of range, or `out` exists.
            MissingDependency: No faiss is installed.
            ModelFileError: The embedder cannot be loaded.
            RagscaleError: The disk is full.
        """
        options = BuildOptions(
            embedder=embedder,
            factory=factory,
            lexical=lexical,
            chunking=Chunking(chunk_size, chunk_overlap),
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            dtype=dtype,
            batch_size=batch_size,
            force=force,
        )
        build([Path(corpus) for corpus in corpora], Path(out), options, progress)
        return cls.open(Path(out))

    @overload
    @classmethod
    def open(cls, path: Path, *, embedder: str | Path | None = None) -> Index: ...

    @overload
    @classmethod
    def open(cls, path: str, *, embedder: str | Path | None = None) -> Index | RemoteIndex: ...

    @classmethod
    def open(cls, path: str | Path, *, embedder: str | Path | None = None) -> Index | RemoteIndex:
        """Open an index for searching; the embedder is loaded by the first search that needs it.

        A URL (``http://127.0.0.1:8765``) opens the index that ``ragscale serve`` shares there, as a `RemoteIndex`.
        Else checks the size of every file and the checksum of those up to 64 MiB; `verify` checks all.

        Args:
            path: The index folder, or the URL of a server.
            embedder: Name of the embedder that the index must have, or the folder where it lies on this machine; by
                default the one that the manifest names.

        Raises:
            InvalidInput: Not an index, or an embedder named for a server, which has its own.
            IndexServerError: The server cannot be reached, or refuses the token.
            IndexDamaged: A file is missing, cut short or changed.
            IndexMismatch: Another format version or another embedder.
            MissingDependency: The index has vectors and no faiss is installed.
        """
        if isinstance(path, str) and path.startswith(("http://", "https://")):
            return _open_remote(path, embedder)
        folder = Path(path)
        manifest = Manifest.read(folder)
        check_files(folder, manifest, hash_up_to=_HASHED_AT_OPEN)
        _check_embedder(folder, manifest, embedder)
        if manifest.embedder is not None:
            require_faiss()
        return cls(folder, manifest, embedder=embedder)

    def verify(self) -> None:
        """Compute the checksum of every file again.

        Raises:
            IndexDamaged: One differs from the manifest.
        """
        check_files(self.path, Manifest.read(self.path))

    def search(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Search for several queries at once.

        Args:
            queries: None of them blank.
            k: Hits a query, at least 1; fewer come back where fewer match or exist.
            how: ``"dense"`` (score: cosine), ``"bm25"`` (score: BM25, above 0), ``"hybrid"`` (score: fusion of the
                two); by default the index's own `how`.
            options: `weight`, `depth`, `where`, `rerank`, `mmr`, `mmr_union`, as `SearchOptions` describes them.

        Returns:
            A list of hits for each query, best first; equal scores in the order of the corpus.

        Raises:
            InvalidInput: A blank query, a value out of range, an unknown `how` or option, a filter that cannot be read
                or names an unknown field, or vectors asked of a lexical-only index.
            ModelFileError: The reranker cannot be loaded.
        """
        return self._submit(queries, k, how, options).result()

    async def asearch(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """`search` without blocking the event loop; cancelling it drops the request if it has not started."""
        return await asyncio.wrap_future(self._submit(queries, k, how, options))

    def searching(self, how: How | None = None, **options: Unpack[SearchOptions]) -> Searching:
        """This index with settings for its searches, as an `Agent` takes it::

            Agent(index.searching(rerank="models/reranker", where="year >= 1990"), llm)

        Raises:
            InvalidInput: As `search` does.
        """
        view = Searching(self, how, options)
        self._check((), 1, view.how, options)
        return view

    def as_retriever(self, k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]) -> BaseRetriever:
        """A LangChain retriever over this index::

            retriever = index.as_retriever(k=5, where="year >= 1990")
            retriever.invoke("who founded it"), await retriever.ainvoke("who founded it")

        Its documents hold the passage's id, text, metadata and score; see `ragscale.index.langchain`.

        Raises:
            InvalidInput: As `search` does.
        """
        from ragscale.index.langchain import retriever

        return retriever(self, k, how, options)

    def passage(self, identity: str) -> Passage:
        """The passage with this id. Raises `InvalidInput` where there is none."""
        return self._passages.get(identity)

    @property
    def load(self) -> Load:
        """How many searches wait, and how they were batched so far."""
        return self._broker.load

    def __len__(self) -> int:
        return len(self._passages)

    def __contains__(self, identity: object) -> bool:
        return isinstance(identity, str) and self._passages.row(identity) is not None

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {len(self):,} passages, {self.how})"

    def close(self) -> None:
        """Finish the searches under way and stop the broker; later searches are refused. Idempotent."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _submit(
        self, queries: Sequence[str], k: int, how: How | None, options: SearchOptions
    ) -> Future[list[list[Hit]]]:
        return self._broker.submit(self._check(queries, k, how or self.how, options))

    def _check(self, queries: Sequence[str], k: int, how: How, options: SearchOptions) -> SearchRequest:
        vectors = self.manifest.embedder is not None
        return check_request(queries, k, how, options, fields=lambda: self._passages.fields().schema, vectors=vectors)


def _open_remote(url: str, embedder: str | Path | None) -> RemoteIndex:
    from ragscale.index.remote import RemoteIndex  # the HTTP client loads where it is used

    if embedder is not None:
        raise InvalidInput(f"embedder={embedder!r} for {url}", "Leave it out: the server has the embedder.")
    return RemoteIndex(url)


def _check_embedder(folder: Path, manifest: Manifest, embedder: str | Path | None) -> None:
    built = None if manifest.embedder is None else manifest.embedder.name
    if embedder is None or (built and Path(embedder).is_dir()):
        return  # the weights of a folder are compared when it is loaded
    if canonical_name(embedder) != built:
        raise IndexMismatch(
            f"{folder} was built with {'no embedder' if built is None else built}, not with {canonical_name(embedder)}",
            "Open it without naming an embedder, or build an index with the other one.",
        )
