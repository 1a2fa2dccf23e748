"""Equality of sub-queries, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

__all__ = ["Match", "fresh", "normalise"]

Match = Literal["exact", "words"]

_QUOTING = frozenset("`\u00b4^|~\u00a8")
"""Symbols that name nothing."""
_SIGNS = re.compile("[#%&@/*.\u2212-]")
"""Punctuation by which names may differ: at a word (C#, 5%, R&B, AC/DC, A*) or where one begins (.NET, -5)."""


class _Table(dict[int, int | None]):
    """The fate of a character: itself, a blank, or nothing; filled as characters are met."""

    def __missing__(self, code: int) -> int | None:
        char = chr(code)
        category = unicodedata.category(char)
        if category == "Cf":  # joiners, soft hyphens: unseen
            kept: int | None = None
        else:
            kept = code if (category[0] in "LMNS" and char not in _QUOTING) or _SIGNS.match(char) else 32
        self[code] = kept
        return kept


_TABLE = _Table()


def normalise(query: str, match: Match = "words") -> str:
    """The part of a sub-query by which repeats are told: equal results are the same query.

    Args:
        query: As the model wrote it.
        match: ``"words"``: letters with their marks, digits and symbols, in any case and composition; most punctuation
            only parts words. ``"exact"``: every character, as CoRAG compares.

    Returns:
        Empty, with ``"words"``, for a query without a letter, a digit or a symbol.
    """
    if match == "exact":
        return query
    text = unicodedata.normalize("NFD", query).casefold()
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_TABLE)
    starred = text.count("*") == 1  # A* search; pairs are emphasis

    def sign(found: re.Match[str]) -> str:
        before, behind = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        if found[0] in ".-\u2212":
            kept = _wordy(behind) and not before.strip()
        elif found[0] == "*":
            kept = starred and _wordy(before)
        else:
            kept = _wordy(before) or _wordy(behind)
        return found[0] if kept else " "

    words = " ".join(_SIGNS.sub(sign, text).split())
    return words if any(unicodedata.category(char)[0] in "LNS" for char in words) else ""


def fresh(queries: Iterable[str], before: Iterable[str], match: Match = "words") -> list[str]:
    """The queries that were not asked before, in their order; equal ones among them all stay."""
    known = {normalise(query, match) for query in before}
    return [query for query in queries if normalise(query, match) not in known]


def _wordy(char: str) -> bool:
    return bool(char) and unicodedata.category(char)[0] in "LMN"
