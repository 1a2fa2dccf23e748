"""A sweep on a local Ray: the rows of a sweep in one process, each call paid once, whichever worker dies.

Ray takes its time to start: ``pytest tests/measure/test_cluster.py -m slow``, two minutes.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from smallworld import MakeAgent, script

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import CallMissing, InvalidInput, MissingDependency, RagscaleError
from ragscale.extras import pip_install
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.llm.store import StoredLLM
from ragscale.measure import Question, Row, Run, Store, sweep
from ragscale.types import Spend

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (pip install '.[ray]')")
MODES = ["once", "chain(steps=2)"]
BUDGETS = [Budget(tokens=2_000), Budget(tokens=4_000)]


def logged(messages: Any, call: ScriptedCall) -> Any:
    """As `script`; leaves a line for each call, and dies at the first one where it is told to."""
    log = Path(os.environ["RAGSCALE_TEST_LOG"])
    with log.open("a") as file:
        file.write(f"{os.getpid()} {messages[-1]['content'][-80:]!r}\n")
    if (log.parent / "die").exists():
        (log.parent / "die").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return script(messages, replace(call, index=0))  # the same whichever worker asks


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local Ray with room for two workers; the lines that their calls leave."""
    import ray

    log = tmp_path_factory.mktemp("ray") / "calls.log"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAGSCALE_TEST_LOG"] = str(log)
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "RAGSCALE_TEST_LOG": str(log)}
    ray.init(
        num_cpus=8, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20,
        runtime_env={"env_vars": paths},
    )  # fmt: skip
    try:
        yield log
    finally:
        ray.shutdown()
        del os.environ["RAGSCALE_TEST_LOG"]


def rows_of(run: Run) -> dict[tuple[str, str], Any]:
    """Everything of each row but the times, and what was paid."""
    store, found = Store(run.folder), {}
    for key in run.cells:
        for row in store.read_rows(key).values():
            assert not row.failed, row.reason
            trace = run.trace(key, row.id)
            assert trace["answer"] == row.answer
            spends = [replace(spend, seconds=0.0) for spend in (row.spend.total, row.spend.serial)]
            bare = replace(row, spend=row.spend.__class__(*spends), wall_seconds=0.0, trace=None, paid=Spend())
            found[key, row.id] = bare, [event["output"] for event in trace["trace"]]
    return found


@needs_ray
@pytest.mark.slow
def test_the_rows_of_a_local_sweep(make_agent: MakeAgent, questions: list[Question], tmp_path: Path, log: Path) -> None:
    """Also where a worker dies: its questions are asked again, and only the call that it was at is paid twice."""
    ran: dict[str, Any] = {}
    made: dict[str, int] = {}
    for name in ("local", "ray", "died"):
        log.unlink(missing_ok=True)
        if name == "died":
            (log.parent / "die").touch()
        done: list[Row] = []
        run = sweep(
            make_agent(ScriptedLLM(logged)), questions, MODES, tmp_path / name, budgets=BUDGETS, concurrency=2,
            engine="local" if name == "local" else "ray",
            progress=lambda cell, row, n, total, done=done: done.append(row) if row else None,
        )  # fmt: skip
        ran[name] = rows_of(run)
        lines = log.read_text().splitlines()
        made[name] = len(lines)
        assert (str(os.getpid()) in {line.split()[0] for line in lines}) == (name == "local")
        assert len(done) == len(ran[name]) == 12
        assert sum(row["paid_llm_calls"] for row in run.rows().to_pylist()) <= len(lines)
    assert ran["ray"] == ran["local"]
    assert ran["died"] == ran["local"]
    assert made["ray"] == made["local"]
    assert made["local"] < made["died"] <= made["local"] + 2
    again = sweep(make_agent(ScriptedLLM(logged)), questions, MODES, tmp_path / "ray", budgets=BUDGETS, engine="ray")
    assert rows_of(again) == ran["ray"]
    assert len(log.read_text().splitlines()) == made["died"]


@needs_ray
@pytest.mark.slow
def test_a_recording_is_replayed_by_workers(
    folder: Path, make_agent: MakeAgent, questions: list[Question], tmp_path: Path, log: Path
) -> None:
    model, record = ScriptedLLM(logged), tmp_path / "calls.sqlite"
    first = sweep(make_agent(model), questions, ["once"], tmp_path / "a", calls=record, engine="ray")
    assert not (tmp_path / "a" / "calls.sqlite").exists()
    log.unlink()
    with Agent(folder, StoredLLM(record)) as agent:
        second = sweep(agent, questions, ["once"], tmp_path / "b", engine="ray")
        assert [row["paid_llm_calls"] for row in second.rows().to_pylist()] == [0, 0, 0]
        with pytest.raises(CallMissing, match=r"calls\.sqlite: no count of the tokens"):
            sweep(agent, questions, ["once(k=1)"], tmp_path / "b", engine="ray")
    assert not log.exists()
    assert [row["answer"] for row in first.rows().to_pylist()] == [row["answer"] for row in second.rows().to_pylist()]


@needs_ray
@pytest.mark.slow
@pytest.mark.usefixtures("log")
def test_what_a_worker_cannot_do_is_raised_here(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    with pytest.raises(RagscaleError, match="the agent's model, a ScriptedLLM, cannot be given to another process"):
        sweep(make_agent(ScriptedLLM(lambda *given: "x")), questions, ["once"], tmp_path / "run", engine="ray")
    (tmp_path / "text").write_text("no calls")
    with pytest.raises(InvalidInput, match="text: not a file of model calls"):
        sweep(make_agent(), questions, ["once"], tmp_path / "run", engine="ray", calls=tmp_path / "text")


def test_without_ray(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=re.escape(pip_install("ray"))):
        sweep(make_agent(), questions, ["once"], tmp_path / "run", engine="ray")
    with pytest.raises(InvalidInput, match=r"unknown engine 'dask'\. Choose local or ray"):
        sweep(make_agent(), questions, ["once"], tmp_path / "run", engine="dask")
