"""Populations of `evolve`: individuals on islands, who joins one, who is fittest, and whose children are born next."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.language.answers import normal_answer
from ragscale.modes.core.state import Scope, inside
from ragscale.prompts import Step, normalise
from ragscale.prompts.evolution import Told
from ragscale.types import Choice

__all__ = ["Individual", "Islands", "drawn", "name", "recombined", "told"]

_ORPHANS = 1 / 6
"""Probability of no parents, in each conversation after the first generation."""


class Individual(TypedDict):
    """A retrieval plan with its chain and its answer."""

    place: list[int]
    """Generation, island, conversation and turn of its birth."""
    chain: list[Step]
    answer: str
    citations: list[str]
    support: float
    """Fitness: how well the documents support the answer, from 0 to 10 by the evaluator; 0 without an answer."""
    missing: str
    """The evaluator's feedback, for the critic."""


@dataclass
class Islands:
    """Populations that evolve apart. Individuals are places in `population`, which has everyone ever born.

    An island that changes is a new list: those that a state holds stay as they are.
    """

    population: Sequence[Individual]
    members: list[list[int]]
    """Of each island; an emigrant is a member of several."""

    def best(self, among: Iterable[int] | None = None) -> list[int]:
        """The fittest first, ties to the earliest; by default of all."""
        everyone = range(len(self.population)) if among is None else among
        return sorted(everyone, key=lambda n: (-self.population[n]["support"], n))

    def elites(self, most: int) -> list[int]:
        """The best of all, without duplicates."""
        return self._distinct(self.best())[:most]

    def join(self, island: int, newcomers: Iterable[int]) -> list[int]:
        """Make newcomers members of an island, but for duplicates.

        Returns:
            Those who are.
        """
        joined = self._distinct(newcomers, self.members[island])
        self.members[island] = [*self.members[island], *joined]
        return joined

    def emigrate(self, source: int, most: int) -> tuple[int, list[int]]:
        """Clone the best of an island into the next one, cyclic.

        Returns:
            The next island, and those who joined it: none where there is no other.
        """
        target = (source + 1) % len(self.members)
        return target, self.join(target, self.best(self.members[source])[:most])

    def refill(self, most: int, plans: Sequence[int]) -> list[int]:
        """Empty the islands of lowest mean, `most` at most and never all, and refill them.

        Returns:
            The islands.
        """
        fitness = [[self.population[n]["support"] for n in island] for island in self.members]
        ranked = sorted(range(len(fitness)), key=lambda island: fmean(fitness[island]) if fitness[island] else -1.0)
        worst = sorted(ranked[: min(most, len(fitness) - 1)])
        for island in worst:
            self.members[island] = [*plans]
        return worst

    def parents(self, place: Sequence[int], seed: str, most: int, temperature: float) -> list[int]:
        """Of the child that is to be born at a place: the last child of its conversation, or those that are `drawn`.

        None in the first generation. Drawn by the seed and the conversation's name alone, so that a run repeats and is
        resumed exactly.
        """
        generation, island, _, turn = place
        if turn or not generation:
            return [n for n, one in enumerate(self.population) if one["place"][:3] == place[:3]][-1:]
        members = self.members[island]
        fitness = [self.population[n]["support"] for n in members]
        return [members[n] for n in drawn(random.Random(f"{seed}|{name(place)}"), fitness, most, temperature)]

    def choices(self, scope: Scope, shown: Iterable[int], kept: Sequence[int]) -> list[Choice]:
        """Choices of a trace event: those `shown`, and whether each is among the `kept`."""
        return [
            Choice(inside(scope, name(one["place"])), one["support"], "kept" if n in kept else "pruned")
            for n, one in ((n, self.population[n]) for n in shown)
        ]

    def _distinct(self, among: Iterable[int], beside: Sequence[int] = ()) -> list[int]:
        """Those that are no duplicates, by plan and answer, of one another or of others `beside` them."""
        first: dict[object, int] = {}
        for n in (*beside, *among):
            first.setdefault(_identity(self.population[n]), n)
        return [n for n in first.values() if n not in beside]


def drawn(source: random.Random, fitness: Sequence[float], most: int, temperature: float) -> list[int]:
    """Parents of a conversation, by their places in `fitness`: none with probability 1/6, else 1 to `most`.

    They are drawn one by one, without putting them back, by the softmax of fitness.
    """
    if source.random() < _ORPHANS:
        return []
    number = min(source.randint(1, most), len(fitness))
    left = list(range(len(fitness)))
    highest = max(fitness, default=0.0)
    weights = [math.exp((value - highest) / temperature) for value in fitness]
    found = []
    for _ in range(number):
        [one] = source.choices(left, [weights[n] + 1e-12 for n in left])
        left.remove(one)
        found.append(one)
    return found


def recombined(
    parents: Sequence[Individual], keep: Sequence[int] | None, queries: Iterable[str], most: int, longest: int
) -> tuple[list[Step], list[str]]:
    """The plan of a child: the steps of its parents that it keeps, which are found already, and its new queries.

    Args:
        parents: None for a draft.
        keep: Numbers of the steps to keep, from 1 on, over all parents; None for those of the first parent.
        queries: Asked for; in place of one that a parent has, that step is kept.
        most: New queries.
        longest: Steps of a plan; new ones come first.
    """
    steps = [step for parent in parents for step in parent["chain"]]
    known: dict[str, Step] = {}
    for step in steps:
        known.setdefault(normalise(step["query"]), step)
    kept = parents[0]["chain"] if keep is None else [steps[n - 1] for n in keep if n <= len(steps)]
    asked = {normalise(query): query for query in queries}
    again = [known[words] for words in asked if words in known]
    chain = list({normalise(step["query"]): step for step in [*kept, *again]}.values())
    new = [query for words, query in asked.items() if words not in known][:most]
    return chain[: max(0, longest - len(new))], new


def told(one: Individual) -> Told:
    """As prompts show it."""
    return Told(one["chain"], one["answer"], one["support"], one["missing"])


def name(place: Sequence[int]) -> str:
    """Name of the branch of a birth, within its run: generation, island, conversation, and turn from 1 on."""
    *conversation, turn = place
    return ".".join(map(str, [*conversation, *([turn] if turn else [])]))


def _identity(one: Individual) -> tuple[tuple[str, ...], str]:
    """Plan and answer, by which duplicates are told."""
    return tuple(sorted(normalise(step["query"]) for step in one["chain"])), normal_answer(one["answer"])
