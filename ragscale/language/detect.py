"""Language of a corpus, told from a sample of its texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from ragscale.language.terms import CODES, NO_LANGUAGE, stemmer_of

__all__ = ["DetectedLanguage", "detected"]

_WINDOW = 200
"""Characters that are told apart at once: shorter texts are put together until they have so many."""
_SHARE = 0.7
_SURE = 0.5
"""Probability below which a window tells nothing: lists of names, recipes, tables and code are in any language."""
_FALLBACK = "english"


class DetectedLanguage(NamedTuple):
    """A language of `ragscale.language.terms.CODES` or ``"none"``, and the reason for it."""

    language: str
    reason: str


def detected(texts: Iterable[str]) -> DetectedLanguage:
    """The language that most of some texts are in, by py3langid.

    Languages without a stemmer do not count where another has one: its stemmer leaves other scripts alone.

    Args:
        texts: A sample, in any mixture of languages.

    Returns:
        ``"none"`` where no language has seven tenths of the sample; English where a sample is too small to tell, or of
        no language (a table, a list of names).
    """
    identifier = _identifier()
    names = CODES | {"nn": "norwegian", "nb": "norwegian"}
    votes: Counter[str] = Counter()
    windows = list(_windows(texts))
    for window in windows:
        code, sure = identifier.classify(window)
        if sure >= _SURE:
            votes[names.get(code, code)] += len(window)
    votes.pop("zxx", None)  # numbers, markup
    if not votes:
        return DetectedLanguage(_FALLBACK, "no language is sure" if windows else "too little text to tell")
    stemmed = {name: count for name, count in votes.items() if stemmer_of(name) in CODES.values()}
    counts = stemmed if sum(stemmed.values()) * 20 > sum(votes.values()) else votes
    best = max(counts, key=counts.__getitem__)
    share = counts[best] / sum(counts.values())
    told = f"{share:.0%} of a sample"
    if best not in CODES.values():
        return DetectedLanguage(NO_LANGUAGE, f"{told} is in {best!r}, which has no stemmer here")
    if share < _SHARE:
        return DetectedLanguage(NO_LANGUAGE, f"no language has most of a sample, {best} has {share:.0%}")
    return DetectedLanguage(best, told)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _windows(texts: Iterable[str]) -> Iterator[str]:
    waiting = ""
    for text in texts:
        waiting = f"{waiting} {text}".strip()
        if len(waiting) >= _WINDOW:
            yield waiting
            waiting = ""
    if len(waiting) >= _WINDOW / 2:
        yield waiting
