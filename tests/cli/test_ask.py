"""``ragscale ask``: the answer on standard output, the steps on standard error, a stable JSON form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from smallworld import build, script
from typer.testing import CliRunner

from ragscale.agent import Agent
from ragscale.answer import Answer, AnswerSpend
from ragscale.cli import app
from ragscale.cli.terminal import plain, show_trace
from ragscale.errors import ModelError
from ragscale.llm import Usage
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.types import Event, Message, Spend

QUESTION = "Where was the discoverer of polonium born?"
SPEND = {
    "llm_calls", "prompt_tokens", "completion_tokens", "cached_tokens", "queries", "passages", "rounds", "seconds",
    "reasoning_tokens", "estimated_tokens", "usd",
}  # fmt: skip
TEXTS = {"input", "output", "passages", "note", "hits", "plan", "known"}
EVENT = {
    "move", "branch", "spend", "score", "id", "parent", "start", "status", "prompt", "reserved", "choices", *TEXTS,
}  # fmt: skip
TIMES = {"seconds", "start", "started", "ended"}
KEYS = {
    "question", "answer", "citations", "mode", "model", "index", "seed", "limits", "started", "ended", "seconds",
    "stop_reason", "reason", "caveat", "spend", "trace", "version", "passages", "prompts",
}  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The index."""
    return str(build(tmp_path_factory.mktemp("world")))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedLLM:
    """The model that every --llm means."""
    model = ScriptedLLM(script, score=lambda messages, text: -1.0)
    monkeypatch.setattr("ragscale.agent.load", lambda spec: model)
    return model


@pytest.mark.parametrize(
    ("mode", "planned"), [("once", 0), ("chain(steps=2)", 2), ("parallel", 4), ("tree(steps=1, expand=2)", 2)]
)
def test_json_has_the_documented_form(folder: str, model: ScriptedLLM, mode: str, planned: int) -> None:
    result = CliRunner().invoke(app, ["ask", folder, QUESTION, "--mode", mode, "--json"])
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    assert set(answer) == KEYS
    assert (answer["question"], answer["mode"], answer["stop_reason"]) == (QUESTION, mode, "answered")
    assert (answer["model"], answer["seed"], answer["limits"]) == (model.name, 0, {})
    assert (answer["index"]["source"], answer["index"]["how"]) == (folder, "bm25")
    assert len(answer["index"]["fingerprint"]) == 64
    assert answer["started"] <= answer["ended"]
    assert answer["ended"].endswith("+00:00")
    assert 0 <= answer["seconds"] < 60
    assert answer["answer"]
    assert answer["citations"]
    assert set(answer["spend"]) == {"total", "serial", "lost", "stored"}
    for spend in (*answer["spend"].values(), *(event["spend"] for event in answer["trace"])):
        assert set(spend) == SPEND
    assert answer["spend"]["total"]["llm_calls"] == len(model.calls)
    assert all(set(event) == EVENT for event in answer["trace"])
    # The question itself, then every query that the model planned: all are searched, and find the capitals.
    first, *queries = [query for event in answer["trace"] if event["move"] == "retrieve" for query in event["input"]]
    assert (first, len(set(queries)), len(queries)) == (QUESTION, planned, planned)
    assert all(query.startswith("capital number ") for query in queries)
    found = [event["passages"] for event in answer["trace"] if event["move"] == "retrieve"][1:]
    assert all(set(ids) == {"warsaw", "paris"} for ids in found)
    assert {event["status"] for event in answer["trace"]} <= {"", "kept"}
    assert len({event["id"] for event in answer["trace"]}) == len(answer["trace"])


def test_json_is_exactly_the_answers_own(folder: str, model: ScriptedLLM) -> None:
    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if key not in TIMES}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    result = CliRunner().invoke(app, ["ask", folder, QUESTION, "--mode", "once", "--json"])
    with Agent(folder, model, "once") as agent:
        assert timeless(json.loads(result.stdout)) == timeless(agent.ask(QUESTION).to_dict())


@pytest.mark.usefixtures("model")
def test_the_trace_in_json_is_whole_or_without_texts_or_left_out(folder: str) -> None:
    command = ["ask", folder, QUESTION, "--mode", "once"]
    for form, keys in (("full", EVENT), ("moves", EVENT - TEXTS), ("none", set[str]())):
        answer = json.loads(CliRunner().invoke(app, [*command, "--json", "--trace", form]).stdout)
        assert set(answer) == KEYS
        assert [set(event) for event in answer["trace"]] == [keys] * (2 if keys else 0)
    refused = CliRunner().invoke(app, [*command, "--trace", "moves"])
    assert refused.exit_code == 1
    assert "--trace moves without --json" in refused.stderr


@pytest.mark.usefixtures("model")
def test_the_answer_and_its_sources_go_to_standard_output_and_the_steps_to_standard_error(folder: str) -> None:
    result = CliRunner().invoke(app, ["ask", folder, QUESTION, "--mode", "once"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()[:2]
    assert first == "Warsaw, Poland"
    assert second.startswith("  [")
    assert "once: answered." in result.stdout
    assert [step.split()[0] for step in result.stderr.splitlines() if step.strip()] == ["retrieve", "answer"]
    assert "trace" not in result.stdout
    rows = {row.split()[0]: row.split() for row in result.stdout.splitlines() if row.startswith(("total", "serial"))}
    assert rows["total"][1] == rows["serial"][1] == "1"


def test_what_trying_the_model_out_has_cost_is_shown_apart(folder: str, model: ScriptedLLM) -> None:
    model.probe_spend = Spend(llm_calls=3, prompt_tokens=40, completion_tokens=5)  # type: ignore[attr-defined]
    result = CliRunner().invoke(app, ["ask", folder, QUESTION, "--mode", "once"], env={"COLUMNS": "120"})
    assert "not charged: 3 calls to try the model out, 40 + 5 tokens\n" in result.stderr
    assert next(row.split()[1] for row in result.stdout.splitlines() if row.startswith("total")) == "1"


def test_what_a_limit_rests_on_is_shown(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the answer; `caveat` of the JSON has the same words."""

    def guessed(usage: Usage, call: ScriptedCall) -> Usage:
        return replace(usage, estimated_tokens=usage.prompt_tokens)

    monkeypatch.setattr("ragscale.agent.load", lambda spec: ScriptedLLM(script, usage=guessed))
    command = ["ask", folder, QUESTION, "--mode", "once", "--tokens", "4000"]
    caveat = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["caveat"]
    assert "on which the limit of 4,000 rests" in caveat
    shown = CliRunner().invoke(app, command, env={"COLUMNS": "400"}).stdout
    assert f"once: answered. {caveat}\n" in shown


@pytest.mark.usefixtures("model")
def test_show_trace_prints_the_whole_trace_after_the_answer(folder: str) -> None:
    command = ["ask", folder, QUESTION, "--mode", "once", "--show-trace"]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    tree = result.stdout[result.stdout.index("\ntrace\n") :].splitlines()
    assert [row.split()[1] for row in tree[2:]] == ["retrieve", "answer"]


def test_a_trace_is_a_tree_by_branch() -> None:
    trace = [
        Event("plan", "", output="x"),
        Event("read", "0", output="y", spend=Spend(1, 5, 2)),
        Event("score", "0.1", score=0.5),
        Event("select", "", note="kept 0"),
    ]
    nothing = AnswerSpend(Spend(), Spend())
    console = Console(width=80)
    with console.capture() as shown:
        show_trace(console, Answer("z", [], "tree", "answered", nothing, trace))
    assert [row.rstrip() for row in shown.get().splitlines()] == [
        "trace",
        "├── plan     x",
        "├── 0",
        "│   ├── read     y  5 + 2 tokens",
        "│   └── 0.1",
        "│       └── score    0.500",
        "└── select     kept 0",
    ]


@pytest.mark.usefixtures("model")
def test_limits_reach_the_run(folder: str) -> None:
    command = ["ask", folder, QUESTION, "--mode", "chain", "--rounds", "1", "--calls", "5", "--queries", "4", "--json"]
    answer = json.loads(CliRunner().invoke(app, command).stdout)
    assert answer["stop_reason"] == "budget:rounds"
    assert answer["spend"]["serial"]["rounds"] == 1
    assert answer["answer"]


def test_the_model_and_the_seed_that_are_given_reach_the_run(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    specs: list[str] = []
    model = ScriptedLLM(script)

    def load(spec: Any) -> ScriptedLLM:
        specs.append(spec)
        return model

    monkeypatch.setattr("ragscale.agent.load", load)
    monkeypatch.delenv("RAGSCALE_LLM", raising=False)

    def seeds(*options: str, env: dict[str, str] | None = None) -> list[int | None]:
        model.calls.clear()
        result = CliRunner().invoke(app, ["ask", folder, QUESTION, "--mode", "once", "--json", *options], env=env)
        assert result.exit_code == 0, result.stderr
        return [call.seed for call in model.calls]

    def expected(seed: int) -> list[int | None]:
        model.calls.clear()
        with Agent(folder, model, "once", seed=seed) as agent:
            agent.ask(QUESTION)
        specs.pop()
        return [call.seed for call in model.calls]

    place = {"RAGSCALE_LLM": "openai:http://localhost:8000/v1#from-the-environment"}
    assert seeds() == expected(0)
    assert seeds("--llm", "openai:http://localhost:8000/v1#org/model", "--seed", "7", env=place) == expected(7)
    assert seeds("--seed", "8", env=place) == expected(8)
    assert len({*expected(0), *expected(7), *expected(8)}) == 3
    assert specs == ["embedded", "openai:http://localhost:8000/v1#org/model", place["RAGSCALE_LLM"]]


@pytest.mark.usefixtures("model")
def test_no_answer_is_exit_code_1_with_the_reason(folder: str) -> None:
    for extra in ([], ["--json"]):
        result = CliRunner().invoke(app, ["ask", folder, QUESTION, "--tokens", "0", *extra])
        assert result.exit_code == 1
        assert "No answer (budget:tokens): tokens: " in result.stderr
        assert "Raise tokens in the budget." in " ".join(result.stderr.split())
        if extra:
            assert json.loads(result.stdout)["answer"] == ""


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{index}", "Where?", "--mode", "treee"], "Did you mean 'tree'?"),
        (["{index}", "Where?", "--mode", "once,once"], "mode 'once' is given twice"),
        (["{index}", "Where?", "--gold", "here", "--json"], "--gold with --json"),
        (["{index}", "Where?", "--gold", "here", "--gold", " "], "--gold is blank"),
        (["{index}", " "], "Ask something."),
        (["{index}", "Where?", "--tokens", "-1"], "budget tokens=-1"),
        (["{index}", "Where?", "--how", "dense"], "lexical-only index"),
        (["/nowhere", "Where?"], "not an index"),
    ],
)
def test_bad_input_is_a_message_and_no_traceback(folder: str, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["ask", *(part.format(index=folder) for part in arguments)])
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("url", ["http://[::1", "http://localhost:abc/v1", "http://localhost:999999/v1"])
def test_bad_urls_are_a_message_and_no_traceback(folder: str, url: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("Polonium is an element.")
    for command in (
        ["ask", folder, "Where?", "--llm", f"openai:{url}"],
        ["search", url, "polonium"],
        ["index", "build", str(corpus), "-o", str(tmp_path / "index"), "--embedder", f"endpoint:{url}"],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1
        assert f"{url!r} is not a URL of a server. Write it as in http://" in result.stderr


def test_markup_and_control_codes_of_a_model_do_not_reach_the_terminal(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hostile(messages: Sequence[Message], call: Any) -> str:
        return json.dumps({"facts": "", "documents": [1], "answer": "[red]x[/red] \x1b[2J\ud800 end"})

    monkeypatch.setattr("ragscale.agent.load", lambda spec: ScriptedLLM(hostile))
    command = ["ask", folder, QUESTION, "--mode", "once"]
    shown = CliRunner().invoke(app, [*command, "--show-trace"])
    assert shown.exit_code == 0
    assert "[red]x[/red] \ufffd[2J? end" in shown.stdout
    assert "\x1b" not in shown.stdout + shown.stderr
    printed = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(printed.stdout)["answer"] == "[red]x[/red] \x1b[2J? end"


def test_a_failing_model_is_reported_with_what_it_said(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragscale.agent.load", lambda spec: ScriptedLLM(lambda m, c: ModelError("no [bold] luck")))
    result = CliRunner().invoke(app, ["ask", folder, QUESTION, "--mode", "once"])
    assert result.exit_code == 1
    assert "No answer (failed): no [bold] luck" in result.stderr


def test_plain_keeps_text_and_line_breaks() -> None:
    assert plain("Où est-ce ?\n\t日本 \x07\x9b") == "Où est-ce ?\n\t日本 \ufffd\ufffd"


def test_the_app_is_found_where_the_package_says(folder: str) -> None:
    import subprocess
    import sys

    script_path = Path(sys.executable).parent / "ragscale"
    result = subprocess.run([script_path, "search", folder, "polonium", "-k", "1", "--json"], capture_output=True)
    assert result.returncode == 0, result.stderr
    (hit,) = json.loads(result.stdout)["hits"]
    assert (set(hit), hit["id"]) == ({"id", "title", "text", "score"}, "polonium")
