"""Moves of stepwise modes: read a sub-answer, take a step, score a chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ragscale import prompts
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import Update
from ragscale.prompts import NO_INFORMATION, Prompt, Step
from ragscale.types import Passage, Spend

__all__ = ["FIRST", "enough", "note", "penalty", "read", "reading", "retrieving", "take"]

FIRST = Spend(llm_calls=2, prompt_tokens=600, queries=1, rounds=1)
"""Least that a first step is tried with: its passages may be short."""


async def read(moves: Moves, query: str, ids: Sequence[str]) -> str:
    """The sub-answer to `query` from its passages, or `NO_INFORMATION`; no call where there are none."""
    return await _read(moves, query, ids, lambda docs: moves.profile.read(query, docs))


async def note(moves: Moves, question: str, queries: Sequence[str], ids: Sequence[str], notes: Sequence[str]) -> str:
    """The note on what the passages that `queries` found add to `notes`, or `NO_INFORMATION`; as of `read`."""
    return await _read(
        moves, "; ".join(queries), ids, lambda docs: prompts.notes.note(moves.profile, question, queries, docs, notes)
    )


async def _read(moves: Moves, query: str, ids: Sequence[str], make: Callable[[list[Passage]], Prompt[str]]) -> str:
    if not ids:
        moves.note("read", "nothing to read", status="empty", input=query, output=NO_INFORMATION)
        return NO_INFORMATION
    prompt, shown, note = await moves.fit(make, ids)
    if not shown:
        why = "no passage fits the budget or the context window"
        moves.note("read", why, status="empty", input=query, output=NO_INFORMATION)
        return NO_INFORMATION
    [answer] = await moves.put(prompt, input=query, passages=shown, note=note)
    return answer


async def take(moves: Moves, query: str, k: int) -> Step:
    """One step of a chain: retrieve `k` passages for `query` and read them."""
    [passages] = await moves.retrieve([query], k)
    return Step(query=query, passages=passages, answer=await read(moves, query, passages))


def retrieving(k: int) -> Callable[[Moves, Any], Awaitable[Update]]:
    """Body of a node: retrieve `k` passages for the state's ``query``, as its ``passages``."""

    async def retrieve(moves: Moves, state: Any) -> Update:
        return {"passages": (await moves.retrieve([state["query"]], k))[0]}

    return retrieve


async def reading(moves: Moves, state: Any) -> Update:
    """Body of a node: read the state's ``passages`` for its ``query``, and add that step to the chain."""
    answer = await read(moves, state["query"], state["passages"])
    return {"chain": [*state["chain"], Step(query=state["query"], passages=state["passages"], answer=answer)]}


async def penalty(moves: Moves, question: str, steps: Sequence[Step]) -> float:
    """Penalty of a chain: how sure the model is that it does *not* answer the question; lower is better (CoRAG).

    The mean log-likelihood of `NO_INFORMATION` given the chain's pairs; where the endpoint cannot score, the share of
    steps that found nothing, which the trace then says.
    """
    last = steps[-1]["query"] if steps else ""
    if not moves.context.capabilities.scoring:
        empty = sum(step["answer"] == NO_INFORMATION for step in steps) / max(len(steps), 1)
        why = "endpoint cannot score: share of steps without information"
        moves.note("score", why, status="fallback", input=last, score=empty)
        return empty
    return await moves.score(moves.profile.support(question, steps), NO_INFORMATION, input=last)


async def enough(moves: Moves, question: str, steps: Sequence[Step], bias: float | None = None) -> bool:
    """Whether the model says that the chain is enough to answer; False for a reply that is neither yes nor no.

    With a `bias`, by the log-probabilities of both words (CoRAG's learned stop): yes where lp(yes) - lp(no) > -bias.
    Where the endpoint cannot score, by its reply, which the trace then says.
    """
    prompt, last = moves.profile.enough(question, steps), steps[-1]["query"]
    if bias is not None and moves.context.capabilities.scoring:
        yes, no = [await moves.score(prompt, word, input=last) for word in ("yes", "no")]
        said = yes - no > -bias
    else:
        if bias is not None:
            why = f"endpoint cannot score: yes or no by its reply, without the bias of {bias:g}"
            moves.note("score", why, status="fallback", input=last)
        said = True in await moves.put(prompt, input=last)
    if said:
        moves.note("score", "the chain is enough", status="enough", input=last)
    return said
