"""`best-of-n`: CoRAG's best-of-N sampling (arXiv 2501.14342) over any mode: the best-scored run is answered from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from ragscale.modes.core.moves import Moves
from ragscale.modes.core.scorers import SCORERS, Scorer, ScorerName
from ragscale.modes.core.state import Outcome, Update
from ragscale.modes.core.voting import best, plurality
from ragscale.modes.ensemble.ensemble import Ensemble, EnsembleState
from ragscale.modes.sequential.chain import Chain

__all__ = ["BestOfN"]


@dataclass(frozen=True, kw_only=True)
class BestOfN(Ensemble):
    """`n` runs of `of` without answers, each scored; the closing answer is written from the best one alone.

    Ties go to the earliest member, and a member without a score comes last. Over ``chain`` of L steps it costs
    n (2 L + 1) + 1 model calls and n L retrievals (one more where the question itself is looked up), L rounds: 53 and
    24 for the paper's n = 4, L = 6. In the weighted form, each member writes its own answer and the scores of equal
    answers are added, which are from 0 to 1 then, so that agreement counts as well: n (2 L + 2) calls, 56.
    As in CoRAG, the first member is greedy and the others are sampled; unlike it, any mode can be inside, and any
    scorer choose.
    """

    name: ClassVar[str] = "best-of-n"
    source: ClassVar[str] = "CoRAG, arXiv 2501.14342"
    pays: ClassVar[str] = "where the scorer tells good chains from bad ones"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "corag-paper": {"of": Chain.preset("corag-paper"), "n": 4, "context": 20, "scorer": "penalty"}
    }

    scorer: ScorerName = "penalty"
    """``"penalty"``: CoRAG's, by log-likelihood; ``"judge"``: rated by the model; ``"agreement"``: self-consistency."""
    weighted: bool = False
    """Whether members answer, and the answer with the largest sum of scores wins, as in ``vote(weigh=...)``."""

    @property
    def members_answer(self) -> bool:
        """In the weighted form; else the best one is answered from."""
        return self.weighted

    async def decide(self, moves: Moves, state: EnsembleState, outcomes: list[Outcome]) -> Update:
        """The best-scored member; its own answer, where its mode has written one on the way. Or the weighted vote."""
        if self.weighted:
            return plurality(moves, outcomes, partial(self.scoring.weight, moves))
        kept = best(moves, outcomes)
        update: Update = {"chain": kept["chain"], "known": kept["known"], "found": [kept["passages"]]}
        return {**update, "text": kept["text"], "citations": kept["citations"]} if kept["text"] else update

    @property
    def scoring(self) -> Scorer:
        """By name."""
        return SCORERS[self.scorer]
