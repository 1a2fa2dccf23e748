"""Ways to have a server go on with the last assistant turn, where others would begin another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ragscale.types import Message

__all__ = ["WAYS", "Way", "adapt", "is_open"]

Way = Literal["fields", "last", "prefix", "template"]
"""``fields`` of the request (vLLM, SGLang, TGI); a ``prefix`` mark in the last message (Mistral, DeepSeek's beta,
LiteLLM); nothing but its role, for being the ``last`` (Ollama, Groq, gateways to Claude); or the prompt as the server
writes it by its ``template``, sent to ``/completions`` (llama.cpp, whose chats repeat the turn and read thoughts out of
it)."""
WAYS: tuple[Way, ...] = ("fields", "prefix", "last")
"""Those of a chat, in the order in which they are tried."""


def is_open(messages: Sequence[Message]) -> bool:
    """Whether a conversation ends with an assistant turn, which is to be continued."""
    return bool(messages) and messages[-1]["role"] == "assistant"


def adapt(way: Way, body: dict[str, Any]) -> dict[str, Any]:
    """The request of a chat in that way."""
    if way == "fields":
        return {**body, "add_generation_prompt": False, "continue_final_message": True}
    if way == "prefix":
        *before, last = body["messages"]
        return {**body, "messages": [*before, {**last, "prefix": True}]}
    return body
