"""`vote`: self-consistency (Wang et al., arXiv 2203.11171) over whole retrieval runs: the most frequent answer wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import Outcome, Update
from ragscale.modes.core.voting import plurality
from ragscale.modes.ensemble.ensemble import Ensemble, EnsembleState

__all__ = ["Vote"]


@dataclass(frozen=True, kw_only=True)
class Vote(Ensemble):
    """`n` runs of `of`, each to its own answer; the answer that most of them give, after SQuAD's normalisation.

    Ties go to the earliest member. A member without an answer, or one that says that it has no information, abstains;
    where all abstain, the closing answer is written from all that was found. Costs `n` times `of`, in the rounds of
    one.
    """

    name: ClassVar[str] = "vote"
    source: ClassVar[str] = "self-consistency, arXiv 2203.11171"
    pays: ClassVar[str] = "where single runs are right more often than wrong, but vary"

    async def decide(self, moves: Moves, state: EnsembleState, outcomes: list[Outcome]) -> Update:
        """The plurality."""
        return plurality(moves, outcomes)
