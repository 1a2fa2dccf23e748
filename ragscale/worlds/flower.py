"""The flower task: a question that one deep chain answers, and no vote of shallow ones (Let me think!, 2025).

A *petal* joins two junctions by a short side and a long side, and has a dead end at the first one. A *flower* is a row
of petals. An instance has two flowers of the same shape with coined names for places: from the first junction of one of
them, which of the two last junctions can be reached? A chain that has looked up fewer places than the short sides are
long together has seen neither, and both flowers look the same to it.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.worlds.names import NameGenerator
from ragscale.worlds.world import World, check_seed, within

__all__ = ["DEAD_END", "LONG", "MOST_INSTANCES", "MOST_PETALS", "SHORT", "flower", "paths_from"]

SHORT, LONG, DEAD_END = 3, 5, 3
"""Steps along the sides of a petal and along its dead end."""
MOST_PETALS = 20
MOST_INSTANCES = 10_000

_Graph = dict[int, list[int]]
_TEXT = re.compile(r"(\w+): paths lead to (\w+(?:(?:, | and )\w+)*)\.")


def flower(*, petals: int, questions: int = 100, seed: int = 0) -> World:
    """Make a corpus of neighbour passages, and a question an instance.

    A place's passage names the places around it, and is the best hit of a search for its name: with one hit a search
    (``k=1``) it shows these and no more. Searches that return more hits show the places around those, too.

    Args:
        petals: Petals of each flower, 1 to `MOST_PETALS`: a flower has 10 places a petal and one more.
        questions: Instances, 1 to `MOST_INSTANCES`; no two share a place.
        seed: Of names and orders.

    Raises:
        InvalidInput: A value out of range or of another type.
    """
    within("petals", petals, MOST_PETALS)
    within("questions", questions, MOST_INSTANCES)
    check_seed(seed)
    names = NameGenerator(random.Random(f"{seed}/names"))
    graph, junctions = _shape(petals)
    passages: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []
    for number in range(1, questions + 1):
        rng = random.Random(f"{seed}/flower/{number}")
        flowers = [_named(graph, names, rng) for _ in range(2)]
        rows = [_passage(place, near) for named in flowers for place, near in named.items()]
        rng.shuffle(rows)
        passages += rows
        start, right, wrong = (
            [*flowers[side]][at] for side, at in ((0, junctions[0]), (0, junctions[-1]), (1, junctions[-1]))
        )
        asked.append(_question(f"flower{petals}-{number:05}", start, right, wrong, rows, rng))
    settings = {"petals": petals, "questions": questions, "seed": seed}
    return World("flower", settings, passages, asked, {"retrievals_that_decide": SHORT * petals})


def paths_from(text: str) -> tuple[str, list[str]]:
    """The place that a passage is about, and the places around it.

    Raises:
        InvalidInput: The text is not one of a flower.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidInput(f"no passage of a flower: {text!r}", "Search an index of a corpus made by `world flower`.")
    return match[1], re.split(", | and ", match[2])


def _shape(petals: int) -> tuple[_Graph, list[int]]:
    """A flower with numbers for places, and its junctions in order."""
    graph: _Graph = defaultdict(list)
    count = petals + 1

    def join(begin: int, end: int | None, steps: int) -> None:
        """A path of so many steps to `end`, or to a place that leads nowhere."""
        nonlocal count
        for step in range(steps):
            if step == steps - 1 and end is not None:
                after = end
            else:
                after, count = count, count + 1
            graph[begin].append(after)
            graph[after].append(begin)
            begin = after

    for petal in range(petals):
        join(petal, petal + 1, SHORT)
        join(petal, petal + 1, LONG)
        join(petal, None, DEAD_END)
    return dict(sorted(graph.items())), [*range(petals + 1)]


def _named(graph: _Graph, names: NameGenerator, rng: random.Random) -> dict[str, list[str]]:
    """The graph with coined names, its places in the order of their numbers, the places around each in any order."""
    name = {place: names.word() for place in graph}
    return {name[place]: rng.sample([name[other] for other in near], len(near)) for place, near in graph.items()}


def _passage(place: str, near: list[str]) -> dict[str, Any]:
    several = f"{', '.join(near[:-1])} and {near[-1]}" if len(near) > 1 else near[0]
    return {"id": f"place-{place.lower()}", "title": place, "text": f"{place}: paths lead to {several}."}


def _question(
    id: str, start: str, right: str, wrong: str, rows: Iterable[Mapping[str, Any]], rng: random.Random
) -> dict[str, Any]:
    """A line of ``questions.jsonl``; its gold chain is the shortest way, found in the texts of the passages."""
    around = dict(paths_from(row["text"]) for row in rows)
    way = _way(around, start, right)
    if not way or _way(around, start, wrong):
        raise RagscaleError(f"{id}: {start} is joined to {'both' if way else 'none'} of its targets")
    first, second = rng.sample([right, wrong], 2)
    passages = [f"place-{place.lower()}" for place in way[:-1]]
    return {
        "id": id,
        "question": f"Paths lead from place to place. Which place can be reached from {start}: {first} or {second}?",
        "answers": [right],
        "supporting": passages,
        "type": "flower",
        "hops": len(passages),
        "breadth": 1,
        "cluster": id,
        "decomposition": [
            {"question": f"To which places do paths lead from {place}?", "answer": around[place], "passage": passage}
            for place, passage in zip(way[:-1], passages, strict=True)
        ],
        "form": {"start": start, "targets": [first, second]},
    }


def _way(around: Mapping[str, list[str]], start: str, end: str) -> list[str]:
    """Places along the shortest way, both ends included; empty where there is none."""
    before = {start: ""}
    queue = deque([start])
    while queue:
        place = queue.popleft()
        if place == end:
            way = [end]
            while before[way[-1]]:
                way.append(before[way[-1]])
            return way[::-1]
        for other in around[place]:
            if other not in before:
                before[other] = place
                queue.append(other)
    return []
