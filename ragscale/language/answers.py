"""Answers normalised for comparison, by votes and metrics alike: in any language, or as the published scripts do."""

from __future__ import annotations

import re
import string
from typing import Literal, get_args

from ragscale.language.words import folded, valued

__all__ = ["NORMALISATIONS", "Normalisation", "normal_answer"]

Normalisation = Literal["unicode", "published"]
"""Ways to normalise an answer: by the words of any language, or as SQuAD's and HotpotQA's scripts do for English."""
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)
_ARTICLES = frozenset({"a", "an", "the"})
_PUBLISHED_ARTICLES = re.compile(r"\b(a|an|the)\b")
_AT_UNIT = re.compile(r"([0-9](?:[0-9.,]*[0-9])?)(?!(?:st|nd|rd|th|s)$)([^\W\d_]+)")
"""A number with its unit, which may also be written apart; not an ordinal or a decade."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normal_answer(text: str, normalisation: Normalisation = "unicode") -> str:
    """The words of an answer with single spaces: equal results are the same answer.

    Args:
        text: The answer.
        normalisation: ``"unicode"``: `ragscale.language.words.valued`, without English articles before another word and
            with units apart (``5kg``); of an answer without words, the text itself in its normal form.
            ``"published"``: lower case, no ASCII punctuation, no English articles.
    """
    if normalisation == "published":
        return " ".join(_PUBLISHED_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
    found = [part for word in valued(text) for part in _with_unit(word)]
    kept = [word for word in found[:-1] if word not in _ARTICLES] + found[-1:]
    return " ".join(kept) or " ".join(folded(text).split())


def _with_unit(word: str) -> tuple[str, ...]:
    found = _AT_UNIT.fullmatch(word)
    return found.groups() if found else (word,)
