"""Behaviour is as recorded. See `record.py`, which writes the record anew where it is meant to change."""

from __future__ import annotations

import pytest
from record import HERE, parts


@pytest.mark.parametrize("name", parts())
def test_as_recorded(name: str) -> None:
    assert parts()[name]() == (HERE / name).read_text(encoding="utf-8")  # type: ignore[operator]


def test_nothing_is_recorded_of_what_is_gone() -> None:
    assert {path.name for path in HERE.glob("*.[tj]*")} == set(parts())
