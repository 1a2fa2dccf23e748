"""`vote`: Self-consistency (Wang et al., arXiv 2203.11171) over whole retrieval runs: the most frequent answer wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from ragscale.modes.core.moves import Moves
from ragscale.modes.core.scorers import SCORERS, Scorer
from ragscale.modes.core.state import Outcome, Update
from ragscale.modes.core.voting import Weigh, decided, plurality
from ragscale.modes.ensemble.ensemble import Ensemble, EnsembleState

__all__ = ["Vote"]


@dataclass(frozen=True, kw_only=True)
class Vote(Ensemble):
    """`n` runs of `of`, each to its own answer; the answer that most of them give, by its words in any language.

    Ties go to the answer of the higher mean score where members are scored (`weigh`), then to the earliest member. A
    member without an answer, or one that
    says that it has no information, abstains; where all abstain, the closing answer is written from all that was found.
    Costs `n` times `of`, in the rounds of one: n (2 L + 1) calls, n L retrievals and L rounds over ``chain`` of L
    steps, and a score more a member where votes are weighed (`weigh`). With ``stop="posterior"`` (Adaptive-Consistency,
    arXiv 2305.11860) members run in batches of `width`, and no further one is begun once the vote is decided; at most
    n / `width` times the rounds. Unlike the paper, which samples one at a time, the vote also ends where no other
    answer can overtake any more; the probability is the Beta rule's, by a closed form.
    """

    name: ClassVar[str] = "vote"
    source: ClassVar[str] = "self-consistency, arXiv 2203.11171"
    pays: ClassVar[str] = "where single runs are right more often than wrong, but vary"
    least: ClassVar[dict[str, float]] = {"confidence": 0.5}
    most: ClassVar[dict[str, float]] = {"n": 256, "confidence": 1}

    weigh: Literal["count", "penalty", "judge", "agreement", "confidence"] = "count"
    """Plurality by the ``"count"`` of votes; or weighted: the sum of the members' scores by that scorer of
    ``best-of-n``, each from 0 to 1."""
    stop: Literal["none", "posterior"] = "none"
    """``"posterior"``: the run ends as soon as the vote is decided."""
    confidence: float = 0.95
    """Posterior probability that the leading answer is the majority's above which a vote is decided; 1 for certainty
    alone."""
    width: int = 2
    """Members at once with ``stop="posterior"``."""

    @property
    def scoring(self) -> Scorer | None:
        """The scorer that weighs votes."""
        return None if self.weigh == "count" else SCORERS[self.weigh]

    def batch(self, done: Sequence[int]) -> int:
        """All members, or `width` of those left."""
        return self.n if self.stop == "none" else min(self.width, self.n - sum(done))

    def further(self, done: Sequence[int]) -> int:
        """Batches of the members left."""
        return super().further(done) if self.stop == "none" else math.ceil((self.n - sum(done)) / self.width)

    async def goes_on(self, moves: Moves, state: EnsembleState) -> bool:
        """Whether members are left and the vote is open."""
        done = len(state["outcomes"])
        if not await super().goes_on(moves, state):
            return False
        why = decided(state["outcomes"], self.n - done, self.confidence, self._weigh(moves))
        if why:
            moves.note("select", f"decided by {done} of {self.n} members: {why}", status="enough")
        return not why

    async def decide(self, moves: Moves, state: EnsembleState, outcomes: list[Outcome]) -> Update:
        """The plurality."""
        return plurality(moves, outcomes, self._weigh(moves))

    def _weigh(self, moves: Moves) -> Weigh | None:
        return partial(self.scoring.weight, moves) if self.scoring else None
