"""Assistant turns that are continued, and stop strings that end them, on every kind of endpoint and a real model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm
from fake_kinds import Fake, Fakes, Kind
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from ragscale.endpoint.retry import attempts
from ragscale.errors import ModelError
from ragscale.llm import load
from ragscale.llm.answers import stopped
from ragscale.llm.base import LLM, Capabilities
from ragscale.llm.langchain import LangChainLLM
from ragscale.llm.scripted import ScriptedLLM
from ragscale.types import Message, Spend

pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")

ASK: list[Message] = [{"role": "system", "content": "Search."}, {"role": "user", "content": "Who wrote Hamlet?"}]
BEGUN = "<think> I need the author. </think> <search> author of"
TURN: list[Message] = [*ASK, {"role": "assistant", "content": BEGUN}]
WRITTEN = " Hamlet </search> <information> none </information>"

WAYS = {
    "vllm": Kind(route="vllm", continues="fields"),
    "llama": Kind(route="llama"),
    "llama that thinks": Kind(route="llama", thought=40, switch="enable_thinking"),
    "fields": Kind(continues="fields"),
    "sglang": Kind(route="sglang", continues="fields"),
    "prefix": Kind(continues="prefix", refuses=("continue_final_message",)),
    "last": Kind(continues="last"),
    "last, and nothing that is unknown": Kind(continues="last", strict=True),
}
NEVER = {
    "another turn": Kind(),
    "strict": Kind(strict=True),
    "vllm without": Kind(route="vllm"),
    "vllm with a parser": Kind(route="vllm", continues="fields", parses=True),
    "no usage": Kind(continues="last", usage="absent"),
    "thinks": Kind(continues="last", thought=40),
}


def author(asked: Any) -> str:
    """Goes on where its own turn ended, and takes nothing else for one."""
    return WRITTEN if asked.last == BEGUN else "A turn of its own."


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    with Fakes() as served:
        yield served


async def asked(fake: Fake, messages: Sequence[Message] = TURN, **options: Any) -> tuple[Any, Any]:
    model: Any = load(fake.spec)
    await model.capabilities()
    before = fake.truth[""].prompt
    done = await model.generate(messages, max_tokens=40, **options)
    assert done.usage.prompt_tokens == fake.truth[""].prompt - before
    return model, done


@pytest.mark.parametrize("name", WAYS)
async def test_an_open_turn_is_continued(fakes: Fakes, name: str) -> None:
    fake = fakes.add(WAYS[name], author)
    model, done = await asked(fake)
    assert (await model.capabilities()).continues
    assert done.texts == [WRITTEN]
    if (await model.capabilities()).tokenizer:
        assert await model.count_tokens(TURN) == done.usage.prompt_tokens
    assert await model.count_tokens(TURN) < await model.count_tokens([*TURN, {"role": "user", "content": "Go on."}])


@pytest.mark.parametrize("name", WAYS)
async def test_a_stop_string_ends_it(fakes: Fakes, name: str) -> None:
    kind = WAYS[name]
    _, done = await asked(fakes.add(kind, author), stop=["</answer>", "</search>"])
    assert (done.texts, done.finish_reasons) == ([" Hamlet "], ["stop"])
    assert done.stops == ["</search>" if kind.route in ("vllm", "sglang") else ""]


@pytest.mark.parametrize("name", NEVER)
async def test_another_turn_is_never_taken_for_it(fakes: Fakes, name: str) -> None:
    fake = fakes.add(NEVER[name], author)
    model: Any = load(fake.spec)
    assert not (await model.capabilities()).continues
    sent = len(fake.requests)
    with pytest.raises(ModelError, match="cannot continue an assistant turn") as caught:
        await model.generate(TURN, max_tokens=40)
    assert (caught.value.spend, caught.value.retryable) == (Spend(), False)
    with pytest.raises(ModelError, match="cannot continue"):
        await model.score(TURN, "Hamlet")
    assert len(fake.requests) == sent


async def test_an_earlier_assistant_turn_is_none_to_continue(fakes: Fakes) -> None:
    fake = fakes.add(Kind(), author)
    _, done = await asked(fake, [*TURN, {"role": "user", "content": "Go on."}])
    assert done.texts == ["A turn of its own."]


async def test_a_server_that_fails_at_it_can_do_the_rest() -> None:
    fake = Vllm()

    def answer(path: str, body: Body) -> Reply:
        turns = body.get("messages") or [{"role": ""}]
        if path.endswith("completions") and turns[-1]["role"] == "assistant":
            return Reply({"error": {"message": "TemplateError: roles must alternate"}}, 500)
        return fake(path, body)

    with FakeEndpoint(answer) as server:
        model = load(f"openai:{server.url}")
        async for attempt in attempts(base=0.0):
            with attempt:
                assert await model.capabilities() == Capabilities(True, True, True, True, True, False)


@pytest.mark.parametrize(
    ("text", "told", "expected"),
    [
        ("a </search> b </answer>", "", ("a ", "</search>")),
        ("a b", "</search>", ("a b", "</search>")),
        ("a b", "<|im_end|>", ("a b", "")),
        ("</answer></search>", "</search>", ("", "</answer>")),
        ("", "", ("", "")),
    ],
)
def test_the_first_stop_string_counts(text: str, told: str, expected: tuple[str, str]) -> None:
    assert stopped(text, ["</search>", "</answer>", ""], told) == expected


@pytest.mark.parametrize("kind", [Kind(ignores=("stop",)), Kind(refuses=("stop",))], ids=["ignored", "refused"])
async def test_a_server_that_does_not_heed_stop_strings_is_cut(fakes: Fakes, kind: Kind) -> None:
    fake = fakes.add(kind, lambda asked: WRITTEN)
    model: Any = load(fake.spec)
    await model.capabilities()
    for _ in range(2):  # the first meets the refusal
        with contextlib.suppress(ModelError):
            done = await model.generate(ASK, max_tokens=40, stop=["</search>"])
    assert (done.texts, done.stops, done.finish_reasons) == ([" Hamlet "], ["</search>"], ["stop"])
    assert done.usage.completion_tokens > 5  # all that it wrote is charged


async def test_scripted_and_langchain_models() -> None:
    scripted = ScriptedLLM(lambda messages, call: WRITTEN)
    done = await scripted.generate(TURN, max_tokens=40, stop=["</information>", "</search>"])
    assert (done.texts, done.stops) == ([" Hamlet "], ["</search>"])
    mute = ScriptedLLM(lambda messages, call: WRITTEN, capabilities=Capabilities())
    with pytest.raises(ModelError, match="cannot continue"):
        await mute.generate(TURN, max_tokens=40)

    reply = AIMessage(" Hamlet ", response_metadata={"stop_reason": "stop_sequence", "stop_sequence": "</search>"})
    chat = GenericFakeChatModel(messages=iter([reply]))
    with pytest.raises(ModelError, match="continues=True"):
        await LangChainLLM(chat).generate(TURN, max_tokens=40)
    claude = LangChainLLM(chat, continues=True)
    assert (await claude.capabilities()).continues
    done = await claude.generate(TURN, max_tokens=40, stop=["</search>"])
    assert (done.texts, done.stops, done.finish_reasons) == ([" Hamlet "], ["</search>"], ["stop"])


async def test_a_real_model_goes_on_in_the_middle_of_a_word(real: LLM) -> None:
    question: Message = {"role": "user", "content": "Which day comes after Tuesday? Reply in one word."}
    begun: list[Message] = [question, {"role": "assistant", "content": "The day after Tuesday is Wednes"}]
    assert (await real.capabilities()).continues
    done = await real.generate(begun, max_tokens=8, stop=["."])
    assert done.texts[0].startswith("day")
    assert await real.count_tokens(begun) == done.usage.prompt_tokens
    closed = await real.count_tokens([*begun, question]) - await real.count_tokens([question])
    assert done.usage.prompt_tokens < await real.count_tokens([question]) + closed
    if (await real.capabilities()).scoring:
        right, wrong = [(await real.score(begun, word)).logprob for word in ("day", "potato")]
        assert right > wrong


async def test_a_real_model_draws_samples_of_the_rest(real: LLM) -> None:
    begun: list[Message] = [
        {"role": "user", "content": "List the colours red, green and blue between <list> and </list>."},
        {"role": "assistant", "content": "<list> red, green, bl"},
    ]
    done = await real.generate(begun, max_tokens=24, n=2, temperature=1.0, seed=1, stop=["</list>", "\n"])
    assert len(done.texts) == 2
    assert not any("<list>" in text or "</list>" in text or "\n" in text for text in done.texts)
