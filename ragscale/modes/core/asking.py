"""Parameters of a mode's prompts: a profile, a template file, and the caps and switches of what is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from ragscale.errors import InvalidInput
from ragscale.modes.core.mode import Mode
from ragscale.prompts import PROFILES, Match, Profile, ProfileName, Prompt
from ragscale.types import Passage

__all__ = ["CAPS", "CORAG", "Asking", "Planning", "Stepwise"]

CAPS: dict[str, float] = {"answer_tokens": 0, "plan_tokens": 0, "read_tokens": 0, "turn_tokens": 0}
"""Token caps that a mode may have as parameters, with their least values: 0 leaves them to the profile."""
_SHOWN = ("pairs", "evidence")
"""Parameters or constants of a mode that say what its closing answer is shown; see `Stepwise`."""
CORAG: dict[str, Any] = {
    "profile": "corag", "steps": 6, "k": 5, "question_k": 20, "plan_k": 0, "context": 20, "temperature": 0.7,
    "pairs": "all", "evidence": "question", "early": False, "match": "exact",
}  # fmt: skip
"""Published parameters of CoRAG's chains, from its code."""


@dataclass(frozen=True, kw_only=True)
class Asking(Mode):
    """A mode that asks by a profile of its own."""

    needs: ClassVar[tuple[str, ...]] = ("answer",)
    """Moves of which a profile must have a form of its own for the mode to take it by name."""
    least: ClassVar[dict[str, float]] = CAPS

    profile: ProfileName = "auto"
    """Prompts (docs/prompts.md); ``"auto"``: those that the model was trained on, by its name, or ``"generic"``."""
    prompts: str = ""
    """A template file, whose texts replace those of the profile; empty for none."""
    answer_tokens: int = 0
    """Most tokens of the closing answer; 0: as the profile says (96; corag: 128)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        made = PROFILES.get(self.profile)
        if made is not None and not any(made.covers(move) for move in self.needs):
            fitting = [name for name, other in PROFILES.items() if any(other.covers(move) for move in self.needs)]
            raise InvalidInput(
                f"{self.name}: profile={self.profile!r} has no prompts for it", f"Use {', '.join(fitting)} or auto."
            )

    @property
    def asks(self) -> dict[str, Any]:
        """Profile and settings, as plain values for the run's scope; those left to the profile are left out."""
        caps = {field.name: cap for field in fields(self) if field.name in CAPS and (cap := getattr(self, field.name))}
        shown = {name: getattr(self, name) for name in _SHOWN if hasattr(self, name)}
        return {"profile": self.profile, "prompts": self.prompts, "settings": caps, **shown}


@dataclass(frozen=True, kw_only=True)
class Planning(Asking):
    """A mode whose model plans what to retrieve."""

    aware: bool = False
    """Whether each planning prompt says how much of the budget is used and left, by the ledger, with advice by the
    share that is left (BATS, arXiv 2511.17006); nothing is said of seconds, nor of dimensions
    without a limit."""

    @property
    def asks(self) -> dict[str, Any]:
        """As of `Asking`, with whether planners are told of the budget."""
        return {**super().asks, "aware": True} if self.aware else super().asks


@dataclass(frozen=True, kw_only=True)
class Stepwise(Planning):
    """A mode whose chain grows step by step: plan, retrieve, read."""

    needs: ClassVar[tuple[str, ...]] = ("plan",)
    extends: ClassVar[bool] = True
    least: ClassVar[dict[str, float]] = {**CAPS, "question_k": 0, "plan_k": 0}

    question_k: int = 5
    """Passages retrieved for the question itself, in a round before the first step; the answer sees them too."""
    plan_k: int = 2
    """Number of those that the planner sees; 0 as published, where the planner was fine-tuned to do without."""
    plan_tokens: int = 0
    """Most tokens of a planner's reply; 0: as the profile says (128; corag: 64)."""
    read_tokens: int = 0
    """Most tokens of a sub-answer; 0: as the profile says (128)."""
    pairs: Literal["auto", "all", "none"] = "auto"
    """Whether the closing answer is shown the chain's queries and sub-answers; ``"auto"``: as the profile says (none;
    corag: all). They reach the answer unchecked: a sub-answer has not read the question."""
    evidence: Literal["kept", "question", "all"] = "kept"
    """Passages that the closing answer is shown: the question's own first, then the chain's by rank fusion; the
    question's alone, as published; or also those of branches that were not kept."""
    early: bool = True
    """Whether the run ends where the planner says that nothing is missing; otherwise it is asked again, as after a
    repeat, up to the last step."""
    match: Match = "words"
    """Repeats: by ``"words"`` in any case and composition, or by the ``"exact"`` text, as published."""

    @property
    def looks(self) -> int:
        """`question_k`."""
        return self.question_k

    def planning(self, profile: Profile, question: str) -> Callable[[list[Passage]], Prompt[Any]]:
        """The first planner's turn, from as many passages as it sees."""
        return lambda docs: profile.plan(question, docs[: self.plan_k], [])
