"""An island: people, places and works that refer to each other, and the questions that can be asked of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ragscale.worlds.kinds import INSTRUMENTS, PRODUCTS, RELATIONS, Entity, Fact, Kind, Relation
from ragscale.worlds.names import NameGenerator
from ragscale.worlds.solve import Form, Rule

__all__ = ["Island", "QuestionDraft", "Type"]

Type = Literal["chain", "compare", "intersect", "count", "list"]
"""Types of questions; those of breadth 1 are chains."""

_TRIES = 400
_GENRES = ("novel", "poem", "play", "ballad")
_NOUNS = ("Bridge", "Door", "Garden", "Gate", "Harbour", "Lamp", "Mirror", "Orchard", "Road", "Song", "Tower", "Winter")
_HOUSES = ("Library", "Museum", "Archive", "Gallery")
_CHOIRS = ("Choir", "Consort", "Singers", "Ensemble")
_TOWNS = ("Old", "New", "Upper", "Lower")
_FEWEST_SINGERS = 4


@dataclass(frozen=True, slots=True)
class QuestionDraft:
    """A question that has one answer, not yet in words."""

    type: Type
    form: Form
    answers: list[str]
    """The answer, then other spellings of it."""
    chains: list[list[Entity]]
    """Things along each chain, the anchor first: their passages are the gold ones."""


class Island:
    """Things with facts. Names come in groups that share a word, so that a name alone finds the wrong ones, too.

    Args:
        names: Source of words.
        rng: Source of chance.
        size: Number of people; there are half as many towns, choirs and works, and a third as many institutions.
    """

    def __init__(self, names: NameGenerator, rng: random.Random, size: int) -> None:
        self._rng = rng
        self._used: set[tuple[str, str]] = set()
        """Words and choirs that a question rests on, as (thing, relation): they stay."""
        self._unsaid: set[tuple[str, str]] = set()
        """Answers that a passage on the way to them must not come to say, as (thing, answer)."""
        half = size // 2
        people = self._people(names, size)
        towns = self._twins(names, half, _TOWNS, lambda word, first: f"{first} {word}")
        houses = self._twins(names, size // 3, _HOUSES, lambda word, last: f"{word} {last}")
        choirs = self._twins(names, half, _CHOIRS, lambda word, last: f"{word} {last}")
        works = self._twins(names, half, _GENRES, lambda word, last: f"The {rng.choice(_NOUNS)} of {word} ({last})")
        self.things: dict[str, Entity] = {}
        """All things by name."""
        self._tell(people, towns, houses, choirs, works)

    def ask(self, depth: int, breadth: int, kind: Type) -> QuestionDraft | None:
        """A question about the island, or None where chance finds none: the island is too small.

        Args:
            depth: Relations from each anchor to the end of its chain.
            breadth: Number of chains; no two share a passage.
            kind: Its type.
        """
        for _ in range(_TRIES):
            path = self._path(depth, _ENDS[kind])
            chains = self._chains(path, breadth)
            asked = _MAKERS[kind](self, path, chains) if chains else None
            if asked:
                return asked
        return None

    def _people(self, names: NameGenerator, size: int) -> list[str]:
        """Full names of which three share each first name, and three each last name."""
        count = -(-size // 3)
        firsts, lasts = ([names.word(2) for _ in range(count)] for _ in range(2))
        people = [f"{firsts[i % count]} {lasts[(i + i // count) % count]}" for i in range(size)]
        self._rng.shuffle(people)
        return people

    def _twins(
        self, names: NameGenerator, count: int, variants: Sequence[str], name: Callable[[str, str], str]
    ) -> list[str]:
        """Names of which two share each coined word."""
        found: list[str] = []
        while len(found) < count:
            word = names.word(3)
            found += [name(word, variant) for variant in self._rng.sample(variants, 2)]
        return found[:count]

    def _tell(
        self, people: list[str], towns: list[str], houses: list[str], choirs: list[str], works: list[str]
    ) -> None:
        """Give every thing its facts: each name is used about equally often."""
        rng, spread = self._rng, self._spread
        born = {name: rng.randint(1920, 1985) for name in people}
        for place, (name, home) in enumerate(zip(people, spread(towns, len(people)), strict=True)):
            mentor = people[place - 1]  # the order of people is by chance
            facts = {"born": str(born[name]), "home": home, "plays": rng.choice(INSTRUMENTS), "mentor": mentor}
            self._add("person", name, facts)
        for name, architect, choir in zip(towns, spread(people, len(towns)), spread(choirs, len(towns)), strict=True):
            founded, product = str(rng.randint(900, 1850)), rng.choice(PRODUCTS)
            self._add("town", name, {"founded": founded, "product": product, "architect": architect, "choir": choir})
        for name, author, kept in zip(works, spread(people, len(works)), spread(houses, len(works)), strict=True):
            finished = str(rng.randint(born[author] + 20, 2024))
            self._add("work", name, {"author": author, "finished": finished, "kept": kept})
        for name, stands, director in zip(houses, spread(towns, len(houses)), spread(people, len(houses)), strict=True):
            self._add("house", name, {"stands": stands, "opened": str(rng.randint(1700, 2020)), "director": director})
        for name in choirs:
            self._add("choir", name, {"sing": tuple(rng.sample(people, rng.randint(_FEWEST_SINGERS, 6)))})

    def _add(self, kind: Kind, name: str, facts: Mapping[str, Fact]) -> None:
        self.things[name] = Entity(kind, name, {**facts})

    def _spread(self, names: list[str], count: int) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            found += self._rng.sample(names, len(names))
        return found[:count]

    def _path(self, depth: int, ends: Iterable[Relation]) -> list[Relation]:
        """Relations of which each leads to the subject of the next; none where chance came to a dead end."""
        path = [self._rng.choice([*ends])]
        while len(path) < depth:
            before = [
                relation
                for relation in RELATIONS.values()
                if relation.to == path[0].of and relation.name != path[0].name
            ]
            if not before:
                return []
            path.insert(0, self._rng.choice(before))
        return path

    def _chains(self, path: Sequence[Relation], breadth: int) -> list[list[Entity]] | None:
        """Things along the path from anchors that chance picks; None where one comes twice, or they are too few."""
        if not path:
            return None
        anchors = [thing for thing in self.things.values() if thing.kind == path[0].of]
        if len(anchors) < breadth:
            return None
        chains = []
        for anchor in self._rng.sample(anchors, breadth):
            chain = [anchor]
            for relation in path[:-1]:
                chain.append(self.things[str(chain[-1].facts[relation.name])])
            chains.append(chain)
        names = [thing.answers[0] for chain in chains for thing in chain]
        return chains if len(set(names)) == len(names) else None

    def _form(self, rule: Rule, path: Sequence[Relation], chains: list[list[Entity]], word: str = "") -> Form:
        anchors = tuple(chain[0].name for chain in chains)
        return Form(rule, anchors, tuple(relation.name for relation in path), word)

    def _told(self, path: Sequence[Relation], chains: list[list[Entity]]) -> list[str] | None:
        """Ends of the chains, or None where one of them would be told by an earlier passage or the question, too."""
        last = path[-1]
        ends = [str(chain[-1].facts[last.name]) for chain in chains]
        before = [thing for chain in chains for thing in chain[:-1]]
        told = {thing.answers[0] for chain in chains for thing in chain} | {
            fact for thing in before for fact in map(str, thing.facts.values())
        }
        return ends if told.isdisjoint(ends) else None

    def _keep(self, last: Relation, chains: list[list[Entity]], ends: Iterable[str] = ()) -> None:
        self._used |= {(chain[-1].name, last.name) for chain in chains}
        self._unsaid |= {(thing.name, end) for end in ends for chain in chains for thing in chain[:-1]}

    def _kept(self, last: Relation, chains: list[list[Entity]]) -> bool:
        return any((chain[-1].name, last.name) in self._used for chain in chains)

    def _chain_of(self, path: Sequence[Relation], chains: list[list[Entity]]) -> QuestionDraft | None:
        """A question for the end of one chain."""
        ends = self._told(path, chains)
        if ends is None:
            return None
        self._keep(path[-1], chains, ends)
        return QuestionDraft("chain", self._form("value", path, chains), ends, chains)

    def _listing(self, path: Sequence[Relation], chains: list[list[Entity]]) -> QuestionDraft | None:
        """A question for the ends of all chains, which are different, in alphabetical order."""
        ends = self._told(path, chains)
        if ends is None or len(set(ends)) < len(ends):
            return None
        self._keep(path[-1], chains, ends)
        ends = sorted(ends)
        answers = [", ".join(ends), f"{', '.join(ends[:-1])} and {ends[-1]}"]
        return QuestionDraft("list", self._form("list", path, chains), answers, chains)

    def _comparison(self, path: Sequence[Relation], chains: list[list[Entity]]) -> QuestionDraft | None:
        """A question for the anchor whose chain ends in the smallest or largest year."""
        years = [int(str(chain[-1].facts[path[-1].name])) for chain in chains]
        if len(set(years)) < len(years):
            return None
        rule: Rule = self._rng.choice(("min", "max"))
        best = years.index(min(years) if rule == "min" else max(years))
        return QuestionDraft("compare", self._form(rule, path, chains), chains[best][0].answers, chains)

    def _counting(self, path: Sequence[Relation], chains: list[list[Entity]]) -> QuestionDraft | None:
        """A question for how many chains end in a word; words are dealt anew, so that each number is as likely."""
        last = path[-1]
        if self._kept(last, chains):
            return None
        words = INSTRUMENTS if last.name == "plays" else PRODUCTS
        word = self._rng.choice(words)
        number = self._rng.randint(0, len(chains))
        holding = self._rng.sample(range(len(chains)), number)
        others = [self._rng.choice([each for each in words if each != word]) for _ in chains]
        dealt = [word if place in holding else other for place, other in enumerate(others)]
        if any((chain[-1].name, each) in self._unsaid for chain, each in zip(chains, dealt, strict=True)):
            return None
        for chain, each in zip(chains, dealt, strict=True):
            chain[-1].facts[last.name] = each
        self._keep(last, chains)
        spelled = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")[number]
        return QuestionDraft("count", self._form("count", path, chains, word), [str(number), spelled], chains)

    def _intersection(self, path: Sequence[Relation], chains: list[list[Entity]]) -> QuestionDraft | None:
        """A question for the one singer of all choirs; any one choir left out, others sing in all that remain."""
        if self._kept(path[-1], chains):
            return None
        gold = {thing.name for chain in chains for thing in chain}
        told = {str(fact) for chain in chains for thing in chain[:-1] for fact in thing.facts.values()}
        people = [
            thing.name
            for thing in self.things.values()
            if thing.kind == "person" and thing.name not in gold and thing.name not in told
        ]
        count = len(chains)
        fillers = max(1, _FEWEST_SINGERS - count)
        if len(people) < 1 + count + count * fillers:
            return None
        answer, *others = self._rng.sample(people, 1 + count + count * fillers)
        nearly, rest = others[:count], others[count:]
        for place, chain in enumerate(chains):
            singers = [answer, *nearly[:place], *nearly[place + 1 :], *rest[place * fillers : (place + 1) * fillers]]
            self._rng.shuffle(singers)
            chain[-1].facts["sing"] = tuple(singers)
        self._keep(path[-1], chains)
        return QuestionDraft("intersect", self._form("common", path, chains), [answer], chains)


_ENDS: dict[Type, list[Relation]] = {
    "chain": [relation for relation in RELATIONS.values() if relation.to != "many"],
    "list": [relation for relation in RELATIONS.values() if relation.to not in ("many", "year")],
    "compare": [relation for relation in RELATIONS.values() if relation.to == "year"],
    "count": [relation for relation in RELATIONS.values() if relation.to == "word"],
    "intersect": [relation for relation in RELATIONS.values() if relation.to == "many"],
}
_MAKERS: dict[Type, Callable[[Island, Sequence[Relation], list[list[Entity]]], QuestionDraft | None]] = {
    "chain": Island._chain_of,
    "list": Island._listing,
    "compare": Island._comparison,
    "count": Island._counting,
    "intersect": Island._intersection,
}
