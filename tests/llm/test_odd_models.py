"""Models that are somebody else's objects: whatever they return is an answer or an error of ours, soon."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from doubles import StubIndex
from ticking import unblocked

import ragscale as rs
from ragscale.errors import ModelError
from ragscale.llm import Capabilities, Generation, Score, Usage
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes.core.moves import Moves

MEGABYTES = {
    "a word": "x" * 10_000_000,
    "words": "to be " * 1_700_000,
    "brackets": "[{" * 5_000_000,
    "an answer": '{"answer": "' + "x " * 5_000_000 + '", "documents": [1]}',
    "a list of queries": '{"known": "x", "missing": "y", "queries": ["' + "who " * 2_500_000 + '"]}',
    "quotes": '"' * 10_000_000,
    "blanks": " " * 10_000_000,
    "lines": "\n- a" * 2_500_000,
    "a thought": "<think>" + "hm " * 3_300_000,
    "marks": "\u0300" * 5_000_000,
    "an answer that is cut": '{"answer": "' + '\\"' * 5_000_000,
    "of what a passage has": "word1 " * 1_600_000,
}
ODD: list[Any] = [None, True, 7, 1.5, "x", b"x", [], [None], [7], [b"x"], ["x", "y"], {}, {"a": 1}, object, ("x",)]
COUNTS: list[Any] = [None, "7", 1.5, -1, True, 10**400, float("nan"), [], 2**70]


@dataclass
class Odd:
    """An `LLM` that returns what it is told to."""

    generation: Any = ...
    window: Any = 8192
    count: Any = 20
    can: Any = field(default_factory=lambda: Capabilities(scoring=True, samples=True))
    scored: Any = ...
    name: str = "odd"

    @property
    def context_window(self) -> Any:
        return self.window

    async def capabilities(self) -> Any:
        return self.can

    async def generate(self, messages: Any, *, n: int = 1, **settings: Any) -> Any:
        return Generation(["a fact"] * n, Usage(20, 3), ["stop"] * n) if self.generation is ... else self.generation

    async def score(self, messages: Any, continuation: str) -> Any:
        return Score(-1.0, Usage(20, 3)) if self.scored is ... else self.scored

    async def count_tokens(self, messages: Any) -> Any:
        return self.count

    async def aclose(self) -> None:
        pass


@dataclass
class Long(Odd):
    """Returns one text always."""

    async def generate(self, messages: Any, *, n: int = 1, **settings: Any) -> Any:
        return Generation([self.generation] * n, Usage(20, 3), ["stop"] * n)


def agent(llm: Any, mode: str) -> rs.Agent:
    return rs.Agent(StubIndex(), llm, mode, rs.Budget(tokens=20_000, llm_calls=20))


def asked(llm: Any, mode: str = "once") -> rs.Answer:
    return asyncio.run(agent(llm, mode).aask("Who?"))


@pytest.mark.parametrize("text", MEGABYTES)
def test_ten_megabytes_are_cut_to_what_was_asked_for(text: str) -> None:
    few = text in ("words", "a word", "brackets", "a list of queries")
    tagged = "parallel(profile='rag-r1',continued=False,rounds=1)"
    modes = ["chain(steps=2)", "parallel(rounds=1)", tagged] if few else []
    for mode in ("once", *modes):
        answer = unblocked(lambda mode=mode: agent(Long(MEGABYTES[text]), mode).aask("Who?"))
        assert len(answer.text) <= 100_000
        assert len(repr(answer)) < 1_000_000


def test_a_word_of_the_scripted_model_may_be_of_any_length() -> None:
    llm = ScriptedLLM(lambda messages, call: MEGABYTES["a word"])
    assert len(unblocked(lambda: agent(llm, "chain(steps=2)").aask("Who?")).text) < 10_000


@pytest.mark.parametrize("size", [1, 3, 4, 100, 3000, 10_000_000])
@pytest.mark.parametrize("unit", ["x", "word1 ", "a a", "(", "\u0130", "_"])
def test_citing_takes_no_time(unit: str, size: int) -> None:
    """No answer and no passages make citing slow."""
    text = unit * (size // len(unit) + 1)
    index = StubIndex(texts={"p1": unit * (100_000 // len(unit)), "p2": "x" * 100_000, "p3": "a b " * 20_000})
    moves = object.__new__(Moves)
    moves.context = rs_context(index)
    started = time.process_time()
    assert set(moves.cite(text, [3], ["p1", "p2", "p3"])) <= {"p1", "p2", "p3"}
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("text", "passage", "holds"),
    [
        ("Rhodium", "It is rhodium.", True),
        ("rhodium", "Title rhodium", True),
        ("New  York", "in new\n york, 1912", True),
        ("York", "Yorkshire and New_York and 2York", False),
        ("York", "Yorkshire and York", True),
        ("C++", "written in C++ today", True),
        ("C", "written in C++ today", True),
        ("Straße", "in der STRASSE", True),
        ("(1984)", "Brazil (1984)", True),
        ("x" * 3000, "x" * 3000, False),  # nobody repeats a passage of that length
    ],
)
def test_an_answer_stands_in_a_passage_as_whole_words(text: str, passage: str, holds: bool) -> None:
    moves = object.__new__(Moves)
    moves.context = rs_context(StubIndex(texts={"p1": "nothing", "p2": passage}))
    assert moves.cite(text + " ", [1], ["p1", "p2"]) == (["p2"] if holds and len(text) > 1 else ["p1"])


@pytest.mark.parametrize("mode", ["once", "chain(steps=2)"])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_an_object_that_is_no_generation_fails_the_call(value: Any, mode: str) -> None:
    for generation in (value, Generation(value, Usage(20, 3))):
        answer = asked(Odd(generation), mode)
        good = generation is not value and value == ("x",)
        assert (answer.stop_reason == "failed") is not good
        assert ("odd returned" in answer.reason) is not good


@pytest.mark.parametrize("value", COUNTS, ids=lambda value: str(value)[:20])
def test_odd_counts_fail_the_run_in_words(value: Any) -> None:
    for llm in (Odd(count=value), Odd(window=value), Odd(Generation(["x"], Usage(value, 3)))):
        answer = asked(llm)
        assert answer.stop_reason == "failed"
        assert "odd returned" in answer.reason
    if not isinstance(value, str):
        assert asked(Odd(Generation(["x"], Usage(20, 3), [value]))).stop_reason == "failed"


@pytest.mark.parametrize("value", [*ODD, Score(10**40, Usage(1, 1)), Score("x", Usage(1, 1))], ids=str)  # type: ignore[arg-type]
def test_odd_scores_are_left_out(value: Any) -> None:
    answer = asked(Odd(scored=value), "best-of-n(of=chain(steps=1),n=2)")
    assert answer.stop_reason
    assert any("odd returned" in event.note for event in answer.trace)


@pytest.mark.parametrize("value", [None, {}, "all", 7])
def test_capabilities_that_are_none_are_refused(value: Any) -> None:
    with pytest.raises(ModelError, match="odd told its capabilities as a"):
        asked(Odd(can=value))


def rs_context(index: StubIndex) -> Any:
    from ragscale.budget import Ledger
    from ragscale.modes.core.moves import Context

    return Context(index=index, llm=Odd(), ledger=Ledger(), capabilities=Capabilities())
