"""Numbers in sentences."""

from __future__ import annotations

import pytest

from ragscale.words import counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "row", "0 rows"),
        (1, "row", "1 row"),
        (2, "bad document", "2 bad documents"),
        (1, "query", "1 query"),
        (12_000, "query", "12,000 queries"),
        (2, "branch", "2 branches"),
        (1, "branch", "1 branch"),
    ],
)
def test_a_noun_agrees_with_its_number(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
