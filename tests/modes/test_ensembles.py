"""Ensembles against their papers: what they count, what their prompts hold, when they stop; three levels deep, too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance import check
from doubles import QUESTION, move_of, never_repeating, run, scripted

from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.errors import ModelError
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.modes import BestOfN, Chain, MultiChain, Once, Parallel, Vote
from ragscale.modes.core.costs import Costs
from ragscale.prompts import NO_INFORMATION
from ragscale.prompts.aggregation import META, read_reasoned


def shown(call: ScriptedCall) -> str:
    """The user's message."""
    return str(call.messages[-1]["content"])


def of_instruction(llm: ScriptedLLM, told: Any) -> list[ScriptedCall]:
    """Calls that ask it."""
    start = told.system.partition("{")[0]
    return [call for call in llm.calls if call.messages[0]["content"].startswith(start)]


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
        assert len(members) % 5 == 0

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
        def script(messages: Any, call: ScriptedCall) -> Any:
            if call.temperature == 0.0 and move_of(call) == "plan":
                raise ModelError("broken", "None.")
            return never_repeating(messages, call)

        llm = scripted(script)
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


DEEP = [
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
