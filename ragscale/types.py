"""The vocabulary: passages, hits, spends and trace events.

Plain frozen values without behaviour beyond arithmetic and conversion; every floor above speaks in them.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, NamedTuple

__all__ = [
    "Choice", "Event", "Hit", "Message", "Move", "Passage", "Scalar", "Spend", "Status", "Tool", "ToolCall",
    "TracedHit", "Usage", "added", "brief",
]  # fmt: skip

Scalar = str | int | float | bool
"""A value of a passage's metadata."""

Move = Literal["plan", "retrieve", "read", "answer", "score", "select"]
"""The moves that modes are wired from."""

Status = Literal[
    "", "kept", "pruned", "repeat", "malformed", "enough", "empty", "cut", "failed", "narrowed", "fallback"
]
"""Classification of an event or a choice; empty for an ordinary one.

``kept``, ``pruned``: chosen, and not chosen, by a ``select`` move. ``repeat``: asks only what was asked before.
``malformed``: the reply cannot be read. ``enough``: the planner says that nothing is missing. ``empty``: nothing was
found, or nothing that could be read. ``cut``: the reply ended at its token limit. ``failed``: the model, the index or
the budget gave no result. ``narrowed``: fewer branches than the mode has, since the budget pays for no more.
``fallback``: another measure stands in for one that the endpoint lacks.
"""

Message = dict[str, Any]
"""One chat message: ``{"role": "system" | "user" | "assistant", "content": text}``.

A conversation with tools has two more forms, as the OpenAI dialect has them: the assistant's message of a turn that
calls some has ``"tool_calls"`` beside its text, a list of ``{"id": id, "type": "function", "function": {"name": name,
"arguments": text}}`` whose arguments are a JSON object; and ``{"role": "tool", "tool_call_id": id, "content": text}``
holds the result of each. The content is a text everywhere.
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call instead of replying."""

    name: str
    about: str
    """Description of what it does, for the model."""
    parameters: dict[str, Any] = field(hash=False)
    """JSON schema of its arguments, an object."""

    def to_dict(self) -> dict[str, Any]:
        """The tool as the OpenAI dialect declares it."""
        function = {"name": self.name, "description": self.about, "parameters": self.parameters}
        return {"type": "function", "function": function}


class ToolCall(NamedTuple):
    """A call of a tool, as a model wrote it: neither the name nor the arguments need be right.

    It has no id: servers leave ids out or repeat them, so that whoever writes the conversation numbers the calls anew.
    """

    name: str
    arguments: str
    """A JSON object, if the model kept to it."""


_SHOWN = 60


def _start(text: str) -> str:
    """The beginning of a text as one quoted line, for a `repr`."""
    line = " ".join(text.split())
    return repr(line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…")


@dataclass(frozen=True, slots=True, repr=False)
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

    def __repr__(self) -> str:
        return f"Passage({self.id!r}, {self.title!r}: {_start(self.text)})"


@dataclass(frozen=True, slots=True, repr=False)
class Hit:
    """A passage that a search returned."""

    passage: Passage
    score: float
    """Higher is better; comparable only within one search of one kind."""
    dense: int | None = None
    """Its rank among the candidates of the dense search, from 1; None where it is not among them, or nobody looked."""
    bm25: int | None = None
    """Its rank among those of BM25, likewise."""

    def __repr__(self) -> str:
        passage = self.passage
        return f"Hit({self.score:.4f} [{passage.id}] {passage.title}: {_start(passage.text)})"


@dataclass(frozen=True, slots=True, repr=False)
class Spend:
    """Costs in eleven dimensions: in total, or along the critical path (serial).

    Dollars are whole picodollars (12 decimals), so that sums and differences of them are exact to some 9,000 dollars.
    """

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
    usd: float | None = 0.0
    """Dollars of the model calls; None where the price of one of them is unknown, and so in every sum with it."""

    def __repr__(self) -> str:
        return brief(self)

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together: what `Budget.tokens` limits."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Spend) -> Spend:
        return Spend(*(*map(operator.add, _counts(self), _counts(other)), added(self.usd, other.usd)))

    def __sub__(self, other: Spend) -> Spend:
        usd = added(self.usd, None if other.usd is None else -other.usd)
        return Spend(*(*map(operator.sub, _counts(self), _counts(other)), usd))

    def maximum(self, other: Spend) -> Spend:
        """The larger value in each dimension: how parallel branches join on the critical path.

        All kinds of tokens are those of the one with more tokens in all: the longest prompts of one branch and the
        longest completions of another are on no path. Dollars are those of the dearer one; unknown where one is.
        """
        longer = max(self, other, key=lambda spend: (spend.tokens, _tokens(spend)))
        usd = None if self.usd is None or other.usd is None else max(self.usd, other.usd)
        largest = dict(zip(_COUNTED, map(max, _counts(self), _counts(other)), strict=True))
        return Spend(**largest | dict(zip(_TOKENS, _tokens(longer), strict=True)), usd=usd)

    def to_dict(self) -> dict[str, Any]:
        """The eleven dimensions by name, as JSON and LangGraph state hold them."""
        return dict(zip(_DIMENSIONS, _amounts(self), strict=True))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spend:
        """The inverse of `to_dict`. Dollars that it lacks are unknown: it was written before they were counted.

        An empty one, with which LangGraph's reducers begin, is nothing spent.

        Raises:
            TypeError: It has other dimensions.
        """
        return Spend(**data) if "usd" in data or not data else Spend(**data, usd=None)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Spend:
        """As `from_dict`, of a file, which may hold anything.

        Raises:
            TypeError: It has other dimensions.
            ValueError: An amount is negative, not finite, beyond 2**53, or a fraction of what only comes whole: all but
                seconds and dollars.
        """
        spend = cls.from_dict(data)
        for name in _DIMENSIONS:
            amount, parts = getattr(spend, name), name in ("seconds", "usd")
            number = isinstance(amount, int | float if parts else int) and not isinstance(amount, bool)
            if not (number and 0 <= amount <= _MOST) and not (name == "usd" and amount is None):
                shown = f"{amount!r:.40}" if isinstance(amount, int | float | str) else f"a {type(amount).__name__}"
                raise ValueError(f"{name} is {shown}, no {'number' if parts else 'whole number'} from 0 to 2**53")
        return spend


def brief(value: Any) -> str:
    """A dataclass for a `repr`: the fields that are not defaults; Python reads it back."""
    shown = []
    for one in fields(value):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        held = getattr(value, one.name)
        if held != default:
            shown.append(f"{one.name}={held!r}")
    return f"{type(value).__name__}({', '.join(shown)})"


def added(one: float | None, other: float | None) -> float | None:
    """Sum of two amounts in dollars, to the picodollar; unknown where one is."""
    return None if one is None or other is None else round(one + other, 12)


_MOST = 2**53  # what a float holds exactly
_DIMENSIONS = tuple(f.name for f in fields(Spend))
_amounts = operator.attrgetter(*_DIMENSIONS)
_COUNTED = _DIMENSIONS[:-1]
_counts = operator.attrgetter(*_COUNTED)
_TOKENS = tuple(name for name in _DIMENSIONS if name.endswith("_tokens"))
_tokens = operator.attrgetter(*_TOKENS)


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


class TracedHit(NamedTuple):
    """A hit as the trace keeps it: without its text."""

    id: str
    title: str
    """At most 80 characters."""
    score: float | None
    """Six significant digits; None where it is not finite."""
    dense: int | None = None
    """As of `Hit`."""
    bm25: int | None = None
    """As of `Hit`."""


class Choice(NamedTuple):
    """One of the branches that a ``select`` move chose from."""

    branch: str
    """Full name."""
    score: float | None
    """By what was chosen: the mean penalty (lower is better), the score (higher is better), or the votes for its
    answer; None where there is none."""
    status: Status
    """``"kept"`` or ``"pruned"``."""


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One move of a run, as it stands in the trace."""

    move: Move
    branch: str
    """Name of the branch: ``""`` for the trunk, ``"2"`` or ``"2.0"`` for a branch and a branch of it."""
    input: str | list[str] = ""
    """Input of the move: a sub-query, the queries of a retrieval, a text that was scored."""
    output: str | list[str] = ""
    """Result of the move: the model's text as written, a choice."""
    passages: list[str] = field(default_factory=list)
    """Ids of the passages retrieved or shown to the model, best first."""
    spend: Spend = Spend()
    """Cost of the move, all attempts included."""
    score: float | None = None
    """The value of a ``score`` or ``select`` move, its samples' values summed; of a ``plan`` or ``answer`` move in a
    run that asks for it, the mean log-probability of its samples."""
    note: str = ""
    """Anything out of the ordinary in words, for people: a failure, a fallback. Programs read `status`."""
    id: str = ""
    """The branch and the event's number in it (``"0.1:2"``, ``":0"`` in the trunk): unique in the run, and the same
    whenever the run is repeated or resumed."""
    parent: str = ""
    """Id of the event before it in its branch. The first one of a branch follows the last event, when it was sent, of
    the nearest branch around it that has any. Empty where none came before."""
    start: float = 0.0
    """Seconds on the branch's serial clock when it began; it ends at ``start + spend.seconds``."""
    status: Status = ""
    """See `Status`."""
    prompt: str = ""
    """First 12 hexadecimal digits of the SHA-256 of the messages as JSON; empty without a model call."""
    reserved: int = 0
    """Tokens that were reserved for all its attempts; `spend` has what was charged."""
    hits: list[list[TracedHit]] = field(default_factory=list)
    """Hits of a retrieval: a list a query, best first."""
    plan: list[str] = field(default_factory=list)
    """Queries that were read from the reply of a planner, those of all samples; documents that it opens as
    ``open [3]``."""
    known: list[str] = field(default_factory=list)
    """Sentences on what is known that were read from it."""
    choices: list[Choice] = field(default_factory=list)
    """Branches that a ``select`` move chose from, in their order."""

    def __repr__(self) -> str:
        told = [
            _start(" | ".join(text) if isinstance(text, list) else text) for text in (self.input, self.output) if text
        ]
        if self.move == "retrieve":
            told.append(f"{len(self.passages)} passages")
        odd = [self.status] if self.status else []
        return f"Event({' '.join([self.move, self.id, *odd])}: {' -> '.join(told)})"

    def to_dict(self, *, texts: bool = True) -> dict[str, Any]:
        """The event as JSON holds it.

        Args:
            texts: False leaves out what has no fixed size: input, output, note, passages, hits and the parsed plan.
        """
        values: dict[str, Any] = {name: getattr(self, name) for name in _EVENT}
        for name in ("input", "output", "passages", "plan", "known"):
            if isinstance(values[name], list):
                values[name] = list(values[name])
        values["spend"] = self.spend.to_dict()
        values["hits"] = [[list(hit) for hit in found] for found in self.hits]
        values["choices"] = [list(choice) for choice in self.choices]
        return values if texts else {name: value for name, value in values.items() if name not in _TEXTS}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Event:
        """The inverse of `to_dict`.

        Raises:
            TypeError, KeyError: It is not what `to_dict` gives.
        """
        hits = [[TracedHit(*hit) for hit in found] for found in data.get("hits", [])]
        choices = [Choice(*choice) for choice in data.get("choices", [])]
        return cls(**{**data, "spend": Spend.from_dict(data["spend"]), "hits": hits, "choices": choices})


_EVENT = tuple(f.name for f in fields(Event))
_TEXTS = {"input", "output", "passages", "note", "hits", "plan", "known"}
