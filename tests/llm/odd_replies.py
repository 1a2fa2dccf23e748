"""Odd replies, made systematically: each odd value at each place of each reply that is read, and each odd framing.

`all_cases` lists them. A `World` serves well-formed replies (those of the campaign's fakes, with every field that
anybody reads) but for the one that a case spoils.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fake_kinds import Fake, Kind
from fake_server import Request, Response, Server
from odd_framings import MANY, MEGABYTE, NEVER, framings, heavy_framings, many

__all__ = ["Case", "World", "all_cases"]

Path = tuple[str | int, ...]

KINDS = {
    "vllm": Kind(route="vllm", window_in="max_model_len", continues="fields", tools="calls"),
    "llama": Kind(route="llama", window_in="props"),
    "plain": Kind(),
    "lmstudio": Kind(window_in="api_v0"),
    "ollama": Kind(window_in="ps", truncates=True),
}
READ = {
    "vllm": ["models", "tokenize", "tokenize text", "chat", "samples", "calls", "prompt_logprobs"],
    "llama": ["models", "props", "template", "tokenize text", "schema", "grammar", "completed"],
    "plain": ["samples", "embeddings"],
    "lmstudio": ["loaded"],
    "ollama": ["running", "load"],
}
"""The replies that are spoilt of each kind of server: those that are read otherwise than another's."""


@dataclass(frozen=True)
class Case:
    """One odd reply."""

    kind: str
    """Of the server."""
    slot: str
    """Name of the reply that is spoilt; see `slot_of`."""
    name: str
    spoil: Callable[[Any], Response]
    """Makes the reply of the well-formed one."""
    later: bool = False
    """Whether it is spoilt once the model was tried out, rather than from the start."""
    heavy: bool = False
    """Whether it is of megabytes."""
    patience: float = 20.0
    """Seconds that the model waits for it."""

    def __str__(self) -> str:
        return f"{self.kind}, {self.slot}{' later' * self.later}: {self.name}"


# -- values at places


def _nested(open_: str, close: str, depth: int) -> str:
    return open_ * depth + close * depth


_MEMBERS = {
    "null": "null", "true": "true", "false": "false", "0": "0", "-1": "-1", "1": "1", "1.5": "1.5", "2.0": "2.0",
    "-0.0": "-0.0", "1e-400": "1e-400", "10**400": "1" + "0" * 400, "-10**4000": "-1" + "0" * 4000,
    "10**5000": "1" + "0" * 5000, "2**53": str(2**53), "2**63": str(2**63), "2**70": str(2**70), "1e18": "1e18",
    "1e400": "1e400", "-1e400": "-1e400", "nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", '""': '""',
    '"x"': '"x"', '"-3"': '"-3"', '"1e9"': '"1e9"', '"\u0661"': '"\u0661"', "a megabyte": f'"{"x" * MEGABYTE}"',
    "a megabyte of words": f'"{"to be " * (MEGABYTE // 6)}"', "half a pair": '"\\ud800"', "pairs": '"\\ud83d\\ude00"',
    "controls": '"\\u0000\\u001b[2J\\u202e\\u0085\\r\\n"', "raw control": '"\x01"', "[]": "[]", "{}": "{}",
    "[null]": "[null]", "[{}]": "[{}]", "[[]]": "[[]]", "mixed": '[1, "x", null, {"a": [true]}, 1.5, [[]]]',
    '{"": null}': '{"": null}', "deep": _nested("[", "]", 10_000), "deep objects": _nested('{"a":', "}", 3000)[:-1],
    "deep enough": _nested("[", "]", 150), "nearly too deep": _nested("[", "]", 700), "no JSON": "None",
}  # fmt: skip


_FEW = ("null", "10**400", "a megabyte", "deep", "missing", "swapped")
_UNREAD = {
    "object", "created", "index", "role", "token", "type", "owned_by", "rank", "decoded_token", "model", "param",
    "provider_name", "user_id", "loc", "total_slots", "audio_tokens", "size", "response", "done", "done_reason",
}  # fmt: skip
"""Fields that nobody reads; a few odd values are enough there."""


def _source(value: Any) -> str:
    return json.dumps(value)


def _swapped(value: Any) -> str:
    """An object for a list, a list for an object, and a list for anything else."""
    if isinstance(value, dict):
        return _source([*value.values(), *value])
    return _source(dict(enumerate(value)) if isinstance(value, list) else [value])


def _odd_values() -> dict[str, Callable[[Any], list[str]]]:
    """By name: what stands in the place of a value; nothing, one value, or two (under a key that is there twice)."""
    found: dict[str, Callable[[Any], list[str]]] = {}
    for name, source in _MEMBERS.items():
        found[name] = lambda value, source=source: [source]
    found["missing"] = lambda value: []
    found["swapped"] = lambda value: [_swapped(value)]
    found["wrapped"] = lambda value: [_source({"value": value, "text": value})]
    found["as text"] = lambda value: [_source(_source(value))]
    found["twice, null first"] = lambda value: ["null", _source(value)]
    found["twice, null last"] = lambda value: [_source(value), "null"]
    found["twice, an object last"] = lambda value: [_source(value), "{}"]
    return found


def _places(tree: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in a reply; of a long list the first two and the last."""
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _places(value, (*path, key))
    elif isinstance(tree, list):
        for index in sorted({0, 1, len(tree) - 1} & set(range(len(tree)))):
            yield from _places(tree[index], (*path, index))


def _spoilt(tree: Any, path: Path, how: Callable[[Any], list[str]]) -> str:
    """The JSON of `tree` with the value at `path` replaced; as it is where the reply has no such place."""
    if not path:
        return " ".join(how(tree))
    head, rest = path[0], path[1:]
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    if not items:
        return _source(tree)
    parts = []
    for key, value in items:
        sources = [_source(value)] if key != head else [_spoilt(value, rest, how)] if rest else how(value)
        parts += [f"{_source(key)}:{s}" for s in sources] if isinstance(tree, dict) else sources
    return ("{" + ",".join(parts) + "}") if isinstance(tree, dict) else "[" + ",".join(parts) + "]"


def _bytes(source: str) -> bytes:
    return source.encode("utf-8", "surrogatepass")


# -- the servers


def slot_of(request: Request) -> str:
    """Name of the server's reply that a request asks for."""
    path, body = request.path, request.body or {}
    for own, slot in (("/api/v0/models", "loaded"), ("/api/ps", "running"), ("/api/generate", "load")):
        if path.endswith(own):
            return slot
    if path.endswith("/models"):
        return "models"
    if path.endswith("/props"):
        return "props"
    if path.endswith("/tokenize"):
        return "tokenize" if "messages" in body else "tokenize text"
    if path.endswith("/apply-template"):
        return "template"
    if path.endswith("/embeddings"):
        return "embeddings"
    if not path.endswith("/chat/completions"):
        return "completed" if isinstance(body.get("prompt"), str) else "prompt_logprobs"
    if "grammar" in body:
        return "grammar"
    if "response_format" in body or "structured_outputs" in body:
        return "schema"
    return "calls" if "tools" in body else "samples" if body.get("n", 1) > 1 else "chat"


def rich(slot: str, reply: Any) -> Any:
    """A well-formed reply with every field that anybody reads of it."""
    listed = reply.get("data") or reply.get("models") or [] if slot in ("models", "loaded", "running") else []
    if slot != "models" or "max_model_len" in listed[0]:  # of the others some are asked for their own paths
        for entry in listed:
            entry |= {"root": "org/root", "meta": {"n_ctx": 9000}, "top_provider": {"context_length": 9000}}
            names = ("max_model_len", "context_length", "context_window", "max_context_length", "loaded_context_length")
            entry |= dict.fromkeys((*names, "n_ctx", "num_ctx"), 9000)
    if slot in ("chat", "samples", "calls", "schema", "grammar", "prompt_logprobs") and isinstance(reply, dict):
        for choice in reply.get("choices", ()):
            choice |= {"stop_reason": "</search>", "matched_stop": "</search>"}
            choice.setdefault("message", {"role": "assistant", "content": "hello"})
            call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"k":7}'}}
            more = {"reasoning_content": "hmm", "reasoning": "hmm", "refusal": None, "tool_calls": [call]}
            choice["message"] = {**more, **choice["message"]}
        usage = reply.get("usage")
        if isinstance(usage, dict):
            usage |= {"prompt_tokens_details": {"cached_tokens": 1}, "prompt_cache_hit_tokens": 1, "cached_tokens": 1}
            usage |= {"cache_read_input_tokens": 1, "cache_creation_input_tokens": 0}
            usage |= {"completion_tokens_details": {"reasoning_tokens": 1}}
        reply["timings"] = {"cache_n": 1}
        if slot == "schema":
            reply["choices"][0]["usage"] = reply.pop("usage")
    return reply


_ERRORS: dict[str, Any] = {
    "error": {
        "error": {
            "message": "max_tokens is not supported", "code": 400, "type": "invalid", "param": "n", "status": 400,
            "metadata": {"raw": "Too Many Requests", "provider_name": "x"},
        },
        "user_id": "u",
    },
    "detail": {"detail": [{"msg": "System role not supported", "loc": ["body", "n"], "type": "missing"}]},
    "base_resp": {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "retry after 5 s"}},
    "choice": {
        "choices": [{"error": {"code": 429, "message": "try again in 0.5s"}, "finish_reason": "error", "message": {}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    },
    "message": [{"message": "no", "error_description": "no", "errors": [{"message": "temperature"}]}],
}  # fmt: skip


class World(Server):
    """Serves any number of cases on one port, each under a path of its own."""

    def __init__(self) -> None:
        super().__init__(self._route)
        self._live: dict[str, tuple[Fake, Case | None]] = {}
        self._made = 0
        self.on = True
        """Whether cases that begin later have begun."""
        self.times = 0
        """Number of times that the odd reply of the case at hand was sent."""
        self.seen: dict[str, Any] = {}
        """The last well-formed reply of each slot, before it was spoilt."""

    def add(self, kind: str, case: Case | None) -> str:
        """The URL of a new server of a kind that spoils the reply of `case`; other servers are forgotten."""
        self._made += 1
        root = f"{self.url}/f{self._made}"
        self._live = {f"f{self._made}": (Fake(KINDS[kind], root), case)}
        self.on, self.times = not (case and case.later), 0
        return f"{root}/v1"

    def _route(self, request: Request) -> Response:
        _, name, path = request.path.split("/", 2)
        if name not in self._live:
            return Response({"error": {"message": "gone"}}, 404)
        fake, case = self._live[name]
        slot = slot_of(request)
        if slot == "embeddings":
            response = Response(_embeddings(request.body["input"]))
        else:
            response = fake.answer(request.method, f"/{path}", request.headers, request.body or {})
        if response.status != 200:
            return response
        self.seen[slot] = response.body = rich(slot, response.body)
        if case is None or case.slot != slot or not self.on:
            return response
        self.times += 1
        return case.spoil(response.body)


def _embeddings(texts: list[str]) -> Any:
    rows = [{"object": "embedding", "index": i, "embedding": [0.5, -0.25, 0.125]} for i in range(len(texts))]
    return {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}}


# -- all of them


def all_cases(seen: dict[str, dict[str, Any]]) -> list[Case]:
    """Every case, given the well-formed replies of each kind of server."""
    return [*_value_cases(seen), *_error_cases(), *_framed_cases(), *_heavy_cases(seen)]


def _slots() -> Iterator[tuple[str, str]]:
    return ((kind, slot) for kind, slots in READ.items() for slot in slots)


def _later(slot: str) -> list[bool]:
    """From the start, and once the model was tried out; some replies are read at one of these alone."""
    from_the_start = ("models", "props", "loaded", "running", "load", "embeddings", "chat")
    return [False] if slot in from_the_start else [True] if slot == "schema" else [False, True]


def _value_cases(seen: dict[str, dict[str, Any]]) -> Iterator[Case]:
    for kind, slot in _slots():
        for path in _places(seen[kind][slot]):
            for name, how in _odd_values().items():
                if path and path[-1] in _UNREAD and name not in _FEW:
                    continue
                for later in _later(slot):
                    if kind == "plain" and slot == "samples" and (later or path[:1] != ("usage",)):
                        continue  # as those of vLLM
                    yield Case(
                        kind, slot, f"{name} at {_shown(path)}",
                        lambda reply, path=path, how=how: Response(_bytes(_spoilt(reply, path, how))), later,
                    )  # fmt: skip


def _error_cases() -> Iterator[Case]:
    statuses = {"error": (200, 400, 403, 429, 500), "detail": (422, 500), "message": (400,)}
    statuses |= {"base_resp": (200,), "choice": (200, 429)}
    for shape, tree in _ERRORS.items():
        for status in statuses[shape]:
            for path in _places(tree):
                for name, how in _odd_values().items():
                    yield Case(
                        "plain" if status != 500 else "vllm", "chat", f"HTTP {status}, {name} at {_shown(path)}",
                        lambda _, tree=tree, path=path, how=how, status=status: Response(
                            _bytes(_spoilt(tree, path, how)), status
                        ),
                    )  # fmt: skip


FRAMED = (
    ("vllm", "models", False),
    ("vllm", "tokenize", False),
    ("vllm", "prompt_logprobs", True),
    ("llama", "props", False),
    ("llama", "template", True),
    ("llama", "tokenize text", True),
    ("llama", "completed", True),
    ("plain", "chat", False),
    ("plain", "embeddings", False),
    ("lmstudio", "loaded", False),
    ("ollama", "running", False),
    ("ollama", "load", False),
)
"""A reply of each path that is asked: what is done about a failure is the reader's."""


def _framed_cases() -> Iterator[Case]:
    for kind, slot, later in FRAMED:
        for name, _ in framings(b"{}"):
            patience = 0.5 if name in NEVER else 20.0
            yield Case(kind, slot, name, functools.partial(_framed, name), later, patience=patience)


def _framed(name: str, reply: Any) -> Response:
    return Response(raw=next(pieces for own, pieces in framings(_source(reply).encode()) if own == name))


def _heavy_cases(seen: dict[str, dict[str, Any]]) -> Iterator[Case]:
    for kind, slot, later in FRAMED:
        for name, make in heavy_framings().items():
            patience = 0.5 if name in NEVER else 20.0
            yield Case(
                kind, slot, name, lambda _, make=make: Response(raw=make()), later, heavy=True, patience=patience
            )
    for kind, slot in _slots():
        for path in _places(seen[kind][slot]):
            if path and path[-1] in _UNREAD:
                continue
            for name, unit in MANY.items():
                yield Case(
                    kind, slot, f"{name} at {_shown(path)}",
                    lambda reply, path=path, unit=unit: Response(
                        _bytes(_spoilt(reply, path, lambda _: [many(unit, 3 * MEGABYTE)]))
                    ), heavy=True,
                )  # fmt: skip


def _shown(path: Path) -> str:
    return ".".join(map(str, path)) or "the top"
