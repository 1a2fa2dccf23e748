"""The deployed graphs on LangGraph's own server: schemas, questions, limits, MCP.

`make langgraph` installs the server beside `.venv`, as it wants other versions than Ray, and runs this; a minute. By
hand: ``LANGGRAPH=.../bin/langgraph pytest -m slow tests/graphs/test_server.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_endpoint import FakeEndpoint, Vllm
from smallworld import QUESTIONS, build

import ragscale as rs

ROOT = Path(__file__).parents[2]
BUILT_IN = list(rs.modes.built_in())
LANGGRAPH = os.environ.get("LANGGRAPH") or shutil.which("langgraph")
ASKED = QUESTIONS[0]["question"]
SAID = "x"  # which the fake endpoint puts wherever a schema wants text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LANGGRAPH is None, reason="no langgraph command: make langgraph"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(Vllm(window=16_000)) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def server(endpoint: FakeEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of ``langgraph dev`` in a copy of what it reads here, as it keeps its state beside that."""
    base = tmp_path_factory.mktemp("langgraph")
    shutil.copy(ROOT / "langgraph.json", base)
    shutil.copytree(ROOT / "graphs", base / "graphs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--host", "127.0.0.1", "--port", str(port), "--no-browser", "--no-reload"]
    variables = {
        "RAGSCALE_INDEX": str(build(base)), "RAGSCALE_LLM": f"openai:{endpoint.url}#org/model",
        "PYTHONPATH": str(ROOT), "LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    }  # fmt: skip
    with (base / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [str(LANGGRAPH), "dev", *words], cwd=base, stdout=log, stderr=log, env={**os.environ, **variables}
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + 120
            while not _is_up(client):
                alive = process.poll() is None and time.monotonic() < deadline
                assert alive, (base / "server.log").read_text()[-3000:]
                time.sleep(0.2)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/ok").status_code == 200
    except httpx.TransportError:
        return False


def ask(server: httpx.Client, mode: str, *, thread: str = "", **more: Any) -> dict[str, Any]:
    """Final state of a run."""
    body = {"assistant_id": mode, "input": {"question": ASKED}, **more}
    answer = server.post(f"{thread}/runs/wait", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.fixture(scope="module")
def assistants(server: httpx.Client) -> dict[str, str]:
    found = server.post("/assistants/search", json={"limit": 100}).json()
    return {one["graph_id"]: one["assistant_id"] for one in found}


@pytest.mark.parametrize("mode", BUILT_IN)
def test_schemas(server: httpx.Client, assistants: dict[str, str], mode: str) -> None:
    told = server.get(f"/assistants/{assistants[mode]}/schemas").json()
    assert list(told["input_schema"]["properties"]) == ["question"]
    assert set(told["output_schema"]["properties"]) >= {"answer", "citations", "stop_reason", "spend", "trace"}
    assert set(told["context_schema"]["properties"]) == {limit.name for limit in fields(rs.Budget)}
    assert told["state_schema"] is not None
    assert told["config_schema"] is not None


@pytest.mark.parametrize("mode", BUILT_IN)
def test_a_question_within_its_limits(server: httpx.Client, endpoint: FakeEndpoint, mode: str) -> None:
    ask(server, mode, context={"llm_calls": 3})  # the first one finds out what the model can do
    before = len(endpoint.requests)
    told = ask(server, mode, context={"llm_calls": 3, "tokens": 6000})
    assert (told["answer"], told["mode"]) == (SAID, mode)
    calls = [path for path, _ in endpoint.requests[before:] if path.endswith("completions")]
    assert len(calls) == told["spend"]["total"]["llm_calls"] <= 3


@pytest.mark.parametrize(
    ("context", "problem"),
    [
        ({"tokenz": 5}, "unknown limit 'tokenz' of a budget. Did you mean 'tokens'?"),
        ({"tokens": 5000, "max_queries": 1}, "unknown limit 'max_queries' of a budget. Did you mean 'queries'?"),
        ({"k": 3}, "unknown limit 'k' of a budget. There are: rounds, queries, tokens"),
        ({"tokens": "5"}, "budget tokens='5' is not a number >= 0"),
        ({"seconds": -1}, "budget seconds=-1 is not a number >= 0"),
        ({"rounds": True}, "budget rounds=True is not a number >= 0"),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["context", "configurable"])
def test_what_limits_nothing_is_refused(
    server: httpx.Client, endpoint: FakeEndpoint, place: str, context: dict[str, Any], problem: str
) -> None:
    before = len(endpoint.requests)
    given = {"context": context} if place == "context" else {"config": {"configurable": context}}
    told = ask(server, "tree", **given)
    assert told["__error__"]["error"] == "InvalidInput"
    assert problem in told["__error__"]["message"]
    assert len(endpoint.requests) == before


def test_two_questions_on_a_thread(server: httpx.Client) -> None:
    thread = f"/threads/{server.post('/threads', json={}).json()['thread_id']}"
    alone = ask(server, "chain", context={"llm_calls": 5})
    told = [ask(server, "chain", thread=thread, context={"llm_calls": 5}) for _ in range(2)]
    assert [len(one["trace"]) for one in told] == [len(alone["trace"])] * 2
    state = server.get(f"{thread}/state").json()["values"]
    assert (state["answer"], len(state["trace"])) == (SAID, len(alone["trace"]))


def test_the_steps_are_streamed(server: httpx.Client) -> None:
    body = {"assistant_id": "parallel", "input": {"question": ASKED}, "stream_mode": ["custom"]}
    with server.stream("POST", "/runs/stream", json=body) as answer:
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]
    assert next(event["move"] for event in events if "move" in event) == "retrieve"


def test_each_mode_is_a_tool_of_the_servers_mcp(server: httpx.Client) -> None:
    def call(method: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = server.post("/mcp", json=body, headers={"accept": "application/json, text/event-stream"})
        return answer.json()["result"]

    tools = {one["name"]: one for one in call("tools/list")["tools"]}
    assert sorted(tools) == sorted(BUILT_IN)
    for one in tools.values():
        assert (one["inputSchema"]["required"], one["inputSchema"]["type"]) == (["question"], "object")
    told = call("tools/call", name="once", arguments={"question": ASKED})
    assert not told.get("isError")
    assert f"'answer': '{SAID}'" in told["content"][0]["text"]


def test_the_names_of_the_limits_are_the_budgets() -> None:
    assert set(rs.Budget.__dataclass_fields__) == {limit.name for limit in fields(rs.Budget)}
