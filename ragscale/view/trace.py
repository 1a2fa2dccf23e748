"""A trace as text: its tree of branches, one line a move, a spend in a few words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ragscale.types import Event, Spend, Status
from ragscale.words import counted, dollars

__all__ = ["Branch", "branches", "cost", "line", "parts", "remark"]

_REMARKS: dict[Status, str] = {
    "repeat": "asks only what was asked before",
    "malformed": "cannot be read",
    "enough": "says that nothing is missing",
    "narrowed": "the budget pays for fewer branches",
}
"""Statuses in words, where a note does not always say the same."""


@dataclass
class Branch:
    """A branch of a trace: its events and the branches that left it, where they left it."""

    name: str
    """As the events have it; ``""`` is the trunk."""
    items: list[Event | Branch] = field(default_factory=list)

    def events(self) -> Iterator[Event]:
        """All events of the branch and of the branches in it."""
        for item in self.items:
            yield from item.events() if isinstance(item, Branch) else (item,)


def branches(trace: Sequence[Event]) -> Branch:
    """The trace as a tree. A branch ``"2.0"`` lies in branch ``"2"`` if there is one, else in the trunk."""
    names = {event.branch for event in trace}
    nodes = {"": Branch("")}

    def node(name: str) -> Branch:
        if name not in nodes:
            parent = name
            while parent:
                parent = parent.rpartition(".")[0]
                if parent in names or not parent:
                    break
            nodes[name] = Branch(name)
            node(parent).items.append(nodes[name])
        return nodes[name]

    for event in trace:
        node(event.branch).items.append(event)
    return nodes[""]


def line(event: Event) -> str:
    """Input and result of a move, as one line of plain text: of a plan its queries, of passages their titles."""
    return " → ".join(parts(event))


def parts(event: Event) -> list[str]:
    """The parts of `line`: input, result and score, each of which may be absent."""
    found = []
    if event.input:
        found.append(_joined(event.input))
    if event.move == "retrieve":
        titles = {hit.id: hit.title for hits in event.hits for hit in hits}
        shown = "; ".join(titles.get(id) or id for id in event.passages)
        found.append(f"{counted(len(event.passages), 'passage')}: {shown}")
    elif event.move == "plan" and event.plan:
        found.append(" | ".join(event.plan))
    elif event.output:
        found.append(_said(event.output) if event.move == "answer" else _joined(event.output))
    if event.score is not None:
        found.append(f"{event.score:.3f}")
    return [" ".join(part.split()) for part in found]


def _said(output: str | list[str]) -> str:
    """The answer of a reply in JSON; any other reply as it is."""
    text = _joined(output)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    answer = found.get("answer") if isinstance(found, dict) else None
    return answer if isinstance(answer, str) and answer.strip() else text


def remark(event: Event) -> str:
    """Anything out of the ordinary, in words: the event's status, what was kept, and its note."""
    kept = [choice.branch for choice in event.choices if choice.status == "kept"]
    chosen = f"kept {', '.join(kept)} of {len(event.choices)}" if kept else ""
    return "; ".join(filter(None, [chosen or _REMARKS.get(event.status, ""), event.note]))


def cost(spend: Spend) -> str:
    """A spend in a few words; empty where nothing was spent."""
    parts = []
    if spend.llm_calls:
        cached = f" ({spend.cached_tokens:,} cached)" if spend.cached_tokens else ""
        thought = f" ({spend.reasoning_tokens:,} thought)" if spend.reasoning_tokens else ""
        parts.append(f"{spend.prompt_tokens:,}{cached} + {spend.completion_tokens:,}{thought} tokens")
    if spend.queries:
        parts.append(f"{counted(spend.queries, 'query')}")
    if spend.usd:
        parts.append(dollars(spend.usd))
    if spend.seconds:
        parts.append(f"{spend.seconds:.1f} s")
    return ", ".join(parts)


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else " | ".join(text)
