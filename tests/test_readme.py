"""README's notebook snippet runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from doubles import StubIndex, scripted

import ragscale as rs

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_snippet_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a model and an index in memory in place of the demo's."""
    make = rs.Agent
    monkeypatch.setattr(rs, "Agent", lambda index, llm, **options: make(StubIndex(), scripted(), **options))
    snippet = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["answer"].text
    assert len(names["answers"]) == len(names["questions"]) > 1
