"""Models that think before they reply: found out, allowed for, charged, and named where they think too long."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from doubles import StubIndex
from fake_endpoint import Body, FakeEndpoint, Reply, completion, plain

import ragscale as rs
from ragscale.answer import Answer
from ragscale.errors import ModelError
from ragscale.llm import ModelWarning, load
from ragscale.types import Usage

pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")

ASK = [{"role": "user", "content": "Name a colour, please."}]
TEXT = {"type": "text", "text": "blue"}


class Thinker:
    """Thinks for `thought` words before each reply, until `max_tokens` cuts it; a word is a token.

    Args:
        thought: Words of a thought.
        where: Field of the thought, or "content" for tags in the reply, or "hidden" for one that is only counted.
        silent: Content of a reply that was cut: None or an empty text.
    """

    def __init__(self, thought: int = 150, where: str = "reasoning_content", silent: str | None = None) -> None:
        self.thought, self.where, self.silent = thought, where, silent
        self.lengths: list[int] = []

    def __call__(self, path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "m", "max_model_len": 32_768}]})
        if path != "/v1/chat/completions":
            return Reply({"error": {"message": "Not Found"}}, 404)
        self.lengths.append(body["max_tokens"])
        off = body.get("reasoning_effort") == "none" or body.get("chat_template_kwargs") == {"enable_thinking": False}
        thought = ["hm"] * (0 if off else self.thought)
        said = json.dumps({"answer": "blue", "documents": [1]}).split()
        written = [*thought, *said][: body["max_tokens"]]
        thoughts, text = " ".join(written[: len(thought)]), " ".join(written[len(thought) :])
        message: dict[str, Any] = {"role": "assistant", "content": text or self.silent}
        if thoughts and self.where == "content":
            message["content"] = f"<think>\n{thoughts}" + (f"\n</think>\n{text}" if text else "")
        elif thoughts and self.where != "hidden":
            message[self.where] = thoughts
        prompt = sum(len(m["content"].split()) + 4 for m in body["messages"])
        usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": len(written)}
        if self.where == "hidden":
            usage["completion_tokens_details"] = {"reasoning_tokens": min(len(thought), len(written))}
        cut = len(written) < len(thought) + len(said)
        choice = {"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}
        return Reply({"choices": [choice] * body.get("n", 1), "usage": usage})


WHERE = ["reasoning_content", "reasoning", "content", "hidden"]


def asked(thinker: Thinker, spec: str = "", **options: Any) -> Answer:
    with FakeEndpoint(thinker) as server, rs.Agent(StubIndex(), f"openai:{server.url}{spec}", **options) as agent:
        return agent.ask("Which colour?")


@pytest.mark.parametrize("silent", [None, ""])
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("mode", ["once", "chain(steps=2)", "parallel"])
def test_answers_whatever_it_thinks_first(mode: str, where: str, silent: str | None) -> None:
    thinker = Thinker(where=where, silent=silent)
    answer = asked(thinker, mode=mode)
    assert (answer.text, answer.stop_reason) == ("blue", "answered")
    spend = answer.spend.total
    assert spend.reasoning_tokens == pytest.approx(150 * spend.llm_calls, rel=0.1)
    assert spend.completion_tokens >= spend.reasoning_tokens
    assert (spend.estimated_tokens, answer.caveat) == (0, "")


def test_what_was_found_out_is_said_with_the_knobs() -> None:
    with FakeEndpoint(Thinker()) as server:
        model = load(f"openai:{server.url}")
        with pytest.warns(ModelWarning, match=r"thinks before it replies: each call may have 1,024 .*\?thinking=N"):
            assert asyncio.run(model.capabilities()).thinking == 1024


@pytest.mark.parametrize("where", WHERE)
def test_a_thought_that_is_too_long_ends_in_the_knob_and_not_in_silence(where: str) -> None:
    thinker = Thinker(thought=5_000, where=where)
    answer = asked(thinker, mode="chain(steps=2)")
    assert (answer.text, answer.stop_reason) == ("", "failed")
    assert "thought for 1152 tokens and wrote nothing; its allowance for thoughts is 1024" in answer.reason
    assert "?thinking=N" in answer.reason
    assert "enable_thinking" in answer.reason
    assert answer.spend.total.tokens > 1152


def test_a_longer_allowance_is_an_option() -> None:
    assert asked(Thinker(thought=5_000), "?thinking=6000", mode="once").text == "blue"


@pytest.mark.parametrize("option", ["reasoning_effort=none", 'chat_template_kwargs={"enable_thinking":false}'])
def test_switched_off_it_has_no_allowance(option: str) -> None:
    thinker = Thinker()
    answer = asked(thinker, f"?{option}", mode="once")
    assert (answer.text, answer.spend.total.reasoning_tokens, thinker.lengths[-1]) == ("blue", 0, 96)


@pytest.mark.parametrize("tokens", [1_500, 2_000, 3_000, 4_000, 8_000])
@pytest.mark.parametrize("mode", ["once", "chain", "parallel", "tree"])
def test_thoughts_count_against_the_budget(mode: str, tokens: int) -> None:
    answer = asked(Thinker(thought=300), mode=mode, budget=rs.Budget(tokens=tokens))
    assert answer.spend.total.tokens <= tokens
    assert answer.text == "blue" or answer.stop_reason == "budget:tokens"
    if tokens >= 3_000:
        assert answer.text == "blue"


async def test_hidden_thoughts_without_a_usage_are_charged_at_their_most() -> None:
    thinker = Thinker(where="hidden")

    def unreported(path: str, body: Body) -> Reply:
        reply = thinker(path, body)
        if "chat" in path and body["messages"] == ASK:
            del reply.body["usage"]
        return reply

    with FakeEndpoint(unreported) as server:
        model = load(f"openai:{server.url}")
        assert (await model.capabilities()).thinking == 1024
        done = await model.generate(ASK, max_tokens=300)
    assert (done.usage.completion_tokens, done.texts) == (300, ['{"answer": "blue", "documents": [1]}'])


async def test_a_refusal_is_final_and_in_the_models_words() -> None:
    def refusing(path: str, body: Body) -> Reply:
        reply = Thinker(0)(path, body)
        if "chat" in path and body["messages"] == ASK:
            reply.body["choices"][0]["message"] = {"content": None, "refusal": "I cannot help\nwith that."}
        return reply

    words = r"m refused to reply: I cannot help with that\."
    with FakeEndpoint(refusing) as server, pytest.raises(ModelError, match=words) as caught:
        await load(f"openai:{server.url}").generate(ASK, max_tokens=30)
    assert not caught.value.retryable
    assert caught.value.spend is not None
    assert caught.value.spend.prompt_tokens == 8


@pytest.mark.parametrize(
    ("content", "thought"),
    [
        ([{"type": "text", "text": "blue"}], 0),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "blue"}], 1),
        (["bl", "ue"], 0),
        ({"type": "text", "text": "blue"}, 0),
        ([{"type": "text", "text": {"value": "blue", "annotations": []}}, {"type": "file", "value": "x"}], 0),
    ],
)
async def test_parts_are_read(content: Any, thought: int) -> None:
    def parts(path: str, body: Body) -> Reply:
        reply = Thinker(0)(path, body)
        if "chat" in path:
            reply.body["choices"][0]["message"]["content"] = content
        return reply

    with FakeEndpoint(parts) as server:
        done = await load(f"openai:{server.url}").generate(ASK, max_tokens=30)
    assert done.texts == ["blue"]
    assert done.usage == Usage(8, 4, reasoning_tokens=thought)  # of its characters a third


class Sometimes(Thinker):
    """Thinks at questions, and not while it is tried out."""

    def __call__(self, path: str, body: Body) -> Reply:
        easy = path.endswith("/chat/completions") and "colour" not in json.dumps(body["messages"])
        return super().__call__(path, {**body, "reasoning_effort": "none"} if easy else body)


@pytest.mark.parametrize("silent", [None, ""])
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("mode", ["once", "chain(steps=2)", "vote(of=once, n=2)", "tree(steps=2)"])
def test_one_that_thinks_at_harder_questions_alone_is_asked_again(mode: str, where: str, silent: str | None) -> None:
    thinker = Sometimes(where=where, silent=silent)
    with FakeEndpoint(thinker) as server, rs.Agent(StubIndex(), f"openai:{server.url}", mode) as agent:
        with pytest.warns(ModelWarning, match="thinks before it replies to a harder question"):
            first = agent.ask("Which colour?")
        assert (first.text, first.stop_reason) == ("blue", "answered")
        second = agent.ask("Which colour?")
    for answer in (first, second):
        calls = [event for event in answer.trace if event.spend.llm_calls]
        assert sum(event.spend.llm_calls for event in calls) == answer.spend.total.llm_calls
        assert sum(event.spend.tokens for event in calls) == answer.spend.total.tokens
    cut = [event for event in first.trace if "cut off at max_tokens" in event.note]
    assert cut
    assert not [event.note for event in second.trace if "cut off" in event.note]
    assert first.spend.total.llm_calls - len(cut) == second.spend.total.llm_calls


def test_one_that_thinks_longer_than_its_allowance_is_asked_again_once() -> None:
    thinker = Sometimes(thought=5_000)
    with FakeEndpoint(thinker) as server, rs.Agent(StubIndex(), f"openai:{server.url}", "once") as agent:
        with pytest.warns(ModelWarning, match="harder question"):
            first = agent.ask("Which colour?")
        assert (first.stop_reason, "its allowance for thoughts is 1024" in first.reason) == ("failed", True)
        assert first.spend.total.llm_calls == 2


@pytest.mark.parametrize("tokens", [400, 700, 1_500])
def test_one_that_is_asked_again_stays_within_the_limit(tokens: int) -> None:
    thinker = Sometimes(thought=900)
    with (
        FakeEndpoint(thinker) as server,
        rs.Agent(StubIndex(), f"openai:{server.url}", "once") as agent,
        pytest.warns(ModelWarning, match="harder question"),
    ):
        first = agent.ask("Which colour?", budget=rs.Budget(tokens=tokens))
    assert first.spend.total.tokens <= tokens
    assert (first.text, first.stop_reason) == (("blue", "answered") if tokens == 1_500 else ("", "budget:tokens"))


def test_none_is_allowed_where_that_was_said() -> None:
    thinker = Sometimes()
    with FakeEndpoint(thinker) as server, rs.Agent(StubIndex(), f"openai:{server.url}#m?thinking=0", "once") as agent:
        assert [agent.ask("Which colour?").stop_reason for _ in range(2)] == ["failed"] * 2
        assert max(thinker.lengths) < 150


@pytest.mark.parametrize("text", ["  \n ", "blue is", "{"])
async def test_a_reply_that_was_cut_is_no_thought(text: str) -> None:
    reply = completion(text, prompt=60, done=40)
    reply["choices"][0]["finish_reason"] = "length"

    def answer(path: str, body: Body) -> Reply:
        hard = path.endswith("/chat/completions") and "colour" in json.dumps(body["messages"])
        return Reply(reply) if hard else plain(path, body)

    with FakeEndpoint(answer) as server:
        model = load(f"openai:{server.url}")
        await model.capabilities()
        await model.generate(ASK, max_tokens=40)
        assert (await model.capabilities()).thinking == 0
