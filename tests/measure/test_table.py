"""Means, standard errors and the JSON form, against values worked out by hand."""

from __future__ import annotations

import pytest
from rich.console import Console

from ragscale.answer import AnswerSpend
from ragscale.measure.store import Row
from ragscale.measure.table import in_full, summarise, table, to_json
from ragscale.types import Spend


def row(
    em: float, f1: float, recall: float | None, total: Spend, serial: Spend, stop: str = "answered", gold: int = 0
) -> Row:
    return Row(
        gold_passages=gold,
        id="q", answer="", em=em, f1=f1, gold_recall=recall, stop_reason=stop, reason="",
        spend=AnswerSpend(total, serial), paid=total, wall_seconds=0.0, code="x", settings="y", trace=None,
    )  # fmt: skip


ROWS = [
    row(1.0, 1.0, 0.5, Spend(4, 1000, 100, 10, 6, 30, 5, 9.0), Spend(2, 500, 60, 5, 3, 15, 2, 4.0)),
    row(0.0, 0.5, None, Spend(2, 400, 20, 0, 2, 10, 1, 3.0), Spend(2, 400, 20, 0, 2, 10, 1, 3.0), "budget:tokens"),
    row(0.0, 0.0, 1.0, Spend(), Spend(), "failed"),
]


def test_means_are_of_the_right_dimension() -> None:
    report = summarise(ROWS)
    assert (report.n, report.em, report.f1, report.gold_recall) == (3, pytest.approx(1 / 3), 0.5, 0.75)
    assert (report.tokens, report.serial_tokens) == (pytest.approx(1520 / 3), pytest.approx(980 / 3))
    assert (report.rounds, report.seconds) == (pytest.approx(1.0), pytest.approx(7 / 3))  # of the critical path
    assert (report.queries, report.llm_calls) == (pytest.approx(8 / 3), pytest.approx(2.0))  # of all branches
    assert (report.failed, report.cut_short, report.versions) == (1, 1, 1)
    # sample variance of (1, .5, 0) is 1/4: standard error sqrt(1/4 / 3)
    assert report.f1_se == pytest.approx(0.288675, abs=1e-6)


def test_json_has_the_documented_keys() -> None:
    data = to_json({"chain": summarise(ROWS), "once": summarise(ROWS[:1])})
    assert list(data) == ["cells"]
    assert list(data["cells"]) == ["chain", "once"]
    documented = [
        "n",
        "em",
        "f1",
        "gold_recall",
        "tokens",
        "serial_tokens",
        "rounds",
        "queries",
        "llm_calls",
        "usd",
        "seconds",
    ]
    assert list(data["cells"]["chain"])[: len(documented)] == documented
    assert data["cells"]["once"]["em_se"] is None


def test_recall_in_full_is_told_by_the_number_of_gold_passages() -> None:
    recalls = [(1.0, 2), (0.5, 2), (0.5, 2), (1.0, 1), (None, 0)]
    report = summarise([row(1.0, 1.0, recall, Spend(), Spend(), gold=gold) for recall, gold in recalls])
    assert report.full_recall == {1: (1, 1), 2: (1, 3)}
    assert report.gold_recall == 0.75  # of which nobody sees that two of three chains were broken
    console = Console(width=80)
    with console.capture() as shown:
        console.print(in_full({"chain": report, "direct": summarise(ROWS[:1])}))
    lines = shown.get().splitlines()
    assert lines[0].startswith("All gold passages retrieved, in %")
    assert "1 (n=1)  2 (n=3)" in lines[1]
    assert [line.split() for line in lines if line.startswith(("chain", "direct"))] == [
        ["chain", "100", "33"],
        ["direct", "-", "-"],
    ]
    assert in_full({"direct": summarise(ROWS[:1])}) is None


def test_the_table_counts_what_was_cut_and_failed_and_copes_without_gold() -> None:
    reports = {"chain": summarise(ROWS), "tree(expand=2)": summarise([row(1, 1, None, Spend(), Spend())] * 3)}
    for width, chain, tree in (
        (100, "33.3 ±33 50.0 ±29 75.0 507 327 1.0 2.7 2.0 2.3 1 1", "100.0 100.0 - 0 0 0.0 0.0 0.0 0.0 0 0"),
        (80, "33.3 ±33 50.0 ±29 75.0 507 327 1.0 1 1", "100.0 100.0 - 0 0 0.0 0 0"),
        (60, "33.3 ±33 50.0 ±29 507 1 1", "100.0 100.0 0 0 0"),
    ):
        shown = Console(width=width)
        with shown.capture() as text:
            shown.print(table(reports))
        lines = [" ".join(line.split()) for line in text.get().splitlines()]
        assert f"chain {chain}" in lines
        assert f"tree(expand=2) {tree}" in lines
    assert lines[-1] == "No room for: gold, serial, rounds, queries, calls, s."


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ([1.0], "100.0"), ([1.0] * 2, "100.0"), ([0.0] * 30, "0.0"), ([0.1] * 3, "10.0"), ([0.0, 1.0], "50.0 ±50"),
        ([1.0, 0.0] * 5_000, "50.0 ±1"), ([1.0, 0.0] * 10_000, "50.0 ±<1"),
    ],
)  # fmt: skip
def test_no_score_has_an_error_of_zero(scores: list[float], told: str) -> None:
    shown = Console(width=120)
    with shown.capture() as text:
        shown.print(table({"once": summarise([row(one, one, None, Spend(), Spend()) for one in scores])}))
    [line] = [line for line in text.get().splitlines() if line.startswith("once")]
    assert " ".join(line.split()).startswith(f"once {told} {told} - ")


def test_the_table_tells_how_many_questions_where_cells_differ() -> None:
    shown = Console(width=120)
    with shown.capture() as text:
        shown.print(table({"chain": summarise(ROWS), "once": summarise(ROWS[:2])}))
    lines = [line.split() for line in text.get().splitlines()]
    assert [line[:2] for line in lines if line[0] in ("cell", "chain", "once")] == [
        ["cell", "n"], ["chain", "3"], ["once", "2"]
    ]  # fmt: skip
