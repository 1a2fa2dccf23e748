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
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Beam, Tot, Tree
from ragscale.modes.core.costs import Costs
from ragscale.prompts import profile, states
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


class TestTot:
    @pytest.mark.parametrize("generate", ["sample", "propose"])
    def test_by_value_costs_what_it_says(self, generate: Any) -> None:
        """C = 1 + sum of b + 2 b E, R = sum of b E, S = L: the samples of a judgement are one call."""
        answer, _ = run(Tot(question_k=0, generate=generate))
        total, serial = answer.spend.total, answer.spend.serial
        assert (total.llm_calls, total.queries, serial.rounds, serial.llm_calls) == (36, 15, 3, 10)
        assert all(len(event.output) == 3 for event in of(answer, "score"))
        # The game of 24: a beam of five.
        total = run(Tot(question_k=0, beam=5, expand=4, samples=4, generate=generate))[0].spend.total
        assert total.llm_calls == 1 + (1 + 8) + (4 + 32) + (5 + 40)

    @pytest.mark.parametrize("generate", ["sample", "propose"])
    def test_by_vote_costs_what_it_says(self, generate: Any) -> None:
        """One ballot a level: b + b E + 1."""
        answer, _ = run(Tot(question_k=0, judge="vote", generate=generate))
        total, serial = answer.spend.total, answer.spend.serial
        assert (total.llm_calls, total.queries, serial.rounds) == (1 + (1 + 3 + 1) + 2 * (2 + 6 + 1), 15, 3)

    def test_without_samples_each_judgement_is_a_call_more(self) -> None:
        """And it is sized by that."""
        can = {"samples": False, "json_schema": True, "scoring": True, "tokenizer": True}
        answer, _ = run(Tot(steps=1, question_k=0, samples=3), llm=scripted(capabilities=Capabilities(**can)))
        assert answer.spend.total.llm_calls == 3 + 3 + 3 * 3 + 1
        assert Tot(steps=1, question_k=0, samples=3).cost(Costs(samples=False))[1].llm_calls == 3 + 3 + 3 * 3 + 1

    def test_a_value_is_a_sum(self) -> None:
        """One sure outweighs three times likely; what cannot be read is worth nothing."""
        said = {
            "first": ["likely", "likely", "likely"],
            "second": ["sure", "impossible", "impossible"],
            "third": ["impossible", "hm", "likely"],
        }

        def script(messages: Any, call: ScriptedCall) -> Any:
            if call.schema and "value" in call.schema["properties"]:
                words = next(words for query, words in said.items() if query in messages[-1]["content"])
                return [json.dumps({"why": "so", "value": word}) for word in words]
            return asking(lambda prompt: [*said])(messages, call)

        answer, ledger = run(Tot(steps=1), llm=scripted(script))
        check(answer, ledger, Budget())
        (select,) = of(answer, "select")
        assert [choice.score for choice in select.choices] == pytest.approx([3.0, 20.002, 1.001])
        assert (select.output, select.score) == ("second", pytest.approx(20.002))
        assert answer.text  # one, from one state

    def test_equal_states_are_searched_and_judged_once(self) -> None:
        """Two chains of the same sub-queries in another order are one; so are equal proposals."""

        def plans(prompt: str) -> list[str]:
            return ["b", "B "] if "1. a" in prompt else ["a", "A"] if "1. b" in prompt else ["a", "b"]

        index = StubIndex()
        answer, _ = run(Tot(steps=2, expand=2), llm=scripted(asking(plans)), index=index)
        assert len(index.searches) == 1 + 2 + 1
        assert len(of(answer, "score")) == 2  # the chain that is left has no rival
        assert "repeat" in {event.status for event in of(answer, "plan")}

    def test_votes_have_any_number_of_digits(self) -> None:
        """The tenth candidate gets its votes; a number of no candidate is no vote; ties go to the earliest."""

        def script(messages: Any, call: ScriptedCall) -> Any:
            if call.schema and "best" in call.schema["properties"]:
                return [json.dumps({"why": "so", "best": number}) for number in (10, 10, 3, 3, 99, 1)]
            return never_repeating(messages, call)

        mode = Tot(steps=1, expand=10, samples=10, judge="vote", evaluations=6)
        answer, ledger = run(mode, llm=scripted(script))
        check(answer, ledger, Budget())
        (select,) = of(answer, "select")
        assert [choice.score for choice in select.choices] == [1, 0, 2, 0, 0, 0, 0, 0, 0, 2]
        assert select.output == select.input[2]

    def test_without_a_ballot_the_earliest_are_kept_and_the_trace_says_so(self) -> None:
        def script(messages: Any, call: ScriptedCall) -> Any:
            if call.schema and "best" in call.schema["properties"]:
                return ModelError("polls closed")
            return never_repeating(messages, call)

        answer, ledger = run(Tot(steps=2, judge="vote"), llm=scripted(script))
        check(answer, ledger, Budget())
        first, _ = of(answer, "select")
        assert first.output == first.input[:2]
        assert any("no vote: polls closed" in event.note for event in of(answer, "score"))


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ('{"why": "not likely", "value": "Sure"}', 20.0),
        ("It names the film.\nlikely", 1.0),
        ("Judge: **impossible**.", 0.001),
        ('"sure"', 20.0),
        ("sure\nbut then again", None),
        ("it is surely likely that", None),
        ('{"value": 20}', None),
        ('{"value": null}', None),
        ("", None),
        ("[[[", None),
    ],
)
def test_values_are_read_from_the_exact_last_line(text: str, worth: float | None) -> None:
    assert states.value(profile(), "Who?", [], []).read(text) == worth


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"why": "of 12, the tenth", "best": 10}', 10),
        ('{"best": "3"}', 3),
        ("The best choice is 12.", 12),
        ('{"best": true}', None),
        ('{"best": 0}', None),
        ('{"best": -1}', None),
        ("9" * 5000, None),
        ("none of them", None),
        ("", None),
    ],
)
def test_ballots_are_read(text: str, number: int | None) -> None:
    assert states.ballot(profile(), "Who?", []).read(text) == number
