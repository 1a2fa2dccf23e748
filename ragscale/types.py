"""The vocabulary: passages, hits, spends and trace events.

Plain frozen values without behaviour beyond arithmetic and conversion; every floor above speaks in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

__all__ = ["Event", "Hit", "Message", "Move", "Passage", "Scalar", "Spend", "Usage"]

Scalar = str | int | float | bool
"""A value of a passage's metadata."""

Move = Literal["plan", "retrieve", "read", "answer", "score", "select"]
"""The moves that modes are wired from."""

Message = dict[str, str]
"""One chat message: ``{"role": "system" | "user" | "assistant", "content": text}``."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A unit of retrieval: what is embedded, searched and shown to the model."""

    id: str
    """Unique within its corpus."""
    title: str
    """May be empty."""
    text: str
    """Never empty."""
    document: str = ""
    """Id of the document that it was cut from; empty where the passage is a document of its own."""
    metadata: Mapping[str, Scalar] = field(default_factory=dict, hash=False)
    """Fields that a search can filter by; absent values are left out."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that a search returned."""

    passage: Passage
    score: float
    """Higher is better; comparable only within one search of one kind."""


@dataclass(frozen=True, slots=True)
class Spend:
    """Costs in ten dimensions: in total, or along the critical path (serial)."""

    llm_calls: int = 0
    """Attempts at a model call, failed and repeated ones included."""
    prompt_tokens: int = 0
    """Tokens of all prompts, cached ones included."""
    completion_tokens: int = 0
    """Tokens that the model wrote."""
    cached_tokens: int = 0
    """The part of `prompt_tokens` that the server reports as read from its prefix cache."""
    queries: int = 0
    """Sub-queries sent to the index."""
    passages: int = 0
    """Passages that those queries returned."""
    rounds: int = 0
    """Batches of queries sent together. Along the critical path: retrievals that waited for earlier ones."""
    seconds: float = 0.0
    """Wall-clock time inside model calls and retrievals."""
    reasoning_tokens: int = 0
    """The part of `completion_tokens` that a model thought before it replied, where the server tells."""
    estimated_tokens: int = 0
    """The part of the tokens that is charged by an estimate, as the server reports no usage."""

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together: what `Budget.tokens` limits."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Spend) -> Spend:
        return Spend(*(getattr(self, name) + getattr(other, name) for name in _DIMENSIONS))

    def __sub__(self, other: Spend) -> Spend:
        return Spend(*(getattr(self, name) - getattr(other, name) for name in _DIMENSIONS))

    def maximum(self, other: Spend) -> Spend:
        """The larger value in each dimension: how parallel branches join on the critical path."""
        return Spend(*(max(getattr(self, name), getattr(other, name)) for name in _DIMENSIONS))

    def to_dict(self) -> dict[str, Any]:
        """The ten dimensions by name, as JSON and LangGraph state hold them."""
        return {name: getattr(self, name) for name in _DIMENSIONS}


_DIMENSIONS = tuple(f.name for f in fields(Spend))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call: what the server reports, or more where that cannot be all."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Thoughts included, hidden ones too."""
    cached_tokens: int = 0
    """The part of `prompt_tokens` read from the server's prefix cache; 0 where it does not tell."""
    reasoning_tokens: int = 0
    """The part of `completion_tokens` that was thought before the reply; 0 where it does not tell."""
    estimated_tokens: int = 0
    """The part of both that is an estimate: the server reports no usage, or one that cannot be true."""

    @property
    def spend(self) -> Spend:
        """Charge of one call with this usage."""
        return Spend(
            llm_calls=1,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
            estimated_tokens=self.estimated_tokens,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One move of a run, as it stands in the trace."""

    move: Move
    branch: str
    """Name of the branch: ``""`` for the trunk, ``"2"`` or ``"2.0"`` for a branch and a branch of it."""
    input: str | list[str] = ""
    """Input of the move: a sub-query, the queries of a retrieval, a text that was scored."""
    output: str | list[str] = ""
    """Result of the move: the model's text after parsing, a choice."""
    passages: list[str] = field(default_factory=list)
    """Ids of the passages retrieved or shown to the model, best first."""
    spend: Spend = Spend()
    """Cost of the move, all attempts included."""
    score: float | None = None
    """The value of a ``score`` or ``select`` move."""
    note: str = ""
    """Anything out of the ordinary: a malformed turn, a duplicate, a failure, a fallback."""

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON holds it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        copies = {name: list(value) for name, value in values.items() if isinstance(value, list)}
        return {**values, **copies, "spend": self.spend.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Event:
        """The inverse of `to_dict`."""
        return cls(**{**data, "spend": Spend(**data["spend"])})
