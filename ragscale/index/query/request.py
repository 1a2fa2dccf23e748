"""Search parameters and their validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ragscale.arguments import flag, listed, refuse_options, share, whole
from ragscale.errors import InvalidInput
from ragscale.index.options import HOWS, How, SearchOptions
from ragscale.index.query.filters import compile_filter
from ragscale.text import encodable

__all__ = [
    "DEPTH",
    "SearchRequest",
    "Size",
    "check_request",
    "cleaned",
    "work_of",
]

DEPTH = 50
"""Candidates a query, where not said otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """One call of `Index.search`, checked; the fields are those of `SearchOptions`."""

    queries: tuple[str, ...]
    k: int
    """Hits a query."""
    how: How
    weight: float | None = None
    depth: int = DEPTH
    where: str | None = None
    rerank: str | None = None
    mmr: float | None = None
    mmr_union: bool = False

    @property
    def candidates(self) -> int:
        """Rows that each ranking needs."""
        more = self.how == "hybrid" or self.rerank is not None or self.mmr is not None
        return max(self.k, self.depth) if more else self.k

    @property
    def work(self) -> int:
        """Estimate of the work, in the unit of `work_of`."""
        pairs = 0 if self.rerank is None else self.candidates
        return len(self.where or "") + sum(work_of(query, self.k, pairs) for query in self.queries)


def work_of(query: str, k: int, pairs: int = 0) -> int:
    """Estimate of the work of a query, in characters that are encoded; batches are formed and sliced by it.

    A filter counts with its characters too: to read and apply it takes about as long.

    Args:
        query: The text.
        k: Hits, each of them looked up and written.
        pairs: Passages that a cross-encoder reads with the query.
    """
    return 16 + len(query) + 4 * k + 100 * pairs


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a request in the units of the server's limits of the same names; sizes add up."""

    queries: int = 0
    """Queries; a search without a query counts as one, since its filter is read and its models are loaded."""
    hits: int = 0
    """Hits: k for each query, or depth where that is more."""
    pairs: int = 0
    """Pairs of query and passage that cross-encoders read: `hits` of the searches that rerank."""

    @classmethod
    def of(cls, search: Mapping[str, Any]) -> Self:
        """Size of a search as requested; a value that is not a whole number counts as 0, and is refused later."""
        queries, rerank, depth = len(search["queries"]), search.get("rerank") is not None, search.get("depth")
        wanted = search["k"], DEPTH if rerank and depth is None else depth
        hits = queries * max(0, *(number for number in wanted if isinstance(number, int)))
        return cls(max(1, queries), hits, hits if rerank else 0)

    def __add__(self, other: Size) -> Size:
        return Size(self.queries + other.queries, self.hits + other.hits, self.pairs + other.pairs)

    def passes(self, limits: Size) -> bool:
        """Whether one of the three is above `limits`."""
        return self.queries > limits.queries or self.hits > limits.hits or self.pairs > limits.pairs


def check_request(
    queries: Sequence[str], k: int, how: How, options: SearchOptions, *, fields: Any, vectors: bool
) -> SearchRequest:
    """Check a call of `Index.search`.

    Args:
        queries: As given.
        k: As given.
        how: As given, or the index's own.
        options: As given.
        fields: Names and types of the metadata, a `pyarrow.Schema`: only filters need it.
        vectors: Whether the index has them.

    Raises:
        InvalidInput: Whatever is out of range, unknown, or not to be had of this index.
    """
    texts = cleaned(queries)
    if how not in HOWS:
        raise InvalidInput(f"unknown kind of search {how!r}", f"Choose one of: {', '.join(HOWS)}.")
    refuse_options("a search", options, SearchOptions.__annotations__)
    where = options.get("where")
    if where is not None:
        compile_filter(where, fields)  # here and not in the engine alone, so that its errors come before any work
    rerank = options.get("rerank")
    if rerank is not None and not str(rerank).strip():
        raise InvalidInput(f"rerank {rerank!r} names no model", "Give a hub name or a folder, or leave it out.")
    request = SearchRequest(
        queries=texts,
        k=whole("k", k, "Give the number of hits wanted for each query."),
        how=how,
        weight=share("weight", options.get("weight")),
        depth=whole("depth", options.get("depth", DEPTH), "Give the number of candidates for each query."),
        where=where,
        rerank=None if rerank is None else str(rerank),
        mmr=share("mmr", options.get("mmr")),
        mmr_union=flag("mmr_union", options.get("mmr_union", False)),
    )
    _check_combination(request, vectors)
    return request


def _check_combination(request: SearchRequest, vectors: bool) -> None:
    if not vectors:
        wanted = f"{request.how} search" if request.how != "bm25" else "mmr" if request.mmr is not None else None
        if wanted:
            raise InvalidInput(
                f"{wanted} needs vectors, this is a lexical-only index",
                'Search with how="bm25" and without mmr, or build the index with an embedder.',
            )
    if request.weight is not None and request.how != "hybrid":
        raise InvalidInput(f"weight is of hybrid search, not of {request.how}", 'Leave it out, or use how="hybrid".')
    if request.mmr_union and request.mmr is None:
        raise InvalidInput("mmr_union without mmr", "Give mmr a number from 0 to 1, for instance 0.7.")


def cleaned(queries: Iterable[str]) -> tuple[str, ...]:
    """Queries as texts that every tokenizer and every encoding takes. Raises `InvalidInput` for a blank one."""
    return tuple(_clean(query) for query in listed("queries", queries))


def _clean(query: str) -> str:
    if not isinstance(query, str) or not query.strip():
        raise InvalidInput(f"query {query!r} is blank or not text", "Leave it out.")
    # half a surrogate pair, as a model may write it in JSON, is nothing that a tokenizer accepts
    return encodable(query)
