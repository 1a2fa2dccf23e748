"""Equality of sub-queries, in any script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ragscale.language.words import spelling

__all__ = ["Match", "fresh", "normalise"]

Match = Literal["exact", "words"]

_PUNCTUATION = frozenset("%&@/#")
"""Signs of words that are no query by themselves; symbols are."""


def normalise(query: str, match: Match = "words") -> str:
    """The part of a sub-query by which repeats are told: equal results are the same query.

    Args:
        query: As the model wrote it.
        match: ``"words"``: `ragscale.language.words.spelling`, the words in any case and composition with the signs by
            which names differ. ``"exact"``: every character, as CoRAG compares.

    Returns:
        Empty, with ``"words"``, for a query without a letter, a digit or a symbol.
    """
    if match == "exact":
        return query
    found = spelling(query)
    return "" if _PUNCTUATION.issuperset(found) else " ".join(found)


def fresh(queries: Iterable[str], before: Iterable[str], match: Match = "words") -> list[str]:
    """The queries that were not asked before, in their order; equal ones among them all stay."""
    known = {normalise(query, match) for query in before}
    return [query for query in queries if normalise(query, match) not in known]
