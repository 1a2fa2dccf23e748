"""Answers batches of search requests with one encode and one search each; owned by the broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ragscale.errors import IndexMismatch
from ragscale.index.dense import DenseIndex
from ragscale.index.embed import Embedder
from ragscale.index.fusion import Ranking, reciprocal_rank_fusion
from ragscale.index.lexical import Lexical
from ragscale.index.snapshot import Snapshot
from ragscale.types import Hit

__all__ = ["HOWS", "Engine", "How", "SearchRequest"]

How = Literal["hybrid", "dense", "bm25"]
HOWS: tuple[How, ...] = ("hybrid", "dense", "bm25")
_FUSION_DEPTH = 50


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One call of `Index.search`, checked."""

    queries: tuple[str, ...]
    k: int
    """Hits a query."""
    how: How


class Engine:
    """Loads each part when it is first needed; only ever used by one thread.

    Args:
        snapshot: The commit to search.
        embedder: Where the embedder lies on this machine, if not under its recorded name.
    """

    def __init__(self, snapshot: Snapshot, *, embedder: str | Path | None = None) -> None:
        self.snapshot = snapshot
        self._manifest = snapshot.manifest
        self._passages = snapshot.passages
        self._source = embedder
        self._embedder: Embedder | None = None
        self._dense: DenseIndex | None = None
        self._lexical: Lexical | None = None

    def follow(self, snapshot: Snapshot) -> Engine:
        """An engine for a later commit, with the models that this one has loaded."""
        other = Engine(snapshot, embedder=self._source)
        if snapshot.manifest.embedder == self._manifest.embedder:
            other._embedder = self._embedder
        return other

    def run(self, requests: Sequence[SearchRequest]) -> list[list[list[Hit]]]:
        """Hits of every query of every request, in order."""
        dense = self._dense_rankings(requests)
        lexical = self._lexical_rankings(requests)
        return [[self._hits(request, query, dense, lexical) for query in request.queries] for request in requests]

    def _hits(
        self,
        request: SearchRequest,
        query: str,
        dense: dict[tuple[str, int], Ranking],
        lexical: dict[tuple[str, int], Ranking],
    ) -> list[Hit]:
        key = (query, self._depth(request))
        if request.how == "hybrid":
            rankings = ([row for row, _ in dense[key]], [row for row, _ in lexical[key]])
            ranking = reciprocal_rank_fusion(rankings)[: request.k]
        else:
            ranking = (dense if request.how == "dense" else lexical)[key]
        return [Hit(self._passages[row], score) for row, score in ranking]

    def _depth(self, request: SearchRequest) -> int:
        """How many rows each ranking needs; never more than there are."""
        wanted = max(request.k, _FUSION_DEPTH) if request.how == "hybrid" else request.k
        return min(wanted, self._manifest.passages)

    def _wanted(self, requests: Sequence[SearchRequest], unused: How) -> list[tuple[str, int]]:
        """Distinct (query, depth) pairs in order of appearance."""
        keys = ((query, self._depth(r)) for r in requests if r.how != unused for query in r.queries)
        return list(dict.fromkeys(keys))

    def _dense_rankings(self, requests: Sequence[SearchRequest]) -> dict[tuple[str, int], Ranking]:
        keys = self._wanted(requests, "bm25")
        if not keys:
            return {}
        index, embedder = self._load_dense()
        queries = list(dict.fromkeys(query for query, _ in keys))
        vectors = embedder.encode_queries(queries)
        row = {query: number for number, query in enumerate(queries)}
        found: dict[tuple[str, int], Ranking] = {}
        # a search for each depth: approximate indexes look further for a larger k, so a cut is not the same
        for depth in dict.fromkeys(depth for _, depth in keys):
            group = [query for query, other in keys if other == depth]
            rankings = index.search(vectors[[row[query] for query in group]], depth)
            found.update({(query, depth): ranking for query, ranking in zip(group, rankings, strict=True)})
        return found

    def _lexical_rankings(self, requests: Sequence[SearchRequest]) -> dict[tuple[str, int], Ranking]:
        keys = self._wanted(requests, "dense")
        if keys and self._lexical is None:
            self._lexical = self.snapshot.open_lexical()
        return {(query, k): self._lexical.search([query], k)[0] for query, k in keys} if self._lexical else {}

    def _load_dense(self) -> tuple[DenseIndex, Embedder]:
        info = self._manifest.embedder
        if info is None:  # Index refuses such requests, but it may have been reloaded since
            raise IndexMismatch(
                f"{self.snapshot.folder}: the index was replaced by one without vectors", 'Search with how="bm25".'
            )
        if self._dense is None:
            self._dense = self.snapshot.open_dense()
        if self._embedder is None:
            self._embedder = Embedder.for_queries(info, source=self._source)
        return self._dense, self._embedder
