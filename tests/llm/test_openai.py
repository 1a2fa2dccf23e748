"""The client of OpenAI-dialect endpoints, against servers that behave in different ways."""

from __future__ import annotations

import asyncio
import logging
import threading
import warnings
from typing import Any

import pytest
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm, completion, plain

from ragscale.errors import EndpointError, InvalidInput, ModelError
from ragscale.llm import Capabilities, ModelWarning, load
from ragscale.llm.openai import OpenAILLM
from ragscale.types import Spend

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*has no tokenizer that agrees:ragscale.llm.ModelWarning"),
    pytest.mark.filterwarnings("ignore:.*was not seen to do:ragscale.llm.ModelWarning"),
]

ASK = [{"role": "user", "content": "Name a colour."}]
SCHEMA = {"type": "object", "properties": {"answer": {"enum": ["blue"]}}}


def test_sends_nothing_before_the_first_call() -> None:
    model = load("openai:http://127.0.0.1:1/v1#some/model")
    assert load(model) is model
    assert model.name == "some/model"
    with pytest.raises(EndpointError, match="No model server"):
        _ = model.context_window


async def test_vllm_does_everything() -> None:
    with FakeEndpoint(Vllm()) as server:
        model = OpenAILLM(server.url)
        assert await model.capabilities() == Capabilities(True, True, True, True, True, True)
        assert (model.name, model.context_window) == ("org/model", 4096)
        assert model.probe_spend.llm_calls == 4
        assert model.probe_spend.cached_tokens == 12
        done = await model.generate(ASK, max_tokens=9, n=2, temperature=0.7, seed=3, stop=["\n"], schema=SCHEMA)
        assert done.texts == ['{"answer": "blue"}'] * 2
        assert done.usage.prompt_tokens == await model.count_tokens(ASK)
        assert done.usage.cached_tokens == 4
        sent = server.sent("/chat/completions")[-1]
        # Without this field vLLM may write white space until max_tokens.
        assert sent["structured_outputs"] == {"json": SCHEMA, "disable_any_whitespace": True}
        assert (sent["n"], sent["seed"], sent["stop"], sent["max_tokens"]) == (2, 3, ["\n"], 9)
        await model.aclose()
        await model.aclose()


async def test_vllm_scores_the_continuation_and_the_end_of_the_turn() -> None:
    with FakeEndpoint(Vllm()) as server:
        model = OpenAILLM(server.url)
        score = await model.score(ASK, "ab")
        tokens = [100 + ord("a"), 100 + ord("b"), 2]  # the fake's ids; a log-probability tells its token
        assert score.logprob == pytest.approx(-sum(tokens) / 1000 / 3)
        assert score.usage.prompt_tokens == await model.count_tokens(ASK) + 3
        assert server.sent("/v1/completions")[-1]["prompt"][-3:] == tokens


async def test_ignored_parameters_are_not_believed() -> None:
    with FakeEndpoint(plain) as server:
        model = OpenAILLM(server.url)
        with pytest.warns(ModelWarning, match="not seen to do: json schema, scoring, tokenizer, logprobs, samples"):
            assert await model.capabilities() == Capabilities()
        assert (await model.generate(ASK, max_tokens=5, schema=SCHEMA, logprobs=True)).logprobs == []
        assert "response_format" not in server.sent("/chat/completions")[-1]
        with pytest.raises(ModelError, match="one sample a call, 3 were asked for"):
            await model.generate(ASK, max_tokens=5, n=3)
        with pytest.raises(ModelError, match="cannot score"):
            await model.score(ASK, "blue")


async def test_vllm_that_scores_nothing_is_found_out() -> None:
    with FakeEndpoint(Vllm(schema=False, scores=False)) as server:
        can = await OpenAILLM(server.url).capabilities()
    assert (can.json_schema, can.scoring, can.tokenizer) == (False, False, True)


async def test_vllm_without_its_own_field_is_asked_in_the_common_way() -> None:
    fake = Vllm()

    def common(path: str, body: Body) -> Reply:
        if "structured_outputs" in body:
            return Reply({"error": {"message": "structured_outputs: Extra inputs are not permitted"}}, 400)
        if "response_format" in body:
            body["structured_outputs"] = {"json": body["response_format"]["json_schema"]["schema"]}
        return fake(path, body)

    with FakeEndpoint(common) as server:
        model = OpenAILLM(server.url)
        assert (await model.capabilities()).json_schema
        done = await model.generate(ASK, max_tokens=9, schema=SCHEMA)
    assert done.texts == ['{"answer": "blue"}']


async def test_without_a_tokenizer_counts_are_estimates_and_said_to_be() -> None:
    with FakeEndpoint(plain) as server:
        model = OpenAILLM(server.url)
        with pytest.warns(ModelWarning, match="reports no usage that can be true: budgets rest on an estimate"):
            await model.capabilities()
        assert 4 < await model.count_tokens(ASK) < 100
        with pytest.warns(ModelWarning, match="8192 tokens are assumed"):
            assert model.context_window == 8192
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # each is said once
            await model.count_tokens([{"role": "user", "content": "é" * 10}])
            assert model.context_window == 8192


async def test_a_tokenizer_that_disagrees_with_the_usage_is_not_believed() -> None:
    fake = Vllm()

    def other_usage(path: str, body: Body) -> Reply:
        reply = fake(path, body)
        if path.endswith("chat/completions"):
            reply.body["usage"]["prompt_tokens"] += 11
        return reply

    with FakeEndpoint(other_usage) as server:
        model = OpenAILLM(server.url)
        assert not (await model.capabilities()).tokenizer
        true = len(fake.prompt({"messages": ASK})) + 11
        assert true <= await model.count_tokens(ASK) < true + 40
        long = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 40}]
        true = len(fake.prompt({"messages": long})) + 11
        assert true <= await model.count_tokens(long) < 1.2 * true


async def test_counts_are_remembered() -> None:
    with FakeEndpoint(Vllm()) as server:
        model = OpenAILLM(server.url)
        counts = {await model.count_tokens(ASK) for _ in range(3)}
        assert len(counts) == 1
        await model.generate(ASK, max_tokens=3)
        assert len([b for b in server.sent("/tokenize") if b.get("messages") == ASK]) == 1


async def test_a_prompt_beyond_the_window_is_not_sent() -> None:
    with FakeEndpoint(Vllm(window=50)) as server:
        model = OpenAILLM(server.url)
        with pytest.raises(ModelError, match=r"prompt has \d+ tokens, the window of org/model holds 50") as caught:
            await model.generate([{"role": "user", "content": "x" * 60}], max_tokens=5)
        assert not caught.value.retryable
        assert caught.value.spend == Spend()
        assert not server.sent("/chat/completions")


@pytest.mark.parametrize(("max_tokens", "n"), [(0, 1), (5, 0)])
async def test_asks_for_at_least_one_token(max_tokens: int, n: int) -> None:
    with pytest.raises(InvalidInput, match="must be 1 or more"):
        await OpenAILLM("http://127.0.0.1:1/v1", "m").generate(ASK, max_tokens=max_tokens, n=n)


async def test_several_models_want_a_name() -> None:
    def two(path: str, body: Body) -> Reply:
        return Reply({"data": [{"id": "a"}, {"id": "b"}]}) if path.endswith("models") else plain(path, body)

    with FakeEndpoint(two) as server:
        with pytest.raises(EndpointError, match=r"lists 2 models \(a, b\)"):
            await OpenAILLM(server.url).capabilities()
        with pytest.raises(EndpointError, match="2 models"):
            _ = OpenAILLM(server.url).name
        assert (await OpenAILLM(server.url, "b").generate(ASK, max_tokens=3)).texts == ["hello there"]


async def test_another_model_than_the_one_served_is_named() -> None:
    with FakeEndpoint(Vllm()) as server, pytest.raises(EndpointError, match="serves 'org/model', not 'other'"):
        await OpenAILLM(server.url, "other").capabilities()


async def test_a_refused_parameter_is_left_out_from_then_on() -> None:
    def strict(path: str, body: Body) -> Reply:
        if "seed" in body:
            return Reply({"error": {"message": "Unrecognized request argument supplied: seed"}}, 400)
        if "max_tokens" in body:
            return Reply({"error": {"message": "Unsupported: 'max_tokens'."}}, 400)
        return plain(path, body)

    with FakeEndpoint(strict) as server:
        model = OpenAILLM(server.url, "m")
        for parameter in ("seed", "max_tokens"):
            with pytest.warns(ModelWarning, match=parameter), pytest.raises(ModelError) as caught:
                await model.generate(ASK, max_tokens=5, seed=1)
            assert caught.value.retryable
            assert caught.value.spend == Spend(llm_calls=1)
        assert (await model.generate(ASK, max_tokens=5, seed=1)).texts == ["hello there"]
        sent = server.sent("/chat/completions")[-1]
        assert "seed" not in sent
        assert sent["max_completion_tokens"] == 5


async def test_the_key_reaches_the_server_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("RAGSCALE_TEST_KEY", key)
    caplog.set_level(logging.DEBUG)
    answers: list[Any] = [
        Reply({"error": {"message": f"bad request, your key {key} was fine"}}, 400),
        Reply({"error": {"message": f"Incorrect API key provided: {key}"}}, 401),
        Reply({"error": {"message": key}}, 500),
        Reply(completion("fine")),
    ]

    def echo(path: str, body: Body) -> Reply:
        return answers.pop(0) if path.endswith("completions") else plain(path, body)

    with FakeEndpoint(echo) as server:
        with pytest.raises(InvalidInput, match="holds credentials") as refused:
            OpenAILLM(server.url.replace("http://", f"http://user:{key}@"))
        model = OpenAILLM(server.url, "m", api_key_env="RAGSCALE_TEST_KEY")
        shown = [str(refused.value), repr(model), repr(model.__dict__)]
        for _ in range(3):
            with pytest.raises(ModelError) as caught:
                await model.generate(ASK, max_tokens=5)
            shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
        await model.generate(ASK, max_tokens=5)
        assert f"Bearer {key}" in server.keys
    shown += [record.getMessage() for record in caplog.records] + [str(w.message) for w in recwarn.list]
    assert not [text for text in shown if key in text]


async def test_the_key_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeEndpoint(plain) as server:
        model = OpenAILLM(server.url, api_key_env="RAGSCALE_TEST_KEY")
        for key in ("one", "two"):
            monkeypatch.setenv("RAGSCALE_TEST_KEY", key)
            await model.generate(ASK, max_tokens=5)
            assert server.keys[-1] == f"Bearer {key}"


def test_one_model_serves_many_loops_and_threads() -> None:
    with FakeEndpoint(Vllm()) as server:
        model = OpenAILLM(server.url)
        texts: list[str] = []

        def ask() -> None:
            for _ in range(3):

                async def both() -> None:
                    await model.capabilities()
                    texts.extend((await model.generate(ASK, max_tokens=3)).texts)

                asyncio.run(both())

        threads = [threading.Thread(target=ask) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert texts == ["hello"] * 15
        assert model.probe_spend.llm_calls == 4  # found out once
