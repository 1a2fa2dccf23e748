"""Text from outside: made encodable, and found to hold nothing."""

from __future__ import annotations

import unicodedata

__all__ = ["encodable", "is_blank"]


def encodable(text: str) -> str:
    """Replaces halves of surrogate pairs, as JSON may hold them, by question marks, so that UTF-8 can hold `text`."""
    return text.encode("utf-8", "replace").decode()


def is_blank(text: str) -> bool:
    """Whether nothing in `text` is seen: spaces, control characters, and such as a zero-width space or a byte mark."""
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)
