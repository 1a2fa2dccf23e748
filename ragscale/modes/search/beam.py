"""`beam`: Beam search over chains of retrieval, after CoRAG (arXiv 2501.14342): the best few chains are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ragscale.modes.core.costs import Costs, beside, series
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.steps import penalty, take
from ragscale.modes.search.levels import Shape
from ragscale.modes.search.search import Search
from ragscale.prompts import Step, fresh
from ragscale.types import Spend

__all__ = ["Beam"]


@dataclass(frozen=True, kw_only=True)
class Beam(Search):
    """The `beam` best chains go on: each is expanded by `expand` distinct sub-queries, and each longer one is scored.

    Costs 1 + sum over levels of b (1 + 2 E) model calls and sum of b E retrievals (one more for the question itself) in
    L rounds, with b = 1 at the first level and `beam` after it: 36 and 15 by default; a rollout adds its own. A level
    that the budget cannot pay is made narrower (`Shape`), then has fewer chains, down to a greedy step. Equal
    sub-queries of two chains are searched once. The search ends after `steps` levels, or where the best chain has
    nothing more to ask; the best chain is answered from. Unlike CoRAG's code, whose ``beam_size`` is one, children are
    compared with their ancestors and across chains, and every child that has a rival is scored, so that the best chain
    is known whenever the budget ends.
    """

    name: ClassVar[str] = "beam"
    source: ClassVar[str] = "beam search over CoRAG, arXiv 2501.14342"
    pays: ClassVar[str] = "where the best chain is not the best at its first steps"
    least: ClassVar[dict[str, float]] = {**Search.least, "rollout_steps": 0}

    scorer: Literal["penalty", "judge"] = "penalty"
    """Score of a chain: CoRAG's penalty, the log-likelihood of "No relevant information found" (lower is better), or
    the model's rating from 0 to 10."""
    rollouts: int = 1
    """Scores a child, each at the end of a rollout (R); one where nothing looks ahead."""
    rollout_steps: int = 0
    """Further steps of a rollout at most; never beyond `steps`."""

    @property
    def lower(self) -> bool:
        """Whether lower scores are better: penalties."""
        return self.scorer == "penalty"

    @property
    def deepest(self) -> int:
        """`rollout_steps`."""
        return self.rollout_steps

    def score_cost(self, costs: Costs, shape: Shape) -> Spend:
        """Rollouts side by side, and the score of each."""
        further = self.propose_cost(costs, 1) + costs.step(shape.k)
        return beside(series(further, further, shape.depth) + costs.score(), shape.rollouts)

    async def score(self, moves: Moves, state: Any) -> float:
        """Look ahead from a child by at most `rollout_steps` sampled steps and score where that leads."""
        question, shape = state["question"], Shape(*state["shape"])
        chain: list[Step] = list(state["chain"])
        for _ in range(min(shape.depth, self.steps - len(chain))):
            seen = state["seen"][: self.plan_k]
            plans = await self.propose(moves, question, seen, chain, 1, temperature=self.temperature)
            asked = [plan.query for plan in plans if plan.query]
            new = fresh(asked, [step["query"] for step in chain], self.match)
            if not new:
                moves.note("plan", "the rollout ends here", status="repeat" if asked else "enough" if plans else "")
                break
            chain.append(await take(moves, new[0], shape.k))
        if self.lower:
            return await penalty(moves, question, chain)
        ratings = await moves.put(moves.profile.judge(question, chain, state["known"]), input=chain[-1]["query"])
        return ratings[0] if ratings else 0.0

    def _full(self, depth: int) -> Shape:
        """A level with all children; one rollout each where none looks ahead, as more would have the same score."""
        return Shape(self.expand, self.rollouts if depth else 1, depth, self.k)
