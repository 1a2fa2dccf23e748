"""`Mode`: a retrieval mode is a frozen configuration that wires a graph."""

from __future__ import annotations

import contextlib
import functools
import numbers
import operator
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from langgraph.graph import END, START, StateGraph

from ragscale.arguments import refuse_options
from ragscale.errors import BudgetExceeded, InvalidInput
from ragscale.modes.core.calls import LEAST
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room
from ragscale.modes.core.moves import Context, Moves
from ragscale.modes.core.nodes import Node, node, unless_stopped
from ragscale.modes.core.state import Outcome, State, Update, evidence
from ragscale.prompts import Closing, Profile, Prompt
from ragscale.types import Passage, Spend, brief

__all__ = ["Mode", "type_name"]

_MOST = 10**9
"""Upper bound of any numeric parameter; keeps derived values finite."""


def type_name(hint: Any) -> str:
    """A parameter's type as the reader writes it: ``int``, ``'json' or 'tags'``, ``mode``."""
    if hint is Mode:
        return "mode"
    if get_origin(hint) is Literal:
        return " or ".join(repr(value) for value in get_args(hint))
    return hint.__name__ if isinstance(hint, type) else str(hint).removeprefix("typing.")


@functools.lru_cache(maxsize=64)
def _hints(cls: type[Mode]) -> dict[str, Any]:
    """Types of the parameters of a class, by name."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _plain(value: Any, hint: Any) -> Any:
    """`value` as the plain value of that type that it stands for, so that every label can be read back: a path is its
    text, and NumPy's numbers are numbers. Raises `TypeError` where it is of another type."""
    parts = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        for part in parts:
            with contextlib.suppress(TypeError):
                return _plain(value, part)
        raise TypeError
    if get_origin(hint) is Literal:
        for choice in parts:
            if isinstance(value, type(choice)) and value == choice:
                return choice
        raise TypeError
    if hint is Mode:
        return registry.get(value)
    if hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if hint in (int, float) and not isinstance(value, bool):
        if hint is float and isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
            return float(value)
        return operator.index(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or hint in (int, float)):
        raise TypeError
    return value


registry: Any = None
"""`ragscale.modes`, which knows all modes by name; it puts itself here, as it stands above this floor."""


@dataclass(frozen=True, kw_only=True)
class Mode(ABC):
    """A retrieval mode. The object *is* its configuration; `graph` wires it.

    Raises:
        InvalidInput: There is no such parameter; its value is of another type; a number is below the least that `least`
            allows, or above the most.
    """

    name: ClassVar[str]
    """By which `Agent`, the command line and reports call it."""

    source: ClassVar[str] = ""
    """The paper whose algorithm it is, as in ``"CoRAG, arXiv 2501.14342"``; empty for none."""

    pays: ClassVar[str] = ""
    """When it is worth its cost: a clause for people who choose a mode."""

    least: ClassVar[dict[str, float]] = {}
    """Smallest value of each numeric parameter; where none is given, 1 for whole numbers and 0 for others."""

    most: ClassVar[dict[str, float]] = {}
    """Largest value of each numeric parameter; where none is given, 1,000,000,000."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Published configurations by name: the parameters that they set."""

    extends: ClassVar[bool] = False
    """Whether the run goes on from a chain that it is given, as the rollouts of a search need it."""

    k: int = 5
    """Passages retrieved a sub-query."""
    context: int = 8
    """Passages shown to the closing answer at most; fewer where the budget or the context window is short."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Shown in a notebook: the parameters that are not defaults. `repr` has all, since runs are pinned to it."""
        printer.text(brief(self))

    def __new__(cls, *_: Any, **given: Any) -> Self:
        """Refuse a parameter that does not exist by name, before the fields are set."""
        refuse_options(f"the mode {cls.name}", given, [field.name for field in fields(cls)], kind="parameter")
        return object.__new__(cls)

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            given = getattr(self, name)
            try:
                value = _plain(given, hint)
            except TypeError:
                raise InvalidInput(
                    f"{self.name}: {name}={given!r} does not fit", f"Accepted: {type_name(hint)}."
                ) from None
            if value is not given:
                object.__setattr__(self, name, value)
            if hint not in (int, float):
                continue
            least, most = self.least.get(name, 1 if hint is int else 0), self.most.get(name, _MOST)
            if not value >= least:
                raise InvalidInput(f"{self.name}: {name}={value!r} is below {least}", f"Use {least} or more.")
            if value > most:
                raise InvalidInput(f"{self.name}: {name} is above {most:,}", "Use a smaller number.")

    @abstractmethod
    def graph(self) -> StateGraph[Any, Context, Any, Any]:
        """The state machine, not compiled."""

    @property
    def asks(self) -> dict[str, Any]:
        """Profile and settings by which its moves ask, as plain values; empty for the default ones. See `Asking`."""
        return {}

    @property
    def looks(self) -> int:
        """Passages that the mode retrieves for the question itself before anything else; 0 where it does not.

        An ensemble does so once for all of its members.
        """
        return 0

    @property
    def retrieves(self) -> bool:
        """Whether the mode searches the index at all; one that does not never does, its closing answer included."""
        return True

    @property
    def calls_tools(self) -> bool:
        """Whether its model calls tools, if it can."""
        return False

    @property
    def closes(self) -> bool:
        """Whether the run ends in a closing answer of its own; false where inner runs answer."""
        return True

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """Expected cost of a run, each a `Cost`: the least that makes sense, and in full. Pure.

        By default both are a retrieval and the closing answer: a mode that costs more says so.
        """
        once = costs.retrieve() + costs.answer(self.context)
        return once, once

    def look_cost(self, costs: Costs) -> Spend:
        """Cost of the look at the question's own passages; nothing where the mode does not look."""
        return costs.retrieve() if self.looks else Spend()

    def ends_cost(self, costs: Costs) -> Spend:
        """Cost of both ends of a run: that look, and the closing answer."""
        return self.look_cost(costs) + costs.answer(self.context)

    def closing_cost(self, costs: Costs, course: Spend, shown: int) -> Cost:
        """Cost of the closing answer from `shown` passages, where what came before it costs `course`."""
        return costs.answer(shown)

    def forecast(self, costs: Costs, room: Room, *, looked: bool = False, answers: bool = True) -> Forecast:
        """Expected course of a run that always finds more to ask, with `room` to spend. Pure: no call is made.

        Args:
            costs: Mean tokens of moves; ``Costs()`` are typical ones.
            room: Of the run; ``Room(tokens=4000)`` is a budget of as many tokens.
            looked: Whether the question itself was looked up by a run around it.
            answers: Whether it ends in a closing answer.
        """
        closes = answers and self.closes
        if not room.pays(Spend(llm_calls=1, prompt_tokens=LEAST + 1)):
            return Forecast(Spend(), {})
        look = Spend() if looked else self.look_cost(costs)
        if not room.pays(look):
            return Forecast(room.within(costs.answer(0)) if answers else Spend(), {})
        kept = costs.kept(self.context, room.path_tokens) if closes else Spend()
        course = self.course(costs, room.less(look + kept))
        spend, shown = look + course.spend, min(self.context, self.looks + self.k * course.spend.queries)
        if not course.spend.queries:
            shown = min(self.context, self.looks or self.k)
            if closes and self.retrieves and not self.looks and room.less(spend).pays(costs.retrieve()):
                spend += costs.retrieve()  # as `closing` does where there is nothing to answer from
        close = room.less(spend).within(self.closing_cost(costs, course.spend, shown)) if closes else Spend()
        return Forecast(spend + close, course.shape)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Expected course between the look at the question's own passages and the closing answer.

        By default in full (`cost`) where that fits, else at its least.

        Args:
            costs: As of `forecast`.
            room: Without what that look costs and what is kept for the closing answer.
        """
        least, full = (cost - self.ends_cost(costs) for cost in self.cost(costs))
        return Forecast(room.within(full if room.pays(full) else least), {})

    def planning(self, profile: Profile, question: str) -> Callable[[list[Passage]], Prompt[Any]] | None:
        """Makes the prompt of its first planner's turn from the question's own passages, by which such turns are sized
        before there is one; None where it has none of that kind."""
        return None

    def begin(self, graph: StateGraph[Any, Context, Any, Any], first: str, look: Node | None = None) -> None:
        """Wire the beginning of a run: a look at the question's own passages where the mode `looks`, then node `first`.

        Args:
            graph: Of the mode; it has, or will have, a node ``answer``.
            first: The node after the look.
            look: Default: `looking`.
        """
        if self.looks:
            graph.add_node("look", look or self.looking(self.looks))
            graph.add_conditional_edges("look", unless_stopped(first), [first, "answer"])
        graph.add_edge(START, "look" if self.looks else first)

    def looking(self, k: int) -> Node:
        """A first node that retrieves `k` passages for the question itself."""

        async def look(moves: Moves, state: State) -> Update:
            if state["seen"]:  # by the run around this one
                return {}
            [seen] = await moves.retrieve([state["question"]], k)
            plan = self.planning(moves.profile, state["question"])
            return {"seen": seen, "typical": await moves.sizes(state["question"], seen, plan)}

        return node(look)

    def closing(self) -> Node:
        """The last node of every mode: answer from the best `evidence` that fits, whatever happened before."""
        return node(self._close)

    async def _close(self, moves: Moves, state: Any) -> Update:
        if not state["scope"]["answers"]:
            return {}
        ids = evidence(state)
        if self.retrieves and not ids and not state["found"] and not state["chain"]:
            # Nothing was retrieved (the first sub-query failed, or could not be paid): the question itself may do.
            with contextlib.suppress(BudgetExceeded):
                [ids] = await moves.retrieve([state["question"]], self.k)
        ids, make = ids[: self.context], self._asking(moves, state)
        update = await moves.close(state["question"], ids, state["chain"], state["known"], state["stop"], make)
        return update if update["text"] else {**update, **_said(moves, state["outcomes"])}

    def _asking(self, moves: Moves, state: Any) -> Callable[[list[Passage]], Prompt[Closing]] | None:
        """Makes the closing answer's prompt from passages; None for the profile's own."""
        return None

    async def _unless_answered(self, state: State) -> str:
        """A router behind a decision: to the closing answer, or to the end where an answer was chosen."""
        return END if state["text"] else "answer"

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The mode with a published configuration.

        Args:
            name: One of `presets`.
            changes: Parameters to set otherwise.

        Raises:
            InvalidInput: There is no such preset, or a parameter is not accepted.
        """
        if name not in cls.presets:
            owners = [other for other, kind in registry.registered().items() if name in kind.presets]
            known = f"Use {', '.join(cls.presets)}." if cls.presets else f"{cls.name} has none."
            known = f"It is one of {', '.join(owners)}: give that as the mode. {known}" if owners else known
            raise InvalidInput(f"{cls.name}: preset={name!r} is unknown", known)
        return cls(**{**cls.presets[name], **changes})


def _said(moves: Moves, outcomes: Sequence[Outcome]) -> Update:
    """The first inner run's own words, for a run that could not write its closing answer; traced.

    All of them have abstained then, and what they said of what was found is paid for: ``once`` would have said it, too.
    """
    for outcome in outcomes:
        if said := outcome["said"]:
            moves.note("select", "no closing answer: an inner run's own words", status="kept", output=said)
            return {"text": said, "citations": outcome["citations"] or moves.cite(said, [], outcome["passages"])}
    return {}
