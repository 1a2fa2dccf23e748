"""An index that fails in mid-run ends the run as a failing model does: an answer, its words, and all spends in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conformance import check
from doubles import StubIndex, run, scripted

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import IndexBusy, IndexDamaged, IndexMismatch, IndexServerError, InvalidInput, ModelError
from ragscale.measure import Question, asweep
from ragscale.modes import Chain, Mode, Once, Parallel, Tree
from ragscale.types import Hit, Passage

MODES: list[Mode] = [
    Once(),
    Chain(steps=3),
    Chain(steps=2, plan_k=0),
    Parallel(rounds=3),
    Parallel(rounds=3, profile="rag-r1"),
    Tree(steps=2, expand=2, samples=2, rollouts=1, rollout_steps=1),
]
every = pytest.mark.parametrize("mode", MODES, ids=str)
ERRORS: list[BaseException] = [
    IndexServerError("http://h: no index server answers", "Start it."),
    IndexDamaged("vectors.faiss: its checksum is not that of the manifest", "Repair it."),
    IndexMismatch("the index was replaced after it was opened", "Open it again."),
    IndexBusy("replaced 100 times", "Try again."),
    ModelError("the embedding endpoint failed", "Look at it."),
    FileNotFoundError(2, "No such file or directory", "passages.arrow"),
    TimeoutError("no reply"),
    asyncio.CancelledError("of a task of its own"),  # and not of the run's
]


class Lost(StubIndex):
    """One that answers so many searches and then fails; from then on no passage is to be had, if `wholly`."""

    def __init__(self, searches: int, error: BaseException, *, wholly: bool = False) -> None:
        super().__init__()
        self.left, self.error, self.wholly = searches, error, wholly

    async def asearch(self, queries: Sequence[str], k: int = 10, how: Any = None) -> list[list[Hit]]:
        if queries and not self.left:
            self.searches.append(list(queries))
            raise self.error
        self.left -= bool(queries)
        return await super().asearch(queries, k, how)

    def passage(self, identity: str) -> Passage:
        if self.wholly and not self.left:
            raise self.error
        return super().passage(identity)


@every
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_at_the_first_search(mode: Mode, error: BaseException) -> None:
    index = Lost(0, error)
    answer, ledger = run(mode, index=index)
    check(answer, ledger, Budget())
    assert (answer.stop_reason, answer.text) == ("failed", "")
    assert str(getattr(error, "problem", error)) in answer.reason
    assert answer.spend.total.queries == sum(map(len, index.searches)) > 0
    failed = [event for event in answer.trace if event.move == "retrieve"]
    assert all(str(getattr(error, "problem", error)) in event.note for event in failed)


@every
@pytest.mark.parametrize("searches", [1, 2, 3])
@pytest.mark.parametrize("wholly", [False, True])
def test_in_mid_run(mode: Mode, searches: int, wholly: bool) -> None:
    error = IndexServerError("http://h: no index server answers", "Start it.")
    whole, _ = run(mode)
    index = Lost(searches, error, wholly=wholly)
    llm = scripted()
    answer, ledger = run(mode, index=index, llm=llm)
    rounds = sum(event.move == "retrieve" for event in whole.trace)
    if not wholly:
        check(answer, ledger, Budget())
    assert answer.spend.total.queries == sum(map(len, index.searches))
    assert answer.spend.total.llm_calls == len(llm.calls)
    if rounds > searches or (wholly and rounds == searches):
        assert answer.stop_reason == "failed" or isinstance(mode, Tree)
        if answer.stop_reason == "failed":
            assert "no index server answers" in answer.reason
            assert "Start it." in answer.reason
    if rounds > searches and not wholly:
        assert answer.text  # from what was found before
        assert answer.citations


@every
def test_with_a_run_that_is_kept(mode: Mode, tmp_path: Path) -> None:
    """A failed run is finished: it is not gone on with, and not paid for again."""
    options: dict[str, Any] = {"checkpoints": tmp_path / "runs.sqlite", "thread": "t"}
    first, _ = run(mode, index=Lost(1, ERRORS[0]), **options)
    again, ledger = run(mode, index=StubIndex(), **options)
    assert (again.text, again.stop_reason, again.reason) == (first.text, first.stop_reason, first.reason)
    assert ledger.spent.llm_calls == 0


def test_a_setting_that_an_index_refuses_is_raised_before_anything_is_paid() -> None:
    llm = scripted()
    for mode in (Once(), Chain(steps=1), Parallel(), Tree(steps=1)):
        with pytest.raises(InvalidInput, match="no vectors"):
            run(mode, index=Lost(0, InvalidInput("no vectors here", "Use bm25.")), llm=llm)
    assert not llm.calls
    # once something was, it is an answer: as where the index was reloaded and a passage is not there any more
    gone = Lost(1, InvalidInput("no passage 'p1' among 9", "Use an id that a search returned."), wholly=True)
    answer, _ = run(Parallel(rounds=3, profile="rag-r1"), index=gone)
    assert answer.stop_reason == "failed"
    assert "no passage 'p1'" in answer.reason
    assert answer.spend.total.llm_calls > 0


async def test_eval_has_a_row_with_what_was_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = [Question(f"q{n}", f"What is p{n}?", ("x",)) for n in range(3)]
    index = Lost(4, ERRORS[0])
    monkeypatch.setattr(Lost, "fingerprint", "f")
    monkeypatch.setattr(Lost, "how", "bm25")
    llm = scripted()
    agent = Agent(index, llm)
    run = await asweep(agent, questions, [Chain(steps=2)], tmp_path / "run", concurrency=1)
    (report,) = run.reports().values()
    assert report.failed == 2
    (path,) = (tmp_path / "run" / "rows").glob("*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["stop_reason"] for row in rows] == ["answered", "failed", "failed"]
    assert all("no index server answers" in row["reason"] for row in rows[1:])
    assert sum(row["spend"]["total"].get("llm_calls", 0) for row in rows) == len(llm.calls)
    assert sum(row["spend"]["total"]["queries"] for row in rows) == sum(map(len, index.searches))
