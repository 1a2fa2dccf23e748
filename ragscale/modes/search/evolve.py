"""`evolve`: Mind Evolution (arXiv 2501.09891): genetic search over retrieval plans, by critic and author."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, ClassVar, NamedTuple

from langgraph.graph import END
from langgraph.types import Send

from ragscale.errors import BudgetExceeded, ModelError
from ragscale.modes.core.asking import CAPS, Planning
from ragscale.modes.core.costs import Costs, Forecast, Room, beside, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nodes import branch, node, send
from ragscale.modes.core.state import State, Update, failure, inside
from ragscale.modes.search.population import Individual, best, drawn, join, name, told
from ragscale.prompts import NO_INFORMATION, Step, normalise
from ragscale.prompts.evolution import elites, evaluate, refine
from ragscale.prompts.wording import informative
from ragscale.ranking import reciprocal_rank_fusion
from ragscale.types import Choice, Spend

__all__ = ["Evolve"]

_FIRST = Spend(llm_calls=2, prompt_tokens=800, queries=1, rounds=1)
"""Least that a first candidate is tried with: its passages may be short."""
_SHOWN = 10  # choices of a trace event, best first


class TurnPosition(NamedTuple):
    """Position of a turn in the search."""

    generation: int = 0
    island: int = 0
    turn: int = 0


class _EvolveState(State, total=False):
    population: Annotated[list[Individual], operator.add]
    """Everyone ever born, in order."""
    islands: list[list[int]]
    """Members of each island, as places in `population`; an emigrant is a member of several."""
    at: list[int]
    """The turn under way, as a `TurnPosition`."""
    parents: list[list[int]]
    """Of each conversation of the turn; empty for a draft. None of them: the search is over."""
    failures: int
    """Branches that had failed when the turn began."""


@dataclass(frozen=True, kw_only=True)
class Evolve(Planning):
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
    plan_tokens: int = 0
    """Most tokens of a draft; 0: as the profile says."""
    generations: int = 3
    """The first one, of drafts, included."""
    islands: int = 2
    """Populations that evolve apart, but for emigrants."""
    conversations: int = 2
    """Side by side, on each island and in each generation."""
    turns: int = 2
    """Children of a conversation, one after the other."""
    parents: int = 2
    """Most parents of a conversation's first child."""
    emigrants: int = 2
    """Cloned into the next island after each turn of an island."""
    reset: int = 3
    """Generations after which the worst islands are refilled, again and again; 0 for never."""
    reset_islands: int = 1
    """Islands that are refilled; one island stays at least."""
    elites: int = 6
    """The best of all islands, from which those that refill them are picked."""
    refill: int = 2
    """Plans that refill an island."""
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

    @property
    def closes(self) -> bool:
        """False: the fittest one's answer is the run's."""
        return False

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One candidate; all generations."""
        look, one = self.look_cost(costs), self._candidate(costs)
        return look + one, look + self._whole(costs)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Turn by turn, as the evaluator is never satisfied. What is kept for a closing answer is spent once a child
        has an answer."""
        one, whole = self._candidate(costs), self._whole(costs)
        first = room.less(costs.kept(self.context, room.path_tokens))
        if not first.pays(_FIRST):
            shown = min(self.context, self.looks)
            return Forecast(room.within(costs.answer(shown)), {"candidates": 0})
        most = self.generations * self.islands * self.conversations * self.turns
        if first.pays(whole):
            return Forecast(whole, {"islands": self.islands, "candidates": most})
        islands = self._islands(costs, first)
        spend, born, at, widest = Spend(), 0, TurnPosition(), 0
        while at.generation < self.generations:
            left = (room if born else first).less(spend)
            widest = self._width(costs, left, at, widest, born)
            if not widest:
                break
            spend, born = spend + beside(one, widest), born + widest
            after = self._next(at, islands)
            if self._resets(at, after, islands):
                spend += self._pick(costs)
            at = after
        return Forecast(room.within(spend), {"islands": islands, "candidates": born})

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
        """Let the children of the last turn join, migrate and reset; then draw the parents of the next turn."""
        population, update = state.get("population", []), Update(parents=[])
        if any(informative(one["answer"]) for one in population):
            moves.give_up_closing()
            update["held"] = 0
        costs = moves.costs(state)
        at = TurnPosition(*state["at"]) if "at" in state else None
        islands = [[*island] for island in state.get("islands", [])]
        if at is None:
            moves.need(_FIRST)
            islands = [[] for _ in range(self._islands(costs, moves.room))]
            if len(islands) < self.islands:
                moves.note("select", f"{len(islands)} of {self.islands} islands", status="narrowed")
            at, widest = TurnPosition(), 0
        else:
            born = [n for n, one in enumerate(population) if _turn_of(one) == at]
            join(population, islands[at.island], born)
            if any(self._satisfies(population[n]) for n in born):
                return {**update, "islands": islands}
            if not born and len(state["failed"]) > state["failures"]:  # what failed them all fails the next ones, too
                return {**update, "islands": islands, **({} if population else failure(state))}
            after, widest = self._next(at, len(islands)), len(state["parents"])
            if after.turn == 0:
                self._emigrate(moves, population, islands, at.island)
            if self._resets(at, after, len(islands)):
                await self._refill(moves, state["question"], population, islands)
            at = after
        width = self._width(costs, moves.room, at, widest, len(population))
        if at.generation >= self.generations or not width:
            if at.generation < self.generations:
                moves.note("select", f"{len(population)} candidates", status="narrowed")
            return {**update, "islands": islands}
        parents = [self._parents(moves, population, islands[at.island], at, c) for c in range(width)]
        layers = moves.room.layers(beside(self._candidate(costs), width), self._to_go(at, len(islands)))
        part = share(moves, width, layers=layers, timed=False)
        return {
            **update, "islands": islands, "at": [*at], "parents": parents, "part": part, "typical": costs.means,
            "failures": len(state["failed"]),
        }  # fmt: skip

    def _emigrate(self, moves: Moves, population: Sequence[Individual], islands: list[list[int]], source: int) -> None:
        """Clone the best of an island into the next one, cyclic."""
        if len(islands) < 2 or not self.emigrants:
            return
        target = (source + 1) % len(islands)
        gone = join(population, islands[target], best(population, islands[source])[: self.emigrants])
        if gone:
            words = f"island {source} -> island {target}"
            moves.note("select", words, status="kept", choices=_choices(moves, population, gone, gone))

    async def _refill(
        self, moves: Moves, question: str, population: Sequence[Individual], islands: list[list[int]]
    ) -> None:
        """Empty the worst islands, and refill them with elites that a model call picks."""
        pool = join(population, [], best(population, range(len(population))))[: self.elites]
        picked = pool[: self.refill]
        if len(pool) > self.refill:
            try:
                prompt = elites(moves.profile, question, [told(population[n]) for n in pool], self.refill)
                for numbers in await moves.put(prompt):
                    named = [pool[number - 1] for number in numbers if number <= len(pool)]
                    picked = [*named, *(n for n in pool if n not in named)][: self.refill]
            except (BudgetExceeded, ModelError) as error:
                moves.note("select", f"the fittest refill the islands: {error}", status="fallback")
        means = [fmean(population[n]["support"] for n in island) if island else -1.0 for island in islands]
        worst = sorted(range(len(islands)), key=means.__getitem__)[: min(self.reset_islands, len(islands) - 1)]
        for island in worst:
            islands[island] = [*picked]
        words = f"refill {', '.join(f'island {island}' for island in sorted(worst))}"
        moves.note("select", words, status="kept", choices=_choices(moves, population, pool, picked))

    def _parents(
        self, moves: Moves, population: Sequence[Individual], island: Sequence[int], at: TurnPosition, conversation: int
    ) -> list[int]:
        """Of a conversation's next child: the last child of the conversation, or those that are drawn.

        Drawn by the run's seed and the conversation's name alone, so that a run repeats and is resumed exactly.
        """
        here = [at.generation, at.island, conversation]
        own = [n for n, one in enumerate(population) if one["place"][:3] == here]
        if at.turn or not at.generation:
            return own[-1:]
        source = random.Random(f"{moves.context.seed}|{moves.branch}|{'.'.join(map(str, here))}")
        fitness = [population[n]["support"] for n in island]
        return [island[n] for n in drawn(source, fitness, self.parents, self.selection)]

    async def _to_turns(self, state: _EvolveState) -> list[Send] | str:
        if state["stop"] or not state["parents"]:
            return "select" if state.get("population") else "answer"
        generation, island, turn = state["at"]
        fewer = f"conversations of {self.name}" if len(state["parents"]) > 1 else ""
        places = [[generation, island, conversation, turn] for conversation in range(len(state["parents"]))]
        return [
            send(
                "turn", state, name(place), fewer=fewer, place=place, parents=[state["population"][n] for n in parents]
            )
            for place, parents in zip(places, state["parents"], strict=True)
        ]

    async def _turn(self, moves: Moves, state: Any) -> Update:
        """One child: a draft, or by critic and author from its parents; retrieved and evaluated."""
        question, parents = state["question"], state["parents"]
        plan = await self._plan(moves, state)
        if plan is None:
            return {}
        kept, queries = plan
        found = await moves.retrieve(queries, self.k) if queries else []
        chain = [*kept, *(_step(query, ids) for query, ids in zip(queries, found, strict=True))]
        fused = reciprocal_rank_fusion([state["seen"], *(step["passages"] for step in chain)])
        ids = [id for id, _ in fused[: self.context]]
        asked = [step["query"] for step in chain]
        prompt, shown, note = await moves.fit(lambda docs: evaluate(moves.profile, question, docs, asked), ids)
        for attempt in range(1 + self.retries):
            hot = self.temperature if attempt else 0.0
            for said in await moves.put(prompt, passages=shown, note=note, attempt=attempt, temperature=hot):
                findings = [*said.found, *[NO_INFORMATION] * len(chain)]
                chain = [
                    step if informative(step["answer"]) else {**step, "answer": finding}
                    for step, finding in zip(chain, findings, strict=False)
                ]  # fmt: skip
                child = Individual(
                    place=state["place"], chain=chain, answer=said.answer, missing=said.missing,
                    support=said.support if informative(said.answer) else 0.0,
                    citations=moves.cite(said.answer, said.numbers, shown),
                )  # fmt: skip
                return {"population": [child]}
        moves.note("plan", f"no evaluation of a child of {len(parents)}", status="malformed")
        return {}

    async def _plan(self, moves: Moves, state: Any) -> tuple[list[Step], list[str]] | None:
        """The kept steps and the new queries of a child; None where every try was malformed or asks nothing new."""
        parents, question = state["parents"], state["question"]
        known: dict[str, Step] = {}  # every step of the parents, as it is numbered in the prompt
        numbered = [step for parent in parents for step in parent["chain"]]
        for step in numbered:
            known.setdefault(normalise(step["query"]), step)
        first = not any(state["place"])
        for attempt in range(1 + self.retries):
            hot = 0.0 if first and not attempt else self.temperature
            keep: list[int] | None = []
            if parents:
                prompt = refine(moves.profile, question, [told(one) for one in parents], self.queries)
                replies = await moves.put(prompt, temperature=hot, attempt=attempt)
                if not replies:
                    continue
                keep, asked = replies[0]
            else:
                drafts = await moves.ask(
                    lambda docs: moves.profile.plan(question, docs, [], most=self.queries),
                    state["seen"][: self.plan_k], temperature=hot, attempt=attempt,
                )  # fmt: skip
                if not drafts:
                    continue
                asked = [plan.query for plan in drafts[0] if plan.query]
            kept = [numbered[n - 1] for n in keep if n <= len(numbered)] if keep is not None else parents[0]["chain"]
            again = [known[normalise(query)] for query in asked if normalise(query) in known]
            chain = list({normalise(step["query"]): step for step in [*kept, *again]}.values())
            new = list({normalise(query): query for query in asked if normalise(query) not in known}.values())
            new = new[: self.queries]
            chain = chain[: max(0, self.steps - len(new))]
            same = any([step["query"] for step in chain] == [s["query"] for s in p["chain"]] for p in parents)
            if new or (chain and not same) or (not parents and state["seen"]):
                return chain, new
            moves.note("plan", "the child is its parent", status="repeat", output=asked)
        return None

    async def _select(self, moves: Moves, state: _EvolveState) -> Update:
        """The fittest one's answer, ties to the earliest."""
        population = state["population"]
        answered = [n for n, one in enumerate(population) if informative(one["answer"])]
        ranked = best(population, answered)
        if not ranked:
            moves.note("select", "no candidate has an answer", status="empty")
            return {"found": [step["passages"] for one in population for step in one["chain"]][-self.steps :]}
        winner = population[ranked[0]]
        moves.note(
            "select", status="kept", choices=_choices(moves, population, ranked[:_SHOWN], ranked[:1]),
            score=winner["support"], output=winner["answer"],
        )  # fmt: skip
        return {"text": winner["answer"], "citations": winner["citations"], "chain": winner["chain"]}

    def _satisfies(self, one: Individual) -> bool:
        return informative(one["answer"]) and one["support"] >= self.satisfied

    def _next(self, at: TurnPosition, islands: int) -> TurnPosition:
        """The turn after a turn."""
        if at.turn + 1 < self.turns:
            return at._replace(turn=at.turn + 1)
        if at.island + 1 < islands:
            return TurnPosition(at.generation, at.island + 1)
        return TurnPosition(at.generation + 1)

    def _resets(self, at: TurnPosition, after: TurnPosition, islands: int) -> bool:
        """Whether the worst islands are refilled between these turns; never after the last generation."""
        begun = after.generation > at.generation and after.generation < self.generations
        return bool(begun and islands > 1 and self.reset and after.generation % self.reset == 0)

    def _to_go(self, at: TurnPosition, islands: int) -> int:
        """Turns that are left, this one included."""
        done = (at.generation * islands + at.island) * self.turns + at.turn
        return self.generations * islands * self.turns - done

    def _candidate(self, costs: Costs) -> Spend:
        """A child: critic and author, its new queries, and the evaluator."""
        return costs.plan(min(self.plan_k, self.looks)) + costs.retrieve(self.queries) + costs.answer(self.context)

    def _pick(self, costs: Costs) -> Spend:
        """The model call of a reset; none where all elites refill the islands."""
        return costs.score() if self.elites > self.refill else Spend()

    def _whole(self, costs: Costs) -> Spend:
        """All generations."""
        turn = beside(self._candidate(costs), self.conversations)
        resets = (self.generations - 1) // self.reset if self.reset and self.islands > 1 else 0
        whole = series(turn, turn, self.generations * self.islands * self.turns)
        return whole + series(self._pick(costs), self._pick(costs), resets)

    def _islands(self, costs: Costs, room: Room) -> int:
        """Islands that `room` pays for a generation of; one at least."""
        paid = room.times(beside(self._candidate(costs), self.conversations * self.turns))
        return int(max(1, min(self.islands, paid)))

    def _width(self, costs: Costs, room: Room, at: TurnPosition, widest: int, born: int) -> int:
        """Conversations of a turn that `room` pays for: as many as can end, and no more than took the turn before
        (`widest`); one at least, if none is born."""
        one = self._candidate(costs)
        paid = room.times(one) if room.reaches(one) else 0
        if at.turn:
            return int(max(min(widest, paid), 0 if born else 1))
        wanted = min(self.conversations, max(1, paid // self.turns) if math.isfinite(paid) else paid)
        return int(max(min(wanted, paid), 0 if born else 1))


def _step(query: str, passages: list[str]) -> Step:
    return Step(query=query, passages=passages, answer=NO_INFORMATION)


def _turn_of(one: Individual) -> TurnPosition:
    """The turn of its birth."""
    generation, island, _, turn = one["place"]
    return TurnPosition(generation, island, turn)


def _choices(moves: Moves, population: Sequence[Individual], shown: Sequence[int], kept: Sequence[int]) -> list[Choice]:
    return [
        Choice(inside(moves.scope, name(one["place"])), one["support"], "kept" if n in kept else "pruned")
        for n, one in ((n, population[n]) for n in shown)
    ]
