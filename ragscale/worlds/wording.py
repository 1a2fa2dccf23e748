"""Questions of a world in words, several wordings each."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ragscale.worlds.kinds import RELATIONS, Entity, Kind, Relation
from ragscale.worlds.solve import Form

__all__ = ["listed", "worded"]

_SEVERAL: dict[Kind, str] = {
    "person": "people", "town": "towns", "work": "works", "house": "institutions", "choir": "choirs",
}  # fmt: skip
_ONE: dict[Kind, str] = {
    "person": "this person", "town": "this town", "work": "this work", "house": "this institution",
    "choir": "this choir",
}  # fmt: skip
_SORTED = "in alphabetical order, separated by commas"


def worded(form: Form, anchors: Sequence[Entity], rng: random.Random) -> str:
    """A wording of a question, picked by chance.

    Args:
        form: The question.
        anchors: Its anchors as things.
        rng: Source of chance.
    """
    path = [RELATIONS[name] for name in form.relations]
    return rng.choice(_WORDINGS[form.rule](form, path, [anchor.mention for anchor in anchors]))


def listed(items: Sequence[str], last: str = "and") -> str:
    """``A, B and C``."""
    return f"{', '.join(items[:-1])} {last} {items[-1]}" if len(items) > 1 else items[0]


def _along(path: Sequence[Relation], start: str) -> str:
    """The end of a path as a noun phrase: ``the mentor of the author of this work``."""
    for relation in path:
        start = relation.phrase.format(start)
    return start


def _value(form: Form, path: list[Relation], names: list[str]) -> list[str]:
    return [question.format(_along(path[:-1], names[0])) for question in path[-1].asks]


def _compare(form: Form, path: list[Relation], names: list[str]) -> list[str]:
    order = "first" if form.rule == "min" else "last"
    these = _SEVERAL[path[0].of]
    either = listed(names, "or")
    if len(path) == 1:
        event = path[-1].happened.replace(" {}", "")
        return [
            f"Which of these {these} {event} {order}: {either}?",
            f"Compare {listed(names)}. Which of these {these} {event} {order}?",
        ]
    event = path[-1].happened.format(_along(path[:-1], _ONE[path[0].of]))
    return [
        f"For which of these {these} {event} {order}: {either}?",
        f"Compare {listed(names)}. For which of these {these} {event} {order}?",
    ]


def _count(form: Form, path: list[Relation], names: list[str]) -> list[str]:
    one, several = path[-1].holds.replace("[]", form.word).split("|")
    these = _SEVERAL[path[0].of]
    if len(path) == 1:
        return [
            f"How many of these {these} {several}: {listed(names)}?",
            f"Take {listed(names)}. How many of these {these} {several}?",
        ]
    holds = f"{_along(path[:-1], _ONE[path[0].of])} {one}"
    return [
        f"For how many of these {these} is it true that {holds}: {listed(names)}?",
        f"Take {listed(names)}. For how many of these {these} is it true that {holds}?",
    ]


def _list(form: Form, path: list[Relation], names: list[str]) -> list[str]:
    these, wanted = _SEVERAL[path[0].of], _along(path, _ONE[path[0].of])
    general = f"For each of these {these}, find {wanted}: {listed(names)}. List what you find {_SORTED}."
    if len(path) == 1:
        return [general, f"List, in alphabetical order and separated by commas, {path[0].plural}: {listed(names)}."]
    asked = "who" if path[-1].to == "person" else "what"
    return [general, f"Take {listed(names)}. For each of these {these}, {asked} is {wanted}? Answer {_SORTED}."]


def _common(form: Form, path: list[Relation], names: list[str]) -> list[str]:
    every = "both" if len(names) == 2 else "all"
    if len(path) == 1:
        return [
            f"Who sings in {every} of these choirs: {listed(names)}?",
            f"Which singer do these choirs have in common: {listed(names)}?",
        ]
    these, choir = _SEVERAL[path[0].of], _along(path[:-1], _ONE[path[0].of])
    return [
        f"For each of these {these}, take {choir}: {listed(names)}. Who sings in {every} of these choirs?",
        f"Take {listed(names)}, and for each of these {these} {choir}. Which singer do these choirs have in common?",
    ]


_WORDINGS = {
    "value": _value, "min": _compare, "max": _compare, "count": _count, "list": _list, "common": _common,
}  # fmt: skip
