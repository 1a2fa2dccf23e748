"""Reports of usage that mislead: the same always, or with thoughts beside the completion; and replies in odd places."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from doubles import StubIndex
from fake_endpoint import Body, FakeEndpoint, Reply, completion
from fake_tokens import count

import ragscale as rs
from ragscale.endpoint.replies import Completion, UsageBlock, read
from ragscale.errors import ModelError
from ragscale.llm import ModelWarning, load
from ragscale.llm.answers import Asked
from ragscale.llm.openai import OpenAILLM
from ragscale.llm.tokens import TokenEstimator, floor
from ragscale.types import Usage

pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")

LONG = [{"role": "user", "content": "Name the colour of the sea at noon, in one word. " * 40}]
THOUGHT = {"reasoning_tokens": 300}
ASK = [{"role": "user", "content": "Name a colour, please."}]


def true(body: Body) -> int:
    return 3 + sum(count("words", message["content"]) + 4 for message in body["messages"])


class Reporting:
    """Writes "blue" and reports what it is told to of the true prompt."""

    def __init__(self, usage: Callable[[int], Any]) -> None:
        self.usage = usage

    def __call__(self, path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "m", "max_model_len": 32_768}]})
        if path != "/v1/chat/completions":
            return Reply({"error": {"message": "Not Found"}}, 404)
        return Reply(completion("blue") | {"usage": self.usage(true(body))})


@pytest.mark.parametrize(
    "usage",
    [
        *(lambda prompt, n=n: {"prompt_tokens": n, "completion_tokens": 1} for n in (28, 60, 100, 200, 5_000)),
        lambda prompt: {"prompt_tokens": (prompt // 300 + 1) * 300, "completion_tokens": 1},
    ],
)
async def test_a_report_that_does_not_grow_is_not_believed(usage: Callable[[int], Any]) -> None:
    with FakeEndpoint(Reporting(usage)) as server:
        model: Any = load(f"openai:{server.url}")
        await model.capabilities()
        assert not (await model.report()).usage
        assert await model.count_tokens(LONG) == TokenEstimator().prompt(LONG) > true({"messages": LONG})
        done = await model.generate(LONG, max_tokens=5)
    assert done.usage.prompt_tokens == TokenEstimator().prompt(LONG)
    assert done.usage.estimated_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


async def test_a_report_that_grows_up_to_a_bound_is_charged_by_the_calibrated_estimate() -> None:
    with FakeEndpoint(Reporting(lambda prompt: {"prompt_tokens": min(prompt, 100), "completion_tokens": 1})) as server:
        model = load(f"openai:{server.url}")
        await model.capabilities()
        done = await model.generate(LONG, max_tokens=5)
    assert true({"messages": LONG}) <= done.usage.prompt_tokens < 2 * true({"messages": LONG})


def test_an_answer_says_what_its_limit_rests_on() -> None:
    fake = Reporting(lambda prompt: {"prompt_tokens": 100, "completion_tokens": 1})
    with FakeEndpoint(fake) as server, rs.Agent(StubIndex(), f"openai:{server.url}", "once") as agent:
        answer = agent.ask("Which colour?", budget=rs.Budget(tokens=4_000))
    assert "tokens are an estimate, on which the limit of 4,000 rests" in answer.caveat


@pytest.mark.parametrize("told", [None, Usage(0, 0), Usage(99, 9)])
def test_no_prompt_is_charged_below_the_fewest_tokens_that_it_can_have(told: Usage | None) -> None:
    asked = Asked(prompt=3, exact=False, fewest=250, max_tokens=5, measure=len)
    charged = asked.usage(told, [])
    assert charged.prompt_tokens == 250
    assert charged.estimated_tokens == charged.prompt_tokens + charged.completion_tokens


def test_no_estimate_is_below_the_fewest_tokens() -> None:
    estimate = TokenEstimator()
    estimate.calibrate(dict.fromkeys(("long", "short", "marks", "codes", "letters", "cjk", "others"), 10), 10)
    text = LONG[0]["content"]
    assert estimate.text(text) >= floor(text) > 100


@pytest.mark.parametrize(
    ("usage", "written", "thought"),
    [
        ({"completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 300}}, 303, 300),
        (
            {"completion_tokens": 3, "total_tokens": 43, "completion_tokens_details": {"reasoning_tokens": 300}},
            303,
            300,
        ),
        (
            {"completion_tokens": 3, "total_tokens": 343, "completion_tokens_details": {"reasoning_tokens": 300}},
            303,
            300,
        ),
        ({"completion_tokens": 3, "reasoning_tokens": 300}, 303, 300),
        ({"completion_tokens": 0, "reasoning_tokens": 16}, 16, 16),
        ({"output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 300}}, 303, 300),
        ({"output_tokens": 3, "output_token_details": {"reasoning": 300}}, 303, 300),
        ({"completion_tokens": 303, "completion_tokens_details": {"reasoning_tokens": 300}}, 303, 300),
        ({"completion_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 30}}, 30, 30),
    ],
)
def test_thoughts_that_are_more_than_the_completion_stand_beside_it(usage: Body, written: int, thought: int) -> None:
    block = read(UsageBlock, {"prompt_tokens": 40, **usage})
    assert (block.completion, block.reasoning) == (written, thought)


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        # https://github.com/Portkey-AI/gateway/pull/1754: the total alone holds what a cache had
        ((300, 12, 512, {"cache_read_input_tokens": 200}), (500, 12, 200)),
        ((3, 12, None, {"cache_read_input_tokens": 200}), (203, 12, 200)),
        ((3, 12, 415, {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 400}), (403, 12, 0)),
        ((5, 10, 1015, {"input_token_details": {"cache_read": 1000}}), (1005, 10, 1000)),
        # LiteLLM, OpenAI, Moonshot, DeepSeek: prompt_tokens hold them
        ((500, 12, 512, {"cache_read_input_tokens": 200}), (500, 12, 200)),
        ((500, 12, None, {"prompt_tokens_details": {"cached_tokens": 500}}), (500, 12, 500)),
        ((500, 12, 512, {"cached_tokens": 256}), (500, 12, 256)),
        ((500, 12, 512, {"prompt_cache_hit_tokens": 1}), (500, 12, 1)),
        # a total without them tells that they cannot be true
        ((500, 12, 512, {"prompt_tokens_details": {"cached_tokens": 2500}}), (500, 12, 500)),
    ],
)
def test_tokens_of_a_cache_are_a_part_of_the_prompt(usage: Any, told: tuple[int, int, int]) -> None:
    prompt, written, total, more = usage
    block = {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": total, **more}
    found = read(Completion, {"usage": block}).reported()
    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens, found.reasoning_tokens) == (*told, 0)


@pytest.mark.parametrize(
    ("usage", "written"),
    [
        ({"prompt_tokens": 9, "total_tokens": 24}, 15),
        ({"prompt_tokens": 9, "completion_tokens": None, "total_tokens": 24}, 15),
        ({"prompt_tokens": 9, "total_tokens": 9}, None),
        ({"prompt_tokens": 9}, None),
        ({"total_tokens": 24}, None),
    ],
)
def test_a_total_tells_of_a_completion_that_is_not_there(usage: Body, written: int | None) -> None:
    """Gemini, where a thought took all of it: candidatesTokenCount is left out."""
    told = read(Completion, {"usage": usage}).reported()
    assert (told.completion_tokens if told else None) == written


@pytest.mark.parametrize("more", [{}, {"cached_tokens": 30}])
def test_details_of_the_prompt_have_three_names(more: Body) -> None:
    for name in ("prompt_tokens_details", "input_tokens_details"):
        block = read(UsageBlock, {"prompt_tokens": 40, "completion_tokens": 1, name: more})
        assert block.prompt_tokens_details.cached_tokens == more.get("cached_tokens")


@pytest.mark.parametrize(
    ("text", "more", "thought"),
    [
        ("blue", {}, 0),
        (None, {}, 15),
        ("", {}, 15),
        ("blue", {"completion_tokens_details": {"reasoning_tokens": 6}}, 6),
    ],
)
def test_a_total_alone_is_thought_where_nothing_was_written(text: str | None, more: Body, thought: int) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": None, "total_tokens": 24, **more}
    told = read(Completion, {"choices": [{"message": {"content": text}}], "usage": usage}).reported()
    assert told is not None
    assert (told.completion_tokens, told.reasoning_tokens) == (15, thought)


@pytest.mark.parametrize("lacks", range(1, 15))
async def test_one_reply_without_a_usage_leaves_the_others_believed(lacks: int) -> None:
    """While the model is tried out, whichever it is."""
    number = [0]

    def answer(path: str, body: Body) -> Reply:
        if path != "/v1/chat/completions":
            return Reply({"data": [{"id": "m"}]}, 200 if path == "/v1/models" else 404)
        number[0] += 1
        reply = completion("blue", prompt=4 + sum(len(message["content"]) for message in body["messages"]), done=1)
        return Reply({**reply, "usage": None} if number[0] == lacks else reply)

    with FakeEndpoint(answer) as server:
        model = OpenAILLM(server.url)
        await model.capabilities()
        assert (await model.report()).usage
        assert number[0] >= lacks or lacks > 12


async def test_a_server_that_was_seen_to_count_them_beside_does_so_in_every_call() -> None:
    """Also where they are fewer than the rest of the reply, which no single report tells."""
    thought = [16]
    usage = {"completion_tokens": 4}

    def told(prompt: int) -> Body:
        return {"prompt_tokens": prompt, **usage, "completion_tokens_details": {"reasoning_tokens": thought[0]}}

    with FakeEndpoint(Reporting(told)) as server:
        model = load(f"openai:{server.url}")
        await model.capabilities()
        thought[0], usage["completion_tokens"] = 20, 50
        done = await model.generate(ASK, max_tokens=200)
    assert (done.usage.completion_tokens, done.usage.reasoning_tokens) == (70, 20)


class Saying(Reporting):
    """Replies with this message and reason; the trial is answered as usual."""

    def __init__(self, message: Body, reason: str = "stop", *, trial: bool = False) -> None:
        super().__init__(lambda prompt: {"prompt_tokens": prompt, "completion_tokens": 40})
        self.message, self.reason, self.trial, self.calls = message, reason, trial, 0

    def __call__(self, path: str, body: Body) -> Reply:
        reply = super().__call__(path, body)
        own = "chat" in path and body["messages"][0]["content"] not in ("Say hello.", "Be brief.")
        if "chat" in path and (own or self.trial):
            self.calls += own
            reply.body["choices"] = [{"index": 0, "message": self.message, "finish_reason": self.reason}]
        return reply


def asked(fake: Saying) -> rs.Answer:
    with FakeEndpoint(fake) as server, rs.Agent(StubIndex(), f"openai:{server.url}", "once") as agent:
        asyncio.run(agent.llm.capabilities())
        fake.calls = 0
        return agent.ask("Which colour?")


@pytest.mark.parametrize("content", [None, "", " \n", []])
@pytest.mark.parametrize(
    ("reason", "refusal", "words"),
    [
        ("content_filter", None, "finish_reason content_filter"), ("SAFETY", None, "finish_reason SAFETY"),
        ("RECITATION", None, "finish_reason RECITATION"), ("BLOCKLIST", None, "finish_reason BLOCKLIST"),
        ("PROHIBITED_CONTENT", None, "finish_reason PROHIBITED_CONTENT"), ("abort", None, "finish_reason abort"),
        ("stop", "I cannot help\nwith that.", "I cannot help with that"),
    ],
)  # fmt: skip
async def test_a_refusal_without_text_has_the_servers_words_and_is_final(
    reason: str, refusal: str | None, words: str, content: Any
) -> None:
    fake = Saying({"content": content, "refusal": refusal}, reason)
    with FakeEndpoint(fake) as server, pytest.raises(ModelError, match=f"m refused to reply: {words}") as caught:
        await load(f"openai:{server.url}").generate(ASK, max_tokens=50)
    assert not caught.value.retryable


async def test_a_refusal_that_is_a_part_of_the_content_is_one() -> None:
    fake = Saying({"content": [{"type": "refusal", "refusal": "I cannot help\nwith that."}]})
    with FakeEndpoint(fake) as server, pytest.raises(ModelError, match="m refused to reply: I cannot help with that"):
        await load(f"openai:{server.url}").generate(ASK, max_tokens=50)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm "}, {"type": "text", "text": "hm"}]},  # Mistral
        {"type": "thinking", "thinking": "hm hm", "signature": "x"},  # Claude
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm hm"}]},  # Databricks
        {"type": "reasoning", "reasoning": "hm hm"},  # LangChain's standard blocks
        {"type": "reasoning", "text": "hm hm"},
        {"type": "reasoning_content", "reasoning_content": {"text": "hm hm", "signature": "x"}},  # ChatBedrockConverse
    ],
)
async def test_thoughts_that_are_parts_of_the_content_are_seen(part: Body) -> None:
    """They are no reply, and by them the model is known to think."""
    with FakeEndpoint(Saying({"content": [part, {"type": "text", "text": "blue"}]}, trial=True)) as server:
        model = load(f"openai:{server.url}")
        assert (await model.capabilities()).thinking == 1024
        done = await model.generate(ASK, max_tokens=50)
    assert (done.texts, done.thoughts) == (["blue"], ["hm hm"])
    assert done.usage.reasoning_tokens == round(40 * 5 / 9)


def test_a_refusal_is_paid_once_and_is_the_reason_of_the_answer() -> None:
    fake = Saying({"content": ""}, "PROHIBITED_CONTENT")
    answer = asked(fake)
    assert (answer.stop_reason, fake.calls) == ("failed", 1)
    assert "refused to reply: finish_reason PROHIBITED_CONTENT" in answer.reason


@pytest.mark.parametrize("reason", ["eos_token", "COMPLETE", "end_turn", "tool_use", "stop_sequence", "STOP"])
def test_each_servers_word_for_an_end_is_one(reason: str) -> None:
    answer = asked(Saying({"content": "The camera lucida"}, reason))
    assert (answer.stop_reason, answer.text, answer.reason) == ("answered", "The camera lucida", "")


@pytest.mark.parametrize("reason", ["model_length", "MAX_TOKENS", "model_context_window_exceeded", "max_output_tokens"])
async def test_each_servers_word_for_a_limit_is_one(reason: str) -> None:
    with FakeEndpoint(Saying({"content": "The camera lu"}, reason)) as server:
        done = await load(f"openai:{server.url}").generate(ASK, max_tokens=50)
    assert done.finish_reasons == ["length"]


@pytest.mark.parametrize("reason", ["content_filter", "abort"])
def test_a_part_of_an_answer_is_said_to_be_one(reason: str) -> None:
    answer = asked(Saying({"content": "The camera lu"}, reason))
    assert (answer.stop_reason, answer.text) == ("answered", "The camera lu")
    assert answer.reason == f"A part of the answer: ended by the server: {reason}."


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("end", ["</think>", "[/THINK]"])
def test_a_reply_behind_the_thought_in_its_field_is_read(end: str, field: str) -> None:
    answer = asked(Saying({"content": "", field: f"hm hm{end}blue"}))
    assert (answer.stop_reason, answer.text, answer.reason) == ("answered", "blue", "")


def test_a_reply_in_the_field_for_thoughts_alone_names_the_parser_and_the_switch() -> None:
    with pytest.warns(ModelWarning, match="field for thoughts alone.*parser"):
        answer = asked(Saying({"content": "", "reasoning_content": "blue"}, trial=True))
    assert answer.stop_reason == "failed"
    assert "--reasoning-parser" in answer.reason
    assert "enable_thinking" in answer.reason
