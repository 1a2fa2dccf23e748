"""Prompts as values: the messages of a model call together with the reader of its reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, NamedTuple, NotRequired, Self, TypeVar

from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.types import Message, Move, Tool

__all__ = [
    "NO_INFORMATION",
    "TAGS",
    "Act",
    "Acted",
    "Closing",
    "ConversationFormat",
    "Plan",
    "Prompt",
    "Reply",
    "Step",
    "Tags",
    "Turn",
]

NO_INFORMATION = "No relevant information found"
"""The sub-answer where the passages do not help, word for word (CoRAG, arXiv 2501.14342)."""

T = TypeVar("T")


class Step(TypedDict):
    """One link of a chain, as state holds it."""

    query: str
    passages: list[str]
    """Ids, best first."""
    answer: str
    """The sub-answer, or `NO_INFORMATION`."""


class Plan(NamedTuple):
    """A planner's reply: the next sub-query, and what was known when it asked."""

    query: str
    """Empty where it says that nothing is missing."""
    known: str
    """A sentence on what the documents and earlier steps tell; may be empty."""


class Turn(TypedDict):
    """One round of a multi-query conversation, as state holds it."""

    said: str
    """The model's turn, as it wrote it up to the end of its queries."""
    queries: list[str]
    """Empty for a turn that had none and was answered by a notice."""
    passages: list[list[str]]
    """Ids that are shown for each query."""
    notes: NotRequired[list[str]]
    """Notes that are shown instead of them: one for each query, empty where its passages are shown after all, or a
    single one for all queries."""


class Act(TypedDict):
    """One tool call of an agent and its result, as state holds it."""

    tool: str
    """``"search"``, ``"open"``, or the name of one that there is not."""
    queries: list[str]
    """Those that are searched for."""
    passages: list[list[str]]
    """Ids that each of them found; for `open`, those that are shown in full."""
    opens: list[int]
    """Numbers of the documents to be shown in full."""
    note: str
    """Words for the model besides, or instead of, a result."""


class Acted(TypedDict):
    """One turn of an agent, as state holds it."""

    said: str
    """Its text beside the calls; the whole of a turn that calls none."""
    acts: list[Act]
    told: str
    """The user's words behind a turn that calls no tool; empty otherwise."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of a multi-query conversation, read: queries, an answer or enough; none of them: to be told so."""

    queries: list[str] = field(default_factory=list)
    answer: str = ""
    """Only where a turn may answer; elsewhere the answer is a call of its own, as in every other mode."""
    enough: bool = False
    """Whether the model has nothing left to look up."""
    known: str = ""
    """The note on what is known; only in JSON turns."""
    said: str = ""
    """The turn up to the end of its queries or answer, with the tag that a stop string cut off; only in tags. Of an
    agent the text beside its calls, or that of its answer."""
    acts: list[Act] = field(default_factory=list)
    """Tools that it calls, in its order, those that cannot be done included; only of an agent."""
    numbers: list[int] = field(default_factory=list)
    """Documents that the answer names, 1-based, as written; only of an agent."""

    @property
    def opens(self) -> list[int]:
        """Numbers of the documents that it asks to see in full."""
        return [number for act in self.acts for number in act["opens"]]


class Closing(NamedTuple):
    """The closing answer and the numbers of the documents that it names (1-based, as written)."""

    text: str
    numbers: list[int]


@dataclass(frozen=True)
class Prompt(Generic[T]):
    """A model call to make: what is asked, how the reply is read, and the limits that suit it."""

    move: Move
    messages: list[Message]
    read: Callable[[str], T | None]
    """Reader of the reply. None: the reply is malformed, to be charged and noted."""
    schema: dict[str, Any] | None = None
    """JSON schema of the reply, for endpoints that constrain their output."""
    max_tokens: int = 128
    """Most tokens of the reply, thoughts of a reasoning model aside."""
    least: int = 16
    """Fewest tokens of a reply worth paying for; of a JSON turn, half would be wasted."""
    stop: tuple[str, ...] = ()
    """Strings that end the reply, and are not part of it."""
    thoughts: bool = False
    """Whether thoughts are part of the reply, so that one of nothing else is not empty."""
    queries: int = 1
    """Most queries that the reply may ask, for advice on a budget."""
    tools: tuple[Tool, ...] = ()
    """Tools on offer, for endpoints that call them; `read` gets a reply with calls as `called.put_down` writes it."""

    def asking(
        self, most: int, schema: dict[str, Any] | None = None, read: Callable[[str], T | None] | None = None
    ) -> Self:
        """The same for a reply that may ask `most` queries, with what such a reply is constrained and read by.

        Args:
            most: Queries a reply at most.
            schema: Its schema, where the prompt has one at all; as it is if not given.
            read: Its reader; as it is if not given.
        """
        return replace(self, queries=most, schema=self.schema and (schema or self.schema), read=read or self.read)

    @property
    def continued(self) -> bool:
        """Whether the last message is an assistant's, which the reply continues."""
        return bool(self.messages[-1]["role"] == "assistant")


class Tags(NamedTuple):
    """The marks between which a model writes and reads in a multi-query conversation: a beginning and an end each."""

    search: tuple[str, str] = ("<search>", "</search>")
    information: tuple[str, str] = ("<information>", "</information>")
    answer: tuple[str, str] = ("<answer>", "</answer>")


TAGS = Tags()
"""Those of RAG-R1 and Search-R1."""


@dataclass(frozen=True)
class ConversationFormat:
    """The manner of a multi-query conversation; a profile has its paper's."""

    stop: tuple[str, ...] = ()
    """Strings that end a turn."""
    continued: bool = False
    """Whether all rounds are one assistant turn, which each call continues; otherwise turns alternate."""
    separator: str | None = None
    """Between the queries of one search: every occurrence outside quotation marks; None for one query a search."""
    capped: bool = True
    """Whether queries beyond the most that the prompt allows are left out; otherwise 16 are searched."""
    closing: Literal["turn", "call"] = "call"
    """When the rounds are used up: one more turn, which is not searched for, or the closing answer's prompt."""
    invalid: Literal["notice", "retry"] = "retry"
    """After a turn without queries or answer: a fixed notice, at the price of a round, or the same prompt again."""
    seed_question: bool = True
    """Whether the question itself is searched for, before the first turn or in a free place of it."""
    repeats: bool = False
    """Whether a query that was asked before is shown its passages again; otherwise it is left out, and a turn of
    nothing else ends the conversation. It is never searched for again."""
    anew: bool = False
    """Whether each query is shown all its passages; otherwise only those that no earlier query found."""
    sampled: bool = False
    """Whether every turn is sampled at the mode's temperature; otherwise the first try is greedy."""
    tags: Tags = TAGS
    """The paper's marks."""
    question_mark: bool = False
    """Whether a question that ends without a question mark is given one."""
