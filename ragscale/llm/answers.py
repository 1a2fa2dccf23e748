"""Reads a chat completion, trusting nothing in it."""

from __future__ import annotations

from typing import Any, Protocol

from ragscale.errors import ModelError
from ragscale.llm.base import Generation, Usage
from ragscale.words import counted

__all__ = ["parse_generation", "parse_usage", "token_logprobs"]


class Broken(Protocol):
    """Makes the error for an unusable answer, charged with `completion_tokens`."""

    def __call__(self, what: str, completion_tokens: int = 0) -> ModelError: ...


def parse_usage(answer: Any) -> Usage | None:
    """The usage block; None where it is missing or not made of counts."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    details, timings = usage.get("prompt_tokens_details"), answer.get("timings")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached is None and isinstance(timings, dict):
        cached = _count(timings.get("cache_n"))  # older llama.cpp
    return Usage(prompt, completion, min(cached or 0, prompt))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def token_logprobs(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """The log-probability entries of a choice, a token each; empty where there are none."""
    block = choice.get("logprobs")
    content = block.get("content") if isinstance(block, dict) else None
    if not isinstance(content, list):
        return []
    return [entry for entry in content if isinstance(entry, dict) and isinstance(entry.get("logprob"), int | float)]


def parse_generation(answer: Any, *, n: int, logprobs: bool, broken: Broken) -> Generation:
    """The samples of a chat completion.

    Args:
        answer: The decoded body.
        n: Samples that must be there.
        logprobs: Whether their mean log-probabilities must be there.
        broken: Makes the error to raise.

    Raises:
        ModelError: Something that was asked for is missing.
    """
    if not isinstance(answer, dict):
        raise broken("JSON that is not an object")
    usage = parse_usage(answer)
    done = usage.completion_tokens if usage else 0
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise broken("no choices", done)
    if len(choices) < n:
        raise broken(f"{counted(len(choices), 'choice')} instead of {n}", done)
    texts, reasons, means, written = [], [], [], 0
    for choice in choices[:n]:
        message = choice.get("message") if isinstance(choice, dict) else None
        text = message.get("content") if isinstance(message, dict) else None
        if not isinstance(text, str):
            raise broken("a choice without text", done)
        entries = token_logprobs(choice)
        written += len(entries)
        if logprobs:
            if not entries:
                raise broken("no log-probabilities", done)
            means.append(sum(entry["logprob"] for entry in entries) / len(entries))
        texts.append(text)
        reasons.append("length" if choice.get("finish_reason") == "length" else "stop")
    if usage is None:
        raise broken("no usage")
    # llama.cpp reports the tokens of one sample for all n: the log-probability entries tell how many there were.
    usage = Usage(usage.prompt_tokens, max(usage.completion_tokens, written), usage.cached_tokens)
    return Generation(texts, usage, reasons, means)
