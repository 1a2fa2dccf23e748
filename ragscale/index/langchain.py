"""LangChain retriever over an index; imported on demand, since LangChain takes its time to load."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Unpack

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field, PrivateAttr

from ragscale.types import Hit

if TYPE_CHECKING:
    from ragscale.index.options import How, SearchOptions

__all__ = ["RagscaleRetriever", "retriever"]


class _Searches(Protocol):
    """The part of a `Searchable` that the retriever uses."""

    @property
    def longest_query(self) -> int | None: ...

    def search(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]: ...

    async def asearch(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]: ...


class RagscaleRetriever(BaseRetriever):
    """LangChain retriever over an index, made by `as_retriever`; a call may override any field but `index`.

    Each `Document` has the passage's id, its text as `page_content`, and in `metadata` the passage's own metadata with
    ``id``, ``title``, ``document`` and ``score``.

    A query may come from a model, which no error should end: a blank one finds nothing, and of one that is longer than
    an index server takes, the beginning is searched, with a warning the first time.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Any = Field(exclude=True, repr=False)
    """A `Searchable`."""
    k: int = 10
    """Most documents."""
    how: str | None = None
    """Kind of search; None for the index's own."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further keywords of `Index.search`."""
    _cut: bool = PrivateAttr(default=False)
    """Whether a query was cut before."""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        how: str | None = None,
        **options: Any,
    ) -> list[Document]:
        found = self.index.search(self._queries(query), **self._settings(k, how, options))
        return [_document(hit) for hits in found for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        how: str | None = None,
        **options: Any,
    ) -> list[Document]:
        found = await self.index.asearch(self._queries(query), **self._settings(k, how, options))
        return [_document(hit) for hits in found for hit in hits]

    def _queries(self, query: str) -> list[str]:
        if not isinstance(query, str):
            return [query]  # the search says what is wrong with it
        query = query.strip()
        if not query:
            return []
        most = self.index.longest_query
        if most is None or len(query) <= most:
            return [query]
        if not self._cut:
            self._cut = True
            warnings.warn(f"a query has {len(query):,} characters, the server takes {most:,}: cut", stacklevel=2)
        return [query[:most]]

    def _settings(self, k: int | None, how: str | None, options: dict[str, Any]) -> dict[str, Any]:
        own = {"k": self.k if k is None else k, "how": self.how if how is None else how}
        return {**self.options, **options, **own}


def _document(hit: Hit) -> Document:
    passage = hit.passage
    own = {"id": passage.id, "title": passage.title, "document": passage.document, "score": hit.score}
    return Document(id=passage.id, page_content=passage.text, metadata={**passage.metadata, **own})


def retriever(index: _Searches, k: int, how: How | None, options: SearchOptions) -> RagscaleRetriever:
    """The retriever of an index. Raises `InvalidInput` as a search would."""
    index.search([], k, how, **options)  # a wrong setting is an error here, not at the first question
    return RagscaleRetriever(index=index, k=k, how=how, options=dict(options))
