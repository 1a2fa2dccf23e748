"""Prompts as values, and the profiles that make them: what is asked, and how the reply is read, in one object.

A mode asks ``profile.plan(question, passages, steps)`` for a `Prompt` and hands it to `Moves.ask`, which reads the
reply by it. Profiles are chosen by name or by the model's name (`profile`); a user's template file replaces any text.
"""

from __future__ import annotations

from ragscale.prompts import aggregation, backward, confidence, evolution, notes, react, reasoning, states
from ragscale.prompts.instructions import INSTRUCTIONS, Instruction, instruction
from ragscale.prompts.profile import PROFILES, Profile, ProfileName, profile
from ragscale.prompts.prompt import (
    NO_INFORMATION,
    Act,
    Acted,
    Closing,
    ConversationFormat,
    Plan,
    Prompt,
    Reply,
    Step,
    Tags,
    Turn,
)
from ragscale.prompts.remaining import with_budget
from ragscale.prompts.repeats import Match, fresh, normalise
from ragscale.prompts.text import beginning, clean, documents, numbered, numbered_pairs, one_line

__all__ = [
    "INSTRUCTIONS",
    "NO_INFORMATION",
    "PROFILES",
    "Act",
    "Acted",
    "Closing",
    "ConversationFormat",
    "Instruction",
    "Match",
    "Plan",
    "Profile",
    "ProfileName",
    "Prompt",
    "Reply",
    "Step",
    "Tags",
    "Turn",
    "aggregation",
    "backward",
    "beginning",
    "clean",
    "confidence",
    "documents",
    "evolution",
    "fresh",
    "instruction",
    "normalise",
    "notes",
    "numbered",
    "numbered_pairs",
    "one_line",
    "profile",
    "react",
    "reasoning",
    "states",
    "with_budget",
]
