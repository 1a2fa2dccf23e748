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
from ragscale.modes.sequential.tool_calls import checked, searched
from ragscale.prompts import Act, Acted, Reply, react
from ragscale.types import Spend, Status

__all__ = ["React"]

_TRIES = 2  # attempts at a turn, where the first is malformed
_OFFER = Spend(prompt_tokens=250)  # of the tools and what a template says around them


class _ReactState(State, total=False):
    turns: list[Acted]
    acted: Acted | None
    """The turn whose calls are to be done, or that is sent back; None where it called none."""


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
        most = int(min(self.width, moves.ledger.left("queries")))
        # Nothing is offered that cannot be paid: a turn whose queries cannot be sent is money lost.
        moves.ledger.reserve(Spend(queries=max(1, most), rounds=1), clock=moves.clock).refund()
        make, passages = self._maker(moves, first=not turns), {id: moves.passage(id) for id in ids}
        prompt = make(moves.profile, state["question"], turns, passages, width=most)
        for attempt in range(_TRIES):
            temperature = self.temperature if attempt else 0.0
            for reply in await moves.put(prompt, temperature=temperature, attempt=attempt, passages=ids):
                if back := self._sent_back(moves, reply, turns):
                    return {"acted": back}
                known = noted(known, reply.known)
                if reply.acts:
                    return {"acted": self._called(moves, reply, turns, most), "known": known}
                if reply.answer:
                    cited = moves.cite(reply.answer, reply.numbers, ids)
                    return {"text": reply.answer, "citations": cited, "known": known}
                return {"acted": None, "known": known}
        return {"acted": None, "known": known}

    def _maker(self, moves: Moves, *, first: bool) -> Any:
        """The function that makes prompts: for tool calls, or for JSON turns if mode or endpoint need them."""
        if self.tools == "json":
            return react.in_json
        if moves.context.capabilities.tools:
            return react.with_tools
        if first:
            moves.note("plan", "the endpoint was not seen to call tools: turns are JSON", status="fallback")
        return react.in_json

    def _sent_back(self, moves: Moves, reply: Reply, turns: list[Acted]) -> Acted | None:
        """The turn that sends an answer back: the first answer before any search. None for any other reply."""
        if reply.acts or not reply.answer or any(searched(turn["acts"]) for turn in turns):
            return None
        if any(turn["told"] for turn in turns):
            moves.note("plan", "the answer is taken, though nothing was looked up", status="empty")
            return None
        moves.note("plan", "an answer before any search is sent back", output=reply.answer)
        return Acted(said=reply.said, acts=[], told=react.SEARCH_FIRST)

    def _called(self, moves: Moves, reply: Reply, turns: list[Acted], most: int) -> Acted:
        """The turn of a reply that calls tools."""
        acts = checked(reply.acts, turns, most)
        if not searched(acts) and not any(act["passages"] for act in acts):
            status: Status = "repeat" if reply.queries or reply.opens else "malformed"
            moves.note("plan", "no call that can be done", status=status, output=[act["note"] for act in acts])
        return Acted(said=reply.said, acts=acts, told="")

    async def _act(self, moves: Moves, state: _ReactState) -> Update:
        """Do the calls of the turn: all new queries in one round."""
        turn = state["acted"]
        assert turn is not None  # the router sends no other here
        queries = searched(turn["acts"])
        found = iter(await moves.retrieve(queries, self.k) if queries else [])
        acts = [
            Act(**{**act, "passages": [next(found) for _ in act["queries"]] or act["passages"]}) for act in turn["acts"]
        ]
        ranked = [ids for act in acts for ids in act["passages"]]
        return {"turns": [*state.get("turns", []), Acted(**{**turn, "acts": acts})], "found": ranked}

    async def _after_thinking(self, state: _ReactState) -> str:
        if state["text"]:
            return END
        return "act" if not state["stop"] and state.get("acted") else "answer"

    async def _after_acting(self, state: _ReactState) -> str:
        if state["stop"]:  # perhaps before any turn was in state
            return "answer"
        return "answer" if sum(not turn["told"] for turn in state["turns"]) >= self.turns else "think"
