"""A run scores, records, resumes and refuses as it says."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import FakeEndpoint, Vllm
from smallworld import MakeAgent, script

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import EndpointError, IndexServerError, InvalidInput, ModelError, RagscaleError
from ragscale.index import Index
from ragscale.llm import ModelWarning
from ragscale.llm.prices import Price
from ragscale.llm.scripted import ScriptedLLM
from ragscale.llm.store import StoredLLM
from ragscale.measure import Cell, ModeReport, Question, Run, Store, asweep, attempt, dry_run, sweep
from ragscale.measure.questions import shuffled
from ragscale.measure.runner import GoldWarning
from ragscale.modes import Chain, Mode, Once, Parallel, spec


def test_the_blocking_sweep_shows_its_parameters() -> None:
    """As `help` and a notebook show them."""
    assert list(inspect.signature(sweep).parameters) == list(inspect.signature(asweep).parameters)
    told = inspect.getdoc(sweep)
    assert told is not None
    assert told.startswith("`asweep`, blocking, ")
    assert "    budgets: Limits of a question, one or more; None for the agent's.\n" in told


async def measured(*arguments: Any, **options: Any) -> dict[str, ModeReport]:
    """The means of each cell."""
    return (await asweep(*arguments, **options)).reports()


def swept(*arguments: Any, **options: Any) -> dict[str, ModeReport]:
    """As `measured`, blocking."""
    return sweep(*arguments, **options).reports()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_scores_and_spends_of_two_modes(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    seen: list[tuple[str, str | None, int, int]] = []
    reports = await measured(
        make_agent(), questions, [Once(), Chain(steps=2)], tmp_path / "run",
        progress=lambda cell, row, done, total: seen.append((cell.key, row and row.id, done, total)),
    )  # fmt: skip
    once, chain = reports["once"], reports["chain(steps=2)"]
    # q1 "Warsaw, Poland" against "Warsaw": F1 2/3; q2 right; q3 "no" against "yes": 0
    assert (once.n, once.em, once.f1) == (3, pytest.approx(1 / 3), pytest.approx((2 / 3 + 1 + 0) / 3))
    # five passages a query: all of a five-passage corpus that share a word; "polonium" shares none; q3 has no gold
    assert once.gold_recall == pytest.approx((1.0 + 0.5) / 2)
    assert (once.rounds, once.queries, once.llm_calls, once.failed, once.cut_short) == (1, 1, 1, 0, 0)
    assert (chain.rounds, chain.queries, chain.llm_calls, chain.failed) == (3, 3, 5, 0)
    assert chain.tokens >= chain.serial_tokens > once.tokens
    assert seen[:2] == [("once", None, 0, 3), ("chain(steps=2)", None, 0, 3)]
    assert seen[-1][2:] == (3, 3)
    run = Run(tmp_path / "run")
    assert list(run.questions.values()) == shuffled(questions)
    rows = run.rows().to_pylist()
    assert [(row["cell"], row["id"]) for row in rows] == [(m, q) for m in sorted(reports) for q in ("q1", "q2", "q3")]
    row = rows[3]
    assert (row["mode"], row["answer"], row["em"], row["gold_passages"]) == ("once", "Warsaw, Poland", 0.0, 2)
    assert (row["stop_reason"], row["reason"], row["gold_recall"], row["full_recall"]) == ("answered", "", 1.0, True)
    assert (rows[4]["full_recall"], rows[5]["full_recall"], rows[5]["cluster"]) == (False, None, "q3")
    assert row["total_llm_calls"] == row["serial_llm_calls"] == row["paid_llm_calls"] == 1
    trace = run.trace("once", "q1")
    assert (trace["question"], trace["answer"]) == (questions[0].question, "Warsaw, Poland")
    assert [event["move"] for event in trace["trace"]] == ["retrieve", "answer"]
    for question in questions:
        trace = run.trace("chain(steps=2)", question.id)
        asked = [query for event in trace["trace"] if event["move"] == "retrieve" for query in event["input"]]
        assert asked[0] == question.question
        assert [query[:15] for query in asked[1:]] == ["capital number "] * 2


async def test_modes_can_be_named(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    """The same run as with objects; a name that is spelt otherwise is the same mode."""
    model = ScriptedLLM(script)
    named = await measured(make_agent(model), questions, ["once", "chain( steps = 2 )"], tmp_path / "run")
    made = await measured(make_agent(), questions, [Once(), Chain(steps=2)], tmp_path / "run")
    assert list(named) == ["once", "chain(steps=2)"]
    assert named == made
    assert list(await measured(make_agent(), questions, ("tree(expand=2, steps=1)", Once(k=1)), tmp_path / "t")) == [
        "tree(steps=1, expand=2)",
        "once(k=1)",
    ]


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ("once", r"modes is one string \('once'\)\. Give a list of modes"),
        (Once(), "modes is no list"),
        ([], r"no modes\. Give at least one, as in \['once', 'chain'\]"),
        (["onec"], r"Unknown mode 'onec'\. Did you mean 'once'\?"),
        (["once(kk=2)"], r"once has no parameter 'kk'\. Did you mean 'k'\?"),
        (["once", "chain", Once()], r"mode 'once' is given twice\. Give it once"),
        ([Once], r"mode=Once is a class\. Give an object"),
        (["once,chain"], r"Unknown mode 'once,chain'"),
        ([5], "mode=5 is no mode"),
    ],
)
async def test_what_names_no_modes_is_refused(
    chosen: Any, problem: str, make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        await measured(make_agent(), questions, chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asked", [["Who?"], [{"id": "1", "question": "Who?"}], None])
async def test_what_holds_no_questions_is_refused(asked: Any, make_agent: MakeAgent, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"questions (is|holds)"):
        await measured(make_agent(), asked, ["once"], tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"budgets": [Budget(tokens=900), Budget(), Budget(tokens=900.0)]}, r"budget Budget\(tokens=900"),
        ({"seeds": [0, 7, 7]}, "seed 7"),
        ({"budgets": []}, "no budgets"),
        ({"seeds": ()}, "no seeds"),
        ({"seeds": [1.5]}, r"seed 1\.5 is no whole number"),
        ({"seeds": ["1"]}, "seed '1' is no whole number"),
        ({"seeds": [None]}, "seed None is no whole number"),
        ({"seeds": [True]}, "seed True is no whole number"),
        ({"seeds": [2**63]}, "seed 9223372036854775808, the most is 9223372036854775807"),
        ({"seeds": [-(2**63) - 1]}, "seed -9223372036854775809, the least is -9223372036854775808"),
    ],
)
async def test_limits_and_seeds_that_make_no_cells_are_refused(
    given: dict[str, Any], problem: str, make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    """By their own name, before a folder is made: of such rows `Run.rows` could make no table."""
    with pytest.raises(InvalidInput, match=problem) as refused:
        await measured(make_agent(), questions, ["once"], tmp_path / "run", **given)
    assert ("is given twice" in str(refused.value)) == (len(set(map(repr, next(iter(given.values()))))) > 1)
    assert not (tmp_path / "run").exists()


async def test_the_outermost_seeds_have_rows(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    seeds = [-(2**63), 2**63 - 1]
    run = await asweep(make_agent(), questions, ["once"], tmp_path / "run", seeds=(seed for seed in seeds), limit=1)
    assert run.rows()["seed"].to_pylist() == seeds


async def test_a_folder_in_the_home_of_the_user(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers and readers of a run mean the same folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.jsonl").write_text("".join(f"{json.dumps(one.to_row())}\n" for one in questions))
    run = await asweep(make_agent(), "~/questions.jsonl", ["once"], "~/runs/one", calls="~/calls")
    assert run.folder == Run("~/runs/one").folder == tmp_path / "runs" / "one"
    assert run.keep("~/kept").folder == tmp_path / "kept"
    assert [one.questions for one in dry_run(make_agent(), questions, ["once"], "~/runs/one")] == [0]
    assert not (tmp_path / "~").exists()
    assert (tmp_path / "calls").exists()


async def test_questions_may_be_of_any_kind_of_list_and_each_is_there_once(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    reports = await measured(make_agent(), (question for question in questions), ["once"], tmp_path / "run")
    assert reports["once"].n == 3
    assert (await measured(make_agent(), {q.id: q for q in questions}.values(), ["once"], tmp_path / "run")) == reports
    for twice in (questions * 2, [*questions, replace(questions[0], question="Who?")]):
        with pytest.raises(InvalidInput, match=r"id 'q1' is that of 2 questions\. Make ids unique"):
            await measured(make_agent(), twice, ["once"], tmp_path / "other")
    assert not (tmp_path / "other").exists()


async def test_more_places_than_questions_are_not_made(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    assert (await measured(make_agent(), questions, ["once"], tmp_path / "run", concurrency=10**9))["once"].n == 3


@pytest.mark.parametrize("number", ["2", 2.0, True, [2]])
@pytest.mark.parametrize("name", ["concurrency", "limit", "skip"])
async def test_what_is_no_whole_number_is_refused(
    name: str, number: Any, make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=f"{name} .* is no whole number"):
        await measured(make_agent(), questions, ["once"], tmp_path, **{name: number})


async def test_blocking_in_a_running_loop_as_in_a_notebook(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    reports = swept(make_agent(), questions, ["once"], tmp_path / "run", limit=2)
    assert reports == await measured(make_agent(), questions, ["once"], tmp_path / "run", limit=2)
    with pytest.raises(InvalidInput, match="Unknown mode 'x'"):
        swept(make_agent(), questions, ["x"], tmp_path / "run")


def test_blocking_in_a_thread_and_in_a_script(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    reports = swept(make_agent(), questions, ["once"], tmp_path / "run")
    with ThreadPoolExecutor() as pool:
        assert pool.submit(swept, make_agent(), questions, ["once"], tmp_path / "run").result() == reports


async def test_several_questions_are_in_flight_and_never_more(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    model = ScriptedLLM(script, delay=0.05)
    await measured(make_agent(model), questions, [Once()], tmp_path, concurrency=2)
    assert model.most_running == 2


async def test_a_finished_run_is_read_and_a_larger_limit_adds_to_it(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    first, second, third = (ScriptedLLM(script) for _ in range(3))
    small = await measured(make_agent(first), questions, [Once()], tmp_path, limit=2)
    assert (small["once"].n, len(first.calls)) == (2, 2)
    large = await measured(make_agent(second), questions, [Once()], tmp_path)
    assert (large["once"].n, len(second.calls)) == (3, 1)
    again = await measured(make_agent(third), questions, [Once()], tmp_path, limit=2)
    assert (again, len(third.calls)) == (small, 0)
    late = await measured(make_agent(third), questions, [Once()], tmp_path, skip=2)
    assert (late["once"].n, late["once"].em, late["once"].gold_recall) == (1, 0.0, 1.0)  # q1 comes last
    assert (late["once"].em_se, len(third.calls)) == (None, 0)


async def test_a_half_written_last_line_is_dropped_and_run_again(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    whole = await measured(make_agent(), questions, [Once()], tmp_path, concurrency=1)
    path = tmp_path / "rows" / "once.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    model = ScriptedLLM(script)
    again = await measured(make_agent(model), questions, [Once()], tmp_path)
    assert len(model.calls) == 0, "its call is in the store"
    (tmp_path / "calls.sqlite").unlink()
    path.write_bytes(path.read_bytes()[:-40])
    again = await measured(make_agent(model), questions, [Once()], tmp_path)
    assert len(model.calls) == 1
    assert [row["id"] for row in lines(path)] == ["q3", "q2", "q1"]
    assert (again["once"].em, again["once"].tokens) == (whole["once"].em, whole["once"].tokens)


async def test_a_damaged_line_in_the_middle_is_refused(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    await measured(make_agent(), questions, [Once()], tmp_path)
    path = tmp_path / "rows" / "once.jsonl"
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(rows[0] + rows[1][:30] + b"\n" + rows[2])
    with pytest.raises(InvalidInput, match=r"once\.jsonl:2: damaged"):
        await measured(make_agent(), questions, [Once()], tmp_path)


async def test_failures_are_recorded_counted_and_tried_again(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    def broken(messages: Any, call: Any) -> Any:
        return ModelError("the server is on fire") if "glow?" in messages[-1]["content"] else script(messages, call)

    def defective(messages: Any, call: Any) -> Any:
        raise ZeroDivisionError("a defect")

    report = (await measured(make_agent(ScriptedLLM(defective)), questions, [Once()], tmp_path, limit=1))["once"]
    assert (report.n, report.failed, report.em) == (1, 1, 0.0)
    report = (await measured(make_agent(ScriptedLLM(broken)), questions, [Once()], tmp_path))["once"]
    assert (report.n, report.failed) == (3, 1)
    model = ScriptedLLM(script)
    report = (await measured(make_agent(model), questions, [Once()], tmp_path))["once"]
    assert (report.failed, len(model.calls)) == (0, 1)
    rows = lines(tmp_path / "rows" / "once.jsonl")
    assert "ZeroDivisionError: a defect" in rows[0]["reason"]
    assert "on fire" in next(row["reason"] for row in rows[1:] if row["stop_reason"] == "failed")
    assert sorted(row["stop_reason"] for row in rows) == ["answered"] * 3 + ["failed"] * 2


async def test_a_run_that_raised_an_error_found_no_gold_passage(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    """Without a value it would be left out of one cell's recall alone."""

    def defective(messages: Any, call: Any) -> Any:
        raise ZeroDivisionError("a defect")

    await measured(make_agent(ScriptedLLM(defective)), questions, [Once()], tmp_path, health=False)
    found = {row["id"]: row["gold_recall"] for row in lines(tmp_path / "rows" / "once.jsonl")}
    assert found == {"q1": 0.0, "q2": 0.0, "q3": None}  # q3 names none


async def test_an_index_that_is_lost_when_an_answer_is_scored_fails_that_question_alone(
    make_agent: MakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A served one tells of passages that no search brought only where it is asked; what was spent is charged."""
    asked = [Question("a", "Does radium glow?", ("no",), ("seine",)), Question("b", "Does radium glow?", ("no",))]
    agent = make_agent()

    def gone(identity: object) -> bool:
        raise IndexServerError("the index server is gone", "Start it.")

    monkeypatch.setattr(type(agent.index), "__contains__", lambda self, identity: gone(identity))
    run = await asweep(agent, asked, ["once(k=1)"], tmp_path, health=False)
    first, second = run.rows().to_pylist()
    assert (first["stop_reason"], first["f1"], first["gold_recall"]) == ("failed", 0.0, 0.0)
    assert "the index server is gone" in first["reason"]
    assert first["total_tokens"] == second["total_tokens"] > 0
    assert (second["stop_reason"], second["f1"]) == ("answered", 1.0)
    monkeypatch.undo()
    assert (await measured(agent, asked, ["once(k=1)"], tmp_path))["once(k=1)"].failed == 0


async def test_a_server_that_dies_midway_costs_the_questions_left_and_no_other(
    folder: Path, questions: list[Question], tmp_path: Path
) -> None:
    """A real HTTP server that stops listening after the first question; then none at all; then a new one."""

    async def measure(server: FakeEndpoint, **options: Any) -> ModeReport:
        with Index.open(folder) as index:
            agent = Agent(index, f"openai:{server.url}#org/model")
            return (await measured(agent, questions, [Once()], tmp_path, concurrency=1, **options))["once"]

    with FakeEndpoint(Vllm()) as dying:
        report = await measure(dying, progress=lambda cell, row, done, total: dying.die() if row else None)
    assert (report.n, report.failed) == (3, 2)
    rows = lines(tmp_path / "rows" / "once.jsonl")
    assert [(row["id"], row["stop_reason"]) for row in rows] == [("q3", "answered"), ("q2", "failed"), ("q1", "failed")]
    for row in rows[1:]:
        assert "No model server at http://127.0.0.1" in row["reason"]
        assert row["answer"] == ""
    # The same command, while nobody listens: an error at once, and nothing is written.
    with pytest.raises(EndpointError, match=r"No model server at http://127\.0\.0\.1"):
        await measure(dying)
    assert lines(tmp_path / "rows" / "once.jsonl") == rows
    # And with a server: what was answered is not asked again.
    with FakeEndpoint(Vllm()) as alive:
        report = await measure(alive)
        asked = [body["messages"][-1]["content"] for body in alive.sent("/chat/completions")]
    assert (report.n, report.failed) == (3, 0)
    assert lines(tmp_path / "rows" / "once.jsonl")[:3] == rows
    assert [question.id for question in questions if any(question.question in text for text in asked)] == ["q1", "q2"]


async def test_a_finished_run_within_dollars_is_read_though_nobody_tells_the_models_name(
    folder: Path, questions: list[Question], tmp_path: Path
) -> None:
    async def ended(url: str) -> Run:
        with Index.open(folder) as index:
            agent = Agent(index, f"openai:{url}", prices={"?*": Price(input=1.0, output=2.0)})
            return await asweep(agent, questions, ["once"], tmp_path, budgets=[Budget(usd=1.0)])

    with FakeEndpoint(Vllm()) as server:
        run = await ended(server.url)
    [key] = run.cells
    assert len(run.finished(key)) == 3
    again = await ended(server.url)
    assert again.rows().to_pylist() == run.rows().to_pylist()


async def test_a_cancelled_run_leaves_nothing_running(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    under_way = asyncio.Event()

    async def sleep(seconds: float) -> None:
        under_way.set()
        await asyncio.sleep(seconds)

    model = ScriptedLLM(script, delay=30, sleep=sleep)
    task = asyncio.create_task(measured(make_agent(model), questions, [Once()], tmp_path))
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model.running == 0


async def test_a_run_that_is_under_way_is_not_begun_again(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        under_way.set()
        await go_on.wait()

    model, second = ScriptedLLM(script, delay=1, sleep=sleep), ScriptedLLM(script)
    task = asyncio.create_task(measured(make_agent(model), questions, [Once()], tmp_path / "run"))
    await under_way.wait()
    (tmp_path / "run" / "rows").mkdir()
    (tmp_path / "run" / "rows" / "once.jsonl").write_text('{"id": "half of a line')
    with pytest.raises(RagscaleError, match=r"run: another process is writing this run.*give another --out"):
        await measured(make_agent(second), questions, [Once()], tmp_path / "run")
    assert (tmp_path / "run" / "rows" / "once.jsonl").read_text() == '{"id": "half of a line'
    (tmp_path / "run" / "rows" / "once.jsonl").write_text("")
    go_on.set()
    assert (await task)["once"].n == 3
    again = await measured(make_agent(second), questions, [Once()], tmp_path / "run")
    assert (again["once"].n, len(model.calls), len(second.calls)) == (3, 3, 0)


@pytest.mark.parametrize("out", ["file", "file/run"])
async def test_where_no_folder_can_be(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidInput, match=rf"{out}: no run can be written here .*Give another --out"):
        await measured(make_agent(), questions, [Once()], tmp_path / out)


async def test_another_setting_is_refused_with_a_remedy(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    await measured(make_agent(), questions, [Once()], tmp_path, limit=1)

    async def refused(what: str, agent: Any, asked: list[Any], mode: Any) -> None:
        with pytest.raises(InvalidInput, match=rf"a run with {what}.*Give another --out"):
            await measured(agent, asked, [mode], tmp_path, limit=1)

    await refused("llm 'scripted', not 'other'", make_agent(ScriptedLLM(script, name="other")), questions, Once())
    low = ScriptedLLM(script)
    low.fields = {"reasoning_effort": "low"}  # type: ignore[attr-defined]
    await refused("fields None, not {'reasoning_effort': 'low'}", make_agent(low), questions, Once())
    for other, by in (
        (Question("q3", "Does gold glow?", ("yes",)), "question"),
        (Question("q3", "Does radium glow?", ("no",), hops=2), "answers, hops"),
    ):
        told = rf"a run with another question 'q3' \('Does radium glow\?'\), by its {by}\."
        with pytest.raises(InvalidInput, match=told):
            await measured(make_agent(), [other], [Once()], tmp_path)
    # a further mode is welcome; the same label with another configuration cannot be made, but a file can be edited
    await measured(make_agent(), questions, [Parallel()], tmp_path, limit=1)
    config = json.loads((tmp_path / "config.json").read_text())
    assert list(config["cells"]) == ["once", "parallel"]
    config["cells"]["once"]["parameters"] = "Once(k=99)"
    (tmp_path / "config.json").write_text(json.dumps(config))
    await refused(r"cells\.once\.parameters 'Once\(k=99\)', not .Once\(k=5", make_agent(), questions, Once())


async def test_a_run_belongs_to_the_fields_of_its_model(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    """They change what it replies; a replay of the run's own calls has those of then."""
    model = ScriptedLLM(script)
    for effort, limit in (("low", 1), ("low", 2)):
        model.fields = {"reasoning_effort": effort, "of": (1, 2)}  # type: ignore[attr-defined]
        await measured(make_agent(model), questions, [Once()], tmp_path / "run", limit=limit)
    replayed = make_agent(StoredLLM(tmp_path / "run" / "calls.sqlite"))
    assert (await measured(replayed, questions, [Once()], tmp_path / "run", limit=2))["once"].n == 2
    model.fields = {"reasoning_effort": "high"}  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput, match=r"a run with fields\.reasoning_effort 'low', not 'high'"):
        await measured(make_agent(model), questions, [Once()], tmp_path / "run")


async def test_a_run_keeps_the_price_that_the_list_had_when_it_began(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of some providers changes with the hour: the run could be gone on with at that hour alone."""
    tiers = Price(input=1, output=2, beyond=90_000, longer=Price(input=3, output=4))
    model = ScriptedLLM(script)
    model.url = "https://api.example.com/v1"  # type: ignore[attr-defined]
    usd = []
    for limit, price in ((1, tiers), (2, Price(input=7, output=8)), (3, Price(input=9, output=9))):
        monkeypatch.setattr("ragscale.llm.prices._listed", lambda *_, price=price, **__: price)
        agent = make_agent(model)
        with (
            pytest.warns(ModelWarning, match=r"goes on at the price that it began with, \$1 in")
            if usd
            else nullcontext()
        ):
            run = await asweep(agent, questions, ["once"], tmp_path, limit=limit)
        assert agent.price == price
        usd.append(run.rows()["total_usd"].to_pylist())
    tokens = run.rows()["total_tokens"].to_pylist()
    assert all(2 > dollars * 1e6 / number >= 1 for dollars, number in zip(usd[-1], tokens, strict=True))
    assert len(set(run.rows()["settings"].to_pylist())) == 1
    with pytest.warns(ModelWarning, match="goes on at the price"):
        [planned] = dry_run(make_agent(model), questions, ["once"], tmp_path)
    assert planned.questions == 0
    given = Agent(make_agent(model).index, model, prices=Price(input=9, output=9))
    with pytest.raises(InvalidInput, match=r"a run with price\.input 1, not 9"):
        await measured(given, questions, ["once"], tmp_path)


async def test_a_folder_that_is_no_run_is_left_alone(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="not empty and no run"):
        await measured(make_agent(), questions, [Once()], tmp_path)
    assert os.listdir(tmp_path) == ["precious.txt"]
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"config\.json: damaged"):
        await measured(make_agent(), questions, [Once()], tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert not (tmp_path / "rows" / "once.jsonl").exists()


@pytest.mark.parametrize(("name", "value"), [("concurrency", 0), ("limit", 0), ("skip", -1), ("skip", 3)])
async def test_numbers_out_of_range(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, name: str, value: int
) -> None:
    with pytest.raises(InvalidInput, match=f"{name} {value}"):
        await measured(make_agent(), questions, [Once()], tmp_path / "run", **{name: value})
    assert not (tmp_path / "run").exists()


async def test_rows_of_changed_prompts_are_told_apart(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = await measured(make_agent(), questions, [Once()], tmp_path, limit=1)
    monkeypatch.setattr("ragscale.measure.attempt.code_mark", lambda mode: "changed")
    mixed = await measured(make_agent(), questions, [Once()], tmp_path)
    assert (clean["once"].versions, mixed["once"].versions) == (1, 2)


async def test_budgets_and_seeds_are_cells_of_one_run(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    """Each has a file of its own, is resumed by itself, and pays for nothing that another has paid for."""
    settings: list[dict[str, Any]] = [
        {},
        {"seed": 7},
        {"budget": Budget(tokens=500)},
        {"budget": Budget(tokens=500), "seed": 7},
    ]
    reports = []
    for number, setting in enumerate(settings, 1):
        model = ScriptedLLM(script)
        reports.append(await measured(make_agent(model, **setting), questions, [Once()], tmp_path / "run"))
        # A greedy call is the same with another seed, and with a limit that does not cut it.
        assert len(model.calls) == (3 if number == 1 else 0)
        assert len(list((tmp_path / "run" / "rows").glob("*.jsonl"))) == number
    names = ["once", "once@seed=7", "once@tokens=500", "once@tokens=500,seed=7"]
    assert sorted(path.stem for path in (tmp_path / "run" / "rows").glob("*.jsonl")) == names
    assert list(json.loads((tmp_path / "run" / "config.json").read_text())["cells"]) == names
    (tmp_path / "run" / "rows" / "once@seed=7.jsonl").unlink()
    (tmp_path / "run" / "calls.sqlite").unlink()
    for setting, report, asked in zip(settings, reports, (0, 3, 0, 0), strict=True):
        model = ScriptedLLM(script)
        again = await measured(make_agent(model, **setting), questions, [Once()], tmp_path / "run")
        assert len(model.calls) == asked
        assert [(mean.em, mean.tokens) for mean in again.values()] == [
            (mean.em, mean.tokens) for mean in report.values()
        ]
    [row, *_] = lines(tmp_path / "run" / "rows" / "once@tokens=500,seed=7.jsonl")
    assert (row["id"], row["version"], row["paid"].get("llm_calls", 0)) == ("q3", 2, 0)
    [cell] = [cell for cell in Run(tmp_path / "run").cells.values() if cell.key == "once@tokens=500,seed=7"]
    assert (cell.mode, cell.budget, cell.seed) == ("once", {"tokens": 500}, 7)


@pytest.mark.parametrize(
    ("budget", "seed", "key"),
    [
        (Budget(), 0, "parallel(max_queries=1)"),
        (Budget(), -3, "parallel(max_queries=1)@seed=-3"),
        (Budget(tokens=16_000_000), 0, "parallel(max_queries=1)@tokens=16000000"),
        (Budget(seconds=0.5, rounds=2), 1, "parallel(max_queries=1)@rounds=2,seconds=0.5,seed=1"),
        (Budget(seconds=30.0), 0, "parallel(max_queries=1)@seconds=30"),
        (Budget(seconds=30), 0, "parallel(max_queries=1)@seconds=30"),
    ],
)
def test_the_key_of_a_cell(budget: Budget, seed: int, key: str, tmp_path: Path) -> None:
    cell = Cell(Parallel(max_queries=1), budget, seed)
    assert (cell.key, Store(tmp_path).path(cell.key).stem) == (key, key)


def test_two_configurations_of_a_mode_have_two_files(tmp_path: Path) -> None:
    modes = spec.parse_list("parallel,parallel(max_queries=1),parallel(profile=rag-r1)")
    assert [Store(tmp_path).path(Cell(mode).key).name for mode in modes] == [
        "parallel.jsonl", "parallel(max_queries=1).jsonl", "parallel(profile=rag-r1).jsonl",
    ]  # fmt: skip


def test_the_file_of_a_key_that_is_no_file_name(tmp_path: Path) -> None:
    """Names of modes of other packages make files that can be written, one for each."""
    names = ["a/b", "a_b", "a:b", "a b", "../up", "ü" * 99, "x" * 300, "x" * 301, "con|", "a\nb", "a\0b"]
    files = set()
    for name in names:
        cell = Cell(type("Made", (Once,), {"name": name})())
        path = Store(tmp_path).path(cell.key)
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        assert path.parent == tmp_path / "rows"
        files.add(path)
    assert len(files) == len(list((tmp_path / "rows").iterdir())) == len(names)


@pytest.mark.parametrize("inside", ["a.py", "search/b.py", "search/deep/c.toml"])
def test_an_edit_at_any_depth_changes_the_mark(inside: str, tmp_path: Path) -> None:
    for name in ("a.py", "search/b.py", "search/deep/c.toml", "search/__pycache__/b.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    before = attempt._mark.__wrapped__([tmp_path])
    (tmp_path / "search" / "__pycache__" / "b.pyc").write_text("compiled anew")
    assert attempt._mark.__wrapped__([tmp_path]) == before
    (tmp_path / inside).write_text("edited")
    assert attempt._mark.__wrapped__([tmp_path]) != before


def test_the_source_of_a_mode_from_elsewhere_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within another mode."""
    (tmp_path / "elsewhere.py").write_text("from ragscale.modes import Once\nclass Inner(Once): name = 'inner'\n")
    monkeypatch.syspath_prepend(tmp_path)
    inner = importlib.import_module("elsewhere").Inner()

    @dataclass(frozen=True, kw_only=True)
    class Outer(Once):
        name = "outer"
        of: Mode = inner

    assert tmp_path / "elsewhere.py" in attempt._sources(inner)
    assert attempt._sources(Outer()) == {tmp_path / "elsewhere.py", Path(__file__)}
    built_in = attempt.code_mark(Once())
    assert built_in == attempt.code_mark(Chain()), "rows of two modes of one source are comparable"
    assert re.fullmatch(r"[0-9a-f]{12}\+[0-9a-f]{12}", attempt.code_mark(inner))
    assert attempt.code_mark(inner).startswith(built_in)


async def test_cells_share_questions_and_calls(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    """Every budget and seed sees the same questions in the same order; what a cell has paid, no other one pays."""
    model = ScriptedLLM(script)
    done: list[tuple[str, str]] = []
    run = await asweep(
        make_agent(model), questions, ["once", "chain(steps=2)"], tmp_path / "run", limit=2, concurrency=1,
        budgets=[Budget(tokens=tokens) for tokens in (2_000, 4_000, 8_000)], seeds=[0, 1],
        progress=lambda cell, row, done_, total: done.append((row.id, cell.key)) if row else None,
    )  # fmt: skip
    assert len(run.cells) == 12
    order = [question.id for question in shuffled(questions)[:2]]
    assert done == [(id, key) for id in order for key in run.cells]
    table = run.rows()
    assert table.num_rows == 24
    assert sum(table["paid_llm_calls"].to_pylist()) == len(model.calls)
    assert sum(table["total_llm_calls"].to_pylist()) > 3 * len(model.calls)
    for row in table.to_pylist():
        assert row["paid_tokens"] == (row["total_tokens"] if (row["id"], row["cell"]) in _first(done) else 0)


def _first(done: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """The first cell of each mode that a question was asked in."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for id, key in done:
        found.setdefault((id, key.partition("@")[0]), (id, key))
    return set(found.values())


async def test_a_run_can_be_extended(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    """By questions, modes, budgets and seeds, each in a call of its own; a smaller call looks at a part of it."""
    run = await asweep(make_agent(), questions[:2], ["once"], tmp_path)
    assert run.rows().num_rows == 2
    for options, rows in (
        ({"seeds": [0, 1]}, 6),
        ({"budgets": [Budget(tokens=900)]}, 3),
        ({"chosen": ["direct"]}, 3),
        ({"limit": 1}, 1),
    ):
        given: dict[str, Any] = {"chosen": ["once"], **options}
        run = await asweep(make_agent(), questions, given.pop("chosen"), tmp_path, **given)
        assert run.rows().num_rows == rows
    whole = Run(tmp_path)
    assert list(whole.cells) == ["once", "once@seed=1", "once@tokens=900", "direct"]
    assert (whole.rows().num_rows, set(whole.questions)) == (12, {"q1", "q2", "q3"})


async def test_a_cell_that_is_ill_is_said_before_the_bulk(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    def ill(messages: Any, call: Any) -> Any:
        return ModelError("no plans today") if "queries" in json.dumps(call.schema) else script(messages, call)

    model = ScriptedLLM(ill)
    with pytest.raises(RagscaleError, match=r"each of the first 2 questions failed in chain, parallel: .*no plans tod"):
        await asweep(make_agent(model), questions, ["once", "chain", "parallel"], tmp_path)
    assert [row["id"] for row in lines(tmp_path / "rows" / "once.jsonl")] == ["q3", "q2"]
    run = await asweep(make_agent(model), questions, ["once", "chain", "parallel"], tmp_path, health=False)
    failed = {row["cell"]: row["failed"] for row in run.rows().to_pylist()}
    assert failed == {"once": False, "chain": True, "parallel": True}


async def test_a_failed_question_scores_nothing_and_is_charged_and_paid_for_every_attempt(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    """The last call fails, after a plan and an answer to a sub-query that could be taken for an answer."""

    def last(messages: Any, call: Any) -> Any:
        return ModelError("gone") if "answer" in json.dumps(call.schema) else script(messages, call)

    run = await asweep(make_agent(ScriptedLLM(last)), questions, ["chain(steps=1)"], tmp_path, limit=1)
    [row] = run.rows().to_pylist()
    assert (row["failed"], row["em"], row["f1"]) == (True, 0.0, 0.0)
    assert row["total_llm_calls"] == row["paid_llm_calls"] == 3
    run = await asweep(make_agent(ScriptedLLM(script)), questions, ["chain(steps=1)"], tmp_path, limit=1)
    [again] = run.rows().to_pylist()
    assert (again["failed"], again["total_llm_calls"]) == (False, 3)
    assert again["paid_llm_calls"] == 4, "the plan and the sub-answer were in the store"


def test_a_trace_that_is_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    place = store.append_trace(Cell(Once()), {"answer": "x"})
    assert store.append_trace(Cell(Once()), {"answer": "y"}) == (place[1], place[1])
    assert store.read_trace("once", place) == {"answer": "x"}
    with store.path("once", traces=True).open("r+b") as file:
        file.truncate(place[1] + 5)
    assert store.read_trace("once", place) == {"answer": "x"}
    for key, where in (("once", (place[1], place[1])), ("once", (3, 20)), ("chain", place)):
        with pytest.raises(InvalidInput, match="the trace cannot be read"):
            store.read_trace(key, where)


async def test_what_a_run_does_not_have(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no run \(no config\.json\)"):
        Run(tmp_path / "nowhere")
    run = await asweep(make_agent(), questions, ["once"], tmp_path, limit=1)
    with pytest.raises(InvalidInput, match=r"no cell 'chain'\. It has: once"):
        run.trace("chain", "q3")
    with pytest.raises(InvalidInput, match="no question 'q9'"):
        run.trace("once", "q9")
    for ask in (run.finished, lambda cell: run.row(cell, "q3"), lambda cell: Run(tmp_path, cells=["once", cell])):
        with pytest.raises(InvalidInput, match=r"no cell 'chain'\. It has: once"):
            ask("chain")
    with pytest.raises(InvalidInput, match=r"no question 'q9'\. It has: q3"):
        Run(tmp_path, questions=["q9"])
    await asweep(make_agent(), questions, ["chain"], tmp_path, limit=3)
    with pytest.raises(InvalidInput, match="it has not been asked yet"):
        Run(tmp_path).trace("once", "q1")


async def test_gold_that_the_index_does_not_know_is_named_and_no_miss(make_agent: MakeAgent, tmp_path: Path) -> None:
    asked = [
        Question("q1", "Where was the discoverer of polonium born?", ("Warsaw",), ("Polonium", "nowhere"), "bridge", 2),
        Question("q2", "Which river flows through the capital of France?", ("the Seine",), ("gone",)),
    ]
    with pytest.warns(GoldWarning, match=r"no passage, document or title 'nowhere', 'gone'|'gone', 'nowhere'"):
        await asweep(make_agent(), asked, [Once()], tmp_path / "run")
    rows = Run(tmp_path / "run").rows().to_pylist()
    # "Polonium" is the title of a passage that is found; what is left of q1 has one gold passage, of q2 none
    assert [(row["gold_recall"], row["full_recall"], row["gold_passages"]) for row in rows] == [
        (1.0, True, 1),
        (None, None, 0),
    ]
    kept = lines(tmp_path / "run" / "rows" / "once.jsonl")
    assert {row["id"]: (row["type"], row["hops"]) for row in kept} == {"q1": ("bridge", 2), "q2": (None, None)}
    assert Run(tmp_path / "run").questions["q1"] == asked[0]


async def test_a_folder_that_holds_the_calls_of_a_start_alone_is_gone_on_with(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    """As a start that was broken off before its settings were written leaves it: nothing is paid again."""
    whole = await asweep(make_agent(), questions, ["once"], tmp_path / "whole", limit=1)
    for name in ("run", "other"):
        (tmp_path / name).mkdir()
        shutil.copy(tmp_path / "whole" / "calls.sqlite", tmp_path / name)
        (tmp_path / name / "calls.sqlite-lock").touch()
    llm = ScriptedLLM(script)
    run = await asweep(make_agent(llm), questions, ["once"], tmp_path / "run", limit=1)
    assert llm.calls == []
    assert run.rows().to_pylist()[0]["answer"] == whole.rows().to_pylist()[0]["answer"]
    (tmp_path / "other" / "notes.txt").touch()
    with pytest.raises(InvalidInput, match="not empty and no run"):
        await asweep(make_agent(), questions, ["once"], tmp_path / "other")
