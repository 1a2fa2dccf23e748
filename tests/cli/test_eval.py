"""``ragscale eval``: JSON alone on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from smallworld import script
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.errors import ModelError
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import built_in

KEYS = {"n", "em", "f1", "gold_recall", "tokens", "serial_tokens", "rounds", "queries", "llm_calls", "seconds"}


@pytest.mark.usefixtures("model")
def test_json_holds_every_mode_and_the_documented_keys(world: tuple[str, str], tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["eval", *world, "--mode", "once,chain(steps=2),parallel(max_queries=1),tree", "--out", f"{tmp_path}/run",
              "--tokens", "4000", "--rounds", "3", "--json"],
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    modes = json.loads(result.stdout)["cells"]
    modes = {cell.partition("@rounds=3,tokens=4000")[0]: means for cell, means in modes.items()}
    assert list(modes) == ["once", "chain(steps=2)", "parallel(max_queries=1)", "tree"]
    for mode in modes.values():
        assert set(mode) >= KEYS
        assert all(isinstance(mode[key], int | float) for key in KEYS)
        assert mode["n"] == 3
        assert mode["rounds"] <= 3
        assert mode["tokens"] <= 4000
        assert mode["serial_tokens"] <= mode["tokens"]
    # The question itself, and what the model planned: a round each; the children of a level of the tree share one.
    asked = {name: (mode["queries"], mode["rounds"]) for name, mode in modes.items()}
    assert asked == {"once": (1, 1), "chain(steps=2)": (3, 3), "parallel(max_queries=1)": (3, 3), "tree": (6, 3)}
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [cell["budget"] for cell in config["cells"].values()] == [{"rounds": 3, "tokens": 4000}] * 4


@pytest.mark.usefixtures("model")
def test_questions_of_a_csv_file_with_columns_of_its_own(world: tuple[str, str], tmp_path: Path) -> None:
    questions = tmp_path / "mine.csv"
    questions.write_text('text,gold,docs\nWhere was the discoverer of polonium born?,"Warsaw, Poland",Polonium\n')
    words = ["eval", world[0], str(questions), "--mode", "once", "--out", f"{tmp_path}/run"]
    columns = ["--columns", "question=text,answers=gold,supporting=docs"]
    shown = CliRunner().invoke(app, [*words, *columns], env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.stderr
    assert "All gold passages retrieved" in shown.stdout
    result = CliRunner().invoke(app, [*words, *columns, "--json"])
    assert json.loads(result.stdout)["cells"]["once"]["full_recall"] == {"1": [1, 1]}
    assert json.loads(result.stdout)["cells"]["once"]["em"] == 1.0
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    assert "mine.csv, line 2: no column 'question'; there are 'text', 'gold', 'docs'" in " ".join(
        refused.stderr.split()
    )


def _loaded(spec: Any, model: ScriptedLLM, specs: list[str]) -> Any:
    """`load`, with a model that every specification means; a model object is itself."""
    if not isinstance(spec, str):
        return spec
    specs.append(spec)
    return model


def test_the_model_and_the_seed_that_are_given_reach_the_run(
    world: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs: list[str] = []
    drawn: list[set[int | None]] = []
    monkeypatch.delenv("RAGSCALE_LLM", raising=False)
    for number, options in enumerate([[], ["--llm", "openai:http://localhost:8000/v1#org/model", "--seed", "7"]]):
        model = ScriptedLLM(script)
        monkeypatch.setattr("ragscale.agent.load", lambda spec, model=model: _loaded(spec, model, specs))
        out = tmp_path / f"run{number}"
        result = CliRunner().invoke(app, ["eval", *world, "--mode", "once", "--out", str(out), "--json", *options])
        assert result.exit_code == 0, result.stderr
        [cell] = json.loads((out / "config.json").read_text())["cells"].values()
        assert cell["seed"] == (7 if options else 0)
        drawn.append({call.seed for call in model.calls})
    assert specs == ["embedded", "openai:http://localhost:8000/v1#org/model"]
    assert [len(seeds) for seeds in drawn] == [3, 3]  # a seed a question, derived from the run's
    assert drawn[0].isdisjoint(drawn[1])


@pytest.mark.usefixtures("model")
def test_without_modes_all_of_ragscale_are_measured(world: tuple[str, str], tmp_path: Path) -> None:
    words = ["eval", *world, "--limit", "1", "--tokens", "3000", "--out", f"{tmp_path}/run", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert list(json.loads(result.stdout)["cells"]) == [f"{name}@tokens=3000" for name in built_in()]


@pytest.mark.usefixtures("model")
def test_the_table_and_the_limit(world: tuple[str, str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["eval", *world, "--mode", "once", "--limit", "2", "--out", f"{tmp_path}/run"])
    assert result.exit_code == 0, result.stderr
    assert "standard error" in result.stdout
    assert "standard error" not in result.stderr
    assert len((tmp_path / "run" / "rows" / "once.jsonl").read_text().splitlines()) == 2


def test_a_second_call_resumes_and_another_budget_or_seed_is_added(
    world: tuple[str, str], tmp_path: Path, model: ScriptedLLM
) -> None:
    command = ["eval", *world, "--mode", "once", "--out", f"{tmp_path}/run", "--json"]
    first = CliRunner().invoke(app, command)
    for more in [], ["--tokens", "999"], ["--seed", "1"], ["--tokens", "999"], []:
        again = CliRunner().invoke(app, [*command, *more])
        assert (again.exit_code, len(model.calls)) == (0, 3), "greedy calls are the same"
    assert again.stdout == first.stdout
    assert sorted(path.name for path in (tmp_path / "run" / "rows").glob("*.jsonl")) == [
        "once.jsonl", "once@seed=1.jsonl", "once@tokens=999.jsonl",
    ]  # fmt: skip


def test_another_kind_of_search_is_refused(world: tuple[str, str], tmp_path: Path, model: ScriptedLLM) -> None:
    command = ["eval", *world, "--mode", "once", "--out", f"{tmp_path}/run", "--json"]
    assert CliRunner().invoke(app, command).exit_code == 0
    text = (tmp_path / "run" / "config.json").read_text()
    (tmp_path / "run" / "config.json").write_text(text.replace('"how": "bm25"', '"how": "dense"'))
    refused = CliRunner().invoke(app, command)
    assert (refused.exit_code, refused.stdout, len(model.calls)) == (1, "", 3)
    assert "how 'dense', not 'bm25'" in refused.stderr
    assert "Give another --out" in refused.stderr


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("chian", "Did you mean 'chain'?"),
        ("CHAIN", "Did you mean 'chain'?"),
        ("Best_of_N", "Did you mean 'best-of-n'?"),
        ("once,,tree", "cannot be read from character 6 on"),
        ("chain(step=2)", "Did you mean 'steps'?"),
        ("chain(steps=two)", "chain: steps='two' does not fit. Accepted: int."),
        ("chain(steps=0)", "chain: steps=0 is below 1"),
        ("once,once", "'once' is given twice"),
    ],
)
def test_a_bad_mode_says_what_would_do(world: tuple[str, str], tmp_path: Path, mode: str, message: str) -> None:
    result = CliRunner().invoke(app, ["eval", *world, "--mode", mode, "--out", f"{tmp_path}/run"])
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "run").exists()


def test_no_question_in_flight_is_refused(world: tuple[str, str], tmp_path: Path, model: ScriptedLLM) -> None:
    result = CliRunner().invoke(app, ["eval", *world, "--out", f"{tmp_path}/run", "--concurrency", "0"])
    assert (result.exit_code, model.calls) == (1, [])
    assert "concurrency 0, the least is 1" in result.stderr


_PROGRAM = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
sys.path.insert(0, {str(Path(__file__).parents[1] / "measure")!r})
from smallworld import script
import ragscale.agent
from ragscale.cli import app
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import built_in
load = ragscale.agent.load
model = ScriptedLLM(script, delay=lambda call: 60.0 if call.index else 0.0)
ragscale.agent.load = lambda spec: model if isinstance(spec, str) else load(spec)
app(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
def test_a_signal_says_what_is_kept(
    world: tuple[str, str], tmp_path: Path, number: signal.Signals, code: int, word: str
) -> None:
    """The model hangs at the second question."""
    command = ["eval", *world, "--mode", "once", "--out", str(tmp_path / "run"), "--concurrency", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    rows = tmp_path / "run" / "rows" / "once.jsonl"
    while not rows.exists() or not rows.read_text().endswith("\n"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert errors.splitlines()[-1] == f"{word} Finished questions are kept: the same command goes on from there."
    assert [json.loads(line)["id"] for line in rows.read_text().splitlines()] == ["q3"]


def test_failures_are_reported_and_a_run_of_nothing_but_failures_is_an_error(
    world: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = ScriptedLLM(lambda messages, call: ModelError("broken"))
    monkeypatch.setattr("ragscale.agent.load", lambda spec: _loaded(spec, broken, []))
    words = ["eval", *world, "--mode", "once", "--out", f"{tmp_path}/run", "--json"]
    ill = CliRunner().invoke(app, words)
    assert (ill.exit_code, ill.stdout) == (1, "")
    assert "each of the first 2 questions failed in once: broken" in ill.stderr
    result = CliRunner().invoke(app, [*words, "--no-health"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["cells"]["once"]["failed"] == 3
    assert "3 of 3 questions failed" in result.stderr
