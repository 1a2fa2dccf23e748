"""`evolve`: Mind Evolution (arXiv 2501.09891): genetic search over retrieval plans, by critic and author."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from langgraph.graph import END
from langgraph.types import Send

from ragscale.modes.core.asking import CAPS
from ragscale.modes.core.costs import Cost, Costs
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import branch, node, send
from ragscale.modes.core.state import State, Update, failure
from ragscale.modes.search.generations import Generations
from ragscale.modes.search.operators import Operators
from ragscale.modes.search.population import Individual, Islands, name
from ragscale.prompts.wording import informative

__all__ = ["Evolve"]

_SHOWN = 10  # choices of a trace event, best first


class _EvolveState(State, total=False):
    population: Annotated[list[Individual], operator.add]
    """Everyone ever born, in order."""
    islands: list[list[int]]
    """Members of each island, as places in `population`; an emigrant is a member of several."""
    turn: int
    """Number of the turn under way."""
    conversations: list[tuple[list[int], list[int]]]
    """(place of the birth, parents: none for a draft) of each conversation of that turn; none: the search is over."""
    before: tuple[int, int]
    """Candidates, and branches that had failed, when the turn began."""


@dataclass(frozen=True, kw_only=True)
class Evolve(Generations):
    """Islands of retrieval plans, each with its chain and answer, are bred by conversations of critic and author.

    In each of `generations`, on one of `islands` after the other, `conversations` side by side take `turns`. The first
    turn of a conversation drafts a plan (always in the first generation, later with probability 1/6) or has 1 to
    `parents` parents, drawn by the softmax of fitness; each further turn has the child of the last. Critic and author
    are two roles in one reply, which keeps steps of its parents, found already, and adds up to `queries` new ones. A
    child is evaluated (one call: its answer from its plan's passages, evidence support as fitness, what is missing) and
    joins its island, duplicates aside. After an island's turn its best `emigrants` are cloned into the next one,
    cyclic. Every `reset` generations the `reset_islands` of lowest mean are emptied and refilled with `refill` plans
    that a model call picks, good and different, from the best `elites` of all. Nothing else dies. The search stops as
    soon as the evaluator is satisfied (`satisfied`); the answer is the fittest one's own.

    With N = generations x islands x conversations x turns candidates it costs at most C = 2 N + resets model calls, R =
    `queries` N retrievals and S = generations x islands x turns rounds, and one look at the question: 48, 49 and 13 by
    default. A budget has fewer islands, then conversations, and ends after any turn: none is begun that cannot be paid.
    Unlike Mind Evolution, the evaluator is a model, not a program, and never sees a gold answer; resets leave one
    island at least; the defaults are of a question's budget (the paper's 800 candidates: preset mind-evolution-paper).
    """

    name: ClassVar[str] = "evolve"
    source: ClassVar[str] = "Mind Evolution, arXiv 2501.09891"
    pays: ClassVar[str] = "where good plans are hard to write and easy to tell, and tokens are plenty"
    least: ClassVar[dict[str, float]] = {
        **CAPS, "question_k": 0, "plan_k": 0, "retries": 0, "reset": 0, "emigrants": 0, "selection": 0.01,
    }  # fmt: skip
    most: ClassVar[dict[str, float]] = {"queries": 4, "steps": 16, "conversations": 256, "islands": 256, "elites": 16}
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "mind-evolution-paper": {
            "generations": 10, "islands": 4, "conversations": 5, "turns": 4, "parents": 5, "emigrants": 5, "reset": 3,
            "reset_islands": 2, "elites": 15, "refill": 5, "retries": 5,
        }
    }  # fmt: skip

    context: int = 6
    """Passages that the evaluator is shown at most: the question's own and those of the plan's steps, fused by rank."""
    satisfied: float = 10.0
    """Fitness, out of 10, from which on the search is over."""
    selection: float = 1.0
    """Temperature of the softmax of fitness by which parents are drawn; apart from that of the model."""
    queries: int = 2
    """Most new sub-queries of a child."""
    steps: int = 6
    """Longest plan."""
    retries: int = 1
    """Further tries at a malformed reply."""
    question_k: int = 5
    """Passages retrieved for the question itself, in a round before the first generation."""
    plan_k: int = 2
    """Number of those that a draft sees."""
    temperature: float = 0.7
    """Of drafts and of critic and author; the first draft and every evaluation are greedy."""

    @property
    def looks(self) -> int:
        """`question_k`."""
        return self.question_k

    def child_cost(self, costs: Costs) -> Cost:
        """A child: critic and author, its new queries, and the evaluator."""
        return costs.plan(min(self.plan_k, self.looks)) + costs.retrieve(self.queries) + costs.answer(self.context)

    def graph(self) -> ModeGraph:
        """look -> breed -> turn x conversations -> breed ... -> select -> (answer)."""
        graph = ModeGraph(_EvolveState, self.asks)
        self.begin(graph, "breed")
        graph.add_node("breed", node(self._breed))
        graph.add_node("turn", branch(self._turn))
        graph.add_node("select", node(self._select))
        graph.add_node("answer", self.closing())
        graph.add_conditional_edges("breed", self._to_turns, ["turn", "select", "answer"])
        graph.add_edge("turn", "breed")
        graph.add_conditional_edges("select", self._unless_answered, ["answer", END])
        graph.add_edge("answer", END)
        return graph

    async def _breed(self, moves: Moves, state: _EvolveState) -> Update:
        """Let the last turn's children join, the best emigrate and resets follow; then draw the next turn's parents."""
        population, turn, costs = state.get("population", []), state.get("turn", -1) + 1, moves.costs(state)
        update: Update = {"turn": turn, "conversations": []}
        if any(informative(one["answer"]) for one in population):
            moves.give_up_closing()
            update["held"] = 0
        sized = replace(self, islands=len(state["islands"])) if turn else self.begun(moves, costs)
        islands = Islands(population, [*state["islands"]] if turn else [[] for _ in range(sized.islands)])
        update["islands"] = islands.members  # which joining, emigration and resets change in place
        if turn and await sized._evolved(moves, state, islands):
            return {**update, **({} if population else failure(state))}
        width = sized.wide(costs, moves.room, turn, len(state.get("conversations", [])), len(population))
        if not width:
            if turn < sized.all_turns:
                moves.note("select", f"{len(population)} candidates", status="narrowed")
            return update
        generation, island, at = sized.at(turn)
        places = [[generation, island, conversation, at] for conversation in range(width)]
        seed = f"{moves.context.seed}|{moves.branch}"
        parents = [islands.parents(place, seed, self.parents, self.selection) for place in places]
        part = share(moves, width, layers=sized.layers(costs, moves.room, turn, width), timed=False)
        return {
            **update, "conversations": [*zip(places, parents, strict=True)], "part": part, "typical": costs.means,
            "before": (len(population), len(state["failed"])),
        }  # fmt: skip

    async def _evolved(self, moves: Moves, state: _EvolveState, islands: Islands) -> bool:
        """Let the children of the last turn join, after an island's turns its best emigrate, then resets follow.

        Returns:
            Whether the search is over: the evaluator is satisfied, or every branch failed, as the next ones would, too.
        """
        (before, failed), island, turn = state["before"], self.at(state["turn"]).island, state["turn"] + 1
        islands.join(island, range(before, len(islands.population)))
        born = islands.population[before:]
        satisfied = any(informative(one["answer"]) and one["support"] >= self.satisfied for one in born)
        if satisfied or (not born and len(state["failed"]) > failed):
            return True
        emigrants = 0 if turn % self.turns else self.emigrants
        target, gone = islands.emigrate(island, emigrants)
        if gone:
            choices = islands.choices(moves.scope, gone, gone)
            moves.note("select", f"island {island} -> island {target}", status="kept", choices=choices)
        if self.resets(turn):
            await self._reset(moves, state["question"], islands)
        return False

    async def _reset(self, moves: Moves, question: str, islands: Islands) -> None:
        """Empty the worst islands, and refill them with elites that a model call picks."""
        pool = islands.elites(self.elites)
        plans = [islands.population[n] for n in pool]
        picked = [pool[at] for at in await self._operators.pick(moves, question, plans, self.refill)]
        worst = [f"island {island}" for island in islands.refill(self.reset_islands, picked)]
        choices = islands.choices(moves.scope, pool, picked)
        moves.note("select", f"refill {', '.join(worst)}", status="kept", choices=choices)

    async def _to_turns(self, state: _EvolveState) -> list[Send] | str:
        if state["stop"] or not state["conversations"]:
            return "select" if state.get("population") else "answer"
        fewer = f"conversations of {self.name}" if len(state["conversations"]) > 1 else ""
        conversations = [(place, [state["population"][n] for n in of]) for place, of in state["conversations"]]
        return [
            send("turn", state, name(place), fewer=fewer, place=place, parents=parents)
            for place, parents in conversations
        ]

    async def _turn(self, moves: Moves, state: Any) -> Update:
        """One child: a draft, or by critic and author from its parents; retrieved and evaluated."""
        child = await self._operators.child(moves, state)
        return {"population": [child]} if child else {}

    async def _select(self, moves: Moves, state: _EvolveState) -> Update:
        """The fittest one's answer, ties to the earliest."""
        population = state["population"]
        islands = Islands(population, state["islands"])
        ranked = islands.best(n for n, one in enumerate(population) if informative(one["answer"]))
        if not ranked:
            moves.note("select", "no candidate has an answer", status="empty")
            return {"found": [step["passages"] for one in population for step in one["chain"]][-self.steps :]}
        winner = population[ranked[0]]
        moves.note(
            "select", status="kept", choices=islands.choices(moves.scope, ranked[:_SHOWN], ranked[:1]),
            score=winner["support"], output=winner["answer"],
        )  # fmt: skip
        return {"text": winner["answer"], "citations": winner["citations"], "chain": winner["chain"]}

    @property
    def _operators(self) -> Operators:
        return Operators(
            k=self.k, context=self.context, plan_k=self.plan_k, queries=self.queries, steps=self.steps,
            retries=self.retries, temperature=self.temperature,
        )  # fmt: skip
