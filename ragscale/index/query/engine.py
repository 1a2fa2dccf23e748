"""Answers batches of search requests with one encode, one search each and one rerank; owned by the broker."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import EndpointError, IndexMismatch, ModelError, RagscaleError
from ragscale.index.dense.search import DenseIndex, open_dense
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.encoders.reranker import Reranker
from ragscale.index.lexical.bm25 import Lexical, open_lexical
from ragscale.index.options import Gpus, How, QueryBackend
from ragscale.index.query.filters import compile_filter
from ragscale.index.query.mmr import diversify
from ragscale.index.query.request import SearchRequest
from ragscale.index.storage.layout import BM25_FOLDER
from ragscale.index.storage.manifest import EmbedderInfo
from ragscale.index.storage.passages import full_text
from ragscale.index.storage.snapshot import Snapshot
from ragscale.ranking import Ranking, reciprocal_rank_fusion, weighted_fusion
from ragscale.types import Hit

__all__ = ["Engine"]

_MASKS = 8
_DECIMALS = 6

_Key = tuple[str, int, str | None]
"""Key of a ranking: the query, the number of rows, the filter."""
_Vectors = dict[str, NDArray[np.float32]]


class Engine:
    """Search engine of one commit: loads each part when it is first needed; used by one thread only.

    Args:
        snapshot: The commit to search.
        embedder: Where the embedder lies on this machine, if not under its recorded name.
        backend: Computes the vectors of queries.
        gpus: How several GPUs share the vectors; see `DenseIndex`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        embedder: str | Path | None = None,
        backend: QueryBackend = "auto",
        gpus: Gpus | None = None,
    ) -> None:
        self.snapshot = snapshot
        self._manifest = snapshot.manifest
        self._passages = snapshot.passages
        self._source = embedder
        self._backend = backend
        self._gpus = gpus
        self._embedder: Embedder | None = None
        self._dense: DenseIndex | None = None
        self._lexical: Lexical | None = None
        self._rerankers: dict[str, Reranker] = {}
        self._masks: OrderedDict[str, NDArray[np.bool_]] = OrderedDict()

    def follow(self, snapshot: Snapshot) -> Engine:
        """An engine for a later commit, with the models that this one has loaded."""
        other = Engine(snapshot, embedder=self._source, backend=self._backend, gpus=self._gpus)
        other._rerankers = self._rerankers
        if snapshot.manifest.embedder == self._manifest.embedder:
            other._embedder = self._embedder
        return other

    def reranker_revision(self, name: str) -> str:
        """Revision of the weights of a cross-encoder that was loaded."""
        return self._rerankers[name].revision

    def run(self, requests: Sequence[SearchRequest]) -> Sequence[list[list[Hit]] | RagscaleError]:
        """Hits of every query of every request, in order; one without queries loads what such a search needs.

        If the embedder fails, all requests that need it fail with its error at once.
        """
        try:
            vectors = self._encode(requests)
        except RagscaleError as error:
            if isinstance(error, ModelError) and not isinstance(error, EndpointError):
                raise  # of one of the texts: the broker finds out whose
            return [self._alone(request) if request.how == "bm25" else error for request in requests]
        return self._found(requests, vectors)

    def _alone(self, request: SearchRequest) -> list[list[Hit]] | RagscaleError:
        try:
            return self._found([request], {})[0]
        except RagscaleError as error:
            return error

    def _found(self, requests: Sequence[SearchRequest], vectors: _Vectors) -> list[list[list[Hit]]]:
        for request in requests:
            if not request.queries:
                self._load(request)
        dense = self._dense_rankings(requests, vectors)
        lexical = self._lexical_rankings(requests)
        found = [
            [self._fused(request, query, dense, lexical, vectors) for query in request.queries] for request in requests
        ]
        self._rerank(requests, found)
        return [
            self._hits(request, rankings, dense, lexical) for request, rankings in zip(requests, found, strict=True)
        ]

    def _fused(
        self,
        request: SearchRequest,
        query: str,
        dense: dict[_Key, Ranking],
        lexical: dict[_Key, Ranking],
        vectors: _Vectors,
    ) -> Ranking:
        key = self._key(request, query)
        if request.how != "hybrid":
            return (dense if request.how == "dense" else lexical)[key]
        if request.weight is None:
            fused = reciprocal_rank_fusion([row for row, _ in ranking] for ranking in (dense[key], lexical[key]))
        else:
            every = self._with_cosines(dense[key], lexical[key], vectors[query])
            fused = weighted_fusion(every, lexical[key], request.weight)
        return fused[: request.candidates]

    def _with_cosines(self, dense: Ranking, lexical: Ranking, vector: NDArray[np.float32]) -> Ranking:
        """The dense ranking, and the rows that only BM25 found with their true cosines instead of 0."""
        known = {row for row, _ in dense}
        rows = np.array([row for row, _ in lexical if row not in known], dtype=np.int64)
        cosines = np.round((self._load_dense().vectors.take(rows) @ vector).astype(np.float64), _DECIMALS)
        return [*dense, *zip(rows.tolist(), cosines.tolist(), strict=True)]

    def _rerank(self, requests: Sequence[SearchRequest], found: list[list[Ranking]]) -> None:
        """Order the candidates of the requests that ask for it: all pairs of a model in one call of it."""
        for name in dict.fromkeys(request.rerank for request in requests if request.rerank):
            chosen = [i for i, request in enumerate(requests) if request.rerank == name]
            ranked = [pair for i in chosen for pair in zip(requests[i].queries, found[i], strict=True)]
            pairs = list(dict.fromkeys((query, row) for query, ranking in ranked for row, _ in ranking))
            texts = {row: full_text(self._passages[row]) for row in dict.fromkeys(row for _, row in pairs)}
            if name not in self._rerankers:
                self._rerankers[name] = Reranker(name)
            scores = self._rerankers[name].scores([(query, texts[row]) for query, row in pairs])
            score = dict(zip(pairs, scores, strict=True))
            for i in chosen:
                # sorting is stable: equal scores keep the order of the candidates
                found[i] = [
                    sorted(((row, score[query, row]) for row, _ in ranking), key=lambda pair: -pair[1])
                    for query, ranking in zip(requests[i].queries, found[i], strict=True)
                ]

    def _hits(
        self,
        request: SearchRequest,
        rankings: list[Ranking],
        dense: dict[_Key, Ranking],
        lexical: dict[_Key, Ranking],
    ) -> list[list[Hit]]:
        if request.mmr is not None:
            take = self._load_dense().vectors.take
            groups = [rankings] if request.mmr_union else [[ranking] for ranking in rankings]
            rankings = [picks for group in groups for picks in diversify(group, take, request.k, request.mmr)]
        hits = []
        for query, ranking in zip(request.queries, rankings, strict=True):
            key = self._key(request, query)
            # of its own searches only: whichever another request of the batch asked for is chance
            by_dense = _ranks(dense[key]) if request.how != "bm25" else {}
            by_bm25 = _ranks(lexical[key]) if request.how != "dense" else {}
            hits.append(
                [
                    Hit(self._passages[row], score, by_dense.get(row), by_bm25.get(row))
                    for row, score in ranking[: request.k]
                ]
            )
        return hits

    def _key(self, request: SearchRequest, query: str) -> _Key:
        return query, min(request.candidates, self._manifest.passages), request.where

    def _wanted(self, requests: Sequence[SearchRequest], unused: How) -> list[_Key]:
        """Distinct rankings in order of appearance."""
        keys = (self._key(r, query) for r in requests if r.how != unused for query in r.queries)
        return list(dict.fromkeys(keys))

    def _encode(self, requests: Sequence[SearchRequest]) -> _Vectors:
        """Vectors of all queries that need one, in one call of the embedder; loads it where a request needs it."""
        if all(request.how == "bm25" for request in requests):
            return {}
        embedder = self._load_embedder()
        queries = list(dict.fromkeys(query for query, _, _ in self._wanted(requests, "bm25")))
        return dict(zip(queries, embedder.encode_queries(queries), strict=True)) if queries else {}

    def _dense_rankings(self, requests: Sequence[SearchRequest], vectors: _Vectors) -> dict[_Key, Ranking]:
        keys = self._wanted(requests, "bm25")
        found: dict[_Key, Ranking] = {}
        # a search for each depth: approximate indexes look further for a larger k, so a cut is not the same
        for depth, where in dict.fromkeys((depth, where) for _, depth, where in keys):
            group = [key for key in keys if key[1:] == (depth, where)]
            batch = np.stack([vectors[query] for query, _, _ in group])
            rankings = self._load_dense().search(batch, depth, allowed=self._mask(where))
            found.update(zip(group, rankings, strict=True))
        return found

    def _lexical_rankings(self, requests: Sequence[SearchRequest]) -> dict[_Key, Ranking]:
        keys = self._wanted(requests, "dense")
        found: dict[_Key, Ranking] = {}
        for depth, where in dict.fromkeys((depth, where) for _, depth, where in keys):
            group = [key for key in keys if key[1:] == (depth, where)]
            queries = [query for query, _, _ in group]
            rankings = self._load_lexical().search(queries, depth, allowed=self._mask(where))
            found.update(zip(group, rankings, strict=True))
        return found

    def _mask(self, where: str | None) -> NDArray[np.bool_] | None:
        """Rows that a filter lets through; the masks used last are kept, a byte a passage each."""
        if where is None:
            return None
        if where in self._masks:
            self._masks.move_to_end(where)
        else:
            fields = self._passages.fields
            self._masks[where] = compile_filter(where, fields.schema).mask(fields.table())
            if len(self._masks) > _MASKS:
                self._masks.popitem(last=False)
        return self._masks[where]

    def _load(self, request: SearchRequest) -> None:
        if request.how != "bm25":
            self._load_dense()
        if request.how != "dense":
            self._load_lexical()

    def _load_lexical(self) -> Lexical:
        if self._lexical is None:
            self._lexical = self.snapshot.guarded(self._open_lexical)
        return self._lexical

    def _open_lexical(self) -> Lexical:
        settings = self._manifest.lexical
        return open_lexical(
            self.snapshot.generation / BM25_FOLDER,
            settings["kind"],
            settings["terms"],
            settings["language"],
            segments=self._manifest.segment_paths(self.snapshot.folder),
            deleted=self.snapshot.deleted(),
            rows=self._manifest.rows,
        )

    def _load_dense(self) -> DenseIndex:
        self._embedder_info()
        if self._dense is None:
            self._dense = open_dense(self.snapshot, gpus=self._gpus)
        return self._dense

    def _load_embedder(self) -> Embedder:
        if self._embedder is None:
            self._embedder = Embedder.for_queries(self._embedder_info(), source=self._source, backend=self._backend)
        return self._embedder

    def _embedder_info(self) -> EmbedderInfo:
        info = self._manifest.embedder
        if info is None:  # Index refuses such requests, but it may have been reloaded since
            raise IndexMismatch(
                f"{self.snapshot.folder}: the index was replaced by one without vectors", 'Search with how="bm25".'
            )
        return info


def _ranks(ranking: Ranking) -> dict[int, int]:
    """Rank of each row, from 1."""
    return {row: rank for rank, (row, _) in enumerate(ranking, 1)}
