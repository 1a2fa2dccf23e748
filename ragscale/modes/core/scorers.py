"""Scorers: how good an inner run's outcome is, judged within its branch and without any gold answer."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import replace
from typing import ClassVar, Literal

from ragscale.language.answers import normal_answer
from ragscale.modes.core.costs import Costs
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import Outcome
from ragscale.modes.core.steps import penalty
from ragscale.prompts.confidence import confidence
from ragscale.prompts.wording import informative
from ragscale.types import Spend

__all__ = ["SCORERS", "Agreement", "Confidence", "Judge", "Penalty", "Scorer", "ScorerName"]

_ANSWER_TOKENS = 96  # of a sampled answer, nominally
ScorerName = Literal["penalty", "judge", "agreement", "confidence"]


class Scorer(ABC):
    """Scores an `Outcome`: higher is better. It is never given a gold answer; those live above the modes."""

    name: ClassVar[ScorerName]
    best: ClassVar[float] = 1.0
    """Highest score."""

    def weight(self, moves: Moves, outcome: Outcome) -> float:
        """The score as the weight of a vote, from 0 to 1; 0 without a score."""
        return 0.0 if outcome["score"] is None else outcome["score"] / self.best

    @abstractmethod
    def cost(self, costs: Costs, shown: int) -> Spend:
        """Expected cost, where closing answers are `shown` so many passages; it is kept of the branch's share."""

    @abstractmethod
    async def __call__(self, moves: Moves, question: str, outcome: Outcome) -> float:
        """The score.

        Raises:
            BudgetExceeded, ModelError: It could not be paid, or the model failed: the outcome stays without a score.
        """


class Penalty(Scorer):
    """CoRAG's penalty (arXiv 2501.14342) with its sign turned: how unsure the model is that the chain's pairs do *not*
    answer the question. One scoring call; where the endpoint cannot score, the share of steps that found something."""

    name = "penalty"

    def cost(self, costs: Costs, shown: int) -> Spend:
        """One score."""
        return costs.score()

    async def __call__(self, moves: Moves, question: str, outcome: Outcome) -> float:
        """Minus the `penalty`."""
        return -await penalty(moves, question, outcome["chain"])

    def weight(self, moves: Moves, outcome: Outcome) -> float:
        """The probability a token that the chain does answer the question; the share of steps that found something,
        where the endpoint cannot score."""
        score = outcome["score"]
        if score is None:
            return 0.0
        return 1.0 - math.exp(-max(0.0, score)) if moves.context.capabilities.scoring else 1.0 + score


class Judge(Scorer):
    """The model rates the chain and its answer from 0 to 10, greedily. One call."""

    name = "judge"
    best = 10.0

    def cost(self, costs: Costs, shown: int) -> Spend:
        """One score."""
        return costs.score()

    async def __call__(self, moves: Moves, question: str, outcome: Outcome) -> float:
        """The rating; 0 where the reply has none."""
        prompt = moves.profile.judge(question, outcome["chain"], outcome["known"], outcome["text"])
        [*ratings] = await moves.put(prompt, input=outcome["text"])
        return ratings[0] if ratings else 0.0


class Agreement(Scorer):
    """Self-consistency of the chain: the share of the most frequent among five closing answers sampled from its
    evidence (the reward of MCTS-RAG). One call of five samples."""

    name = "agreement"
    samples = 5
    temperature = 0.7

    def cost(self, costs: Costs, shown: int) -> Spend:
        """One closing answer's prompt, five completions."""
        calls = 1 if costs.samples else self.samples
        once = costs.answer(shown)
        return Spend(llm_calls=calls, prompt_tokens=calls * once.tokens + self.samples * _ANSWER_TOKENS)

    async def __call__(self, moves: Moves, question: str, outcome: Outcome) -> float:
        """The share, from 0 to 1; 0 where none says anything."""
        ids = outcome["passages"][: moves.scope["shown"]]
        said = await moves.ask(
            lambda docs: replace(moves.profile.answer(question, docs, outcome["known"]), move="score"), ids,
            n=self.samples, temperature=self.temperature,
        )  # fmt: skip
        votes = Counter(normal_answer(answer.text) for answer in said if informative(answer.text))
        agree = max(votes.values(), default=0)
        moves.note("score", f"{agree} of {self.samples} sampled answers agree", score=agree / self.samples)
        return agree / self.samples


class Confidence(Scorer):
    """Verbalised confidence (BrowseConf, arXiv 2510.23458): from 0 to 100, how sure the model says it is of the answer,
    from the passages that it cites and the chain. One call; none where there is no answer, which scores 0.

    Unlike BrowseConf, where the agent states it with its answer, it is asked for on its own: any mode can be inside.
    """

    name = "confidence"
    best = 100.0

    def cost(self, costs: Costs, shown: int) -> Spend:
        """One score, from a passage."""
        return costs.score() + Spend(prompt_tokens=0 if "score" in costs.means else costs.passage)

    async def __call__(self, moves: Moves, question: str, outcome: Outcome) -> float:
        """The percentage; 0 where the reply has none."""
        text = outcome["text"]
        if not informative(text):
            moves.note("score", "no answer", status="empty", input=text, score=0.0)
            return 0.0
        [*said] = await moves.ask(
            lambda docs: confidence(moves.profile, question, docs, outcome["chain"], outcome["known"], text),
            outcome["citations"], input=text,
        )  # fmt: skip
        return said[0] if said else 0.0


SCORERS: dict[ScorerName, Scorer] = {scorer.name: scorer for scorer in (Penalty(), Judge(), Agreement(), Confidence())}
"""Scorers by name."""
