"""Refusals of servers, in the shapes and words in use, and the parameters that calls then go on without."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_endpoint import Body, FakeEndpoint, Reply, completion

from ragscale.endpoint.http import open_client
from ragscale.endpoint.replies import said
from ragscale.endpoint.retry import attempts
from ragscale.endpoint.transport import BadKeyError, RefusedError, Transport
from ragscale.errors import EndpointError, InvalidInput, ModelError
from ragscale.llm import load
from ragscale.llm.manners import Manners
from ragscale.llm.openai import OpenAILLM
from ragscale.prompts.thoughts import spoken

pytestmark = pytest.mark.filterwarnings("ignore::ragscale.llm.ModelWarning")

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour, please."}]


class Refusing:
    """Refuses a parameter, or a system message, in its own words."""

    def __init__(self, parameter: str, reply: Any, status: int = 400) -> None:
        self.parameter, self.reply, self.status = parameter, reply, status

    def __call__(self, path: str, body: Body) -> Reply:
        if path == "/v1/models":
            return Reply({"data": [{"id": "m", "max_model_len": 4096}]})
        if path != "/v1/chat/completions":
            return Reply({"error": {"message": "Not Found"}}, 404)
        system = any(message["role"] == "system" for message in body["messages"])
        if self.parameter in body or (self.parameter == "system" and system):
            return Reply(self.reply, self.status)
        return Reply(completion("blue", prompt=40, done=1))


async def asked(fake: Refusing, spec: str = "") -> str:
    """Answer in the end, retries included."""
    with FakeEndpoint(fake) as server:
        model = load(f"openai:{server.url}{spec}")
        async for attempt in attempts(base=0.0):
            with attempt:
                done = await model.generate(ASK, max_tokens=20, seed=3)
        return done.texts[0]


@pytest.mark.parametrize(
    ("parameter", "reply", "status"),
    [
        ("seed", {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, 422),
        ("seed", {"error": {"message": "Unsupported parameter", "param": "seed"}}, 400),
        ("seed", {"errors": {"seed": ["is not allowed"]}}, 400),
        ("seed", {"Message": "Invalid parameter: seed"}, 400),
        ("seed", {"fault": {"faultstring": "unknown field seed"}}, 400),
        ("seed", {"error": {"error": {"error": {"error": {"error": {"message": "seed is invalid"}}}}}}, 400),
        ("seed", {"error": {"message": "不支持参数 seed"}}, 400),
        ("seed", {"error": "create() got an unexpected keyword argument 'seed'"}, 500),
        ("temperature", {"error": {"message": "Invalid temperature: expected 1"}}, 400),
        ("temperature", {"error": {"message": "temperature is fixed at 1.0 when thinking is enabled"}}, 400),
        ("temperature", {"error": {"message": "temperature: 0 does not equal 1, which this model requires"}}, 400),
        ("temperature", {"error": {"message": "`temperature` and `top_p` cannot both be specified"}}, 400),
        ("temperature", {"error": {"message": "temperature: 0 is outside the range for this plan"}}, 403),
        ("max_tokens", {"message": "max_tokens and max_completion_tokens cannot both be specified"}, 400),
        ("temperature", {"error": {"message": "Only the default (1) value is supported", "param": "temperature"}}, 400),
        ("max_tokens", {"detail": [{"loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]}, 422),
        ("max_tokens", {"error": {"message": "Unsupported: 'max_tokens'. Use 'max_completion_tokens'."}}, 400),
        ("system", {"error": {"message": "System role not supported"}}, 400),
        ("system", {"error": {"message": "System role not supported"}}, 500),
        ("system", {"message": "Only user and assistant roles are supported!"}, 400),
        ("system", {"detail": "'system' is not one of ['user', 'assistant'] - 'messages.0.role'"}, 400),
        ("system", {"error": {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}}, 400),
    ],
)
async def test_what_is_refused_by_name_is_done_without(parameter: str, reply: Any, status: int) -> None:
    assert await asked(Refusing(parameter, reply, status)) == "blue"


@pytest.mark.parametrize(
    ("parameter", "words", "status"),
    [
        ("seed", "The following parameters are not applicable to this model: seed", 400),
        ("seed", "Parameter seed has been removed from this API", 400),
        ("seed", 'additionalProperties: "seed" not defined in schema', 422),
        ("seed", "'seed' cannot be used with this model", 400),
        ("seed", "Forbidden field: seed", 403),
        ("seed", 'Der Parameter "seed" wird nicht unterstützt.', 400),
        ("seed", "El parámetro seed no es compatible", 400),
        ("seed", "Параметр seed не поддерживается", 400),
        ("seed", "参数seed错误:不允许传入", 400),
        ("seed", "パラメータseedはサポートされていません", 400),
        ("temperature", "Temperature is not supported with this model.", 400),
        ("temperature", "sampling parameters (temperature, top_p) are not configurable", 400),
        ("temperature", "temperature cannot be changed for reasoning models", 400),
        ("max_tokens", "please use max_completion_tokens instead of max_tokens", 400),
        ("max_tokens", "max_tokens has been replaced by max_completion_tokens", 400),
    ],
)
async def test_a_refusal_that_names_a_parameter_means_it_in_any_words(parameter: str, words: str, status: int) -> None:
    assert await asked(Refusing(parameter, {"error": {"message": words}}, status)) == "blue"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("max_tokens is too large: 96. max_completion_tokens can be 64 at most", ""),
        ("max_tokens: 20 exceeds what is left of your plan", ""),
        ("Nobody may ask how to stop a train", ""),
        ("The model gave up in step n of the plan", ""),
        ("parameter n: one sample a call", "n"),
        ("the field 'stop' is none of ours", "stop"),
    ],
)
def test_words_that_stand_in_other_sentences_need_more(words: str, named: str) -> None:
    body = {"max_tokens": 20, "stop": ["x"], "n": 2, "messages": []}
    refusal = RefusedError(words)
    refusal.said = words
    assert Manners().learn(refusal, body) == named


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("messages: role must be one of user, assistant", 400),
        ("messages.0.role: Input should be 'user' or 'assistant'", 422),
        ("Invalid value: 'system'. Supported values are: 'user' and 'assistant'.", 400),
        ("Only user, assistant and tool roles are supported, got system.", 400),
        ("First message must be from user", 400),
        ("conversation must start with a user turn", 500),
        ("", 400),
        ("Forbidden", 403),
        ("Not Found", 404),
        ("", 502),
    ],
)
async def test_a_system_role_is_seen_to_be_refused_whatever_the_words(words: str, status: int, counts: bool) -> None:
    def answer(path: str, body: Body) -> Reply:
        if path != "/v1/chat/completions" or body["messages"][0]["role"] == "system":
            return Refusing("system", {"error": {"message": words}}, status)(path, body)
        reply = completion("blue", prompt=4 + sum(len(message["content"]) for message in body["messages"]), done=1)
        return Reply(reply if counts else {**reply, "usage": None})

    with FakeEndpoint(answer) as server:
        model = OpenAILLM(server.url)
        async for attempt in attempts(base=0.0):
            with attempt:
                await model.capabilities()
        assert (await model.report()).folds_system
        assert (await model.report()).usage == counts
        assert (await model.generate(ASK, max_tokens=20)).texts == ["blue"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("Input validation error: `temperature` must be strictly positive", 422),
        ("Invalid params: temperature must be in range (0, +inf)", 422),
        ("temperature must be greater than 0 to ensure diverse outputs", 400),
        ("`temperature` (=0.0) has to be a strictly positive float", 400),
        ("invalid params, temperature should be > 0", 400),
        ("temperature must be between 0.01 and 1.0", 400),
        ("temperature should be in range [0.01, 1.99]", 400),
        ("The temperature must be in (0.0, 1.0]", 400),
    ],
)
async def test_a_server_that_takes_any_temperature_but_0_is_sent_a_small_one(words: str, status: int) -> None:
    """Left out, it would draw samples at a temperature of its own."""

    def answer(path: str, body: Body) -> Reply:
        if path.endswith("/chat/completions") and body.get("temperature") == 0:
            return Reply({"error": {"message": words}}, status)
        return Refusing("nothing", None)(path, body)

    with FakeEndpoint(answer) as server:
        model = load(f"openai:{server.url}")
        for temperature in (0.0, 0.0, 0.7):
            async for attempt in attempts(base=0.0):
                with attempt:
                    await model.generate(ASK, max_tokens=20, temperature=temperature)
        sent = [body["temperature"] for body in server.sent("/chat/completions")]
    assert sent == [0, 0.01, 0.01, 0.7]


@pytest.mark.parametrize(
    ("words", "coldest"),
    [
        ("temperature: Input should be greater than or equal to 0.1", 0.1),
        ("temperature 0 is invalid, use a value between .2 and 1", 0.2),
        ("Temperature must be >= 1e-5", 1e-5),
        ("temperature 取值范围 [0.05, 1]", 0.05),
        ("temperature (=0.0) must be at least 0.3", 0.3),
    ],
)
def test_the_lowest_temperature_that_is_told_is_the_one_to_send(words: str, coldest: float) -> None:
    refusal, manners = RefusedError(words), Manners()
    refusal.said = words
    body = {"temperature": 0, "messages": []}
    assert manners.learn(refusal, body) == "coldest"
    assert manners.adapt(body)["temperature"] == coldest
    assert manners.learn(refusal, manners.adapt(body)) == "temperature"  # it was not enough, and there is an end


async def test_what_is_refused_otherwise_has_the_servers_words_and_a_remedy() -> None:
    with pytest.raises(ModelError, match=r"refused the request .*: the moon is wrong") as caught:
        await asked(Refusing("seed", {"error": {"message": "the moon is wrong"}}))
    assert "?body.NAME=null" in caught.value.remedy
    assert await asked(Refusing("seed", {"error": {"message": "the moon is wrong"}}), "#m?body.seed=null") == "blue"


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4872 in messages).",
        "'max_tokens' or 'max_completion_tokens' is too large: 96. This model's maximum context length is 64 tokens.",
        "The decoder prompt (length 5000) is longer than the maximum model length of 2048.",
        "the request exceeds the available context size (4096 tokens), try increasing it",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "Please reduce the length of the messages or completion.",
        "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
        "`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` tokens and 512 `max_new_tokens`",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.",
        "Invalid request: Your request exceeded model token limit: 8192",
        "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
    ],
)
async def test_a_prompt_beyond_the_servers_window_says_to_shorten_it(said: str) -> None:
    """The server's words have the lengths; `max_tokens` in them is no parameter that it does not take."""
    with pytest.raises(ModelError, match="refused the request") as caught:
        await asked(Refusing("max_tokens", {"error": {"message": said}}))
    assert said.rstrip(".") in caught.value.problem
    assert caught.value.remedy.startswith("Shorten the question or show fewer passages")
    assert "?window=" in caught.value.remedy


@pytest.mark.parametrize(
    "said",
    [
        "parameter.enable_thinking must be set to false for non-streaming calls",
        "This model only support stream mode, please enable the stream parameter to access the model.",
        "enable thinking can not be support when `stream=False`.",
    ],
)
async def test_a_model_that_answers_in_streams_alone_says_what_to_do(said: str) -> None:
    """DashScope's open models that think, and QwQ."""
    with pytest.raises(ModelError, match="refused the request") as caught:
        await asked(Refusing("messages", {"error": {"message": said, "code": "invalid_parameter_error"}}))
    assert "?body.enable_thinking=false" in caught.value.remedy


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("Your input was flagged by our moderation: violence/graphic token detected", "ask otherwise"),
        ("Country, region, or territory not supported", "another model or service"),
        ("The prompt was rejected by the content filter of this service", "ask otherwise"),
        ("This model is limited to 2000 tokens per request on the free plan", "Shorten the question"),
        ("You are not allowed to ask for a seed here", "?body.NAME=null"),
    ],
)
async def test_what_is_forbidden_for_another_reason_than_the_key_says_so(words: str, remedy: str) -> None:
    with pytest.raises(ModelError, match="refused the request") as caught:
        await asked(Refusing("messages", {"error": {"message": words}}, 403))
    assert remedy in caught.value.remedy
    assert ("?body.NAME" in caught.value.remedy) == ("?body.NAME" in remedy)


@pytest.mark.parametrize(
    "words",
    ["Forbidden", "The security token included in the request is invalid", "your access token may not do this",
     "The token that you sent has expired", "Invalid token, please log in again", "this API key is disabled for now",
     "Could not validate credentials for this"],
)  # fmt: skip
async def test_what_is_forbidden_for_the_key_says_so(words: str) -> None:
    with pytest.raises(EndpointError, match="refused the key"):
        await asked(Refusing("messages", {"error": {"message": words}}, 403))


@pytest.mark.parametrize("words", ["backend not available: stop signal received", "no such seed node", "invalid n"])
async def test_a_failure_that_happens_to_have_the_name_of_a_parameter_drops_none(words: str) -> None:
    failures = [Reply({"error": {"message": words}}, 500)]

    def answer(path: str, body: Body) -> Reply:
        return failures.pop() if "chat" in path and failures else Refusing("nothing", None)(path, body)

    with FakeEndpoint(answer) as server:
        model = load(f"openai:{server.url}")
        async for attempt in attempts(base=0.0):
            with attempt:
                await model.generate(ASK, max_tokens=20, seed=3, stop=["\n"])
        assert {"seed", "stop"} <= set(server.sent("/chat/completions")[-1])


async def test_words_of_the_url_are_no_words_of_the_server() -> None:
    """A host or path may hold the name of a parameter."""
    fake = Refusing("temperature", {"error": {"message": "not supported"}})
    with FakeEndpoint(lambda path, body: fake(path.replace("/seed", ""), body)) as server:
        model = load(f"openai:{server.url.replace('/v1', '/seed/v1')}#m")
        with pytest.raises(ModelError, match="not supported") as caught:
            await model.generate(ASK, max_tokens=20, seed=3)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"base_resp": {"status_msg": "login fail"}}, "login fail"),
        ([{"error": {"message": "quota.", "status": 3}}], "quota"),
        ({"detail": [{"loc": ["body", 0, "x"], "msg": "field required"}]}, "field required (x)"),
        ({"a": {"b": {}}}, ""),
        (None, ""),
        ({"loc": 5, "param": {}, "message": "no"}, "no"),
    ],
)
def test_words_are_found_in_any_shape(body: Any, words: str) -> None:
    assert said(body)[0] == words


@pytest.mark.parametrize(
    "before", [b"", b": OPENROUTER PROCESSING\n\n", b"\n: keep-alive\n\n", b"id: 1\n", b"retry: 3\n"]
)
async def test_a_stream_that_was_not_asked_for_is_named_at_once(before: bytes) -> None:
    chunk = (
        before
        + b"data: "
        + json.dumps({"choices": [{"delta": {"content": "blue"}}]}).encode()
        + b"\n\ndata: [DONE]\n\n"
    )
    fake = Refusing("messages", chunk, 200)
    with pytest.raises(EndpointError, match="answered with a stream, which was not asked for"):
        await asked(fake)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("<thinking>hm</thinking>blue", "blue"),
        ("[THINK]hm[/THINK]blue", "blue"),
        ("◁think▷hm◁/think▷blue", "blue"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>blue", "blue"),
        ("Sure. <think>hm</think>blue", "Sure. blue"),
        ("blue\n<think>late</think>", "blue"),
        ("blue <think>without an end", "blue"),
        ("a < b and [THINK] is a tag", "a < b and [THINK] is a tag"),
    ],
)
async def test_thoughts_in_any_notation_are_not_the_reply(text: str, reply: str) -> None:
    fake = Refusing("nothing", None)
    with FakeEndpoint(lambda path, body: _saying(fake(path, body), text)) as server:
        done = await load(f"openai:{server.url}").generate(ASK, max_tokens=50)
    assert spoken(done.texts[0]).strip() == reply


async def test_parts_that_are_thoughts_are_left_out() -> None:
    parts = [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "bl"}, {"text": "ue"}]
    fake = Refusing("nothing", None)
    with FakeEndpoint(lambda path, body: _saying(fake(path, body), parts)) as server:
        assert (await load(f"openai:{server.url}").generate(ASK, max_tokens=50)).texts == ["blue"]


def _saying(reply: Reply, content: Any) -> Reply:
    if "choices" in reply.body:
        reply.body["choices"][0]["message"]["content"] = content
        reply.body["usage"]["completion_tokens"] = 30
    return reply


async def test_usage_in_each_choice_is_summed() -> None:
    def answer(path: str, body: Body) -> Reply:
        reply = Refusing("nothing", None)(path, body)
        if "choices" in reply.body:
            prompt = sum(len(message["content"]) for message in body["messages"])
            usage = {"prompt_tokens": prompt, "completion_tokens": 9, "total_tokens": prompt + 9}
            del reply.body["usage"]
            choice = reply.body["choices"][0] | {"usage": usage}
            reply.body["choices"] = [choice] * body.get("n", 1)
        return reply

    with FakeEndpoint(answer) as server:
        done = await load(f"openai:{server.url}").generate(ASK, max_tokens=50, n=3)
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (sum(len(each["content"]) for each in ASK), 27)


@pytest.mark.parametrize("option", ["body.x=NaN", "body.x=[1e999]", "header.X-Ä=a", "header.X-A=ö", "header.X-A=a%0Ab"])
def test_options_that_cannot_be_sent_are_refused(option: str) -> None:
    with pytest.raises(InvalidInput):
        load(f"openai:http://localhost:8000/v1#m?{option}")


@pytest.mark.parametrize("value", ["[::1]", "localhost,[::1]:8000", "http://foo:bar"])
def test_a_no_proxy_that_cannot_be_used_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    monkeypatch.setenv("NO_PROXY", value)
    with pytest.raises(InvalidInput, match="NO_PROXY: httpx cannot use what stands there"):
        open_client(httpx.Client, "https://example.invalid/v1")
    open_client(httpx.Client, "http://127.0.0.1:1/v1").close()


async def test_a_dead_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:9")
    with pytest.raises(EndpointError, match=r"by the proxy of .*HTTPS_PROXY") as caught:
        await load("openai:https://example.invalid/v1#m").generate(ASK, max_tokens=5)
    assert "secret" not in str(caught.value)
    with FakeEndpoint(Refusing("nothing", None)) as server:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        for host in ("127.0.0.1", "0.0.0.0", "localhost"):
            url = server.url.replace("127.0.0.1", host)
            assert (await load(f"openai:{url}").generate(ASK, max_tokens=5)).texts == ["blue"]


JSON = {"error": {"message": "no"}}


@pytest.mark.parametrize(
    ("reply", "by_proxy", "retryable"),
    [
        (Reply(b"", 407), True, False),
        (Reply(JSON, 407), True, False),
        (Reply(b"<html>blocked by policy</html>", 403), True, False),
        (Reply(b"<html>Bad Gateway</html>", 502), True, True),
        (Reply(b"", 503), True, True),
        (Reply(b"upstream timed out", 504), True, True),
        (Reply(JSON, 403), False, False),
        (Reply(JSON, 502), False, True),
        (Reply(JSON, 503), False, True),
        (Reply(b"<html>boom</html>", 500), False, True),
        (Reply(b"", 401), False, False),
    ],
)
async def test_a_proxy_that_may_have_refused_is_named(
    reply: Reply, by_proxy: bool, retryable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TLS its refusals come as the server's: only JSON is surely not a proxy's."""
    with FakeEndpoint(lambda path, body: reply) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1").replace("//", "//user:secret@"))
        with pytest.raises(ModelError) as caught:
            await Transport("http://model.example:8000/v1").post("chat/completions", {})
        error = caught.value
        assert "http://model.example:8000/v1" in error.problem
        assert ("proxy of HTTP_PROXY" in error.problem) == by_proxy
        assert error.retryable == retryable
        assert "secret" not in str(error)
        if by_proxy:
            assert f"HTTP {reply.status}" in error.problem
            assert not isinstance(error, BadKeyError)
            assert "?body" not in error.remedy
    with FakeEndpoint(lambda path, body: reply) as server, pytest.raises(ModelError) as direct:
        await Transport(server.url).post("chat/completions", {})
    assert "HTTP_PROXY" not in str(direct.value)


LOGIN = b"<!DOCTYPE html>\n<html><head><title>\n Sign in &amp; go on</title></head><body><form/></body></html>"


@pytest.mark.parametrize("spec", ["#m", ""])
@pytest.mark.parametrize("proxied", [True, False])
async def test_a_login_page_in_place_of_json_is_told_with_its_title_and_the_proxy(
    spec: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeEndpoint(lambda path, body: Reply(LOGIN)) as server:
        url = "http://model.example:8000/v1" if proxied else server.url
        if proxied:
            monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1").replace("//", "//user:secret@"))
        with pytest.raises(ModelError) as caught:
            await load(f"openai:{url}{spec}").generate(ASK, max_tokens=5)
    error = caught.value
    path = "chat/completions" if spec else "models"
    assert error.problem.endswith(f"{url}/{path} answered with a page of HTML, 'Sign in & go on', in place of JSON")
    assert ("NO_PROXY: the proxy of HTTP_PROXY" in error.remedy) == proxied
    assert "secret" not in str(error)


async def test_a_page_that_repeats_the_key_does_not_bring_it_into_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    page = Reply(b"<html><title>no sk-very-secret</title>")
    with FakeEndpoint(lambda path, body: page) as server, pytest.raises(ModelError, match=r"'no \*\*\*'"):
        await Transport(server.url).post("chat/completions", {})


async def test_tls_with_a_port_that_speaks_none_is_named() -> None:
    with FakeEndpoint(Refusing("nothing", None)) as server, pytest.raises(EndpointError, match="No TLS with"):
        await load(f"openai:{server.url.replace('http', 'https')}#m").generate(ASK, max_tokens=5)
