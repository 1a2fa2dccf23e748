"""Runs that are kept for reports alone: same figures, no traces, and no texts where they are published."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from madeup import Made, questions, write
from smallworld import MakeAgent

from ragscale.errors import InvalidInput, RagscaleError
from ragscale.measure import Question, Run, Store, asweep, fit
from ragscale.measure.report.phrases import score

WORDS = ("Who was number", "answer 1", "answer of once", "p1-0", "endpoint is gone")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Nine questions with gold passages: a cell that answered, one that a limit cut, and one that failed."""
    cells = [
        Made("once", [1.0, 0.5, 0.0] * 3, 900, budget={"tokens": 4000}, recall=0.5),
        Made("chain", [1.0] * 9, 4000, budget={"tokens": 4000}, recall=1.0, stop="budget:tokens"),
        Made("tree", [0.0] * 9, 4000, budget={"tokens": 4000}, stop="failed"),
    ]
    made = write(tmp_path / "whole" / "run", questions(9, hops=[1, 2], gold=2, of=2), cells)
    drop = {
        "cell": "tree@tokens=4000", "by": "chain@tokens=4000", "rung": 1, "n": 8, "difference": 1.0, "bound": 0.1,
        "cost": 4000.0, "cost_by": 3000.0,
    }  # fmt: skip
    for _ in range(2):
        with contextlib.suppress(KeyboardInterrupt), Store(made.folder).asking():
            raise KeyboardInterrupt
    Store(made.folder).add_look({"questions": 8, "mark": "x", "cells": list(made.cells), "drops": [drop]})
    return Run(made.folder)


def figures(run: Run) -> Any:
    """The report, but for the time and the folder."""
    report = run.report(texts=False)
    return {**report, "made": "", "runs": [{**one, "path": ""} for one in report["runs"]]}


def test_a_run_without_texts_has_the_same_figures_and_none_of_the_words(run: Run, tmp_path: Path) -> None:
    kept = run.keep(tmp_path / "kept" / "run", texts=False)
    assert figures(kept) == figures(run)
    assert sorted(path.name for path in kept.folder.iterdir()) == [
        "broken.json", "config.json", "questions.jsonl", "race.json", "rows",
    ]  # fmt: skip
    text = "".join(path.read_text() for path in kept.folder.rglob("*.json*"))
    assert [word for word in WORDS if word in text] == []
    assert kept.drops == run.drops != []
    assert kept.broken == run.broken == 1
    assert [one["id"] for one in kept.rows().to_pylist()] == [one["id"] for one in run.rows().to_pylist()]
    with pytest.raises(InvalidInput, match=r"kept without traces\. Give the run that it was kept from"):
        kept.trace("once@tokens=4000", "q0001")
    with pytest.raises(InvalidInput, match=r"its rows have no traces; .* not what report --rows kept of it"):
        fit(kept.folder)


def test_rows_as_a_data_frame_are_those_of_the_arrow_table(run: Run) -> None:
    frame, table = run.to_pandas(), run.rows()
    assert list(frame.columns) == table.column_names
    assert frame["f1"].tolist() == table["f1"].to_pylist()
    assert frame.groupby("cell").size().to_dict() == {
        cell: table["cell"].to_pylist().count(cell) for cell in run.cells
    }  # fmt: skip


def test_a_run_is_compared_with_one_whose_texts_are_left_out(run: Run, tmp_path: Path) -> None:
    kept = run.keep(tmp_path / "kept", texts=False)
    for one, other in ((run, kept), (kept, run), (kept, kept)):
        assert len(one.report(other)["changes"]) == 3


def test_a_part_is_kept_and_nothing_is_written_over(run: Run, tmp_path: Path) -> None:
    part = Run(run.folder, ["once@tokens=4000"], ["q0001", "q0003"])
    kept = part.keep(tmp_path / "kept")
    assert (list(kept.cells), list(kept.questions)) == (["once@tokens=4000"], ["q0001", "q0003"])
    assert kept.rows().equals(part.rows())
    assert kept.drops == []
    with pytest.raises(InvalidInput, match=r"kept: not empty\. Give another folder"):
        run.keep(kept.folder)
    (tmp_path / "file").touch()
    with pytest.raises(RagscaleError, match="cannot be written"):
        run.keep(tmp_path / "file")


async def test_a_run_with_texts_is_extended_one_without_is_not(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    run = await asweep(make_agent(), questions[:2], ["once"], tmp_path / "run")
    run.keep(tmp_path / "kept")
    longer = await asweep(make_agent(), questions, ["once", "direct"], tmp_path / "kept")
    assert {(row["cell"], row["id"]) for row in longer.rows().to_pylist()} == {
        (cell, question.id) for cell in ("once", "direct") for question in questions
    }
    before = {row["id"]: row["wall_seconds"] for row in run.rows().to_pylist()}
    after = {row["id"]: row["wall_seconds"] for row in longer.rows().to_pylist() if row["cell"] == "once"}
    assert {id: after[id] for id in before} == before, "not asked again"
    run.keep(tmp_path / "published", texts=False)
    for asked in (questions, questions[:2], questions[2:]):  # known ones, or new ones alone
        with pytest.raises(
            InvalidInput, match="the texts were left out when this run was kept, so it cannot be extended"
        ):
            await asweep(make_agent(), asked, ["once"], tmp_path / "published")
    assert json.loads((tmp_path / "published" / "config.json").read_text()) == json.loads(
        (run.folder / "config.json").read_text()
    )


# The runs of docs/measured/

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "answer.md").read_text("utf-8")


def means(name: str, *by: str) -> dict[Any, dict[str, Any]]:
    """Figures of a kept run as the page writes them, by the values of some columns."""
    found = {}
    for of, rows in Run(ROOT / "docs" / "measured" / name).to_pandas().groupby([*by]):
        share = rows.astype({"full_recall": float})[["em", "f1", "full_recall"]].mean()
        cost = rows[["total_tokens", "serial_tokens", "serial_rounds"]].mean()
        found[of] = {
            "EM": score(share["em"]), "F1": score(share["f1"]), "found": score(share["full_recall"]),
            "tokens": f"{cost['total_tokens']:,.0f}", "serial": f"{cost['serial_tokens']:,.0f}",
            "rounds": f"{cost['serial_rounds']:.1f}", "cut": str(rows["cut_short"].sum()),
        }  # fmt: skip
    return found


def test_the_page_has_the_figures_of_every_mode() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|((?: [^|]+ \|){7})$", PAGE, re.MULTILINE)
    told = {
        (mode,): dict(
            zip(
                ("EM", "F1", "found", "tokens", "serial", "rounds", "cut"),
                cells.replace(" ", "").split("|"),
                strict=False,
            )
        )
        for mode, cells in rows
    }
    assert len(told) == 23
    assert told == means("modes", "mode")


@pytest.mark.parametrize(("name", "rows", "columns"), [("hotpotqa", 9, {4000: 0, 8000: 4}), ("musique", 8, {4000: 0})])
def test_the_page_has_the_figures_of_the_real_questions(name: str, rows: int, columns: dict[int, int]) -> None:
    widths = {"hotpotqa": 8, "musique": 4}
    table = re.findall(rf"^\| `([^`]+)` \|((?: [^|]+ \|){{{widths[name]}}})$", PAGE, re.MULTILINE)
    assert len(table) == rows
    found = means(name, "cell")
    told = set()
    for label, cells in table:
        mode = label.replace("(of=chain)", "").replace("=all", "='all'")
        for tokens, at in columns.items():
            f1, *others = [cell.strip() for cell in cells.split("|")[at : at + 4]]
            if f1 != "-":
                of = found[f"{mode}@tokens={tokens}",]
                assert (f1.partition(" ")[0], *others) == (of["F1"], of["found"], of["tokens"], of["rounds"])
                told.add((f"{mode}@tokens={tokens}",))
    assert told == set(found)


def test_the_page_has_the_figures_of_the_grid() -> None:
    rows = re.findall(
        r"^\| (\d), (\d) \| (\.\d\d) \[[^|]* \| (\.\d\d) \[[^|]* \| (\.\d\d) \[[^|]* \|$", PAGE, re.MULTILINE
    )
    found = means("grid", "hops", "breadth", "mode")
    told = {
        (int(hops), int(breadth), mode): f1
        for hops, breadth, *scores in rows
        for mode, f1 in zip(("once", "chain", "parallel"), scores, strict=True)
    }
    assert told == {cell: of["F1"] for cell, of in found.items()}
    assert len(told) == 27


def test_the_page_has_the_shares_that_its_snippet_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    [snippet] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(snippet, {})
    [same] = re.findall(r"^hotpotqa the answer of chain@tokens=4000: (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert "'chain@tokens=4000': 30" in same
    assert "'vote@tokens=4000': 30" in same, "as the page says"
    rows = Run(ROOT / "docs" / "measured" / "grid").to_pandas().astype({"full_recall": float})
    found = rows.groupby(["mode", "hops"])["full_recall"].mean()
    read = rows.groupby(["mode", "full_recall"])["f1"].agg(["mean", "count"])
    for mode in ("once", "chain", "parallel"):
        shares = " | ".join(score(found[mode, depth]) for depth in (1, 2, 4))
        whole, part = read.loc[mode, 1.0], read.loc[mode, 0.0]
        assert (
            f"| {mode} | {shares} | {score(whole['mean'])} (n = {whole['count']:.0f}) | {score(part['mean'])} |" in PAGE
        )
    cut = rows[(rows["mode"] == "chain") & rows["cut_short"]]
    assert f"it cut {len(cut)} of the 108 chains, one of them at depth 1" in PAGE
    assert (cut["hops"] == 1).sum() == 1
