"""Discovery of an endpoint: its models, its context window, its tokenizer. Spends no tokens."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from ragscale.endpoint.replies import Entry, ModelList, Props, read
from ragscale.endpoint.transport import Transport, UnreachableError
from ragscale.errors import EndpointError, ModelError
from ragscale.llm.tokens import LlamaTokenizer, VllmTokenizer, find_tokenizer

__all__ = ["ServerInfo", "discover"]

M = TypeVar("M", bound=BaseModel)
_ROUTES = ("nitro", "floor", "exacto", "online")


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """An endpoint as seen without spending tokens."""

    model: str
    """Name that requests carry."""
    context_window: int | None
    """Tokens of prompt and completion; None where the server does not tell."""
    tokenizer: VllmTokenizer | LlamaTokenizer | None
    """None where the server has none to offer."""
    cuts: bool = False
    """Whether the server cuts a prompt beyond its window without a word, as Ollama does."""


async def discover(transport: Transport, model: str | None, fields: Mapping[str, Any] | None = None) -> ServerInfo:
    """Ask the endpoint for its models, window and tokenizer.

    A model that is named is taken at that, unless the endpoint lists another one alone: many gateways list nothing, or
    only patterns.

    Args:
        transport: The way to it.
        model: The model wanted; None for the only one listed.
        fields: Further fields of each request.

    Raises:
        EndpointError: It cannot be reached, serves another model, or none is named and it lists none or several.
        ModelError: None is named, and listing them failed.
    """
    entries = await _models(transport, required=model is None)
    names = list(dict.fromkeys(entry.id or "" for entry in entries))
    if model is None:
        if len(names) != 1:
            raise EndpointError(
                f"{transport.shown} lists {len(names)} models ({_some(names)}), one must be named",
                f"Write openai:{transport.shown}#MODEL.",
            )
        model = names[0]
    entry = _entry(entries, model)
    if entry is None and len(names) == 1 and "*" not in names[0]:
        raise EndpointError(
            f"{transport.shown} serves {names[0]!r}, not {model!r}", f"Write openai:{transport.shown}#{names[0]}."
        )
    window, cuts = (entry.window if entry else None), False
    if window is None:
        window, cuts = await _own_window(transport, model)
    return ServerInfo(model, window, await find_tokenizer(transport, model, fields or {}), cuts)


def _entry(entries: Sequence[Entry], model: str) -> Entry | None:
    return next((entry for entry in entries if _same(entry.id or "", model)), None)


def _same(listed: str, model: str) -> bool:
    """Whether a listed name means the model: Gemini lists ``models/NAME``, Ollama ``NAME:latest``.

    OpenRouter does not list its ways of routing
    (https://openrouter.ai/docs/guides/routing/model-variants/overview).
    """
    base, _, way = model.rpartition(":")
    model = base if way in _ROUTES else model
    return model in (listed, listed.removeprefix("models/"), listed.removesuffix(":latest"))


async def _models(transport: Transport, *, required: bool) -> list[Entry]:
    try:
        answer = await transport.patiently(transport.get, "models")
    except UnreachableError:
        raise
    except ModelError:
        if required:
            raise
        return []  # some gateways have no such path, or want another right for it, and the model is named
    listed = read(ModelList, {"data": answer} if isinstance(answer, list) else answer)
    if listed.data is None and required:
        raise EndpointError(
            f"{transport.shown} does not list its models as the OpenAI dialect does",
            "Check that the URL ends in /v1 and belongs to a model server, or name the model: URL#MODEL.",
        )
    return listed.entries


async def _own_window(transport: Transport, model: str) -> tuple[int | None, bool]:
    """The window of a running model by a path of the server's own, and whether that is Ollama.

    llama.cpp has the one of a slot in ``/props``, LM Studio and Ollama that of a loaded model in ``/api/v0/models`` and
    ``/api/ps``.
    """

    async def told(form: type[M], path: str) -> M:
        try:
            return read(form, await transport.get(f"{transport.root}/{path}"))
        except ModelError:
            return form()

    slot = (await told(Props, "props")).default_generation_settings.n_ctx
    if slot:
        return slot, False
    loaded = _entry((await told(ModelList, "api/v0/models")).entries, model)
    if loaded is not None and loaded.loaded_context_length:
        return loaded.loaded_context_length, False
    running = await told(ModelList, "api/ps")
    if running.data is None:
        return None, False
    if _entry(running.entries, model) is None:
        with contextlib.suppress(ModelError):  # a request without a prompt loads the model and writes nothing
            await transport.post(f"{transport.root}/api/generate", {"model": model, "stream": False})
        running = await told(ModelList, "api/ps")
    found = _entry(running.entries, model)
    return found.window if found else None, True


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none"
