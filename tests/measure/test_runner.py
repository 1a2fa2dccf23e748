"""A run scores, records, resumes and refuses as it says."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_endpoint import FakeEndpoint, Vllm
from smallworld import MakeAgent, script

from ragscale.agent import Agent
from ragscale.budget import Budget
from ragscale.errors import EndpointError, InvalidInput, ModelError, RagscaleError
from ragscale.index import Index
from ragscale.llm.scripted import ScriptedLLM
from ragscale.measure import Cell, ModeReport, Question, Store, evaluate, evaluate_sync, runner
from ragscale.modes import Chain, Mode, Once, Parallel, spec


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_scores_and_spends_of_two_modes(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    seen: list[tuple[str, str | None, int, int]] = []
    reports = await evaluate(
        make_agent(), questions, [Once(), Chain(steps=2)], tmp_path / "run",
        progress=lambda cell, row, done, total: seen.append((cell.key, row and row.id, done, total)),
    )  # fmt: skip
    once, chain = reports["once"], reports["chain(steps=2)"]
    # q1 "Warsaw, Poland" against "Warsaw": F1 2/3; q2 right; q3 "no" against "yes": 0
    assert (once.n, once.em, once.f1) == (3, pytest.approx(1 / 3), pytest.approx((2 / 3 + 1 + 0) / 3))
    # five passages a query: all of a five-passage corpus that share a word; "nowhere" does not exist; q3 has no gold
    assert once.gold_recall == pytest.approx((1.0 + 0.5) / 2)
    assert (once.rounds, once.queries, once.llm_calls, once.failed, once.cut_short) == (1, 1, 1, 0, 0)
    assert (chain.rounds, chain.queries, chain.llm_calls, chain.failed) == (3, 3, 5, 0)
    assert chain.tokens >= chain.serial_tokens > once.tokens
    assert seen[:2] == [("once", None, 0, 3), ("chain(steps=2)", None, 0, 3)]
    assert seen[-1][2:] == (3, 3)
    row = next(row for row in lines(tmp_path / "run" / "once.jsonl") if row["id"] == "q1")
    assert row["question"] == questions[0].question
    assert (row["gold"], row["answer"], row["em"]) == (["Warsaw"], "Warsaw, Poland", 0.0)
    assert (row["stop_reason"], row["reason"], row["gold_recall"]) == ("answered", "", 1.0)
    assert row["citations"]
    assert [event["move"] for event in row["trace"]] == ["retrieve", "answer"]
    assert row["spend"]["total"]["llm_calls"] == row["spend"]["serial"]["llm_calls"] == 1
    rows = lines(tmp_path / "run" / "chain(steps=2).jsonl")
    assert len(rows) == 3
    for row in rows:
        asked = [query for event in row["trace"] if event["move"] == "retrieve" for query in event["input"]]
        assert asked[0] == row["question"]
        assert [query[:15] for query in asked[1:]] == ["capital number "] * 2


async def test_modes_can_be_named(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    """The same run as with objects; a name that is spelt otherwise is the same mode."""
    model = ScriptedLLM(script)
    named = await evaluate(make_agent(model), questions, ["once", "chain( steps = 2 )"], tmp_path / "run")
    made = await evaluate(make_agent(), questions, [Once(), Chain(steps=2)], tmp_path / "run")
    assert list(named) == ["once", "chain(steps=2)"]
    assert named == made
    assert list(await evaluate(make_agent(), questions, ("tree(expand=2, steps=1)", Once(k=1)), tmp_path / "t")) == [
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
        await evaluate(make_agent(), questions, chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("asked", ["q.jsonl", ["Who?"], [{"id": "1", "question": "Who?"}], None])
async def test_what_holds_no_questions_is_refused(asked: Any, make_agent: MakeAgent, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"questions (is|holds)"):
        await evaluate(make_agent(), asked, ["once"], tmp_path / "run")


@pytest.mark.parametrize("number", ["2", 2.0, True, [2]])
@pytest.mark.parametrize("name", ["concurrency", "limit", "skip"])
async def test_what_is_no_whole_number_is_refused(
    name: str, number: Any, make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=f"{name} .* is no whole number"):
        await evaluate(make_agent(), questions, ["once"], tmp_path, **{name: number})


async def test_blocking_in_a_running_loop_as_in_a_notebook(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    reports = evaluate_sync(make_agent(), questions, ["once"], tmp_path / "run", limit=2)
    assert reports == await evaluate(make_agent(), questions, ["once"], tmp_path / "run", limit=2)
    with pytest.raises(InvalidInput, match="Unknown mode 'x'"):
        evaluate_sync(make_agent(), questions, ["x"], tmp_path / "run")


def test_blocking_in_a_thread_and_in_a_script(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    reports = evaluate_sync(make_agent(), questions, ["once"], tmp_path / "run")
    with ThreadPoolExecutor() as pool:
        assert pool.submit(evaluate_sync, make_agent(), questions, ["once"], tmp_path / "run").result() == reports


async def test_several_questions_are_in_flight_and_never_more(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    model = ScriptedLLM(script, delay=0.05)
    await evaluate(make_agent(model), questions, [Once()], tmp_path, concurrency=2)
    assert model.most_running == 2


async def test_a_finished_run_is_read_and_a_larger_limit_adds_to_it(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    first, second, third = (ScriptedLLM(script) for _ in range(3))
    small = await evaluate(make_agent(first), questions, [Once()], tmp_path, limit=2)
    assert (small["once"].n, len(first.calls)) == (2, 2)
    large = await evaluate(make_agent(second), questions, [Once()], tmp_path)
    assert (large["once"].n, len(second.calls)) == (3, 1)
    again = await evaluate(make_agent(third), questions, [Once()], tmp_path, limit=2)
    assert (again, len(third.calls)) == (small, 0)
    late = await evaluate(make_agent(third), questions, [Once()], tmp_path, skip=2)
    assert (late["once"].n, late["once"].em, late["once"].gold_recall) == (1, 0.0, None)
    assert (late["once"].em_se, len(third.calls)) == (None, 0)


async def test_a_half_written_last_line_is_dropped_and_run_again(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    whole = await evaluate(make_agent(), questions, [Once()], tmp_path, concurrency=1)
    path = tmp_path / "once.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    model = ScriptedLLM(script)
    again = await evaluate(make_agent(model), questions, [Once()], tmp_path)
    assert len(model.calls) == 1
    assert [row["id"] for row in lines(path)] == ["q1", "q2", "q3"]
    assert (again["once"].em, again["once"].tokens) == (whole["once"].em, whole["once"].tokens)


async def test_a_damaged_line_in_the_middle_is_refused(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    await evaluate(make_agent(), questions, [Once()], tmp_path)
    path = tmp_path / "once.jsonl"
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(rows[0] + rows[1][:30] + b"\n" + rows[2])
    with pytest.raises(InvalidInput, match=r"once\.jsonl:2: damaged"):
        await evaluate(make_agent(), questions, [Once()], tmp_path)


async def test_failures_are_recorded_counted_and_tried_again(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    def broken(messages: Any, call: Any) -> Any:
        return ModelError("the server is on fire") if "glow?" in messages[-1]["content"] else script(messages, call)

    def defective(messages: Any, call: Any) -> Any:
        raise ZeroDivisionError("a defect")

    report = (await evaluate(make_agent(ScriptedLLM(defective)), questions, [Once()], tmp_path, limit=1))["once"]
    assert (report.n, report.failed, report.em) == (1, 1, 0.0)
    report = (await evaluate(make_agent(ScriptedLLM(broken)), questions, [Once()], tmp_path))["once"]
    assert (report.n, report.failed) == (3, 1)
    model = ScriptedLLM(script)
    report = (await evaluate(make_agent(model), questions, [Once()], tmp_path))["once"]
    assert (report.failed, len(model.calls)) == (0, 1)
    rows = lines(tmp_path / "once.jsonl")
    assert "ZeroDivisionError: a defect" in rows[0]["reason"]
    assert "on fire" in next(row["reason"] for row in rows[1:] if row["stop_reason"] == "failed")
    assert sorted(row["stop_reason"] for row in rows) == ["answered"] * 3 + ["failed"] * 2


async def test_a_server_that_dies_midway_costs_the_questions_left_and_no_other(
    folder: Path, questions: list[Question], tmp_path: Path
) -> None:
    """A real HTTP server that stops listening after the first question; then none at all; then a new one."""

    async def measure(server: FakeEndpoint, **options: Any) -> ModeReport:
        with Index.open(folder) as index:
            agent = Agent(index, f"openai:{server.url}#org/model")
            return (await evaluate(agent, questions, [Once()], tmp_path, concurrency=1, **options))["once"]

    with FakeEndpoint(Vllm()) as dying:
        report = await measure(dying, progress=lambda cell, row, done, total: dying.die() if row else None)
    assert (report.n, report.failed) == (3, 2)
    rows = lines(tmp_path / "once.jsonl")
    assert [(row["id"], row["stop_reason"]) for row in rows] == [("q1", "answered"), ("q2", "failed"), ("q3", "failed")]
    for row in rows[1:]:
        assert "No model server at http://127.0.0.1" in row["reason"]
        assert row["answer"] == ""
    # The same command, while nobody listens: an error at once, and nothing is written.
    with pytest.raises(EndpointError, match=r"No model server at http://127\.0\.0\.1"):
        await measure(dying)
    assert lines(tmp_path / "once.jsonl") == rows
    # And with a server: what was answered is not asked again.
    with FakeEndpoint(Vllm()) as alive:
        report = await measure(alive)
        asked = [body["messages"][-1]["content"] for body in alive.sent("/chat/completions")]
    assert (report.n, report.failed) == (3, 0)
    assert lines(tmp_path / "once.jsonl")[:3] == rows
    assert [question.id for question in questions if any(question.question in text for text in asked)] == ["q2", "q3"]


async def test_a_cancelled_run_leaves_nothing_running(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    under_way = asyncio.Event()

    async def sleep(seconds: float) -> None:
        under_way.set()
        await asyncio.sleep(seconds)

    model = ScriptedLLM(script, delay=30, sleep=sleep)
    task = asyncio.create_task(evaluate(make_agent(model), questions, [Once()], tmp_path))
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
    task = asyncio.create_task(evaluate(make_agent(model), questions, [Once()], tmp_path / "run"))
    await under_way.wait()
    (tmp_path / "run" / "once.jsonl").write_text('{"id": "half of a line')
    with pytest.raises(RagscaleError, match=r"run: another process is writing this run.*give another --out"):
        await evaluate(make_agent(second), questions, [Once()], tmp_path / "run")
    assert (tmp_path / "run" / "once.jsonl").read_text() == '{"id": "half of a line'
    (tmp_path / "run" / "once.jsonl").write_text("")
    go_on.set()
    assert (await task)["once"].n == 3
    again = await evaluate(make_agent(second), questions, [Once()], tmp_path / "run")
    assert (again["once"].n, len(model.calls), len(second.calls)) == (3, 3, 0)


@pytest.mark.parametrize("out", ["file", "file/run"])
async def test_where_no_folder_can_be(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidInput, match=rf"{out}: no run can be written here .*Give another --out"):
        await evaluate(make_agent(), questions, [Once()], tmp_path / out)


async def test_another_setting_is_refused_with_a_remedy(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    await evaluate(make_agent(), questions, [Once()], tmp_path, limit=1)

    async def refused(what: str, agent: Any, asked: list[Any], mode: Any) -> None:
        with pytest.raises(InvalidInput, match=rf"a run with {what}.*Give another --out"):
            await evaluate(agent, asked, [mode], tmp_path, limit=1)

    await refused("llm 'scripted', not 'other'", make_agent(ScriptedLLM(script, name="other")), questions, Once())
    await refused("questions", make_agent(), questions[:2], Once())
    # a further mode is welcome; the same label with another configuration cannot be made, but a file can be edited
    await evaluate(make_agent(), questions, [Parallel()], tmp_path, limit=1)
    config = json.loads((tmp_path / "config.json").read_text())
    assert list(config["cells"]) == ["once", "parallel"]
    config["cells"]["once"]["mode"] = "Once(k=99)"
    (tmp_path / "config.json").write_text(json.dumps(config))
    await refused(r"cells\.once\.mode 'Once\(k=99\)', not .Once\(k=5", make_agent(), questions, Once())


async def test_a_folder_that_is_no_run_is_left_alone(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="not empty and no run"):
        await evaluate(make_agent(), questions, [Once()], tmp_path)
    assert os.listdir(tmp_path) == ["precious.txt"]
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"config\.json: damaged"):
        await evaluate(make_agent(), questions, [Once()], tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert not (tmp_path / "once.jsonl").exists()


@pytest.mark.parametrize(("name", "value"), [("concurrency", 0), ("limit", 0), ("skip", -1), ("skip", 3)])
async def test_numbers_out_of_range(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, name: str, value: int
) -> None:
    with pytest.raises(InvalidInput, match=f"{name} {value}"):
        await evaluate(make_agent(), questions, [Once()], tmp_path / "run", **{name: value})
    assert not (tmp_path / "run").exists()


async def test_rows_of_changed_prompts_are_told_apart(
    make_agent: MakeAgent, questions: list[Question], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = await evaluate(make_agent(), questions, [Once()], tmp_path, limit=1)
    monkeypatch.setattr("ragscale.measure.runner._code", lambda mode: "changed")
    mixed = await evaluate(make_agent(), questions, [Once()], tmp_path)
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
        reports.append(await evaluate(make_agent(model, **setting), questions, [Once()], tmp_path / "run"))
        assert len(model.calls) == 3
        assert len(list((tmp_path / "run").glob("*.jsonl"))) == number
    names = ["once", "once@seed=7", "once@tokens=500", "once@tokens=500,seed=7"]
    assert sorted(path.stem for path in (tmp_path / "run").glob("*.jsonl")) == names
    assert list(json.loads((tmp_path / "run" / "config.json").read_text())["cells"]) == names
    (tmp_path / "run" / "once@seed=7.jsonl").unlink()
    for setting, report, asked in zip(settings, reports, (0, 3, 0, 0), strict=True):
        model = ScriptedLLM(script)
        again = await evaluate(make_agent(model, **setting), questions, [Once()], tmp_path / "run")
        assert len(model.calls) == asked
        assert (again["once"].em, again["once"].tokens) == (report["once"].em, report["once"].tokens)
    [row, *_] = lines(tmp_path / "run" / "once@tokens=500,seed=7.jsonl")
    assert (row["mode"], row["budget"], row["seed"], row["version"]) == ("once", {"tokens": 500}, 7, 1)


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
    assert (cell.key, Store(tmp_path).path(cell).stem) == (key, key)


def test_two_configurations_of_a_mode_have_two_files(tmp_path: Path) -> None:
    modes = spec.parse_list("parallel,parallel(max_queries=1),parallel(profile=rag-r1)")
    assert [Store(tmp_path).path(Cell(mode)).name for mode in modes] == [
        "parallel.jsonl", "parallel(max_queries=1).jsonl", "parallel(profile=rag-r1).jsonl",
    ]  # fmt: skip


def test_the_file_of_a_key_that_is_no_file_name(tmp_path: Path) -> None:
    """Whatever a mode of another package is called: a file that can be written, and one for each."""
    names = ["a/b", "a_b", "a:b", "a b", "../up", "ü" * 99, "x" * 300, "x" * 301, "con|", "a\nb", "a\0b"]
    files = set()
    for name in names:
        cell = Cell(type("Made", (Once,), {"name": name})())
        path = Store(tmp_path).path(cell)
        path.write_text("")
        assert path.parent == tmp_path
        files.add(path)
    assert len(files) == len(list(tmp_path.iterdir())) == len(names)


@pytest.mark.parametrize("inside", ["a.py", "search/b.py", "search/deep/c.toml"])
def test_an_edit_at_any_depth_changes_the_mark(inside: str, tmp_path: Path) -> None:
    for name in ("a.py", "search/b.py", "search/deep/c.toml", "search/__pycache__/b.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    before = runner._mark.__wrapped__([tmp_path])
    (tmp_path / "search" / "__pycache__" / "b.pyc").write_text("compiled anew")
    assert runner._mark.__wrapped__([tmp_path]) == before
    (tmp_path / inside).write_text("edited")
    assert runner._mark.__wrapped__([tmp_path]) != before


def test_the_source_of_a_mode_from_elsewhere_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also within another mode."""
    (tmp_path / "elsewhere.py").write_text("from ragscale.modes import Once\nclass Inner(Once): name = 'inner'\n")
    monkeypatch.syspath_prepend(tmp_path)
    inner = importlib.import_module("elsewhere").Inner()

    @dataclass(frozen=True, kw_only=True)
    class Outer(Once):
        name = "outer"
        of: Mode = inner

    assert tmp_path / "elsewhere.py" in runner._sources(inner)
    assert runner._sources(Outer()) == {tmp_path / "elsewhere.py", Path(__file__)}
    assert runner._code(Once()) != runner._code(inner)
