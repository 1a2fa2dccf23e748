"""Paths as people type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ragscale as rs
from ragscale import llm
from ragscale.errors import RagscaleError
from ragscale.measure import load_questions
from ragscale.modes import get
from ragscale.paths import expanded
from ragscale.prompts import templates


def test_the_home_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/run") == tmp_path / "run"
    assert expanded("run/~") == Path("run/~")


@pytest.mark.parametrize(
    "opened",
    [
        load_questions,
        rs.Run,
        lambda path: get(f"auto(policy={path!r})"),
        templates.load,
        lambda path: llm.load(f"embedded:{path}.gguf"),
        lambda path: llm.load(f"openvino:{path}.gguf"),
        lambda path: llm.load(f"vllm:{path}"),
    ],
    ids=["questions", "run", "policy", "prompts", "embedded", "openvino", "vllm"],
)
def test_the_home_of_nobody_is_missing_as_any_other_folder(opened: Callable[[str], Any]) -> None:
    with pytest.raises(RagscaleError, match="~nosuchuser/x"):
        opened("~nosuchuser/x")
