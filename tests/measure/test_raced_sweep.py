"""A raced sweep drops a cell that is clearly worse and dearer, keeps the rest, and decides the same after kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from smallworld import MakeAgent, build, script

from ragscale.errors import InvalidInput, ModelError
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.measure import Question, Run, dry_run, sweep

MODES = ["once(k=1)", "direct", "once(k=2)"]
"""The last one costs more tokens than the others, and its second passage misleads the model."""
QUESTIONS = [Question(f"q{i}", f"Which capital is it, {i}?", ("Warsaw",)) for i in range(40)]


def misled(messages: Any, call: ScriptedCall) -> Any:
    """Wrong where two passages are shown at once."""
    wanted = call.schema["properties"] if call.schema else {}
    if "answer" not in wanted or "queries" in wanted:
        return script(messages, replace(call, index=0))
    found = "Rome" if "[2]" in messages[-1]["content"] and "<documents>" in messages[-1]["content"] else "Warsaw"
    return json.dumps({"facts": "", "documents": [1], "answer": found})


def counts(run: Run) -> dict[str, int]:
    return {key: len(run.finished(key)) for key in run.cells}


def raced(make_agent: MakeAgent, out: Path, modes: Any = MODES, questions: Any = QUESTIONS, **options: Any) -> Run:
    return sweep(make_agent(ScriptedLLM(misled)), questions, modes, out, race=True, **options)


def test_a_bad_cell_is_dropped_and_the_best_is_kept(make_agent: MakeAgent, tmp_path: Path) -> None:
    told: dict[str, tuple[int, int]] = {}
    run = raced(
        make_agent, tmp_path / "run", concurrency=4,
        progress=lambda cell, row, done, total: told.update({cell.key: (done, total)}),
    )  # fmt: skip
    assert counts(run) == {"once(k=1)": 40, "direct": 40, "once(k=2)": 16}
    assert told == {"once(k=1)": (40, 40), "direct": (40, 40), "once(k=2)": (16, 16)}
    (drop,) = run.drops
    assert (drop.cell, drop.by, drop.n, drop.rung, drop.difference) == ("once(k=2)", "once(k=1)", 16, 1, 1.0)
    assert 0 <= drop.bound < 1
    assert drop.cost_by < drop.cost
    looks = json.loads((tmp_path / "run" / "race.json").read_text())["looks"]
    assert [(look["questions"], len(look["cells"]), len(look["drops"])) for look in looks] == [(16, 3, 1), (32, 2, 0)]
    assert [(one["after"], "at least" in one["words"]) for one in run.report()["dropped"]] == [(16, True)]
    planned = dry_run(make_agent(ScriptedLLM(misled)), QUESTIONS, MODES, tmp_path / "run", race=True)
    assert {cell.cell: cell.questions for cell in planned} == {"once(k=1)": 0, "direct": 0, "once(k=2)": 0}
    # by the same command nothing is asked, nothing decided
    before = (tmp_path / "run" / "race.json").read_bytes()
    assert counts(raced(make_agent, tmp_path / "run")) == counts(run)
    assert (tmp_path / "run" / "race.json").read_bytes() == before


def test_a_cell_whose_endpoint_was_gone_is_not_dropped_but_asked_again(make_agent: MakeAgent, tmp_path: Path) -> None:
    """Its failures are charged the most that they may have cost, and score 0."""

    def gone(messages: Any, call: ScriptedCall) -> Any:
        found = misled(messages, call)
        return ModelError("the endpoint is gone") if "Rome" in found else found

    run = sweep(make_agent(ScriptedLLM(gone)), QUESTIONS, MODES, tmp_path / "run", race=True, health=False)
    assert (run.drops, counts(run)) == ([], {"once(k=1)": 40, "direct": 40, "once(k=2)": 0})
    means = run.reports()
    assert means["once(k=2)"].tokens > means["once(k=1)"].tokens  # dearer, and worse
    assert set(counts(raced(make_agent, tmp_path / "run")).values()) == {40}  # its looks were taken


def test_what_a_race_may_not_drop(make_agent: MakeAgent, tmp_path: Path) -> None:
    run = raced(make_agent, tmp_path / "run", baseline="once(k = 2)")
    assert set(counts(run).values()) == {40}
    assert run.drops == []
    with pytest.raises(InvalidInput, match=r"baseline 'once' is not among the modes"):
        raced(make_agent, tmp_path / "run", baseline="once")


def test_a_race_is_extended(make_agent: MakeAgent, tmp_path: Path) -> None:
    """By questions, by a cell, which is compared with the others after each rung; without --race all are asked all."""
    few = raced(make_agent, tmp_path / "run", limit=20)
    assert counts(few) == {"once(k=1)": 20, "direct": 20, "once(k=2)": 16}
    more = raced(make_agent, tmp_path / "run", [*MODES, "once(k=3)"])
    assert counts(more) == {"once(k=1)": 40, "direct": 40, "once(k=2)": 16, "once(k=3)": 16}
    assert [(drop.cell, drop.rung) for drop in more.drops] == [("once(k=2)", 1), ("once(k=3)", 2)]
    with pytest.raises(InvalidInput, match=r"a race over other questions \(its first 16 are not these\)"):
        raced(make_agent, tmp_path / "run", skip=1)
    whole = sweep(make_agent(ScriptedLLM(misled)), QUESTIONS, MODES, tmp_path / "run")
    assert set(counts(whole).values()) == {40}


def test_a_question_that_failed_is_left_to_the_next_call(make_agent: MakeAgent, tmp_path: Path) -> None:
    """Each call of the sweep asks it, and pays for it, once, with any number of rungs."""

    def failing(messages: Any, call: ScriptedCall) -> Any:
        return ModelError("down") if "0?" in messages[-1]["content"] else misled(messages, call)

    failed = {f"q{number}" for number in range(0, 40, 10)}
    for times in (1, 2):
        run = sweep(make_agent(ScriptedLLM(failing)), QUESTIONS, ["direct"], tmp_path, race=True, health=False)
        ids = [json.loads(line)["id"] for line in (tmp_path / "rows" / "direct.jsonl").read_text().splitlines()]
        assert {identity for identity in ids if ids.count(identity) == times} >= failed
        assert len(ids) == 40 + 4 * (times - 1)
    assert len(run.finished("direct")) == 36


PROGRAM = """
import sys
sys.path[:0] = {paths!r}
from ragscale.agent import Agent
from ragscale.llm.scripted import ScriptedLLM
from test_raced_sweep import MODES, QUESTIONS, misled
from ragscale.measure import sweep
with Agent(sys.argv[1], ScriptedLLM(misled, delay=0.01)) as agent:
    sweep(agent, QUESTIONS, MODES, sys.argv[2], race=True, concurrency=3)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is for POSIX systems")
def test_a_killed_race_decides_the_same(make_agent: MakeAgent, tmp_path: Path) -> None:
    """Killed within the first rung, and when its look had been taken."""
    whole = raced(make_agent, tmp_path / "whole")
    out, index = tmp_path / "run", build(tmp_path)
    command = [sys.executable, "-c", PROGRAM.format(paths=[path for path in sys.path if path]), str(index), str(out)]
    for path, least in ((out / "rows" / "once(k=2).jsonl", 5), (out / "race.json", 1)):
        process = subprocess.Popen(command)
        while process.poll() is None and not (path.exists() and len(path.read_bytes().splitlines()) >= least):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert sum(counts(Run(out)).values()) < 96
    again = raced(make_agent, out)
    assert counts(again) == counts(whole)
    assert again.drops == whole.drops
    assert (out / "race.json").read_bytes() == (tmp_path / "whole" / "race.json").read_bytes()
