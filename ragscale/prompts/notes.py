"""Notes in place of passages: what documents add to what is known (SPARC-RAG's notes, HybridDeepSearcher's reader)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ragscale.prompts.instructions import instruction
from ragscale.prompts.parse import sub_answer
from ragscale.prompts.prompt import NO_INFORMATION, Prompt
from ragscale.prompts.text import documents, one_line
from ragscale.types import Passage

if TYPE_CHECKING:
    from ragscale.prompts.profile import Profile

__all__ = ["REPEATED", "note"]

REPEATED = "Looked up before: see what was found then."
"""The note on a query that was asked before."""

_NOTE = instruction(
    "note",
    "read",
    "You keep the notes of somebody who looks up {corpus} to answer a question. Write down what the documents add to "
    "the notes: facts that answer the question or tell what to look up next, names, dates and numbers, in one to three "
    "short sentences. Leave out what the notes have already, and never write what the documents do not say. If they "
    f"add nothing, reply exactly: {NO_INFORMATION}",
    "Question: {question}\nNotes so far:\n{notes}\nLooked up: {queries}\n{documents}",
    sub_answer,
    needs=("question", "documents"),
)


def note(
    profile: Profile, question: str, queries: Sequence[str], passages: Sequence[Passage], notes: Sequence[str]
) -> Prompt[str]:
    """Ask what passages add to the notes, or `NO_INFORMATION`.

    Args:
        profile: Makes the prompt.
        question: The user's question.
        queries: What found the passages.
        passages: Best first.
        notes: What is known so far.
    """
    return profile.make(
        _NOTE, question=one_line(question), queries=one_line("; ".join(queries)), documents=documents(passages),
        notes="\n".join(map(one_line, notes)) or "none",
    )  # fmt: skip
