"""`Nesting`: base of modes that run another mode inside; `Continuing`: of those whose inner runs go on from a chain."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from ragscale.errors import InvalidInput
from ragscale.modes.core.costs import Costs
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.scorers import Scorer
from ragscale.prompts import Profile, Prompt
from ragscale.types import Passage, Spend

__all__ = ["Continuing", "Nesting"]


@dataclass(frozen=True, kw_only=True)
class Nesting(Mode):
    """A mode whose work is done by inner runs of `of`, which share one look at the question's own passages."""

    of: Mode
    """The mode of the inner runs."""

    @property
    def members_answer(self) -> bool:
        """Whether each inner run is to end in an answer of its own."""
        return True

    @property
    def answered(self) -> bool:
        """Whether each inner run ends in an answer: as it is to, or since its mode is of runs that answer."""
        return self.members_answer or not self.of.closes

    @property
    def asks(self) -> dict[str, Any]:
        """As of `of`: a closing answer is asked as an inner run would ask."""
        return self.of.asks

    @property
    def looks(self) -> int:
        """As of `of`."""
        return self.of.looks

    def planning(self, profile: Profile, question: str) -> Callable[[list[Passage]], Prompt[Any]] | None:
        """As of `of`."""
        return self.of.planning(profile, question)

    @property
    def retrieves(self) -> bool:
        """As of `of`."""
        return self.of.retrieves

    @property
    def calls_tools(self) -> bool:
        """As of `of`."""
        return self.of.calls_tools

    @property
    def closes(self) -> bool:
        """True where inner runs write no answers."""
        return not self.answered

    @property
    def scoring(self) -> Scorer | None:
        """Scores each outcome within its branch; None where the decision needs no scores."""
        return None

    @property
    def several(self) -> bool:
        """Whether there may be several inner runs; a single one is not scored, as there is nothing to compare."""
        return True

    def score_cost(self, costs: Costs) -> Spend:
        """Expected cost of scoring one outcome."""
        return self.scoring.cost(costs, self.of.context) if self.scoring else Spend()

    def inner_cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """Cost of one inner run and its score, at its least, with what its last call reserves, and in full: the
        question is looked up outside, and where inner runs write no answers, it is answered outside."""
        outside = self.look_cost(costs) if self.answered else self.of.ends_cost(costs)
        score = self.score_cost(costs) if self.several else Spend()
        least, full = (spend - outside + score for spend in self.of.cost(costs))
        least += costs.spare(self.of.k)
        return replace(least, rounds=max(0, least.rounds)), replace(full, rounds=max(0, full.rounds))


@dataclass(frozen=True, kw_only=True)
class Continuing(Nesting):
    """A mode whose inner runs go on from chains of earlier ones.

    Raises:
        InvalidInput: `of` cannot go on from a chain (`Mode.extends`).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.of.extends:
            raise InvalidInput(
                f"{self.name}: of={self.of.name} cannot go on from a chain", "Use chain, tree, beam or tot."
            )

    @property
    def deepest(self) -> float:
        """Longest chain of an inner run; infinite where its mode has no such bound."""
        return getattr(self.of, "steps", math.inf)

    def going_on(self, at: int) -> Self:
        """The same over runs that go on from a chain of so many steps, so that they have as many fewer to take."""
        if not 0 < at < self.deepest < math.inf:
            return self
        return replace(self, of=replace(self.of, steps=self.deepest - at))  # type: ignore[call-arg]
