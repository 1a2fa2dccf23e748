"""`Searching`: an index together with the settings that its searches use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Unpack

from ragscale.types import Hit, Passage

if TYPE_CHECKING:
    from ragscale.index.local import Index
    from ragscale.index.query.request import How, SearchOptions
    from ragscale.index.remote.index import RemoteIndex

__all__ = ["Searching"]


class Searching:
    """What `Index.searching` returns: searches like the index, with its settings where a call says nothing else.

    An `Agent` takes it in place of the index, so that every mode retrieves by these settings. Shares the index's broker
    and passages; closing it closes the index.
    """

    def __init__(self, index: Index | RemoteIndex, how: How | None, options: SearchOptions) -> None:
        self.index = index
        self.how: How = index.how if how is None else how
        """What a search does by default."""
        self.options = options
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

    def search(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """`Index.search` with the settings; `how` and options given here come before them."""
        return self.index.search(queries, k, self.how if how is None else how, **self._settings(options))

    async def asearch(
        self, queries: Sequence[str], k: int = 10, how: How | None = None, **options: Unpack[SearchOptions]
    ) -> list[list[Hit]]:
        """`search` without blocking the event loop."""
        return await self.index.asearch(queries, k, self.how if how is None else how, **self._settings(options))

    def _settings(self, options: SearchOptions) -> SearchOptions:
        return {**self.options, **options}

    def passage(self, identity: str) -> Passage:
        """The passage with this id. Raises `InvalidInput` where there is none."""
        return self.index.passage(identity)

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
