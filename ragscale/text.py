"""Text from outside: made encodable, without secrets, and found to hold nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["encodable", "is_blank", "masked"]


def encodable(text: str) -> str:
    """Replaces halves of surrogate pairs, as JSON may hold them, by question marks, so that UTF-8 can hold `text`."""
    return text.encode("utf-8", "replace").decode()


def masked(text: str, secrets: Iterable[str]) -> str:
    """`text` with ``***`` for each of `secrets`, none of which is empty."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def is_blank(text: str) -> bool:
    """Whether nothing in `text` is seen: spaces, control characters, and such as a zero-width space or a byte mark."""
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)
