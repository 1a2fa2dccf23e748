"""Searches by levels: what they cost, which chains they keep, and when they end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import pytest
from conformance import check
from doubles import StubIndex, move_of, never_repeating, of, run, score, scripted, section_of

from ragscale.budget import Budget
from ragscale.errors import InvalidInput, ModelError
from ragscale.llm.base import Capabilities, Generation
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.modes import Beam, Chain, Muse, Once, Tot, Tree
from ragscale.modes.core.costs import Costs
from ragscale.prompts import profile, states


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

        def by_query(messages: Any, text: str) -> float:
            return scores[max((query for query in scores if f" {query}:" in messages[-1]["content"]), key=len)]

        answer, ledger = run(Beam(steps=5, beam=2, expand=2), llm=scripted(asking(plans), score=by_query))
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


@pytest.mark.parametrize("mode", [Beam(pairs="all"), Beam(pairs="all", scorer="judge"), Tot(pairs="all")], ids=str)
def test_wherever_a_search_ends_the_best_chain_is_answered_from(mode: Any) -> None:
    """Here two chains are kept, and then nothing more can be planned."""
    worth = {"a": (-1.0, 2, "likely"), "b": (-3.0, 9, "sure"), "c": (-2.0, 5, "impossible")}

    def of_chain(messages: Any) -> tuple[float, int, str]:
        return next(said for query, said in worth.items() if re.search(rf"\b{query}(:| ->)", messages[-1]["content"]))

    def script(messages: Any, call: ScriptedCall) -> Any:
        fields = (call.schema or {}).get("properties", {})
        if "rating" in fields or "value" in fields:
            _, rating, value = of_chain(messages)
            return [json.dumps({"rating": rating} if "rating" in fields else {"why": "so", "value": value})] * call.n
        if move_of(call) == "plan" and "1. " in messages[-1]["content"]:
            return ModelError("no plan today")
        return asking(lambda prompt: [*worth])(messages, call)

    llm = scripted(script, score=lambda messages, text: of_chain(messages)[0])
    answer, ledger = run(mode, llm=llm)
    check(answer, ledger, Budget())
    (select,) = of(answer, "select")
    assert [choice.status for choice in select.choices].count("kept") == 2
    assert [query for query in worth if f"{query} -> " in llm.calls[-1].messages[-1]["content"]] == ["b"]


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


class Unsure(ScriptedLLM):
    """A model whose planner is as sure of each sub-query as `sure` says by the length of the chain before it."""

    def __init__(self, sure: Sequence[float], **options: Any) -> None:
        super().__init__(never_repeating, score=score, context_window=100_000, **options)
        self.sure, self.asked = sure, 0

    async def generate(self, messages: Any, **call: Any) -> Generation:
        made = await super().generate(messages, **call)
        if not call.get("logprobs"):
            return made
        self.asked += 1
        steps = len(re.findall(r"^\d+\. .* -> ", messages[-1]["content"], re.MULTILINE))
        return replace(made, logprobs=[self.sure[steps]] * call.get("n", 1))


class TestMuse:
    def test_costs_what_it_says(self) -> None:
        """C = 2 L + sum of 2 (L - p) + branches + 2, R = L + sum of (L - p); what branches share is paid once."""
        mode = Muse(of=Chain(steps=6, question_k=0), branches=3)
        answer, _ = run(mode, llm=Unsure([-0.1, -0.2, -0.3, -0.9, -0.8, -0.7]))
        total, serial = answer.spend.total, answer.spend.serial
        assert (total.llm_calls, total.queries) == (12 + 2 * (3 + 2 + 1) + 3 + 2, 6 + 3 + 2 + 1)
        assert (serial.llm_calls, serial.rounds) == (12 + 2 * 3 + 1 + 1, 6 + 3)
        full = mode.cost(Costs())[1]
        assert (full.llm_calls, full.queries) == (12 + 2 * (6 + 5 + 4) + 3 + 2, 6 + 15)

    def test_branches_at_the_most_uncertain_steps_and_keeps_the_chain_before_them(self) -> None:
        """The first run is greedy; the others plan from its steps, at a temperature; ties go to the earliest step."""
        llm = Unsure([-0.5, -0.1, -0.9, -0.5])
        answer, ledger = run(Muse(of=Chain(steps=4), branches=3), llm=llm)
        check(answer, ledger, Budget())
        (select,) = of(answer, "select")
        assert select.status == "kept"
        assert select.note == "branches at the steps 3 (-0.90), 1 (-0.50), 4 (-0.50)"
        searched = {name: [event.input for event in of(answer, "retrieve") if event.branch == name] for name in "0123"}
        assert {name: len(queries) for name, queries in searched.items()} == {"0": 4, "1": 2, "2": 4, "3": 1}
        assert select.output == [searched["0"][at][0] for at in (2, 0, 3)]
        plans = {event.branch: event for event in reversed(of(answer, "plan"))}
        assert [plans[name].score for name in "0123"] == [-0.5, -0.9, -0.5, -0.5]
        first = [call for call in llm.calls if call.schema and "queries" in call.schema["properties"]]
        assert [call.temperature for call in first[:4]] == [0.0] * 4
        assert {call.temperature for call in first[4:]} == {0.7}
        assert llm.asked == len(first)  # nothing else is asked how sure it is

    def test_more_branches_than_steps_begin_at_the_most_uncertain_again(self) -> None:
        answer, _ = run(Muse(of=Chain(steps=2), branches=3), llm=Unsure([-0.1, -0.2]))
        (select,) = of(answer, "select")
        assert select.output[0] == select.output[2] != select.output[1]

    def test_without_log_probabilities_it_branches_at_evenly_spaced_steps_and_says_so(self) -> None:
        can = Capabilities(json_schema=True, scoring=True, tokenizer=True, samples=True)
        llm = scripted(capabilities=can)
        answer, ledger = run(Muse(of=Chain(steps=6), branches=3), llm=llm)
        check(answer, ledger, Budget())
        (select,) = of(answer, "select")
        assert select.status == "fallback"
        assert select.note == "no log-probabilities of its steps: branches at evenly spaced ones, 1, 3, 5"
        assert answer.spend.total.queries == 1 + 6 + 6 + 4 + 2
        assert not any(call.logprobs for call in llm.calls)
        assert answer.stop_reason == "answered"

    @pytest.mark.parametrize("sent", [[], [float("nan")], ["high"], [None]])
    def test_a_server_that_sends_no_numbers_is_one_without(self, sent: list[Any]) -> None:
        class Odd(ScriptedLLM):
            async def generate(self, messages: Any, **call: Any) -> Generation:
                return replace(await super().generate(messages, **call), logprobs=sent)

        llm = Odd(never_repeating, score=score, context_window=100_000)
        answer, ledger = run(Muse(of=Chain(steps=2), branches=2), llm=llm)
        check(answer, ledger, Budget())
        assert [event.status for event in of(answer, "select")] == ["fallback"]

    def test_the_answer_reads_a_report_on_each_run(self) -> None:
        """And the passages of all; a report that fails is left out."""

        def script(messages: Any, call: ScriptedCall) -> Any:
            if section_of(call) == "report":
                asked.append(messages[-1]["content"])
                return ModelError("no report today") if len(asked) == 2 else f"Report\non it, {len(asked)}."
            return never_repeating(messages, call)

        asked: list[str] = []
        llm = scripted(script)
        answer, ledger = run(Muse(of=Chain(steps=2), branches=2, context=50), llm=llm)
        check(answer, ledger, Budget())
        assert all("Looked up so far:\n1. " in prompt for prompt in asked)
        last = llm.calls[-1].messages[-1]["content"]
        assert "Report of search 1: Report on it, 1.\nReport of search 2: Report on it, 3.\n" in last
        (event,) = of(answer, "answer")
        retrieved = {id for event in of(answer, "retrieve") for id in event.passages}
        assert set(event.passages) == retrieved

    def test_has_as_many_branches_as_the_budget_pays_for(self) -> None:
        for tokens in (1_500, 3_000, 6_000, 10_000, 30_000):
            budget = Budget(tokens=tokens)
            answer, ledger = run(Muse(), index=StubIndex(words=100), budget=budget)
            check(answer, ledger, budget)
            assert answer.text
            reports = [event for event in of(answer, "read") if event.branch.endswith("report")]
            runs = {event.branch for event in of(answer, "retrieve")} - {""}
            assert len(reports) == (len(runs) if len(runs) > 1 else 0)
        assert len(runs) == 4

    def test_takes_a_mode_that_goes_on_from_a_chain(self) -> None:
        with pytest.raises(InvalidInput, match="muse: of=once cannot go on from a chain"):
            Muse(of=Once())
