"""Batches: retrievals of branches and questions at the same time meet in the broker of a real, slowed index."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from smallworld import QUESTIONS, build, script

from ragscale.agent import Agent
from ragscale.index import Index
from ragscale.index.query.engine import Engine
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import Once, Tree


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """Five passages searched by BM25, as slowly as a large index."""
    run = Engine.run

    def slowly(self: Engine, requests: Sequence[Any]) -> Any:
        time.sleep(0.3)
        return run(self, requests)

    monkeypatch.setattr(Engine, "run", slowly)
    with Index.open(build(tmp_path)) as opened:
        yield opened


def test_the_branches_of_a_tree(index: Index) -> None:
    llm = ScriptedLLM(script, score=lambda messages, text: -1.0)
    tree = Tree(steps=2, expand=4, samples=4, rollouts=2, rollout_steps=1)
    answer = asyncio.run(Agent(index, llm, tree).aask(QUESTIONS[0]["question"]))
    searches = [event for event in answer.trace if event.move == "retrieve"]
    # The question itself; four children; their eight rollouts; four children of the second level.
    assert len(searches) == answer.spend.total.queries == 1 + 4 + 8 + 4
    # A request before them loaded what they need.
    assert index.load.requests == 1 + len(searches)
    # Of a fan-out the first search runs alone and the others in the next batch.
    assert index.load.batches <= 1 + 1 + 2 + 2 + 2
    # And everyone gets what it asked for.
    assert all(set(event.passages) == {"warsaw", "paris"} for event in searches[1:])
    # Searches that ran at once count once in the serial time.
    assert answer.spend.serial.seconds < answer.spend.total.seconds / 2


def test_the_questions_of_a_batch(index: Index) -> None:
    questions = [question["question"] for question in QUESTIONS] * 3
    agent = Agent(index, ScriptedLLM(script), Once())
    agent.ask(questions[0])  # all is loaded
    before = index.load
    answers = asyncio.run(agent.abatch(questions, concurrency=len(questions)))
    assert (index.load.requests - before.requests, len(answers)) == (9, 9)
    assert index.load.batches - before.batches <= 3
    alone = {question: index.search([question], k=5)[0] for question in questions[:3]}
    for question, answer in zip(questions, answers, strict=True):
        assert answer.trace[0].passages == [hit.passage.id for hit in alone[question]]
