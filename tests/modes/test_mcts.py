"""`mcts` beside a tree that is kept independently: visits, rewards along the path, the upper confidence bound."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from doubles import digest, move_of, never_repeating, of, run, scripted

from ragscale.answer import Answer
from ragscale.errors import ModelError
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.modes import Chain, Mcts, Mode, Once, Vote
from ragscale.types import Message

ROOT: tuple[str, ...] = ()


@dataclass
class Tree:
    """The published algorithm with a node an object: rewards are backed up along the path of each rollout."""

    expand: int
    steps: int
    c: float
    visits: dict[tuple[str, ...], int] = field(default_factory=dict)
    begun: dict[tuple[str, ...], int] = field(default_factory=dict)
    paths: list[tuple[tuple[str, ...], float]] = field(default_factory=list)

    def select(self) -> tuple[str, ...] | None:
        """The node that the next rollout goes on from; None where every path has ended."""
        leaf = next(self._open(ROOT), None)
        if leaf is not None:
            self.begun[leaf] = self.begun.get(leaf, 0) + 1
        return leaf

    def back_up(self, path: tuple[str, ...], reward: float) -> None:
        self.paths.append((path, reward))
        for length in range(len(path) + 1):
            self.visits[path[:length]] = self.visits.get(path[:length], 0) + 1

    def _open(self, at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        ended = any(path == at for path, _ in self.paths)
        if self.begun.get(at, 0) < self.expand and not ended and len(at) < self.steps:
            yield at
        children = [node for node in self.visits if len(node) == len(at) + 1 and node[:-1] == at]
        for child in sorted(children, key=self._bound, reverse=True):
            yield from self._open(child)

    def _bound(self, node: tuple[str, ...]) -> float:
        low, high = (pick(reward for _, reward in self.paths) for pick in (min, max))
        below = [reward for path, reward in self.paths if path[: len(node)] == node]
        mean = sum((one - low) / (high - low) if high > low else 0.5 for one in below) / len(below)
        return mean + self.c * math.sqrt(math.log(self.visits[node[:-1]]) / self.visits[node])


def searched(mode: Mcts, seed: int, *, early: bool) -> Answer:
    """A run whose ratings are drawn, and whose chains may end by themselves after a step."""

    def script(messages: Sequence[Message], call: ScriptedCall) -> Any:
        if "rating" in str(call.schema):
            return json.dumps({"rating": int(digest(messages, seed)[1:], 16) % 11})
        going_on = move_of(call) == "plan" and "1. " in messages[-1]["content"]
        if early and going_on and int(digest(messages, call.seed, seed)[1:], 16) % 3 == 0:
            return json.dumps({"known": "all", "missing": "nothing", "queries": []})
        return never_repeating(messages, call)

    return run(mode, llm=scripted(script), seed=seed)[0]


def answering(answers: Sequence[str], ratings: Mapping[str, int]) -> ScriptedLLM:
    """A model that gives these answers one after the other, and rates each as it is told."""
    said = iter(answers)

    def script(messages: Sequence[Message], call: ScriptedCall) -> Any:
        if "rating" in str(call.schema):
            [text] = [text for text in ratings if f"answer: {text}" in messages[-1]["content"]]
            return json.dumps({"rating": ratings[text]})
        if move_of(call) == "answer":
            return json.dumps({"answer": next(said), "documents": [1]})
        return never_repeating(messages, call)

    return scripted(script)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("c", "expand", "steps", "rollouts"),
    [(1.4, 3, 3, 14), (1.4, 2, 3, 14), (0.2, 1, 4, 14), (2.0, 2, 2, 10), (0.01, 2, 4, 20), (1.4, 1, 2, 9)],
)
def test_rollouts_go_on_from_the_nodes_of_the_highest_bound(
    c: float, expand: int, steps: int, rollouts: int, early: bool
) -> None:
    chain = Chain(steps=steps, question_k=0)
    mode = Mcts(of=chain, rollouts=rollouts, width=1, expand=expand, exploration=c, scorer="judge")
    answer = searched(mode, rollouts, early=early)
    tree = Tree(expand, steps, c)
    chosen = iter([e.output[0] for e in of(answer, "select") if e.note == "the further rollouts go on from"])
    made = 0
    while any(event.branch == str(made) for event in answer.trace):
        leaf = tree.select()
        assert leaf is not None
        assert leaf == ROOT or leaf[-1] == next(chosen)
        events = [event for event in answer.trace if event.branch == str(made)]
        queries = [e.input if isinstance(e.input, str) else e.input[0] for e in events if e.move == "retrieve"]
        [reward] = [e.score for e in events if e.move == "score" and e.score is not None]
        tree.back_up((*leaf, *queries), reward)
        made += 1
    assert tree.visits[ROOT] == made
    assert next(chosen, None) is None
    notes = [event.note for event in of(answer, "select") if event.status == "enough"]
    if made < rollouts:
        assert tree.select() is None
        assert notes == [f"every path has ended: {made} of {rollouts} rollouts"]
    else:
        assert notes == []


def test_some_searches_end_with_their_tree() -> None:
    """The last assertion above is reached both ways."""
    mode = Mcts(of=Chain(steps=2, question_k=0), rollouts=9, width=1, expand=1, scorer="judge")
    assert any(event.status == "enough" for event in of(searched(mode, 9, early=False), "select"))
    assert not any(event.status == "enough" for event in of(searched(Mcts(of=mode.of), 1, early=False), "select"))


def test_nothing_goes_on_from_a_chain_of_all_steps_though_its_answer_failed() -> None:
    """Such a rollout has not come to its own end, and yet there is nothing below it."""

    def script(messages: Sequence[Message], call: ScriptedCall) -> Any:
        return ModelError("no answer today") if move_of(call) == "answer" else never_repeating(messages, call)

    mode = Mcts(of=Chain(steps=1, question_k=0), rollouts=6, width=1, expand=2, scorer="penalty")
    answer, _ = run(mode, llm=scripted(script))
    assert {event.branch for event in answer.trace} == {"", "0", "1"}
    assert [event.note for event in of(answer, "select") if event.status == "enough"] == [
        "every path has ended: 2 of 6 rollouts"
    ]


@pytest.mark.parametrize(
    ("mode", "answers", "ratings", "expected"),
    [
        (Vote(of=Once(), n=2), ["Rome", "Paris"], {}, "Rome"),  # the earliest
        (Vote(of=Once(), n=2, weigh="judge"), ["Rome", "Paris"], {"Rome": 4, "Paris": 4}, "Rome"),
        # the higher mean, of equal sums
        (Vote(of=Once(), n=3, weigh="judge"), ["Rome", "Rome", "Paris"], {"Rome": 4, "Paris": 8}, "Paris"),
        # of more members, where no scores tell them apart
        (Vote(of=Once(), n=3, weigh="judge"), ["Rome", "Paris", "Paris"], {"Rome": 0, "Paris": 0}, "Paris"),
        # the higher reward
        (
            Mcts(of=Chain(steps=1, question_k=0), rollouts=2, scorer="judge"),
            ["Rome", "Paris"], {"Rome": 2, "Paris": 9}, "Paris",
        ),
    ],
    ids=["by count", "weighed", "mean", "members", "mcts"],
)  # fmt: skip
def test_a_tie_is_told_and_goes_to_the_higher_score_then_to_the_earliest(
    mode: Mode, answers: list[str], ratings: dict[str, int], expected: str
) -> None:
    answer, _ = run(mode, llm=answering(answers, ratings))
    [note] = [event.note for event in of(answer, "select") if event.choices]
    assert (answer.text, note) == (expected, "a tie of 2 answers")


@pytest.mark.parametrize("answers", [["Rome", "Rome", "Paris"], ["Rome", "Paris", "Rome"], ["Paris", "Rome", "Rome"]])
def test_the_answer_is_the_plurality_of_all_rollouts_whatever_their_rewards(answers: list[str]) -> None:
    mode = Mcts(of=Chain(steps=1, question_k=0), rollouts=3, width=1, expand=3, scorer="judge")
    assert run(mode, llm=answering(answers, {"Rome": 2, "Paris": 9}))[0].text == "Rome"
