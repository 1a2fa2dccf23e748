"""`Cell`: a mode at a budget and a seed, the unit that a run measures; `MeasuredCell`: as a run records it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ragscale.budget import Budget
from ragscale.modes import Mode
from ragscale.modes.spec import label

__all__ = ["Cell", "MeasuredCell"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A mode, the budget of a question, and a seed."""

    mode: Mode
    budget: Budget = field(default_factory=Budget)
    seed: int = 0

    @property
    def label(self) -> str:
        """The mode as `ragscale.modes.spec.parse` reads it."""
        return label(self.mode)

    @property
    def key(self) -> str:
        """The cell's name in a run: ``chain(steps=2)@tokens=4000,seed=7``, without open limits and seed 0."""
        given = {**self.budget.limits, **({"seed": self.seed} if self.seed else {})}
        told = ",".join(f"{name}={str(value).removesuffix('.0')}" for name, value in given.items())
        return f"{self.label}@{told}" if told else self.label

    def to_dict(self) -> dict[str, Any]:
        """The cell as a run's settings record it: the mode by its label, and with all of its parameters, defaults
        included."""
        return {"mode": self.label, "parameters": repr(self.mode), "budget": self.budget.limits, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """A cell of a run, as its settings record it: its mode may be of a package that is not at hand."""

    key: str
    mode: str
    """The mode's label, as `ragscale.modes.spec.parse` reads it."""
    budget: dict[str, float]
    """Limits by dimension; open dimensions are absent."""
    seed: int
