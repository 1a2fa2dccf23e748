"""Fake model servers with a true count: what a kind of server does and misreports is data, what it spends is known.

`Kind` says how a server behaves; `Fake` is one server of a kind and keeps the truth of each run apart, by a tag that
stands in the question and in every sub-query that the fake model writes.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import fake_tokens
from fake_server import Request, Response, Server

__all__ = [
    "BLIND",
    "HARD",
    "MODEL",
    "PARTLY",
    "THOUGHT",
    "Asked",
    "Fake",
    "Fakes",
    "Kind",
    "Truth",
    "chatter",
    "move_of",
    "tagged",
]

Body = dict[str, Any]

MODEL = "org/fake-1"
THOUGHT = "hmmmm"
"""The word that thoughts are made of: nothing else has it."""
TAG = re.compile(r"zq\d{6}")
_BEGIN, _ROLE, _END = fake_tokens.SPECIAL[:3]
_FILLER = fake_tokens.SPECIAL[3]

_DOCUMENTED = frozenset(
    ["model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "seed", "stop", "stream",
     "logprobs", "top_logprobs", "response_format", "reasoning_effort", "user", "frequency_penalty", "store",
     "presence_penalty", "tools", "tool_choice", "stream_options", "metadata", "verbosity"]
)  # fmt: skip

HARD = ("honest", "float", "cached", "cached_odd", "hidden", "first_sample")
"""Usage reports from which the true count can be told: limits hold by it, whatever the tokenizer."""
PARTLY = ("input", "choice", "text", "prompt_only", "completion_only", "total_only")
"""Reports that may be read or taken for none."""
BLIND = ("absent", "null", "zeros", "negative", "nonsense", "low")
"""Reports that tell nothing."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Behaviour of a server. The defaults are a good one without a tokenizer route."""

    name: str = ""
    """For messages; by default what differs from a good server."""

    # -- what is true
    tokenizer: str = "words"
    """By which it counts: a name of `fake_tokens.TOKENIZERS`."""
    head: int = 4
    """Tokens that the chat template adds to each message, 2 at least."""
    preamble: int = 0
    """Tokens of a system prompt of the template's own."""
    window: int = 32_768
    """Most tokens of prompt and completion."""

    # -- what it tells
    usage: str = "honest"
    """Report of a call's cost; see `HARD`, `PARTLY` and `BLIND`; ``"beside"``: thoughts are not counted in the
    completion; ``"constant"``: the same always."""
    route: str = ""
    """Its tokenizer route: ``""`` for none, ``"vllm"``, ``"llama"``, ``"sglang"`` (texts only, no chats)."""
    off: int = 0
    """Tokens that its usage counts more than its tokenizer route."""
    model: str = MODEL
    """The model's name in requests."""
    listed: tuple[str, ...] = ()
    """Names that ``/models`` lists; by default the one that requests carry."""
    models: str = "listed"
    """Answer of ``/models``: ``"listed"``, a status as text, or a shape: ``"list"``, ``"html"``, ``"null"``..."""
    window_in: str = ""
    """Field of ``/models`` (``max_model_len``, ``meta.n_ctx``...), ``props`` (llama.cpp), ``api_v0`` (LM Studio),
    ``ps`` (Ollama, of a loaded model), ``old_ps`` (an older Ollama: the path without the window), or ``""`` where it
    does not tell."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields of a reply."""
    extra_usage: dict[str, Any] = field(default_factory=dict)
    """Further fields of its usage."""

    # -- how it thinks
    thought: int = 0
    """Tokens of the longest thought before an answer; a thought has half as many at least."""
    thought_in: str = "reasoning_content"
    """Place of thoughts: a field of the message, ``"tags"``, ``"end_tag"`` (the template opened it) or ``"hidden"``
    (nowhere, though it is paid)."""
    tags: tuple[str, str] = ("<think>", "</think>")
    """Notation of thoughts in a text."""
    cut: Any = None
    """The content of a message that was cut within its thought."""
    switch: str = ""
    """Switch that turns thoughts off: ``"enable_thinking"``, ``"reasoning_effort"``, ``"reasoning"`` (OpenRouter),
    ``"thinking"`` (DeepSeek), or ``""`` for nothing."""
    efforts: tuple[str, ...] = ("none", "minimal", "low", "medium", "high")
    """Values of ``reasoning_effort`` that it takes; the first two of these stop it from thinking."""

    # -- what it takes
    overshoot: int = 0
    """Tokens that it may write beyond the limit; 0 for a server that honours it."""
    limit_field: str = "max_tokens"
    """The only name of the limit that it takes (``max_completion_tokens``); others are refused. ``"any"`` for both."""
    system: bool = True
    """Whether its template has a system role."""
    refuses: tuple[str, ...] = ()
    """Parameters that are refused with HTTP 400 and their name."""
    said: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Status and words of a refusal, by parameter, where it has its own."""
    strict: bool = False
    """Whether fields that OpenAI does not document are refused."""
    truncates: bool = False
    """Whether a prompt beyond the window is cut without a word."""
    ignores: tuple[str, ...] = ()
    """Parameters that it does not heed, and does not say so."""
    continues: str = ""
    """Request that has it continue a last assistant message: ``"fields"`` (``continue_final_message``), ``"last"``
    (nothing more), ``"prefix"`` (a mark in the message), or ``""`` for nothing: it begins another turn. llama.cpp does
    by itself."""
    tools: str = ""
    """``"calls"``: it calls tools; ``"once"``: it does, and refuses the conversation that follows (it wants back what
    else stood in the turn); ``""``: its template leaves them out without a word."""
    parses: bool = False
    """Whether its parser takes all of a continued turn for a thought (vLLM with a reasoning parser)."""
    least: int = 1
    """Smallest limit of tokens that it takes."""
    key: bool = False
    """Whether it wants a key, as a bearer or in the header ``api-key``."""
    prefix: str = "/v1"
    """Prefix of the dialect's paths."""
    errors: str = "openai"
    """Form of an error: ``"openai"``, ``"list"`` (Google), ``"text"`` (LM Studio), ``"numbered"`` (OpenRouter)."""
    unknown: int = 404
    """Status of paths that it does not know."""

    # -- how it fails
    failure: str = ""
    """Failure of the calls of questions; see `Fake._fail`."""
    rate: float = 0.0
    """The share of calls that it goes wrong with."""
    slow: float = 0.0
    """Seconds that a share of the calls take."""
    slow_rate: float = 0.2
    """That share."""
    content: str = "text"
    """Form of a message's content: ``"text"``, ``"parts"``, ``"fenced"``."""
    finish: str = "stop"
    """The reason of an uncut end."""
    garbled: float = 0.0
    """The share of answers that no mode can use."""

    def __post_init__(self) -> None:
        if not self.name:
            differs = [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if f.name != "name"]
            usual = {f"{f.name}={f.default}" for f in fields(self)} | {"extra={}", "extra_usage={}", "said={}"}
            object.__setattr__(self, "name", " ".join(d for d in differs if d not in usual) or "good")

    @property
    def honours(self) -> bool:
        """Whether it never writes more than it was allowed."""
        return not self.overshoot

    @property
    def countable(self) -> bool:
        """Whether anybody can know what a call costs before and after it: then limits are hard."""
        return self.usage in HARD or bool(self.route)


@dataclass
class Truth:
    """True cost of the calls of one run, as the server knows it."""

    calls: int = 0
    """Generations that were asked for, refused ones included."""
    prompt: int = 0
    completion: int = 0
    overshoots: list[int] = field(default_factory=list)
    """Tokens beyond its limit, of each call that was not held to it."""
    lost: int = 0
    """Calls that were cut within a thought: nothing of them could be used."""
    failed: int = 0
    """Calls that were refused or went wrong."""

    @property
    def tokens(self) -> int:
        """Tokens that a limit of tokens counts."""
        return self.prompt + self.completion


@dataclass(frozen=True)
class Asked:
    """One sample of one call, as the fake model sees it."""

    move: str
    """``plan``, ``turn`` (a round in JSON), ``tags`` (in tags), ``act`` (a turn of an agent), ``read``, ``answer``, or
    ``other``."""
    text: str
    """All messages."""
    last: str
    """The last message."""
    tag: str
    """Of the run; empty for calls that are no question's."""
    dice: random.Random
    """The same for the same prompt, seed and sample."""
    schema: dict[str, Any] | None

    @property
    def most(self) -> int:
        """Queries that a turn may have."""
        found = re.search(r"(?:up to|at most|\"maxItems\":) (\d+)", self.text)
        return int(found[1]) if found else 1


Author = Callable[[Asked], str]


def tagged(question: str, number: int) -> str:
    """A question that its run can be told by, in every prompt of it."""
    return f"{question} zq{number:06d}?"


def move_of(first: str) -> str:
    """Move that a call is for, by its first message."""
    if "Call the tools until" in first or '"search": [' in first:
        return "act"
    if '"documents": [...]' in first:
        return "answer"
    if "<search>" in first:
        return "tags"
    if '"queries": [' in first:
        return "turn" if re.search(r"up to \d+ at once", first) else "plan"
    return "read" if "Answer the query from the documents" in first else "other"


_WORDS = [
    "mine", "lamp", "rhodium", "survey", "harbour", "glass", "violin", "bridge", "comet", "ledger", "1847", "océan",
    "鉄道", "Δt", "3.14159", "café", "№5",
]  # fmt: skip


def chatter(asked: Asked) -> str:
    """Plays every mode along: mostly new sub-queries, sometimes enough, sometimes at length, now and then malformed."""
    dice, tag = asked.dice, asked.tag
    lengthy = dice.choice([2, 3, 5, 8, 8, 40])

    def phrase() -> str:
        return " ".join(dice.choice(_WORDS) for _ in range(lengthy))

    def query() -> str:
        return f"{dice.choice(_WORDS)} {tag} w{dice.randrange(10**6)}"

    if asked.move in ("plan", "turn", "act") and dice.random() < 0.04:
        return f"Look up {tag} perhaps, or {{"
    if asked.move == "tags":
        if asked.text.count("<information>") > 1 + dice.randrange(3):
            return f"<think> {phrase()} </think> <answer> answer {dice.randrange(100)} </answer>"
        return f"<think> {phrase()} </think> <search> {', '.join(query() for _ in range(asked.most))} </search>"
    if asked.move in ("plan", "turn"):
        queries = [] if dice.random() < 0.12 else [query() for _ in range(dice.randint(1, asked.most))]
        return json.dumps({"known": phrase(), "missing": phrase(), "queries": queries}, ensure_ascii=False)
    if asked.move == "act":  # the server makes tool calls of it, if it was offered any
        if asked.text.count("[1]") > 3 and dice.random() < 0.3:
            return json.dumps({"answer": f"answer {phrase()}", "documents": [1]}, ensure_ascii=False)
        queries = [query() for _ in range(dice.randint(0, asked.most))]
        opens = [dice.randint(1, 9)] if dice.random() < 0.3 or not queries else []
        return json.dumps({"known": phrase(), "search": queries, "open": opens}, ensure_ascii=False)
    if asked.move == "answer":
        return json.dumps({"answer": f"answer {phrase()}", "documents": [1]}, ensure_ascii=False)
    if asked.move == "read":
        return "No relevant information found" if dice.random() < 0.2 else f"fact {phrase()}"
    return _instance(asked.schema) if asked.schema else f"Hello there {asked.tag}, how are you today?"


def _instance(schema: dict[str, Any]) -> str:
    """A value that a schema allows."""

    def make(rule: dict[str, Any]) -> Any:
        if "enum" in rule:
            return rule["enum"][0]
        if "const" in rule:
            return rule["const"]
        kind = rule.get("type", "string")
        if kind == "object":
            return {name: make(inner) for name, inner in rule.get("properties", {}).items()}
        if kind == "array":
            return [make(rule.get("items", {})) for _ in range(rule.get("minItems", 0))]
        return {"integer": 7, "number": 7.0, "boolean": True, "null": None}.get(kind, "hello")

    return json.dumps(make(schema), separators=(",", ":"))


class Fake:
    """One server of a kind, and the truth of what it was asked.

    Args:
        kind: How it behaves.
        url: Its root, without a slash at the end.
        author: What the model writes.
    """

    def __init__(self, kind: Kind, url: str, author: Author = chatter) -> None:
        self.kind = kind
        self.root = url
        self.url = url + kind.prefix
        self.spec = f"openai:{self.url}#{kind.model}"
        self.truth: defaultdict[str, Truth] = defaultdict(Truth)
        """By the tag of the run; under ``""`` the calls that are no question's."""
        self.requests: list[tuple[str, str, Body]] = []
        """(method, path, body) of everything that came in."""
        self.headers: dict[str, str] = {}
        """Of the last request."""
        self._author = author
        self._is_loaded = False
        self._times: defaultdict[int, int] = defaultdict(int)

    # -- routes

    def answer(self, method: str, path: str, headers: dict[str, str], body: Body) -> Response:
        """The server's response to one request."""
        self.requests.append((method, path, body))
        self.headers = headers
        if self.kind.key and not self._key_fits(headers):
            return self._error(401, "Incorrect API key provided.", "invalid_api_key")
        prefix = self.kind.prefix
        if method == "GET" and path == "/api/v0/models" and self.kind.window_in == "api_v0":
            entry = {"id": self.kind.model, "max_context_length": 131_072, "loaded_context_length": self.kind.window}
            return Response({"object": "list", "data": [entry]})
        if path.startswith("/api/") and self.kind.window_in in ("ps", "old_ps"):
            return self._ollama(method, path, body)
        if method == "GET" and path == f"{prefix}/models":
            return self._models()
        if method == "GET" and path == "/props" and (self.kind.route == "llama" or self.kind.window_in == "props"):
            told = self.kind.window if self.kind.window_in == "props" else None
            return Response({"default_generation_settings": {"n_ctx": told}, "total_slots": 1})
        if method == "POST" and path == f"{prefix}/chat/completions":
            return self._chat(body)
        if method == "POST" and path == f"{prefix}/completions" and self.kind.route == "vllm" and body.get("prompt"):
            return self._score(body)
        if method == "POST" and path == f"{prefix}/completions" and self.kind.route == "llama" and body.get("prompt"):
            return self._complete(body)
        if method == "POST" and path == "/tokenize" and self.kind.route:
            return self._tokenize(body)
        if method == "POST" and path == "/apply-template" and self.kind.route == "llama":
            if not self.kind.system and _has_system(body["messages"]):
                return self._error(400, "System role not supported")
            is_open = body["messages"][-1]["role"] == "assistant"
            if is_open and self._thought(body, random.Random(0)):
                return self._error(400, "Assistant response prefill is incompatible with enable_thinking.")
            return Response({"prompt": self._render(body["messages"], told=body, is_open=is_open)})
        if self.kind.unknown == 200:
            return Response({"error": f"Unexpected endpoint or method. ({method} {path})"})
        return self._error(self.kind.unknown, "Not Found")

    def _key_fits(self, headers: dict[str, str]) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("api-key", "")
        return given.strip() not in ("", "none")

    def _error(self, status: int, said: str, code: str | None = None) -> Response:
        forms: dict[str, Any] = {
            "openai": {"error": {"message": said, "type": "invalid_request_error", "code": code, "param": None}},
            "list": [{"error": {"code": status, "message": said, "status": "INVALID_ARGUMENT"}}],
            "text": {"error": said},
            "numbered": {"error": {"message": said, "code": status}, "user_id": "user_1"},
        }
        return Response(forms[self.kind.errors], status)

    def _ollama(self, method: str, path: str, body: Body) -> Response:
        """Ollama's own paths: the models that are loaded, and their windows; a request without a prompt loads one."""
        if (method, path) == ("POST", "/api/generate") and not body.get("prompt"):
            self._is_loaded = True
            return Response({"model": body["model"], "response": "", "done": True, "done_reason": "load"})
        if (method, path) != ("GET", "/api/ps"):
            return self._error(404, "Not Found")
        name = (self.kind.listed or (self.kind.model,))[0]
        told = {"context_length": self.kind.window} if self.kind.window_in == "ps" else {}
        return Response({"models": [{"name": name, "model": name, "size": 1, **told}] if self._is_loaded else []})

    def _models(self) -> Response:
        where, window = self.kind.window_in, self.kind.window
        told: Body = {}
        if "." in where:
            outer, inner = where.split(".")
            told[outer] = {inner: window}
        elif where not in ("", "props", "api_v0", "ps", "old_ps"):
            told[where] = window
        names = self.kind.listed or (self.kind.model,)
        entries = [{"id": name, "object": "model", "created": 1, "owned_by": "fake", **told} for name in names]
        shape = self.kind.models
        if shape.isdigit():
            return self._error(int(shape), "No such path here")
        shapes: dict[str, Any] = {
            "listed": {"object": "list", "data": entries},
            "list": entries,
            "html": b"<html><body>Welcome</body></html>",
            "null": {"object": "list", "data": None},
            "nothing": None,
            "empty": {"object": "list", "data": []},
            "names": {"object": "list", "data": list(names)},
            "other": {"models": [{"name": name} for name in names]},
            "wildcard": {"object": "list", "data": [{"id": "openai/*", "object": "model"}]},
            "many": {"object": "list", "data": [{"id": "another", "object": "model"}, *entries]},
        }
        return Response(shapes[shape], kind="text/html" if shape == "html" else "application/json")

    def _tokenize(self, body: Body) -> Response:
        if self.kind.route == "llama":
            return Response({"tokens": self._ids(body.get("content", ""))})
        if self.kind.route == "sglang" and "prompt" not in body:
            return self._error(400, "1 validation error: {'type': 'missing', 'loc': ('body', 'prompt')}")
        if "messages" not in body:
            tokens = self._ids(body["prompt"])
        elif not self.kind.system and _has_system(body["messages"]):
            return self._error(400, "System role not supported")
        else:
            is_open = bool(body.get("continue_final_message"))
            ends = body.get("add_generation_prompt", True)
            text = self._render(body["messages"], generation=ends, is_open=is_open, told=body)
            tokens = self._ids(text)
            tokens[0] = 10**7 + self._tag_number(body["messages"])  # its run can be told by the first id
        return Response({"count": len(tokens), "max_model_len": self.kind.window, "tokens": tokens})

    @staticmethod
    def _tag_number(messages: list[Body]) -> int:
        found = TAG.search(_text(messages))
        return int(found[0][2:]) + 1 if found else 0

    def _score(self, body: Body) -> Response:
        """vLLM's log-probabilities of a prompt given as ids."""
        prompt = body["prompt"]
        number = prompt[0] - 10**7 if prompt and prompt[0] >= 10**7 else 0
        truth = self.truth[f"zq{number - 1:06d}" if number else ""]
        truth.calls += 1
        truth.prompt += len(prompt) + self.kind.off
        truth.completion += 1
        values = [None, *({str(token): {"logprob": -token / 10**6}} for token in prompt[1:])]
        reply = {"choices": [{"index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": values}]}
        return Response(self._reporting(reply, len(prompt) + self.kind.off, [1], [0]))

    def _complete(self, body: Body) -> Response:
        """llama.cpp's text completion of a prompt that a template has written."""
        turns = [turn.strip(fake_tokens.SPECIAL) for turn in body["prompt"].split(_ROLE)[1:]]
        messages = [{"role": "user", "content": turn} for turn in turns]
        messages = messages or [{"role": "user", "content": ""}]  # a spoilt template left no prompt
        messages[-1]["role"] = "assistant"
        return self._chat({**body, "messages": messages}, prompt=body["prompt"])

    # -- the chat

    def _is_open(self, body: Body) -> bool:
        """Whether the last turn is continued."""
        last, way = body["messages"][-1], self.kind.continues
        if last["role"] != "assistant":
            return False
        told = {"fields": body.get("continue_final_message"), "prefix": last.get("prefix"), "last": True}
        return bool(told.get(way)) or self.kind.route == "llama"

    def _chat(self, body: Body, *, prompt: str = "") -> Response:
        kind, messages = self.kind, body["messages"]
        written = prompt or self._render(messages, told=body, is_open=self._is_open(body))
        text = _text(messages)
        found = TAG.search(text)
        tag = found[0] if found else ""
        truth = self.truth[tag]
        truth.calls += 1
        refusal = self._refusal(body)
        size = fake_tokens.count(kind.tokenizer, written) + kind.off
        n = 1 if "n" in kind.ignores else body.get("n") or 1
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        if limit is None:
            limit = kind.window - size
        if kind.truncates:
            size = kind.window // 2 if size >= kind.window else size
        elif not refusal and (size >= kind.window or (kind.window_in and size + limit > kind.window)):
            said = f"This model's maximum context length is {kind.window} tokens. However, you requested"
            refusal = self._error(400, f"{said} {size + limit} tokens. Please reduce the length of the messages.")
        if refusal:
            truth.failed += 1
            return refusal
        limit = min(limit, kind.window - size)
        key = zlib.crc32(repr([messages, body.get("seed"), limit]).encode("utf-8", "replace"))
        self._times[key] += 1
        luck = random.Random(f"{kind.name}|{key}|{self._times[key]}")
        goes_wrong = bool(tag) and kind.failure != "" and luck.random() < kind.rate
        if goes_wrong and kind.failure in ("429", "503", "402", "403", "413", "error429"):
            truth.failed += 1
            return self._turned_away()
        samples = [self._write(body, text, tag, limit, i) for i in range(n)]
        truth.prompt += size
        truth.completion += sum(sample.tokens for sample in samples)
        truth.lost += all(sample.lost for sample in samples)
        over = sum(max(0, sample.tokens - limit) for sample in samples)
        if over:
            truth.overshoots.append(over)
        choices = [self._choice(body, i, sample, completes=bool(prompt)) for i, sample in enumerate(samples)]
        reply: Body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": kind.model, **kind.extra}
        reply["choices"] = choices
        spent, thought = [sample.tokens for sample in samples], [sample.thought for sample in samples]
        response = Response(self._reporting(reply, size, spent, thought))
        if goes_wrong:
            truth.failed += 1
            self._fail(response)
        if kind.slow and tag and luck.random() < kind.slow_rate:
            response.delay = kind.slow
        return response

    def _refusal(self, body: Body) -> Response | None:
        kind = self.kind
        for name in body if kind.strict else ():
            if name not in _DOCUMENTED:
                status, said = kind.said.get("", (400, "Unrecognized request argument supplied: {name}"))
                return self._error(status, said.format(name=name))
        if kind.strict and "prefix" in body["messages"][-1]:
            return self._error(400, "Additional properties are not allowed ('prefix' was unexpected) - 'messages.1'")
        if kind.tools == "once" and any(message.get("tool_calls") for message in body["messages"]):
            return self._error(400, "The reasoning_content in the thinking mode must be passed back to the API.")
        for name in kind.refuses:
            value = body.get(name)
            if value is None or (name in ("temperature", "n") and value == 1):
                continue  # the usual one may be named
            usual = (400, f"Unsupported parameter: '{name}' is not supported with this model.")
            status, said = kind.said.get(name, usual)
            return self._error(status, said.format(name=name, value=value), "unsupported_parameter")
        effort = body.get("reasoning_effort")
        if effort is not None and kind.switch == "reasoning_effort" and effort not in kind.efforts:
            known = ", ".join(f"'{known}'" for known in kind.efforts)
            said = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model."
            return self._error(400, f"{said} Supported values are: {known}.", "unsupported_value")
        for name in ("max_tokens", "max_completion_tokens"):
            if name in body and kind.limit_field not in (name, "any"):
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                return self._error(400, f"{said} Use '{kind.limit_field}' instead.", "unsupported_parameter")
        if not kind.system and _has_system(body["messages"]):
            return self._error(400, "System role not supported")
        limit = body.get("max_completion_tokens", body.get("max_tokens", kind.least))
        if limit < kind.least:
            said = f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {kind.least}"
            return self._error(400, f"{said}, but got {limit} instead.", "integer_below_min_value")
        return None

    def _write(self, body: Body, text: str, tag: str, limit: int, sample: int) -> _Sample:
        kind = self.kind
        grammar = re.findall(r"<\[(\d+)\]>", body.get("grammar") or "")
        if grammar and kind.route == "llama":
            return _Sample("forced", len(grammar) + 1, forced=[*map(int, grammar), 2])
        schema = None if "response_format" in kind.ignores else _schema(body)
        move = move_of(body["messages"][0]["content"])
        offer = body.get("tools") if kind.tools else None
        dice = random.Random(f"{text}|{body.get('seed')}|{sample}|{body.get('temperature')}")
        shown = text + (json.dumps(offer) if offer else "")
        asked = Asked(move, shown, body["messages"][-1]["content"], tag, dice, schema)
        said = self._author(asked) if tag or not offer else _call(offer[0]["function"]["name"], {"k": 7})
        if asked.last == "Hel":
            said = "lo there." if self._is_open(body) else "Hello there."
        said, mark = self._stopped(said, body)
        if tag and kind.garbled and dice.random() < kind.garbled:
            said = dice.choice(["", " ", "[", "{}", "\n\n", '{"a":' * 50, f"{tag} " + "lamp " * 200, "<think>"])
            said += f" {tag}" * (kind.content == "fenced")  # a fence around nothing may be asked as it is
        if kind.content == "fenced" and move in ("plan", "turn", "act", "answer") and not offer:
            said = f"```json\n{said}\n```"
        length = 0 if self._is_open(body) else self._thought(body, dice)
        thought, left = self._cut(f" {THOUGHT}" * length, length, limit)
        if length and left <= 0 and kind.honours:
            return _Sample("", limit, thought=limit, thinks=thought, is_cut=True, lost=True)
        spoken = fake_tokens.pieces(kind.tokenizer, said)
        if kind.overshoot:
            extra = f" {tag}" + " and so on" * kind.overshoot
            spoken += fake_tokens.pieces(kind.tokenizer, extra)[: kind.overshoot + max(0, limit - len(spoken))]
            return _Sample("".join(spoken), length + len(spoken), thought=length, thinks=thought)
        is_cut = len(spoken) >= left  # the end of a turn is a token too
        shown = "".join(spoken[:left])
        if is_cut and tag and move in ("plan", "turn", "tags", "act"):
            shown = _whole(shown, tag)
        tokens = length + min(len(spoken) + 1, left)
        sample = _Sample(shown, tokens, thought=length, thinks=thought, is_cut=is_cut, mark="" if is_cut else mark)
        return _calling(sample) if offer and not is_cut else sample

    def _stopped(self, text: str, body: Body) -> tuple[str, str]:
        """The text before the first of its stop strings, and that."""
        found = [(text.find(mark), mark) for mark in body.get("stop") or () if mark in text]
        if not found or "stop" in self.kind.ignores:
            return text, ""
        return text[: min(found)[0]], min(found)[1]

    def _thought(self, body: Body, dice: random.Random) -> int:
        """Tokens that it thinks before this answer."""
        kind = self.kind
        template = body.get("chat_template_kwargs") or {}
        if kind.switch == "enable_thinking" and template.get("enable_thinking") is False:
            return 0
        if kind.switch == "reasoning_effort" and body.get("reasoning_effort") in ("none", "minimal"):
            return 0
        if kind.switch == "reasoning" and (body.get("reasoning") or {}).get("effort") == "none":
            return 0
        if kind.switch == "thinking" and (body.get("thinking") or {}).get("type") == "disabled":
            return 0
        return dice.randint(kind.thought // 2, kind.thought) if kind.thought else 0

    def _cut(self, thought: str, length: int, limit: int) -> tuple[str, int]:
        """The thought, `length` tokens by this server's count, as far as the limit goes; and what is left of it."""
        parts = fake_tokens.pieces(self.kind.tokenizer, thought)[:length] if thought else []
        return "".join(parts[:limit]), limit - length

    def _choice(self, body: Body, index: int, sample: _Sample, *, completes: bool = False) -> Body:
        kind = self.kind
        message: Body = {"role": "assistant", "content": sample.text}
        if self._is_open(body) and kind.route == "llama":
            message["content"] = body["messages"][-1]["content"] + sample.text
        if self._is_open(body) and kind.parses:
            message |= {"content": None, "reasoning": sample.text}
        if sample.thinks:
            if kind.thought_in in ("tags", "end_tag"):
                begin = kind.tags[0] if kind.thought_in == "tags" else ""
                message["content"] = begin + sample.thinks + ("" if sample.lost else f"{kind.tags[1]}\n\n{sample.text}")
            elif sample.lost:
                message["content"] = kind.cut
            if kind.thought_in not in ("tags", "end_tag", "hidden"):
                message[kind.thought_in] = sample.thinks
        if sample.calls:
            message |= {"content": message["content"] or None, "tool_calls": sample.calls}
        if kind.content == "parts" and isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
        choice: Body = {"index": index, "message": message, "finish_reason": "length" if sample.is_cut else kind.finish}
        if sample.calls:
            choice["finish_reason"] = "tool_calls"
        if body.get("logprobs") and not {"logprobs"} & {*kind.ignores, *kind.refuses}:
            tokens = sample.forced or fake_tokens.ids(kind.tokenizer, sample.thinks + sample.text)
            if kind.route == "llama" and not sample.forced and not sample.is_cut and kind.honours:
                tokens.append(2)  # the end of the turn is one too
            entries = [{"id": id, "token": f"t{id}", "logprob": -0.5, "top_logprobs": []} for id in tokens]
            choice["logprobs"] = {"content": entries}
        told = {"vllm": "stop_reason", "sglang": "matched_stop"}.get(kind.route)
        if told:
            choice[told] = sample.mark or None
        if completes:
            choice["text"] = sample.text
            del choice["message"]
        return choice

    def _reporting(self, reply: Body, prompt: int, spent: list[int], thought: list[int]) -> Body:
        """The reply with the usage as this kind of server reports it."""
        kind, completion = self.kind.usage, sum(spent)
        honest: Body = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        if kind == "hidden":
            usage: Any = {**honest, "completion_tokens": completion - sum(thought)}
        elif kind == "beside":
            details = {"reasoning_tokens": sum(thought)}
            usage = {"prompt_tokens": prompt, "completion_tokens": completion - sum(thought)}
            usage |= {"completion_tokens_details": details} if any(thought) else {}
        elif kind == "low":
            usage = {"prompt_tokens": prompt // 2, "completion_tokens": completion // 2}
        elif kind == "first_sample":
            usage = {**honest, "completion_tokens": spent[0], "total_tokens": prompt + spent[0]}
        else:
            usage = {
                "honest": honest,
                "float": {name: float(value) for name, value in honest.items()},
                "text": {name: str(value) for name, value in honest.items()},
                "cached": {**honest, "prompt_tokens_details": {"cached_tokens": prompt * 3 // 4}},
                "cached_odd": {**honest, "prompt_tokens_details": {"cached_tokens": prompt * 5, "audio_tokens": None}},
                "input": {"input_tokens": prompt, "output_tokens": completion},
                "prompt_only": {"prompt_tokens": prompt},
                "completion_only": {"completion_tokens": completion},
                "total_only": {"total_tokens": prompt + completion},
                "constant": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
                "zeros": dict.fromkeys(honest, 0),
                "negative": dict.fromkeys(honest, -1),
                "nonsense": {"prompt_tokens": [prompt], "completion_tokens": {"n": completion}, "total_tokens": True},
                "null": None,
            }.get(kind)
        if kind == "choice":
            reply["choices"][0]["usage"] = honest
        elif kind != "absent":
            reply["usage"] = usage
        if self.kind.extra_usage:
            reply["usage"].update(self.kind.extra_usage)
        if any(thought) and kind in ("honest", "cached"):
            reply["usage"]["completion_tokens_details"] = {"reasoning_tokens": sum(thought)}
        return reply

    # -- failures

    def _turned_away(self) -> Response:
        """Refused before anything was processed."""
        said = {
            "429": "Rate limit reached for requests",
            "503": "The server is overloaded",
            "402": "Insufficient credits. Add more to go on.",
            "403": "Your request was flagged by moderation",
            "413": "Request too large for model on tokens per minute (TPM): Limit 6000, Requested 6294, please reduce",
        }
        if self.kind.failure == "error429":
            error = {"message": "Provider returned error", "code": 429, "metadata": {"raw": "Too Many Requests"}}
            return Response({"id": None, "choices": None, "usage": None, "error": error})
        response = self._error(int(self.kind.failure), said[self.kind.failure])
        if self.kind.failure == "429":
            response.headers["retry-after"] = "0"
        return response

    def _fail(self, response: Response) -> None:
        """Spoil a reply that was written in full: whatever is sent, the call was paid.

        ``500``, ``cut`` (midway), ``gone`` (not a byte), ``few`` (a choice too few), ``error200``, ``refusal``,
        ``content_filter``, ``finish_error``, ``none`` (no text), ``html``, ``choices_null``.
        """
        body, kind = response.body, self.kind.failure
        first = body["choices"][0]
        if kind == "500":
            response.status, response.body = 500, {"error": {"message": "CUDA error", "type": "server_error"}}
        elif kind == "cut":
            response.sent = 0.5
        elif kind == "gone":
            response.sent = -1.0
        elif kind == "few":
            body["choices"] = body["choices"][:-1]
        elif kind == "error200":
            response.body = {"error": {"message": "Upstream model failed", "code": 502}}
        elif kind == "refusal":
            first["message"] |= {"content": None, "refusal": "I'm sorry, I cannot assist with that request."}
        elif kind == "content_filter":
            first |= {"message": _begun(first["message"]), "finish_reason": "content_filter"}
        elif kind == "finish_error":
            first |= {"message": _begun(first["message"]), "finish_reason": "error"}
        elif kind == "none":
            first["message"] |= {"content": None, "tool_calls": []}
        elif kind == "html":
            response.body, response.kind = b"<html>Service Unavailable</html>", "text/html"
        elif kind == "choices_null":
            body["choices"] = None

    # -- tokens

    def _render(self, messages: list[Body], *, told: Body, generation: bool = True, is_open: bool = False) -> str:
        """The prompt as its template writes it; special tokens are characters that stand nowhere else.

        A template that is told not to think opens a thought and ends it at once, as Qwen3's does.
        """
        silent = self.kind.switch == "enable_thinking" and self._thought(told, random.Random(0)) == 0
        text = _BEGIN + _FILLER * self.kind.preamble
        text += json.dumps(told["tools"]) if self.kind.tools and told.get("tools") else ""
        for number, message in enumerate(messages):
            text += _ROLE + _FILLER * (self.kind.head - 2) + _content(message)
            if not (is_open and number == len(messages) - 1):
                text += _END
        return text + (_ROLE + _FILLER * (5 if silent else 1) if generation and not is_open else "")

    def _ids(self, text: str) -> list[int]:
        return fake_tokens.ids(self.kind.tokenizer, text)


@dataclass
class _Sample:
    text: str
    tokens: int
    thought: int = 0
    thinks: str = ""
    is_cut: bool = False
    lost: bool = False
    forced: list[int] = field(default_factory=list)
    mark: str = ""
    calls: list[Body] = field(default_factory=list)


def _call(name: str, given: Body) -> str:
    return json.dumps({"name": name, "arguments": given})


def _calling(sample: _Sample) -> _Sample:
    """The sample with tool calls for what it asks in JSON; as it is where it asks nothing."""
    try:
        said = json.loads(sample.text)
    except ValueError:
        return sample
    if not isinstance(said, dict):
        return sample
    wanted = [(said["name"], said["arguments"])] if "name" in said else []
    wanted += [("search", {"queries": said["search"]})] if said.get("search") else []
    wanted += [("open", {"passage": number}) for number in said.get("open", ())]
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for i, (name, given) in enumerate(wanted)
    ]
    return replace(sample, text=said.get("known", ""), calls=calls) if calls else sample


def _begun(message: Body) -> Body:
    """A message that was broken off; plain text goes altogether, as half a sub-query could not be told by its tag."""
    content = message["content"]
    return {**message, "content": content[:9] if isinstance(content, str) and content[:1] in ("{", "<") else ""}


def _whole(text: str, tag: str) -> str:
    """A cut turn without a last query that its run could not be told by."""
    if tag in re.split(r"<search>|,", text)[-1] or "<answer>" in text or text.startswith("{"):
        return text
    return text[: max(text.rfind("<search>"), text.rfind(","), 0)]


def _content(message: Body) -> str:
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    if calls:
        return (message["content"] or "") + "".join(call["name"] + call["arguments"] for call in calls)
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _text(messages: list[Body]) -> str:
    return "\n".join(map(_content, messages))


def _has_system(messages: list[Body]) -> bool:
    return any(message["role"] in ("system", "developer") for message in messages)


def _schema(body: Body) -> dict[str, Any] | None:
    form = (body.get("response_format") or {}).get("json_schema") or {}
    found: dict[str, Any] | None = form.get("schema") or (body.get("structured_outputs") or {}).get("json")
    return found


class Fakes(Server):
    """Any number of fakes on one port, each under a path of its own."""

    def __init__(self) -> None:
        super().__init__(self._route)
        self._fakes: dict[str, Fake] = {}
        self._made = 0

    def add(self, kind: Kind, author: Author = chatter) -> Fake:
        """A new server of that kind."""
        self._made += 1
        name = f"f{self._made}"
        self._fakes[name] = Fake(kind, f"{self.url}/{name}", author)
        return self._fakes[name]

    def drop(self, fake: Fake) -> None:
        """Forget a server; late requests to it find nothing."""
        del self._fakes[fake.root.rpartition("/")[2]]

    def _route(self, request: Request) -> Response:
        _, name, path = request.path.split("/", 2)
        fake = self._fakes.get(name)
        if fake is None:
            return Response({"error": {"message": "Not Found"}}, 404)
        return fake.answer(request.method, f"/{path}", request.headers, request.body or {})
