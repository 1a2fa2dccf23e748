"""Prompts as values, and the profiles that make them: what is asked, and how the reply is read, in one object.

A mode asks ``profile.plan(question, passages, steps)`` for a `Prompt` and hands it to `Moves.ask`, which reads the
reply by it. Profiles are chosen by name or by the model's name (`profile`); a user's template file replaces any text.
"""

from __future__ import annotations

from collections.abc import Sequence

from ragscale.prompts.generic import Generic
from ragscale.prompts.profile import PROFILES, Profile, ProfileName, profile
from ragscale.prompts.prompt import NO_INFORMATION, Closing, Form, Plan, Prompt, Reply, Step, Turn
from ragscale.prompts.repeats import Match, normalise
from ragscale.prompts.text import beginning, clean, documents, numbered, one_line
from ragscale.types import Message, Passage

__all__ = [
    "INSTRUCTIONS",
    "NO_INFORMATION",
    "PROFILES",
    "Closing",
    "Form",
    "Match",
    "Plan",
    "Profile",
    "ProfileName",
    "Prompt",
    "Reply",
    "Step",
    "Turn",
    "answer",
    "beginning",
    "clean",
    "documents",
    "normalise",
    "numbered",
    "one_line",
    "plan",
    "profile",
    "read",
    "support",
]

# The functions below go when modes ask by profiles.
_TODAY = Generic(corpus="pages of an encyclopedia")
INSTRUCTIONS = _TODAY.instructions()


def plan(question: str, passages: Sequence[Passage], steps: Sequence[Step]) -> list[Message]:
    return _TODAY.plan(question, passages, steps).messages


def read(query: str, passages: Sequence[Passage]) -> list[Message]:
    return _TODAY.read(query, passages).messages


def support(question: str, steps: Sequence[Step]) -> list[Message]:
    return _TODAY.support(question, steps).messages


def answer(question: str, passages: Sequence[Passage], known: Sequence[str] = ()) -> list[Message]:
    return _TODAY.answer(question, passages, known).messages
