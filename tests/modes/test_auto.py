"""`auto`: features, policy files, and runs that stop, go on or fall back."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles import QUESTION, StubIndex, never_repeating, of, scripted
from doubles import run as run_any
from langgraph.checkpoint.memory import InMemorySaver

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.errors import InvalidInput
from ragscale.llm import Capabilities, ModelWarning
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import Auto, Chain, Mode, Once, Vote, get
from ragscale.modes.auto.features import FEATURES, features
from ragscale.modes.auto.policy import Action, CellOf, Fitted, Gain, Policy, RegressionTree
from ragscale.modes.core import Costs, Room
from ragscale.modes.spec import label
from ragscale.types import Event, Hit, Message

POLICY = Path(__file__).with_name("policy.json")


def stump(name: str, at: float, low: float, high: float) -> Gain:
    """A gain of `low` where a feature is `at` or below, else of `high`."""
    tree = RegressionTree(
        feature=[[*FEATURES].index(name), 0, 0], threshold=[at, 0.0, 0.0], left=[1, -1, -1], right=[2, -1, -1],
        value=[0.0, low, high],
    )  # fmt: skip
    return Gain(base=0.0, trees=[tree])


def policy(
    gain: float = 0.3, *, mode: str = "chain(steps=2)", budget: dict[str, float] | None = None, **changes: Any
) -> Policy:
    """A policy that goes on with `mode` for every question, or for none where the gain is below 0."""
    told: dict[str, Any] = {
        "first": CellOf(mode="once", budget={}), "price": 0.1, "fallback": "",
        "actions": [Action(mode=mode, budget=budget or {}, tokens=1000.0, gain=stump("words", -1.0, 0.0, gain))],
        "fixed": CellOf(mode="chain(steps=3)", budget={}), "report": {},
        "fitted": Fitted(questions=200, documents=100, settings={}),
    }  # fmt: skip
    return Policy(**{**told, **changes})


def saved(folder: Path, made: Policy) -> Auto:
    """The mode of a policy in a file."""
    return Auto(policy=str(made.save(folder / "policy.json")))


def steady(messages: Sequence[Message], call: ScriptedCall) -> Any:
    """`never_repeating`, whatever the seed: an inner run has others than the same mode alone."""
    return never_repeating(messages, replace(call, seed=0))


def run(mode: Mode, **options: Any) -> tuple[Answer, Ledger]:
    return run_any(mode, **{"llm": scripted(steady), **options})


class RankingIndex(StubIndex):
    """Its hits have ranks, as those of a hybrid search."""

    async def asearch(self, queries: Any, k: int = 10, how: Any = None) -> list[list[Hit]]:
        found = await super().asearch(queries, k, how)
        return [[Hit(h.passage, h.score, at, at if at < 3 else None) for at, h in enumerate(hits, 1)] for hits in found]


# Features


def test_features_of_a_hand_made_run() -> None:
    hits = [["a", "Jaws (film)", 0.8, 1, 1], ["b", "Steven Spielberg", 0.6, 2, None], ["c", "Sharks", 0.2, None, 1]]
    events = [
        Event("retrieve", "0").to_dict() | {"hits": [hits]},
        Event("answer", "0", score=-0.25).to_dict(),
    ]
    found = features("Who directed Jaws and Alien 3 in the 1970s?", "Steven Spielberg and Alien", ["b"], events)
    assert found == pytest.approx({
        "words": 9, "names": 2, "numbers": 2, "hits": 3, "lead": 0.25, "spread": 0.75, "agreement": 1 / 3,
        "order": 1, "covered": 1 / 2, "answered": 1, "length": 4, "echo": 2 / 4, "cited": 2, "logprob": -0.25,
    })  # fmt: skip
    assert list(found) == list(FEATURES)


def test_features_are_numbers_whatever_the_run_was_like() -> None:
    lost = Event("retrieve", "", status="failed").to_dict()
    odd = Event("retrieve", "").to_dict() | {"hits": [[["a", "", None], ["b", "", 0.0], ["c", "", -1e308]]]}
    for question, answer, events in (("", "", []), ("?", "unknown", [lost]), ("\u2603 x", "\u2603", [odd])):
        found = features(question, answer, ["nowhere"], events)
        assert all(isinstance(value, float) and abs(value) < 100 for value in found.values())
        assert found["answered"] == (answer == "\u2603")


def test_a_stored_trace_of_once_has_the_features_of_the_gate(tmp_path: Path) -> None:
    """`fit` reads the one, a run has the other."""
    alone, _ = run(Once(), index=RankingIndex())
    stored = json.loads(json.dumps(alone.to_dict()))
    fitted = features(stored["question"], stored["answer"], stored["citations"], stored["trace"])
    answer, _ = run(saved(tmp_path, policy()), index=RankingIndex())
    [gate] = [event for event in of(answer, "select") if event.note.startswith("gate")]
    assert gate.input == [f"{name}={value:.6g}" for name, value in fitted.items()]
    assert (fitted["agreement"], fitted["order"]) == (0.4, 1.0)


def test_log_probabilities_are_asked_for_of_the_first_answer_alone(tmp_path: Path) -> None:
    first = CellOf(mode="once(logprobs=True)", budget={})
    answer, _ = run(saved(tmp_path, policy(first=first)), llm=scripted(steady))
    told = {event.branch: event.score for event in of(answer, "answer")}
    assert told["0"] is not None
    assert told["1"] is None
    assert f"logprob={told['0']:.6g}" in of(answer, "select")[0].input
    answer, _ = run(
        saved(tmp_path, policy(first=first)), llm=scripted(steady, capabilities=Capabilities(tokenizer=True))
    )
    assert "logprob=0" in of(answer, "select")[0].input
    answer, _ = run(Vote(of=Once(logprobs=True), n=2), llm=scripted(steady))
    assert [event.score is not None for event in of(answer, "answer")] == [True, True]


# Runs


def test_it_stops_at_the_cost_of_once_where_the_gate_says_so(tmp_path: Path) -> None:
    once, _ = run(Once())
    answer, _ = run(saved(tmp_path, policy(gain=0.05)))  # the tokens cost 0.1
    assert (answer.text, answer.citations) == (once.text, once.citations)
    assert answer.spend.total.tokens == once.spend.total.tokens
    [gate] = of(answer, "select")
    assert (gate.status, gate.output, gate.score) == ("enough", "stop", pytest.approx(-0.05))


def test_it_goes_on_with_what_was_retrieved_and_pays_for_both(tmp_path: Path) -> None:
    index = StubIndex()
    once, _ = run(Once())
    chain, _ = run(Chain(steps=2))
    answer, _ = run(saved(tmp_path, policy()), index=index)
    assert [query for batch in index.searches for query in batch].count(QUESTION) == 1
    assert (answer.text, answer.citations) == (chain.text, chain.citations)
    for spend, one, other in zip(
        (answer.spend.total, answer.spend.serial), (once.spend.total, once.spend.serial),
        (chain.spend.total, chain.spend.serial), strict=True,
    ):  # fmt: skip
        assert spend.tokens == one.tokens + other.tokens
        assert spend.llm_calls == one.llm_calls + other.llm_calls
        assert spend.queries == other.queries
    gate, select = of(answer, "select")
    assert (gate.status, gate.output, gate.score) == ("kept", "chain(steps=2)", pytest.approx(0.2))
    assert [(choice.branch, choice.status) for choice in select.choices] == [("0", "pruned"), ("1", "kept")]


@pytest.mark.parametrize("mode", ["chain(steps=2, question_k=9)", "parallel(rounds=1)", "direct", "vote(of=once, n=2)"])
def test_a_further_mode_answers_as_it_does_alone(tmp_path: Path, mode: str) -> None:
    """One that retrieves more for the question, or nothing, is given no hits."""
    alone, _ = run(get(mode))
    answer, _ = run(saved(tmp_path, policy(mode=mode)))
    assert answer.text == alone.text
    assert answer.stop_reason == "answered"


def test_the_dearer_action_needs_the_larger_gain(tmp_path: Path) -> None:
    actions = [
        Action(mode="chain(steps=2)", budget={}, tokens=3000.0, gain=stump("words", -1.0, 0.0, 0.5)),
        Action(mode="chain(steps=1)", budget={}, tokens=1000.0, gain=stump("words", -1.0, 0.0, 0.4)),
    ]
    for price, chosen in ((0.01, "chain(steps=2)"), (0.1, "chain(steps=1)"), (1.0, "stop")):
        answer, _ = run(saved(tmp_path, policy(actions=actions, price=price)))
        assert of(answer, "select")[0].output == chosen


@pytest.mark.parametrize("fallback", ["", "30 questions are too few"], ids=["goes on", "falls back"])
def test_the_limit_is_that_of_the_run_and_another_one_of_the_fit_is_said(tmp_path: Path, fallback: str) -> None:
    """Also where the fit had a smaller one: more tokens make longer chains, as the reason of a short one says."""
    fitted = {"tokens": 4_000.0}
    made = policy(
        mode="chain", budget=fitted, first=CellOf(mode="once", budget=fitted),
        fixed=CellOf(mode="chain", budget=fitted), fallback=fallback,
    )  # fmt: skip
    auto, reads = saved(tmp_path, made), []
    for tokens in (4_000, 6_000, 20_000):
        answer, _ = run(auto, index=StubIndex(words=100), budget=Budget(tokens=tokens))
        reads.append(len(of(answer, "read")))
        other = f"fitted at tokens=4,000, and this run is at tokens={tokens:,}"
        assert (other in answer.caveat) == (tokens != 4_000)
        assert (other in of(answer, "select")[0].note) == (tokens != 4_000)
        assert (f"falls back to chain: {fallback}" in answer.caveat) == bool(fallback)
        assert (
            (f"of your limit of {tokens:,}" in answer.reason)
            or (f"the limit is {tokens:,}" in answer.reason)
            or (answer.stop_reason == "answered")
        )
    alone, _ = run(Chain(), index=StubIndex(words=100))
    assert reads == sorted(set(reads))  # each budget takes it further
    assert (answer.text, answer.stop_reason, reads[-1]) == (alone.text, "answered", len(of(alone, "read")))


def test_a_fit_and_a_run_without_limits_have_nothing_to_say(tmp_path: Path) -> None:
    answer, _ = run(saved(tmp_path, policy()))
    assert answer.caveat == ""
    answer, _ = run(saved(tmp_path, policy()), budget=Budget(tokens=9_000, rounds=9))
    assert "The policy was fitted without limits, and this run is at rounds=9, tokens=9,000" in answer.caveat
    answer, _ = run(Auto(), budget=Budget(tokens=9_000))
    assert answer.caveat == ""  # nothing was fitted


def test_what_an_inner_policy_says_is_in_the_caveat_of_the_run_around_it(tmp_path: Path) -> None:
    answer, _ = run(Vote(of=saved(tmp_path, policy(fallback="too few")), n=2))
    assert answer.caveat == "The policy falls back to chain(steps=3): too few."


def test_what_the_budget_does_not_pay_is_not_begun(tmp_path: Path) -> None:
    once, _ = run(Once())
    answer, _ = run(saved(tmp_path, policy()), budget=Budget(llm_calls=3))
    assert answer.text == once.text
    gate = of(answer, "select")[-1]
    assert (gate.status, gate.output) == ("narrowed", "stop")
    assert "does not pay chain" in gate.note


def test_a_fallback_runs_the_best_fixed_mode_alone_and_says_so(tmp_path: Path) -> None:
    fixed, _ = run(Chain(steps=3))
    answer, _ = run(saved(tmp_path, policy(fallback="30 questions are too few")))
    assert (answer.text, answer.spend.total.tokens) == (fixed.text, fixed.spend.total.tokens)
    [select] = of(answer, "select")
    assert (select.status, select.output) == ("fallback", "chain(steps=3)")
    assert "30 questions are too few" in select.note


def test_without_a_file_chain_follows_where_once_has_no_answer() -> None:
    answer, _ = run(Auto())
    assert answer.spend.total.llm_calls == 1

    def unsure_at_first(messages: Sequence[Message], call: ScriptedCall) -> Any:
        return json.dumps({"documents": [], "answer": "unknown"}) if call.index == 0 else steady(messages, call)

    answer, _ = run(Auto(), llm=scripted(unsure_at_first))
    assert answer.spend.total.llm_calls == 1 + 13
    assert answer.text.startswith("answer")


def test_another_model_is_warned_of_and_traced(tmp_path: Path) -> None:
    settings = {"llm": "another-model", "index": "", "how": "hybrid", "ragscale": "0"}
    mode = saved(tmp_path, policy(fitted=Fitted(questions=9, documents=9, settings=settings)))
    with pytest.warns(ModelWarning, match=r"another model \(another-model, now scripted"):
        answer, _ = run(mode)
    assert of(answer, "select")[0].status == "fallback"
    assert of(answer, "select")[1].output == "chain(steps=2)"
    same = settings | {"llm": scripted().name}
    mode = saved(tmp_path, policy(fitted=Fitted(questions=9, documents=9, settings=same)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(mode, how="hybrid")
    with pytest.warns(ModelWarning, match=r"another kind of search \(hybrid, now bm25\)"):
        run(mode, how="bm25")


# Modes


def test_a_label_reads_back_and_a_changed_file_makes_another_mode(tmp_path: Path) -> None:
    mode = saved(tmp_path, policy())
    assert get(label(mode)) == mode == pickle.loads(pickle.dumps(mode))
    assert hash(get(label(mode))) == hash(mode)
    other = saved(tmp_path, policy(price=0.2))
    assert label(other) == label(mode)
    assert other != mode
    assert repr(other) != repr(mode)
    assert Auto() != Once()


async def test_a_run_is_not_resumed_by_another_policy(tmp_path: Path) -> None:
    saver = InMemorySaver()
    agent = Agent(StubIndex(), scripted(), checkpoints=saver)
    await agent.aask(QUESTION, mode=saved(tmp_path, policy()), thread_id="a")
    with pytest.raises(InvalidInput, match="is a run of"):
        await agent.aask(QUESTION, mode=saved(tmp_path, policy(price=0.2)), thread_id="a")


def test_its_cost_is_that_of_the_first_and_the_dearest_mode() -> None:
    costs = Costs()
    least, full = Auto(policy=str(POLICY)).cost(costs)
    once, chain = Once().cost(costs), Chain(steps=2).cost(costs)
    assert least.llm_calls == 1
    assert full.tokens == once[1].tokens + chain[1].tokens
    assert full.queries == chain[1].queries
    for tokens, shape in ((1_000, {"runs": 1}), (20_000, {"runs": 2, "steps": 2})):
        forecast = Auto(policy=str(POLICY)).forecast(costs, Room(tokens=tokens))
        assert forecast.shape == shape
        assert forecast.spend.tokens <= tokens


# Files


def test_a_policy_file_reads_back(tmp_path: Path) -> None:
    made = policy()
    assert Policy.read(made.save(tmp_path / "p.json")) == made
    assert not list(tmp_path.glob("*.part"))


def broken(**changes: Any) -> bytes:
    return json.dumps({**json.loads(POLICY.read_bytes()), **changes}).encode()


def grown(**changes: Any) -> bytes:
    data = json.loads(POLICY.read_bytes())
    data["actions"][0] |= changes
    return json.dumps(data).encode()


def treed(**changes: Any) -> bytes:
    data = json.loads(POLICY.read_bytes())
    data["actions"][0]["gain"]["trees"][0] |= changes
    return json.dumps(data).encode()


HOSTILE = {
    "nothing": (b"", "no JSON"),
    "no JSON": (b"{", "no JSON"),
    "not text": (b"\xff\xfe\x00", "no JSON"),
    "a pickle": (pickle.dumps({"format": "ragscale policy"}), "no JSON"),
    "deep": (b"[" * 100_000, "no JSON"),
    "a list": (b"[]", "no policy"),
    "another file": (b'{"format": "x"}', "no policy"),
    "another version": (broken(version=2), "version 2"),
    "other features": (broken(features=["words"]), "features"),
    "features in another order": (broken(features=[*FEATURES][::-1]), "features"),
    "a field too many": (broken(code="import os"), "damaged"),
    "a price of NaN": (broken(price=float("nan")), "price"),
    "a price below 0": (broken(price=-1.0), "price"),
    "a price in words": (broken(price="1"), "price"),
    "no mode": (broken(first={"mode": "", "budget": {}}), "mode"),
    "an unknown limit": (broken(first={"mode": "once", "budget": {"cows": 1.0}}), "cows"),
    "infinite limits": (broken(first={"mode": "once", "budget": {"tokens": float("inf")}}), "tokens"),
    "an unknown mode": (broken(first={"mode": "twice", "budget": {}}), "Unknown mode"),
    "code for a mode": (broken(first={"mode": "__import__('os').system('true')", "budget": {}}), "read"),
    "itself": (broken(first={"mode": "auto(policy='p.json')", "budget": {}}), "auto within auto"),
    "itself within": (broken(first={"mode": "vote(of='auto(policy=1)')", "budget": {}}), "auto within auto"),
    "its name": (broken(first={"mode": "vote(of=auto, n=2)", "budget": {}}), "auto within auto"),
    "a circle": (treed(left=[0, -1, -1]), "leads nowhere"),
    "a child outside": (treed(right=[3, -1, -1]), "leads nowhere"),
    "half a leaf": (treed(right=[2, 2, -1]), "leads nowhere"),
    "an unknown feature": (treed(feature=[99, 0, 0]), "leads nowhere"),
    "a shorter array": (treed(value=[0.0]), "different lengths"),
    "a threshold of NaN": (treed(threshold=[float("nan"), 0.0, 0.0]), "threshold"),
    "an infinite value": (treed(value=[0.0, 0.0, float("inf")]), "value"),
    "a value beyond what sums hold": (treed(value=[0.0, 0.0, 1e308]), "value"),
    "a gain beyond it": (grown(gain={"base": -1e300, "trees": []}), "base"),
    "tokens beyond it": (grown(tokens=1e300), "tokens"),
    "a price beyond it": (broken(price=1e300), "price"),
    "no nodes": (treed(feature=[], threshold=[], left=[], right=[], value=[]), "feature"),
    "a huge tree": (treed(**{name: [0] * 300 for name in ("feature", "left", "right")}), "feature"),
    "a huge file": (POLICY.read_bytes() + b" " * (4 << 20), "bytes"),
}


@pytest.mark.parametrize(("data", "problem"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_that_is_no_sound_policy_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=problem):
        Auto(policy=str(path))


def test_too_many_trees_are_refused(tmp_path: Path) -> None:
    data = json.loads(POLICY.read_bytes())
    data["actions"][0]["gain"]["trees"] *= 1_001
    path = tmp_path / "p.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidInput, match=r"actions\.0\.gain\.trees"):
        Auto(policy=str(path))


@pytest.mark.parametrize("path", ["/nowhere/p.json", "~nosuchuser/p.json", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(path: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"policy={path!r} cannot be read")):
        get(f"auto(policy={path!r})")


def test_a_policy_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    for path in ("/nowhere/p.json", tmp_path / "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(InvalidInput, match="cannot be written"):
            policy().save(path)
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]


def test_ask_takes_it_by_its_text(tmp_path: Path) -> None:
    path = policy().save(tmp_path / "policy.json")
    answer = Agent(StubIndex(), scripted()).ask(QUESTION, mode=f"auto(policy='{path}')")
    assert answer.mode == f"auto(policy={str(path)!r})"
