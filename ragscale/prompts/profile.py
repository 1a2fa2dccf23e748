"""Profiles: objects that make prompts, chosen by name or by the model's name, with a user's texts over them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeVar

from ragscale.arguments import nearest
from ragscale.errors import InvalidInput
from ragscale.prompts.instructions import Instruction
from ragscale.prompts.prompt import Closing, ConversationFormat, Plan, Prompt, Reply, Step, Turn
from ragscale.prompts.published import (
    CORAG,
    HYBRID_DEEP_SEARCH,
    PARALLEL_SEARCH,
    RAG_R1,
    RAG_R1_SINGLE,
    SEARCH_R1,
)
from ragscale.prompts.templated import Templated
from ragscale.prompts.templates import load, without_effect
from ragscale.types import Passage

__all__ = ["PROFILES", "Profile", "ProfileName", "profile"]

T = TypeVar("T")
ProfileName = Literal[
    "auto", "generic", "corag", "rag-r1", "rag-r1-sq", "search-r1", "parallel-search", "hybrid-deep-search"
]


class Profile(Protocol):
    """An object that makes the prompts of every move. Frozen: `about` gives another one."""

    @property
    def name(self) -> str:
        """By which modes and the command line call it."""
        ...

    @property
    def form(self) -> ConversationFormat:
        """The manner of its multi-query conversations."""
        ...

    @property
    def pairs(self) -> bool:
        """Whether the closing answer's prompt has the chain's queries and sub-answers unless a mode says otherwise."""
        ...

    def about(self, corpus: str) -> Self:
        """The same for a corpus of that description."""
        ...

    def instructions(self) -> tuple[str, ...]:
        """Texts that its prompts begin with."""
        ...

    def plan(
        self, question: str, passages: Sequence[Passage], steps: Sequence[Step], *, most: int = 1
    ) -> Prompt[list[Plan]]:
        """Ask for the next sub-queries."""
        ...

    def read(self, query: str, passages: Sequence[Passage]) -> Prompt[str]:
        """Ask for a sub-answer."""
        ...

    def support(self, question: str, steps: Sequence[Step]) -> Prompt[str]:
        """The prompt under which `NO_INFORMATION` is scored."""
        ...

    def answer(
        self, question: str, passages: Sequence[Passage], notes: Sequence[str] = (), steps: Sequence[Step] = ()
    ) -> Prompt[Closing]:
        """Ask for the closing answer."""
        ...

    def turn(
        self, question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], *, most: int = 3, now: int = 0
    ) -> Prompt[Reply]:
        """Ask for the next turn of a multi-query conversation."""
        ...

    def last(
        self, question: str, turns: Sequence[Turn], passages: Mapping[str, Passage], *, most: int = 3
    ) -> Prompt[Closing]:
        """Ask for a turn after which nothing is searched."""
        ...

    def enough(self, question: str, steps: Sequence[Step]) -> Prompt[bool]:
        """Ask whether the chain is enough to answer."""
        ...

    def judge(self, question: str, steps: Sequence[Step], notes: Sequence[str] = (), answer: str = "") -> Prompt[float]:
        """Ask how well a chain and what is known answer the question, from 0 to 10."""
        ...

    def make(self, told: Instruction[T], **values: str) -> Prompt[T]:
        """Fill in an instruction that is the same in every profile, unless a template file has texts of its own."""
        ...


PROFILES: dict[str, Templated] = {
    made.name: made
    for made in (Templated(), CORAG, RAG_R1, RAG_R1_SINGLE, SEARCH_R1, PARALLEL_SEARCH, HYBRID_DEEP_SEARCH)
}
"""The profiles by name."""

# The checkpoints as their authors and those who convert them name them.
_MODELS = (
    (re.compile(r"(?<![a-z])corag(?![a-z])"), "corag"),
    (re.compile(r"(?<![a-z])rag[-_ ]?r1(?!\d).*?(?<![a-z])(?:sq|single)"), "rag-r1-sq"),
    (re.compile(r"(?<![a-z])rag[-_ ]?r1(?!\d)"), "rag-r1"),
    (re.compile(r"(?<![a-z])search[-_ ]?r1(?!\d)"), "search-r1"),
    (re.compile(r"(?<![a-z])parallel[-_ ]?search(?![a-z])"), "parallel-search"),
    (re.compile(r"(?<![a-z])hybrid[-_ ]?deep[-_ ]?search(?:er)?(?![a-z])"), "hybrid-deep-search"),
)


_FORM = frozenset(field.name for field in fields(ConversationFormat))


def profile(
    name: str = "auto", *, model: str = "", file: str | Path | None = None, about: str = "", **settings: Any
) -> Templated:
    """The profile of that name.

    Args:
        name: One of `PROFILES`, or ``"auto"`` for the one that `model` was trained on, and ``generic`` for any other.
        model: The model's name, as an endpoint or a file has it.
        file: A template file, whose texts replace those of the profile.
        about: Description of the corpus; see `Generic.about`.
        settings: Fields of the profile (``plan_tokens``) and of its `ConversationFormat` (``separator``) to set.

    Raises:
        InvalidInput: The name or a setting is unknown, or the file cannot be used, or has a key without any effect.
    """
    if name == "auto":
        name = next((trained for pattern, trained in _MODELS if pattern.search(model.lower())), "generic")
    if name not in PROFILES:
        raise InvalidInput(
            f"profile={name!r} is unknown", f"{nearest(name, PROFILES)}Use {', '.join(PROFILES)} or auto."
        )
    made = PROFILES[name]
    known = {field.name for field in fields(made)} - {"name", "form", "sections", "hint"} | _FORM
    for key in settings:
        if key not in known:
            raise InvalidInput(f"profile {name} has no setting {key!r}", f"Settings: {', '.join(sorted(known))}.")
    form = replace(made.form, **{key: value for key, value in settings.items() if key in _FORM})
    given: Any = form.stop
    stops = (form.tags.search[1:] if given else ()) if isinstance(given, bool) else given
    form = replace(form, stop=(stops,) if isinstance(stops, str) else tuple(stops))
    made = replace(made, form=form, **{key: value for key, value in settings.items() if key not in _FORM})
    if file:
        texts = load(file)
        made = made.over(texts)
        if idle := without_effect(texts, made.sections):
            raise InvalidInput(f"{file}: no effect has {idle}", "Put it where it belongs, or leave the key out.")
    return made.about(about)
