"""A run that is killed without warning goes on where it was: nothing is lost, nothing is asked twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from smallworld import build

from ragscale.measure import Run

_COUNT = 12
# Every model call leaves a line in calls.log *before* it takes its time, so that a question asked twice shows.
_PROGRAM = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from smallworld import script
from ragscale.agent import Agent
from ragscale.measure import sweep, load_questions, to_json
from ragscale.llm.scripted import ScriptedLLM
from ragscale.modes import spec

base = Path(sys.argv[1])
def reply(messages, call):
    with (base / "calls.log").open("a") as log:
        log.write(messages[-1]["content"].rpartition("Question: ")[2].split("\\n")[0] + "\\n")
    return script(messages, call)

agent = Agent(base / "index", ScriptedLLM(reply, delay=0.08))
reports = sweep(agent, load_questions(base / "questions.jsonl"), spec.parse_list("once,once(k=1)"),
                        base / "run", concurrency=2)
print(json.dumps(to_json(reports.reports())))
"""


def _start(base: Path) -> subprocess.Popen[str]:
    program = [sys.executable, "-c", _PROGRAM, str(base), str(Path(__file__).parent)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True)


def _rows(base: Path, mode: str) -> list[str]:
    path = base / "run" / "rows" / f"{mode}.jsonl"
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is for POSIX systems")
def test_kill_and_resume(tmp_path: Path) -> None:
    build(tmp_path)
    ids = [f"q{i}" for i in range(_COUNT)]
    lines = [json.dumps({"id": id, "question": f"Does radium glow, {id}?", "answers": ["no"]}) for id in ids]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))

    first = _start(tmp_path)
    deadline = time.monotonic() + 120
    while len(_rows(tmp_path, "once")) < 4 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL, "the run was over before it could be killed"
    before = _rows(tmp_path, "once")
    assert 4 <= len(before) < _COUNT
    made = len((tmp_path / "calls.log").read_text().splitlines())
    with (tmp_path / "run" / "rows" / "once.jsonl").open("a") as file:
        file.write('{"id": "q11", "answer": "a line that the kill cut')

    second = _start(tmp_path)
    out, _ = second.communicate(timeout=240)
    assert second.returncode == 0
    after = _rows(tmp_path, "once")
    assert after[: len(before)] == before
    assert sorted(after) == sorted(ids) == sorted(_rows(tmp_path, "once(k=1)"))
    asked = (tmp_path / "calls.log").read_text().splitlines()
    # One passage says it, so that both modes make the same call: it is made once, but for the two in flight.
    assert made < _COUNT <= len(asked) <= _COUNT + 2
    assert {q for q in ids if any(f"{q}?" in line for line in asked)} == set(ids)
    run = Run(tmp_path / "run")
    assert run.broken == 1
    said = "The sweep was broken off once and gone on with: calls that questions in flight had made by then are"
    assert any(limit.startswith(said) for limit in run.report()["limits"])
    report = json.loads(out)["cells"]
    assert {name: (mode["n"], mode["em"]) for name, mode in report.items()} == {
        "once": (_COUNT, 1.0),
        "once(k=1)": (_COUNT, 1.0),
    }
