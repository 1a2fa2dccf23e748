"""Text from outside made encodable, and answers normalised for comparison."""

from __future__ import annotations

import re
import string

__all__ = ["encodable", "normalise_answer"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def encodable(text: str) -> str:
    """Replaces halves of surrogate pairs, as JSON may hold them, by question marks, so that UTF-8 can hold `text`."""
    return text.encode("utf-8", "replace").decode()


def normalise_answer(text: str) -> str:
    """SQuAD's normalisation: lower case, no ASCII punctuation, no English articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
