"""``ragscale report``: the answer in words first, in 80 columns; JSON; a page; two runs."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from madeup import Made, questions, write
from smallworld import build, script, write_questions
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.llm.scripted import ScriptedLLM
from ragscale.view import page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two modes at two budgets with the scripted model."""
    base = tmp_path_factory.mktemp("world")
    words = ["sweep", str(build(base)), str(write_questions(base)), "--mode", "once,chain(steps=1)"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ragscale.agent.load", lambda spec: ScriptedLLM(script) if isinstance(spec, str) else spec)
        result = CliRunner().invoke(app, [*words, "--tokens", "1k,4k", "--out", f"{base}/run"])
    assert result.exit_code == 0, result.output
    return base / "run"


def invoke(*words: str | Path, columns: int = 80) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, words)], env={"COLUMNS": str(columns), "TERM": "dumb"})


def test_cells_of_one_mode_have_different_names_in_a_group(tmp_path: Path) -> None:
    """Most cells have a limit of seconds; those without one are of about equal cost."""
    cells = [
        Made(mode, scores, budget={name: limit})
        for mode, name, limit, scores in (
            ("once", "seconds", 5, [0.0] * 12), ("once", "seconds", 9, [0.0] * 12),
            ("chain", "rounds", 2, [1.0, 0.0] * 6), ("chain", "serial_tokens", 1500, [1.0, 0.0, 0.0] * 4),
        )
    ]  # fmt: skip
    write(tmp_path / "run", questions(12, hops=[1, 2]), cells)
    result = invoke(tmp_path / "run", columns=120)
    head = next(line for line in result.stdout.splitlines() if line.startswith("hops "))
    assert head.split()[2:] == ["chain@rounds=2", "chain@serial_tokens=1500"]


def test_fits_and_the_front_are_in_the_terminal(tmp_path: Path) -> None:
    """F1 is .1 * log(x) - .6 by tokens, the same of every question; `once` costs more and has less."""
    cells = [
        Made("chain", [0.1 * math.log(tokens) - 0.6] * 20, tokens, tokens // 2, budget={"tokens": tokens})
        for tokens in (1000, 2000, 4000, 8000)
    ]
    cells += [Made("once", [0.01] * 20, 1500, budget={"tokens": 2000})]
    write(tmp_path / "run", questions(20), cells)
    lines = invoke(tmp_path / "run", "--level", "0.999", columns=120).stdout.splitlines()
    [total, serial] = [line for line in lines if line.startswith("Fit of F1 to x ")]
    assert total == "Fit of F1 to x tokens: chain 0.1 [0.1, 0.1] · log(x + 0) - 0.6."
    # log(2 s) = log(s) + .69
    assert serial == "Fit of F1 to x tokens one after another: chain 0.1 [0.1, 0.1] · log(x + 0) - 0.53."
    ends = [line.split()[-1] for line in lines if re.match("(chain|once)@tokens=[0-9]+ +[0-9]?[.][0-9]+ .* 20 ", line)]
    assert ends[:5] == ["100%*", "100%*", "100%*", "100%*", "0%"]
    assert "F1 with 99.9 % intervals" in lines[0]


def test_the_answer_comes_first_and_all_fits_80_columns(run: Path) -> None:
    result = invoke(run)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if line.startswith("cell ")] == [
        ["cell", "F1", "tokens", "serial", "rounds", "s", "front"],
        ["cell", "ended", "failed", "cut", "over", "per", "answer", "charged", "paid"],
    ]
    told = " ".join(result.stdout.split())
    assert told.startswith(
        "run: 3 questions, 4 cells, F1 with 95 % intervals With 1,000 tokens 3 questions cannot tell"
    )
    order = [
        "cannot tell which mode", "once@tokens=4000", "At equal total cost",
        "Does it depend on the problem?", "Ends and costs", "What this cannot say",
    ]  # fmt: skip
    assert sorted(order, key=told.index) == order
    assert "`" not in told


def test_a_terminal_of_60_columns_has_whole_names_and_what_matters_most(run: Path) -> None:
    lines = invoke(run, columns=60).stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert [line.split() for line in lines if line.startswith("cell ")] == [
        ["cell", "F1", "tokens", "front"],
        ["cell", "failed", "cut", "charged", "paid"],
    ]
    assert sum(line.startswith("chain(steps=1)@tokens=4000 ") for line in lines) == 2


def test_json_is_what_the_page_shows(run: Path, tmp_path: Path) -> None:
    result = invoke(run, "--json", "--html", tmp_path / "report.html", "--margin", "0.1", "--tuned-on-these")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert result.stderr.strip() == str(tmp_path / "report.html")
    assert [cell["key"] for cell in report["cells"]] == [
        f"{mode}@tokens={tokens}" for mode in ("once", "chain(steps=1)") for tokens in (1000, 4000)
    ]
    assert report["equal"][0]["margin"] == 0.1
    assert any("were tuned on these questions" in limit for limit in report["limits"])
    html = (tmp_path / "report.html").read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert html.count('"0:0":') == html.count('"3:2":') == 1, "the trace of every cell and question is in it"


def test_a_page_without_texts_has_no_texts_and_no_traces(run: Path, tmp_path: Path) -> None:
    result = invoke(run, "--html", tmp_path / "report.html", "--without-texts")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].endswith("report.html")
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "(text left out)" in html
    for secret in ("discoverer of polonium", "Seine", "Warsaw"):
        assert secret not in html
    assert '"runs":{}' in html


def test_rows_are_kept_without_texts_and_print_the_same_tables(run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "run"
    result = invoke(run, "--rows", kept, "--without-texts")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].replace("\n", "").endswith("run")
    assert invoke(kept).stdout == invoke(run).stdout
    whole = "".join(path.read_text("utf-8") for path in kept.rglob("*.json*"))
    for secret in ("discoverer of polonium", "Seine", "Warsaw", "polonium"):
        assert secret not in whole
    assert sorted(path.suffix for path in kept.rglob("*") if path.is_file()) == [".json", *[".jsonl"] * 5]
    again = invoke(run, "--rows", kept)
    assert (again.exit_code, "not empty" in again.stderr) == (1, True)
    both = invoke(run, run, "--rows", tmp_path / "both")
    assert "--rows and two runs" in both.stderr


def test_a_reader_that_stops_early_does_not_cost_the_files(run: Path, tmp_path: Path) -> None:
    files = [tmp_path / "page.html", tmp_path / "rows" / "config.json"]
    words = [
        sys.executable,
        "-m",
        "ragscale",
        "report",
        str(run),
        "--html",
        str(files[0]),
        "--rows",
        str(files[1].parent),
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        process.stdout.close()  # as `| head` does
        process.wait(60)
    assert all(file.exists() for file in files)


def test_two_runs(run: Path) -> None:
    result = invoke(run, run)
    assert result.exit_code == 0, result.output
    told = " ".join(result.stdout.split())
    assert re.search(
        r"run \(2\) against run \(1\), on 3 questions of both: none of 4 cells is shown to be better or worse; 4 the "
        r"same\. Verdicts are corrected for 4 comparisons, intervals are not\. The same: all 4 cells have the same "
        r"answers on all 3 questions: at most 63 % of further questions like these would get different ones "
        r"\(95 % certain\)",
        told,
    )


def test_open_shows_the_page(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(page, "show", shown.append)
    assert invoke(run, "--open").exit_code == 0
    assert [text[:15] for text in shown] == ["<!doctype html>"]


def test_what_is_no_run(tmp_path: Path) -> None:
    result = invoke(tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no run (no config.json)" in result.stderr


def test_two_runs_have_a_table_of_what_changed(tmp_path: Path) -> None:
    asked = questions(40)
    budget = {"tokens": 4000}
    half = [0.0, 1.0] * 20
    before = [Made("once", half, budget=budget), Made("chain(steps=2)", [0.0] * 40, 2000, budget=budget)]
    after = [Made("once", half, budget=budget), Made("chain(steps=2)", [1.0] * 40, 3000, budget=budget)]
    folders = [write(tmp_path / name, asked, cells).folder for name, cells in (("a", before), ("b", after))]
    result = invoke(*folders)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    at = lines.index("What changed between the runs")
    table = [line.split() for line in lines[at + 1 : at + 5]]
    assert table[0] == ["cell", "before", "after", "difference", "verdict", "(needed)", "tokens"]
    assert table[2][:3] == ["once", ".50", ".50"]
    assert [*table[3][:4], *table[3][5:]] == ["chain(steps=2)", ".00", "1.00", "1.00", "1.00]", "better", "+1,000"]
