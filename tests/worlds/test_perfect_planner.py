"""The planner of `benchmarks/perfect_planner.py` makes no mistake: where one search fails, chains and rounds do not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import ragscale as rs
from ragscale.llm.scripted import ScriptedLLM

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "perfect_planner.py"


async def test_shapes_alone_decide(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("perfect_planner", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    planner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(planner)
    world = rs.worlds.make(depth=(2,), breadth=(1, 2), questions=4, seed=5)
    world.save(tmp_path / "world")
    rs.Index.build([tmp_path / "world/corpus.jsonl"], tmp_path / "index", embedder=None).close()
    agent = rs.Agent(
        tmp_path / "index", ScriptedLLM(planner.Planner(world), context_window=64_000), budget=rs.Budget(tokens=16_000)
    )
    right: dict[str, list[bool]] = {}
    rounds: dict[tuple[str, int], set[int]] = {}
    for mode in planner.MODES:
        for row in world.questions:
            answer = await agent.aask(row["question"], mode=mode)
            right.setdefault(mode, []).append(answer.text in row["answers"])
            rounds.setdefault((mode, row["breadth"]), set()).add(answer.spend.serial.rounds)
    once, chain, parallel = planner.MODES
    assert all(right[chain])
    assert all(right[parallel])
    assert not all(right[once])
    # The question's own, and then a step a round, or all that can be asked for at once.
    assert max(rounds[chain, 2]) == 5
    assert max(rounds[parallel, 2]) == max(rounds[parallel, 1]) == 3
