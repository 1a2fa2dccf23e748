"""What an endpoint says about itself: its models, its context window, its tokenizer. Spends no tokens."""

from __future__ import annotations

from dataclasses import dataclass

from ragscale.errors import EndpointError, ModelError
from ragscale.llm.replies import Entry, ModelList, Props, read
from ragscale.llm.tokens import LlamaTokenizer, VllmTokenizer, find_tokenizer
from ragscale.llm.transport import Transport, UnreachableError

__all__ = ["ServerInfo", "discover"]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """An endpoint as seen without spending tokens."""

    model: str
    """Name that requests carry."""
    context_window: int | None
    """Tokens of prompt and completion; None where the server does not tell."""
    tokenizer: VllmTokenizer | LlamaTokenizer | None
    """None where the server has none to offer."""


async def discover(transport: Transport, model: str | None) -> ServerInfo:
    """Ask the endpoint for its models, window and tokenizer.

    A model that is named is taken at that, unless the endpoint lists another one alone: many gateways list nothing, or
    only patterns.

    Args:
        transport: The way to it.
        model: The model wanted; None for the only one listed.

    Raises:
        EndpointError: It cannot be reached, serves another model, or none is named and it lists none or several.
        ModelError: None is named, and listing them failed.
    """
    entries = await _models(transport, required=model is None)
    names = [entry.id or "" for entry in entries]
    if model is None:
        if len(names) != 1:
            raise EndpointError(
                f"{transport.shown} lists {len(names)} models ({_some(names)}), one must be named",
                f"Write openai:{transport.shown}#MODEL.",
            )
        model = names[0]
    entry = next((entry for entry in entries if _same(entry.id or "", model)), None)
    if entry is None and len(names) == 1 and "*" not in names[0]:
        raise EndpointError(
            f"{transport.shown} serves {names[0]!r}, not {model!r}", f"Write openai:{transport.shown}#{names[0]}."
        )
    window = (entry.window if entry else None) or await _llama_window(transport)
    return ServerInfo(model, window, await find_tokenizer(transport, model))


def _same(listed: str, model: str) -> bool:
    """Whether a listed name means the model: Gemini lists ``models/NAME``, Ollama ``NAME:latest``."""
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


async def _llama_window(transport: Transport) -> int | None:
    """The window of a slot from llama.cpp's ``/props``; None on any other server."""
    try:
        return read(Props, await transport.get(f"{transport.root}/props")).default_generation_settings.n_ctx or None
    except ModelError:
        return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none"
