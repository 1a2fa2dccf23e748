"""`Searchable`: the interface and the shared half of `Index`, `RemoteIndex` and `Searching`."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from ragscale.index.options import How, SearchOptions
from ragscale.types import Hit, Passage

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever

__all__ = ["Searchable", "Searching"]


class Searchable(ABC):
    """An index that is open for searching: on this machine, behind a server, or either with search settings.

    A context manager: `close` is called at the end.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Equal for two only if they return the same, up to rounding; for cache keys and reports."""

    @property
    @abstractmethod
    def how(self) -> How:
        """The kind of search where a call names none."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Subject of the corpus, for prompts; empty where its builder gave none."""

    @abstractmethod
    def search(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """Search for several queries at once.

        Args:
            queries: None of them blank. Without any, what such a search needs (embedder, reranker) is only loaded.
            k: Hits a query, at least 1; fewer come back where fewer match or exist.
            how: ``"dense"`` (score: cosine), ``"bm25"`` (score: BM25, above 0), ``"hybrid"`` (score: fusion of the
                two); by default the index's own `how`.
            options: `weight`, `depth`, `where`, `rerank`, `mmr`, `mmr_union`, as `SearchOptions` describes them.

        Returns:
            A list of hits for each query, best first; equal scores in the order of the corpus.

        Raises:
            InvalidInput: A blank query, a value out of range, an unknown `how` or option, a filter that cannot be read
                or names an unknown field, vectors asked of a lexical-only index, or a closed index.
            RagscaleError: See `Index.search` and `RemoteIndex.search`.
        """

    @abstractmethod
    async def asearch(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """`search` without blocking the event loop; cancelling it drops the request if it has not started."""

    @abstractmethod
    def passage(self, identity: str) -> Passage:
        """The passage with this id. Raises `InvalidInput` where there is none."""

    @abstractmethod
    def known(self, names: Collection[str]) -> set[str] | None:
        """Those of some names that are the id, the document or the title of a passage; None where nobody can tell.

        Reads the names of all passages: for gold passages of a set of questions, not for each search.
        """

    @abstractmethod
    def reranker_revision(self, name: str | Path) -> str:
        """Revision of the weights of a cross-encoder that searches here use.

        Returns:
            ``sha256:...`` of the weights of a local model, the commit of a hub model.
        """

    @property
    def longest_query(self) -> int | None:
        """Most characters of a query; None where any number is taken."""
        return None

    @abstractmethod
    def __len__(self) -> int:
        """Number of passages."""

    @abstractmethod
    def __contains__(self, identity: object) -> bool:
        """Whether a passage has this id."""

    @abstractmethod
    def close(self) -> None:
        """Finish the searches under way; later searches are refused. Idempotent."""

    @abstractmethod
    def _refuse(self, how: How | None, options: SearchOptions) -> None:
        """Raise `InvalidInput` for settings that `search` refuses."""

    def searching(self, how: How | None = None, **options: Unpack[SearchOptions]) -> Searching:
        """This index with settings for its searches, as an `Agent` takes it::

            Agent(index.searching(rerank="models/reranker", where="year >= 1990"), llm)

        Raises:
            InvalidInput: As `search` does.
        """
        self._refuse(how, options)
        return Searching(self, how, options)

    def as_retriever(self, k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]) -> BaseRetriever:
        """A LangChain retriever over this index::

            retriever = index.as_retriever(k=5, where="year >= 1990")
            retriever.invoke("who founded it"), await retriever.ainvoke("who founded it")

        Its documents hold the passage's id, text, metadata and score; see `ragscale.index.langchain`.

        Raises:
            InvalidInput: As `search` does.
        """
        from ragscale.index.langchain import retriever  # LangChain takes its time to load

        return retriever(self, k, how, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Searching(Searchable):
    """An index with search settings, made by `searching`: a call that names a setting overrides it.

    An `Agent` takes it in place of the index, so that every mode retrieves by these settings. Shares the index's broker
    and passages; closing it closes the index.
    """

    def __init__(self, index: Searchable, how: How | None, options: SearchOptions) -> None:
        self._how: How = index.how if how is None else how
        self.index: Searchable = index.index if isinstance(index, Searching) else index
        """The index without settings."""
        self.options: SearchOptions = index._settings(options) if isinstance(index, Searching) else options
        """The settings, by the keywords of `Index.search`."""

    @property
    def fingerprint(self) -> str:
        """Equal for two only if they return the same: of the index, the settings and the weights of the reranker.

        Loads the reranker where there is one, so that the weights are those that it searches with; raises as that does.
        """
        options: dict[str, Any] = {**self.options}
        if reranker := self.options.get("rerank"):
            options["rerank"] = [reranker, self.index.reranker_revision(reranker)]
        settings = json.dumps([self.index.fingerprint, self.how, options], sort_keys=True, default=str)
        return hashlib.sha256(settings.encode()).hexdigest()

    @property
    def how(self) -> How:
        """The kind of search where a call names none."""
        return self._how

    @property
    def description(self) -> str:
        """The index's."""
        return self.index.description

    def search(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """`Index.search` with the settings; `how` and options given here override them."""
        return self.index.search(queries, k, self.how if how is None else how, **self._settings(options))

    async def asearch(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """`search` without blocking the event loop."""
        return await self.index.asearch(queries, k, self.how if how is None else how, **self._settings(options))

    def _settings(self, options: SearchOptions) -> SearchOptions:
        return {**self.options, **options}

    def _refuse(self, how: How | None, options: SearchOptions) -> None:
        self.index._refuse(self.how if how is None else how, self._settings(options))

    def passage(self, identity: str) -> Passage:
        """The passage with this id. Raises `InvalidInput` where there is none."""
        return self.index.passage(identity)

    def known(self, names: Collection[str]) -> set[str] | None:
        """The index's."""
        return self.index.known(names)

    def reranker_revision(self, name: str | Path) -> str:
        """Revision of the weights of a cross-encoder that the index uses."""
        return self.index.reranker_revision(name)

    @property
    def longest_query(self) -> int | None:
        """Most characters of a query; None where any number is taken."""
        return self.index.longest_query

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, identity: object) -> bool:
        return identity in self.index

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"Searching({self.index!r}, how={self.how!r}{settings})"

    def close(self) -> None:
        """Close the index."""
        self.index.close()
