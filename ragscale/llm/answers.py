"""Reading of chat completions: their samples, and their cost, the larger of the reported and the seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ragscale.endpoint.replies import Completion, CompletionChoice
from ragscale.errors import ModelError
from ragscale.llm.base import Generation
from ragscale.llm.notations import begins, ends, one_form
from ragscale.llm.tokens import floor
from ragscale.types import Spend, ToolCall, Usage
from ragscale.words import counted

__all__ = ["Asked", "Sample", "generation", "longest", "stopped", "within"]

_LONGEST = 64  # characters of a token; runs of spaces aside, none in use has more
# The server broke off: OpenRouter, z.ai, DeepSeek (https://api-docs.deepseek.com/api/create-chat-completion).
_BROKEN = {"error", "network_error", "insufficient_system_resource"}


def stopped(text: str, stop: Sequence[str], told: str = "") -> tuple[str, str]:
    """A sample as far as the first stop string in it, and the one that ended it.

    Args:
        text: As it came; a server that heeds stop strings has left them out.
        stop: What was asked for.
        told: The one that the server names.

    Returns:
        The text, and the stop string; that is empty where none did, or nobody tells.
    """
    found = [(at, mark) for mark in stop if mark and (at := text.find(mark)) >= 0]
    if found:
        at, mark = min(found)
        return text[:at], mark
    return text, told if told in stop else ""


def within(text: str, max_tokens: int) -> str:
    """As much of a text as `max_tokens` tokens can be: what is longer would cost time wherever it is read."""
    return text[: longest(max_tokens)]


def longest(max_tokens: int) -> int:
    """Characters that so many tokens can be."""
    return max(1000, max_tokens * _LONGEST)


class Sample(NamedTuple):
    """One sample of an answer, as far as it decides the cost."""

    text: str
    """Reply, with the thought before it where that was sent; see `within`."""
    times: float = 1.0
    """Length of the reply as a multiple of that of `text`."""
    cut: bool = False
    """Whether the length ended it."""
    hidden: bool = False
    """Whether a thought before it may not have been sent."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Request, as far as it decides the content and the cost of its answer."""

    prompt: int
    """Own count of the prompt's tokens."""
    exact: bool
    """Whether that is a tokenizer's and no estimate."""
    fewest: int
    """Tokens that the prompt has at least: a report of fewer is not believed."""
    max_tokens: int
    """Of each sample."""
    n: int = 1
    measure: Callable[[str], int]
    """Counts or estimates the tokens of a text."""
    measured: bool = False
    """Whether it counts, by the server's tokenizer."""
    believed: bool = True
    """Whether the server's reports were seen to grow with what it is sent."""

    def sample(self, text: str, *, cut: bool, hidden: bool) -> Sample:
        """A sample of this text, as far as it could have been asked for."""
        kept = within(text, self.max_tokens)
        return Sample(kept, len(text) / max(1, len(kept)), cut, hidden)

    def credible(self, told: Usage | None) -> bool:
        """Whether a reported usage can be true of this prompt: some servers report zeros, or the same always."""
        return told is not None and self.believed and told.prompt_tokens >= self.fewest

    def usage(self, told: Usage | None, samples: Sequence[Sample], *, seen: int = 0) -> Usage:
        """Tokens that the call is charged.

        Those that the server reports; never fewer than the tokenizer counts, than came back with log-probabilities, or
        than the texts must have. Without a credible report they are estimated.

        Args:
            told: What the server reports.
            samples: What it wrote.
            seen: Tokens that it wrote at least: llama.cpp reports one sample of several, others half of a usage.
        """
        fewest = sum(min(_floor(sample), self.max_tokens) for sample in samples)
        if told and self.credible(told) and told.completion_tokens >= fewest:
            prompt = max(told.prompt_tokens, self.prompt if self.exact else 0)
            return replace(told, prompt_tokens=prompt, completion_tokens=max(told.completion_tokens, seen))
        prompt = max(self.prompt, self.fewest, told.prompt_tokens if told and self.credible(told) else 0)
        told = told or Usage()
        written = max(told.completion_tokens, seen, sum(map(self._written, samples)))
        counted = self.measured and not any(sample.hidden for sample in samples)
        guessed = (0 if counted else written) + (0 if self.exact else prompt)
        return Usage(prompt, written, estimated_tokens=guessed)

    def _written(self, sample: Sample) -> int:
        """An estimate of a sample's tokens."""
        fewest = _floor(sample)
        if sample.cut or sample.hidden:
            return max(self.max_tokens, fewest)
        tokens = math.ceil(self.measure(sample.text) * sample.times) + 1
        return tokens if fewest > self.max_tokens or sample.times > 1 else min(tokens, self.max_tokens)


def generation(
    answer: Completion,
    asked: Asked,
    *,
    logprobs: bool,
    thinks: bool,
    opened: bool = False,
    stop: Sequence[str] = (),
    tools: bool = False,
    broken: Callable[[str, Spend | None], ModelError],
    name: str,
) -> Generation:
    """The samples of a chat completion.

    Args:
        answer: As it was read.
        asked: What was sent.
        logprobs: Whether their mean log-probabilities must be there.
        thinks: Whether the model thinks before it replies.
        opened: Whether its template opens the thought, so that the tag is missing in the text.
        stop: Strings that end a sample.
        tools: Whether tools were on offer; otherwise the arguments of a call are taken for the text.
        broken: Makes the error to raise for an unusable answer.
        name: Of the model.

    Raises:
        ModelError: Something that was asked for is missing, or the model refused.
    """
    reported = answer.reported()
    samples = [_sample(asked, choice, thinks) for choice in answer.choices]
    seen = sum(len(choice.token_logprobs) for choice in answer.choices)
    usage = asked.usage(reported, samples, seen=max(seen, answer.written(asked.prompt) if reported is None else 0))
    spend = usage.spend if reported is not None and not usage.estimated_tokens else None
    choices = answer.choices[: asked.n]
    if not choices:
        raise broken("no choices", spend)
    if len(choices) < asked.n:
        raise broken(f"{counted(len(choices), 'choice')} instead of {asked.n}", spend)
    texts, thoughts, reasons, means, stops = [], [], [], [], []
    refusals: list[str] = []
    calls = [_bounded(choice.calls, asked.max_tokens) if tools else [] for choice in choices]
    for choice, called in zip(choices, calls, strict=True):
        sent, reason = choice.spoken if tools else choice.text, choice.end
        thought = choice.thought
        if reason in _BROKEN:
            raise broken(f"finish_reason '{reason}'", spend)
        if not (sent or "").strip() and not called:
            if choice.refusal or reason not in ("stop", "length"):
                refusals.append(choice.refusal or f"finish_reason {choice.finish_reason}")
            elif sent is None and not thought and reason != "length":
                raise broken("a choice without text", spend)
            elif ends(thought):  # the server's parser left the whole reply in the field for thoughts
                sent, thought = one_form(thought, is_open=True), ""
        text = one_form(sent or "", is_open=opened and (ends(sent or "") or reason == "length"))
        if logprobs:
            if not choice.token_logprobs:
                raise broken("no log-probabilities", spend)
            means.append(sum(value for _, value in choice.token_logprobs) / len(choice.token_logprobs))
        text, mark = stopped(text, stop, choice.stopped_by)
        texts.append(within(text, asked.max_tokens))
        thoughts.append(within(thought, asked.max_tokens))
        stops.append(mark)
        cut = (reason == "length" and not mark) or len(text) > len(texts[-1])
        reasons.append("length" if cut else "stop" if mark else reason)
    if len(refusals) == len(choices):
        told = " ".join(refusals[0].split())[:300].rstrip(".")
        raise ModelError(f"{name} refused to reply: {told}", "Ask otherwise, or use another model.", spend=spend)
    usage = replace(usage, reasoning_tokens=usage.reasoning_tokens or _thought(usage, texts, thoughts))
    return Generation(
        texts, usage, reasons, means, thoughts if any(thoughts) else [], stops, calls if any(calls) else []
    )


def _bounded(calls: Sequence[ToolCall], max_tokens: int) -> list[ToolCall]:
    """Tool calls as far as `max_tokens` tokens can be, all together; see `within`."""
    kept: list[ToolCall] = []
    left = longest(max_tokens)
    for call in calls:
        kept.append(call._replace(arguments=call.arguments[:left]))
        left -= len(kept[-1].arguments)
    return kept


def _sample(asked: Asked, choice: CompletionChoice, thinks: bool) -> Sample:
    text = choice.written
    shown = bool(choice.thought) or begins(text) or ends(text)
    return asked.sample(text, cut=choice.end == "length", hidden=thinks and not shown)


def _floor(sample: Sample) -> int:
    return int(floor(sample.text) * sample.times)


def _thought(usage: Usage, texts: list[str], thoughts: list[str]) -> int:
    """The share of the tokens that was thought, where the server does not count it: by characters."""
    thought = sum(map(len, thoughts)) + sum(map(_inline, texts))
    written = sum(map(len, thoughts)) + sum(map(len, texts))
    return round(usage.completion_tokens * thought / written) if thought else 0


def _inline(text: str) -> int:
    """Characters of a thought at the beginning of a reply."""
    begin, end = text.lstrip(), text.find("</think>")
    if end >= 0:
        return end + len("</think>")
    return len(text) if begin.startswith("<think>") else 0
