"""Prompts of strategies that reason in plain text between retrievals: drafts, sentences, follow-up questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ragscale.prompts.instructions import instruction
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import Plan, Prompt
from ragscale.prompts.text import documents, one_line
from ragscale.prompts.thoughts import spoken
from ragscale.types import Passage

__all__ = ["draft"]


def whole(text: str) -> str | None:
    """All that a reply says, on one line; None where that is nothing."""
    return " ".join(spoken(text).split()) or None


def drafted(text: str) -> list[Plan] | None:
    """A draft, which is the query and what is known at once; None for an empty one."""
    said = whole(text)
    return [Plan(said, said)] if said else None


_DRAFT = instruction(
    "iter-retgen", "plan",
    "Answer the question from the documents in one to three sentences. Reason step by step: name every person, work, "
    "place and date on the way, and end with the answer. Where the documents do not tell, say what you believe.",
    "Question: {question}\n{documents}", drafted, cap="plan", needs=("question", "documents"),
)  # fmt: skip


def draft(profile: Profile, question: str, passages: Sequence[Passage]) -> Prompt[list[Plan]]:
    """Ask for a reasoned answer, searched for behind the question: its guesses name the pages that are missing."""
    made = profile.make(_DRAFT, question=one_line(question), documents=documents(passages))

    def read(text: str) -> list[Plan] | None:
        plans = made.read(text)
        return plans and [Plan(f"{question} {said}", known) for said, known in plans]

    return replace(made, read=read)
