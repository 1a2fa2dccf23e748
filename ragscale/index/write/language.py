"""Language of an index: as it is named, or told from a sample of its passages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ragscale.index.storage.passages import PassageStore, full_text
from ragscale.language.detect import DetectedLanguage, detected
from ragscale.language.terms import AUTO, known_language

__all__ = ["language_of"]

_SAMPLE = 400
_CHARACTERS = 400


def language_of(given: str, store: PassageStore, rows: NDArray[np.int64]) -> DetectedLanguage:
    """The language of some passages.

    Args:
        given: Name or code of a language, ``"none"``, or ``"auto"`` to tell it from evenly spaced passages.
        store: That has the passages.
        rows: Which of them, in ascending order.

    Raises:
        InvalidInput: There is no stemmer for it.
    """
    language = known_language(given)
    if language != AUTO:
        return DetectedLanguage(language, "")
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(np.int64))]
    return detected(full_text(passage)[:_CHARACTERS] for passage in store.take(chosen))
