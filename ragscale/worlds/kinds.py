"""The vocabulary of a world: kinds of things, and the relations that passages state about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["INSTRUMENTS", "PRODUCTS", "RELATIONS", "Entity", "Fact", "Kind", "Relation", "relations_of"]

Kind = Literal["person", "town", "work", "house", "choir"]
"""A house is a library, a museum or another institution."""

Fact = str | tuple[str, ...]
"""The object of a relation: a name, a word or a year; several names where the relation has many."""

INSTRUMENTS = (
    "accordion", "bagpipe", "banjo", "bassoon", "cello", "clarinet", "cornet", "dulcimer", "fiddle", "flute", "guitar",
    "harp", "horn", "lute", "mandolin", "oboe", "organ", "trombone", "tuba", "zither",
)  # fmt: skip
PRODUCTS = (
    "amber", "anchors", "baskets", "bells", "bricks", "candles", "carpets", "cheese", "cider", "clocks", "glass",
    "honey", "kites", "lace", "maps", "mustard", "paper", "ropes", "salt", "soap",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation from one kind of thing to one thing, as questions word it; ``{}`` is the subject."""

    name: str
    of: Kind
    to: Kind | Literal["word", "year", "many"]
    """A kind of thing; a word or a year, where a chain ends; several people."""
    phrase: str
    """The object as a noun phrase."""
    asks: tuple[str, ...]
    """Questions for the object."""
    happened: str = ""
    """Of a year: the event, as in ``was {} born``, to be followed by first or last."""
    holds: str = ""
    """Of a word: the sentence that a subject fulfils, the word at ``[]``: ``plays the []``; plural after a bar."""
    plural: str = ""
    """The objects of several subjects, for lists."""


RELATIONS: dict[str, Relation] = {
    relation.name: relation
    for relation in (
        Relation(
            "home", "person", "town", "the home town of {}",
            ("In which town does {} live?", "What is the name of the home town of {}?"),
            plural="the home towns of these people",
        ),
        Relation(
            "mentor", "person", "person", "the mentor of {}",
            ("Who is the mentor of {}?", "What is the name of the mentor of {}?"),
            plural="the mentors of these people",
        ),
        Relation(
            "plays", "person", "word", "the instrument of {}",
            ("Which instrument does {} play?", "What instrument is played by {}?"),
            holds="plays the []|play the []",
            plural="the instruments that these people play",
        ),
        Relation(
            "born", "person", "year", "the year of birth of {}",
            ("In which year was {} born?", "What is the year of birth of {}?"),
            happened="was {} born",
        ),
        Relation(
            "architect", "town", "person", "the architect of the town hall of {}",
            ("Who is the architect of the town hall of {}?", "Who designed the town hall of {}?"),
            plural="the architects of the town halls of these towns",
        ),
        Relation(
            "choir", "town", "choir", "the choir of {}",
            ("What is the choir of {} called?", "What is the name of the choir of {}?"),
            plural="the choirs of these towns",
        ),
        Relation(
            "product", "town", "word", "the product of {}",
            ("Which product is {} known for?", "For which product is {} known?"),
            holds="is known for its []|are known for their []",
            plural="the products that these towns are known for",
        ),
        Relation(
            "founded", "town", "year", "the year of the foundation of {}",
            ("In which year was {} founded?", "What year was {} founded in?"),
            happened="was {} founded",
        ),
        Relation(
            "author", "work", "person", "the author of {}",
            ("Who is the author of {}?", "Who wrote {}?"),
            plural="the authors of these works",
        ),
        Relation(
            "kept", "work", "house", "the institution with the manuscript of {}",
            ("Which institution keeps the manuscript of {}?", "Where is the manuscript of {} kept?"),
            plural="the institutions with the manuscripts of these works",
        ),
        Relation(
            "finished", "work", "year", "the year in which {} was finished",
            ("In which year was {} finished?", "What year was {} finished in?"),
            happened="was {} finished",
        ),
        Relation(
            "stands", "house", "town", "the town of {}",
            ("In which town does {} stand?", "What is the name of the town of {}?"),
            plural="the towns of these institutions",
        ),
        Relation(
            "director", "house", "person", "the director of {}",
            ("Who is the director of {}?", "What is the name of the director of {}?"),
            plural="the directors of these institutions",
        ),
        Relation(
            "opened", "house", "year", "the year in which {} opened",
            ("In which year did {} open?", "What year did {} open in?"),
            happened="was {} opened",
        ),
        Relation(
            "sing", "choir", "many", "the singers of {}",
            ("Who sings in {}?", "Which people sing in {}?"),
        ),
    )
}  # fmt: skip
"""All relations by name. A thing has one object of each relation of its kind, stated in its own passage alone."""


def relations_of(kind: Kind) -> list[Relation]:
    """The relations whose subjects are of a kind."""
    return [relation for relation in RELATIONS.values() if relation.of == kind]


@dataclass(slots=True)
class Entity:
    """A thing of a world with its facts, which its passage states."""

    kind: Kind
    name: str
    """Unique in the corpus, and the passage's title; that of a work ends in its genre: ``The Gate of Olb (novel)``."""
    facts: dict[str, Fact] = field(default_factory=dict)
    """Name of a relation -> its object."""

    @property
    def mention(self) -> str:
        """The thing as a sentence names it: ``the novel "The Gate of Talbond"``, ``the Talbond Library``."""
        if self.kind == "work":
            bare, _, genre = self.name.rpartition(" (")
            return f'the {genre[:-1]} "{bare}"'
        return f"the {self.name}" if self.kind in ("house", "choir") else self.name

    @property
    def answers(self) -> list[str]:
        """The thing as an answer, its spellings best first."""
        if self.kind == "work":
            return [self.name.rpartition(" (")[0], self.mention]
        return [self.name]
