"""Tools of endpoints over HTTP: found out by their effect, counted, read whatever is sent, and charged as any call."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from campaign import Shelf
from doubles import StubIndex
from endpoints import ENDPOINTS
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm, completion, plain, tool_calls
from fake_kinds import Fake, Fakes, Kind, tagged

import ragscale as rs
from ragscale.llm import LLM, Generation
from ragscale.llm.openai import OpenAILLM
from ragscale.modes import React
from ragscale.prompts import react
from ragscale.types import Message, ToolCall

pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")

ASK: list[Message] = [{"role": "user", "content": "Who directed Jaws?"}]
TOOLS = react.tools(3)
TALK: list[Message] = [
    *ASK,
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {"id": f"call{i:05d}", "type": "function", "function": {"name": "open", "arguments": '{"passage": 1}'}}
            for i in (1, 2)
        ],
    },
    {"role": "tool", "tool_call_id": "call00001", "content": "Jaws is a film."},
    {"role": "tool", "tool_call_id": "call00002", "content": "Jaws is a film."},
]
WIRE = [tool.to_dict() for tool in TOOLS]


def model_of(fake: Fake) -> OpenAILLM:
    return OpenAILLM(fake.url, model=fake.kind.model)


async def answered(message: Body, **options: Any) -> tuple[Generation, Body]:
    """Generation of a call with tools, and the request that was sent."""
    with FakeEndpoint(Vllm(calls=lambda body: message)) as server:
        model = OpenAILLM(server.url)
        done = await model.generate(ASK, max_tokens=100, tools=TOOLS, **options)
        return done, server.sent("/chat/completions")[-1]


# -- finding out


@pytest.mark.parametrize(
    ("mode", "offers"),
    [
        ("once", 0),
        ("chain(steps=1)", 0),
        ("react(tools='json', turns=1)", 0),
        ("react(turns=1)", 2),
        ("vote(of=react(turns=1), n=2)", 2),
    ],
)
def test_only_a_mode_that_calls_tools_has_them_tried_out(mode: str, offers: int) -> None:
    """Once a model, and not before: with a slow model that takes as long as all the rest."""
    fake = Vllm(calls=lambda body: tool_calls(("search", '{"queries": ["a"]}')))
    with FakeEndpoint(fake) as server, rs.Agent(StubIndex(), OpenAILLM(server.url), mode) as agent:
        agent.ask("Who directed Jaws?")
        before = agent.probe_spend
        agent.ask("Who directed Alien?")
        assert agent.probe_spend == before
        assert before.llm_calls == 4 + offers


async def test_a_server_that_calls_tools_is_believed_and_its_prompts_are_counted_with_them() -> None:
    fake = Vllm(calls=lambda body: tool_calls(("search", '{"queries": ["a"]}')))
    with FakeEndpoint(fake) as server:
        model = OpenAILLM(server.url)
        assert (await model.capabilities(tools=True)).tools
        assert model.probe_spend.llm_calls == 6
        done = await model.generate(TALK, max_tokens=100, tools=TOOLS)
        assert done.calls == [[ToolCall("search", '{"queries": ["a"]}')]]
        assert done.texts == [""]
        assert done.usage.prompt_tokens == await model.count_tokens(TALK, tools=TOOLS)
        assert done.usage.prompt_tokens == len(fake.prompt({"messages": TALK, "tools": WIRE}))
        without = [await model.count_tokens(TALK), await model.count_tokens(ASK, tools=TOOLS)]
        assert max(without) < done.usage.prompt_tokens
        sent = server.sent("/chat/completions")[-1]
        assert (sent["messages"], sent["tools"]) == (TALK, WIRE)


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Keep is a word."},
        {"content": None, "tool_calls": []},
        {"content": None, "tool_calls": [{"function": {"name": "other", "arguments": '{"k": 7}'}}]},
        {"content": '{"name": "keep", "arguments": {"k": 7}}'},
    ],
)
async def test_what_has_no_effect_is_not_believed(message: Body) -> None:
    fake = Vllm()

    def deaf(path: str, body: Body) -> Reply:
        if "tools" not in body or path == "/tokenize":
            return fake(path, body)
        reply = completion("", prompt=len(fake.prompt(body)))
        reply["choices"][0]["message"] = message
        return Reply(reply)

    with FakeEndpoint(deaf) as server:
        model = OpenAILLM(server.url)
        assert not (await model.capabilities(tools=True)).tools
        await model.generate(ASK, max_tokens=9, tools=TOOLS)
        assert "tools" not in server.sent("/chat/completions")[-1]


async def test_a_tokenizer_that_leaves_tools_out_is_no_base_for_them() -> None:
    """Their tokens could not be reserved."""
    fake = Vllm(calls=lambda body: tool_calls(("search", "{}")))

    def forgetful(path: str, body: Body) -> Reply:
        return fake(path, {k: v for k, v in body.items() if k != "tools"} if path == "/tokenize" else body)

    with FakeEndpoint(forgetful) as server:
        can = await OpenAILLM(server.url).capabilities(tools=True)
        assert (can.tools, can.tokenizer) == (False, True)


@pytest.mark.parametrize(("tools", "believed"), [("calls", True), ("once", False), ("", False)])
@pytest.mark.parametrize("route", ["", "vllm", "llama"])
async def test_one_that_refuses_its_own_calls_is_asked_for_json(
    fakes: Fakes, tools: str, route: str, believed: bool
) -> None:
    fake = fakes.add(Kind(tools=tools, route=route, window_in="max_model_len"))
    model = model_of(fake)
    assert (await model.capabilities(tools=True)).tools == believed
    if route == "llama" and not tools:  # its template says so
        assert not any("tools" in body for _, path, body in fake.requests if path.endswith("/completions"))


async def test_an_estimate_counts_tools_too(fakes: Fakes) -> None:
    """Never fewer tokens than the server counts, beyond the margin that each reservation has."""
    for name in ("openai gpt-4o", "ollama", "gemini"):
        fake = fakes.add(ENDPOINTS[name])
        model = model_of(fake)
        assert (await model.capabilities(tools=True)).tools
        counted = await model.count_tokens(TALK, tools=TOOLS)
        done = await model.generate(TALK, max_tokens=50, tools=TOOLS)
        assert done.usage.prompt_tokens <= counted * 1.03 + 8
        assert counted < 2 * done.usage.prompt_tokens
        assert await model.count_tokens(TALK) < counted


# -- reading


@pytest.mark.parametrize(
    ("message", "texts", "calls"),
    [
        (tool_calls(("search", '{"queries": ["a"]}'), ("open", "{}"), text="I look."), ["I look."],
         [ToolCall("search", '{"queries": ["a"]}'), ToolCall("open", "{}")]),
        (tool_calls(("search", {"queries": ["a"]})), [""], [ToolCall("search", '{"queries": ["a"]}')]),
        (tool_calls(("search", None), (None, "{cut"), text=""), [""], [ToolCall("search", ""), ToolCall("", "{cut")]),
        ({"content": "x", "tool_calls": [None, 7, {}, {"function": None}]}, ["x"], [ToolCall("", "")] * 2),
        ({"content": "x", "tool_calls": {"function": {"name": "a"}}}, ["x"], []),
        ({"content": [{"type": "text", "text": "x"}], "tool_calls": None}, ["x"], []),
        ({"content": None, "tool_calls": [{"id": 1, "function": {"name": "a", "arguments": "{}"}}] * 2}, [""],
         [ToolCall("a", "{}")] * 2),
    ],
)  # fmt: skip
async def test_calls_as_servers_send_them(message: Body, texts: list[str], calls: list[ToolCall]) -> None:
    done, _ = await answered(message)
    assert (done.texts, [call for called in done.calls for call in called]) == (texts, calls)
    assert done.finish_reasons == ["stop"]


async def test_arguments_are_read_as_far_as_was_asked_for() -> None:
    done, _ = await answered(tool_calls(*[("search", "to be " * 500)] * 500))
    [calls] = done.calls
    assert len(calls) == 100
    assert sum(len(call.arguments) for call in calls) <= 64 * 100
    assert done.usage.completion_tokens > 30  # more than it said that it wrote


async def test_the_arguments_of_a_call_that_nobody_offered_are_the_text() -> None:
    reply = completion("", prompt=9)
    reply["choices"][0]["message"] = tool_calls(("answer", '{"answer": "x"}'))
    with FakeEndpoint(lambda path, body: Reply(reply) if path.endswith("completions") else plain(path, body)) as server:
        done = await OpenAILLM(server.url).generate(ASK, max_tokens=9)
        assert (done.texts, done.calls) == (['{"answer": "x"}'], [])


# -- a run


ODD: dict[str, Callable[[Body], Body]] = {
    "no JSON": lambda body: tool_calls(("search", "{cut")),
    "unknown": lambda body: tool_calls(("browse", '{"url": "x"}')),
    "the same id": lambda body: {"content": None, "tool_calls": [tool_calls(("search", '{"query": "a"}'))["tool_calls"][0]] * 2},  # noqa: E501
    "no id": lambda body: {"content": "hm", "tool_calls": [{"function": {"name": "search", "arguments": '{"query": "a"}'}}]},  # noqa: E501
    "hundreds": lambda body: tool_calls(*[("search", json.dumps({"queries": [f"q{i}"]})) for i in range(300)]),
    "nothing": lambda body: {"content": None, "tool_calls": [{}]},
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_calls_cost_their_turn_and_no_more(name: str) -> None:
    """The run goes on to an answer; what each call is charged is what the server counts."""
    with FakeEndpoint(Vllm(window=32_000, calls=ODD[name])) as server:
        answer = rs.Agent(StubIndex(), f"openai:{server.url}", React(turns=2)).ask("Who?")
        bodies = [body for body in server.sent("/chat/completions") if "Who?" in json.dumps(body)]
        assert (answer.stop_reason, len(bodies), answer.spend.total.llm_calls) == ("answered", 3, 3)
        fake = Vllm()
        assert answer.spend.total.prompt_tokens == sum(len(fake.prompt(body)) for body in bodies)
        asked = [message for message in bodies[1]["messages"] if "tool_calls" in message]
        results = [message["tool_call_id"] for message in bodies[1]["messages"] if message["role"] == "tool"]
        assert results == [call["id"] for message in asked for call in message["tool_calls"]]
        assert len(set(results)) == len(results) > 0
        assert "tools" not in bodies[-1]


@pytest.mark.parametrize("tokens", [800, 1_500, 3_000])
@pytest.mark.parametrize("name", ["openai gpt-4o", "llama.cpp qwen3", "deepseek thinking", "vllm"])
def test_limits_hold_by_the_servers_count(fakes: Fakes, name: str, tokens: int) -> None:
    fake = fakes.add(ENDPOINTS[name])
    agent = rs.Agent(Shelf(mixed=False), fake.spec, "react")  # type: ignore[arg-type]
    answer = agent.ask(tagged("Which lamp is older", 1), budget=rs.Budget(tokens=tokens))
    truth = fake.truth["zq000001"]
    assert truth.tokens <= answer.spend.total.tokens <= tokens
    assert truth.calls == answer.spend.total.llm_calls


def test_a_vllm_with_a_parser_is_given_tools(fakes: Fakes) -> None:
    fake = fakes.add(replace(ENDPOINTS["vllm"], refuses=(), tools="calls"))
    agent = rs.Agent(Shelf(mixed=False), fake.spec, "react")  # type: ignore[arg-type]
    answer = agent.ask(tagged("Which lamp is older", 1))
    assert answer.stop_reason == "answered"
    assert answer.spend.total.tokens == fake.truth["zq000001"].tokens
    assert any("tools" in body for _, _, body in fake.requests if tagged("Which lamp is older", 1) in json.dumps(body))


async def test_a_real_model_falls_back(real: LLM) -> None:
    """The template of SmolLM2 knows no tools, and leaves them out without a word; OpenVINO GenAI is given none."""
    assert not (await real.capabilities(tools=True)).tools
    agent = rs.Agent(StubIndex(), real, React(turns=2, turn_tokens=60))
    answer = await agent.aask("Who directed Jaws?", budget=rs.Budget(tokens=3_000))
    assert [event.status for event in answer.trace].count("fallback") == 1
    assert answer.spend.total.queries > 0
    assert answer.spend.total.tokens <= 3_000
    done = await real.generate(TALK, max_tokens=1)
    assert done.usage.prompt_tokens == await real.count_tokens(TALK)
