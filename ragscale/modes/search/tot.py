"""`tot`: Tree of Thoughts, breadth first (arXiv 2305.10601): states are chains, which the model judges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ragscale.errors import RagscaleError
from ragscale.modes.core.costs import Costs
from ragscale.modes.core.moves import Moves
from ragscale.modes.search.levels import Shape
from ragscale.modes.search.search import Kept, Search
from ragscale.prompts import Plan, Step, states
from ragscale.types import Spend

__all__ = ["Tot"]

_LINE = 40
"""Tokens of a search in a ballot, nominally."""


@dataclass(frozen=True, kw_only=True)
class Tot(Search):
    """The `beam` best chains are made longer by `expand` sub-queries each, and the model judges which of them stay.

    By value: the sum over `evaluations` samples of sure (20), likely (1) or impossible (.001), in a branch of each
    child. By vote: one ballot lists all chains, and each of `evaluations` samples names one. Costs 1 + sum over levels
    of b + 2 b E model calls (by vote b + b E + 1) and b E retrievals in L rounds, with b = 1 at the first level and
    `beam` after it: 36 and 15 by default. A level that the budget cannot pay is made narrower (`Shape`). It ends after
    `steps` levels, or where the best chain has nothing more to ask. Unlike the paper's code, one answer is given, from
    the best state, instead of all b; equal states, which are worth 0 there, are neither searched nor judged; a vote may
    have any number of digits; a lone state is not judged. The paper's game of 24 has b = 5, 3 values and proposals at
    0.7, its creative writing 5 samples, 5 votes, b = 1 and 2 steps at 1.
    """

    name: ClassVar[str] = "tot"
    source: ClassVar[str] = "Tree of Thoughts, arXiv 2305.10601"
    pays: ClassVar[str] = "where the model judges chains better than log-likelihoods do, or there are none"

    judge: Literal["value", "vote"] = "value"
    """Whether each state is valued alone, or all are voted on."""
    evaluations: int = 3
    """Samples of each judgement (n_evaluate)."""
    generate: Literal["sample", "propose"] = "sample"
    """Whether the sub-queries of a chain are `samples` of a planner's turn, or proposed together in one reply."""

    @property
    def compares(self) -> bool:
        """By vote."""
        return self.judge == "vote"

    def propose_cost(self, costs: Costs, expand: int) -> Spend:
        """One call either way; one sample where they are proposed together."""
        return super().propose_cost(costs, 1 if self.generate == "propose" else expand)

    def score_cost(self, costs: Costs, shape: Shape) -> Spend:
        """The samples of a value."""
        return Spend() if self.compares else costs.score(self.evaluations)

    def compare_cost(self, costs: Costs, children: int) -> Spend:
        """The samples of a ballot."""
        if not self.compares:
            return Spend()
        return costs.score(self.evaluations) + Spend(prompt_tokens=_LINE * children)

    async def propose(
        self, moves: Moves, question: str, seen: Sequence[str], chain: Sequence[Step], expand: int, **call: Any
    ) -> list[Plan]:
        """Different sub-queries in one reply, or samples of one."""
        if self.generate == "sample":
            return await super().propose(moves, question, seen, chain, expand, **call)
        said = await moves.ask(
            lambda docs: states.proposals(moves.profile, question, docs, chain, expand), seen, **call
        )
        return [plan for plans in said for plan in plans]

    async def score(self, moves: Moves, state: Any) -> float:
        """The sum of what the samples say that the state is worth; one that cannot be read is worth nothing."""
        prompt = states.value(moves.profile, state["question"], state["chain"], state["known"])
        query = state["chain"][-1]["query"]
        return sum(await moves.put(prompt, n=self.evaluations, temperature=self.temperature, input=query))

    async def compared(self, moves: Moves, question: str, chains: list[Kept]) -> list[Kept]:
        """The votes for each; where there is no ballot, the trace says why, and the earliest are kept."""
        prompt = states.ballot(moves.profile, question, [kept["chain"] for kept in chains])
        try:
            votes = Counter(await moves.put(prompt, n=self.evaluations, temperature=self.temperature))
        except (RagscaleError, OSError) as error:
            moves.note("score", f"no vote: {error}", status="failed")
            return chains
        return [{**kept, "score": float(votes[number])} for number, kept in enumerate(chains, 1)]
