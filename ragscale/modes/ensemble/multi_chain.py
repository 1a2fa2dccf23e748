"""`multi-chain`: Multi-chain reasoning (Yoran et al., arXiv 2304.13007): one call reads the pairs of all chains."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Literal

from langgraph.graph import END

from ragscale.errors import ModelError, RagscaleError
from ragscale.llm.tokens import with_margin
from ragscale.modes.core.costs import Cost, Costs, beside
from ragscale.modes.core.graph import ModeGraph
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import Outcome, State, Update, evidence
from ragscale.modes.ensemble.ensemble import Ensemble, EnsembleState, batches, some
from ragscale.prompts import Closing, Prompt
from ragscale.prompts.aggregation import Notebook, meta
from ragscale.prompts.wording import informative
from ragscale.types import Passage, Spend

__all__ = ["MultiChain"]

_ASKED, _PAIR = 200, 30
"""Tokens typical of a meta call beside the pairs, and of a pair with a note."""


@dataclass(frozen=True, kw_only=True)
class MultiChain(Ensemble):
    """`n` runs of `of` without answers; a meta call reads what all of them looked up, in their order, and answers.

    So facts of chains that would lose a vote are used. A meta call that says that the chains do not tell, or whose
    reply cannot be read, abstains: all chains are run again, sampled, at most `again` times and while the budget pays
    the least of them and another meta call. Over ``chain`` of L steps it costs 2 n L + 1 model calls, n L retrievals
    (one more where the question itself is looked up) and L rounds (L + 1): 61, 31 and 7 for n = 5, L = 6; 2 n L + 1
    calls more for each time again. Unlike the paper, notes of planners are read by default (`reads`), an abstention is
    told by the whole answer instead of a word in it, and where the last meta call abstains, too, the closing answer is
    written from all passages found, by a call more.
    """

    name: ClassVar[str] = "multi-chain"
    source: ClassVar[str] = "MCR, arXiv 2304.13007"
    pays: ClassVar[str] = "where no chain finds all facts, but several do together"
    least: ClassVar[dict[str, float]] = {"again": 0}
    presets: ClassVar[dict[str, dict[str, Any]]] = {"mcr-paper": {"n": 5, "again": 2, "reads": "pairs"}}

    n: int = 5
    """Chains (K; 3 for StrategyQA in the paper); 256 at most."""
    again: int = 2
    """Times that all chains are run again after an abstention."""
    reads: Literal["pairs", "notes", "passages"] = "notes"
    """Reading of the meta call: the queries and sub-answers of all chains, as published; also what their planners said
    is known; or also the best `context` passages, which is the paper's variant with contexts."""

    @property
    def members_answer(self) -> bool:
        """False: the meta call answers."""
        return False

    @property
    def closes(self) -> bool:
        """True: by the meta call, also where members have answers."""
        return True

    def ends_cost(self, costs: Costs) -> Spend:
        """Cost of the look, and of the meta call that reads all chains in full."""
        _, full = self.inner_cost(costs)
        return self.look_cost(costs) + self.closing_cost(costs, beside(full, self.n), self.context)

    def closing_cost(self, costs: Costs, course: Spend, shown: int) -> Cost:
        """Cost of the meta call; of a closing answer from passages where there are no chains."""
        if not course.llm_calls:
            return costs.answer(shown)
        tokens = _ASKED + _PAIR * course.queries + costs.passage * self.context * (self.reads == "passages")
        return Cost.of(Spend(llm_calls=1, prompt_tokens=tokens))

    async def goes_on(self, moves: Moves, state: EnsembleState) -> bool:
        """True: the meta call has abstained."""
        return True

    async def decide(self, moves: Moves, state: EnsembleState, outcomes: list[Outcome]) -> Update:
        """All steps of the last chains, in chain order."""
        last = batches(state)[-1]
        return {
            "chain": [*chain.from_iterable(outcome["chain"] for outcome in last)],
            "found": [outcome["passages"] for outcome in last],
        }

    def _end(self, graph: ModeGraph) -> None:
        graph.add_conditional_edges("answer", self._unless_abstained, ["deal", END])

    async def _unless_abstained(self, state: State) -> str:
        unwritten = state["text"] is None and state["scope"]["answers"]
        return "deal" if unwritten and not state["stop"] else END

    async def _close(self, moves: Moves, state: Any) -> Update:
        """The meta call; without an answer, the chains again, or the closing answer from what was found."""
        done = batches(state)
        books = [self._book(outcome) for outcome in some(done[-1])] if done else []
        known = [*dict.fromkeys(chain(state["known"], *(book.notes for book in books)))]
        if not state["scope"]["answers"]:
            return {"known": known}
        ids = evidence(state)
        if any(map(any, books)):
            docs = ids[: self.context] if self.reads == "passages" else []
            again = await self._pays_again(moves, state, books)
            if not again:
                moves.release()
            for text, numbers in await self._asked(moves, state, books, docs):
                if informative(text):
                    shown = docs or ids
                    cited = moves.cite(text, numbers if docs else [], shown)[: self.context]
                    return {"text": text, "citations": cited, "known": known}
            if again:
                moves.note("answer", f"the chains do not tell: again, {len(done)} of {self.again}", status="enough")
                return {}
            moves.note("answer", "the chains do not tell: from all passages found", status="fallback")
        return {**await super()._close(moves, {**state, "known": known}), "known": known}

    async def _asked(self, moves: Moves, state: State, books: list[Notebook], docs: list[str]) -> list[Closing]:
        """The meta call's answer, from as many chains as fit; empty where it has none."""

        def make(shown: Sequence[Notebook], docs: Sequence[Passage] = ()) -> Prompt[Closing]:
            return meta(moves.profile, state["question"], shown, docs)

        try:
            if docs:
                return await moves.ask(lambda found: make(books, found), docs)
            prompt, note = await moves.fit_first(make, books, room=0.5)  # a reason is seldom as long as it may be
            return await moves.put(prompt, note=f"chains: {note}" if note else "")
        except (RagscaleError, OSError) as error:
            moves.note("answer", f"no meta call: {error}", status="failed")
            return []

    async def _pays_again(self, moves: Moves, state: EnsembleState, books: list[Notebook]) -> bool:
        """Whether the meta call can be followed by as many chains, beside what is kept for the answer."""
        if state["stop"] or len(state["sizes"]) > self.again:
            return False
        prompt = meta(moves.profile, state["question"], books)
        least, _ = self.inner_cost(moves.costs(state))
        with contextlib.suppress(ModelError):  # the meta call meets it, too
            tokens = with_margin(await moves.count(prompt.messages)) + prompt.max_tokens
            room = moves.room
            chains = beside(least, state["sizes"][-1])
            return room.pays(chains + Spend(llm_calls=1, prompt_tokens=tokens))
        return False

    def _book(self, outcome: Outcome) -> Notebook:
        """A chain as the meta call reads it: a mode without steps has notes or an answer instead."""
        if self.reads == "pairs" and outcome["chain"]:
            return Notebook(outcome["chain"])
        return Notebook(outcome["chain"], outcome["known"], outcome["text"])
