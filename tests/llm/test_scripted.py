"""The scripted model behaves as the protocol says."""

from __future__ import annotations

import asyncio

import pytest

from ragscale.errors import ModelError
from ragscale.llm import LLM, Usage, load
from ragscale.llm.scripted import ScriptedLLM, count

ASK = [{"role": "user", "content": "one two three"}]


def test_is_a_model_and_passes_through_load() -> None:
    model = ScriptedLLM(lambda messages, call: "x")
    assert isinstance(model, LLM)
    assert load(model) is model


async def test_counts_words_and_cuts_at_the_limit() -> None:
    model = ScriptedLLM(lambda messages, call: "a b c d STOP e")
    assert await model.count_tokens(ASK) == 7
    full = await model.generate(ASK, max_tokens=9)
    assert (full.texts, full.finish_reasons) == (["a b c d STOP e"], ["stop"])
    assert full.usage == Usage(7, 6)
    cut = await model.generate(ASK, max_tokens=2)
    assert (cut.texts, cut.finish_reasons, cut.usage.completion_tokens) == (["a b"], ["length"], 2)
    stopped = await model.generate(ASK, max_tokens=9, stop=["STOP"])
    assert stopped.texts == ["a b c d "]


async def test_samples_errors_and_usage_come_from_the_script() -> None:
    replies = [["x", "y"], ModelError("down", retryable=True), ["only one"]]
    model = ScriptedLLM(
        lambda messages, call: replies[call.index],
        usage=lambda true, call: Usage(true.prompt_tokens + 5, true.completion_tokens * 2, 3),
    )
    both = await model.generate(ASK, max_tokens=5, n=2, logprobs=True)
    assert both.texts == ["x", "y"]
    assert both.usage == Usage(12, 4, 3)
    assert both.logprobs == [-1.0, -1.0]
    with pytest.raises(ModelError, match="down") as caught:
        await model.generate(ASK, max_tokens=5)
    assert caught.value.spend is not None
    assert (caught.value.spend.llm_calls, caught.value.spend.prompt_tokens) == (1, count(ASK))
    with pytest.raises(ModelError, match="wrote 1 text, asked for 2"):
        await model.generate(ASK, max_tokens=5, n=2)


async def test_cancelled_calls_are_no_longer_running() -> None:
    model = ScriptedLLM(lambda messages, call: "x", delay=60)
    tasks = [asyncio.create_task(model.generate(ASK, max_tokens=5)) for _ in range(3)]
    await asyncio.sleep(0)
    assert model.running == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (model.running, model.most_running) == (0, 3)


async def test_scores_only_with_a_scoring_script() -> None:
    model = ScriptedLLM(lambda messages, call: "x", score=lambda messages, text: -len(text) / 10)
    assert (await model.capabilities()).scoring
    assert (await model.score(ASK, "abc")).logprob == -0.3
    silent = ScriptedLLM(lambda messages, call: "x")
    assert not (await silent.capabilities()).scoring
    with pytest.raises(ModelError, match="cannot score"):
        await silent.score(ASK, "abc")
