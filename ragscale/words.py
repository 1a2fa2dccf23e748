"""Numbers in sentences."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """A number and what it counts: ``1 query``, ``2,000 queries``.

    Args:
        number: How many.
        noun: In the singular; its plural ends in ``s``, or in ``ies`` where it ends in ``y``.
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"
