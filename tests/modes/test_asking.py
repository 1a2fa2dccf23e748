"""Parameters of prompts: profiles, presets, switches and template files, seen by the model that they talk to."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from conformance import check
from doubles import QUESTION, StubIndex, instead, never_repeating, of, run, scripted

from ragscale import modes
from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import InvalidInput
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.modes import BestOfN, Chain, Mode, Once, Parallel, Tree, Vote
from ragscale.prompts import NO_INFORMATION, normalise

TAGS = ["<think>", "</think>", "<search>", "</search>", "<answer>", "</answer>", "<information>", "</information>"]
PIECES = [*TAGS, "who", "Jaws, Alien", " ", "\n", "none", '"', "## ", "\u00e9"]
PAPERS = ["rag-r1-paper", "rag-r1-sq-paper", "search-r1", "parallel-search"]


def says(*texts: str) -> tuple[ScriptedLLM, list[ScriptedCall]]:
    """A model that says one text after the other, and then the last again."""
    left = list(texts)
    llm = scripted(lambda messages, call: left.pop(0) if len(left) > 1 else left[0])
    return llm, llm.calls


def corag(*answers: str, plan: Callable[[ScriptedCall], str] | None = None) -> ScriptedLLM:
    """A CoRAG checkpoint: plain text, told apart by what its prompts end with."""

    def reply(messages: Any, call: ScriptedCall) -> list[str]:
        text = messages[0]["content"]
        if "next question" in text:
            return [plan(call) if plan else f"query {call.seed} {i}?" for i in range(call.n)]
        return ["Ridley Scott" if "Reply with the answer" in text else "a fact"] * call.n

    return scripted(reply, name="corag-llama3.1-8b")


class TestCorag:
    def test_the_paper_is_thirteen_calls_in_one_user_message_each(self) -> None:
        llm = corag()
        answer, ledger = run(Chain.preset("corag-paper"), llm=llm)
        check(answer, ledger, Budget())
        assert (answer.spend.total.llm_calls, answer.spend.total.queries, answer.text) == (13, 7, "Ridley Scott")
        assert all([m["role"] for m in call.messages] == ["user"] and call.schema is None for call in llm.calls)
        assert [call.max_tokens for call in llm.calls[:2]] == [64, 128]
        closing = llm.calls[-1].messages[0]["content"]
        assert closing.count("Intermediate answer") == 6
        assert "Doc 0: " in closing
        assert llm.calls[-1].max_tokens == 128

    def test_the_answer_is_shown_the_questions_own_passages_alone(self) -> None:
        index = StubIndex(lambda query: [f"q{i}" for i in range(20)] if query == QUESTION else [f"sub {query}"])
        answer, _ = run(Chain.preset("corag-paper"), llm=corag(), index=index)
        assert of(answer, "answer")[0].passages == [f"q{i}" for i in range(20)]
        answer, _ = run(Chain.preset("corag-paper", evidence="kept", context=40), llm=corag(), index=index)
        assert len(of(answer, "answer")[0].passages) == 26

    def test_a_planner_that_says_enough_is_asked_again(self) -> None:
        replies = iter(["No further questions needed.", *(f"query {i}?" for i in range(9))])
        llm = corag(plan=lambda call: next(replies))
        answer, _ = run(Chain.preset("corag-paper"), llm=llm)
        assert answer.spend.total.llm_calls == 14
        assert llm.calls[1].temperature == 0.7
        replies = iter(["No further questions needed."])
        answer, _ = run(Chain.preset("corag-paper", early=True), llm=corag(plan=lambda call: next(replies)))
        assert answer.spend.total.llm_calls == 2

    def test_repeats_are_told_by_the_exact_text_and_tried_24_times_in_all(self) -> None:
        spelt = iter(["Jaws director", "JAWS Director", "jaws director", "jaws Director", "Jaws director?", "jaws?"])
        answer, _ = run(Chain.preset("corag-paper"), llm=corag(plan=lambda call: next(spelt)))
        assert answer.spend.total.llm_calls == 13
        answer, _ = run(Chain.preset("corag-paper"), llm=corag(plan=lambda call: "always the same"))
        assert len([event for event in of(answer, "plan") if event.spend.llm_calls]) == 24

    def test_best_of_n_and_tree_have_its_counts(self) -> None:
        answer, _ = run(BestOfN.preset("corag-paper"), llm=corag())
        assert (answer.spend.total.llm_calls, answer.spend.total.queries) == (53, 25)
        answer, _ = run(Tree.preset("corag-paper"), llm=corag())
        assert (answer.spend.total.llm_calls, answer.spend.total.queries) == (219, 97)

    def test_the_checkpoint_is_known_by_its_name(self) -> None:
        llm = corag()
        answer, _ = run(Vote(of=Chain(steps=1), n=2), llm=llm)
        assert answer.text == "Ridley Scott"
        assert all(call.schema is None for call in llm.calls)


class TestTree:
    def test_a_lone_child_is_not_rolled_out(self) -> None:
        """61 calls and 24 retrievals where every sample is the same, before; the chain's 13 and 6 now."""
        count = iter(range(99))
        llm = scripted(instead(plan=lambda call: json.dumps([f"query {next(count)}"])))
        answer, _ = run(Tree(question_k=0), llm=llm)
        assert (answer.spend.total.llm_calls, answer.spend.total.queries) == (13, 6)

    @pytest.mark.parametrize("evidence", ["kept", "all", "question"])
    def test_the_answer_rests_on_kept_branches_unless_told_otherwise(self, evidence: Any) -> None:
        index = StubIndex(lambda query: [f"of {query}"])
        answer, _ = run(Tree(steps=1, expand=3, samples=3, context=20, evidence=evidence), index=index)
        shown = len(of(answer, "answer")[0].passages)
        assert shown == {"kept": 2, "all": 4, "question": 1}[evidence]


@pytest.mark.parametrize("pairs", ["auto", "all", "none"])
def test_sub_answers_reach_the_answer_where_told(pairs: Any) -> None:
    llm = scripted()
    run(Chain(steps=2, pairs=pairs), llm=llm)
    assert ("Looked up on the way:\n1. " in llm.calls[-1].messages[-1]["content"]) == (pairs == "all")


@pytest.mark.parametrize("preset", PAPERS)
class TestConversations:
    def test_are_one_assistant_turn_that_stops_at_the_search(self, preset: str) -> None:
        llm, calls = says(
            "<think> hm </think><search> who </search><information>lies</information>", "<answer> x </answer>"
        )
        answer, ledger = run(Parallel.preset(preset), llm=llm)
        check(answer, ledger, Budget())
        assert (answer.text, answer.spend.total.llm_calls) == ("x", 2)
        assert [m["role"] for m in calls[0].messages] == ["user"]
        assert [m["role"] for m in calls[1].messages] == ["user", "assistant"]
        said = calls[1].messages[1]["content"]
        assert said.startswith("<think> hm </think><search> who </search>\n")
        assert "lies" not in said
        assert all(call.stop == ("</search>",) for call in calls)

    def test_a_repeated_query_is_shown_again_and_never_searched_again(self, preset: str) -> None:
        llm, calls = says("<search> who </search>", "<search> WHO? </search>", "<answer> x </answer>")
        index = StubIndex()
        answer, _ = run(Parallel.preset(preset), llm=llm, index=index)
        assert index.searches == [["who"]]
        assert answer.text == "x"
        shown = calls[2].messages[1]["content"].split("</information>")
        assert (
            shown[0].partition("Doc 1")[2].partition("}")[0] == shown[1].partition("Doc 1")[2].partition("}")[0] != ""
        )

    def test_a_turn_without_either_is_answered_by_a_notice_at_the_price_of_a_round(self, preset: str) -> None:
        llm, calls = says("I am lost.")
        mode = Parallel.preset(preset)
        answer, ledger = run(mode, llm=llm)
        check(answer, ledger, Budget())
        turns = [call for call in calls if "<search>" in call.messages[0]["content"]]
        assert len(turns) == mode.rounds + 1  # and the last turn
        assert turns[-1].messages[1]["content"].count("I am lost.\n") == mode.rounds

    def test_the_last_turn_may_answer_and_a_closing_call_follows_where_it_does_not(self, preset: str) -> None:
        mode = Parallel.preset(preset, rounds=1)
        llm, calls = says("<search> who </search>", "<think> so </think><answer> No </answer>")
        answer, _ = run(mode, llm=llm)
        assert (answer.text, len(calls)) == ("No", 2)
        llm, calls = says("<search> who </search>", "<search> more </search>", "<answer> No </answer>")
        answer, _ = run(mode, llm=llm)
        assert (answer.text, len(calls), answer.spend.total.queries) == ("No", 3, 1)

    def test_where_the_endpoint_cannot_continue_it_says_so(self, preset: str) -> None:
        llm = scripted(capabilities=Capabilities(tokenizer=True))
        with pytest.raises(InvalidInput, match="continues one assistant turn, which scripted cannot") as caught:
            run(Parallel.preset(preset), llm=llm)
        assert "continued=False" in str(caught.value)
        assert not llm.calls
        answer, _ = run(Parallel.preset(preset, continued=False), llm=llm)
        assert {m["role"] for m in llm.calls[1].messages} == {"user", "assistant"}
        assert llm.calls[1].messages[-1]["role"] == "user"
        assert answer.stop_reason == "answered"

    def test_odd_continuations_never_fail_and_never_search_an_old_query(self, preset: str) -> None:
        odd_runs(preset, range(60), 60)

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    def test_a_hundred_thousand_odd_continuations_over_the_three(self, preset: str) -> None:
        """``pytest tests/modes/test_asking.py -m slow --numprocesses auto``"""
        assert odd_runs(preset, itertools.count(1000), 33_400) >= 33_400


def odd_runs(preset: str, seeds: Iterable[int], least: int) -> int:
    """Runs of random pieces of tags, one a seed, until the model was asked `least` times; how often it was."""
    calls = 0
    for seed in seeds:
        chance = random.Random(seed)
        llm = scripted(lambda *_: "".join(chance.choice(PIECES) for _ in range(chance.randrange(14))))  # noqa: B023
        index = StubIndex()
        answer, ledger = run(Parallel.preset(preset), llm=llm, index=index)
        check(answer, ledger, Budget())
        asked = [normalise(query) for batch in index.searches for query in batch if query != QUESTION]
        assert len(asked) == len(set(asked)), seed
        calls += len(llm.calls)
        if calls >= least and not isinstance(seeds, range):
            break
    return calls


def test_a_single_query_is_all_that_stands_between_the_tags() -> None:
    index = StubIndex()
    llm, _ = says("<search> Which came first, Arthur's Magazine or First for Women </search>", "<answer> x </answer>")
    run(Parallel.preset("search-r1"), llm=llm, index=index)
    assert index.searches == [["Which came first, Arthur's Magazine or First for Women"]]


def test_the_form_can_be_changed() -> None:
    index = StubIndex()
    llm, calls = says("<search> a, b ## c </search>", "<answer> x </answer>")
    run(Parallel(profile="search-r1", separator="##", max_queries=2, stop=False, temperature=0), llm=llm, index=index)
    assert index.searches == [["a, b", "c"]]
    assert calls[0].stop == ()
    llm, calls = says("<search> a </search>", "<answer> x </answer>")
    run(Parallel(profile="rag-r1", seed_question=True), llm=llm, index=(index := StubIndex()))
    assert index.searches[0] == [QUESTION]


@pytest.mark.parametrize(
    ("make", "problem", "remedy"),
    [
        (
            lambda: Chain(profile="rag-r1"),
            "chain: profile='rag-r1' has no prompts for it",
            "Use generic, corag or auto.",
        ),
        (lambda: Parallel(profile="corag"), "parallel: profile='corag' has no prompts for it", "rag-r1-sq"),
        (lambda: Once(profile="search-r1"), "once: profile='search-r1'", "corag"),
        (lambda: Chain(profile="xml"), "chain: profile='xml' does not fit", "'corag'"),
        (lambda: Chain(pairs="some"), "chain: pairs='some' does not fit", "'auto' or 'all' or 'none'"),
        (lambda: Chain(early="yes"), "chain: early='yes' does not fit", "bool"),
        (lambda: Chain.preset("rag-r1-paper"), "chain: preset='rag-r1-paper' is unknown", "Use corag-paper."),
        (lambda: Vote.preset("x"), "vote: preset='x' is unknown", "vote has none."),
        (lambda: modes.get("chain(preset='x')"), "chain: preset='x' is unknown", "corag-paper"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(make: Callable[[], Mode], problem: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert problem in str(caught.value)
    assert remedy in str(caught.value)


def test_presets_can_be_written() -> None:
    assert modes.get("chain(preset=corag-paper)") == Chain.preset("corag-paper")
    assert modes.get("parallel(preset='search-r1', rounds=2)") == Parallel.preset("search-r1", rounds=2)


def test_a_template_file_reaches_the_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[plan]\nuser = 'PLAN {question} {past}'\n[answer]\nuser = 'CLOSE {question}'\n", "utf-8")
    llm = scripted(lambda messages, call: "Jaws" if "PLAN" in messages[0]["content"] else NO_INFORMATION)
    run(Chain(prompts=str(path), steps=1), llm=llm)
    assert llm.calls[0].messages == ({"role": "user", "content": f"PLAN {QUESTION} nothing so far"},)
    assert llm.calls[0].schema is None
    assert llm.calls[-1].messages[0]["content"] == f"CLOSE {QUESTION}"


def test_a_template_file_that_cannot_be_read_is_an_error_before_anything_is_paid(tmp_path: Path) -> None:
    llm = scripted()
    with pytest.raises(InvalidInput, match=r"none\.toml: the prompt file cannot be read"):
        run(Chain(prompts=str(tmp_path / "none.toml")), llm=llm)
    assert not llm.calls


@pytest.mark.parametrize("mode", [Chain(steps=1), Parallel(rounds=1)], ids=lambda mode: mode.name)
def test_planners_are_told_what_they_look_up(mode: Mode) -> None:
    for about, said in ((None, "documents of a collection"), ("pages of a manual", "pages of a manual")):
        llm = scripted(never_repeating)
        run(mode, llm=llm, about=about)
        assert llm.calls[0].messages[0]["content"].startswith(f"You look up {said} to answer")


def test_planners_are_told_what_the_index_describes_unless_the_call_says_otherwise() -> None:
    class Described(StubIndex):
        description = "pages of a cookbook"

    llm = scripted(never_repeating)
    agent = Agent(Described(), llm, Chain(steps=1))
    for about, said in (
        (None, "pages of a cookbook"),
        ("pages of a manual", "pages of a manual"),
        ("", "documents of"),
    ):
        first = len(llm.calls)
        agent.ask(QUESTION, about=about)
        assert llm.calls[first].messages[0]["content"].startswith(f"You look up {said}")
