"""Worlds of facts: fictional people, places and works, and questions of a chosen depth and breadth about them."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from ragscale.arguments import listed
from ragscale.errors import InvalidInput
from ragscale.worlds.island import Island, QuestionDraft, Type
from ragscale.worlds.kinds import RELATIONS, Entity
from ragscale.worlds.names import NameGenerator
from ragscale.worlds.passages import write
from ragscale.worlds.solve import check
from ragscale.worlds.wording import worded
from ragscale.worlds.world import World, check_seed, within

__all__ = ["MOST", "MOST_QUESTIONS", "make"]

MOST = 8
"""Largest depth and breadth."""
MOST_QUESTIONS = 1000
"""Most questions of a cell."""
_BROAD: tuple[Type, ...] = ("compare", "intersect", "count", "list")


def make(
    *, depth: Sequence[int] = (1, 2, 4), breadth: Sequence[int] = (1, 2, 4), questions: int = 12, seed: int = 0
) -> World:
    """Make a world: a corpus and its questions, checked by the solver.

    The world is a number of islands, each with people, places and works of its own; each island has one question of
    every cell (depth, breadth), so that cells are compared on the same islands. With the same seed, a world of more
    questions begins with the smaller one.

    Args:
        depth: Numbers of hops in series, each of which needs the answer of the one before; 1 to `MOST`.
        breadth: Numbers of chains side by side, whose ends are compared, intersected, counted or listed; 1 to `MOST`.
        questions: Questions of each cell, and islands; 1 to `MOST_QUESTIONS`.
        seed: Of everything.

    Raises:
        InvalidInput: A value out of range or of another type, or one twice.
    """
    depth, breadth = (
        listed(name, given, remedy=f"Give a list, as in {name}=[1, 2].")
        for name, given in (("depth", depth), ("breadth", breadth))
    )
    for name, values in (("depth", depth), ("breadth", breadth)):
        for value in values:
            within(name, value, MOST)
        if len(set(values)) < len(values) or not values:
            shown = ",".join(map(str, values))
            raise InvalidInput(f"{name} {shown!r} has none, or one of them twice", "Give each once, as in 1,2,4.")
    within("questions", questions, MOST_QUESTIONS)
    check_seed(seed)
    names = NameGenerator(random.Random(f"{seed}/names"))
    cells = [(hops, chains) for hops in depth for chains in breadth]
    passages: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []
    for number in range(questions):
        rows, own = _island(number, cells, names, random.Random(f"{seed}/island/{number}"))
        passages += rows
        asked += own
    check(passages, asked)
    settings = {"depth": [*depth], "breadth": [*breadth], "questions": questions, "seed": seed}
    return World("facts", settings, passages, asked, {"questions_by_type": _by_type(asked)})


def _island(
    number: int, cells: Sequence[tuple[int, int]], names: NameGenerator, rng: random.Random
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Passages and questions of an island; one that is too small for its questions is made anew, and larger."""
    size = 12 + 2 * max(hops * chains for hops, chains in cells)
    while True:
        island = Island(names, rng, size)
        asked: list[QuestionDraft] = []
        for place, (hops, chains) in enumerate(cells):
            kind = "chain" if chains == 1 else _BROAD[(number + place) % len(_BROAD)]
            found = island.ask(hops, chains, kind)
            if found is None:
                break
            asked.append(found)
        if len(asked) == len(cells):
            break
        size += size // 2
    things = [*island.things.values()]
    rng.shuffle(things)
    passages = [{"id": _id(thing), "title": thing.name, "text": write(thing, rng)} for thing in things]
    return passages, [_row(question, number + 1, rng) for question in asked]


def _row(asked: QuestionDraft, island: int, rng: random.Random) -> dict[str, Any]:
    """A line of ``questions.jsonl``."""
    hops, chains = len(asked.form.relations), len(asked.chains)
    return {
        "id": f"depth{hops}-breadth{chains}-{asked.type}-{island:04}",
        "question": worded(asked.form, [chain[0] for chain in asked.chains], rng),
        "answers": asked.answers,
        "supporting": [_id(thing) for chain in asked.chains for thing in chain],
        "type": asked.type,
        "hops": hops,
        "breadth": chains,
        "cluster": f"island-{island:04}",
        "decomposition": _decomposition(asked),
        "form": asked.form.to_dict(),
    }


def _decomposition(asked: QuestionDraft) -> list[dict[str, Any]]:
    """The gold chains, a step a hop; ``#n`` stands for the answer of step n."""
    steps: list[dict[str, Any]] = []
    for chain in asked.chains:
        subject = chain[0].mention
        for thing, relation in zip(chain, asked.form.relations, strict=True):
            fact = thing.facts[relation]
            steps.append({
                "question": RELATIONS[relation].asks[0].format(subject),
                "answer": fact if isinstance(fact, str) else [*fact],
                "passage": _id(thing),
            })  # fmt: skip
            subject = f"#{len(steps)}"
    return steps


def _id(thing: Entity) -> str:
    words = thing.name.lower().replace("(", "").replace(")", "").split()
    return "-".join([thing.kind, *words])


def _by_type(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Number of questions of each type, the share of its most common answer, and what a guess among anchors gets."""
    answers: dict[str, list[str]] = defaultdict(list)
    guessed: dict[str, float] = defaultdict(float)
    for row in rows:
        answers[row["type"]].append(row["answers"][0])
        guessed[row["type"]] += 1 / row["breadth"] if row["type"] == "compare" else 0.0
    return {
        kind: {
            "questions": len(found),
            "most_common_answer": Counter(found).most_common(1)[0][0],
            "its_share": round(Counter(found).most_common(1)[0][1] / len(found), 3),
            **({"guessing_an_anchor": round(guessed[kind] / len(found), 3)} if kind == "compare" else {}),
        }
        for kind, found in sorted(answers.items())
    }
