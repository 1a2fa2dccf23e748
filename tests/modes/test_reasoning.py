"""Sequential modes from other papers than CoRAG's: what they cost, and what their algorithms turn on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from doubles import QUESTION, Script, StubIndex, counts, move_of, never_repeating, run, score, scripted

from ragscale.budget import Budget
from ragscale.errors import InvalidInput, ModelError
from ragscale.modes import BestOfN, Chain, Direct, IRCoT, IterRetGen, Revise, SelfAsk, Vote
from ragscale.modes.spec import parse
from ragscale.types import Passage


def saying(*replies: str, kinds: tuple[str, ...] = ("read",)) -> Script:
    """A model whose plain-text turns are these, the last one for ever; the rest never repeats itself."""
    left = [*replies]

    def reply(messages: Any, call: Any) -> Any:
        if move_of(call) not in kinds:
            return never_repeating(messages, call)
        return left.pop(0) if len(left) > 1 else left[0]

    return reply


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


class TestIterRetGen:
    @pytest.mark.parametrize("rounds", [1, 2, 3, 7])
    def test_counts(self, rounds: int) -> None:
        answer, _ = run(IterRetGen(rounds=rounds))
        assert counts(answer) == (rounds, rounds, rounds)
        assert answer.spend.serial == answer.spend.total

    def test_the_whole_output_is_searched_for_and_passages_are_replaced(self) -> None:
        llm, index = scripted(), StubIndex()
        answer, _ = run(IterRetGen(), llm=llm, index=index)
        drafts = [event.output for event in answer.trace if event.move == "plan"]
        assert [batch for [batch] in index.searches] == [QUESTION, *(f"{QUESTION} {said}" for said in drafts)]
        found = [event.passages for event in answer.trace if event.move == "retrieve"]
        assert [re.findall(r"Title (p\d+)", call.messages[-1]["content"]) for call in llm.calls] == found
        assert {*answer.citations} <= {*found[-1]}

    def test_a_draft_that_comes_again_would_find_the_same(self) -> None:
        answer, _ = run(IterRetGen(rounds=7), llm=scripted(saying("It was Spielberg.")))
        assert counts(answer) == (3, 2, 2)
        assert [event.status for event in answer.trace if event.status] == ["repeat"]

    def test_a_round_that_finds_nothing_keeps_the_last_passages(self) -> None:
        index = StubIndex(lambda query: ["p1", "p2"] if query == QUESTION else [])
        answer, _ = run(IterRetGen(rounds=2), index=index)
        assert (counts(answer), answer.citations) == ((2, 2, 2), ["p1"])

    def test_members_share_the_first_round(self) -> None:
        answer, _ = run(Vote(of=IterRetGen(), n=3))
        assert counts(answer) == (9, 7, 3)


class TestIRCoT:
    def test_counts(self) -> None:
        """Three sentences, of which the third says the answer: C = 4, R = 3."""
        index = StubIndex()
        said = ("Jaws was directed by Spielberg.", "Ridley Scott is who directed Alien.", "So the answer is: Scott.")
        llm = scripted(saying(*said))
        answer, _ = run(IRCoT(), index=index, llm=llm)
        assert counts(answer) == (4, 3, 3)
        assert {call.temperature for call in llm.calls} == {0.0}
        assert [query for [query] in index.searches] == [QUESTION, said[0], "Ridley Scott directed Alien."]
        assert answer.spend.serial == answer.spend.total

    @pytest.mark.parametrize("steps", [1, 2, 10])
    def test_at_most_so_many_sentences(self, steps: int) -> None:
        answer, _ = run(IRCoT(steps=steps))
        assert counts(answer) == (steps + 1, steps, steps)

    def test_an_inferential_sentence_is_not_searched_for(self) -> None:
        """The last that infers nothing is the query; where that was sent, the next sentence follows at once."""
        index = StubIndex()
        said = ("Thus it is he.", "Spielberg was born in 1946.", "1946 - 1937 = 9", "Scott was born in 1937.", "")
        answer, _ = run(IRCoT(), index=index, llm=scripted(saying(*said)))
        assert [query for [query] in index.searches] == [QUESTION, said[1], said[3]]
        assert counts(answer) == (6, 3, 3)
        assert [event.input for event in answer.trace if event.status == "repeat"] == [QUESTION, said[1]]

    def test_the_sixteenth_passage_is_dropped(self) -> None:
        llm = scripted()
        run(IRCoT(k=6), llm=llm)
        shown = [re.findall(r"Title (p\d+)", call.messages[-1]["content"]) for call in llm.calls]
        assert [len(ids) for ids in shown] == [6, 12, *[15] * 9]
        assert all(ids == shown[-1][: len(ids)] for ids in shown)

    def test_near_copies_and_long_passages_are_left_out(self) -> None:
        words = " ".join(f"w{i}" for i in range(30))
        texts = {"p1": words, "p2": words.replace("w7 ", "v7 "), "p3": "long " * 601, "p4": words.replace("w", "v")}
        titles = StubIndex(lambda query: [*texts], texts=texts)
        titles.passage = lambda id: Passage(id, "Same title", texts[id])  # type: ignore[method-assign]
        llm = scripted(saying("So the answer is no."))
        answer, _ = run(IRCoT(), llm=llm, index=titles)
        assert [call.messages[-1]["content"].count("Same title") for call in llm.calls] == [2, 2]  # the reader, too
        assert (counts(answer), answer.citations) == ((2, 1, 1), ["p1"])

    def test_passages_that_all_are_long_are_better_than_none(self) -> None:
        llm = scripted(saying("So the answer is no."))
        run(IRCoT(), llm=llm, index=StubIndex(words=700))
        assert llm.calls[0].messages[-1]["content"].count("Title") == 4

    @pytest.mark.parametrize("last", ["", " \n", "...", "Jaws was directed by Spielberg."])
    def test_an_empty_sentence_ends_and_so_does_the_same_one(self, last: str) -> None:
        answer, _ = run(IRCoT(), llm=scripted(saying("Jaws was directed by Spielberg.", last)))
        assert (counts(answer), answer.stop_reason) == ((3, 2, 2), "answered")


FOLLOW_UPS = ("Follow up: Who directed Jaws?", "Follow up: Who directed Alien?", "So the final answer is: Scott.")


def self_asking(*replies: str) -> Script:
    """A model whose turns of self-ask are these."""
    return saying(*replies, kinds=("follow-up",))


class TestSelfAsk:
    @pytest.mark.parametrize("asked", [0, 1, 2])
    def test_counts(self, asked: int) -> None:
        """C = 2 F + 1, the final answer in the conversation."""
        llm = scripted(self_asking(*FOLLOW_UPS[2 - asked :]))
        answer, _ = run(SelfAsk(), llm=llm)
        assert counts(answer) == (2 * asked + 1, asked, asked)
        assert {call.temperature for call in llm.calls} == {0.0}
        assert (answer.text, answer.stop_reason, bool(answer.citations)) == ("Scott.", "answered", asked > 0)
        assert answer.spend.serial == answer.spend.total

    def test_the_conversation_grows(self) -> None:
        llm = scripted(self_asking(*FOLLOW_UPS))
        run(SelfAsk(), llm=llm)
        turns = [call for call in llm.calls if move_of(call) == "follow-up"]
        assert all(call.stop == ("Intermediate answer:",) for call in turns)
        first, second, third = (call.messages[-1]["content"] for call in turns)
        assert first == f"Question: {QUESTION}"
        assert re.fullmatch(
            rf"{re.escape(first)}\nFollow up: Who directed Jaws\?\nIntermediate answer: fact \w+", second
        )
        assert third.startswith(second)

    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_the_cap(self, steps: int) -> None:
        """The closing answer takes the place of the final one, and sees what was asked."""
        llm = scripted()
        answer, _ = run(SelfAsk(steps=steps), llm=llm)
        assert counts(answer) == (2 * steps + 1, steps, steps)
        assert llm.calls[-1].messages[-1]["content"].count(" -> fact ") == steps

    @pytest.mark.parametrize("said", ["He is Scott.", "Follow up: none", "Follow up:", "So the final answer is:", ""])
    def test_a_missing_marker_costs_a_call(self, said: str) -> None:
        answer, _ = run(SelfAsk(), llm=scripted(self_asking(FOLLOW_UPS[0], said)))
        assert (counts(answer), answer.stop_reason) == ((4, 1, 1), "answered")
        assert [event.status for event in answer.trace if event.status] == ["malformed"]

    def test_a_follow_up_that_comes_again_is_not_asked_for_ever(self) -> None:
        """Not even where the search finds nothing."""
        answer, _ = run(SelfAsk(), llm=scripted(self_asking(FOLLOW_UPS[0])), index=StubIndex(lambda query: []))
        assert counts(answer) == (3, 1, 1)
        assert "repeat" in [event.status for event in answer.trace]


def criticising(*critiques: Any) -> Script:
    """A model whose critiques are these."""
    return saying(*map(json.dumps, critiques), kinds=("plan",))


UNSUPPORTED = {"verdict": "unsupported", "missing": "who directed Jaws"}
CLEAN = {"verdict": "supported", "missing": "nothing", "queries": []}


class TestRevise:
    @pytest.mark.parametrize("rounds", [1, 2, 3])
    def test_never_clean(self, rounds: int) -> None:
        """C = 1 + 2 t, R = 1 + queries, S = 1 + revisions."""
        index = StubIndex()
        answer, _ = run(Revise(rounds=rounds), index=index)
        assert counts(answer) == (1 + 2 * rounds, 1 + 2 * rounds, 1 + rounds)
        assert [len(batch) for batch in index.searches] == [1] + [2] * rounds

    @pytest.mark.parametrize("at", [1, 2, 3])
    def test_clean_in_round(self, at: int) -> None:
        """C = 2 i, and the draft is the answer: clean at once is two calls."""
        critiques = [{**UNSUPPORTED, "queries": [f"Jaws {i}"]} for i in range(at - 1)]
        answer, _ = run(Revise(), llm=scripted(criticising(*critiques, CLEAN)))
        drafts = [event for event in answer.trace if event.move == "answer"]
        assert (counts(answer), len(drafts)) == ((2 * at, at, at), at)
        assert answer.text in drafts[-1].output
        assert answer.stop_reason == "answered"

    def test_a_critique_that_repeats_itself_ends(self) -> None:
        answer, _ = run(Revise(), llm=scripted(criticising({**UNSUPPORTED, "queries": ["Jaws director"]})))
        assert counts(answer) == (4, 2, 2)
        assert [event.status for event in answer.trace if event.status] == ["repeat"]

    @pytest.mark.parametrize(
        "said",
        [
            {"verdict": "perhaps", "queries": 7},
            {**UNSUPPORTED, "queries": []},
            {"verdict": "supported", "missing": "nothing", "queries": ["Jaws director"]},  # clean, whatever it asks
        ],
    )
    def test_one_that_wants_nothing_leaves_the_draft(self, said: Any) -> None:
        assert counts(run(Revise(), llm=scripted(criticising(said)))[0]) == (2, 1, 1)

    def test_the_answer_after_it_is_told_what_was_missing_and_sees_what_was_found(self) -> None:
        llm = scripted(criticising({**UNSUPPORTED, "queries": ["Jaws director"]}, CLEAN))
        index = StubIndex(lambda query: ["p7", "p8"] if query == "Jaws director" else ["p1", "p2"])
        run(Revise(), llm=llm, index=index)
        first, _, second, _ = (call.messages[-1]["content"] for call in llm.calls)
        assert "who directed Jaws" not in first
        assert "who directed Jaws" in second
        assert re.findall(r"Title (p\d+)", second) == ["p1", "p2", "p7", "p8"]

    @pytest.mark.parametrize(("calls", "made"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5)])
    def test_no_draft_that_cannot_be_revised(self, calls: int, made: int) -> None:
        """A critique after which nothing can be written is for nothing; the closing answer is the last one."""
        assert counts(run(Revise(), budget=Budget(llm_calls=calls))[0])[0] == made

    def test_where_the_last_answer_fails_there_is_the_draft(self) -> None:
        def reply(messages: Any, call: Any) -> Any:
            return ModelError("gone", "") if call.index == 2 else never_repeating(messages, call)

        answer, _ = run(Revise(rounds=1), llm=scripted(reply))
        assert (answer.stop_reason, bool(answer.text)) == ("failed", True)

    def test_the_best_of_several(self) -> None:
        """A member's last answer is written by the ensemble, from the best one's passages."""
        answer, _ = run(BestOfN(of=Revise(rounds=1), n=2, scorer="judge"))
        assert counts(answer) == (2 * 3 + 1, 1 + 2 * 2, 2)


def preferring(yes: float) -> Callable[[Any, str], float]:
    """Scores by which yes is as much likelier than no."""
    return lambda messages, said: {"yes": yes, "no": 0.0}[said] - 3


class TestChainStop:
    @pytest.mark.parametrize("steps", [1, 2, 6])
    def test_counts(self, steps: int) -> None:
        """A check after each step but the last: C = 3 L by reply, 4 L - 1 by two scores."""
        for stop, calls in (("none", 2 * steps + 1), ("judged", 3 * steps), ("learned", 4 * steps - 1)):
            mode = Chain(steps=steps, question_k=0, stop=stop)  # type: ignore[arg-type]
            assert counts(run(mode)[0]) == (calls, steps, steps)

    @pytest.mark.parametrize(
        ("margin", "bias", "ends"),
        [(1, 0, True), (-1, 0, False), (0, 0, False), (-1, 1.5, True), (-1, 1, False), (1, -2, False)],
    )
    def test_the_learned_stop_and_its_bias(self, margin: float, bias: float, ends: bool) -> None:
        """Stops where lp(yes) - lp(no) > -bias; what it costs is in the ledger."""
        answer, _ = run(Chain(question_k=0, stop="learned", bias=bias), llm=scripted(score=preferring(margin)))
        assert counts(answer) == ((5, 1, 1) if ends else (23, 6, 6))
        scored = [event for event in answer.trace if event.move == "score" and event.spend.llm_calls]
        assert len(scored) == (2 if ends else 10)
        assert all(event.spend.prompt_tokens for event in scored)

    def test_a_higher_bias_never_makes_a_longer_chain(self) -> None:
        def by_word(messages: Any, said: str) -> float:
            return score([*messages, said], said)

        lengths = [
            run(Chain(stop="learned", bias=bias), llm=scripted(score=by_word))[0].spend.total.queries
            for bias in (-100, -2, 0, 2, 100)
        ]
        assert lengths == sorted(lengths, reverse=True)
        assert (lengths[0], lengths[-1]) == (7, 2)

    @pytest.mark.parametrize(("said", "ends"), [("Yes.", True), ("no", False), ("perhaps", False)])
    @pytest.mark.parametrize("stop", ["judged", "learned"])
    def test_by_its_reply(self, stop: Any, said: str, ends: bool) -> None:
        """Also where the endpoint cannot score, which the trace says; a reply that is neither ends nothing."""

        def reply(messages: Any, call: Any) -> Any:
            return said if (call.schema or {}).get("enum") == ["yes", "no"] else never_repeating(messages, call)

        answer, _ = run(Chain(steps=3, question_k=0, stop=stop), llm=scripted(reply, score=None))
        assert counts(answer) == ((4, 1, 1) if ends else (9, 3, 3))
        notes = [event for event in answer.trace if event.status == "fallback"]
        assert len(notes) == (0 if stop == "judged" else 1 if ends else 2)

    def test_no_check_after_which_no_step_can_be_paid(self) -> None:
        """Two steps and the answer take seven calls with a check by two scores."""
        made = [run(Chain(stop="learned"), budget=Budget(llm_calls=n))[0].spend.total.llm_calls for n in range(3, 8)]
        assert made == [3, 3, 3, 3, 7]

    def test_a_bias_without_effect_is_refused(self) -> None:
        with pytest.raises(InvalidInput, match=r"bias=1\.0 has no effect with stop='judged'"):
            Chain(stop="judged", bias=1.0)
        assert parse("chain(stop=learned, bias=-0.5)") == Chain(stop="learned", bias=-0.5)
