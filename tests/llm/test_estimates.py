"""Estimates of prompts, calibrated by what servers report, beside what tokenizers count."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_endpoint import Body, FakeEndpoint, Reply, completion
from tokenizers import Tokenizer, models, pre_tokenizers

from ragscale.errors import InvalidInput
from ragscale.llm import load
from ragscale.llm.embedded import EmbeddedLLM
from ragscale.llm.tokens import SAMPLES, TokenEstimator, floor, local_tokenizer, with_margin
from ragscale.prompts import PROFILES, profile
from ragscale.types import Message, Passage

pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")

CORPUS = Path(__file__).parents[2] / "corpora" / "elements" / "passages.jsonl"
COUNTS: dict[str, Callable[[str], int]] = {
    "bytes": lambda text: len(text.encode()),
    "characters": len,
    "words": lambda text: len(re.findall(r"\w+|[^\w\s]", text)),
    "quarters": lambda text: sum(-(-len(word.encode()) // 4) for word in text.split()),
    "digits apart": lambda text: len(re.findall(r"\d|[^\W\d]{1,5}|[^\w\s]", text)),
}
ROLE = 5  # tokens of a message beside its text


def conversations(number: int = 60) -> list[list[Message]]:
    """Prompts of all moves over real passages."""
    rows = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    passages = [Passage(row["id"], row["title"], row["text"]) for row in rows]
    source = random.Random(0)
    chats = []
    for _ in range(number):
        shown = source.sample(passages, 8)
        chats.append(
            PROFILES["generic"]
            .answer("Who discovered the element that Moseley predicted?", shown, ["It is an element."])
            .messages
        )
        chats.append(PROFILES["generic"].read("discoverer of hafnium", shown[:3]).messages)
        chats.append(PROFILES["generic"].plan("Who discovered it?", shown[:2], []).messages)
    return chats


def true(count: Callable[[str], int], messages: list[Message]) -> int:
    return 11 + sum(count(message["content"]) + ROLE for message in messages)


@pytest.mark.parametrize("name", COUNTS)
def test_a_calibrated_estimate_is_never_too_low_and_little_too_high(name: str) -> None:
    count, estimate = COUNTS[name], TokenEstimator()
    hello: list[Message] = [{"role": "user", "content": "Say hello."}]
    base = true(count, hello)
    estimate.base(hello, base)
    samples = {sample: true(count, [{"role": "user", "content": text}]) for sample, text in SAMPLES.items()}
    estimate.calibrate(samples, base)
    for messages in conversations():
        assert 1 <= with_margin(estimate.prompt(messages)) / true(count, messages) < 1.2


@pytest.mark.parametrize("language", ["letters", "cjk", "others"])
def test_other_scripts_have_rates_of_their_own(language: str) -> None:
    estimate, base = TokenEstimator(), 16
    samples = {name: base + len(text.encode()) // (6 if name == language else 3) for name, text in SAMPLES.items()}
    estimate.calibrate(samples, base)
    text = SAMPLES[language] * 7
    assert 1 <= estimate.text(text) / (len(text.encode()) // 6) < 1.3


def test_a_prompt_that_was_estimated_too_low_raises_later_ones() -> None:
    estimate = TokenEstimator()
    messages: list[Message] = [{"role": "user", "content": "Die Donaudampfschifffahrtsgesellschaft fuhr aus. " * 30}]
    first = estimate.prompt(messages)
    assert not estimate.learn(messages, first)
    assert estimate.learn(messages, 2 * first)
    assert 2 * first < estimate.prompt(messages) < 2.2 * first
    assert estimate.most_off == pytest.approx(0.5)
    assert not estimate.learn([], 0)


def test_a_prompt_within_the_margin_raises_nothing() -> None:
    estimate = TokenEstimator()
    messages: list[Message] = [{"role": "user", "content": "The ferry left the island at noon. " * 40}]
    first = estimate.prompt(messages)
    assert not estimate.learn(messages, with_margin(first))
    assert estimate.prompt(messages) == first
    assert estimate.learn(messages, with_margin(first) + 1)
    assert estimate.prompt(messages) > first


@pytest.mark.parametrize(("shares", "expected"), [((0.9, 0.95), 0.95), ((0.9, 1.1), 1.0), ((1.2, 1.3), 1.0)])
def test_long_texts_that_were_counted_lower_the_rates_of_others(shares: tuple[float, ...], expected: float) -> None:
    estimate = TokenEstimator()
    other = "A comet crossed the harbour while the surveyors were asleep. " * 20
    raw = estimate.text(other)
    for number, share in enumerate(shares):
        text = f"Instruction {number}: " + "write what the documents tell, and nothing else. " * 20
        estimate.know(text, round(share * TokenEstimator().text(text)))
    estimate.know("Be brief, and reply in one word.", 1)  # too short to tell
    assert estimate.text(other) / raw == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", COUNTS)
def test_what_no_tokenizer_would_count_is_not_believed(name: str) -> None:
    for messages in conversations(5):
        text = messages[-1]["content"]
        assert 0 < floor(text) <= COUNTS[name](text)
    assert floor("") == 0


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A tokenizer of whole words, in a file that also cuts, as those of embedders do."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_tokenizer_by_name_counts_all_of_a_text(own: Path) -> None:
    for place in (own, own / "tokenizer.json"):
        assert local_tokenizer(str(place)).count("one two, three " * 50) == 200
    (own / "broken").mkdir()
    (own / "broken" / "tokenizer.json").write_text("{")
    for name in (own / "absent", own / "broken", own / "broken" / "tokenizer.json"):
        with pytest.raises(InvalidInput, match="cannot be loaded"):
            local_tokenizer(str(name))


async def test_a_tokenizer_by_name_is_used_where_the_endpoint_has_none(own: Path) -> None:
    def answer(path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "m"}]})
        if path != "/v1/chat/completions":
            return Reply({}, 404)
        return Reply(completion("hi", prompt=true(COUNTS["words"], body["messages"]), done=1))

    with FakeEndpoint(answer) as server:
        model = load(f"openai:{server.url}?tokenizer={own}")
        await model.capabilities()
        for messages in conversations(5):
            assert 1 <= await model.count_tokens(messages) / true(COUNTS["words"], messages) < 1.1


async def test_instructions_are_counted_once_and_exact_from_then_on() -> None:
    def answer(path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "m"}]})
        if path != "/v1/chat/completions":
            return Reply({}, 404)
        return Reply(completion("hi", prompt=true(COUNTS["quarters"], body["messages"]), done=1))

    with FakeEndpoint(answer) as server:
        model: Any = load(f"openai:{server.url}")
        model.expect(profile().instructions())
        await model.capabilities()
        calls = model.probe_spend.llm_calls
        for messages in conversations(3):
            own = true(COUNTS["quarters"], messages[1:])
            system = await model.count_tokens(messages) - await model.count_tokens(messages[1:])
            assert 0 <= system - (true(COUNTS["quarters"], messages) - own) <= 6
        assert model.probe_spend.llm_calls == calls <= 20


async def test_a_real_model_whose_tokenizer_is_out_of_reach(smol: EmbeddedLLM) -> None:
    """llama.cpp behind a gateway that passes on chat completions alone."""

    def gateway(path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "smol"}]})
        if path != "/v1/chat/completions":
            return Reply({"error": {"message": "Not Found"}}, 404)
        answer = httpx.post(f"{smol.endpoint}/chat/completions", json={**body, "model": smol.name}, timeout=120)
        return Reply(answer.json(), answer.status_code)

    with FakeEndpoint(gateway) as server:
        model: Any = load(f"openai:{server.url}?timeout=120")
        assert not (await model.capabilities()).tokenizer
        for messages in conversations(3):
            assert 1 <= with_margin(await model.count_tokens(messages)) / await smol.count_tokens(messages) < 1.25
        done = await model.generate(conversations(1)[1], max_tokens=4)
        assert done.usage.estimated_tokens == 0
        assert 0 < model.most_off < 0.25
