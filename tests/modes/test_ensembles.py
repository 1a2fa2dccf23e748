"""Ensembles against their papers: what they count, what their prompts hold, when they stop; three levels deep, too."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from conformance import check
from doubles import (
    QUESTION,
    StubIndex,
    first_member_fails,
    instead,
    move_of,
    never_repeating,
    of,
    run,
    score,
    scripted,
    section_of,
)

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.errors import ModelError
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM, count
from ragscale.modes import BestOfN, Chain, Mixture, MultiChain, Once, Parallel, Retry, Vote, get
from ragscale.modes.core.costs import Costs
from ragscale.modes.core.voting import majority
from ragscale.prompts import NO_INFORMATION
from ragscale.prompts.aggregation import META, MIXTURE, read_reasoned
from ragscale.types import Usage


def shown(call: ScriptedCall) -> str:
    """The user's message."""
    return str(call.messages[-1]["content"])


def of_instruction(llm: ScriptedLLM, told: Any) -> list[ScriptedCall]:
    """Calls that ask it."""
    return [call for call in llm.calls if section_of(call) == told.section]


def notes(answer: Answer) -> list[str]:
    return [event.note for event in answer.trace if not event.branch and event.note]


def abstaining(times: int) -> Any:
    """A script whose meta calls abstain so many times."""
    left = [times]

    def script(messages: Any, call: ScriptedCall) -> Any:
        if "Chain 1:" in messages[-1]["content"] and left[0]:
            left[0] -= 1
            return json.dumps({"reason": "they do not tell", "answer": NO_INFORMATION})
        return never_repeating(messages, call)

    return script


class TestMultiChain:
    MODE = MultiChain(of=Chain(steps=3, question_k=0))

    def test_counts_of_the_paper(self) -> None:
        """L=3, K=5: C = 2 K L + 1 = 31, R = 15, S = 3; one more of both where the question is looked up."""
        answer, ledger = run(self.MODE)
        check(answer, ledger, Budget())
        total, serial = answer.spend.total, answer.spend.serial
        assert (total.llm_calls, total.queries, serial.rounds, serial.llm_calls) == (31, 15, 3, 7)
        total, serial = (spend := run(MultiChain(of=Chain(steps=3)))[0].spend).total, spend.serial
        assert (total.llm_calls, total.queries, serial.rounds) == (31, 16, 4)

    def test_by_default(self) -> None:
        full = MultiChain().cost(Costs())[1]
        assert (full.llm_calls, full.queries, full.rounds) == (61, 31, 7)

    def test_the_meta_call_reads_all_pairs_in_chain_order_greedily_and_no_passages(self) -> None:
        llm = scripted()
        answer, _ = run(self.MODE, llm=llm)
        [call] = of_instruction(llm, META)
        assert shown(call).count(" -> ") == 5 * 3
        assert "<documents>" not in shown(call)
        assert call.temperature == 0
        assert shown(call).endswith(f"Question: {QUESTION}")
        pairs = [
            f"{event.plan[0]} -> {reading.output}"
            for number in range(5)
            for event, reading in zip(
                [e for e in answer.trace if e.branch == str(number) and e.move == "plan"],
                [e for e in answer.trace if e.branch == str(number) and e.move == "read"],
                strict=True,
            )
        ]
        at = [shown(call).index(pair) for pair in pairs]
        assert (len(at), at) == (15, sorted(at))

    def test_the_first_chain_is_greedy_and_the_others_are_sampled(self) -> None:
        llm = scripted()
        run(self.MODE, llm=llm)
        hot = [call.temperature for call in llm.calls if move_of(call) == "plan"]
        assert (hot.count(0.0), hot.count(0.7)) == (3, 12)

    @pytest.mark.parametrize(("times", "calls"), [(1, 62), (2, 93), (3, 94), (9, 94)])
    def test_an_abstention_runs_all_chains_again_at_most_twice(self, times: int, calls: int) -> None:
        """Then the closing answer is written from all passages found. Chains that run again are others."""
        llm = scripted(abstaining(times))
        answer, ledger = run(self.MODE, llm=llm)
        check(answer, ledger, Budget())
        rounds = min(times, 2) + 1
        assert (answer.spend.total.llm_calls, answer.stop_reason) == (calls, "answered")
        assert answer.spend.serial.rounds == 3 * rounds
        metas = of_instruction(llm, META)
        assert [shown(call).count(" -> ") for call in metas] == [15] * rounds
        assert len({shown(call) for call in metas}) == rounds
        assert ("<documents>" in shown(llm.calls[-1])) == (times > 2)
        assert sum(event.status == "enough" for event in answer.trace) == min(times, 2)

    @pytest.mark.parametrize("limits", [{"llm_calls": 41}, {"tokens": 9_000}, {"rounds": 5}, {"queries": 19}], ids=str)
    def test_only_where_the_budget_pays_for_all_of_them(self, limits: dict[str, int]) -> None:
        budget = Budget(**limits)
        answer, ledger = run(self.MODE, llm=scripted(abstaining(9)), budget=budget)
        check(answer, ledger, budget)
        assert answer.text
        members = {event.branch for event in answer.trace if event.branch}
        said = [event.note for event in answer.trace if event.note.endswith(" of 5 members")]
        first = int(said[0].split()[0]) if said else 5
        assert len(members) == first or len(members) >= 2 * first

    @pytest.mark.parametrize(
        "reply", ["", '{"reason": "cut off bef', '{"reason": "x"}', '{"reason": "x", "answer": ""}']
    )
    def test_a_reply_without_an_answer_abstains(self, reply: str) -> None:
        assert read_reasoned(reply) is None
        script = abstaining(1)

        def replied(messages: Any, call: ScriptedCall) -> Any:
            text = script(messages, call)
            return reply if isinstance(text, str) else text

        assert run(self.MODE, llm=scripted(replied))[0].spend.total.llm_calls == 62

    def test_a_dead_chain_is_left_out(self) -> None:
        llm = scripted(first_member_fails)
        answer, _ = run(self.MODE, llm=llm)
        [call] = of_instruction(llm, META)
        assert (shown(call).count(" -> "), shown(call).count("Chain ")) == (12, 4)
        assert answer.stop_reason == "answered"

    def test_chains_that_do_not_fit_into_the_window_are_left_out_and_this_is_said(self) -> None:
        llm = scripted(context_window=500)
        answer, _ = run(MultiChain(of=Chain(steps=2, question_k=0, k=1), n=24), llm=llm)
        [call] = of_instruction(llm, META)
        assert 0 < shown(call).count("Chain ") < 24
        assert any("of 24 fit into the context window" in note for note in notes(answer))

    def test_what_it_reads(self) -> None:
        """Pairs alone as published, notes of the planners, or passages as well."""

        def noted(messages: Any, call: ScriptedCall) -> Any:
            if move_of(call) == "plan":
                [query] = json.loads(never_repeating(messages, call)[0])
                return json.dumps({"known": f"noted {query}", "missing": "", "queries": [query]})
            return never_repeating(messages, call)

        found = {}
        for reads in ("pairs", "notes", "passages"):
            llm = scripted(noted)
            run(MultiChain(of=Chain(steps=2), n=2, reads=reads), llm=llm)  # type: ignore[arg-type]
            [call] = of_instruction(llm, META)
            found[reads] = shown(call).count("Note: noted"), "<documents>" in shown(call)
        assert found == {"pairs": (0, False), "notes": (4, False), "passages": (4, True)}

    def test_chains_without_steps_are_read_by_their_notes_or_answers(self) -> None:
        llm = scripted()
        answer, _ = run(MultiChain(of=Vote(of=Once(), n=2), n=2), llm=llm)
        [call] = of_instruction(llm, META)
        assert shown(call).count("Answer: answer w") == 2
        assert answer.spend.total.llm_calls == 5
        llm = scripted()
        run(MultiChain(of=Once(), n=2), llm=llm)
        assert not of_instruction(llm, META)  # there is nothing but passages: the closing answer reads them

    def test_inside_another_its_chains_are_answered_from_outside(self) -> None:
        """Best of two, each of two chains of two steps: no meta call, as the closing answer is one for all."""
        mode = BestOfN(of=MultiChain(of=Chain(steps=2, question_k=0), n=2), n=2)
        answer, ledger = run(mode)
        check(answer, ledger, Budget())
        assert answer.spend.total.llm_calls == 2 * (2 * 4 + 1) + 1
        full = mode.cost(Costs())[1]
        assert (full.llm_calls, full.queries, full.rounds) == (19, 8, 2)


class TestMixture:
    def test_counts_of_the_paper(self) -> None:
        """n=3, layers=3 over a proposer of one call: C = n (layers - 1) + 1 = 7, one look, three calls in a row."""
        answer, ledger = run(Mixture(of=Once()))
        check(answer, ledger, Budget())
        total, serial = answer.spend.total, answer.spend.serial
        assert (total.llm_calls, total.queries, serial.llm_calls, serial.rounds) == (7, 1, 3, 1)
        full = Mixture(of=Once()).cost(Costs())[1]
        assert (full.llm_calls, full.queries, full.serial_calls, full.rounds) == (7, 1, 3, 1)

    def test_later_layers_see_the_numbered_answers_of_the_one_before_and_the_aggregator_those_of_the_last(self) -> None:
        llm = scripted()
        answer, _ = run(Mixture(of=Once()), llm=llm)
        said = [json.loads(event.output)["answer"] for event in answer.trace if event.move == "answer"]
        lists = ["\n".join(f"{n}. {text}" for n, text in enumerate(said[at : at + 3], 1)) for at in (0, 3)]
        first, second, last = llm.calls[:3], llm.calls[3:6], llm.calls[6]
        assert not any("proposed" in shown(call) for call in first)
        assert all(f"Question: {QUESTION}\n" in shown(call) and lists[0] in shown(call) for call in second)
        assert of_instruction(llm, MIXTURE) == [last]
        assert lists[1] in shown(last)
        assert lists[0] not in shown(last)
        assert [call.temperature for call in llm.calls] == [0.0, *[0.7] * 5, 0.0]

    def test_planners_of_later_proposers_see_them_at_any_depth(self) -> None:
        llm = scripted()
        run(Mixture(of=Vote(of=Chain(steps=1), n=2), n=2), llm=llm)
        plans = [call for call in llm.calls if move_of(call) == "plan"]
        assert ["others proposed" in shown(call) for call in plans] == [False] * 4 + [True] * 4

    def test_proposers_that_try_again_see_them_beside_what_their_own_tries_hand_on(self) -> None:
        llm = scripted()
        run(Mixture(of=Retry(of=Once(), tries=2, carry="exclude"), n=2), llm=llm)
        tries = [
            shown(call) for call in llm.calls if move_of(call) == "answer" and "Proposed answers" not in shown(call)
        ]
        both = [("others proposed" in prompt, "earlier attempts gave" in prompt) for prompt in tries]
        assert both == [(False, False)] * 2 + [(False, True)] * 2 + [(True, False)] * 2 + [(True, True)] * 2
        assert all(prompt.index("others proposed") < prompt.index("earlier attempts gave") for prompt in tries[-2:])

    def test_the_aggregator_reads_what_all_proposers_found(self) -> None:
        answer, _ = run(Mixture(of=Chain(steps=1, k=1, question_k=0), n=3, layers=2))
        found = {id for event in answer.trace if event.move == "retrieve" for id in event.passages}
        assert (set(answer.trace[-1].passages), len(found)) == (found, 3)

    def test_a_failed_proposer_is_noted_and_has_no_number(self) -> None:
        def script(messages: Any, call: ScriptedCall) -> Any:
            if call.temperature == 0.0 and "Proposed answers" not in messages[-1]["content"]:
                raise ModelError("broken", "None.")  # the first one alone is greedy
            return never_repeating(messages, call)

        llm = scripted(script)
        answer, ledger = run(Mixture(of=Once()), llm=llm)
        check(answer, ledger, Budget())
        assert [note for note in notes(answer) if "proposer 0 has no answer: broken" in note]
        assert [note for note in notes(answer) if "has no answer" in note] == [notes(answer)[0]]
        assert answer.stop_reason == "answered"
        second = [call for call in llm.calls if "others proposed" in shown(call)]
        assert {("2. " in shown(call), "3. " in shown(call)) for call in second} == {(True, False)}

    def test_the_proposers_plurality_stands_in_for_an_aggregator_that_fails(self) -> None:
        def script(messages: Any, call: ScriptedCall) -> Any:
            if "Proposed answers" in messages[-1]["content"]:
                raise ModelError("broken", "None.")
            return json.dumps({"answer": "Rome" if call.temperature == 0 else "Oslo", "documents": [1]})

        answer, _ = run(Mixture(of=Once(), layers=2), llm=scripted(script))
        assert (answer.text, answer.stop_reason) == ("Oslo", "failed")

    @pytest.mark.parametrize(("calls", "layers"), [(2, [1]), (4, [3]), (6, [3, 2]), (7, [3, 3]), (20, [3, 3])])
    def test_a_budget_pays_for_a_wide_layer_before_another_one(self, calls: int, layers: list[int]) -> None:
        llm = scripted()
        answer, _ = run(Mixture(of=Once()), llm=llm, budget=Budget(llm_calls=calls))
        seen = ["others proposed" in shown(call) for call in llm.calls[:-1]]
        assert [seen.count(False), seen.count(True)][: len(layers)] == layers
        assert answer.text


class TestVote:
    @staticmethod
    def saying(*texts: str) -> ScriptedLLM:
        """A model whose closing answers are these, in order; rated 8 for Rome, 2 for any other."""
        left = iter(texts)

        def script(messages: Any, call: ScriptedCall) -> Any:
            if "Rate how well" in messages[0]["content"]:
                return json.dumps({"rating": 8 if "Proposed answer: Rome" in messages[-1]["content"] else 2})
            return json.dumps({"answer": next(left), "documents": [1]})

        return scripted(script)

    def test_weighed_by_scores_a_minority_may_win(self) -> None:
        """Rome has 0.8, Oslo 0.2 three times."""
        texts = ["Oslo", "Rome", "The Oslo.", "oslo"]
        assert run(Vote(of=Once(), n=4), llm=self.saying(*texts))[0].text == "Oslo"
        for mode in (Vote(of=Once(), n=4, weigh="judge"), BestOfN(of=Once(), n=4, scorer="judge", weighted=True)):
            answer, ledger = run(mode, llm=self.saying(*texts))
            check(answer, ledger, Budget())
            assert answer.text == "Rome"
            assert answer.spend.total.llm_calls == 8
            [select] = [event for event in answer.trace if event.move == "select"]
            assert [choice.score for choice in select.choices] == pytest.approx([0.6, 0.8, 0.6, 0.6])

    @pytest.mark.parametrize(
        ("texts", "width", "members", "why"),
        [
            (["a"] * 8, 1, 4, "probability 0.969"),
            (["a"] * 8, 2, 4, "probability 0.969"),
            (["a"] * 8, 8, 8, ""),
            (["a", "b"] * 4, 2, 8, ""),
            (["a", "b", "a", "a", "a", "a", "a", "a"], 1, 6, "no other answer can overtake"),
            (["", "a", "", "a", "a", "a", "a", "a"], 1, 6, "no other answer can overtake"),
        ],
    )
    def test_it_ends_as_soon_as_it_is_decided(self, texts: list[str], width: int, members: int, why: str) -> None:
        mode = Vote(of=Once(), n=8, stop="posterior", width=width)
        answer, ledger = run(mode, llm=self.saying(*texts))
        check(answer, ledger, Budget())
        assert (answer.text, answer.spend.total.llm_calls) == ("a", members)
        assert answer.spend.serial.llm_calls == -(-members // width)
        assert why in " ".join(notes(answer))

    def test_by_certainty_alone(self) -> None:
        mode = Vote(of=Once(), n=7, stop="posterior", width=1, confidence=1.0)
        assert run(mode, llm=self.saying(*["a"] * 7))[0].spend.total.llm_calls == 4

    @pytest.mark.parametrize(("first", "second"), [(1, 0), (4, 0), (3, 2), (7, 7), (40, 12), (256, 0), (200, 56)])
    def test_the_posterior_is_the_beta_rules(self, first: int, second: int) -> None:
        """Of whole numbers: the chance of `second` + 1 or more heads in as many tosses of a fair coin."""
        tosses = first + second + 1
        exact = sum(math.comb(tosses, heads) for heads in range(second + 1, tosses + 1)) / 2**tosses
        assert majority(first, second) == pytest.approx(exact, abs=1e-12)

    def test_weights_may_be_fractions(self) -> None:
        assert majority(3, 1) > majority(2.5, 1) > majority(2, 1)

    def test_the_weighted_form_costs_a_call_more_a_member(self) -> None:
        """L=6, n=4: n (2 L + 2) = 56."""
        mode = BestOfN(of=Chain(question_k=0), weighted=True)
        total = run(mode)[0].spend.total
        full = mode.cost(Costs())[1]
        assert (total.llm_calls, total.queries) == (full.llm_calls, full.queries) == (56, 24)

    def test_penalties_are_weights_from_0_to_1_with_and_without_log_probabilities(self) -> None:
        for options in ({}, {"score": None}):
            answer, _ = run(Vote(of=Chain(steps=1), n=3, weigh="penalty"), llm=scripted(**options))
            [select] = [event for event in answer.trace if event.move == "select"]
            assert all(0 <= (choice.score or 0) <= 1 for choice in select.choices)


@pytest.mark.parametrize(
    "mode",
    [
        "best-of-n(n=1)",
        "best-of-n(n=1, weighted=true, of=once)",
        "vote(n=1, weigh=judge)",
        "retry(tries=1)",
        "mcts(rollouts=1, of=chain(steps=2))",
        "retry(tries=2, of=best-of-n(n=1, scorer=judge))",
    ],
)
def test_a_single_run_is_not_scored_nor_is_a_score_in_its_cost(mode: str) -> None:
    total, full = run(mode)[0].spend.total, get(mode).cost(Costs())[1]
    assert (full.llm_calls, full.queries) == (total.llm_calls, total.queries)


DEEP = [
    (Vote(of=Mixture(of=Chain(steps=1, question_k=0), n=2), n=2), 2 * (2 * 2 * 3 + 1), 8),
    (Mixture(of=Vote(of=BestOfN(of=Chain(steps=1), n=2), n=2), n=2, layers=2), 2 * 2 * (2 * 3 + 1) + 1, 1 + 8),
    (BestOfN(of=Mixture(of=MultiChain(of=Once(), n=2), n=2, layers=2), n=2), 2 * (2 + 1) + 1, 1),
    (Vote(of=Vote(of=Mixture(of=Once(), n=2), n=2), n=3, stop="posterior", width=2), 3 * 2 * 5, 1),
    (Vote(of=MultiChain(of=Chain(steps=1, question_k=0), n=2), n=2), 2 * (2 * 2 + 1), 4),
    (MultiChain(of=BestOfN(of=Parallel(rounds=1, max_queries=2), n=2), n=2), 2 * 2 * (1 + 1) + 1, 1 + 8),
    (BestOfN(of=Vote(of=BestOfN(of=Chain(steps=1, question_k=0), n=2), n=2), n=2), 2 * (2 * (2 * 3 + 1) + 1), 8),
]


@pytest.mark.parametrize(("mode", "calls", "queries"), DEEP, ids=str)
def test_nested_to_three_levels(mode: Any, calls: int, queries: int) -> None:
    """They cost what `Mode.cost` says, and hold every limit."""
    answer, ledger = run(mode)
    check(answer, ledger, Budget())
    assert (answer.spend.total.llm_calls, answer.spend.total.queries) == (calls, queries)
    full = mode.cost(Costs())[1]
    assert (full.llm_calls, full.queries, full.rounds) == (calls, queries, answer.spend.serial.rounds)
    for limits in ({"tokens": 4_000}, {"llm_calls": 5}, {"queries": 3}, {"rounds": 1}, {"serial_calls": 4}):
        budget = Budget(**limits)  # type: ignore[arg-type]
        answer, ledger = run(mode, budget=budget)
        check(answer, ledger, budget)
        assert answer.text


class ByPieces(ScriptedLLM):
    """Its words have 1.6 tokens, as those of real tokenizers."""

    async def count_tokens(self, messages: Any, *, tools: Any = ()) -> int:
        return math.ceil(1.6 * count(messages, tools))


def in_pieces(script: Any) -> ByPieces:
    return ByPieces(
        script, score=score, context_window=100_000,
        usage=lambda true, call: Usage(math.ceil(1.6 * true.prompt_tokens), math.ceil(1.3 * true.completion_tokens)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "budget", "words"),
    [
        ("best-of-n(of=vote(of=once))", Budget(tokens=300), 80),
        ("retry(of=auto)", Budget(tokens=300), 80),
        ("vote(of=once)", Budget(tokens=300), 120),
        ("vote", Budget(serial_tokens=1500), 60),
        ("retry", Budget(serial_tokens=1500), 60),
        ("mcts", Budget(serial_tokens=1500), 60),
        ("vote", Budget(serial_tokens=300), 60),
        ("vote(of=mixture(of=once, n=2, layers=2), n=2)", Budget(tokens=300), 60),
    ],
)
def test_what_finds_nothing_ends_in_words_where_once_does(mode: str, budget: Budget, words: int) -> None:
    """No member has an answer, and where nothing is left for a closing one, it is what the first one said."""
    index, unsure = StubIndex(words=words), instead(answer={"documents": [1], "answer": "unknown"})
    alone, _ = run("once", llm=in_pieces(unsure), index=index, budget=budget)
    answer, ledger = run(mode, llm=in_pieces(unsure), index=index, budget=budget)
    check(answer, ledger, budget)
    assert alone.text == answer.text == "unknown"
    said = [event for event in of(answer, "select") if event.note.startswith("no closing answer")]
    assert len(said) <= 2
    assert bool(answer.stop_reason == "answered") == (not answer.reason)


def test_nothing_that_can_be_paid_is_an_explicit_empty_answer() -> None:
    for mode in ("vote", "retry", "mcts", "best-of-n(of=vote(of=once))"):
        answer, ledger = run(mode, llm=in_pieces(never_repeating), budget=Budget(tokens=100))
        check(answer, ledger, Budget(tokens=100))
        assert (answer.text, answer.stop_reason) == ("", "budget:tokens")
        assert "Raise tokens in the budget" in answer.reason


@pytest.mark.parametrize(
    ("mode", "budget", "told"),
    [
        ("vote", Budget(tokens=4000), r"branch 0, whose share is 2,000 of your limit of 4,000\. Raise tokens in the "
         r"budget, or lower n of vote\."),
        ("vote(of=vote(n=2), n=2)", Budget(tokens=8000), r"branch 0\.0, whose share is 2,000 of your limit of 8,000\. "
         r"Raise tokens in the budget, or lower n of vote or n of vote\."),
        ("vote", Budget(serial_tokens=1500), r"branch 0, the limit is 1,500\. Raise serial_tokens in the budget\."),
        ("retry", Budget(tokens=1500), r"branch 0, the limit is 1,500\. Raise tokens in the budget\."),
        ("best-of-n(n=1)", Budget(tokens=3000), r"share is 2,673 of your limit of 3,000\. Raise tokens in the budg"),
        ("tree", Budget(tokens=1500), r"1,686 would be spent with the closing answer, the limit is 1,500\. Raise"),
        ("once", Budget(tokens=3), r"tokens: 17 would be spent, the limit is 3\. Raise tokens in the budget\."),
    ],
)  # fmt: skip
def test_a_budget_that_ran_out_names_the_limit_that_was_given(mode: str, budget: Budget, told: str) -> None:
    """The share, too, where it was that which ran out, with what would make it larger."""
    answer, _ = run(mode, budget=budget)
    assert answer.stop_reason.startswith("budget:")
    assert re.search(told, answer.reason), answer.reason


def test_lowering_what_the_reason_names_takes_each_branch_further() -> None:
    answer, _ = run(Vote(n=4), budget=Budget(tokens=4000))
    assert "or lower n of vote" in answer.reason
    fewer, _ = run(Vote(n=1), budget=Budget(tokens=4000))
    assert len(of(fewer, "read")) > len([event for event in of(answer, "read") if event.branch == "0"])


async def test_a_limit_of_all_questions_is_told_from_that_of_one() -> None:
    agent = Agent(StubIndex(), scripted(), "once")
    answers = await agent.abatch([QUESTION] * 3, budget=Budget(tokens=9_000), total=Budget(tokens=160), concurrency=1)
    assert [answer.stop_reason for answer in answers] == ["answered", *["budget:tokens"] * 2]
    assert "the limit of all questions together is 160. Raise tokens in the total budget." in answers[1].reason


@pytest.mark.parametrize("pairs", ["auto", "all"])
def test_best_of_n_shows_nothing_of_the_losers(pairs: Any) -> None:
    llm = scripted()
    answer, _ = run(BestOfN(of=Chain(steps=3, question_k=0, pairs=pairs), n=3), llm=llm)
    closing = llm.calls[-1].messages[-1]["content"]
    [select] = of(answer, "select")
    [kept] = [choice.branch for choice in select.choices if choice.status == "kept"]
    reads = of(answer, "read")
    assert {event.branch for event in reads} == {"0", "1", "2"}
    shown = {event.branch for event in reads if str(event.output) in closing}
    assert shown == ({kept} if pairs == "all" else set())


@pytest.mark.parametrize("member", [Chain(steps=2, question_k=0), Parallel(rounds=2, question_k=0)], ids=str)
def test_best_of_n_answers_from_the_passages_of_the_kept_one_alone(member: Any) -> None:
    answer, _ = run(BestOfN(of=member, n=2, scorer="judge", context=50))
    [kept] = [choice.branch for choice in of(answer, "select")[0].choices if choice.status == "kept"]
    found = {id for event in of(answer, "retrieve") if event.branch == kept for id in event.passages}
    assert set(of(answer, "answer")[0].passages) == found


@pytest.mark.parametrize(
    ("likely", "kept"), [((-1, -3, -2), 1), ((-3, -1, -2), 0), ((-2, -2, -1), 0), ((-1, -2, -2), 1), ((-1, -1, -1), 0)]
)
@pytest.mark.parametrize("by", ["penalty", "judge"])
def test_best_of_n_answers_from_the_best_chain_and_of_equal_ones_from_the_earliest(
    by: Any, likely: tuple[int, ...], kept: int
) -> None:
    """CoRAG's is the one under which "No relevant information found" is the least likely; a judge's the best rated."""

    def member(call: ScriptedCall) -> int:
        return next(i for i in range(3) if f"query {i}" in shown(call))

    def plan(call: ScriptedCall) -> str:
        planned.append(call)
        return json.dumps([f"query {len(planned) - 1}"])

    def rated(messages: Any, call: ScriptedCall) -> Any:
        if "rating" in str(call.schema):
            return json.dumps({"rating": -likely[member(call)]})
        return instead(plan=plan)(messages, call)

    planned: list[ScriptedCall] = []
    llm = scripted(rated, score=lambda messages, text: next(
        float(value) for i, value in enumerate(likely) if f"query {i}" in messages[-1]["content"]
    ))  # fmt: skip
    answer, ledger = run(BestOfN(of=Chain(steps=1, question_k=0, pairs="all"), n=3, scorer=by), llm=llm)
    check(answer, ledger, Budget())
    [select] = of(answer, "select")
    assert [choice.status for choice in select.choices] == ["kept" if i == kept else "pruned" for i in range(3)]
    assert [i for i in range(3) if f"query {i} -> " in shown(llm.calls[-1])] == [kept]


def test_best_of_n_without_log_probabilities_falls_back_and_says_so() -> None:
    answer, _ = run(BestOfN(of=Chain(steps=1), n=2, scorer="penalty"), llm=scripted(score=None))
    assert [event.branch for event in answer.trace if event.status == "fallback"] == ["0", "1"]
