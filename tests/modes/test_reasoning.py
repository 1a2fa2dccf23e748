"""Sequential modes from other papers than CoRAG's: what they cost, and what their algorithms turn on."""

from __future__ import annotations

from doubles import StubIndex, run, scripted

from ragscale.budget import Budget
from ragscale.modes import BestOfN, Direct, Vote


def counts(answer: object) -> tuple[int, int, int]:
    """C, R and S of a run."""
    spend = answer.spend  # type: ignore[attr-defined]
    return spend.total.llm_calls, spend.total.queries, spend.serial.rounds


class TestDirect:
    def test_one_call_no_search_no_citations(self) -> None:
        index, llm = StubIndex(), scripted()
        answer, _ = run(Direct(), index=index, llm=llm)
        assert counts(answer) == (1, 0, 0)
        assert (index.searches, answer.citations, answer.stop_reason) == ([], [], "answered")
        assert llm.calls[0].temperature == 0.0
        assert "[1]" not in llm.calls[0].messages[-1]["content"]

    def test_not_in_closing_either(self) -> None:
        """Elsewhere a run that has found nothing looks the question up before it closes."""
        index = StubIndex()
        for mode in (Direct(), Vote(of=Direct(), n=3), BestOfN(of=Direct(), n=2, scorer="judge")):
            for limits in (Budget(), Budget(llm_calls=1), Budget(tokens=300), Budget(queries=0)):
                answer, _ = run(mode, index=index, budget=limits)
                assert answer.text
                assert index.searches == []

    def test_members_answer_each_and_the_judged_best_is_kept(self) -> None:
        answer, _ = run(BestOfN(of=Direct(), n=3, scorer="judge"))
        assert counts(answer) == (6, 0, 0)
