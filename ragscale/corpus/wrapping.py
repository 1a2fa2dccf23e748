"""Lines of scripts without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese), joined as they are read."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["unwrapped"]

_SIGN = r"[\p{Ideographic}\p{Hiragana}\p{Katakana}\p{LB=SA}\u3000-\u303f\uff00-\uffef\u30fc]"
_FULL = 0.75
"""Of the longest line that goes on: so long is one that ends where the paper does."""


def unwrapped(text: str, *, short: bool = True) -> str:
    """The text without the ends of lines between two signs of such scripts.

    Args:
        text: Lines that end in ``\\n``.
        short: Whether short lines go on as well. Where the lines of headings and paragraphs look alike they do not.
    """
    if "\n" not in text or text.isascii():
        return text
    end = _end()
    if short:
        return str(end.sub("", text))
    lengths = {found.start(): found.start() - text.rfind("\n", 0, found.start()) for found in end.finditer(text)}
    full = _FULL * max(lengths.values(), default=0)
    return str(end.sub(lambda found: "" if lengths[found.start()] >= full else found.group(), text))


@cache
def _end() -> Any:
    import regex  # a while, and most texts need none

    return regex.compile(rf"(?<={_SIGN})[ \t]*\n[ \t]*(?={_SIGN})")
