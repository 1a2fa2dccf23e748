"""Notes on a round in place of its passages: one on all (SPARC-RAG), or one a query, side by side
(HybridDeepSearcher)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import reduce
from itertools import chain
from typing import Any, Literal

from langgraph.types import Send

from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import branch, node, send, unless_stopped
from ragscale.modes.core.state import Update, noted
from ragscale.modes.core.steps import note
from ragscale.modes.sequential.conversation import Conversation
from ragscale.prompts import NO_INFORMATION
from ragscale.prompts.notes import REPEATED

__all__ = ["Aggregate", "noting"]

Aggregate = Literal["none", "round", "query"]
"""Content of a conversation for each round: its passages, a note on them, or a note a query."""


def noting(graph: ModeGraph, aggregate: Aggregate, fewer: str) -> str:
    """Wire the nodes that write the notes behind node ``retrieve`` of a state with ``turns`` and ``notes``.

    Args:
        graph: Of the mode; it has, or will have, a node ``answer``.
        aggregate: Which notes.
        fewer: As of `send`, where each query has a branch.

    Returns:
        The last node of a round.
    """
    if aggregate == "round":
        graph.add_node("note", node(_note))
        graph.add_conditional_edges("retrieve", unless_stopped("note"), ["note", "answer"])
        return "note"
    if aggregate == "query":
        graph.add_node("read", branch(_read))
        graph.add_node("gather", node(_gather))
        graph.add_conditional_edges("retrieve", _to_readers(fewer), ["read", "gather", "answer"])
        graph.add_edge("read", "gather")
        return "gather"
    return "retrieve"


async def _note(moves: Moves, state: Any) -> Update:
    """One note on all that the round found."""
    talk, said = Conversation.of(state), REPEATED
    if talk.new:
        turn = talk.turns[-1]
        ids = list(dict.fromkeys(chain.from_iterable(turn["passages"])))
        said = await note(moves, state["question"], turn["queries"], ids, talk.told(state["known"]))
    return {"turns": talk.with_notes([said]), "known": noted(state["known"], said if _tells(said) else "")}


def _to_readers(fewer: str) -> Callable[[Any], Awaitable[list[Send] | str]]:
    """A router: a branch for each new query, whose note is written in view of what the rounds before have told."""

    async def route(state: Any) -> list[Send] | str:
        if state["stop"]:
            return "answer"
        talk = Conversation.of(state)
        at, turn, new, told = len(talk.turns) - 1, talk.turns[-1], talk.new, talk.told(state["known"])
        found = enumerate(zip(turn["queries"], turn["passages"], strict=True))
        return [
            send(
                "read", state, f"{at}.{place}", fewer=fewer if len(new) > 1 else "", place=[at, place], query=query,
                ids=ids, notes=told,
            )
            for place, (query, ids) in found
            if query in new
        ] or "gather"  # fmt: skip

    return route


async def _read(moves: Moves, state: Any) -> Update:
    """The note on one query."""
    said = await note(moves, state["question"], [state["query"]], state["ids"], state["notes"])
    return {"notes": [(*state["place"], said)]}


async def _gather(moves: Moves, state: Any) -> Update:
    """The notes of the round, by query; one that could not be written leaves its passages."""
    talk = Conversation.of(state)
    at, queries, new = len(talk.turns) - 1, talk.turns[-1]["queries"], talk.new
    said = {place: text for turn, place, text in state.get("notes", []) if turn == at}
    notes = [said.get(place, "") if query in new else REPEATED for place, query in enumerate(queries)]
    facts = [f"{query}: {text}" for query, text in zip(queries, notes, strict=True) if _tells(text)]
    return {"turns": talk.with_notes(notes), "known": reduce(noted, facts, state["known"])}


def _tells(note: str) -> bool:
    """Whether a note tells a fact."""
    return note not in ("", REPEATED, NO_INFORMATION)
