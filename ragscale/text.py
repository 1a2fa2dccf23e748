"""Text from outside made encodable."""

from __future__ import annotations

__all__ = ["encodable"]


def encodable(text: str) -> str:
    """Replaces halves of surrogate pairs, as JSON may hold them, by question marks, so that UTF-8 can hold `text`."""
    return text.encode("utf-8", "replace").decode()
