"""Numbers in sentences and tables."""

from __future__ import annotations

import math

__all__ = ["counted", "dollars"]


def counted(number: int, noun: str) -> str:
    """A number and what it counts: ``1 query``, ``2,000 queries``.

    Args:
        number: How many.
        noun: In the singular; its plural ends in ``s``; in ``ies`` or ``es`` where it ends in ``y`` or ``ch``.
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}{'es' if noun.endswith('ch') else 's'}"
    return f"{number:,} {noun if number == 1 else plural}"


def dollars(usd: float) -> str:
    """An amount in dollars, to the cent or to two significant digits: ``$1.50``, ``$0.0012``, ``$0.000079``."""
    digits = 2 if usd <= 0 else max(2, 1 - math.floor(math.log10(usd)))
    return f"${usd:,.{digits}f}"
