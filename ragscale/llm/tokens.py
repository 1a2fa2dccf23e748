"""Counting prompt tokens with the endpoint's own tokenizer, or bounding them where it has none to offer."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from ragscale.errors import EndpointError
from ragscale.llm.transport import BrokenAnswerError, RefusedError, Transport, UnreachableError
from ragscale.types import Message

__all__ = ["CountMemo", "LlamaTokenizer", "Tokenizer", "VllmTokenizer", "find_tokenizer", "upper_bound"]

_MESSAGE_MARGIN = 16  # a chat template's role markers: 4 to 8 tokens in the templates in use
_PROMPT_MARGIN = 64  # a default system prompt that some templates add


def upper_bound(messages: Sequence[Message]) -> int:
    """Tokens that `messages` cannot exceed: a byte-level tokenizer makes at most one token a byte."""
    return _PROMPT_MARGIN + sum(len(m["content"].encode()) + _MESSAGE_MARGIN for m in messages)


class Tokenizer(Protocol):
    """The tokenizer of a server; every method may raise `ModelError`."""

    async def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the prompt of `messages`, the generation prompt included."""
        ...

    async def text(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        ...


class VllmTokenizer:
    """vLLM's ``/tokenize``, which applies the chat template itself."""

    def __init__(self, transport: Transport, model: str) -> None:
        self._transport = transport
        self._model = model

    async def _ids(self, **body: Any) -> list[int]:
        answer = await self._transport.post(f"{self._transport.root}/tokenize", {"model": self._model, **body})
        # llama.cpp has a path of this name and ignores the messages: only vLLM reports a count.
        if not isinstance(answer, dict) or not isinstance(answer.get("count"), int):
            raise self._transport.broken("no token count", 0)
        return [int(token) for token in answer.get("tokens", [])]

    async def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the prompt of `messages`, the generation prompt included."""
        return await self._ids(messages=list(messages), add_generation_prompt=True)

    async def text(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        return await self._ids(prompt=text, add_special_tokens=False)

    async def end_of_turn(self) -> int:
        """Id of the token that ends an assistant turn in the chat template."""
        turn: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        closed = await self._ids(messages=turn, add_generation_prompt=False)
        is_open = await self._ids(messages=turn, add_generation_prompt=False, continue_final_message=True)
        if closed[: len(is_open)] != is_open or len(closed) == len(is_open):
            raise self._transport.broken("a chat template without an end-of-turn token", 0)
        return closed[len(is_open)]


class LlamaTokenizer:
    """llama.cpp's ``/apply-template`` and ``/tokenize``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids of the prompt of `messages`, the generation prompt included."""
        answer = await self._transport.post(
            f"{self._transport.root}/apply-template", {"messages": list(messages), "add_generation_prompt": True}
        )
        if not isinstance(answer, dict) or not isinstance(answer.get("prompt"), str):
            raise self._transport.broken("no prompt", 0)
        return await self._ids(content=answer["prompt"], add_special=True, parse_special=True)

    async def text(self, text: str) -> list[int]:
        """Ids of `text` alone, without special tokens."""
        return await self._ids(content=text, add_special=False, parse_special=False)

    async def _ids(self, **body: Any) -> list[int]:
        answer = await self._transport.post(f"{self._transport.root}/tokenize", body)
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not tokens:
            raise self._transport.broken("no tokens", 0)
        return [int(token) for token in tokens]


async def find_tokenizer(transport: Transport, model: str) -> VllmTokenizer | LlamaTokenizer | None:
    """The tokenizer that the endpoint answers with; None where it has none.

    Raises:
        ModelError: The endpoint cannot be reached, or failed in a way that another attempt may not.
    """
    for tokenizer in (VllmTokenizer(transport, model), LlamaTokenizer(transport)):
        try:
            await tokenizer.prompt([{"role": "user", "content": "Hello"}])
            return tokenizer
        except UnreachableError:
            raise
        except (EndpointError, RefusedError, BrokenAnswerError):
            continue  # no such path here, or another server's
    return None


class CountMemo:
    """Remembers counts by a digest of the messages, so that no prompt is kept; the oldest go first.

    Args:
        capacity: Counts to remember.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def get(self, messages: Sequence[Message]) -> int | None:
        """The remembered count, or None."""
        return self._counts.get(_digest(messages))

    def put(self, messages: Sequence[Message], count: int) -> None:
        """Remember `count`."""
        self._counts[_digest(messages)] = count
        while len(self._counts) > self._capacity:
            self._counts.popitem(last=False)


def _digest(messages: Sequence[Message]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for message in messages:
        for part in (message["role"], message["content"]):
            data = part.encode()
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()
