"""Instructions: prompts that are the same in every profile, as texts with placeholders and a reader of the reply."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from ragscale.types import Move

__all__ = ["INSTRUCTIONS", "PLACEHOLDER", "Instruction", "fill", "instruction"]

T = TypeVar("T")

PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Instruction(Generic[T]):
    """A prompt that one strategy needs and no profile has a form of its own for; `Profile.make` fills it in.

    A template file replaces its texts by a section of its name.
    """

    section: str
    """Name of its section in a template file."""
    move: Move
    system: str
    """Text of the system message, with ``{corpus}`` for the corpus's description."""
    user: str
    """Text of the user message, with a placeholder for every value that `Profile.make` is given."""
    read: Callable[[str], T | None]
    """Reader of the reply; see `Prompt.read`."""
    cap: Literal["plan", "read", "answer", "turn"] | int = "read"
    """Most tokens of the reply: a number, or as many as the profile allows a planner's turn, a sub-answer, a closing
    answer or a turn of a conversation."""
    needs: tuple[str, ...] = ("question",)
    """Placeholders that a user message from a template file must have."""
    schema: dict[str, Any] | None = None
    """As in `Prompt`."""
    least: int = 16
    """As in `Prompt`."""
    stop: tuple[str, ...] = ()
    """As in `Prompt`."""

    @property
    def placeholders(self) -> frozenset[str]:
        """Placeholders that its texts may have."""
        return frozenset({"corpus", *PLACEHOLDER.findall(self.system + self.user)})


INSTRUCTIONS: dict[str, Instruction[Any]] = {}
"""All that were declared, by section."""


def instruction(
    section: str, move: Move, system: str, user: str, read: Callable[[str], T | None], **more: Any
) -> Instruction[T]:
    """Declare an `Instruction`, so that template files may replace its texts; further fields by name.

    Raises:
        ValueError: The section is taken.
    """
    if section in INSTRUCTIONS:
        raise ValueError(f"the prompt section {section!r} is declared twice")
    INSTRUCTIONS[section] = made = Instruction(section, move, system, user, read, **more)
    return made


def fill(template: str, **values: object) -> str:
    """Replace placeholders in one pass, so that braces in a value stay text."""
    return PLACEHOLDER.sub(lambda match: str(values[match[1]]) if match[1] in values else match[0], template)
