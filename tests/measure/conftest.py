"""Agents over the small world of `smallworld.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from smallworld import MakeAgent, build, script, write_questions

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.llm.scripted import ScriptedLLM
from ragscale.measure import Question, load_questions


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index."""
    return build(tmp_path_factory.mktemp("eval"))


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> list[Question]:
    """The questions."""
    return load_questions(write_questions(tmp_path_factory.mktemp("questions")))


@pytest.fixture
def make_agent(folder: Path) -> Iterator[MakeAgent]:
    """Makes agents over the index; closes their indexes at the end."""
    opened: list[Agent] = []

    def make(llm: ScriptedLLM | None = None, budget: Budget | None = None, seed: int = 0) -> Agent:
        agent = Agent(folder, llm or ScriptedLLM(script), budget=budget, seed=seed)
        opened.append(agent)
        return agent

    yield make
    for agent in opened:
        agent.index.close()
