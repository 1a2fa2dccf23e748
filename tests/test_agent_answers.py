"""Answers of `Agent`, as JSON too, and its errors where an endpoint is dead or mad."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from dataclasses import fields
from typing import Any

import pytest
from doubles import StubIndex, run, scripted
from fake_endpoint import FakeEndpoint, Faltering, Reply, completion
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.checkpoint.memory import InMemorySaver

import ragscale as rs
from ragscale.answer import Answer
from ragscale.errors import BudgetExceeded, EndpointError, ModelError
from ragscale.modes import Chain, Mode, Once, Tree
from ragscale.types import Event, Spend


def agent(**options: Any) -> rs.Agent:
    return rs.Agent(options.pop("index", StubIndex()), options.pop("llm", scripted()), **options)


def asked(endpoint: Faltering, mode: Mode | None = None) -> tuple[Answer, rs.Ledger]:
    """The answer of an agent over HTTP, and the ledger that it was charged to."""
    parent = rs.Ledger()
    with FakeEndpoint(endpoint) as server:
        mine = agent(llm=f"openai:{server.url}", mode=mode or Once())
        return asyncio.run(mine.aask("Who?", parent=parent)), parent


class TestEndpoints:
    def test_a_dead_one_raises_before_anything_is_spent(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        index = StubIndex()
        parent = rs.Ledger()
        mine = agent(index=index, llm=f"openai:http://127.0.0.1:{port}/v1#m", mode="once")
        with pytest.raises(EndpointError, match=rf"127.0.0.1:{port}.*connection refused"):
            asyncio.run(mine.aask("Who?", parent=parent))
        assert (parent.spent, parent.held, index.searches) == (Spend(), Spend(), [])

    @pytest.mark.parametrize("body", [b"<html>hello</html>", b"\xff\xfe", b"{}", b"[1]", b"", b'{"data": 3}'])
    def test_garbage_is_a_clear_error(self, body: bytes) -> None:
        with FakeEndpoint(lambda path, sent: Reply(body)) as server:
            mine = agent(llm=f"openai:{server.url}", mode="once")
            with pytest.raises(ModelError, match=r"127\.0\.0\.1:\d+") as refused:
                mine.ask("Who?")
        assert refused.value.remedy

    def test_garbage_answers_end_in_an_explicit_empty_answer(self) -> None:
        """The endpoint does well while it is tried out, and then writes nonsense."""
        garbled = Faltering(forever=Reply(b"nonsense"))
        answer, parent = asked(garbled)
        assert (answer.text, answer.citations, answer.stop_reason) == ("", [], "failed")
        assert re.search(r"127\.0\.0\.1:\d+/v1 answered with a body that is not JSON", answer.reason)
        assert [event.move for event in answer.trace] == ["retrieve", "answer"]
        assert answer.spend.total.llm_calls == parent.spent.llm_calls == len(garbled.asked) == 4

    def test_failures_on_the_way_are_waited_out_charged_and_told(self) -> None:
        """HTTP 502, a stream that breaks, HTTP 429, and then an answer: four attempts, the most that there are."""
        busy, late = Reply({"error": {"message": "overloaded"}}, 502), Reply({}, 429, {"retry-after": "0"})
        shaky = Faltering(busy, Reply(completion("half"), cut=True), late, None)
        answer, parent = asked(shaky)
        assert (answer.text, answer.stop_reason, answer.reason) == ("x", "answered", "")
        assert len(answer.citations) == 1
        last = answer.trace[-1]
        failed, broke, throttled = last.note.split("; ")
        assert failed.endswith("failed (HTTP 502): overloaded")
        assert broke.endswith("broke before the answer was complete")
        assert throttled.endswith("(HTTP 429)")
        # All attempts ask the same. Each is charged its prompt, but for the one that was turned away at the door; the
        # two of which nobody knows what the server wrote are charged the most that it may have.
        assert [body["messages"] for body in shaky.asked] == [shaky.asked[0]["messages"]] * 4
        prompt, most = len(shaky.prompt(shaky.asked[0])), shaky.asked[0]["max_tokens"]
        assert (last.spend.llm_calls, last.spend.prompt_tokens) == (4, 3 * prompt)
        assert last.spend.completion_tokens == 2 * most + 4
        assert answer.spend.total == parent.spent
        assert parent.held == Spend()

    def test_failures_in_the_middle_of_a_chain_are_told_where_they_happened(self) -> None:
        replies = [Reply({}, 500), None, Reply(b"[" * 200_000), None, Reply(b""), None]
        shaky = Faltering(*replies)
        answer, parent = asked(shaky, mode=Chain(steps=1))
        assert (answer.text, answer.stop_reason) == ("x", "answered")
        notes = [(event.move, event.spend.llm_calls, event.note.partition("/v1 ")[2]) for event in answer.trace]
        assert notes == [
            ("retrieve", 0, ""),
            ("plan", 2, "failed (HTTP 500)"),
            ("retrieve", 0, ""),
            ("read", 2, "answered with JSON that is nested too deeply"),
            ("answer", 2, "answered with a body that is not JSON"),
        ]
        assert answer.spend.total.llm_calls == parent.spent.llm_calls == len(shaky.asked) == 6


class TestLangChainModels:
    @pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
    def test_answer_in_a_chain_and_are_charged_what_they_report(self) -> None:
        """Next sub-query, sub-answer, next, sub-answer, closing answer: a chat model that knows no schema."""
        said = [
            ('{"known": "", "missing": "the discoverer", "queries": ["discoverer of rhodium"]}', 600, 20),
            ("William Hyde Wollaston", 450, 5),
            ('Sure!\n{"known": "It was Wollaston", "missing": "", "queries": ["inventions of Wollaston"]}', 630, 24),
            ("the camera lucida", 460, 4),
            ('{"answer": "camera lucida", "documents": [1]}', 700, 12),
        ]
        messages = [
            AIMessage(text, usage_metadata=UsageMetadata(input_tokens=i, output_tokens=o, total_tokens=i + o))
            for text, i, o in said
        ]
        index, parent = StubIndex(), rs.Ledger()
        mine = agent(index=index, llm=GenericFakeChatModel(messages=iter(messages)), mode=Chain(steps=2, question_k=0))
        answer = asyncio.run(mine.aask("Which drawing aid did the discoverer of rhodium invent?", parent=parent))
        assert (answer.text, answer.stop_reason) == ("camera lucida", "answered")
        assert index.searches == [["discoverer of rhodium"], ["inventions of Wollaston"]]
        told = [(event.move, event.output) for event in answer.trace if event.spend.llm_calls]
        assert told == list(zip(["plan", "read", "plan", "read", "answer"], [text for text, *_ in said], strict=True))
        charged = [(event.spend.prompt_tokens, event.spend.completion_tokens) for event in answer.trace]
        assert [pair for pair in charged if pair != (0, 0)] == [(i, o) for _, i, o in said]
        assert (answer.spend.total.llm_calls, answer.spend.total.prompt_tokens) == (5, 2840)
        assert (answer.spend.total.completion_tokens, answer.spend.total) == (65, parent.spent)

    @pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
    def test_are_held_to_the_budget(self) -> None:
        """Three calls: a step, and the answer that is kept for the end."""
        said = ['{"queries": ["discoverer of rhodium"]}', "Wollaston", '{"answer": "unknown", "documents": []}']
        llm = GenericFakeChatModel(messages=iter(map(AIMessage, said)))
        answer = agent(llm=llm, mode=Chain(question_k=0), budget=rs.Budget(llm_calls=3)).ask("Who?")
        assert (answer.text, answer.stop_reason) == ("unknown", "budget:llm_calls")
        assert answer.spend.total.llm_calls == 3
        assert answer.spend.total.tokens == answer.spend.total.estimated_tokens > 0
        assert "tokens are an estimate" in answer.caveat


class TestWhatAnAnswerIs:
    @pytest.mark.parametrize("limit", ["tokens", "llm_calls", "seconds"])
    def test_a_budget_too_small_for_any_names_limit_and_remedy(self, limit: str) -> None:
        answer = agent(mode="chain", budget=rs.Budget(**{limit: 0})).ask("Who?")
        assert (answer.text, answer.citations, answer.trace) == ("", [], [])
        assert answer.stop_reason == f"budget:{limit}"
        assert f"Raise {limit} in the budget" in answer.reason
        assert "the limit is 0" in answer.reason
        assert answer.spend.total == answer.spend.serial == Spend()

    @pytest.mark.parametrize("mode", ["once", "chain", "parallel", "tree"])
    def test_as_json_has_the_documented_schema(self, mode: str) -> None:
        answer = agent(mode=mode, budget=rs.Budget(tokens=5_000)).ask("Who?")
        data = json.loads(json.dumps(answer.to_dict()))
        assert {key: type(value) for key, value in data.items()} == {
            "version": str, "question": str, "answer": str, "citations": list, "passages": dict, "prompts": dict,
            "mode": str, "model": str, "index": dict, "seed": int,
            "limits": dict, "started": str, "ended": str, "seconds": float, "stop_reason": str, "reason": str,
            "caveat": str, "spend": dict, "trace": list,
        }  # fmt: skip
        assert (data["question"], data["model"], data["seed"]) == ("Who?", "scripted", 0)
        assert (data["limits"], set(data["index"])) == ({"tokens": 5_000}, {"fingerprint", "source", "how"})
        assert (data["answer"], data["citations"], data["mode"]) == (answer.text, answer.citations, mode)
        assert list(data["spend"]) == ["total", "serial", "lost", "stored"]
        names = [
            "llm_calls", "prompt_tokens", "completion_tokens", "cached_tokens", "queries", "passages", "rounds",
            "seconds", "reasoning_tokens", "estimated_tokens", "usd",
        ]  # fmt: skip
        spends = [data["spend"]["total"], data["spend"]["serial"], *(event["spend"] for event in data["trace"])]
        assert all(list(spend) == names for spend in spends)
        assert all(type(value) in (int, float) for spend in spends for name, value in spend.items() if name != "usd")
        assert [data["spend"][which]["usd"] for which in data["spend"]] == [None, None, 0.0, 0.0]
        keys = [field.name for field in fields(Event)]
        assert keys == [
            "move", "branch", "input", "output", "passages", "spend", "score", "note", "id", "parent", "start",
            "status", "prompt", "reserved", "hits", "plan", "known", "choices",
        ]  # fmt: skip
        assert all(list(event) == keys for event in data["trace"])
        moves = {event["move"] for event in data["trace"]}
        assert moves <= {"plan", "retrieve", "read", "answer", "score", "select"}

    def test_a_resumed_run_began_when_it_first_did_and_ended_once(self) -> None:
        mine = agent(mode="once", checkpoints=InMemorySaver())
        first, again = (mine.ask("Who?", thread_id="t") for _ in range(2))
        assert (again.started, again.model, again.index) == (first.started, first.model, first.index)
        assert first.started <= again.ended <= first.ended
        assert 0 <= again.seconds <= first.seconds

    def test_as_json_is_valid_whatever_the_scores_are(self) -> None:
        tree = Tree(steps=1, expand=2, samples=2, rollouts=1)
        for value in (float("nan"), float("-inf")):
            answer, _ = run(tree, llm=scripted(score=lambda messages, text, value=value: value))
            json.dumps(answer.to_dict(), allow_nan=False)

    def test_a_refused_reservation_says_what_would_have_been_spent(self) -> None:
        answer = agent(mode=Once(), budget=rs.Budget(tokens=40)).ask("Who?")
        assert (answer.text, answer.stop_reason) == ("", "budget:tokens")
        assert str(BudgetExceeded("tokens", 40, 0))[-32:] in answer.reason
