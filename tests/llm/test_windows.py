"""Context windows: read wherever a server tells them, assumed with a word where it does not."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest
from campaign import Shelf
from endpoints import ENDPOINTS
from fake_endpoint import Body, FakeEndpoint, Reply
from fake_kinds import Fakes, Kind, tagged

from ragscale.agent import Agent
from ragscale.llm import ModelWarning, load
from ragscale.llm.openai import OpenAILLM

OLLAMA = Kind(window=16_384, window_in="ps", truncates=True)


@pytest.mark.parametrize("where", ["max_model_len", "context_length", "meta.n_ctx", "props", "api_v0", "ps"])
def test_it_is_read_where_it_is_told(fakes: Fakes, where: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        assert load(fakes.add(Kind(window=20_480, window_in=where)).spec).context_window == 20_480


@pytest.mark.parametrize("way", ["", ":nitro", ":floor", ":exacto", ":online"])
def test_a_way_of_routing_is_no_other_model(way: str) -> None:
    """OpenRouter lists `:free` and the like by themselves, ways of routing not at all."""

    def answer(path: str, body: Body) -> Reply:
        listed = [{"id": "a/m", "context_length": 9000}, {"id": "a/m:free", "context_length": 5000}]
        return Reply({"data": listed}) if path == "/v1/models" else Reply({}, 404)

    with FakeEndpoint(answer) as server:
        assert load(f"openai:{server.url}#a/m{way}").context_window == 9000
        assert load(f"openai:{server.url}#a/m:free{way}").context_window == 5000


def test_ollama_is_asked_to_load_the_model_once_and_to_write_nothing(fakes: Fakes) -> None:
    fake = fakes.add(ENDPOINTS["ollama"])
    for _ in range(2):
        assert load(fake.spec).context_window == 16_384
    loads = [body for _, path, body in fake.requests if path == "/api/generate"]
    assert loads == [{"model": "llama3.2", "stream": False}]
    assert not fake.truth


@pytest.mark.parametrize(
    ("kind", "window", "words"),
    [
        (Kind(), 8192, "does not tell its context window: 8192 tokens are assumed"),
        (Kind(window_in="old_ps"), 4096, "context window, and longer prompts are cut without a word: 4096 tokens"),
    ],
)
def test_one_that_is_not_told_is_assumed_with_a_word(fakes: Fakes, kind: Kind, window: int, words: str) -> None:
    model = load(fakes.add(kind).spec)
    with pytest.warns(ModelWarning, match=words) as shown:
        assert [model.context_window, model.context_window] == [window, window]
    assert len(shown) == 1
    assert "?window=" in str(shown[0].message)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (OLLAMA, "serves 16384 tokens: longer prompts are cut without a word"),
        (Kind(window=16_384, window_in="max_model_len"), "serves 16384 tokens: longer prompts are refused"),
    ],
)
def test_one_that_the_server_does_not_have_is_said(fakes: Fakes, kind: Kind, words: str) -> None:
    spec = fakes.add(kind).spec
    with pytest.warns(ModelWarning, match=words):
        asyncio.run(load(f"{spec}?window=32768").count_tokens([{"role": "user", "content": "Hello"}]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelWarning)
        model = load(f"{spec}?window=8192")
        asyncio.run(model.count_tokens([{"role": "user", "content": "Hello"}]))
        assert model.context_window == 8192


@pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
def test_a_model_that_is_not_loaded_yet_has_none_to_tell() -> None:
    """LM Studio: the largest that it may have is not the one that it will have."""

    def answer(path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "m"}]})
        if path == "/api/v0/models":
            return Reply({"data": [{"id": "m", "state": "not-loaded", "max_context_length": 131_072}]})
        return Reply({"error": f"Unexpected endpoint or method. (GET {path})"})

    with FakeEndpoint(answer) as server:
        assert OpenAILLM(server.url).context_window == 8192


@pytest.mark.parametrize(
    "odd", [{"models": None}, {"models": [7, {"name": 5}]}, {"models": [{"name": "m", "context_length": "x"}]}, [], "x"]
)
@pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
def test_odd_replies_tell_none(odd: Any) -> None:
    def answer(path: str, body: Body) -> Reply:
        return Reply({"data": [{"id": "m"}]} if path == "/v1/models" else odd)

    with FakeEndpoint(answer) as server:
        assert OpenAILLM(server.url).context_window in (4096, 8192)


@pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")
def test_a_prompt_that_would_be_cut_has_fewer_passages_and_says_so(fakes: Fakes) -> None:
    fake = fakes.add(Kind(window=2_048, window_in="ps", truncates=True))
    agent = Agent(Shelf(mixed=False), fake.spec)  # type: ignore[arg-type]  # all that modes need
    answer = asyncio.run(agent.aask(tagged("Which lamp is older", 1), mode="once(k=60, context=60)"))
    assert answer.stop_reason == "answered"
    assert any("fit into the context window of 2048" in event.note for event in answer.trace)
    assert fake.truth["zq000001"].prompt > 1_024, "it was cut: to half of the window"
