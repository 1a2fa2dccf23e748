"""A small index with questions, and the scripted model, for the commands that measure."""

from __future__ import annotations

import pytest
from smallworld import build, script, write_questions

from ragscale import llm
from ragscale.llm.scripted import ScriptedLLM


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Paths of the index and of the questions."""
    base = tmp_path_factory.mktemp("world")
    return str(build(base)), str(write_questions(base))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedLLM:
    """The model that every --llm means."""
    model, load = ScriptedLLM(script), llm.load
    for place in ("ragscale.agent.load", "ragscale.llm.load"):
        monkeypatch.setattr(place, lambda spec: model if isinstance(spec, str) else load(spec))
    return model
