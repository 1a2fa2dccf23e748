"""Searches of a request, parsed and held to the server's limits; the index checks the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ragscale.errors import InvalidInput
from ragscale.index import SearchOptions
from ragscale.index.query.request import DEPTH, Size, work_of
from ragscale.serve.limits import Limits
from ragscale.words import counted

__all__ = ["OPTIONS", "PARAMETERS", "SearchCall", "parse_search", "refuse_unknown", "sliced"]

T = TypeVar("T")
_SLICE = 16_384  # of `work_of`: what one request has the index do before others get their turn
_ITEMS = 256
_UNION = 16  # times the characters of a query: of a search that cannot be sliced
OPTIONS = tuple(SearchOptions.__annotations__)
PARAMETERS = ("queries", "k", "how", *OPTIONS)
"""Parameters of a search: those of `Index.search`, by the same names."""


@dataclass(frozen=True, slots=True)
class SearchCall:
    """One call of `Index.search`."""

    queries: Sequence[str]
    k: int
    how: Any
    """None for the index's own."""
    options: dict[str, Any]

    @property
    def size(self) -> Size:
        """Size of the search in the units of the server's limits."""
        return Size.of({"queries": self.queries, "k": self.k, **self.options})

    @property
    def work(self) -> int:
        """Estimated work, in the unit of `work_of`."""
        return len(str(self.options.get("where", ""))) + sum(map(self.work_of, self.queries))

    def work_of(self, query: str) -> int:
        """The same of one of its queries."""
        pairs = 0
        if "rerank" in self.options:
            depth = self.options.get("depth", DEPTH)
            pairs = max(self.k, depth) if isinstance(depth, int) else self.k
        return work_of(query, self.k, pairs)

    def slices(self) -> Iterator[list[str]]:
        """Its queries in parts; together where an option looks at all of them."""
        if self.options.get("mmr_union") or not self.queries:
            yield list(self.queries)
        else:
            yield from sliced(self.queries, self.work_of)


def sliced(items: Iterable[T], work: Callable[[T], int], most: int = _ITEMS) -> Iterator[list[T]]:
    """Items in parts of about equal work, so that between two of them others get their turn.

    Args:
        items: Each goes into one part, in order; one that is more than a part's work has one of its own.
        work: Of an item, in the unit of `work_of`.
        most: Items in a part, up to 256.
    """
    part: list[T] = []
    done = 0
    for item in items:
        more = work(item)
        if part and (done + more > _SLICE or len(part) == min(most, _ITEMS)):
            yield part
            part, done = [], 0
        part.append(item)
        done += more
    if part:
        yield part


def parse_search(data: dict[str, Any], limits: Limits, *, k: int, rerankers: Collection[str] = ()) -> SearchCall:
    """A search from JSON.

    Args:
        data: The fields of `PARAMETERS`; others are ignored.
        limits: What it must keep.
        k: Hits a query where it does not say.
        rerankers: Models that clients may name: loading any other would let them choose what this machine reads.

    Raises:
        InvalidInput: It passes a limit, names another reranker, or its queries or k are not what they should be.
    """
    options = {name: data[name] for name in OPTIONS if data.get(name) is not None}
    search = SearchCall(_queries(data.get("queries"), limits), data.get("k", k), data.get("how"), options)
    if isinstance(search.k, bool) or not isinstance(search.k, int) or not 1 <= search.k <= limits.k:
        raise InvalidInput(f"k is {_shown(search.k)}", f"Ask for 1 to {limits.k:,} hits a query.")
    reranker = options.get("rerank")
    # a list or an object cannot be looked up
    if reranker is not None and not (isinstance(reranker, str) and reranker in rerankers):
        allowed = ", ".join(rerankers) or "none"
        raise InvalidInput(f"the reranker {_shown(reranker)} is not served here", f"There are: {allowed}.")
    where = options.get("where", "")
    if isinstance(where, str) and len(where) > limits.characters:
        raise InvalidInput(f"a filter of {len(where):,} characters, the limit is {limits.characters:,}", "Shorten it.")
    characters = sum(map(len, search.queries))
    if options.get("mmr_union") and characters > _UNION * limits.characters:
        raise InvalidInput(
            f"queries of {characters:,} characters with mmr_union, which looks at all of them together; the limit is "
            f"{_UNION * limits.characters:,}",
            "Send fewer or shorter ones.",
        )
    size = search.size
    if size.passes(limits.size):
        most = limits.hits if reranker is None else min(limits.hits, limits.pairs)
        raise InvalidInput(
            f"{counted(size.queries, 'query')} with {counted(size.hits // size.queries, 'candidate')} each, "
            f"the limit is {most:,} in all",
            "Send fewer queries, or a smaller k or depth.",
        )
    return search


def _queries(value: Any, limits: Limits) -> list[str]:
    if not isinstance(value, list):
        raise InvalidInput(f"queries is {_shown(value)}, not a list", 'Send {"queries": ["...", "..."]}.')
    if len(value) > limits.queries:
        raise InvalidInput(f"{len(value):,} queries, the limit is {limits.queries:,}", "Send several requests.")
    for number, query in enumerate(value):
        if not isinstance(query, str):
            raise InvalidInput(f"query {number} is {_shown(query)}, not text", "Send texts.")
        if len(query) > limits.characters:
            raise InvalidInput(
                f"query {number} has {len(query):,} characters, the limit is {limits.characters:,}", "Shorten it."
            )
    return value


def refuse_unknown(data: dict[str, Any], known: Sequence[str]) -> None:
    """Refuse unknown fields, so that a misspelt filter does not become a search without one. Raises `InvalidInput`."""
    for name in data:
        if name not in known:
            raise InvalidInput(f"unknown parameter {name[:60]!r}", f"Choose from: {', '.join(known)}.")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
