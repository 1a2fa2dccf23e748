"""Specifications of models: a line of text that names an endpoint, a model and its options."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ragscale.errors import InvalidInput
from ragscale.paths import expanded

if TYPE_CHECKING:
    from ragscale.llm.base import LLM
    from ragscale.llm.openai import OpenAILLM

__all__ = ["FORMS", "OPTIONS", "PROVIDERS", "named", "parse"]

PROVIDERS: dict[str, tuple[str, str | None]] = {
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "lmstudio": ("http://localhost:1234/v1", None),
    "ollama": ("http://localhost:11434/v1", None),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
}
"""Services by name: their endpoint, and the environment variable of their key."""

FORMS = (
    "Accepted: openai:URL#MODEL (as in openai:http://localhost:8000/v1#Qwen/Qwen3-8B; without #MODEL the only model "
    "that the endpoint lists), openai:MODEL (at OPENAI_BASE_URL, or OpenAI's own), "
    f"{', '.join(f'{name}:MODEL' for name in PROVIDERS)}, all with ?OPTION=VALUE&...; vllm:MODEL (starts a vLLM "
    "server, whose options they are), embedded (the packaged weights), embedded:PATH (a GGUF file), openvino and "
    "openvino:PATH (the same by another runtime, faster on CPUs with AVX-512), or a model object. "
    "See docs/models.md."
)

_OPENAI = "https://api.openai.com/v1"
_NAME = re.compile(r"[\w.:/@-]+")
# An address without http://, which would be taken for a model of OpenAI's, and what is asked sent there.
_ADDRESS = re.compile(
    r"(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\])(?::\d+)?(?:[/#?]|\Z)|[\w.-]+:\d{2,5}[/#]|[^#?]*/v1/?(?:[#?]|\Z)|"
    r"[^#?]+#",
    re.IGNORECASE,
)


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else _no("a whole number")


def _seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else _no("a number of seconds")


def _value(text: str) -> Any:
    """JSON, or the text itself."""
    try:
        return json.loads(text, parse_constant=lambda name: math.nan)
    except (ValueError, RecursionError):
        return text


def _field(text: str) -> Any:
    value = _value(text)
    try:
        json.dumps(value, allow_nan=False).encode()
    except (ValueError, RecursionError):
        _no("JSON that can be sent")
    return value


def _fields(text: str) -> Any:
    value = _value(text)
    return value if isinstance(value, dict) else _no("a JSON object")


def _no(wanted: str) -> Any:
    raise ValueError(wanted)


_Readers = Mapping[str, tuple[str, Callable[[str], Any]]]

OPTIONS: _Readers = {
    "window": ("context_window", _whole),
    "thinking": ("thinking", _whole),
    "timeout": ("timeout", _seconds),
    "tokenizer": ("tokenizer", str),
    "key_env": ("api_key_env", str),
    "key_header": ("key_header", str),
    "reasoning_effort": ("fields", str),
    "chat_template_kwargs": ("fields", _fields),
}
"""Options by name: the argument of `OpenAILLM` that takes them, and their reader."""

_OWN: _Readers = {
    **{name: OPTIONS[name] for name in ("thinking", "timeout", "reasoning_effort", "chat_template_kwargs")},
    "startup": ("startup", _seconds),
    "python": ("python", str),
}
"""Options of a vLLM server's model that are none of the server's."""

_GROUPS: _Readers = {
    "body.": ("fields", _field),
    "header.": ("headers", str),
    "query.": ("query", str),
}
"""Prefixes of options with names of the user's: fields of each request's body, its headers, its query."""


def parse(spec: str) -> LLM:
    """Make a model from its specification; see `ragscale.llm.load`.

    Raises:
        InvalidInput: `spec` has none of the forms, or an option is unknown or has a value that it cannot have.
        EndpointError: A server that is started for it does not come up.
        ModelFileError: The weights are absent or damaged.
        MissingDependency: The form needs an extra that is not installed.
    """
    kind, colon, rest = spec.strip().partition(":")
    if kind == "embedded":
        from ragscale.llm.embedded import EmbeddedLLM
        from ragscale.weights import pinned

        return EmbeddedLLM(Path(rest) if rest else pinned.path("llm"))
    if kind == "openvino":
        from ragscale.llm.openvino import OpenVinoLLM
        from ragscale.weights import pinned

        return OpenVinoLLM(Path(rest) if rest else pinned.path("llm"))
    if kind == "vllm" and rest:
        return _vllm(rest)
    if kind in ("http", "https") and rest.startswith("//"):
        return _endpoint(spec.strip())
    if kind in PROVIDERS and rest:
        url, key = PROVIDERS[kind]
        return _endpoint(f"{url}#{rest}", api_key_env=key)
    bare = rest if kind == "openai" else spec.strip()
    if "://" not in bare and _ADDRESS.match(bare):
        raise InvalidInput(f"{spec!r} names a server without http:// or https://", f"Write openai:http://{bare}.")
    if kind == "openai" and rest:
        return _endpoint(rest if "://" in rest else f"{_base()}#{rest}")
    if (kind == "openai" and not colon and os.environ.get("OPENAI_BASE_URL")) or _is_model(spec.strip()):
        return _endpoint(_base() if kind == "openai" else f"{_base()}#{spec.strip()}")
    raise InvalidInput(f"Unknown model {spec!r}", FORMS)


def named(spec: str) -> tuple[str, str]:
    """The model that a specification means, by its name and the program that computes it; nothing is opened for it.

    Returns:
        Each empty where the specification alone does not tell it.
    """
    kind, _, rest = spec.strip().partition(":")
    if kind in ("embedded", "openvino"):
        from ragscale.weights import pinned

        return Path(rest or pinned.MODELS["llm"].entry).stem, "llama.cpp" if kind == "embedded" else kind
    address = (rest if kind in ("vllm", "openai", *PROVIDERS) else spec.strip()).partition("?")[0]
    if kind == "vllm":
        path = expanded(address)
        return (path.absolute().name if path.is_dir() else address), ""
    return (address.partition("#")[2] if "://" in address else address), ""


def _base() -> str:
    return os.environ.get("OPENAI_BASE_URL", "").strip() or _OPENAI


def _is_model(name: str) -> bool:
    """Whether a bare word can be the name of a model: only where the environment names an endpoint or its key."""
    named = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_KEY")
    known = name.partition(":")[0] in ("openai", "vllm", "embedded", "openvino", *PROVIDERS)
    return bool(named) and not known and bool(_NAME.fullmatch(name.partition("?")[0]))


def _endpoint(spec: str, **settings: Any) -> OpenAILLM:
    from ragscale.llm.openai import OpenAILLM

    address, _, options = spec.partition("?")
    url, _, model = address.partition("#")
    for name, text in _given(options):
        if not _set(settings, name, text, OPTIONS, _GROUPS):
            known = [*OPTIONS, *(f"{prefix}NAME" for prefix in _GROUPS)]
            raise InvalidInput(f"Unknown option {name!r} of a model", f"Known: {', '.join(known)}.")
    return OpenAILLM(url, model or None, **settings)


def _vllm(spec: str) -> LLM:
    from ragscale.llm.vllm import VllmLLM

    model, _, options = spec.partition("?")
    settings: dict[str, Any] = {}
    servers: dict[str, str | bool] = {}
    for name, text in _given(options):
        if not _set(settings, name, text, _OWN, {"body.": _GROUPS["body."]}):
            words = unquote(text)
            servers["max_model_len" if name == "window" else name] = _FLAGS.get(words.lower(), words)
    return VllmLLM(model, servers, **settings)


_FLAGS = {"": True, "true": True, "false": False}


def _given(options: str) -> Iterator[tuple[str, str]]:
    """The options by name, each given once; their values as they were written."""
    seen: set[str] = set()
    for option in filter(None, options.split("&")):
        name, _, text = option.partition("=")
        if name in seen:
            raise InvalidInput(f"Option {name!r} of a model is given twice", "Give it once.")
        seen.add(name)
        yield name, text


def _set(settings: dict[str, Any], name: str, text: str, options: _Readers, groups: _Readers) -> bool:
    """Read an option into the argument that takes it; False where none of that name is known."""
    group = next((prefix for prefix in groups if name.startswith(prefix) and name != prefix), None)
    if group is None and name not in options:
        return False
    argument, reader = groups[group] if group else options[name]
    try:
        value = reader(unquote(text))
    except ValueError as error:
        raise InvalidInput(f"Option {name}={text!r} of a model is not {error}", "Correct it.") from None
    if argument in ("fields", "headers", "query"):
        settings[argument] = {**settings.get(argument, {}), name.removeprefix(group or ""): value}
    else:
        settings[argument] = value
    return True
