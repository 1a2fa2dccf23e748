"""`retry`: BrowseConf's scaling by confidence (arXiv 2510.23458): a run that is not sure of its answer is repeated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from langgraph.graph import END
from langgraph.types import Send

from ragscale.errors import BudgetExceeded, ModelError
from ragscale.modes.core.costs import Costs, Forecast, Room, series
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.inner import inner_run
from ragscale.modes.core.mode import Mode
from ragscale.modes.core.moves import Moves, share
from ragscale.modes.core.nesting import Nesting
from ragscale.modes.core.nodes import node, send
from ragscale.modes.core.scorers import SCORERS, Scorer
from ragscale.modes.core.state import Outcome, State, Update
from ragscale.modes.core.voting import best, stopped
from ragscale.modes.sequential.chain import Chain
from ragscale.prompts.confidence import excluding, summary, with_summary
from ragscale.prompts.wording import informative
from ragscale.types import Spend

__all__ = ["Retry"]


class _RetryState(State, total=False):
    further: int
    """Tries that the budget pays for from here on; 0: the last one is the last."""
    scored: bool
    """True where the next one's answer is checked, as there may be another to compare it with."""
    noted: str
    """Summary of the tries so far; empty where there is none."""


@dataclass(frozen=True, kw_only=True)
class Retry(Nesting):
    """Run `of`, ask the model how confident it is in the answer, and run again below `until`: `tries` times at most.

    Each try begins anew, but for what `carry` hands on, which is said below the question where it plans and answers.
    The answer is the first one at `until` or above; without such a one, that of the highest confidence, ties to the
    earliest. A try without an answer has confidence 0, without a call. A budget gives the first try all that `of` can
    use, and further ones what is left: none is begun that cannot make a step. With T = `tries` over a mode of C calls,
    R retrievals and S rounds, it costs at most T (C + 1) calls (T - 1 more for summaries), T R retrievals and T S
    rounds: 42, 18 and 18 for three times ``chain``, and one look at the question. Unlike BrowseConf, the confidence is
    asked for in a call of its own. The threshold is the paper's to calibrate on each model's answers, and so is this.
    """

    name: ClassVar[str] = "retry"
    source: ClassVar[str] = "BrowseConf, arXiv 2510.23458"
    pays: ClassVar[str] = "where the model knows when it is wrong, and few questions need a second run"
    least: ClassVar[dict[str, float]] = {"until": 0}
    most: ClassVar[dict[str, float]] = {"until": 100, "tries": 64}

    of: Mode = field(default_factory=Chain)
    """The mode of each try: an object, or the text of one, as in ``"chain(steps=3)"``."""
    tries: int = 3
    """Most runs; 64 at most."""
    until: float = 80.0
    """Confidence in percent from which on an answer is taken."""
    carry: Literal["none", "summary", "exclude"] = "none"
    """Handed on to the next try: nothing, a summary of what was found (a call), or the answers so far as wrong ones."""
    temperature: float = 0.7
    """Least temperature of the planning and closing moves of all tries but the first."""

    @property
    def scoring(self) -> Scorer:
        """Verbalised confidence."""
        return SCORERS["confidence"]

    @property
    def several(self) -> bool:
        """Whether `tries` is more than one."""
        return self.tries > 1

    def cost(self, costs: Costs) -> tuple[Spend, Spend]:
        """One try at its least; `tries` tries in full."""
        look = self.look_cost(costs)
        least, full = self.inner_cost(costs)
        again = full + self._carried(costs)
        return look + least, look + full + series(again, again, self.tries - 1)

    def course(self, costs: Costs, room: Room) -> Forecast:
        """Try by try, as none is sure of its answer."""
        spend, done, shape = Spend(), 0, dict[str, Any]()
        while further := self._further(costs, left := room.less(spend), done):
            carried = self._carried(costs) if done else Spend()
            score = self.score_cost(costs) if self._compared(costs, left, done, further) else Spend()
            each = self.of.forecast(costs, left.less(carried).dealt(1, further).less(score), looked=True)
            turn = carried + each.spend + score
            # All others at once where they are alike: there may be many of them.
            turns = self.tries - done if done and further == self.tries - done else 1
            spend, done, shape = spend + series(turn, turn, turns), done + turns, shape or each.shape
        return Forecast(spend, {"tries": done, "each": shape})

    def graph(self) -> ModeGraph:
        """look -> again -> try -> again ... -> select -> (answer)."""
        graph = ModeGraph(_RetryState, self.asks)
        self.begin(graph, "again")
        graph.add_node("again", node(self._again))
        graph.add_node("try", inner_run(self.of, scorer=self.scoring))
        graph.add_node("select", node(self._select))
        graph.add_node("answer", self.closing())
        graph.add_conditional_edges("again", self._to_try, ["try", "select", "answer"])
        graph.add_edge("try", "again")
        graph.add_conditional_edges("select", self._unless_answered, ["answer", END])
        graph.add_edge("answer", END)
        return graph

    async def _again(self, moves: Moves, state: _RetryState) -> Update:
        """Decide whether there is another try, and what it is told and given."""
        moves.give_up_closing()
        done = state["outcomes"]
        if done and self._sure(done[-1]):
            return {"further": 0, "held": 0}
        costs, room = moves.costs(state), moves.room
        further = self._further(costs, room, len(done))
        if not further:
            if len(done) < self.tries:
                moves.note("select", f"{len(done)} of {self.tries} tries", status="narrowed")
            return {"further": 0, "held": 0}
        compared = self._compared(costs, room, len(done), further)
        noted = await self._noted(moves, state) if done and self.carry == "summary" else ""
        part = share(moves, 1, layers=further, timed=False)
        return {
            "further": further, "scored": compared, "noted": noted, "part": part, "typical": costs.means, "held": 0,
        }  # fmt: skip

    async def _noted(self, moves: Moves, state: _RetryState) -> str:
        """Summary of the tries so far, by that of those before the last one; that one where the model writes none."""
        last, before = state["outcomes"][-1], state["noted"]
        prompt = summary(moves.profile, state["question"], before, last["chain"], last["known"], last["text"])
        try:
            said = await moves.put(prompt, input=last["text"])
        except (BudgetExceeded, ModelError) as error:
            moves.note("read", f"no summary: {error}", status="failed")
            said = []
        return said[0] if said else before

    def _hint(self, state: _RetryState) -> str:
        """Words that the tries so far hand on to the next one, by `carry`."""
        if self.carry == "exclude":
            answers = [outcome["text"] for outcome in state["outcomes"] if informative(outcome["text"])]
            return excluding(list(dict.fromkeys(answers))) if answers else ""
        return with_summary(state["noted"]) if state["noted"] else ""

    async def _to_try(self, state: _RetryState) -> list[Send] | str:
        done = len(state["outcomes"])
        if state["stop"] or not state["further"]:
            return "select" if done else "answer"
        hot = self.temperature if done else 0.0
        fewer = f"tries of {self.name}" if done or state["further"] > 1 else ""
        handed: dict[str, Any] = {"scored": state["scored"], "hint": self._hint(state)}
        return [send("try", state, str(done), temperature=hot, fewer=fewer, **handed)]

    async def _select(self, moves: Moves, state: _RetryState) -> Update:
        """The last try's answer where it is sure of it, else the one of the highest confidence."""
        outcomes = state["outcomes"]
        answered = [outcome for outcome in outcomes if informative(outcome["text"])]
        if not answered:
            moves.note("select", "no try has an answer", status="empty")
            return {**stopped(outcomes), "found": [outcome["passages"] for outcome in outcomes]}
        kept = best(moves, outcomes, answered, input=[outcome["text"] for outcome in outcomes])
        return {**stopped(outcomes), **{name: kept[name] for name in ("text", "citations", "chain", "known")}}

    def _sure(self, outcome: Outcome) -> bool:
        return informative(outcome["text"]) and outcome["score"] is not None and outcome["score"] >= self.until

    def _carried(self, costs: Costs) -> Spend:
        """Cost of handing on what was found."""
        return Spend(llm_calls=1, prompt_tokens=costs.score().tokens) if self.carry == "summary" else Spend()

    def _further(self, costs: Costs, room: Room, done: int) -> int:
        """Tries that `room` is to be shared by, now that so many are done: one at least, if none is; as many more as it
        pays in full, or one that it pays at its least."""
        least, full = (spend + (self._carried(costs) if done else Spend()) for spend in self.inner_cost(costs))
        if done and not room.pays(least):
            return 0
        return int(min(self.tries - done, max(1, room.turns(full))))

    def _compared(self, costs: Costs, room: Room, done: int, further: int) -> bool:
        """Whether there is, or may be, another answer beside the next one's, so that its confidence matters."""
        least, full = self.inner_cost(costs)
        return bool(done) or further > 1 or (self.tries > 1 and room.pays(full + least + self._carried(costs)))
