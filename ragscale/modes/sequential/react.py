"""`react`: Tool-calling agent (ReAct, arXiv 2210.03629): it searches and opens passages until it replies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from langgraph.graph import END, START

from ragscale.modes.core.asking import Planning
from ragscale.modes.core.costs import Cost, Costs, Forecast, Room, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.nodes import node
from ragscale.modes.core.state import State, Update, noted
from ragscale.prompts import Act, Acted, fresh, react
from ragscale.types import Spend

__all__ = ["React"]

_TRIES = 2  # attempts at a turn, where the first is malformed
_OFFER = Spend(prompt_tokens=250)  # of the tools and what a template says around them


class _ReactState(State, total=False):
    turns: list[Acted]
    acted: Acted | None
    """The turn whose calls are to be done, or that is sent back; None where it called none."""
    queries: list[str]
    """Its new queries: one round."""


@dataclass(frozen=True, kw_only=True)
class React(Planning):
    """Up to `turns` turns in one conversation, in which the model calls the tools `search` and `open`.

    All searches of a turn are one round, sent to the index as one batch; `open` costs the tokens of the passage alone.
    A turn that calls no tool is the answer. One before any search is sent back once, with the words that it is to
    search first: models answer from memory what they should look up. The next answer is taken, and the trace says
    that nothing was looked up for it. Where the turns, the queries or the rounds are used up, tools are no longer
    offered: the reserved closing answer is written from all passages found, those that were opened first. A call that
    cannot be done is told why, as its result, at the price of its turn. No query is searched for twice.

    With T turns that search: C = T + 1, R <= T x `width`, S = T; at the defaults 7 calls, 18 queries, 6 rounds. It
    stops earlier where the model answers, or where a second try at a turn has neither a call nor an answer. An answer
    that is sent back costs a call more.

    Unlike the paper, which writes thought, action and observation as text with a stop string and one action a turn,
    calls are the endpoint's own, several a turn. Where it has none (`Capabilities.tools`) each turn is JSON, which the
    trace says. A first search is asked for in words and not by ``tool_choice="required"``, which some services refuse,
    others silently ignore, and JSON turns do not have. Unlike most agents built so, a run that is out of turns ends in
    an answer and not in an error, and the answer is not asked for in a conversation whose tools are gone, which some
    services refuse.
    """

    name: ClassVar[str] = "react"
    source: ClassVar[str] = "ReAct, arXiv 2210.03629"
    pays: ClassVar[str] = "with a model that was trained to call tools"
    most: ClassVar[dict[str, float]] = {"width": 16}

    k: int = 3
    """Passages retrieved a query; shown by their beginnings."""
    turns: int = 6
    """Most turns that call tools."""
    width: int = 3
    """Most queries a turn."""
    tools: Literal["auto", "json"] = "auto"
    """``"auto"``: the endpoint's own tool calls, where it was seen to make them; ``"json"``: turns in JSON."""
    temperature: float = 0.7
    """Of a second try after a turn without a call or an answer; the first is greedy."""
    turn_tokens: int = 0
    """Longest turn; 0: as the profile says (1,024)."""

    @property
    def calls_tools(self) -> bool:
        """Unless turns are JSON."""
        return self.tools == "auto"

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One turn of one query; `turns` turns of `width`."""
        ends = self.ends_cost(costs)
        return ends + self._turn(costs, 0, 1), ends + self._turns(costs, self.turns)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """As many turns as can be paid: each shows what those before it found."""
        spend, turns = room.in_turn(self.turns, self.width, partial(self._turns, costs), partial(self._turn, costs))
        return Forecast(spend, {"turns": turns})

    def _turns(self, costs: Costs, n: int) -> Cost:
        """Cost of the first `n` turns with all their queries."""
        return series(self._turn(costs, 0, self.width), self._turn(costs, n - 1, self.width), n)

    def _turn(self, costs: Costs, before: int, queries: int) -> Cost:
        """Cost of the turn that follows so many."""
        return costs.plan(before * self.width * self.k) + _OFFER + costs.retrieve(queries)

    def graph(self) -> ModeGraph:
        """think -> act -> think ... -> answer."""
        graph = ModeGraph(_ReactState, self.asks)
        graph.add_node("think", node(self._think))
        graph.add_node("act", node(self._act))
        graph.add_node("answer", self.closing())
        graph.add_edge(START, "think")
        graph.add_conditional_edges("think", self._after_thinking, ["act", "answer", END])
        graph.add_conditional_edges("act", self._after_acting, ["think", "answer"])
        graph.add_edge("answer", END)
        return graph

    async def _think(self, moves: Moves, state: _ReactState) -> Update:
        """Ask for the next turn: its calls, checked and with the reasons why some are not done, or its answer."""
        turns, known = state.get("turns", []), state["known"]
        ids = react.shown(turns)
        passages = {id: moves.passage(id) for id in ids}
        most = int(min(self.width, moves.ledger.left("queries")))
        # Nothing is offered that cannot be paid: a turn whose queries cannot be sent is money lost.
        moves.ledger.reserve(Spend(queries=max(1, most), rounds=1), clock=moves.clock).refund()
        make = self._maker(moves, first=not turns)
        prompt = make(moves.profile, state["question"], turns, passages, width=most)
        for attempt in range(_TRIES):
            temperature = self.temperature if attempt else 0.0
            replies = await moves.put(prompt, temperature=temperature, attempt=attempt, passages=ids)
            for reply in replies:
                known = noted(known, reply.known)
                if reply.acts:
                    acts, queries = _checked(reply.acts, turns, ids, most)
                    if not queries and not any(act["passages"] for act in acts):
                        asked = bool(reply.queries or reply.opens)
                        moves.note(
                            "plan", "no call that can be done", status="repeat" if asked else "malformed",
                            output=[act["note"] for act in acts],
                        )  # fmt: skip
                    return {"acted": Acted(said=reply.said, acts=acts, told=""), "queries": queries, "known": known}
                if reply.answer and not _searched(turns) and not any(turn["told"] for turn in turns):
                    moves.note("plan", "an answer before any search is sent back", output=reply.answer)
                    back = Acted(said=reply.said, acts=[], told=react.SEARCH_FIRST)
                    return {"acted": back, "queries": [], "known": state["known"]}
                if reply.answer:
                    if not _searched(turns):
                        moves.note("plan", "the answer is taken, though nothing was looked up", status="empty")
                    cited = moves.cite(reply.answer, reply.numbers, ids)
                    return {"text": reply.answer, "citations": cited, "known": known}
            if replies:
                break
        return {"acted": None, "known": known}

    def _maker(self, moves: Moves, *, first: bool) -> Any:
        """The maker of prompts that the endpoint can do."""
        if self.tools == "json":
            return react.in_json
        if moves.context.capabilities.tools:
            return react.with_tools
        if first:
            moves.note("plan", "the endpoint was not seen to call tools: turns are JSON", status="fallback")
        return react.in_json

    async def _act(self, moves: Moves, state: _ReactState) -> Update:
        """Do the calls of the turn: all new queries in one round."""
        turn, queries = state["acted"], state["queries"]
        assert turn is not None  # the router sends no other here
        results = iter(await moves.retrieve(queries, self.k) if queries else [])
        acts, found = [], []
        for act in turn["acts"]:
            if act["queries"]:
                act = {**act, "passages": [next(results) for _ in act["queries"]]}
            found += act["passages"]
            acts.append(act)
        return {"turns": [*state.get("turns", []), {**turn, "acts": acts}], "found": found}

    async def _after_thinking(self, state: _ReactState) -> str:
        if state["text"]:
            return END
        return "act" if not state["stop"] and state.get("acted") else "answer"

    async def _after_acting(self, state: _ReactState) -> str:
        if state["stop"]:  # it may have had no turn to its end
            return "answer"
        return "answer" if sum(not turn["told"] for turn in state["turns"]) >= self.turns else "think"


def _searched(turns: list[Acted]) -> bool:
    """Whether any turn has searched."""
    return any(act["queries"] for turn in turns for act in turn["acts"])


def _checked(acts: list[Act], turns: list[Acted], ids: list[str], most: int) -> tuple[list[Act], list[str]]:
    """The calls of a turn, with what of them is not done noted in words, and its new queries.

    Args:
        acts: As they were read.
        turns: The turns before.
        ids: The passages in these, by their numbers from 1 on.
        most: Queries that may be sent.
    """
    before = [act for turn in turns for act in turn["acts"]]
    asked = [query for act in before for query in act["queries"]]
    opened = {id for act in before if act["opens"] for listed in act["passages"] for id in listed}
    done: list[Act] = []
    queries: list[str] = []
    for act in acts:
        new = fresh(act["queries"], asked)
        sent = new[: most - len(queries)]
        numbers = [number for number in act["opens"] if 1 <= number <= len(ids)]
        full = [number for number in numbers if ids[number - 1] not in opened]
        asked += sent
        opened |= {ids[number - 1] for number in full}
        queries += sent
        notes = [
            act["note"],
            "What was looked up before is not looked up again." if len(new) < len(act["queries"]) else "",
            f"Of these, {len(new) - len(sent)} were not looked up: {most} at once is the most." if new != sent else "",
            "There is no document of that number." if len(numbers) < len(act["opens"]) else "",
            "It is shown in full above." if len(full) < len(numbers) else "",
        ]
        passages = [[ids[number - 1]] for number in full]
        note = " ".join(filter(None, notes))
        done.append(Act(tool=act["tool"], queries=sent, passages=passages, opens=full, note=note))
    return done, queries
