"""Two ways to learn the log-probability of a given text; which of them works is for the probe to find out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ragscale.endpoint.replies import Completion, read
from ragscale.endpoint.transport import LARGEST, Transport
from ragscale.llm.base import Score
from ragscale.llm.tokens import LlamaTokenizer, VllmTokenizer
from ragscale.types import Message, Usage

__all__ = ["ContinuationScorer", "GrammarScorer", "PromptScorer"]


_LOWEST = 1e6  # a log-probability below this is none


class ContinuationScorer(Protocol):
    """Scores a continuation, its end-of-turn token included."""

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Mean log-probability of the continuation's tokens. Raises `ModelError`."""
        ...


class GrammarScorer:
    """llama.cpp: forces the tokens with a grammar and reads the raw model's log-probabilities of them.

    The grammar names token ids, not characters: over characters the server would walk the likeliest *spelling* of the
    text, token by token, which is not how the model would write it.

    `fields` are further fields of each request, which tell the chat template, for one, not to open a thought.
    """

    def __init__(self, transport: Transport, model: str, tokenizer: LlamaTokenizer, fields: Mapping[str, Any]) -> None:
        self._transport = transport
        self._model = model
        self._tokenizer = tokenizer
        self._fields = fields

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Mean log-probability of the continuation's tokens. Raises `ModelError`."""
        ids = await self._tokenizer.text(continuation)
        body: dict[str, Any] = {
            **self._fields,
            "model": self._model,
            "messages": list(messages),
            "max_tokens": len(ids) + 1,
            "temperature": 0,
            "grammar": "root ::= " + " ".join(f"<[{token}]>" for token in ids),
            "logprobs": True,
            "top_logprobs": 1,
            "post_sampling_probs": False,
        }
        answer = read(Completion, await self._transport.post("chat/completions", body))
        entries = answer.choices[0].token_logprobs if answer.choices else []
        if [id for id, _ in entries[:-1]] != ids:
            raise self._transport.broken("another text than the forced one")
        return Score(sum(value for _, value in entries) / len(entries), _usage(answer, self._transport))


class PromptScorer:
    """vLLM: sends the continuation as part of the prompt and reads the prompt's log-probabilities."""

    def __init__(self, transport: Transport, model: str, tokenizer: VllmTokenizer) -> None:
        self._transport = transport
        self._model = model
        self._tokenizer = tokenizer
        self._end: int | None = None

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Mean log-probability of the continuation's tokens. Raises `ModelError`."""
        if self._end is None:
            self._end = await self._tokenizer.end_of_turn()
        prompt = await self._tokenizer.prompt(messages)
        forced = [*await self._tokenizer.text(continuation), self._end]
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": prompt + forced,  # ids, so that nothing is tokenized differently across the seam
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 1,
        }
        # an entry a token, of two candidates and their texts
        largest = max(LARGEST, 2**9 * len(body["prompt"]))
        answer = read(Completion, await self._transport.post("completions", body, largest=largest))
        values = answer.choices[0].prompt_logprobs[len(prompt) :] if answer.choices else []
        found = [_logprob(entry, token) for entry, token in zip(values, forced, strict=False)]
        known = [value for value in found if value is not None]
        if len(known) != len(forced):
            raise self._transport.broken("no log-probabilities of the prompt")
        return Score(sum(known) / len(known), _usage(answer, self._transport))


def _usage(answer: Completion, transport: Transport) -> Usage:
    usage = answer.reported()
    if usage is None:
        raise transport.broken("no usage")
    return usage


def _logprob(entry: Any, token: int) -> float | None:
    value = entry.get(str(token)) if isinstance(entry, dict) else None
    number = value.get("logprob") if isinstance(value, dict) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < _LOWEST:
        return None
    return float(number)
