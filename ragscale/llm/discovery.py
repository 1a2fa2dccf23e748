"""What an endpoint says about itself: its models, its context window, its tokenizer. Spends no tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ragscale.errors import EndpointError, ModelError
from ragscale.llm.tokens import LlamaTokenizer, VllmTokenizer, find_tokenizer
from ragscale.llm.transport import BadKeyError, Transport, UnreachableError

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

    Args:
        transport: The way to it.
        model: The model wanted; None for the only one listed.

    Raises:
        EndpointError: It cannot be reached, refuses the key, does not list the model, or lists several and none is
            named.
    """
    entries = await _models(transport, required=model is None)
    names = [str(entry["id"]) for entry in entries]
    if model is None:
        if len(names) != 1:
            raise EndpointError(
                f"{transport.shown} lists {len(names)} models ({_some(names)}), one must be named",
                f"Write openai:{transport.shown}#MODEL.",
            )
        model = names[0]
    entry = next((entry for entry in entries if entry["id"] == model), {})
    if not entry and len(names) == 1:
        raise EndpointError(
            f"{transport.shown} serves {names[0]!r}, not {model!r}", f"Write openai:{transport.shown}#{names[0]}."
        )
    window = entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx") or await _llama_window(transport)
    tokenizer = await find_tokenizer(transport, model)
    return ServerInfo(model, int(window) if window else None, tokenizer)


async def _models(transport: Transport, *, required: bool) -> list[dict[str, Any]]:
    try:
        answer = await transport.get("models")
    except (UnreachableError, BadKeyError):
        raise
    except EndpointError:
        if required:
            raise
        return []  # some gateways have no such path, and the model is named
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        raise EndpointError(
            f"{transport.shown} does not list its models as the OpenAI dialect does",
            "Check that the URL ends in /v1 and belongs to a model server.",
        )
    return [entry for entry in data if isinstance(entry, dict) and "id" in entry]


async def _llama_window(transport: Transport) -> int | None:
    """The window of a slot from llama.cpp's ``/props``; None on any other server."""
    try:
        props = await transport.get(f"{transport.root}/props")
    except ModelError:
        return None
    settings = props.get("default_generation_settings") if isinstance(props, dict) else None
    window = settings.get("n_ctx") if isinstance(settings, dict) else None
    return window if isinstance(window, int) else None


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none"
