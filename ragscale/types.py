"""The vocabulary: passages, hits, spends, trace events and answers.

Plain frozen values without behaviour beyond arithmetic and conversion; every floor above speaks in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

__all__ = ["Answer", "AnswerSpend", "Event", "Hit", "Message", "Move", "Passage", "Scalar", "Spend"]

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
    """What a search can filter by; absent values are left out."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that a search returned."""

    passage: Passage
    score: float
    """Higher is better; comparable only within one search of one kind."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What was spent: as a total, or along the critical path (serial), by the same ten dimensions."""

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
    """The part of the tokens that nobody counted, as the server reports no usage: it is charged by an estimate."""

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
class Event:
    """One move of a run, as it stands in the trace."""

    move: Move
    branch: str
    """Where in the run: ``""`` for the trunk, ``"2"`` or ``"2.0"`` for a branch and a branch of it."""
    input: str | list[str] = ""
    """What the move worked on: a sub-query, the queries of a retrieval, what was scored."""
    output: str | list[str] = ""
    """What came of it: the text that the model wrote after parsing, a choice."""
    passages: list[str] = field(default_factory=list)
    """Ids of the passages retrieved or shown to the model, best first."""
    spend: Spend = Spend()
    """What this move cost, all attempts included."""
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


@dataclass(frozen=True, slots=True)
class AnswerSpend:
    """The two spends of a run."""

    total: Spend
    """Everything that was charged."""
    serial: Spend
    """The critical path: parallel branches count by their maximum in each dimension."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run ends with, always: an answer or an explicit empty one, and why it stopped."""

    text: str
    """As the model wrote it, control characters included, which the command line leaves out.

    Empty where the run could not answer; `reason` then says why.
    """
    citations: list[str]
    """Ids of the passages that the answer rests on, most important first."""
    mode: str
    """Name of the mode that ran."""
    stop_reason: str
    """``"answered"``, ``"budget:<dimension>"`` or ``"failed"``."""
    spend: AnswerSpend
    trace: list[Event] = field(repr=False)
    reason: str = ""
    """In plain words, what cut the run short and the remedy; empty for ``"answered"``."""
    caveat: str = ""
    """What the token limit of this run rests on, where nobody counted all tokens; empty where the server did."""
    question: str = ""
    passages: dict[str, Passage] = field(default_factory=dict, repr=False)
    """The cited passages by id, for display."""
    limits: dict[str, float] = field(default_factory=dict)
    """The budget of the run by dimension, for display; open dimensions are absent."""

    def to_dict(self) -> dict[str, Any]:
        """The stable JSON form that ``ragscale ask --json`` prints."""
        return {
            "answer": self.text,
            "citations": list(self.citations),
            "mode": self.mode,
            "stop_reason": self.stop_reason,
            "reason": self.reason,
            "caveat": self.caveat,
            "spend": {"total": self.spend.total.to_dict(), "serial": self.spend.serial.to_dict()},
            "trace": [event.to_dict() for event in self.trace],
        }

    def _repr_html_(self) -> str:
        """How a notebook shows it; see `ragscale.render`."""
        from ragscale.render import answer_html  # at the first use: it is written in terms of this file

        return answer_html(self)
