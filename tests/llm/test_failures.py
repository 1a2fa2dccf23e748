"""Failed attempts: the error that they raise and the charge, against a server that really fails."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import pytest
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm, completion
from fake_endpoint import completion as completion_of

from ragscale.endpoint.transport import ThrottledError, Transport
from ragscale.errors import EndpointError, InvalidInput, ModelError
from ragscale.llm import load
from ragscale.llm.openai import OpenAILLM
from ragscale.types import Spend, Usage

ASK = [{"role": "user", "content": "Name a colour."}]


def without(name: str) -> Body:
    return {key: value for key, value in completion("x").items() if key != name}


def message(content: Any) -> Body:
    answer = completion("x")
    answer["choices"][0]["message"]["content"] = content
    return answer


class Failing(Vllm):
    """A vLLM whose chat completions fail."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply

    def _chat(self, body: Body) -> Reply:
        return self.reply


async def failure(reply: Reply, limit: float = 20.0) -> tuple[ModelError, int]:
    """Error that generate raises, and the tokens of its prompt."""
    with FakeEndpoint(Failing(reply)) as server:
        model = OpenAILLM(server.url, timeout=limit)
        with pytest.raises(ModelError) as caught:
            await model.generate(ASK, max_tokens=5)
        assert len(server.sent("/chat/completions")) == 1  # one attempt a call
        return caught.value, await model.count_tokens(ASK)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply({"error": {"message": "boom"}}, 500), r"failed \(HTTP 500\)"),
        (Reply(b"<html>Bad Gateway</html>", 502), r"failed \(HTTP 502\)"),
        (Reply({}, 504), r"failed \(HTTP 504\)"),
        (Reply(completion("x"), cut=True), "broke before the answer was complete"),
        (Reply(b"<html>hello</html>"), "/v1/chat/completions answered with a page of HTML in place of JSON"),
        (Reply(b"<p>hello</p>"), "not JSON"),
        (Reply(b'{"choices": [{"mess'), "not JSON"),
        (Reply(b"\xff\xfe\x00"), "not"),
        (Reply(b""), "not JSON"),
        (Reply(b"[" * 200_000), "nested too deeply"),
        (Reply([1, 2]), "no choices"),
        (Reply({"choices": [], "usage": {"prompt_tokens": 1}}), "no choices"),
        (Reply({"detail": "model is loading"}), r"no choices \(model is loading\)"),
        (Reply({"error": {"message": "overloaded, try again"}}), "an error: overloaded, try again"),
        (Reply({"error": {"message": "upstream failed", "code": 502}}), r"HTTP 502\): upstream failed"),
        (Reply({"message": "upstream failed", "statusCode": 502}), r"HTTP 502\): upstream failed"),
        (Reply(without("choices")), "no choices"),
        (Reply(message(None)), "without text"),
        (Reply(message([{"type": "image"}])), "without text"),
    ],
)
async def test_broken_answers_may_be_repeated_and_nobody_knows_what_they_cost(reply: Reply, words: str) -> None:
    error, _ = await failure(reply)
    assert error.retryable
    assert not isinstance(error, EndpointError)
    with pytest.raises(ModelError, match=words):
        raise error
    # nobody knows what it cost, unless it tells
    reported = isinstance(reply.body, dict) and reply.body.get("usage", {}).get("completion_tokens") and not reply.cut
    assert (error.spend is None) == (not reported)


async def test_tokens_that_a_broken_answer_reports_are_charged() -> None:
    error, prompt = await failure(Reply(message(None) | {"usage": {"prompt_tokens": 7, "completion_tokens": 40}}))
    assert error.spend == Spend(llm_calls=1, prompt_tokens=prompt, completion_tokens=40)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": -4, "completion_tokens": 1},
        {"prompt_tokens": "many"},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": 10**400, "completion_tokens": 1},
        {"prompt_tokens": 7},
    ],
)
async def test_without_a_credible_usage_the_tokenizer_counts(usage: Any) -> None:
    text = "one two three four five six"
    fake = Failing(Reply(completion(text) | {"usage": usage}))
    with FakeEndpoint(fake) as server:
        model = OpenAILLM(server.url)
        done = await model.generate(ASK, max_tokens=50)
        assert done.usage == Usage(await model.count_tokens(ASK), len(text) + 1)  # a byte a token, and the turn's end


@pytest.mark.parametrize(
    ("usage", "prompt", "completion", "thought"),
    [
        ({"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 149}, 40, 109, 100),
        ({"input_tokens": 40, "output_tokens": 9}, 40, 9, 0),
        ({"prompt_tokens": 40.0, "completion_tokens": "9"}, 40, 9, 0),
        (
            {"prompt_tokens": 40, "completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 80}},
            40,
            90,
            80,
        ),
    ],
)
async def test_usage_in_any_shape_is_read(usage: Any, prompt: int, completion: int, thought: int) -> None:
    """Hidden thoughts stand in the total alone; other names, floats and texts are in use."""
    with FakeEndpoint(Failing(Reply(completion_of("one two") | {"usage": usage}))) as server:
        done = await OpenAILLM(server.url).generate(ASK, max_tokens=200)
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (prompt, completion)
    assert (done.usage.reasoning_tokens, done.usage.estimated_tokens) == (thought, 0)


@pytest.mark.parametrize("usage", [{"completion_tokens": 70}, {"total_tokens": 70 + 19}])
async def test_half_a_usage_is_charged(usage: Any) -> None:
    with FakeEndpoint(Failing(Reply(completion_of("one two") | {"usage": usage}))) as server:
        model = OpenAILLM(server.url)
        done = await model.generate(ASK, max_tokens=200)
        assert await model.count_tokens(ASK) == 19
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (19, 70)


async def test_usage_in_a_choice_is_read() -> None:
    answer = completion_of("one two")
    answer["choices"][0]["usage"] = answer.pop("usage") | {"prompt_tokens": 40}
    with FakeEndpoint(Failing(Reply(answer))) as server:
        done = await OpenAILLM(server.url).generate(ASK, max_tokens=200)
    assert done.usage == Usage(40, 3)


@pytest.mark.parametrize("reply", [Reply(completion("x"), delay=60), Reply(completion("x"), trickle=0.5)])
async def test_time_outs_count_from_the_start_of_the_call(reply: Reply) -> None:
    """Far apart, so that a busy machine has sent the call before its limit and ends it long before the whole reply."""
    started = time.monotonic()
    error, _ = await failure(reply, limit=3.0)
    assert time.monotonic() - started < 30
    assert error.retryable
    assert "within 3 s" in error.problem
    assert error.spend is None


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("soon", None), (None, None), ("-3", 0.0), ("date", 30.0)]
)
@pytest.mark.parametrize("status", [429, 498, 503, 529])
async def test_a_server_without_room_tells_how_long_to_wait_and_costs_the_call_alone(
    status: int, header: str | None, seconds: float | None
) -> None:
    if header == "date":
        header = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    error, _ = await failure(Reply({}, status, {"retry-after": header} if header else {}))
    assert error.retryable
    assert f"refused the call for now (HTTP {status})" in error.problem
    assert isinstance(error, ThrottledError)
    assert error.retry_after == (pytest.approx(seconds, abs=3) if seconds else seconds)
    assert error.spend == Spend(llm_calls=1)


@pytest.mark.parametrize(
    "told",
    [
        {"error": {"message": "slow down", "code": "rate_limit_exceeded", "type": "rate_limit_error"}},
        {"error": {"message": "slow down", "type": "rate_limit_error"}},
        {"error": {"message": "slow down", "code": 429.0}},
        {"error": {"message": "slow down", "code": "429"}},
        {"error": {"message": "slow down", "status": "RESOURCE_EXHAUSTED"}},
        {"error": {"message": "slow down", "type": "overloaded_error"}},
        {"error": "slow down", "code": 503},
        {"status": 429, "message": "slow down"},
        {"status": 429, "message": "slow down", "choices": []},
        {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "slow down"}},
        # https://openrouter.ai/docs/api-reference/errors: of a provider that broke off
        {"choices": [{"error": {"code": 429, "message": "slow down"}, "finish_reason": "error", "message": {}}]},
        {"choices": [{"error": {"code": 503, "message": "slow down"}, "finish_reason": None}], "usage": None},
    ],
)
async def test_a_server_without_room_may_say_so_in_a_reply(told: Body) -> None:
    error, _ = await failure(Reply(told, 200, {"retry-after": "2"}))
    assert isinstance(error, ThrottledError)
    assert (error.retry_after, error.retryable, error.spend) == (2.0, True, Spend(llm_calls=1))
    assert "slow down" in error.problem


GROQ = (
    "Rate limit reached for model `llama-3.1-8b-instant` in organization `org_1` service tier `on_demand` on tokens "
    "per minute (TPM): Limit 6000, Used 5034, Requested 1443. Please try again in 4.77s. Need more tokens? Upgrade to "
    "Dev Tier today at https://console.groq.com/settings/billing"
)
OPENAI = (
    "Rate limit reached for default-gpt-3.5-turbo in organization org-1 on requests per min. Limit: 3 / min. Please "
    "try again in 20s. Contact us through our help center at help.openai.com if you continue to have issues. Please "
    "add a payment method to your account to increase your rate limit. Visit "
    "https://platform.openai.com/account/billing to add a payment method."
)
GEMINI = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: "
    "https://ai.dev/rate-limit.\n* Quota exceeded for metric: generativelanguage.googleapis.com/"
    "generate_content_free_tier_requests, limit: 20, model: gemini-2.5-flash\nPlease retry in 58.821668433s."
)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        # https://github.com/elizaOS/eliza/issues/4040
        ({"error": {"message": GROQ, "type": "tokens", "code": "rate_limit_exceeded"}}, 4.77),
        # https://github.com/arc53/DocsGPT/issues/287
        ({"error": {"message": OPENAI, "type": "requests", "code": "rate_limit_exceeded"}}, 20.0),
        # https://github.com/ogkalu2/comic-translate/issues/403
        ([{"error": {"code": 429, "message": GEMINI, "status": "RESOURCE_EXHAUSTED"}}], 58.8),
        ({"error": {"code": 429, "message": "Too fast. Upgrade: https://a.example/account/billing"}}, None),
        ({"error": {"message": "z-ai/glm is temporarily rate-limited upstream. Please retry shortly."}}, None),
    ],
)
async def test_a_limit_by_the_minute_is_waited_for_though_it_names_the_page_of_bills(
    told: Any, seconds: float | None
) -> None:
    error, _ = await failure(Reply(told, 429))
    assert isinstance(error, ThrottledError)
    assert error.retry_after == (seconds if seconds is None else pytest.approx(seconds, abs=0.1))
    assert error.spend == Spend(llm_calls=1)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        # https://platform.openai.com/docs/guides/error-codes
        ({"error": {"message": "You exceeded your current quota, please check your plan and billing details."}}, 429),
        ({"error": {"message": "No.", "code": "insufficient_quota"}}, 429),
        # https://github.com/modelscope/modelscope/issues/1691, https://github.com/MiniMax-AI/MiniMax-M2/issues/62
        ({"error": {"http_code": "429", "message": "insufficient balance (1008)"}}, 429),
        ({"type": "error", "error": {"type": "api_error", "message": "insufficient balance (1008)"}}, 500),
        ({"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, 429),
        ({"error": {"message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000"}}, 429),
        # https://platform.minimax.io/docs/api-reference/errorcode
        ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, 200),
        ({"error": {"message": "No.", "code": "insufficient_quota"}}, 200),
    ],
)
async def test_an_account_without_money_is_not_waited_for(told: Body, status: int) -> None:
    error, _ = await failure(Reply(told, status))
    assert not error.retryable
    assert "quota and credit" in error.remedy


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            {"choices": [{"error": {"code": 502, "message": "upstream died"}, "finish_reason": "error"}]},
            "upstream died",
        ),
        ({"choices": [{"finish_reason": "network_error", "message": {"content": "half a"}}]}, "network_error"),
        ({"choices": [{"finish_reason": "insufficient_system_resource", "message": {"content": ""}}]}, "insufficient_"),
        ({"choices": None, "base_resp": {"status_code": 1024, "status_msg": "internal error"}}, "internal error"),
        ({"errorMessage": "Task timed out after 30.03 seconds", "errorType": "Sandbox.Timedout"}, "Task timed out"),
        ({"error_code": 336100, "error_msg": "try again"}, "try again"),
    ],
)
async def test_a_reply_that_the_server_broke_off_is_asked_for_again(told: Body, words: str) -> None:
    """OpenRouter, z.ai, DeepSeek, MiniMax, a gateway in AWS Lambda, Baidu; each with HTTP 200."""
    error, _ = await failure(Reply(told))
    assert error.retryable
    assert words in error.problem
    assert error.spend is None


async def test_an_error_beside_a_choice_that_ended_well_is_none() -> None:
    told = completion("x")
    told["choices"][0]["error"] = {"code": 502, "message": "late"}
    with FakeEndpoint(Failing(Reply(told))) as server:
        assert (await OpenAILLM(server.url).generate(ASK, max_tokens=5)).texts == ["x"]


@pytest.mark.parametrize("status", [200, 503])
async def test_what_was_done_first_is_not_free(status: int) -> None:
    told = {"error": {"message": "gone", "code": 503}, "usage": {"prompt_tokens": 9, "completion_tokens": 9}}
    error, _ = await failure(Reply(told, status))
    assert error.retryable
    assert error.spend is None


@pytest.mark.parametrize(("status", "words"), [(401, "refused the key"), (403, "refused the key"), (404, "model")])
async def test_refusals_are_final(status: int, words: str) -> None:
    error, _ = await failure(Reply({"error": {"message": "no"}}, status))
    assert isinstance(error, EndpointError)
    assert not error.retryable
    assert words in str(error)
    assert error.spend is not None
    assert error.spend.tokens == 0


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"<" * 9_000_000, {}), (b'{"error": "' + b"x" * 200_000 + b'"}', {}), (b"x", {"content-encoding": "br"})],
)
async def test_a_failure_is_told_by_its_status_whatever_its_body(body: bytes, headers: dict[str, str]) -> None:
    error, _ = await failure(Reply(body, 401, headers))
    assert "refused the key (HTTP 401)" in error.problem
    error, _ = await failure(Reply(body, 502, headers))
    assert error.problem.endswith("failed (HTTP 502)")


@pytest.mark.parametrize("place", ["http://xn--a/", "data:,x", "http://[", "/elsewhere?key=1"])
async def test_a_server_that_moved_says_where(place: str) -> None:
    error, _ = await failure(Reply({}, 308, {"location": place}))
    assert error.problem.endswith(f"has moved to {place.partition('?')[0]} (HTTP 308)")
    assert isinstance(error, EndpointError)


@pytest.mark.parametrize(
    "place",
    ["https://a:{}@host/v1", "https://host/v1?key={}", "https://host/v1#token={}", "https://a@b:{}@host/v1"],
)
async def test_where_a_server_moved_holds_no_secret(place: str) -> None:
    error, _ = await failure(Reply({}, 308, {"location": place.format("hidden")}))
    assert error.problem.endswith("has moved to https://host/v1 (HTTP 308)")


@pytest.mark.parametrize("secret", ["sk-secret/1234", "header+secret", "query&secret"])
@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, {"error": {"message": "No such key: {}"}}),
        (400, {"error": {"message": "x" * 290 + " {}"}}),
        (400, {"detail": [{"loc": ["{}"], "msg": "not a field"}]}),
        (500, {"error": "GET /v1/models?sig={} failed"}),
        (200, {"error": "bad {}"}),
        (200, {"message": "hi {}"}),
        (200, {"choices": [{"message": {"content": "half"}, "finish_reason": "error"}], "message": "hi {}"}),
    ],
)
async def test_what_a_server_repeats_of_a_request_has_no_secret(
    secret: str, status: int, told: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret/1234")
    for form in (secret, quote(secret, safe="")):
        reply = Reply(json.loads(json.dumps(told).replace("{}", form)), status)
        with FakeEndpoint(lambda path, body, reply=reply: reply) as server:
            model = OpenAILLM(server.url, "m", headers={"X-Token": "header+secret"}, query={"sig": "query&secret"})
            with pytest.raises(ModelError) as caught:
                await model.generate(ASK, max_tokens=5)
        assert form not in str(caught.value)
        assert "***" in str(caught.value)


async def test_a_short_key_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local servers are given any, and "x" stands in "extra inputs are not permitted", too."""
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    error, _ = await failure(Reply({"error": {"message": "extra inputs: unexpected"}}, 400))
    assert "extra inputs: unexpected" in error.problem


async def test_a_bad_request_is_final_and_says_what_the_server_said() -> None:
    error, _ = await failure(Reply({"error": {"message": "temperature must be cold"}}, 422))
    assert "temperature must be cold" in error.problem


async def test_nobody_at_the_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = load(f"openai:http://127.0.0.1:{port}/v1#m")
    for call in (model.capabilities(), model.generate(ASK, max_tokens=1), model.count_tokens(ASK)):
        with pytest.raises(EndpointError, match="No model server at http://") as caught:
            await call
        assert not caught.value.retryable
        assert "Start the server" in caught.value.remedy


async def test_an_unknown_host() -> None:
    with pytest.raises(EndpointError, match="unknown host"):
        await load("openai:http://no-such-host.invalid/v1#m").capabilities()


async def test_not_a_model_server() -> None:
    hello = FakeEndpoint(lambda path, body: Reply({"hello": "world"}))
    with hello as server, pytest.raises(EndpointError, match="does not list its models"):
        await OpenAILLM(server.url).capabilities()


async def test_a_failed_probe_is_not_remembered() -> None:
    broken = Failing(Reply({}, 503))
    with FakeEndpoint(broken) as server:
        model = OpenAILLM(server.url)
        with pytest.raises(ModelError, match="503"):
            await model.capabilities()
        assert model.probe_spend.llm_calls == 1  # charged all the same
        broken._chat = Vllm()._chat  # type: ignore[method-assign]
        assert (await model.capabilities()).scoring


async def test_counting_survives_a_server_that_is_down_for_a_moment() -> None:
    fake, down = Vllm(), [False]

    def flaky(path: str, body: Body) -> Reply:
        return Reply({}, 503) if down[0] and path == "/tokenize" else fake(path, body)

    with FakeEndpoint(flaky) as server:
        model = OpenAILLM(server.url)
        exact = await model.count_tokens(ASK)
        down[0] = True
        other = [{"role": "user", "content": "Name a fruit."}]
        assert await model.count_tokens(other) > exact  # a bound
        down[0] = False
        assert await model.count_tokens(other) == exact - 1


async def test_models_that_are_listed_in_brackets_without_end() -> None:
    with FakeEndpoint(lambda path, body: Reply(b'{"data":' + b"[" * 200_000)) as server:
        with pytest.raises(ModelError, match="nested too deeply"):
            await OpenAILLM(server.url).capabilities()
        assert len(server.requests) == 3  # it costs nothing and may have been a slip


@pytest.mark.parametrize("key", ["cl\u00e9", "sk-one\nsk-two", "half \udce9", "\x7f"])
async def test_a_key_that_no_header_can_carry_is_named_and_not_sent(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGSCALE_TEST_KEY", key)
    with FakeEndpoint(Vllm()) as server:
        for name in (None, "org/model"):
            model = OpenAILLM(server.url, name, api_key_env="RAGSCALE_TEST_KEY")
            with pytest.raises(EndpointError, match="RAGSCALE_TEST_KEY has characters that no HTTP header") as caught:
                await model.generate(ASK, max_tokens=5)
            assert not caught.value.retryable
            assert key not in str(caught.value)
        assert server.requests == []
        monkeypatch.setenv("RAGSCALE_TEST_KEY", " sk-one\n")
        await model.generate(ASK, max_tokens=5)
        assert set(server.keys) == {"Bearer sk-one"}


def test_urls_are_checked_and_hold_no_credentials() -> None:
    for url in ("https://me:pw@host/v1", "https://host/v1?token=pw"):
        with pytest.raises(InvalidInput, match="holds credentials") as caught:
            Transport(url)
        assert "pw" not in str(caught.value)
    for url in ("localhost:8000", "ftp://host/v1", "", "http://", "http://[::1", "http://host:999999/v1"):
        with pytest.raises(InvalidInput, match="is not a URL"):
            Transport(url)


async def test_more_tokens_than_a_text_can_have_are_no_count() -> None:
    """They would be sent back, one by one, in a grammar or a prompt."""

    class Swollen(Vllm):
        def __call__(self, path: str, body: Body) -> Reply:
            reply = super().__call__(path, body)
            if path == "/tokenize" and "prompt" in body:
                reply.body = {"tokens": [7] * 100_000, "count": 100_000}
            return reply

    with FakeEndpoint(Swollen()) as server:
        model = OpenAILLM(server.url)
        assert not (await model.capabilities()).scoring
        assert server.sent("/v1/completions") == []
