"""`fit` on made-up runs of known truth, and on a small real sweep."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from madeup import Made, questions, write
from madeuprun import made_up, nothing_decides, one_mode_is_right

import ragscale as rs
from ragscale.errors import InvalidInput
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.measure import Question, Run, Store, allocation, fit, sweep
from ragscale.modes.auto.policy import Policy
from ragscale.types import Message


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in which a feature tells which of three modes is right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        return made_up(tmp_path_factory.mktemp("decided") / "run", one_mode_is_right, questions=180)


@pytest.fixture(scope="module")
def fitted(decided: Run) -> allocation.Allocation:
    return fit(decided)


def test_a_feature_that_decides_is_found(fitted: allocation.Allocation) -> None:
    report = fitted.report
    assert not report["fallback"]
    assert next(iter(report["looks_at"])) == "spread"
    assert report["looks_at"]["spread"] > 0.8
    best = max(cell["f1"]["value"] for cell in report["cells"])
    assert report["f1"]["value"] > best + 0.25  # 0.9 is what can be known, 0.4 what one mode has
    assert report["beyond_fixed"]["difference"]["low"] > 0.2
    assert report["against_fixed"]["verdict"] == "better"
    assert report["mean_tokens"] < 3_000
    assert report["oracle"]["f1"]["value"] >= report["f1"]["value"]
    assert report["oracle"]["regret"]["value"] == pytest.approx(report["oracle"]["f1"]["value"] - report["f1"]["value"])


def test_what_it_chooses_is_right_for_those_questions(fitted: allocation.Allocation) -> None:
    choices = {choice["choice"]: choice for choice in fitted.report["choices"]}
    assert list(choices) == ["stop", "chain@tokens=4000", "parallel@tokens=4000"]
    assert sum(choice["questions"] for choice in choices.values()) == 180
    for choice in choices.values():
        assert choice["questions"] > 30
        assert choice["f1"] > 0.65
        assert sum(choice["by"]["hops"].values()) == choice["questions"]
        assert len(choice["examples"]) == 3


def test_expected_gains_are_those_that_come(fitted: allocation.Allocation) -> None:
    bins = fitted.report["calibration"]
    assert sum(part["questions"] for part in bins) == 180
    assert [part["expected"] for part in bins] == sorted(part["expected"] for part in bins)
    assert sum(part["gain"]["low"] <= part["expected"] <= part["gain"]["high"] for part in bins) >= 4


def test_at_equal_mean_tokens_it_is_beside_every_fixed_mode(fitted: allocation.Allocation) -> None:
    beside = {one["cell"]: one for one in fitted.report["at_equal_tokens"]}
    tokens = {cell["cell"]: cell["tokens"] for cell in fitted.report["cells"]}
    assert list(beside) == list(tokens)
    for cell, one in beside.items():
        assert one["tokens"] <= tokens[cell]
    assert beside["chain@tokens=4000"]["verdict"] == beside["parallel@tokens=4000"]["verdict"] == "better"
    assert beside["once@tokens=4000"]["f1"]["value"] == next(
        cell["f1"]["value"] for cell in fitted.report["cells"] if cell["cell"] == "once@tokens=4000"
    )


def test_fewer_tokens_raise_the_price(decided: Run, fitted: allocation.Allocation) -> None:
    frugal = fit(decided, tokens=1_500)
    assert frugal.policy.price > fitted.policy.price
    assert frugal.report["mean_tokens"] <= 1_500 < fitted.report["mean_tokens"]
    assert frugal.report["f1"]["value"] < fitted.report["f1"]["value"]
    assert frugal.report["fixed"] == "once@tokens=4000"
    with pytest.raises(InvalidInput, match=r"below the \d+ of the first answer"):
        fit(decided, tokens=500)


def test_the_file_decides_as_scikit_learn_does(decided: Run, fitted: allocation.Allocation, tmp_path: Path) -> None:
    data = allocation._Data.of(decided)
    policy = Policy.read(fitted.save(tmp_path / "policy.json"))
    assert policy == fitted.policy
    assert rs.modes.get(f"auto(policy='{tmp_path / 'policy.json'}')").name == "auto"
    for column, action in zip(data.further, policy.actions, strict=True):
        model = allocation._model(data, column, np.arange(len(data.ids)))
        numbers = [dict(zip(allocation.FEATURES, map(float, line), strict=True)) for line in data.x]
        assert [action.gain(line) for line in numbers] == pytest.approx(list(model.predict(data.x)), abs=1e-12)


def test_where_nothing_decides_it_falls_back_and_says_so(tmp_path: Path) -> None:
    found = fit(made_up(tmp_path / "run", nothing_decides, questions=120, seed=1))
    assert "no gain over fixed modes" in found.policy.fallback == found.report["fallback"]
    assert found.policy.fixed.mode in ("chain", "parallel")
    assert found.policy.fixed.budget == {"tokens": 4_000}


def test_few_questions_are_too_few(tmp_path: Path) -> None:
    found = fit(made_up(tmp_path / "run", one_mode_is_right, questions=49))
    assert found.policy.fallback == "questions of 49 documents tell too little: 50 are the least"
    assert not found.policy.actions
    # Many questions of few documents are few, too.
    assert "49 documents" in fit(made_up(tmp_path / "many", one_mode_is_right, questions=98, each=2)).policy.fallback


def test_no_document_is_on_both_sides_of_a_fold(decided: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = made_up(tmp_path / "run", one_mode_is_right, questions=150, each=3)
    data, seen = allocation._Data.of(run), []
    model = allocation._model
    monkeypatch.setattr(
        allocation, "_model", lambda data, column, lines: seen.append(lines) or model(data, column, lines)
    )
    allocation._crossed(data, seed=0)
    for lines in seen[:-2]:
        inside = {data.clusters[line] for line in lines}
        assert not inside & {cluster for at, cluster in enumerate(data.clusters) if at not in set(lines)}
        assert len(lines) == 120


def test_seeds_are_averaged_and_unfinished_questions_left_out(tmp_path: Path) -> None:
    run = made_up(tmp_path / "run", one_mode_is_right, questions=60, seeds=(0, 7))
    rows = tmp_path / "run" / "rows"
    for path in rows.glob("chain*"):
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-5]))
    report = fit(run).report
    assert (report["questions"], report["left_out"]) == (55, 5)
    assert [cell["cell"] for cell in report["cells"]] == [
        f"{name}@tokens=4000" for name in ("once", "chain", "parallel")
    ]


@pytest.mark.parametrize("scores", [(1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("seeds", [(0, 1, 2), tuple(range(7))])
def test_means_over_seeds_are_no_whole_numbers(tmp_path: Path, scores: Sequence[float], seeds: tuple[int, ...]) -> None:
    """A gate that always stops costs as much as `once`, however the sums of these tokens are rounded."""
    names = ("once", "chain", "parallel")
    run = made_up(tmp_path / "run", lambda *_: dict(zip(names, scores, strict=True)), questions=53, seeds=seeds)
    report = fit(run).report
    [once] = [cell for cell in report["cells"] if cell["cell"] == "once@tokens=4000"]
    assert report["mean_tokens"] == pytest.approx(once["tokens"])
    assert report["beyond_fixed"]["mixture"] == {"once@tokens=4000": 1.0}
    assert report["f1"]["value"] == scores[0]
    assert report["choices"][0]["questions"] == 53
    assert fit(run, tokens=once["tokens"]).report["mean_tokens"] == pytest.approx(once["tokens"])


@pytest.mark.parametrize("rows", [0, 16, 59])
def test_a_cell_that_is_far_behind_takes_no_questions_from_the_others(tmp_path: Path, rows: int) -> None:
    """As one that a race dropped, or a mode that was added and just begun."""
    made_up(tmp_path / "run", one_mode_is_right, questions=120, further="iter-retgen")
    [path] = (tmp_path / "run" / "rows").glob("iter-retgen*")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:rows]))
    found = fit(tmp_path / "run")
    assert (found.report["questions"], found.report["left_out"], found.report["behind"]) == (120, 0, ["iter-retgen"])
    assert [action.mode for action in found.policy.actions] == ["chain", "parallel"]


def test_a_cell_that_a_race_dropped_late_is_left_out_too(tmp_path: Path) -> None:
    run = made_up(tmp_path / "run", one_mode_is_right, questions=120, further="iter-retgen")
    [path] = (tmp_path / "run" / "rows").glob("iter-retgen*")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:100]))
    drop = {
        "cell": "iter-retgen", "by": "chain@tokens=4000", "rung": 1, "n": 100, "difference": 1.0, "bound": 0.1,
        "cost": 4000.0, "cost_by": 3000.0,
    }  # fmt: skip
    Store(run.folder).add_look({"questions": 100, "mark": "x", "cells": list(run.cells), "drops": [drop]})
    report = fit(tmp_path / "run").report
    assert (report["questions"], report["left_out"], report["behind"]) == (120, 0, ["iter-retgen"])


def test_once_must_have_been_asked(tmp_path: Path) -> None:
    made_up(tmp_path / "run", one_mode_is_right, questions=60)
    [path] = (tmp_path / "run" / "rows").glob("once*")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))
    with pytest.raises(InvalidInput, match=r"there are chain.*, and with far fewer questions once@tokens=4000"):
        fit(tmp_path / "run")


def test_auto_itself_is_no_way_to_go_on(tmp_path: Path) -> None:
    run = made_up(tmp_path / "run", one_mode_is_right, questions=50, further="vote(of=auto, n=2)")
    assert len(run.cells) == 4
    assert [action.mode for action in fit(run).policy.actions] == ["chain", "parallel"]


def test_a_run_that_cannot_be_fitted_is_refused(decided: Run, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="needs a cell of once and one of another mode"):
        fit(Run(decided.folder, ["once@tokens=4000"]))
    with pytest.raises(InvalidInput, match="needs a cell of once"):
        fit(Run(decided.folder, ["chain@tokens=4000", "parallel@tokens=4000"]))
    failed = [Made(mode, [0.0] * 12, stop="failed") for mode in ("once", "chain")]
    with pytest.raises(InvalidInput, match="every question failed"):
        fit(write(tmp_path / "failed", questions(12), failed))
    with pytest.raises(InvalidInput, match="no run"):
        fit(tmp_path)
    shutil.copytree(decided.folder, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "traces")
    with pytest.raises(InvalidInput, match="the trace cannot be read"):
        fit(tmp_path / "copy")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": -1}, "seed -1, the least is 0"),
        ({"seed": 2**32}, "the largest is 4,294,967,295"),
        ({"seed": 1.5}, "seed 1.5 is no whole number"),
        ({"tokens": "4k"}, "tokens='4k' is no number"),
        ({"tokens": float("nan")}, "tokens=nan is no number"),
        ({"tokens": True}, "tokens=True is no number"),
        ({"tokens": -1}, "tokens=-1 is below the"),
    ],
)
def test_arguments_out_of_range_are_refused(decided: Run, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        fit(decided, **given)


def test_no_limit_may_be_told_as_infinite(decided: Run, fitted: allocation.Allocation) -> None:
    assert fit(decided, tokens=float("inf")).report == fitted.report


@pytest.mark.parametrize("path", ["", ".", "/", "folder"])
def test_a_folder_is_no_file_of_a_policy(
    fitted: allocation.Allocation, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidInput, match="is a folder"):
        fitted.save(path)
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_a_small_sweep_of_a_world_is_fitted_and_used(tmp_path: Path) -> None:
    """A reader that finds what the passages hold: questions of one hop need `once`, those of two hops `chain`."""
    world = rs.worlds.make(depth=(1, 2), breadth=(1,), questions=55, seed=3)
    world.save(tmp_path / "world")
    rows = {row["question"]: row for row in world.questions}
    texts = {passage["id"]: passage["text"] for passage in world.passages}
    steps: dict[str, list[tuple[str, str, str]]] = {}  # of each question: query, text that answers it, answer
    for question, row in rows.items():
        before = ""
        for step in row["decomposition"]:
            query, before = step["question"].replace("#1", before), step["answer"]
            steps.setdefault(question, []).append((query, texts[step["passage"]], step["answer"]))
    looked_up = {query: (text, answer) for told in steps.values() for query, text, answer in told}

    def read(messages: Sequence[Message], call: ScriptedCall) -> str:
        said = messages[-1]["content"]
        asked = said.rpartition("Question: ")[2].partition("\n")[0].strip()
        if "queries" in (call.schema or {}).get("properties", {}):
            done = said.count(" -> ")
            query = steps[asked][done][0] if done < len(steps[asked]) else ""
            return json.dumps({"known": "", "missing": query, "queries": [query] if query else []})
        if call.schema:
            right = all(text in said for _, text, _ in steps[asked])
            answer = rows[asked]["answers"][0] if right else "Nobody"
            return json.dumps({"facts": "", "documents": [1], "answer": answer})
        text, answer = next(told for query, told in looked_up.items() if query in said)
        return answer if text in said else "No relevant information found"

    with rs.Index.build([tmp_path / "world" / "corpus.jsonl"], tmp_path / "index", embedder=None) as index:
        agent = rs.Agent(index, ScriptedLLM(read))
        questions = tmp_path / "world" / "questions.jsonl"
        run = sweep(agent, questions, ["once", "chain(steps=2)"], tmp_path / "run", concurrency=8)
        found = rs.fit(run)
        assert not found.policy.fallback
        auto = f"auto(policy='{found.save(tmp_path / 'policy.json')}')"
        fresh = rs.worlds.make(depth=(1, 2), breadth=(1,), questions=5, seed=3).questions
        answers = [agent.ask(row["question"], mode=auto) for row in fresh]
    reports = run.reports()
    assert reports["once"].f1 < 0.7 < reports["chain(steps=2)"].f1
    assert found.report["f1"]["value"] > reports["once"].f1 + 0.2
    assert found.report["mean_tokens"] < reports["chain(steps=2)"].tokens
    went_on = {row["hops"]: 0 for row in fresh}
    for row, answer in zip(fresh, answers, strict=True):
        went_on[row["hops"]] += any(event.branch == "1" for event in answer.trace)
    assert went_on[1] < went_on[2]


@pytest.mark.slow  # some minutes: pytest tests/measure/test_allocation.py -m slow
@pytest.mark.parametrize(("gap", "least", "most"), [(0.0, 0, 6), (0.75, 90, 100)])
def test_a_gate_is_used_where_there_is_something_to_know(gap: float, least: int, most: int) -> None:
    """Of 100 runs of 100 questions: in at most 6 where nothing decides, in 90 at least where a feature does."""
    used = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = rng.random((100, len(allocation.FEATURES)))
        hard = x[:, 5] > 0.5
        rates = np.column_stack([0.5 + gap / 2 * np.where(hard, -1, 1), 0.5 + gap / 2 * np.where(hard, 1, -1)])
        score = (rng.random(rates.shape) < rates).astype(float)
        data = allocation._Data(
            names=["once", "chain"], cells=[{"mode": "once", "budget": {}}, {"mode": "chain", "budget": {}}],
            ids=[str(i) for i in range(100)], clusters=[str(i) for i in range(100)],
            questions=[Question(str(i), "?", ("a",)) for i in range(100)], score=score,
            cost=np.tile([600.0, 3_000.0], (100, 1)), x=x, first=0, left_out=0,
        )  # fmt: skip
        gains, folds, _ = allocation._crossed(data, seed)
        report = allocation._measured(data, gains, folds, np.inf, seed)
        used += not allocation._why(report["beyond_fixed"])
    assert least <= used <= most, used
