"""Adaptation to refusals: parameters, roles and lengths that an endpoint does not take."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from typing import Any

from ragscale.endpoint.transport import RefusedError
from ragscale.errors import ModelError
from ragscale.types import Message, Spend

__all__ = ["Manners"]

_OPTIONAL = (
    "max_tokens", "seed", "stop", "temperature", "logprobs", "response_format", "structured_outputs", "n",
)  # fmt: skip
_WORDS = ("stop", "n")  # that stand in sentences about something else, too
# What servers say of a parameter that they do not take: OpenAI, vLLM (pydantic), llama.cpp, gateways.
_UNKNOWN = re.compile(
    r"un(?:supported|recogni[sz]ed|known|expected|available)|not (?:yet )?(?:support|permit|allow|available|implement)|"
    r"(?:not|n't|no longer) (?:support|accept|permit|allow)|extra (?:input|field|param)|no such|"
    r"deprecated|invalid|cannot both|不支持",
    re.IGNORECASE,
)
_LENGTHS = re.compile(r"max(?:imum)?[_ ](?:completion_|output_|new_)?tokens", re.IGNORECASE)
# The smallest length, as servers name it when they refuse a smaller one: the number itself, or one below it.
_LEAST = re.compile(
    r"(?:>=|at least|minimum(?: value)?(?: of| is)?|greater than or equal to|(?:no|not be) (?:less|lower|smaller) than|"
    r"between|\[)\D{0,4}(\d{1,4})\b|(?:>|(?:greater|more|larger|higher|bigger) than|above)\D{0,2}(\d{1,4})\b",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"too (?:large|long|high|big)|exceed|maximum|at most", re.IGNORECASE)
# A failure (HTTP 5xx) may have such a word for another reason: "not available: stop signal received".
_NAMED = r"(?:argument|param(?:eter)?|field|key|option|property|input)s?\W{{1,4}}{0}\b|['\"`]{0}['\"`]"
_VALUE = re.compile(
    r"only|must be|expected|at most|maximum|fixed|equal|outside", re.IGNORECASE
)  # of a value that they do not take
# Of a temperature of 0: TGI ("must be strictly positive", https://github.com/huggingface/text-generation-inference/
# issues/1236), Dynamo, GigaChat ("must be in range (0, +inf)"), transformers ("has to be a strictly positive float").
_POSITIVE = re.compile(
    r"positive|(?:greater|more|larger|higher|bigger) than (?:0|zero)|above (?:0|zero)|> ?0|\(0", re.IGNORECASE
)
# The lowest one that they take: "between 0.01 and 1", ">= 1e-5", "[0.01, 1.99]".
_FROM = re.compile(
    r"(?:>=?|at least|minimum|between|from|than|\[|\()\D{0,16}(0?\.\d{1,9}|\d(?:\.\d{1,9})?e-\d{1,2})\b", re.IGNORECASE
)
_COLDEST = 0.01
_SYSTEM = re.compile(
    r"system (?:role|message|prompt|instruction)|role[^.]{0,20}system|roles must alternate|developer instruction|"
    r"only user and assistant roles|'system' is not",
    re.IGNORECASE,
)


def _named(name: str, said: str) -> re.Match[str] | None:
    """Place of a parameter's name; letters of other scripts may stand right beside it."""
    return re.search(rf"\b{name}\b", said, re.IGNORECASE | re.ASCII)


def _refusal(name: str, said: str, *, refused: bool) -> int | None:
    """Place in the words of a failure that says that a parameter is not taken; None where they do not say so.

    A request that is refused in words with the parameter's name is refused for it, in whatever language. Common words,
    a length, and the words of any other failure need one that says so.
    """
    clear = re.search(_NAMED.format(name), said, re.IGNORECASE | re.ASCII)
    at = _named(name, said) if refused else clear
    if at is None:
        return None
    if name == "max_tokens" and refused and "max_completion_tokens" in said and not _TOO_LONG.search(said):
        return at.start()
    if refused and name != "max_tokens" and (clear or name not in _WORDS or _VALUE.search(said)):
        return at.start()
    return at.start() if _UNKNOWN.search(said) else None


class Manners:
    """Learns from refusals, and adapts each request to what was learned."""

    def __init__(self) -> None:
        self.dropped: set[str] = set()
        """Parameters that are left out; `max_tokens` is sent under its newer name instead."""
        self.least = 1
        """Fewest tokens that a completion may be limited to."""
        self.coldest = 0.0
        """Lowest temperature; sent for a lower one, as some servers take any but 0."""
        self.folds = False
        """Whether the chat template has no system role, so that its text goes into the user's turn."""

    @property
    def lost(self) -> tuple[str, ...]:
        """Parameters that calls go on without."""
        return tuple(sorted(self.dropped - {"max_tokens"}))

    def adapt(self, body: dict[str, Any]) -> dict[str, Any]:
        """The request as this endpoint takes it; parameters that are None are left out."""
        sent = {key: value for key, value in body.items() if value is not None and key not in self.dropped}
        if "max_tokens" in self.dropped and "max_tokens" in body:
            sent["max_completion_tokens"] = body["max_tokens"]
        if sent.get("temperature", 1) < self.coldest:
            sent["temperature"] = self.coldest
        return {**sent, "messages": self.messages(body["messages"])}

    def messages(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation, a system message put before the text of the turn that follows it if need be."""
        if not self.folds:
            return list(messages)
        folded: list[Message] = []
        for message in messages:
            if folded and folded[-1]["role"] == "system":
                folded[-1] = {**message, "content": f"{folded[-1]['content']}\n\n{message['content']}"}
            else:
                folded.append(message)
        return folded

    def learn(self, error: ModelError, body: dict[str, Any], *, keep: Set[str] = frozenset()) -> str:
        """Read from a refusal what to do without from now on.

        A length is refused by name alone, not by value: a call without one would have no end. A template without a
        system role may be told as a failure (llama.cpp: HTTP 500).

        Args:
            error: Holds the server's words.
            body: The request that was refused.
            keep: Parameters that are not to be left out.

        Returns:
            The parameter, ``"system"``, ``"least"`` where the length was too small, or ``"coldest"`` where only a
            temperature of 0 was refused; empty where the server refused something else.
        """
        said, refused = error.said, isinstance(error, RefusedError)
        if refused and self.least == 1 and _LENGTHS.search(said):
            asked = body.get("max_tokens", body.get("max_completion_tokens"))
            smallest = max((int(itself or int(below) + 1) for itself, below in _LEAST.findall(said)), default=0)
            if asked is not None and asked < smallest:
                self.least = smallest
                return "least"
        zero = refused and not self.coldest and body.get("temperature") == 0 and "temperature" not in keep
        if zero and _named("temperature", said):
            lowest = next((number for number in map(float, _FROM.findall(said)) if number > 0), 0.0)
            if lowest or _POSITIVE.search(said):
                self.coldest = lowest or _COLDEST
                return "coldest"
        named = {
            name: at for name in _OPTIONAL if name in body and (at := _refusal(name, said, refused=refused)) is not None
        }
        if named:
            # Servers name the parameter to use instead, too: the one that is named first is what they mean.
            name = min(named, key=named.__getitem__)
            if name in keep:
                return ""
            self.dropped.add(name)
            return name
        if any(message["role"] == "system" for message in body.get("messages", ())) and _SYSTEM.search(said):
            self.folds = True
            return "system"
        return ""

    def check_length(self, model: str, max_tokens: int) -> None:
        """Raises `ModelError`, before anything is sent, for a completion shorter than `least`."""
        if max_tokens < self.least:
            raise ModelError(
                f"{model} takes no limit below {self.least} tokens, {max_tokens} were asked for",
                "Ask for more tokens, or raise the budget.",
                spend=Spend(),
            )

    def instead(self, refused: str) -> str:
        """Verb and object of a sentence on later calls, for what `learn` returned."""
        return {
            "max_tokens": "send 'max_completion_tokens' instead",
            "system": "put the system message into the user's turn",
            "coldest": f"send {self.coldest:g} for a temperature of 0",
        }.get(refused, f"go on without {refused!r}")
