"""Dollars of a report, from a sweep with prices to terminal, JSON and page: known, unknown (never 0), and mixed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from smallworld import build, script, write_questions
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.llm.scripted import ScriptedLLM
from ragscale.measure import Run

INPUT, OUTPUT = 150.0, 600.0
NONE = "\u2013"
"""The dash of the page."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweeps of two modes at two budgets, one with a price and one without."""
    base = tmp_path_factory.mktemp("dollars")
    prices = base / "prices.toml"
    prices.write_text(f"[scripted]\ninput = {INPUT}\noutput = {OUTPUT}\n")
    words = [
        "sweep",
        str(build(base)),
        str(write_questions(base)),
        "--mode",
        "once,chain(steps=1)",
        "--tokens",
        "1k,4k",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ragscale.agent.load", lambda spec: ScriptedLLM(script) if isinstance(spec, str) else spec)
        for name, more in (("priced", ["--prices", str(prices)]), ("unpriced", [])):
            result = CliRunner().invoke(app, [*words, *more, "--out", f"{base}/{name}"])
            assert result.exit_code == 0, result.output
    return base


def report(*words: str | Path) -> str:
    environment = {"COLUMNS": "130", "TERM": "dumb"}
    result = CliRunner().invoke(app, ["report", *map(str, words)], env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def lines(text: str, start: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.startswith(start)]


def rewritten(source: Path, out: Path, cell: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a run in which the first row of a cell is another one."""
    shutil.copytree(source, out)
    path = out / "rows" / f"{cell}.jsonl"
    first, *rest = path.read_text().splitlines()
    row = json.loads(first)
    change(row)
    path.write_text("\n".join([json.dumps(row), *rest]) + "\n")
    return out


def forget_dollars(row: dict[str, Any]) -> None:
    for spend in (*row["spend"].values(), row["paid"]):
        spend["usd"] = None


def fail_at_once(row: dict[str, Any]) -> None:
    """The question failed before any call: it cost nothing, whatever the price."""
    row.update(stop_reason="failed", f1=0.0, em=0.0, spend={"total": {"usd": 0.0}, "serial": {"usd": 0.0}})
    row["paid"] = {"usd": 0.0}


def test_known_prices(runs: Path) -> None:
    rows = Run(runs / "priced").rows().to_pylist()
    for row in rows:
        usd = (INPUT * row["total_prompt_tokens"] + OUTPUT * row["total_completion_tokens"]) / 1e6
        assert row["total_usd"] == pytest.approx(usd, abs=1e-12)
    found = json.loads(report(runs / "priced", "--json"))
    for cell, end in zip(found["cells"], found["stopped"], strict=True):
        mine = [row for row in rows if row["cell"] == cell["key"]]
        charged, paid = (sum(row[f"{kind}_usd"] for row in mine) for kind in ("total", "paid"))
        assert cell["cost"]["usd"]["value"] == pytest.approx(charged / 3)
        assert (end["charged"]["usd"], end["paid"]["usd"]) == (pytest.approx(charged), pytest.approx(paid))
        assert end["answered_usd"] == pytest.approx(charged / 3)
        assert (paid == 0) == cell["key"].endswith("@tokens=4000"), "its calls were made for the smaller budget"
    assert found["runs"][0]["charged"]["usd"] == pytest.approx(sum(row["total_usd"] for row in rows))
    assert [chart["axis"] for chart in found["charts"]][-1] == "usd"
    told = report(runs / "priced")
    head, cells, ends = lines(told, "cell ")[0], *lines(told, "once@tokens=1000 ")
    assert head[-2:] == ["$", "front"]
    assert cells[-2] == "$0.017"
    assert (ends[-4], ends[-1]) == ("$0.017", "$0.051")
    settings = {pair["name"]: pair["value"] for pair in found["runs"][0]["settings"]}
    assert settings["price"] == "input $150.00, output $600.00 a million tokens"
    assert "price input $150.00, output $600.00" in " ".join(told.split())


def test_unknown_prices_are_nowhere_0(runs: Path, tmp_path: Path) -> None:
    for folder in (runs / "unpriced", rewritten(runs / "unpriced", tmp_path / "run", "once@tokens=1000", fail_at_once)):
        found = json.loads(report(folder, "--json"))
        assert all("usd" not in cell["cost"] and "usd" not in cell["runs"] for cell in found["cells"])
        assert all((end["charged"]["usd"], end["answered_usd"]) == (None, None) for end in found["stopped"])
        assert (found["runs"][0]["charged"]["usd"], found["runs"][0]["paid"]["usd"]) == (None, None)
        assert "No price is known, so nothing is said about dollars." in found["limits"]
        assert "usd" not in [chart["axis"] for chart in found["charts"]]
        assert "$" not in report(folder)


def test_cells_without_a_call_make_no_price_known(runs: Path, tmp_path: Path) -> None:
    def no_call(row: dict[str, Any]) -> None:
        for spend in (row["spend"]["total"], row["spend"]["serial"], row["paid"]):
            spend.clear()
            spend["usd"] = 0.0

    folder = rewritten(runs / "unpriced", tmp_path / "run", "once@tokens=1000", no_call)
    found = json.loads(report(folder, "--json"))
    assert "No price is known, so nothing is said about dollars." in found["limits"]
    assert "usd" not in [chart["axis"] for chart in found["charts"]]
    assert "$" not in report(folder)


def test_a_cell_whose_price_is_known_in_part_has_none(runs: Path, tmp_path: Path) -> None:
    folder = rewritten(runs / "priced", tmp_path / "run", "once@tokens=1000", forget_dollars)
    found = json.loads(report(folder, "--json"))
    known = {cell["key"]: "usd" in cell["cost"] for cell in found["cells"]}
    assert known == {key: key != "once@tokens=1000" for key in known}
    assert found["stopped"][0]["charged"]["usd"] is None
    assert found["stopped"][1]["charged"]["usd"] > 0
    assert found["runs"][0]["charged"]["usd"] is None
    chart = next(chart for chart in found["charts"] if chart["axis"] == "usd")
    assert "Not on the front for lack of questions, answers or prices: `once@tokens=1000`." in chart["note"]
    cells, ends = lines(report(folder), "once@tokens=1000 ")
    assert (cells[-2], ends[-4], ends[-1]) == ("-", "-", "-")


def test_two_runs_of_which_one_has_a_price(runs: Path) -> None:
    found = json.loads(report(runs / "unpriced", runs / "priced", "--json"))
    assert [("usd" in cell["cost"]) for cell in found["cells"]] == [False] * 4 + [True] * 4
    assert [run["charged"]["usd"] is None for run in found["runs"]] == [True, False]
    assert [("usd" in change["cost"]) for change in found["changes"]] == [False] * 4
    assert any(limit.startswith("The runs differ in price") for limit in found["limits"])
    cells, _ = lines(report(runs / "unpriced", runs / "priced"), "unpriced: once@tokens=1000 ")
    assert cells[-2] == "-"


def test_the_page_shows_dollars_where_they_are_known(browser: Browser, runs: Path, tmp_path: Path) -> None:
    pages = {
        "known": [runs / "priced"],
        "unknown": [runs / "unpriced"],
        "mixed": [rewritten(runs / "priced", tmp_path / "run", "once@tokens=1000", forget_dollars)],
        "both": [runs / "unpriced", runs / "priced"],
    }
    ends: dict[str, list[str]] = {}
    for name, folders in pages.items():
        report(*folders, "--html", tmp_path / f"{name}.html")
        browser.open((tmp_path / f"{name}.html").read_text("utf-8"))
        ends[name] = browser.texts("#ends td.amounts")
        buttons = browser.texts("#cost button")
        assert ("dollars" in buttons) == (name != "unknown")
        # no table is cut off by the edge of the page
        assert browser.run(
            "return [...document.querySelectorAll('#ends .scroll')].every((e) => e.scrollWidth <= e.clientWidth)"
        )
        if name == "known":
            browser.run("[...document.querySelectorAll('button')].find((b) => b.innerText === 'dollars').click()")
            assert "dollars a question" in browser.text()
            assert "$0.02" in browser.text()
    assert ends["known"][0].endswith(" tokens, $0.017")
    assert ends["known"][2].endswith(", $0.051")
    assert not any("$" in text for text in ends["unknown"])
    assert [text.rpartition(", ")[2] for text in ends["mixed"][:6]] == [*[NONE] * 3, "$0.017", "$0.051", "$0.00"]
    assert all(text.endswith(f", {NONE}") for text in ends["both"][:12])
    assert "the same answers" in browser.text(), "the runs that are compared differ in nothing but the price"
