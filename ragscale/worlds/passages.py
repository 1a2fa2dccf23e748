"""Passages of a world: facts written as text, and read back from it.

The reader knows nothing but the templates: the check of a world rests on what its passages say, not on what its maker
meant.
"""

from __future__ import annotations

import functools
import random
import re

from ragscale.errors import InvalidInput
from ragscale.worlds.kinds import Entity, Fact, Kind

__all__ = ["read", "write"]

_TEMPLATES: dict[Kind, tuple[str, ...]] = {
    "person": (
        "{name}, born in {born}, lives in {home} and plays the {plays}. {mentor} is the mentor of this musician.",
        "Born in {born}, {name} has {mentor} as a mentor, lives in {home} and plays the {plays}.",
        "{name} lives in {home}. This player of the {plays} was born in {born} and has a mentor, {mentor}.",
        "In {home} lives {name}, who was born in {born}, plays the {plays} and calls {mentor} a mentor.",
    ),
    "town": (
        "{name} is a town, founded in {founded} and known for its {product}. {architect} designed the town hall. "
        "The town's choir is the {choir}.",
        "Founded in {founded}, the town of {name} is known for {product}. Its choir is called the {choir}; the "
        "architect of its town hall is {architect}.",
        "{architect} is the architect of the town hall of {name}. The {choir} is the choir of this town, which was "
        "founded in {founded} and is known for its {product}.",
    ),
    "work": (
        '"{bare}" is a {genre} by {author}, finished in {finished}. The {kept} keeps its manuscript.',
        'The {kept} keeps the manuscript of "{bare}", a {genre} that {author} finished in {finished}.',
        '{author} wrote the {genre} "{bare}" and finished it in {finished}. Its manuscript is kept in the {kept}.',
    ),
    "house": (
        "The {name} stands in {stands}. It opened in {opened}, and its director is {director}.",
        "{director} is the director of the {name}, which was opened in {opened} in the town of {stands}.",
        "Visitors of {stands} find the {name} there, open since {opened}. Its director is {director}.",
    ),
    "choir": (
        "The singers of the {name} are {sing}.",
        "{sing} sing in the {name}.",
        "Whoever hears the {name} hears {sing}.",
    ),
}
_NAME = r"[A-Z][a-z]+(?: [A-Z][a-z]+)*"
_SLOTS = {
    "bare": r"The [A-Z][a-z]+ of [A-Z][a-z]+",
    "genre": r"[a-z]+", "plays": r"[a-z]+", "product": r"[a-z]+",
    "born": r"\d{3,4}", "founded": r"\d{3,4}", "finished": r"\d{3,4}", "opened": r"\d{3,4}",
    "sing": rf"{_NAME}(?:, {_NAME})* and {_NAME}",
}  # fmt: skip


def write(entity: Entity, rng: random.Random) -> str:
    """The passage of a thing: all of its facts, by a template that chance picks."""
    slots = {relation: _text(fact) for relation, fact in entity.facts.items()}
    if entity.kind == "work":
        slots["bare"], _, slots["genre"] = entity.name[:-1].rpartition(" (")
    else:
        slots["name"] = entity.name
    return rng.choice(_TEMPLATES[entity.kind]).format_map(slots)


def read(text: str) -> Entity:
    """The thing that a passage is about, with the facts that the passage states.

    Raises:
        InvalidInput: No template fits, or two that say different things.
    """
    found = [
        entity
        for kind, patterns in _patterns().items()
        for pattern in patterns
        if (match := pattern.fullmatch(text)) and (entity := _entity(kind, match.groupdict()))
    ]
    if not found or any(entity != found[0] for entity in found):
        problem = f"a passage reads in {len(found)} ways, not in one: {text!r}"
        raise InvalidInput(problem, "Make the world anew by `ragscale world make`.")
    return found[0]


def _text(fact: Fact) -> str:
    return fact if isinstance(fact, str) else f"{', '.join(fact[:-1])} and {fact[-1]}"


def _entity(kind: Kind, slots: dict[str, str]) -> Entity:
    name = f"{slots.pop('bare')} ({slots.pop('genre')})" if kind == "work" else slots.pop("name")
    facts: dict[str, Fact] = dict(slots)
    if "sing" in slots:
        facts["sing"] = tuple(re.split(", | and ", slots["sing"]))
    return Entity(kind, name, facts)


@functools.cache
def _patterns() -> dict[Kind, list[re.Pattern[str]]]:
    return {kind: [_pattern(template) for template in templates] for kind, templates in _TEMPLATES.items()}


def _pattern(template: str) -> re.Pattern[str]:
    """A regular expression of a template; a slot that comes again must hold the same."""
    parts, seen = [], set()
    for number, part in enumerate(re.split(r"\{(\w+)\}", template)):
        if number % 2 == 0:
            parts.append(re.escape(part))
        else:
            parts.append(f"(?P={part})" if part in seen else f"(?P<{part}>{_SLOTS.get(part, _NAME)})")
            seen.add(part)
    return re.compile("".join(parts))
