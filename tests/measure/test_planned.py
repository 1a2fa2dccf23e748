"""The plan of a sweep: by the modes' own shapes or by rows already run; what nobody knows is not invented."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from doubles import PRICE, scripted
from typer import Abort

from ragscale.budget import Budget, Ledger
from ragscale.cli.common import consent
from ragscale.errors import InvalidInput, ModelError
from ragscale.llm.prices import Price
from ragscale.measure import Cell, means, plan, total
from ragscale.measure.plan import speed
from ragscale.measure.run import _schema
from ragscale.modes import Chain, Once, Vote
from ragscale.modes.core import Costs, Room

ONCE, CHAIN = Cell(Once(), Budget(tokens=4_000)), Cell(Chain(), Budget(tokens=4_000))
RAN = {
    ONCE.key: {"llm_calls": 1.0, "prompt_tokens": 900.0, "completion_tokens": 100.0, "seconds": 4.0, "usd": 0.0002}
}  # fmt: skip


def test_without_rows_it_is_the_modes_own_shape() -> None:
    for cell, planned in zip([ONCE, CHAIN], plan([ONCE, CHAIN], 30, price=PRICE), strict=True):
        course = cell.mode.forecast(Costs(), Room.of(Ledger(cell.budget)))
        assert (planned.cell, planned.basis, planned.shape) == (cell.key, "shape", course.shape)
        assert (planned.each.llm_calls, planned.each.tokens) == (course.spend.llm_calls, course.spend.tokens)
        assert planned.each.usd == pytest.approx(course.spend.tokens * PRICE.mean(900, 100))
        assert planned.all.usd == pytest.approx(30 * (planned.each.usd or 0))
        assert planned.all.tokens == 30 * course.spend.tokens


def test_a_limit_in_dollars_shapes_a_mode() -> None:
    usd = round(8_000 * PRICE.mean(900, 100), 9)
    [dear, cheap] = plan([Cell(Vote(), Budget(usd=usd)), Cell(Vote(), Budget(tokens=8_000))], 1, price=PRICE)
    assert dear.shape == cheap.shape
    assert dear.each.usd is not None
    assert dear.each.usd <= usd
    with pytest.raises(InvalidInput, match="unknown or by the hour"):
        plan([Cell(Vote(), Budget(usd=usd))], 1, price=Price(hour=1))


def test_what_nobody_knows_is_unknown_and_so_is_every_sum_with_it() -> None:
    found = plan([ONCE, CHAIN], 30)
    assert [(cell.each.seconds, cell.each.usd, cell.all.usd) for cell in found] == [(None, None, None)] * 2
    assert (total(found).seconds, total(found).usd) == (None, None)
    mixed = plan([ONCE, CHAIN], 10, means={ONCE.key: {**RAN[ONCE.key], "seconds": None}})
    assert [cell.all.usd for cell in mixed] == [0.002, None]
    assert total(mixed).usd is None


def test_rows_that_were_run_tell_a_cells_cost_and_the_others_speed() -> None:
    once, chain = plan([ONCE, CHAIN], {ONCE.key: 10, CHAIN.key: 20}, price=PRICE, means=RAN, concurrency=4)
    assert (once.basis, chain.basis) == ("rows", "shape")
    assert (once.each.tokens, once.each.seconds, once.each.usd) == (1_000, 4.0, 0.0002)
    assert once.all.seconds == 10.0  # four at once
    assert chain.each.seconds == pytest.approx(chain.each.tokens / 250)
    both = total([once, chain])
    assert both.tokens == 10_000 + 20 * chain.each.tokens
    assert both.seconds == pytest.approx(10 + 5 * (chain.each.seconds or 0))


def test_a_speed_that_is_given_counts_for_what_was_run_too() -> None:
    once, chain = plan([ONCE, CHAIN], 1, means=RAN, speed=10.0)
    assert (once.basis, once.each.seconds, chain.each.seconds) == ("rows", 100.0, chain.each.tokens / 10)


def test_calls_that_a_store_had_tell_no_speed() -> None:
    """They took no time: by all tokens, the others would go at millions a second."""
    [chain] = plan([CHAIN], 1, means={ONCE.key: {**RAN[ONCE.key], "paid_tokens": 200.0}})
    assert chain.each.seconds == pytest.approx(chain.each.tokens / 50)
    [chain] = plan([CHAIN], 1, means={ONCE.key: {**RAN[ONCE.key], "paid_tokens": 0.0}})
    assert chain.each.seconds is None


@pytest.mark.parametrize("known", [{}, {f"other{n}": {**RAN[ONCE.key], "prompt_tokens": 9e4} for n in range(9)}])
def test_a_price_with_tiers_is_that_of_a_call(known: Any) -> None:
    """Not that of all cells together, whose prompts are longer than any one."""
    tiers = replace(PRICE, beyond=90_000, longer=Price(input=100, output=100))
    [flat], [tiered] = (plan([CHAIN], 1, price=price, means=known) for price in (PRICE, tiers))
    assert tiered.each.usd == flat.each.usd
    [long] = plan([CHAIN], 1, price=replace(tiers, beyond=100), means=known)
    assert long.each.usd == pytest.approx(long.each.tokens * 1e-4)


def test_an_hourly_price_needs_the_speed() -> None:
    [unknown] = plan([ONCE], 1, price=Price(hour=3.6))
    [known] = plan([ONCE], 100, price=Price(hour=3.6), speed=100.0)
    assert unknown.each.usd is None
    assert known.each.usd == pytest.approx(known.each.tokens / 100 / 1000)
    [short] = plan([Cell(Once(), Budget(seconds=2))], 1, speed=1.0)
    assert short.each.seconds == 2


def test_means_are_those_of_questions_that_did_not_fail() -> None:
    rows = [
        line("a", 1_000, 2.0, 0.5),
        line("a", 3_000, 4.0, 1.5),
        line("a", 9_000, 9.0, 9.0, failed=True),
        line("b", 10, 1.0, 0.1),
        line("b", 30, 1.0, None),
    ]
    found = means(pa.Table.from_pylist(rows, schema=_schema()))
    same = {
        "llm_calls": 2.0, "completion_tokens": 7.0, "paid_tokens": 5.0, "queries": 3.0, "rounds": 1.0,
        "serial_tokens": 9.0, "serial_calls": 2.0,
    }  # fmt: skip
    assert found == {
        "a": {**same, "prompt_tokens": 2_000.0, "seconds": 3.0, "usd": 1.0},
        "b": {**same, "prompt_tokens": 20.0, "seconds": 1.0, "usd": None},
    }
    assert means(pa.Table.from_pylist([], schema=_schema())) == {}


def line(cell: str, prompt: int, seconds: float, usd: float | None, *, failed: bool = False) -> dict[str, Any]:
    return {
        "cell": cell, "failed": failed, "wall_seconds": seconds, "total_llm_calls": 2, "total_prompt_tokens": prompt,
        "total_completion_tokens": 7, "total_usd": usd, "paid_tokens": 5, "total_queries": 3, "serial_rounds": 1,
        "serial_tokens": 9, "serial_llm_calls": 2,
    }  # fmt: skip


async def test_the_speed_of_a_model_is_that_of_a_second_call() -> None:
    llm = scripted(lambda messages, call: "fifty words", delay=0.05)
    measured = await speed(llm)
    assert len(llm.calls) == 2
    assert 0 < measured < 400 / 0.05
    assert llm.calls[0].messages != llm.calls[1].messages
    with pytest.raises(ModelError, match="gone"):
        await speed(scripted(lambda messages, call: ModelError("gone")))


class TestConsent:
    @pytest.mark.parametrize(
        ("usd", "most", "yes"), [(9.0, None, False), (None, None, False), (1.0, 1.0, False), (9.0, 1.0, True)]
    )
    def test_is_not_asked_for_below_the_most_or_where_it_is_given(self, usd: Any, most: Any, yes: bool) -> None:
        consent(usd, most, yes=yes)

    @pytest.mark.parametrize(("usd", "told"), [(1.5, r"\$1.50 are planned"), (None, "unknown dollars are planned")])
    def test_nobody_can_be_asked_without_a_terminal(self, usd: float | None, told: str) -> None:
        with pytest.raises(InvalidInput, match=f"{told}, --max-cost is .1.00") as refused:
            consent(usd, 1.0, yes=False)
        assert "--yes" in refused.value.remedy

    @pytest.mark.parametrize("most", [float("nan"), -1.0, float("-inf")])
    def test_an_amount_that_is_none_is_refused(self, most: float) -> None:
        with pytest.raises(InvalidInput, match=rf"--max-cost {most} is no number of dollars"):
            consent(1.0, most, yes=True)

    @pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("n\n", False), ("", False)])
    def test_is_asked_for_at_a_terminal(self, answer: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        if goes_on:
            consent(2.0, 1.0, yes=False)
        else:
            with pytest.raises(Abort):
                consent(2.0, 1.0, yes=False)


class Terminal(io.StringIO):
    """Standard input of somebody who types."""

    def isatty(self) -> bool:
        return True
