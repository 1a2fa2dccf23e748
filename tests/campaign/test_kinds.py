"""Every kind of endpoint that docs/models.md names gives answers, and is charged what it counts.

The default suite asks each in `chain`; the other modes and the tighter budgets are slow::

    pytest tests/campaign/test_kinds.py -m "slow or not slow"
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from typing import Any

import pytest
from campaign import Shelf
from endpoints import ENDPOINTS
from fake_kinds import THOUGHT, Fake, Fakes, Kind, Truth, tagged

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.errors import RagscaleError

pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
SLOW = pytest.mark.slow


@dataclass(frozen=True)
class Expected:
    """Expected findings about an endpoint. ADAPT HERE, and in `found`, to how the model tells them."""

    json_schema: bool = True
    scoring: bool = False
    tokenizer: bool = False
    logprobs: bool = True
    samples: bool = True
    continues: bool = False
    thinks: bool = False
    tools: bool = False
    window: int | None = None
    """None where it is not told."""
    calls: int = 22
    """Most generations that trying it out may take."""


EXPECTED = {
    "openai gpt-4o": Expected(tools=True),
    "openai gpt-5": Expected(logprobs=False, thinks=True, tools=True),
    "openai o3-mini": Expected(logprobs=False, samples=False, thinks=True, tools=True),
    "azure": Expected(tools=True),
    "vllm": Expected(continues=True, scoring=True, tokenizer=True, window=32_768),
    "vllm qwen3": Expected(scoring=True, tokenizer=True, thinks=True, window=32_768),
    "vllm r1": Expected(scoring=True, tokenizer=True, thinks=True, window=16_384),
    "vllm r1 without a parser": Expected(continues=True, scoring=True, tokenizer=True, thinks=True, window=16_384),
    "llama.cpp": Expected(continues=True, scoring=True, tokenizer=True, window=8_192),
    "llama.cpp qwen3": Expected(continues=True, scoring=True, tokenizer=True, thinks=True, window=16_384, tools=True),
    "ollama": Expected(continues=True, samples=False, window=16_384, tools=True),
    "ollama qwen3": Expected(samples=False, thinks=True, window=16_384, tools=True),
    "lm studio": Expected(logprobs=False, samples=False, window=16_384, tools=True),
    "lm studio qwen3": Expected(logprobs=False, samples=False, thinks=True, window=16_384, tools=True),
    "sglang": Expected(continues=True, window=32_768),
    "sglang qwen3": Expected(thinks=True, window=32_768),
    "openrouter": Expected(logprobs=False, samples=False, window=128_000, tools=True),
    "openrouter thinking": Expected(logprobs=False, samples=False, thinks=True, window=40_960, tools=True),
    "litellm": Expected(continues=True, logprobs=False, samples=False, tools=True),
    "litellm gpt-5": Expected(logprobs=False, thinks=True, tools=True),
    "gemini": Expected(logprobs=False, thinks=True, tools=True),
    "deepseek": Expected(json_schema=False, samples=False, tools=True),
    "deepseek thinking": Expected(json_schema=False, logprobs=False, samples=False, thinks=True),
    "groq": Expected(logprobs=False, samples=False, thinks=True, window=131_072, tools=True),
    "groq qwen3": Expected(json_schema=False, logprobs=False, samples=False, thinks=True, window=131_072, tools=True),
}


_TEMPLATE = 'chat_template_kwargs={"enable_thinking":false}'
SWITCHES = {
    "openai gpt-5": "reasoning_effort=minimal",
    "vllm qwen3": _TEMPLATE,
    "llama.cpp qwen3": _TEMPLATE,
    "sglang qwen3": _TEMPLATE,
    "ollama qwen3": "reasoning_effort=none",
    "lm studio qwen3": "reasoning_effort=none",
    "gemini": "reasoning_effort=none",
    "deepseek thinking": 'body.thinking={"type":"disabled"}',
    "groq qwen3": "reasoning_effort=none",
    "litellm gpt-5": "reasoning_effort=minimal",
    "openrouter thinking": 'body.reasoning={"effort":"none"}',
}
"""The option of a specification that keeps it from thinking."""


async def found(agent: Agent) -> dict[str, Any]:
    """The model's own report, by the names of `Expected`."""
    can = await agent.llm.capabilities(tools=True)
    names = ("json_schema", "scoring", "tokenizer", "logprobs", "samples", "continues", "tools")
    return {name: getattr(can, name) for name in names} | {"thinks": bool(getattr(can, "thinking", False))}


def test_every_endpoint_has_its_line() -> None:
    assert EXPECTED.keys() == ENDPOINTS.keys()
    assert all(kind.name == name for name, kind in ENDPOINTS.items())


@pytest.mark.parametrize("name", ENDPOINTS)
def test_its_capabilities_are_found_out(fakes: Fakes, name: str) -> None:
    fake, wanted = fakes.add(ENDPOINTS[name]), EXPECTED[name]
    agent = made(fake)
    seen = asyncio.run(found(agent))
    assert seen == {key: getattr(wanted, key) for key in seen}
    if wanted.window is not None:
        assert agent.llm.context_window == wanted.window
    assert fake.truth[""].calls <= wanted.calls


@pytest.mark.parametrize("preset", ["rag-r1-paper", "search-r1"])
@pytest.mark.parametrize("name", [name for name in ENDPOINTS if EXPECTED[name].continues][:3])
def test_published_conversations_are_continued_and_charged(fakes: Fakes, name: str, preset: str) -> None:
    answer, truth, _ = ask(fakes, ENDPOINTS[name], f"parallel(preset={preset})")
    assert (answer.stop_reason, answer.reason) == ("answered", "")
    assert answer.spend.total.rounds > 0
    assert answer.spend.total.tokens == truth.tokens
    assert answer.spend.total.llm_calls == truth.calls


@pytest.mark.parametrize("mode", ["chain", pytest.param("parallel(profile='rag-r1',continued=False)", marks=SLOW),
                                  "react", pytest.param("tree(steps=1,expand=2)", marks=SLOW)])  # fmt: skip
@pytest.mark.parametrize("name", ENDPOINTS)
def test_it_answers_and_is_charged_what_it_counts(fakes: Fakes, name: str, mode: str) -> None:
    answer, truth, _ = ask(fakes, ENDPOINTS[name], mode)
    assert (answer.stop_reason, answer.reason) == ("answered", "")
    assert answer.text.startswith("answer")
    assert THOUGHT not in answer.text
    assert answer.spend.total.tokens == truth.tokens
    assert answer.spend.total.llm_calls == truth.calls
    assert truth.lost <= 2, "calls were cut within a thought"
    if ENDPOINTS[name].thought and ENDPOINTS[name].thought_in not in ("tags", "end_tag"):
        assert answer.spend.total.reasoning_tokens > 0


@pytest.mark.parametrize("tokens", [3_000, pytest.param(1_500, marks=SLOW), pytest.param(6_000, marks=SLOW)])
@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_limit_of_tokens_holds_by_its_count(fakes: Fakes, name: str, tokens: int) -> None:
    answer, truth, _ = ask(fakes, ENDPOINTS[name], "chain", Budget(tokens=tokens))
    assert truth.tokens <= tokens
    assert truth.tokens <= answer.spend.total.tokens <= tokens
    assert answer.stop_reason in ("answered", "budget:tokens")


@pytest.mark.parametrize("name", ["openai gpt-5", "sglang qwen3", "openrouter thinking"])
def test_thoughts_that_are_counted_beside_the_completion_are_charged(fakes: Fakes, name: str) -> None:
    answer, truth, _ = ask(fakes, replace(ENDPOINTS[name], usage="beside"), "chain", Budget(tokens=8_000))
    assert answer.stop_reason in ("answered", "budget:tokens")
    assert truth.tokens == answer.spend.total.tokens <= 8_000
    assert answer.spend.total.estimated_tokens == 0


@pytest.mark.parametrize("mode", ["chain", "tree(steps=1,expand=2)"])
@pytest.mark.parametrize("name", ["openai gpt-4o", "lm studio"])
def test_a_report_that_is_always_the_same_is_found_out(fakes: Fakes, name: str, mode: str) -> None:
    answer, truth, _ = ask(fakes, replace(ENDPOINTS[name], usage="constant"), mode, Budget(tokens=4_000))
    assert answer.stop_reason in ("answered", "budget:tokens")
    assert truth.tokens <= answer.spend.total.tokens <= 4_000
    assert "are an estimate, on which the limit of 4,000 rests" in answer.caveat


@pytest.mark.parametrize("where", ["tags", "end_tag"])
@pytest.mark.parametrize(
    "tags", [("[THINK]", "[/THINK]"), ("<Thought>", "</Thought>"), ("\u25c1think\u25b7", "\u25c1/think\u25b7")]
)
def test_thoughts_in_any_notation_are_found_out(fakes: Fakes, tags: tuple[str, str], where: str) -> None:
    kind = replace(ENDPOINTS["sglang qwen3"], thought_in=where, tags=tags)
    answer, truth, _ = ask(fakes, kind, "chain")
    assert (answer.stop_reason, answer.reason) == ("answered", "")
    assert answer.text.startswith("answer")
    assert answer.spend.total.tokens == truth.tokens
    assert answer.spend.total.reasoning_tokens > 0


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_it_is_sent_is_what_it_knows(fakes: Fakes, name: str) -> None:
    """After it was tried out, nothing is sent that it refuses: the first question costs what a later one does."""
    fake = fakes.add(ENDPOINTS[name])
    asyncio.run(made(fake).aask(tagged("Which lamp is older", 1), mode="chain"))
    assert fake.truth["zq000001"].failed == 0


@pytest.mark.parametrize("name", SWITCHES)
def test_its_switch_keeps_it_from_thinking(fakes: Fakes, name: str) -> None:
    fake = fakes.add(ENDPOINTS[name])
    agent = made(fake, SWITCHES[name])
    seen = asyncio.run(found(agent))
    assert not seen["thinks"]
    assert seen["tokenizer"] == EXPECTED[name].tokenizer, "counts are as exact as before"
    answer = asyncio.run(agent.aask(tagged("Which lamp is older", 1), mode="chain"))
    assert answer.stop_reason == "answered"
    assert answer.spend.total.reasoning_tokens == 0
    assert answer.spend.total.tokens == fake.truth["zq000001"].tokens


def test_every_switch_is_tried() -> None:
    assert SWITCHES.keys() == {name for name, kind in ENDPOINTS.items() if kind.thought and kind.switch}


def test_a_switch_that_it_does_not_know_is_named(fakes: Fakes) -> None:
    """gpt-5 knows no effort "none": what is asked for is not left out in silence."""
    agent = made(fakes.add(ENDPOINTS["openai gpt-5"]), "reasoning_effort=none")
    try:
        said = asyncio.run(agent.aask(tagged("Which lamp is older", 1), mode="once")).reason
    except RagscaleError as error:
        said = str(error)
    assert "'reasoning_effort' does not support 'none'" in said
    assert "'minimal'" in said


def test_azure_takes_its_key_in_a_header_of_its_own(fakes: Fakes) -> None:
    fake = fakes.add(ENDPOINTS["azure"])
    answer = asyncio.run(made(fake, "key_header=api-key").aask(tagged("Which lamp is older", 1), mode="once"))
    assert answer.stop_reason == "answered"
    assert fake.headers["api-key"] == os.environ["OPENAI_API_KEY"]
    assert os.environ["OPENAI_API_KEY"] not in fake.headers.get("authorization", "")


def test_a_window_that_is_not_told_can_be_given(fakes: Fakes) -> None:
    agent = made(fakes.add(ENDPOINTS["openai gpt-4o"]), "window=128000")
    assert agent.llm.context_window == 128_000


def test_a_rate_limit_is_waited_for(fakes: Fakes) -> None:
    """Groq: 429 with Retry-After."""
    answer, truth, _ = ask(fakes, replace(ENDPOINTS["groq"], failure="429", rate=0.3), "chain")
    assert answer.stop_reason == "answered"
    assert truth.failed > 0
    assert answer.spend.total.tokens == truth.tokens


def test_a_rate_limit_within_a_reply_is_waited_for(fakes: Fakes) -> None:
    """OpenRouter: HTTP 200 with an error of code 429."""
    answer, truth, _ = ask(fakes, replace(ENDPOINTS["openrouter"], failure="error429", rate=0.3), "chain")
    assert answer.stop_reason == "answered"
    assert truth.failed > 0


@pytest.mark.parametrize(
    ("name", "failure", "words"),
    [
        ("openrouter", "402", "Insufficient credits"),
        ("openrouter", "403", "flagged by moderation"),
        ("openrouter", "error200", "Upstream model failed"),
        ("groq", "413", "Request too large"),
        ("azure", "content_filter", "content_filter"),
        ("openai gpt-4o", "refusal", "cannot assist"),
    ],
)
def test_its_words_are_passed_on(fakes: Fakes, name: str, failure: str, words: str) -> None:
    answer, truth, _ = ask(fakes, replace(ENDPOINTS[name], failure=failure, rate=1.0), "once")
    told = f"{answer.reason} {[event.note for event in answer.trace]}"
    assert words in told
    assert "key" not in answer.reason
    assert (truth.calls == 1) == (failure != "error200"), "what another attempt cannot mend is made once"


@pytest.mark.parametrize("name", [name for name, kind in ENDPOINTS.items() if kind.key])
def test_without_a_key_it_says_so(fakes: Fakes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(Exception, match="key"):
        ask(fakes, ENDPOINTS[name], "once")


# -- helpers


def made(fake: Fake, options: str = "") -> Agent:
    return Agent(Shelf(mixed=False), f"{fake.spec}?{options}")  # type: ignore[arg-type]  # all that modes need


def ask(fakes: Fakes, kind: Kind, mode: str, budget: Budget | None = None) -> tuple[Answer, Truth, Fake]:
    """One question to a fresh server of that kind, and what it truly cost."""
    fake = fakes.add(kind)
    agent = made(fake)
    answer = asyncio.run(agent.aask(tagged("Which lamp is older", 1), mode=mode, budget=budget))
    return answer, fake.truth["zq000001"], fake
