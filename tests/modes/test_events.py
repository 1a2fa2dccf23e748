"""Events that can be drawn: ids, parents, hits, plans, prompts, reservations and statuses of every mode."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from conformance import check_tree, story
from doubles import QUESTION, StubIndex, instead, move_of, never_repeating, of, run, scripted, section_of, virtually
from test_conformance import SMALL, VARIANTS, marks

from ragscale.agent import Agent
from ragscale.answer import Answer, AnswerSpend
from ragscale.budget import Budget
from ragscale.errors import InvalidInput, ModelError
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import BestOfN, Bidirectional, Chain, Mcts, Mode, Once, Parallel, Tot, Tree, Vote
from ragscale.modes.core.moves import _traced
from ragscale.modes.core.state import outermost, place
from ragscale.types import Choice, Event, Hit, Passage, Spend, Status, TracedHit

EVERY = pytest.mark.parametrize("mode", [pytest.param(m, id=name, marks=marks(name)) for name, m in VARIANTS.items()])
GOING_ON = pytest.mark.parametrize("mode", [Chain(steps=2), Parallel(rounds=2), SMALL], ids=lambda mode: mode.name)


class TestEveryMode:
    @EVERY
    @pytest.mark.parametrize("tokens", [None, 6_000])
    def test_makes_a_tree_on_a_clock(self, mode: Mode, tokens: int | None) -> None:
        source = random.Random(str(mode))
        slow = scripted(delay=lambda call: source.uniform(0.1, 2.0))
        answer, _ = run(mode, llm=slow, index=StubIndex(delay=0.3), budget=Budget(tokens=tokens))
        check_tree(answer.trace)
        ends = [event.start + event.spend.seconds for event in answer.trace]
        assert max(ends) == pytest.approx(answer.spend.serial.seconds)

    @EVERY
    def test_tells_hits_prompts_plans_and_reservations(self, mode: Mode) -> None:
        answer, _ = run(mode)
        for event in answer.trace:
            called = bool(event.spend.llm_calls)
            assert (bool(event.prompt), event.reserved > 0) == (called, called)
            assert event.reserved >= event.spend.tokens
            if event.move == "retrieve":
                assert len(event.hits) == len(event.input)
                assert list(dict.fromkeys(hit.id for hits in event.hits for hit in hits)) == event.passages
                assert all(hit.title == f"Title {hit.id}" for hits in event.hits for hit in hits)
                assert [hit.score for hit in event.hits[0][:3]] == [1.0, 0.5, 0.333333][: len(event.hits[0])]
        asked = [text for event in of(answer, "plan") for text in event.plan]
        searched = [text for event in of(answer, "retrieve") for text in event.input if text != QUESTION]
        assert set(searched) <= set(asked)

    @EVERY
    @pytest.mark.parametrize("tokens", [None, 5_000])
    def test_ids_do_not_depend_on_who_is_first(self, mode: Mode, tokens: int | None) -> None:
        stories = []
        for seed in range(3):
            source = random.Random(seed)
            llm = scripted(delay=(lambda call, source=source: source.random()) if seed else 0.0)
            answer, _ = run(mode, llm=llm, budget=Budget(tokens=tokens))
            stories.append(story(answer))
        assert stories[0] == stories[1] == stories[2]

    @EVERY
    def test_streams_each_event_as_it_is_traced(self, mode: Mode) -> None:
        async def work() -> list[Event | Answer]:
            return [item async for item in Agent(StubIndex(), scripted(), mode).astream(QUESTION)]

        *streamed, answer = virtually(work)
        assert isinstance(answer, Answer)
        assert {event.id: event for event in streamed} == {event.id: event for event in answer.trace}  # type: ignore[union-attr]


TRACE = [{"branch": branch, "id": f"{branch}:{n}"} for branch, n in [("", 0), ("0.1", 0), ("0.1", 1), ("", 1)]]


class TestPlaces:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("1", (":1", 0)),  # the trunk
            ("0.1.0", ("0.1:1", 0)),  # the branch around it
            ("0.1.0.7", ("0.1:1", 0)),  # the nearest one that has events
            ("0.10", (":1", 0)),  # a name that only begins alike
            ("0.1", (":1", 2)),  # a name that was there before: numbered on
        ],
    )
    def test_a_branch_follows_the_nearest_around_it(self, name: str, expected: tuple[str, int]) -> None:
        assert place(outermost(), TRACE, name) == expected

    def test_an_inner_run_without_events_lends_its_own_place(self) -> None:
        assert place({**outermost(), "branch": "2", "after": ":3"}, [], "2.0") == (":3", 0)

    def test_rollouts_of_a_tree_follow_their_child(self) -> None:
        answer, _ = run(Vote(of=SMALL, n=2))
        first = {event.branch: event for event in reversed(answer.trace)}
        rollouts = [name for name in first if name.count(".") == 3]
        assert len(rollouts) == 2 * (2 * 2 + 2)  # two members; two levels of two children, the last with one each
        for name in rollouts:
            assert first[name].parent.rpartition(":")[0] == name.rpartition(".")[0]

    def test_members_follow_the_look_at_the_question(self) -> None:
        answer, _ = run(Vote(of=Vote(of=Chain(steps=1), n=2), n=2))
        first = {event.branch: event for event in reversed(answer.trace)}
        assert {first[name].parent for name in ("0.0", "0.1", "1.0", "1.1")} == {":0"}


class TestStatus:
    @GOING_ON
    def test_enough(self, mode: Mode) -> None:
        script = instead(plan=json.dumps({"known": "all of it", "missing": "", "query": ""}), turn=enough())
        answer, _ = run(mode, llm=scripted(script))
        called = [event for event in of(answer, "plan") if event.spend.llm_calls]
        assert {(event.status, tuple(event.plan)) for event in called} == {("enough", ())}

    @GOING_ON
    @pytest.mark.parametrize("text", ["", "???", '["cut off', "[1, 2]"])
    def test_malformed(self, mode: Mode, text: str) -> None:
        answer, _ = run(mode, llm=scripted(instead(plan=text, turn=text)))
        called = [event for event in of(answer, "plan") if event.spend.llm_calls]
        assert {event.status for event in called} == {"malformed"}

    def test_one_good_sample_of_many_is_enough(self) -> None:
        samples = ["???", json.dumps(["a new query"]), "[", "", "[1]", "{}"]
        script = instead(plan=lambda call: samples[call.n - 1])
        llm = scripted(lambda messages, call: samples[: call.n] if move_of(call) == "plan" else script(messages, call))
        answer, _ = run(Tree(steps=1), llm=llm)
        first = of(answer, "plan")[0]
        assert (first.status, first.plan) == ("", ["a new query"])

    @GOING_ON
    def test_repeat(self, mode: Mode) -> None:
        turn = json.dumps({"think": "hm", "queries": ["the same"]})
        answer, _ = run(mode, llm=scripted(instead(plan=json.dumps(["the same"]), turn=turn)))
        repeats = [event for event in of(answer, "plan") if event.status == "repeat"]
        assert repeats
        assert all(not event.spend.llm_calls for event in repeats)

    def test_candidates_are_no_malformed_plan(self) -> None:
        for reply, status in (('{"answers": ["Spielberg", "Scott"]}', ""), ("none of them", "malformed")):
            script = instead(section_of, candidates=reply)
            answer, _ = run(Bidirectional(of=Chain(steps=1)), llm=scripted(script))
            [first, *_] = of(answer, "plan")
            assert (first.branch, first.status) == ("", status)

    def test_of_a_conversation_in_tags(self) -> None:
        mode = Parallel(profile="rag-r1", rounds=1, max_queries=2)
        answer, _ = run(mode, llm=scripted(instead(turn="<think>a</think><search>one, two</search>")))
        first = of(answer, "plan")[0]
        assert (first.plan, first.status) == (["one", "two"], "")

    @pytest.mark.parametrize("find", [lambda q: [], lambda q: [] if q == QUESTION else ["p1"]], ids=["never", "once"])
    def test_empty(self, find: Any) -> None:
        answer, _ = run(Chain(steps=1), index=StubIndex(find))
        for event in of(answer, "retrieve", "read"):
            nothing = not any(event.hits) if event.move == "retrieve" else not event.passages
            assert event.status == ("empty" if nothing else "")

    def test_failed(self) -> None:
        def script(messages: Any, call: ScriptedCall) -> Any:
            if move_of(call) == "read":
                raise ModelError("broken", "None.")
            return never_repeating(messages, call)

        answer, _ = run(SMALL, llm=scripted(script))
        assert {event.status for event in of(answer, "read")} == {"failed"}

    def test_cut(self) -> None:
        def script(messages: Any, call: ScriptedCall) -> Any:
            return [" ".join(["word"] * 1000)] if move_of(call) == "read" else never_repeating(messages, call)

        answer, _ = run(Chain(steps=1), llm=scripted(script))
        assert [event.status for event in of(answer, "read")] == ["cut"]

    def test_fallback(self) -> None:
        answer, _ = run(SMALL, llm=scripted(score=None))
        assert {event.status for event in of(answer, "score")} == {"fallback"}

    @pytest.mark.parametrize("mode", [Vote(of=Chain(steps=2), n=9), Mcts(of=Chain(steps=2), width=8)], ids=str)
    def test_narrowed(self, mode: Mode) -> None:
        answer, _ = run(mode, budget=Budget(llm_calls=12))
        assert "narrowed" in {event.status for event in of(answer, "select")}


class TestChoices:
    def test_of_a_tree_are_its_children(self) -> None:
        answer, _ = run(replace(SMALL, steps=1))
        [select] = of(answer, "select")
        scores = {
            name: [e.score for e in of(answer, "score") if e.branch.startswith(f"{name}.")] for name in ("0.0", "0.1")
        }
        means = {name: sum(found) / len(found) for name, found in scores.items()}
        best = min(means, key=lambda name: means[name])
        kept: dict[str, Status] = {name: "kept" if name == best else "pruned" for name in means}
        assert select.choices == [Choice(name, pytest.approx(means[name]), kept[name]) for name in ("0.0", "0.1")]
        assert (select.status, select.score) == ("kept", pytest.approx(means[best]))

    def test_of_an_inner_tree_have_full_names(self) -> None:
        answer, _ = run(Vote(of=SMALL, n=2))
        branches = {event.branch for event in answer.trace}
        for select in of(answer, "select"):
            assert {choice.branch for choice in select.choices} <= branches
            assert all(choice.branch.startswith(select.branch) for choice in select.choices)

    def test_of_a_vote_are_counted(self) -> None:
        """Two of four members agree, one has an answer of its own, one abstains."""
        said = iter(["Yes", "no", "yes.", ""])
        script = instead(answer=lambda call: json.dumps({"documents": [1], "answer": next(said)}))
        answer, _ = run(Vote(of=Once(), n=4), llm=scripted(script))
        [select] = of(answer, "select")
        assert select.choices == [
            Choice("0", 2, "kept"), Choice("1", 1, "pruned"), Choice("2", 2, "kept"), Choice("3", 0, "pruned"),
        ]  # fmt: skip
        assert (select.output, select.score, select.status) == ("Yes", 2.0, "kept")

    @pytest.mark.parametrize("scorer", ["penalty", "judge"])
    def test_of_best_of_n_have_the_scores_of_the_members(self, scorer: Any) -> None:
        ratings = instead(plan=lambda call: '{"rating": 7}' if "rating" in str(call.schema) else None)
        answer, _ = run(BestOfN(of=Chain(steps=1), n=3, scorer=scorer), llm=scripted(ratings))
        [select] = of(answer, "select")
        assert [choice.branch for choice in select.choices] == ["0", "1", "2"]
        assert sum(choice.status == "kept" for choice in select.choices) == 1
        kept = next(choice for choice in select.choices if choice.status == "kept")
        scores = [choice.score for choice in select.choices if choice.score is not None]
        assert kept.score == select.score == max(scores)
        assert len(of(answer, "score")) == 3
        assert all(event.score is not None for event in of(answer, "score"))

    def test_of_several_samples_a_score_is_their_sum(self) -> None:
        """By which the states of a Tree of Thoughts are compared; one that cannot be read is worth nothing."""
        values = ['{"value": "sure"}', "hm", '{"value": "likely"}']
        answer, _ = run(Tot(steps=1, expand=2, samples=2), llm=scripted(instead(section_of, value=lambda _: values)))
        assert [event.score for event in of(answer, "score")] == [21.0, 21.0]
        assert {choice.score for choice in of(answer, "select")[0].choices} == {21.0}

    def test_of_a_tree_search_name_the_nodes_that_rollouts_go_on_from(self) -> None:
        answer, _ = run(Mcts(of=Chain(steps=2), rollouts=5, width=2, expand=3))
        asked = {event.branch: event.plan[0] for event in reversed(of(answer, "plan"))}
        *onward, _ = of(answer, "select")
        assert [event.output for event in onward] == [[QUESTION, asked["0"]], [asked["1"]]]
        assert {event.branch: event.parent for event in reversed(answer.trace)}["4"] == onward[-1].id


def test_the_prompt_is_the_hash_of_the_messages() -> None:
    llm = scripted()
    answer, _ = run(Chain(steps=2), llm=llm)
    sent = [hashlib.sha256(json.dumps(call.messages).encode()).hexdigest()[:12] for call in llm.calls]
    assert [event.prompt for event in answer.trace if event.prompt] == sent


def test_all_attempts_are_reserved() -> None:
    fails = iter([True, True, False])

    def script(messages: Any, call: ScriptedCall) -> Any:
        if move_of(call) == "answer" and next(fails):
            raise ModelError("busy", "None.", retryable=True)
        return never_repeating(messages, call)

    one, _ = run(Once())
    three, _ = run(Once(), llm=scripted(script))
    assert of(three, "answer")[0].reserved == 3 * of(one, "answer")[0].reserved


@pytest.mark.parametrize(
    ("title", "score", "expected"),
    [
        ("a" * 500, 0.123456789, TracedHit("p", "a" * 80, 0.123457)),
        ("two\nlines \ud800", float("nan"), TracedHit("p", "two lines ?", None)),
        ("", float("inf"), TracedHit("p", "", None)),
        ("t", None, TracedHit("p", "t", None)),
        ("t", 10**400, TracedHit("p", "t", None)),
    ],
    ids=range(5),
)
def test_a_hit_is_traced_in_bounds(title: str, score: Any, expected: TracedHit) -> None:
    assert _traced([Hit(Passage("p", title, "text"), score)]) == [expected]


class TestSize:
    @pytest.mark.parametrize("mode", [Tree(), Mcts(of=Chain(steps=3)), Vote(of=SMALL)], ids=lambda mode: mode.name)
    def test_without_texts_an_event_has_a_bounded_size(self, mode: Mode) -> None:
        """The bound holds for questions, passages, titles and replies of any length."""
        long = instead(read=" ".join(["longword"] * 120))
        answer, _ = run(mode, llm=scripted(long), index=StubIndex(words=500), question="Who? " * 200)
        full, moves, none = (answer.to_dict(trace=form) for form in ("full", "moves", "none"))  # type: ignore[arg-type]
        assert [event["id"] for event in moves["trace"]] == [event["id"] for event in full["trace"]]
        assert none["trace"] == []
        for event in moves["trace"]:
            assert len(json.dumps(event)) < 600 + 60 * len(event["choices"])
        assert len(json.dumps(moves["trace"])) < len(json.dumps(full["trace"])) / 2
        assert len(json.dumps(none)) < 6_000
        texts = ("trace", "passages", "prompts")
        assert {key: value for key, value in full.items() if key not in texts} == {
            key: value for key, value in none.items() if key not in texts
        }
        assert moves["passages"] == none["passages"] == {}
        assert moves["prompts"] == none["prompts"] == {"lines": [], "messages": {}}

    @pytest.mark.parametrize("form", ["", "all", None, 3])
    def test_another_form_is_refused(self, form: Any) -> None:
        with pytest.raises(InvalidInput, match=r"trace=.* is unknown"):
            Answer("", [], "", "failed", AnswerSpend(Spend(), Spend()), []).to_dict(trace=form)


def enough() -> str:
    """A turn of a conversation that asks for nothing."""
    return json.dumps({"think": "hm", "queries": []})
