"""The one protocol that every language model speaks, and the values it exchanges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from ragscale.types import Message, Tool, ToolCall, Usage

__all__ = ["LLM", "Capabilities", "Generation", "Score", "fields_of", "runtime"]


@dataclass(frozen=True, slots=True)
class Generation:
    """Result of one call of `LLM.generate`."""

    texts: list[str]
    """The n samples, in the server's order; empty where a thought took all of `max_tokens`."""
    usage: Usage
    """All samples together; the prompt counts once if the server counts it once."""
    finish_reasons: list[str] = field(default_factory=list)
    """A reason a sample: ``"stop"``, ``"length"`` where `max_tokens` cut it, or the server's word for another end."""
    logprobs: list[float] = field(default_factory=list)
    """Mean token log-probability of each sample; empty unless asked for and supported."""
    thoughts: list[str] = field(default_factory=list)
    """Thought before each sample, where the server keeps it apart; empty where it keeps none."""
    stops: list[str] = field(default_factory=list)
    """The stop string that ended each sample; ``""`` where none did, or the server does not tell which."""
    calls: list[list[ToolCall]] = field(default_factory=list)
    """Tools that each sample calls, in its order, beside its text; empty where none calls any."""
    seconds: float | None = None
    """Seconds that the call took when it was made, of one that is read from a store; None of one that is made now."""


@dataclass(frozen=True, slots=True)
class Score:
    """Result of one call of `LLM.score`."""

    logprob: float
    """Mean log-probability of the continuation's tokens."""
    usage: Usage
    seconds: float | None = None
    """As of `Generation`."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Abilities that an endpoint was *seen* to have; a mode degrades by these and says so in its trace."""

    json_schema: bool = False
    """Constrains its output to a JSON schema."""
    scoring: bool = False
    """Gives the log-probability of a given continuation."""
    tokenizer: bool = False
    """Counts tokens exactly; otherwise `count_tokens` is an estimate on the high side."""
    logprobs: bool = False
    """Returns log-probabilities of what it writes."""
    samples: bool = False
    """Returns n samples from one call; otherwise `generate` with n > 1 raises and the caller repeats the call."""
    continues: bool = False
    """Goes on with an assistant turn that a conversation ends with; otherwise `generate` refuses such a one."""
    least: int = 1
    """Fewest tokens that a completion may be limited to; a server refuses less."""
    thinking: int = 0
    """Tokens that a reply may have on top of its own for what the model thinks first; 0 for a model that does not."""
    tools: bool = False
    """Calls tools, several in one turn, and takes their results; otherwise the caller asks for JSON instead. Found out
    where it is asked for; see `LLM.capabilities`."""


@runtime_checkable
class LLM(Protocol):
    """A chat model behind one asynchronous interface.

    Every method makes a single attempt and raises `ModelError`, whose ``spend`` says what that attempt is charged: None
    where nobody knows, so that it is charged the most that it may have cost. Retries belong to the caller, who reserves
    budget before each (`ragscale.modes.core.calls`). Safe for concurrent use in one event loop and from several.
    """

    @property
    def name(self) -> str:
        """Model name for manifests, traces and reports; never a key."""
        ...

    @property
    def context_window(self) -> int:
        """Most tokens that prompt and completion may have together."""
        ...

    async def capabilities(self, *, tools: bool = False) -> Capabilities:
        """Probe once, then remember; after a failure another attempt goes on from what was found out until then.

        Args:
            tools: Whether tool calls are tried out as well, which may take as long as all the rest. Otherwise
                `Capabilities.tools` may be false for a model that calls tools. Given only by modes that call them, so
                that models without the argument serve all others.

        Raises:
            EndpointError: The endpoint cannot be reached, or refuses the key.
            ModelError: This attempt failed.
        """
        ...

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        n: int = 1,
        temperature: float = 0.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
        logprobs: bool = False,
        tools: Sequence[Tool] = (),
    ) -> Generation:
        """Write n samples of the next assistant turn, or of the rest of the last one.

        Args:
            messages: The conversation, oldest first. One that ends with an assistant message is continued: the samples
                hold what follows it, and nothing of it. Such a message is never taken for a finished turn.
            max_tokens: Hard limit of each sample.
            n: Samples to draw.
            temperature: 0 is greedy.
            seed: Makes a sampled call repeatable where the server honours it.
            stop: Strings that end a sample (not part of it); also where the server does not heed them.
            schema: JSON schema to constrain the output; ignored where `Capabilities.json_schema` is false.
            logprobs: Whether to return mean log-probabilities.
            tools: Tools that the model may call; ignored where `Capabilities.tools` is false. Modes leave the argument
                out where they offer none.

        Raises:
            ModelError: This attempt failed, or the conversation ends with an assistant message and
                `Capabilities.continues` is false.
        """
        ...

    async def score(self, messages: Sequence[Message], continuation: str) -> Score:
        """Mean log-probability that the next assistant turn, or the rest of the last one, is exactly `continuation`.

        Raises:
            ModelError: This attempt failed, or `Capabilities.scoring` is false.
        """
        ...

    async def count_tokens(self, messages: Sequence[Message], *, tools: Sequence[Tool] = ()) -> int:
        """Prompt tokens of `messages` with the chat template, the tools on offer and the generation prompt.

        A conversation that ends with an assistant message is counted as it is continued: without the end of that turn.

        Exact where `Capabilities.tokenizer` is true, otherwise an estimate on the high side.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and, for an embedded model, its server. Idempotent."""
        ...


def runtime(llm: LLM) -> str:
    """Program that computes a model, where the model knows it (its attribute ``runtime``): ``"llama.cpp"``.

    The same file gives other texts by another program. Empty for an endpoint, which does not tell what it runs on.
    """
    return str(getattr(llm, "runtime", ""))


def fields_of(llm: LLM) -> dict[str, Any]:
    """Further fields of each request to a model, where it has such (its attribute ``fields``), as JSON holds them: they
    may change what it replies."""
    return dict(json.loads(json.dumps(getattr(llm, "fields", None) or {}, default=str)))
