"""Two ways to learn the log-probability of a given text; which of them works is for the probe to find out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ragscale.llm.answers import parse_usage, token_logprobs
from ragscale.llm.base import Score
from ragscale.llm.tokens import LlamaTokenizer, VllmTokenizer
from ragscale.llm.transport import Transport
from ragscale.types import Message

__all__ = ["GrammarScorer", "PromptScorer", "Scorer"]


class Scorer(Protocol):
    """Scores a continuation, its end-of-turn token included."""

    async def score(self, messages: Sequence[Message], continuation: str, *, prompt_tokens: int) -> Score:
        """Mean log-probability of the continuation's tokens. Raises `ModelError`."""
        ...


class GrammarScorer:
    """llama.cpp: forces the tokens with a grammar and reads the raw model's log-probabilities of them.

    The grammar names token ids, not characters: over characters the server would walk the likeliest *spelling* of the
    text, token by token, which is not how the model would write it.
    """

    def __init__(self, transport: Transport, model: str, tokenizer: LlamaTokenizer) -> None:
        self._transport = transport
        self._model = model
        self._tokenizer = tokenizer

    async def score(self, messages: Sequence[Message], continuation: str, *, prompt_tokens: int) -> Score:
        """Mean log-probability of the continuation's tokens. Raises `ModelError`."""
        ids = await self._tokenizer.text(continuation)
        body: dict[str, Any] = {
            "model": self._model,
            "messages": list(messages),
            "max_tokens": len(ids) + 1,
            "temperature": 0,
            "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in ids),
            "logprobs": True,
            "top_logprobs": 1,
            "post_sampling_probs": False,
        }
        answer = await self._transport.post("chat/completions", body, prompt_tokens=prompt_tokens)
        usage = parse_usage(answer)
        if usage is None:
            raise self._transport.broken("no usage", prompt_tokens, len(ids) + 1)
        choices = answer.get("choices") or [{}]
        entries = token_logprobs(choices[0]) if isinstance(choices[0], dict) else []
        if [entry.get("id") for entry in entries[:-1]] != ids:
            raise self._transport.broken("another text than the forced one", prompt_tokens, usage.completion_tokens)
        return Score(sum(entry["logprob"] for entry in entries) / len(entries), usage)


class PromptScorer:
    """vLLM: sends the continuation as part of the prompt and reads the prompt's log-probabilities."""

    def __init__(self, transport: Transport, model: str, tokenizer: VllmTokenizer) -> None:
        self._transport = transport
        self._model = model
        self._tokenizer = tokenizer
        self._end: int | None = None

    async def score(self, messages: Sequence[Message], continuation: str, *, prompt_tokens: int) -> Score:
        """Mean log-probability of the continuation's tokens. Raises `ModelError`."""
        if self._end is None:
            self._end = await self._tokenizer.end_of_turn()
        prompt = await self._tokenizer.prompt(messages)
        forced = [*await self._tokenizer.text(continuation), self._end]
        body = {
            "model": self._model,
            "prompt": prompt + forced,  # ids, so that nothing is tokenized differently across the seam
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 1,
        }
        charged = len(prompt) + len(forced)
        answer = await self._transport.post("completions", body, prompt_tokens=charged)
        usage = parse_usage(answer)
        if usage is None:
            raise self._transport.broken("no usage", charged, 1)
        values = _prompt_logprobs(answer)[len(prompt) :]
        found = [_logprob(entry, token) for entry, token in zip(values, forced, strict=False)]
        known = [value for value in found if value is not None]
        if len(known) != len(forced):
            raise self._transport.broken("no log-probabilities of the prompt", charged, usage.completion_tokens)
        return Score(sum(known) / len(known), usage)


def _prompt_logprobs(answer: dict[str, Any]) -> list[Any]:
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    values = choice.get("prompt_logprobs")
    return values if isinstance(values, list) else []


def _logprob(entry: Any, token: int) -> float | None:
    value = entry.get(str(token)) if isinstance(entry, dict) else None
    number = value.get("logprob") if isinstance(value, dict) else value
    return float(number) if isinstance(number, int | float) else None
