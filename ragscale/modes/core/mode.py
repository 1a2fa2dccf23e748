"""`Mode`: a retrieval mode is a frozen configuration that wires a graph."""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

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

__all__ = ["Mode"]

_NUMBERS: dict[str, Any] = {"int": int, "float": (int, float)}
_MOST = 10**9
"""Upper bound of any numeric parameter; keeps derived values finite."""


@functools.lru_cache(maxsize=64)
def _choices(cls: type) -> dict[str, tuple[Any, ...]]:
    """Values that the parameters of a class may have, where these are few: words and truth values."""
    found: dict[str, tuple[Any, ...]] = {}
    for name, hint in get_type_hints(cls).items():
        if get_origin(hint) is Literal:
            found[name] = get_args(hint)
        elif hint in (bool, bool | None):
            found[name] = (True, False, *([None] if hint is not bool else []))
    return found


registry: Any = None
"""`ragscale.modes`, which knows all modes by name; it puts itself here, as it stands above this floor."""


@dataclass(frozen=True, kw_only=True)
class Mode(ABC):
    """A retrieval mode. The object *is* its configuration; `graph` wires it.

    Raises:
        InvalidInput: There is no such parameter; a number is below the least that `least` allows, above 1,000,000,000,
            or none at all.
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
        for name, choices in _choices(type(self)).items():
            value = getattr(self, name)
            if not any(value is choice or value == choice for choice in choices):
                shown = " or ".join(map(repr, choices))
                raise InvalidInput(f"{self.name}: {name}={value!r} is unknown", f"Use {shown}.")
        for field in fields(self):
            value = getattr(self, field.name)
            kind = str(getattr(field.type, "__name__", field.type))
            if kind == Mode.__name__ and not isinstance(value, Mode):
                object.__setattr__(self, field.name, registry.get(value))
            if kind not in _NUMBERS:
                continue
            least = self.least.get(field.name, 1 if kind == "int" else 0)
            if isinstance(value, bool) or not isinstance(value, _NUMBERS[kind]):
                raise InvalidInput(f"{self.name}: {field.name}={value!r} is no {kind}", "Give a number.")
            if not value >= least:
                raise InvalidInput(f"{self.name}: {field.name}={value!r} is below {least}", f"Use {least} or more.")
            most = self.most.get(field.name, _MOST)
            if value > most:
                raise InvalidInput(f"{self.name}: {field.name} is above {most:,}", "Use a smaller number.")

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
