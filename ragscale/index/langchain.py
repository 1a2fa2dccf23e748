"""An index as a LangChain retriever; imported when one is asked for, as LangChain takes its time to load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from ragscale.types import Hit

if TYPE_CHECKING:
    from ragscale.index.remote import RemoteIndex
    from ragscale.index.request import How, SearchOptions
    from ragscale.index.retriever import Index

__all__ = ["RagscaleRetriever", "retriever"]


class RagscaleRetriever(BaseRetriever):
    """What `Index.as_retriever` returns; any of its fields but `index` may be given to a call instead.

    Each `Document` has the passage's id, its text as `page_content`, and in `metadata` the passage's own metadata with
    ``id``, ``title``, ``document`` and ``score``.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Any = Field(exclude=True, repr=False)
    """An `Index`, a `RemoteIndex`, or one with search settings."""
    k: int = 10
    """Most documents."""
    how: str | None = None
    """Kind of search; None for the index's own."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further keywords of `Index.search`."""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        how: str | None = None,
        **options: Any,
    ) -> list[Document]:
        found = self.index.search([query], **self._settings(k, how, options))
        return [_document(hit) for hit in found[0]]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        how: str | None = None,
        **options: Any,
    ) -> list[Document]:
        found = await self.index.asearch([query], **self._settings(k, how, options))
        return [_document(hit) for hit in found[0]]

    def _settings(self, k: int | None, how: str | None, options: dict[str, Any]) -> dict[str, Any]:
        own = {"k": self.k if k is None else k, "how": self.how if how is None else how}
        return {**self.options, **options, **own}


def _document(hit: Hit) -> Document:
    passage = hit.passage
    own = {"id": passage.id, "title": passage.title, "document": passage.document, "score": hit.score}
    return Document(id=passage.id, page_content=passage.text, metadata={**passage.metadata, **own})


def retriever(index: Index | RemoteIndex, k: int, how: How | None, options: SearchOptions) -> RagscaleRetriever:
    """The retriever of an index. Raises `InvalidInput` as a search would."""
    index.search([], k, how, **options)  # a wrong setting is an error here, not at the first question
    return RagscaleRetriever(index=index, k=k, how=how, options=dict(options))
