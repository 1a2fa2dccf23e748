"""`Operators`: genetic operators on retrieval plans by model calls: draft or recombine, evaluate, pick elites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ragscale.errors import BudgetExceeded, ModelError
from ragscale.modes.core.moves import Moves
from ragscale.modes.search.population import Individual, recombined, told
from ragscale.prompts import NO_INFORMATION, Step
from ragscale.prompts.evolution import Refinement, Verdict, elites, evaluate, refine
from ragscale.prompts.wording import informative
from ragscale.ranking import reciprocal_rank_fusion

__all__ = ["Operators"]


@dataclass(frozen=True, kw_only=True)
class Operators:
    """Genetic operators of an evolution that are model calls, with the parameters of `evolve` that they need."""

    k: int
    context: int
    plan_k: int
    queries: int
    steps: int
    retries: int
    temperature: float

    async def child(self, moves: Moves, state: Any) -> Individual | None:
        """A child of the branch's ``parents``, or a draft where it has none; None where no try gives one."""
        plan = await self._plan(moves, state)
        if plan is None:
            return None
        kept, queries = plan
        found = await moves.retrieve(queries, self.k) if queries else []
        new = [
            Step(query=query, passages=ids, answer=NO_INFORMATION) for query, ids in zip(queries, found, strict=True)
        ]
        return await self._evaluated(moves, state, [*kept, *new])

    async def pick(self, moves: Moves, question: str, plans: Sequence[Individual], most: int) -> list[int]:
        """Places of `most` plans, good and different, that a model call picks; the first where that says nothing."""
        picked: list[int] = []
        if len(plans) > most:
            try:
                for numbers in await moves.put(elites(moves.profile, question, [*map(told, plans)], most)):
                    picked = [number - 1 for number in numbers if number <= len(plans)]
            except (BudgetExceeded, ModelError) as error:
                moves.note("select", f"the fittest refill the islands: {error}", status="fallback")
        return [*dict.fromkeys([*picked, *range(len(plans))])][:most]

    async def _plan(self, moves: Moves, state: Any) -> tuple[list[Step], list[str]] | None:
        """The kept steps and the new queries of a child; None where every try was malformed or asks nothing new."""
        parents, first = state["parents"], not any(state["place"])
        for attempt in range(1 + self.retries):
            hot = self.temperature if attempt or not first else 0.0
            for said in await self._asked(moves, state, hot, attempt):
                chain, new = recombined(parents, said.keep, said.queries, self.queries, self.steps)
                asked = [step["query"] for step in chain]
                same = any(asked == [step["query"] for step in parent["chain"]] for parent in parents)
                if new or (chain and not same) or (not parents and state["seen"]):
                    return chain, new
                moves.note("plan", "the child is its parent", status="repeat", output=said.queries)
        return None

    async def _asked(self, moves: Moves, state: Any, hot: float, attempt: int) -> list[Refinement]:
        """The reply of critic and author to the parents, or a draft's; none where it is malformed."""
        question, parents, seen = state["question"], state["parents"], state["seen"][: self.plan_k]
        if parents:
            prompt = refine(moves.profile, question, [*map(told, parents)], self.queries)
            return await moves.put(prompt, temperature=hot, attempt=attempt)
        drafts = await moves.ask(
            lambda docs: moves.profile.plan(question, docs, [], most=self.queries), seen, temperature=hot,
            attempt=attempt,
        )  # fmt: skip
        return [Refinement([], [plan.query for plan in draft if plan.query]) for draft in drafts]

    async def _evaluated(self, moves: Moves, state: Any, chain: list[Step]) -> Individual | None:
        """The plan with its answer from the passages found, and what the evaluator says of it; None where every try was
        malformed."""
        fused = reciprocal_rank_fusion([state["seen"], *(step["passages"] for step in chain)])
        ids, asked = [id for id, _ in fused[: self.context]], [step["query"] for step in chain]
        prompt, shown, note = await moves.fit(lambda docs: evaluate(moves.profile, state["question"], docs, asked), ids)
        for attempt in range(1 + self.retries):
            hot = self.temperature if attempt else 0.0
            for said in await moves.put(prompt, passages=shown, note=note, attempt=attempt, temperature=hot):
                return Individual(
                    place=state["place"], chain=_found(chain, said), answer=said.answer, missing=said.missing,
                    support=said.support if informative(said.answer) else 0.0,
                    citations=moves.cite(said.answer, said.numbers, shown),
                )  # fmt: skip
        moves.note("plan", f"no evaluation of a child of {len(state['parents'])}", status="malformed")
        return None


def _found(chain: Sequence[Step], said: Verdict) -> list[Step]:
    """The chain with what the evaluator found for the steps that have no finding yet."""
    findings = [*said.found, *[NO_INFORMATION] * len(chain)]
    return [
        step if informative(step["answer"]) else {**step, "answer": finding}
        for step, finding in zip(chain, findings, strict=False)
    ]
