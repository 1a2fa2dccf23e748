"""`mixture`: Mixture of agents (Wang et al., arXiv 2406.04692): layers of proposers, and an aggregator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from ragscale.modes.core.costs import Costs
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import Outcome, Update
from ragscale.modes.core.voting import plurality
from ragscale.modes.ensemble.ensemble import Ensemble, EnsembleState, batches
from ragscale.prompts import Closing, Prompt
from ragscale.prompts.aggregation import mixture, numbered_answers, proposed
from ragscale.prompts.wording import informative
from ragscale.types import Passage, Spend

__all__ = ["Mixture"]


@dataclass(frozen=True, kw_only=True)
class Mixture(Ensemble):
    """`layers` - 1 layers of `n` proposers, which are runs of `of`, and an aggregator that writes the answer.

    Proposers of the second layer and later are shown the numbered answers of the layer before, below the question where
    they plan and answer (as a hint, so at any depth of `of`). The aggregator reads those of the last layer, and
    the passages that all proposers found. A proposer without an answer is noted, and has no number; where a whole layer
    has none, the answers before it stand. A budget pays for a layer of as many proposers as it can before it pays for
    further layers. Over a mode of C calls, R retrievals and S rounds, it costs n (layers - 1) C + 1 calls,
    n (layers - 1) R retrievals and (layers - 1) S rounds, and one look at the question: 7, 1 and 1 for n = 3,
    layers = 3 over ``once``. It ends after the aggregator, whose answer is the proposers' most frequent one where it
    fails. Unlike the paper's code, failed proposers are not silently dropped, the first proposer of the first layer is
    greedy as is the aggregator, and the answers stand in the user's message.
    """

    name: ClassVar[str] = "mixture"
    source: ClassVar[str] = "mixture of agents, arXiv 2406.04692"
    pays: ClassVar[str] = "where answers differ and a reader of all of them can tell which are right"
    least: ClassVar[dict[str, float]] = {"layers": 2}
    most: ClassVar[dict[str, float]] = {"n": 256, "layers": 32}

    n: int = 3
    """Proposers a layer; 6 in the paper."""
    layers: int = 3
    """Layers, the aggregator included; 2 to 32."""

    @property
    def closes(self) -> bool:
        """True: by the aggregator."""
        return True

    def ends_cost(self, costs: Costs) -> Spend:
        """Cost of the look and of the aggregator, which has the look's passages alone where proposers find none."""
        _, full = self.inner_cost(costs)
        shown = self.context if full.queries else min(self.context, self.looks or self.k)
        return self.look_cost(costs) + costs.answer(shown)

    def further(self, done: Sequence[int]) -> int:
        """Layers of proposers that are still to come."""
        return self.layers - 1 - len(done)

    async def goes_on(self, moves: Moves, state: EnsembleState) -> bool:
        """Note who has failed; on to the next layer, if there is one."""
        self._note_failed(moves, state)
        return await super().goes_on(moves, state)

    def given(self, state: EnsembleState) -> dict[str, Any]:
        """The answers of the layer before."""
        answers = _texts(state)
        return {"hint": proposed(answers)} if answers else {}

    async def decide(self, moves: Moves, state: EnsembleState, outcomes: list[Outcome]) -> Update:
        """All that was found, and the steps and notes of the last proposers; the aggregator answers from it."""
        if state["members"]:  # else they were noted as no further layer could be paid for
            self._note_failed(moves, state)
        last = _answered(state)
        known = [] if state["scope"]["answers"] else numbered_answers([outcome["text"] for outcome in last])
        return {
            "chain": [*chain.from_iterable(outcome["chain"] for outcome in last)],
            "found": [outcome["passages"] for outcome in outcomes],
            "known": [*dict.fromkeys(chain(state["known"], known))],
        }

    async def _close(self, moves: Moves, state: Any) -> Update:
        """The aggregator's answer; the proposers' most frequent one where it has none."""
        said, answered = await super()._close(moves, state), _answered(state)
        return {**said, **plurality(moves, answered)} if said.get("stop") and answered else said

    def _asking(self, moves: Moves, state: Any) -> Callable[[list[Passage]], Prompt[Closing]] | None:
        """The aggregator's prompt; the profile's own where no proposer has an answer."""
        answers = _texts(state)
        return (lambda docs: mixture(moves.profile, state["question"], docs, answers)) if answers else None

    def _note_failed(self, moves: Moves, state: EnsembleState) -> None:
        for outcome in batches(state)[-1]:
            if not informative(outcome["text"]):
                why = f": {outcome['reason']}" if outcome["reason"] else ""
                moves.note("select", f"proposer {outcome['branch']} has no answer{why}", status="failed")


def _answered(state: EnsembleState) -> list[Outcome]:
    """Outcomes of the last layer in which a proposer has an answer: those that have one."""
    layers = ([outcome for outcome in layer if informative(outcome["text"])] for layer in batches(state)[::-1])
    return next(filter(None, layers), [])


def _texts(state: EnsembleState) -> list[str]:
    """Their answers."""
    return [outcome["text"] for outcome in _answered(state)]
