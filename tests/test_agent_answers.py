"""What `Agent` answers, as JSON too, and what it says where an endpoint is dead or mad."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from doubles import StubIndex, run, scripted

import ragscale as rs
from ragscale.errors import BudgetExceeded, EndpointError, ModelError
from ragscale.modes import Once, Tree
from ragscale.types import Event, Spend


def agent(**options: Any) -> rs.Agent:
    return rs.Agent(options.pop("index", StubIndex()), options.pop("llm", scripted()), **options)


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
        with _server(body) as url:
            mine = agent(llm=f"openai:{url}/v1", mode="once")
            with pytest.raises(ModelError, match=r"127\.0\.0\.1:\d+") as refused:
                mine.ask("Who?")
        assert refused.value.remedy

    def test_garbage_answers_end_in_an_explicit_empty_answer(self) -> None:
        """The endpoint lists its model properly and then writes nonsense."""

        def reply(path: str) -> bytes:
            return b'{"data": [{"id": "m", "max_model_len": 4096}]}' if path.endswith("models") else b"nonsense"

        with _server(reply) as url:
            mine = agent(llm=f"openai:{url}/v1#m", mode="once", budget=rs.Budget(seconds=20))
            try:
                answer = mine.ask("Who?")
            except ModelError as error:
                assert "127.0.0.1" in str(error)  # noqa: PT017
            else:
                assert answer.text == ""
                assert answer.stop_reason in ("failed", "budget:seconds")
                assert "127.0.0.1" in answer.reason or "seconds" in answer.reason


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
        assert list(data) == ["answer", "citations", "mode", "stop_reason", "reason", "spend", "trace"]
        assert [type(data[key]) for key in data] == [str, list, str, str, str, dict, list]
        assert (data["answer"], data["citations"], data["mode"]) == (answer.text, answer.citations, mode)
        assert list(data["spend"]) == ["total", "serial"]
        names = [
            "llm_calls", "prompt_tokens", "completion_tokens", "cached_tokens", "queries", "passages", "rounds",
            "seconds",
        ]  # fmt: skip
        spends = [data["spend"]["total"], data["spend"]["serial"], *(event["spend"] for event in data["trace"])]
        assert all(list(spend) == names for spend in spends)
        assert all(type(value) in (int, float) for spend in spends for value in spend.values())
        keys = [field.name for field in fields(Event)]
        assert keys == ["move", "branch", "input", "output", "passages", "spend", "score", "note"]
        assert all(list(event) == keys for event in data["trace"])
        moves = {event["move"] for event in data["trace"]}
        assert moves <= {"plan", "retrieve", "read", "answer", "score", "select"}

    def test_as_json_is_valid_whatever_the_scores_are(self) -> None:
        tree = Tree(steps=1, expand=2, samples=2, rollouts=1)
        for value in (float("nan"), float("-inf")):
            answer, _ = run(tree, llm=scripted(score=lambda messages, text, value=value: value))
            json.dumps(answer.to_dict(), allow_nan=False)

    def test_a_refused_reservation_says_what_would_have_been_spent(self) -> None:
        answer = agent(mode=Once(), budget=rs.Budget(tokens=40)).ask("Who?")
        assert (answer.text, answer.stop_reason) == ("", "budget:tokens")
        assert str(BudgetExceeded("tokens", 40, 0))[-32:] in answer.reason


@contextlib.contextmanager
def _server(reply: bytes | Callable[[str], bytes]) -> Iterator[str]:
    """A local HTTP server that answers everything with HTTP 200 and `reply`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            self.rfile.read(length)
            body = reply(self.path) if callable(reply) else reply
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
