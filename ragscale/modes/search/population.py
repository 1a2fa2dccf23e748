"""Populations of `evolve`: individuals, who joins an island, who is fittest, and whose children are born next."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.language.answers import normal_answer
from ragscale.prompts import Step, normalise
from ragscale.prompts.evolution import Told

__all__ = ["Individual", "best", "drawn", "join", "name", "told"]

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


def join(population: Sequence[Individual], island: list[int], newcomers: Iterable[int]) -> list[int]:
    """Newcomers become members of an island, but for duplicates of plan and answer.

    Returns:
        Those who did.
    """
    known, joined = {_identity(population[n]) for n in island}, []
    for n in newcomers:
        if _identity(population[n]) not in known:
            known.add(_identity(population[n]))
            joined.append(n)
    island += joined
    return joined


def best(population: Sequence[Individual], among: Iterable[int]) -> list[int]:
    """The fittest first, ties to the earliest."""
    return sorted(among, key=lambda n: (-population[n]["support"], n))


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


def _identity(one: Individual) -> tuple[tuple[str, ...], str]:
    """Plan and answer, by which duplicates are told."""
    return tuple(sorted(normalise(step["query"]) for step in one["chain"])), normal_answer(one["answer"])


def told(one: Individual) -> Told:
    """As prompts show it."""
    return Told(one["chain"], one["answer"], one["support"], one["missing"])


def name(place: Sequence[int]) -> str:
    """Name of the branch of a birth, within its run: generation, island, conversation, and turn from 1 on."""
    *conversation, turn = place
    return ".".join(map(str, [*conversation, *([turn] if turn else [])]))
