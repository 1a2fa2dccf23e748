"""A trace as text: its tree of branches, one line a move, a spend in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ragscale.types import Event, Spend
from ragscale.words import counted

__all__ = ["Branch", "branches", "cost", "line"]


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


def line(event: Event, name: Callable[[str], str] = str) -> str:
    """Input and result of a move, as one line of plain text.

    Args:
        event: The move.
        name: Gives the name under which a passage is shown, by its id.
    """
    parts = []
    if event.input:
        parts.append(_joined(event.input))
    if event.move == "retrieve":
        parts.append(f"{counted(len(event.passages), 'passage')}: {'; '.join(map(name, event.passages))}")
    elif event.output:
        parts.append(_joined(event.output))
    if event.score is not None:
        parts.append(f"{event.score:.3f}")
    return " → ".join(" ".join(part.split()) for part in parts)


def cost(spend: Spend) -> str:
    """A spend in a few words; empty where nothing was spent."""
    parts = []
    if spend.llm_calls:
        cached = f" ({spend.cached_tokens:,} cached)" if spend.cached_tokens else ""
        thought = f" ({spend.reasoning_tokens:,} thought)" if spend.reasoning_tokens else ""
        parts.append(f"{spend.prompt_tokens:,}{cached} + {spend.completion_tokens:,}{thought} tokens")
    if spend.queries:
        parts.append(f"{counted(spend.queries, 'query')}")
    if spend.seconds:
        parts.append(f"{spend.seconds:.1f} s")
    return ", ".join(parts)


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else " | ".join(text)
