"""Duplicates, malformed turns, empty retrievals, failures and fallbacks, mode by mode."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from conformance import check
from doubles import QUESTION, StubIndex, instead, move_of, never_repeating, of, query, run, scripted

from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.errors import ModelError
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Chain, Mode, Once, Parallel, Tree
from ragscale.prompts import NO_INFORMATION
from ragscale.types import Message

MODES: list[Mode] = [Once(), Chain(steps=3), Parallel(rounds=3), Tree(steps=2, expand=2, samples=3)]
PLANNING = MODES[1:]

by_name = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
planning = pytest.mark.parametrize("mode", PLANNING, ids=lambda mode: mode.name)


def notes(answer: Answer) -> str:
    return " | ".join(event.note for event in answer.trace)


def statuses(answer: Answer) -> list[str]:
    return [event.status for event in answer.trace]


def turn(*queries: str) -> str:
    return json.dumps({"think": "hm", "queries": list(queries)})


class TestDuplicates:
    def test_a_repeated_sub_query_is_discarded_and_retried_hot(self) -> None:
        """Same words in other case and punctuation are the same sub-query."""

        def plan(call: ScriptedCall) -> str:
            return json.dumps(["Where was  he born"] if not call.temperature else [query(call.messages, call.seed)])

        answer, _ = run(Chain(steps=3, question_k=0), llm=scripted(instead(plan=plan)))
        asked = [event.input for event in of(answer, "retrieve")]
        assert len(asked) == 3
        assert asked[0] == ["Where was he born"]
        assert len({str(queries) for queries in asked}) == 3
        assert statuses(answer).count("repeat") == 2

    @planning
    def test_a_model_that_only_repeats_itself_ends_early(self, mode: Mode) -> None:
        index = StubIndex()
        script = instead(plan=json.dumps(["the same"]), turn=turn("The same?", "the SAME"))
        answer, ledger = run(mode, llm=scripted(script), index=index)
        check(answer, ledger, Budget())
        assert answer.stop_reason == "answered"
        asked = [query for batch in index.searches for query in batch]
        searched = [query for query in asked if query.casefold().startswith("the same")]
        assert len(searched) == 1
        assert "repeat" in statuses(answer)
        assert answer.spend.total.llm_calls <= 40  # bounded, and every attempt charged
        assert answer.spend.total.llm_calls == sum(event.spend.llm_calls for event in answer.trace)

    def test_children_of_a_level_are_distinct_and_at_most_expand(self) -> None:
        samples = [["a b"], ["A  b!"], ["c d"], ["a b"], ["e f"], ["g h"]]
        tree = Tree(steps=1, expand=3, samples=6, rollouts=1, rollout_steps=0, question_k=0)
        script = instead(plan=lambda call: [json.dumps(sample) for sample in samples])
        answer, _ = run(tree, llm=scripted(script))
        (select,) = of(answer, "select")
        assert select.input == ["a b", "c d", "e f"]

    def test_a_turn_of_old_and_new_queries_searches_the_new_ones(self) -> None:
        turns = iter([turn("one", "two"), turn("Two", "three")])
        index = StubIndex()
        run(Parallel(rounds=2, max_queries=2), llm=scripted(instead(turn=lambda call: next(turns))), index=index)
        assert index.searches == [[QUESTION], ["one", "two"], ["three"]]

    @pytest.mark.parametrize(
        ("queries", "searched"),
        [(["one"], [QUESTION, "one"]), ([QUESTION.upper()], [QUESTION.upper()]), (["one", "two"], ["one", "two"])],
    )
    def test_a_free_place_of_the_first_round_goes_to_the_question_once(
        self, queries: list[str], searched: list[str]
    ) -> None:
        index = StubIndex()
        parallel = Parallel(question_k=0, rounds=1, max_queries=2)
        run(parallel, llm=scripted(instead(turn=turn(*queries))), index=index)
        assert index.searches == [searched]

    def test_identical_passages_of_several_queries_are_shown_once(self) -> None:
        llm = scripted()
        run(Parallel(rounds=3), llm=llm, index=StubIndex(lambda query: ["p1", "p2"]))
        conversation = llm.calls[2].messages
        text = "\n".join(message["content"] for message in conversation)
        assert (text.count("Title p1"), text.count("Title p2")) == (1, 1)
        assert len(re.findall(r"\[\d+\] Title", text)) == 2
        closing = llm.calls[-1].messages[-1]["content"]
        assert (closing.count("Title p1"), closing.count("Title p2")) == (1, 1)


class TestMalformedTurns:
    GARBAGE = ('["cut off', '{"quer', "", '{"queries": 3}', "[1, 2]", "???", "[" * 3000)

    @pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
    @planning
    def test_are_charged_recorded_and_bounded(self, mode: Mode, garbage: str) -> None:
        script = instead(plan=garbage, turn=garbage)
        answer, ledger = run(mode, llm=scripted(script))
        check(answer, ledger, Budget())
        assert answer.text  # from the question's own passages
        assert answer.spend.total.llm_calls <= 30
        planned = of(answer, "plan")
        assert sum(event.spend.llm_calls for event in planned) == answer.spend.total.llm_calls - 1
        assert any(event.status == "malformed" for event in planned)

    @planning
    def test_one_does_not_end_the_run(self, mode: Mode) -> None:
        first = True

        def once(call: ScriptedCall) -> Any:
            nonlocal first
            was, first = first, False
            return "[" if was else never_repeating(call.messages, call)

        answer, _ = run(mode, llm=scripted(instead(plan=once, turn=once)))
        assert answer.stop_reason == "answered"
        assert answer.spend.total.queries > 1

    @by_name
    @pytest.mark.parametrize("empty", ["", "  \n", '{"answer": "", "documents": [1]}', '{"answer": null}'])
    def test_an_empty_closing_answer_is_explicit(self, mode: Mode, empty: str) -> None:
        answer, ledger = run(mode, llm=scripted(instead(answer=empty, read=NO_INFORMATION)))
        check(answer, ledger, Budget())
        assert (answer.text, answer.citations, answer.stop_reason) == ("", [], "failed")
        assert answer.reason

    @pytest.mark.parametrize("mode", [Chain(steps=3), Tree(steps=2, expand=2)], ids=lambda mode: mode.name)
    def test_an_empty_closing_answer_falls_back_on_the_last_useful_sub_answer(self, mode: Mode) -> None:
        answer, ledger = run(mode, llm=scripted(instead(answer="")))
        check(answer, ledger, Budget())
        assert answer.text.startswith("fact ")
        assert len(answer.citations) == 1
        assert answer.stop_reason == "failed"


class TestEmptyRetrieval:
    @by_name
    def test_reads_nothing_and_says_so(self, mode: Mode) -> None:
        answer, ledger = run(mode, index=StubIndex(lambda query: []))
        check(answer, ledger, Budget())
        assert answer.text
        assert (answer.citations, answer.spend.total.passages) == ([], 0)
        assert "no hits for" in notes(answer)
        assert all(event.spend.llm_calls == 0 for event in of(answer, "read"))
        assert all(event.output == NO_INFORMATION for event in of(answer, "read"))

    def test_of_one_query_of_a_round_leaves_the_others(self) -> None:
        index = StubIndex(lambda query: [] if query == "nowhere" else ["p1"])
        llm = scripted(instead(turn=turn("nowhere", "something")))
        answer, _ = run(Parallel(question_k=0, rounds=1), llm=llm, index=index)
        assert of(answer, "retrieve")[0].note == "no hits for ['nowhere']"
        assert answer.citations == ["p1"]


class TestStopping:
    def test_a_model_that_answers_in_its_turn_needs_no_closing_call(self) -> None:
        turns = iter(["<search> one </search>", "<answer> Ridley Scott </answer>"])
        llm = scripted(instead(turn=lambda call: next(turns)))
        index = StubIndex(lambda query: ["p1", "p2", "p3"], texts={"p2": "A film by Ridley Scott."})
        answer, ledger = run(Parallel(profile="rag-r1"), llm=llm, index=index)
        check(answer, ledger, Budget())
        assert (answer.text, answer.citations, answer.stop_reason) == ("Ridley Scott", ["p2"], "answered")
        assert answer.spend.total.llm_calls == 2

    def test_a_model_with_nothing_left_to_look_up_goes_on_to_the_answer(self) -> None:
        turns = iter([turn("one"), turn()])
        answer, ledger = run(Parallel(), llm=scripted(instead(turn=lambda call: next(turns))))
        check(answer, ledger, Budget())
        assert answer.stop_reason == "answered"
        assert (answer.spend.total.llm_calls, answer.spend.total.rounds) == (3, 2)

    @pytest.mark.parametrize("mode", PLANNING[:2], ids=lambda mode: mode.name)
    def test_what_the_planner_last_knew_goes_into_the_answer(self, mode: Mode) -> None:
        plans = iter(range(100))

        def plan(call: ScriptedCall) -> str:
            n = next(plans)
            return json.dumps({"known": f"fact {n}", "missing": "more", "queries": [f"query {n}"]})

        llm = scripted(instead(plan=plan, turn=plan))
        run(mode, llm=llm)
        closing = llm.calls[-1].messages[-1]["content"]
        assert "</documents>\nNotes:\nfact 0\nfact 1\nfact 2\n" in closing

    @pytest.mark.parametrize("mode", [Chain(), Tree(expand=2, samples=3)], ids=lambda mode: mode.name)
    def test_a_planner_with_nothing_missing_ends_the_search(self, mode: Mode) -> None:
        def plan(call: ScriptedCall) -> str:
            steps = call.messages[-1]["content"].count(" -> ")
            return json.dumps({"known": f"after {steps}", "missing": "", "queries": ["more"] if not steps else []})

        llm = scripted(instead(plan=plan))
        answer, ledger = run(mode, llm=llm)
        check(answer, ledger, Budget())
        assert (answer.stop_reason, answer.spend.serial.rounds) == ("answered", 2)
        assert "after 1\n" in llm.calls[-1].messages[-1]["content"]

    def test_a_tree_notes_only_what_its_samples_agree_on(self) -> None:
        def plan(call: ScriptedCall) -> list[str]:
            level = 1 + call.messages[-1]["content"].count(" -> ")
            known = {1: ["invented", "agreed", "agreed"], 2: ["one", "two", "three"]}[level]
            said = [{"known": known[i], "missing": "", "queries": [f"query {level}{i}"]} for i in range(3)]
            return [json.dumps(value) for value in said]

        llm = scripted(instead(plan=plan))
        run(Tree(steps=2, expand=3, samples=3, rollouts=1, rollout_steps=0), llm=llm)
        assert "</documents>\nNotes:\nagreed\nQuestion: " in llm.calls[-1].messages[-1]["content"]

    def test_a_tree_expands_the_queries_that_most_samples_ask(self) -> None:
        queries = ["once", "Thrice", "twice", "thrice", "twice.", "thrice"]

        def plan(call: ScriptedCall) -> list[str]:
            return [json.dumps({"known": "", "missing": "", "queries": [query]}) for query in queries]

        answer, _ = run(Tree(steps=1, expand=2, samples=6, rollouts=1), llm=scripted(instead(plan=plan)))
        assert of(answer, "select")[0].input == ["Thrice", "twice"]

    @by_name
    def test_a_model_that_stops_working_ends_in_what_is_known(self, mode: Mode) -> None:
        for at in range(8):
            llm = scripted()
            good = llm._reply
            llm._reply = lambda messages, call, at=at, good=good: (
                ModelError("the model is gone", "Start it") if call.index >= at else good(messages, call)
            )
            answer, ledger = run(mode, llm=llm)
            check(answer, ledger, Budget())
            if answer.stop_reason == "failed":
                assert "the model is gone" in answer.reason
                assert "the model is gone" in notes(answer)
                assert answer.spend.total.llm_calls == len(llm.calls)


class TestRetries:
    def test_each_attempt_is_charged_and_noted(self) -> None:
        failures = 2

        def flaky(call: ScriptedCall) -> Any:
            nonlocal failures
            failures -= 1
            return ModelError("busy", retryable=True) if failures >= 0 else never_repeating(call.messages, call)

        answer, ledger = run(Once(), llm=scripted(instead(answer=flaky)))
        check(answer, ledger, Budget())
        (closing,) = of(answer, "answer")
        assert answer.text
        assert (closing.spend.llm_calls, closing.note) == (3, "busy; busy")
        assert closing.spend.prompt_tokens % 3 == 0

    def test_are_bounded(self) -> None:
        answer, ledger = run(Once(), llm=scripted(instead(answer=lambda call: ModelError("busy", retryable=True))))
        check(answer, ledger, Budget())
        assert (answer.text, answer.stop_reason, answer.spend.total.llm_calls) == ("", "failed", 4)

    def test_stay_within_the_calls_of_the_budget(self) -> None:
        budget = Budget(llm_calls=2)
        llm = scripted(instead(answer=lambda call: ModelError("busy", retryable=True)))
        answer, ledger = run(Once(), llm=llm, budget=budget)
        check(answer, ledger, budget)
        assert (answer.stop_reason, answer.spend.total.llm_calls) == ("budget:llm_calls", 2)


class TestWhatAnEndpointCannotDo:
    def test_no_scores(self) -> None:
        """The share of steps without information stands in, and the trace says so."""

        def read(call: ScriptedCall) -> str:
            return NO_INFORMATION if "bad" in call.messages[-1]["content"] else "fact"

        tree = Tree(steps=1, expand=2, samples=2, rollouts=1, rollout_steps=0, question_k=0)
        script = instead(plan=lambda call: ['["bad"]', '["good"]'], read=read)
        answer, _ = run(tree, llm=scripted(script, score=None))
        assert [event.score for event in of(answer, "score")] == [1.0, 0.0]
        assert all("cannot score" in event.note for event in of(answer, "score"))
        assert of(answer, "select")[0].output == "good"

    def test_the_lowest_penalty_wins_and_ties_go_to_the_earliest(self) -> None:
        tree = Tree(steps=1, expand=3, samples=3, rollouts=2, rollout_steps=0, question_k=0)
        script = instead(plan=lambda call: ['["first"]', '["second"]', '["third"]'])
        for values, kept in (((-1, -3, -2), "second"), ((-2, -2, -1), "first")):
            penalties = dict(zip(("first", "second", "third"), values, strict=True))

            def score(messages: Any, text: str, penalties: dict[str, int] = penalties) -> float:
                return next(value for name, value in penalties.items() if f" {name}:" in messages[-1]["content"])

            answer, _ = run(tree, llm=scripted(script, score=score))
            (select,) = of(answer, "select")
            assert (select.output, select.score) == (kept, min(values))

    def test_one_sample_a_call(self) -> None:
        can = Capabilities(json_schema=True, scoring=True, tokenizer=True)
        llm = scripted(capabilities=can)
        tree = Tree(steps=1, expand=2, samples=4, rollouts=1, rollout_steps=0, question_k=0)
        answer, ledger = run(tree, llm=llm)
        check(answer, ledger, Budget())
        plans = [call for call in llm.calls if move_of(call) == "plan"]
        assert [call.n for call in plans] == [1, 1, 1, 1]
        assert len({call.seed for call in plans}) == 4  # else they would all say the same
        assert len(of(answer, "plan")) == 4

    @by_name
    def test_no_schema(self, mode: Mode) -> None:
        """Nothing is sent that the endpoint ignores; what the model writes is parsed all the same."""

        def reply(messages: Sequence[Message], call: ScriptedCall) -> Any:
            assert call.schema is None
            return [f'Sure: ["{query(messages, call.seed, i)}"]' for i in range(call.n)]

        answer, ledger = run(mode, llm=scripted(reply, capabilities=Capabilities(samples=True)))
        check(answer, ledger, Budget())
        assert answer.text

    @by_name
    def test_thoughts_of_a_reasoning_model_are_traced_and_not_read(self, mode: Mode) -> None:
        thought = (
            '<think>{"answer": "mistaken", "documents": [], "queries": ["mistaken"], "known": "mistaken"}</think>\n'
        )

        def reply(messages: Sequence[Message], call: ScriptedCall) -> Any:
            assert "mistaken" not in json.dumps(list(messages))
            return [thought + text for text in never_repeating(messages, call)]

        llm = scripted(reply)
        answer, ledger = run(mode, llm=llm)
        check(answer, ledger, Budget())
        assert answer.text.startswith("answer ")
        written = [event for event in answer.trace if event.output and event.spend.llm_calls]
        assert all(thought.strip() in str(event.output) for event in written)
        assert len(written) == len([call for call in llm.calls if move_of(call) != "score"])
