"""State of a run: plain values that every mode shares, merged by LangGraph's reducers."""

from __future__ import annotations

import operator
from typing import Annotated, Any, cast

from typing_extensions import TypedDict  # pydantic makes no schema of typing's before Python 3.12

from ragscale.prompts import Step
from ragscale.ranking import reciprocal_rank_fusion
from ragscale.types import Spend

__all__ = [
    "Outcome", "Scope", "State", "Update", "event_id", "evidence", "failure", "initial", "inside", "noted", "outcome",
    "outermost", "place",
]  # fmt: skip

Update = dict[str, Any]
"""Return value of a node: values for the state's keys."""


def _add(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return (Spend.from_dict(left) + Spend.from_dict(right)).to_dict()


def _maximum(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return Spend.from_dict(left).maximum(Spend.from_dict(right)).to_dict()


def _first(left: str, right: str) -> str:
    return left or right


class Scope(TypedDict):
    """Place of a run or of a branch: its name, its limits, and what it is for. Written by whoever starts it.

    Together with `State.total` it determines the ledger of every node, so a resumed run needs no rule of its own.
    """

    branch: str
    """Full name, nested by dots; ``""`` is the trunk of the outermost run."""
    share: dict[str, float] | None
    """Limits by dimension: tokens, llm_calls and queries of its own; rounds and seconds as absolute limits of the
    critical path. None: the limits of the whole run."""
    reserve: dict[str, float]
    """Part of the share that is kept for its closing answer; empty where none is."""
    answers: bool
    """Whether it ends in a closing answer."""
    temperature: float
    """Least temperature of its planning and closing moves, so that the members of an ensemble differ."""
    shown: int
    """Passages shown to its closing answer at most; 0 for those of the outermost run."""
    typical: dict[str, list[float]]
    """Mean tokens of moves in the run around it; see `Costs`."""
    asks: dict[str, Any]
    """Profile and settings by which its moves ask (`Mode.asks`); empty for the default ones."""
    fewer: str
    """Parameters of the runs around it that would leave it more if they were lower, in words; empty for none."""
    after: str
    """Id of the event that its first one follows (`Event.parent`)."""
    events: int
    """Events that an earlier branch of the same name has left: those of this one are numbered on."""


class Outcome(TypedDict):
    """Result of an inner run."""

    branch: str
    text: str
    """Its answer; empty where it has none, or was not to write one."""
    said: str
    """The same; where it has none, the words of the first run inside it that wrote one: an abstention, mostly."""
    citations: list[str]
    chain: list[Step]
    known: list[str]
    passages: list[str]
    """Its evidence, best first."""
    score: float | None
    """By the ensemble's scorer, higher is better; None where nothing scored it."""
    stop: str
    """As in `State`."""
    reason: str


class State(TypedDict, total=False):
    """The part of the state that all modes share: plain values, so that any checkpointer can hold it."""

    question: str
    scope: Scope
    total: Annotated[dict[str, Any], _add]
    """Everything charged so far: deltas merged by sum."""
    serial: Annotated[dict[str, Any], _maximum]
    """The critical path: branch clocks merged by the maximum of each dimension."""
    trace: Annotated[list[dict[str, Any]], operator.add]
    """Events, in the order of the branches, not of the clock."""
    seen: list[str]
    """Hits of the question itself, best first: what the planner and the closing answer see first."""
    found: Annotated[list[list[str]], operator.add]
    """Further id rankings for the closing answer, beside those of `chain`: a list a query."""
    chain: list[Step]
    """The steps on which the closing answer rests."""
    known: list[str]
    """Sentences that planners said are known, in order; none twice."""
    part: dict[str, float]
    """The share of each branch that is about to be sent."""
    typical: dict[str, list[float]]
    """Mean tokens of moves by which it sizes itself, beside those that its trace has: as counted when it had seen its
    first passages (`Moves.sizes`); and those so far, for the inner runs that are about to be sent."""
    outcomes: Annotated[list[Outcome], operator.add]
    """Results of inner runs, in the order of the branches."""
    stop: Annotated[str, _first]
    """Why the run must close: ``"budget:<dimension>"`` or ``"failed"``; the first reason stays."""
    reason: Annotated[str, _first]
    """The same in plain words, with the remedy."""
    failed: Annotated[list[list[str]], operator.add]
    """(stop, reason) of every branch that failed: the run goes on with the others."""
    caveats: Annotated[list[str], operator.add]
    """Sentences on what the answer rests on, for `Answer.caveat`."""
    held: int | None
    """Tokens kept for the closing answer by the trunk's last node; None for the share that was cut at first, 0 where
    the run has given it up."""
    text: str | None
    """The answer; None until the run's last node has written one, be it empty. Only then is the run done."""
    citations: list[str]


def outermost(asks: dict[str, Any] | None = None) -> Scope:
    """Scope of a run that is inside no other; `asks` is its mode's."""
    return Scope(
        branch="", share=None, reserve={}, answers=True, temperature=0.0, shown=0, typical={}, asks=asks or {},
        fewer="", after="", events=0,
    )  # fmt: skip


def initial(question: str, scope: Scope | None = None, serial: dict[str, Any] | None = None) -> State:
    """The state that a run starts from.

    Args:
        question: In natural language.
        scope: Default: that of the outermost run.
        serial: The critical path up to its start. Default: zero.
    """
    zero = Spend().to_dict()
    return State(
        question=question, scope=scope or outermost(), total=zero, serial=serial or zero, trace=[], seen=[], found=[],
        chain=[], known=[], part={}, typical={}, outcomes=[], stop="", reason="", failed=[], caveats=[], held=None,
        text=None, citations=[],
    )  # fmt: skip


def failure(state: State) -> Update:
    """Stop reason of a run all of whose branches failed: the last one's, as an update of the state."""
    stop, reason = state["failed"][-1]
    return {"stop": stop, "reason": reason}


def inside(scope: Scope, name: str) -> str:
    """Full name of the branch that is called `name` within `scope`."""
    return f"{scope['branch']}.{name}" if scope["branch"] else name


def event_id(branch: str, number: int) -> str:
    """Id of the event of that number in a branch, from 0 on; see `Event.id`."""
    return f"{branch}:{number}"


def place(scope: Scope, trace: list[dict[str, Any]], name: str) -> tuple[str, int]:
    """Place of the first event of the branch of full name `name`, which a run sends.

    Args:
        scope: Of the run.
        trace: Its events so far.
        name: Of the branch.

    Returns:
        The id of the event that it follows, and how many events an earlier branch of that name has.
    """
    around, last, before = {"", *(name[:at] for at, char in enumerate(name) if char == ".")}, {"": ""}, 0
    for event in trace:
        if event["branch"] in around:
            last[event["branch"]] = event["id"]
        before += event["branch"] == name
    return last[max(last, key=len)] or scope["after"], before


def evidence(state: State) -> list[str]:
    """Ids of all passages found, best first: what the closing answer is written from.

    The question's own hits come first, then those of the sub-queries by reciprocal rank fusion: fused with them, junk
    sub-queries pushed good passages out. The question's own alone where the mode asks so (``evidence="question"``).
    """
    if state["scope"]["asks"].get("evidence") == "question" and state["seen"]:
        return list(dict.fromkeys(state["seen"]))
    rankings = [*state["found"], *(step["passages"] for step in state["chain"])]
    return list(dict.fromkeys([*state["seen"], *(id for id, _ in reciprocal_rank_fusion(rankings))]))


def noted(known: list[str], said: str) -> list[str]:
    """`known` with what a planner said, unless it said nothing new."""
    return [*known, said] if said and said not in known else known


def outcome(end: dict[str, Any]) -> Outcome:
    """The result of an inner run, from its final state."""
    said = [end["text"], *(inner["said"] for inner in end["outcomes"])]
    return Outcome(
        branch=end["scope"]["branch"], text=end["text"] or "", said=next(filter(None, said), ""),
        citations=end["citations"], chain=end["chain"], known=end["known"], passages=evidence(cast(State, end)),
        score=None, stop=end["stop"], reason=end["reason"],
    )  # fmt: skip
