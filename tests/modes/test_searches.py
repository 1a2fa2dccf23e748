"""Searches by levels: what they cost, which chains they keep, and when they end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

import pytest
from conformance import check
from doubles import StubIndex, move_of, never_repeating, run, scripted

from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.errors import ModelError
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Beam, Tree
from ragscale.types import Event


def of(answer: Answer, move: str) -> list[Event]:
    """The events of a move."""
    return [event for event in answer.trace if event.move == move]


def asking(plans: Callable[[str], Sequence[str]]) -> Any:
    """`never_repeating`, but a planner's samples are what `plans` says for its prompt."""

    def script(messages: Any, call: ScriptedCall) -> Any:
        if move_of(call) != "plan":
            return never_repeating(messages, call)
        said = islice(cycle(plans(messages[-1]["content"])), call.n)
        return [json.dumps({"known": "", "queries": [query] if query else []}) for query in said]

    return script


class TestBeam:
    @pytest.mark.parametrize(("beam", "expand", "steps"), [(2, 3, 3), (1, 3, 2), (3, 2, 3), (2, 1, 3)])
    def test_costs_what_it_says(self, beam: int, expand: int, steps: int) -> None:
        """C = 1 + sum of b (1 + 2 E), R = sum of b E, S = L; a lone child is not scored."""
        answer, _ = run(Beam(beam=beam, expand=expand, samples=expand, steps=steps, question_k=0))
        kept, calls, queries = 1, 1, 0
        for _ in range(steps):
            calls += kept * (1 + (2 if expand > 1 else 1) * expand)
            queries += kept * expand
            kept = min(beam, kept * expand)
        total, serial = answer.spend.total, answer.spend.serial
        assert (total.llm_calls, total.queries) == (calls, queries)
        assert (serial.llm_calls, serial.rounds) == (steps * (3 if expand > 1 else 2) + 1, steps)
        if (beam, expand, steps) == (2, 3, 3):
            assert (calls, queries) == (36, 15)

    def test_of_one_scored_by_rollouts_is_a_tree(self) -> None:
        sizes: Any = {"steps": 2, "expand": 2, "samples": 3, "rollouts": 2, "rollout_steps": 1}
        tree, beam = run(Tree(**sizes))[0], run(Beam(beam=1, **sizes))[0]
        assert [event.output for event in beam.trace] == [event.output for event in tree.trace]

    @pytest.mark.parametrize("scorer", ["penalty", "judge"])
    def test_keeps_the_best_chains_best_first(self, scorer: Any) -> None:
        """Lower penalties and higher ratings are better; all of them are compared, whose children they are."""
        worth = {"a": 9, "b": 5, "c": 7, "aa": 1, "ab": 2, "ca": 4, "cb": 3}

        def plans(prompt: str) -> list[str]:
            return ["ca", "cb"] if "1. c" in prompt else ["aa", "ab"] if "1. a" in prompt else ["a", "b", "c"]

        def script(messages: Any, call: ScriptedCall) -> Any:
            rates = call.schema is not None and "rating" in call.schema["properties"]
            return json.dumps({"rating": best(messages)}) if rates else asking(plans)(messages, call)

        def best(messages: Any) -> int:
            return worth[max(re.findall(r"\b([abc]{1,2})(?=:| ->)", messages[-1]["content"]), key=len)]

        llm = scripted(script, score=lambda messages, text: -float(best(messages)))
        answer, ledger = run(Beam(steps=2, beam=2, scorer=scorer), llm=llm)
        check(answer, ledger, Budget())
        first, second = of(answer, "select")
        assert first.output == ["a", "c"]
        assert [choice.status for choice in first.choices] == ["kept", "pruned", "kept"]
        assert (second.output, second.input) == ("ca", ["aa", "ab", "ca", "cb"])
        assert {event.branch for event in of(answer, "plan")} == {"", "1.0", "1.1"}

    def test_searches_equal_sub_queries_of_two_chains_once(self) -> None:
        """And scores both chains that it makes longer; a chain of the same sub-queries in another order is dropped."""

        def plans(prompt: str) -> list[str]:
            if "1. a" in prompt:
                return ["b", "same"]
            return ["a", "Same"] if "1. b" in prompt else ["a", "b"]

        index = StubIndex()
        answer, _ = run(Beam(steps=2, beam=2, expand=2), llm=scripted(asking(plans)), index=index)
        searched = [query for batch in index.searches for query in batch][1:]
        assert len(searched) == 4
        assert sorted(map(str.lower, searched[2:])) == (["b", "same"] if searched[2] == "b" else ["a", "same"])
        repeats = [event for event in of(answer, "plan") if event.status == "repeat"]
        assert {event.note for event in repeats} == {
            "searched once for several chains", "a chain of the same sub-queries",
        }  # fmt: skip
        assert len(of(answer, "score")) == 2 + 3
        (_, last) = of(answer, "select")
        assert len({choice.branch for choice in last.choices}) == 2 < len(last.choices)

    def test_ends_where_the_best_chain_has_enough_and_keeps_another_that_has(self) -> None:
        """The second chain has enough at once, but its score is beaten; the first has so a level later."""
        scores = {"a": -9.0, "b": -8.0, "a2": -10.0, "a3": -1.0}

        def plans(prompt: str) -> list[str]:
            if "2. a2" in prompt or "1. b" in prompt:
                return ["", ""]
            return ["a2", "a3"] if "1. a" in prompt else ["a", "b"]

        def score(messages: Any, text: str) -> float:
            return scores[max((query for query in scores if f" {query}:" in messages[-1]["content"]), key=len)]

        answer, ledger = run(Beam(steps=5, beam=2, expand=2), llm=scripted(asking(plans), score=score))
        check(answer, ledger, Budget())
        assert answer.stop_reason == "answered"
        assert [event.output for event in of(answer, "select")] == [["a", "b"], ["a2", "b"]]
        # The ended chain is not planned for again.
        assert sum(event.spend.llm_calls for event in of(answer, "plan")) == 1 + 2 + 1

    def test_a_planner_that_fails_leaves_the_other_chain(self) -> None:
        calls = []

        def script(messages: Any, call: ScriptedCall) -> Any:
            if move_of(call) == "plan" and "1. " in messages[-1]["content"]:
                calls.append(call)
                if len(calls) == 1:
                    return ModelError("no plan today")
            return never_repeating(messages, call)

        answer, ledger = run(Beam(steps=2, beam=2, expand=2), llm=scripted(script))
        check(answer, ledger, Budget())
        assert answer.stop_reason == "answered"
        assert [len(event.choices) for event in of(answer, "select")] == [2, 2]

    def test_has_fewer_chains_where_the_budget_is_small(self) -> None:
        """Never more work for less, and always an answer."""
        spent = []
        for tokens in (1_500, 3_000, 5_000, 8_000, 12_000, 30_000):
            answer, ledger = run(Beam(), index=StubIndex(words=100), budget=Budget(tokens=tokens))
            check(answer, ledger, Budget(tokens=tokens))
            assert answer.text
            spent.append(answer.spend.total.queries)
        assert spent == sorted(spent)
        assert spent[-1] == 16
