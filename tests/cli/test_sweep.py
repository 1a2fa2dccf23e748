"""``ragscale sweep``: a grid of modes, budgets and seeds; recording and replay."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.cli.sweep import amounts
from ragscale.errors import InvalidInput
from ragscale.llm.scripted import ScriptedLLM


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.mark.usefixtures("model")
def test_a_grid(world: tuple[str, str], tmp_path: Path) -> None:
    words = ["sweep", *world, "--mode", "once,chain(steps=1)", "--tokens", "1k, 1.5k,3000", "--rounds", "1,2"]
    result = invoke(*words, "--seed", "0,3", "--out", f"{tmp_path}/run", "--json")
    assert result.exit_code == 0, result.stderr
    cells = json.loads(result.stdout)["cells"]
    assert len(cells) == 2 * 3 * 2 * 2
    assert "chain(steps=1)@rounds=2,tokens=1500,seed=3" in cells
    assert all(cell["n"] == 3 for cell in cells.values())
    again = invoke(*words, "--seed", "0,3", "--out", f"{tmp_path}/run", "--json")
    assert again.stdout == result.stdout
    table = invoke(*words, "--out", f"{tmp_path}/run")
    assert table.stdout.startswith("Means over 3 questions; ")
    one = invoke(
        "eval", *world, "--mode", "once,chain(steps=1)", "--tokens", "1500", "--rounds", "1", "--out", f"{tmp_path}/run"
    )
    assert "Means over 3 questions at rounds=1,tokens=1500; " in " ".join(one.stdout.split())
    assert {"once", "chain(steps=1)"} <= {line.split()[0] for line in one.stdout.splitlines() if line.strip()}


@pytest.mark.parametrize(
    ("text", "kind", "numbers"),
    [
        ("1k,2k,0.5m", int, [1000, 2000, 500_000]),
        (" 7 , 7,8K", int, [7, 8000]),
        ("0.5,30", float, [0.5, 30.0]),
        ("1.1k", int, [1100]),
        ("500,800", int, [500, 800]),
        ("0.001,0.05,0.005", float, [0.001, 0.05, 0.005]),
        ("9007199254740993,-12345678901234567891", int, [9007199254740993, -12345678901234567891]),
        ("0.0000000001", float, [1e-10]),
        ("1,1.0,0.001k", int, [1]),
    ],
)
def test_amounts(text: str, kind: Any, numbers: list[float]) -> None:
    assert amounts("tokens", text, kind) == numbers


@pytest.mark.parametrize("text", ["", "1k,", "k", "1.5", "ten", "1e3", "--", "inf", "1." + "0" * 299 + "1", "9" * 9999])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--serial-tokens '.*' is not a whole number\. Give it as in 4000, 4k"):
        amounts("serial_tokens", text)


@pytest.mark.parametrize("text", ["-1,x", "0,", "1.5", "many"])
def test_what_is_no_seed(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--seed '.*' is not a whole number\. Give it as in 0,1,2\.$"):
        amounts("seed", text)


@pytest.mark.parametrize("text", ["4,000", "16,000", "4,500", "1,000,000", "2000,16,000", "12,345"])
def test_a_comma_within_a_number_is_no_two_limits(text: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"--tokens '{text}': a comma stands between two numbers\. Write 4000 or 4k"
    ):
        amounts("tokens", text)


def test_ask_is_recorded_and_replayed(world: tuple[str, str], tmp_path: Path, model: ScriptedLLM) -> None:
    words = ["ask", world[0], "Does radium glow?", "--mode", "chain(steps=2)", "--json", "--trace", "moves"]
    first = invoke(*words, "--record", f"{tmp_path}/calls")
    assert first.exit_code == 0, first.stderr
    made = len(model.calls)
    replayed = invoke(*words, "--replay", f"{tmp_path}/calls", "--llm", "openai:http://nowhere#gone")
    assert replayed.exit_code == 0, replayed.stderr
    assert len(model.calls) == made
    then, now = json.loads(first.stdout), json.loads(replayed.stdout)
    assert now["answer"] == then["answer"]
    assert now["spend"]["stored"]["llm_calls"] == then["spend"]["total"]["llm_calls"] == made
    assert now["spend"]["total"]["tokens" if "tokens" in now["spend"]["total"] else "prompt_tokens"]
    other = invoke("ask", world[0], "Which river?", "--replay", f"{tmp_path}/calls")
    assert other.exit_code == 1
    assert "no c" in other.stderr
    assert "Record the run anew" in other.stderr
    both = invoke(*words, "--replay", "a", "--record", "b")
    assert "--record and --replay together" in both.stderr


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("openai:http://nowhere/v1#gone?header.X=secret", "gone"),
        ("ollama:qwen3:4b", "qwen3:4b"),
        ("openai:openai/gpt-oss", "openai/gpt-oss"),
        ("vllm:Qwen/Qwen3-8B?tensor-parallel-size=2", "Qwen/Qwen3-8B"),
        ("embedded:/models/gemma.gguf", "gemma by llama.cpp"),
        ("openvino", "qwen2.5-coder-1.5b-instruct-q4_k_m by openvino"),
        ("openai:http://nowhere/v1#scripted", ""),
        ("openai:http://nowhere/v1", ""),
        ("openai", ""),
        (None, ""),
    ],
)
@pytest.mark.parametrize("command", ["ask", "eval"])
def test_another_model_than_the_one_replayed_is_told(
    world: tuple[str, str], tmp_path: Path, model: ScriptedLLM, command: str, spec: str | None, told: str
) -> None:
    """It is not asked, and the answers are the recorded model's."""
    calls = tmp_path / "calls"
    words = [command, world[0], "Does radium glow?" if command == "ask" else world[1], "--mode", "once", "--json"]
    out = [[], []] if command == "ask" else [["--out", f"{tmp_path}/{name}"] for name in ("then", "now")]
    first = invoke(*words, *out[0], "--record", str(calls))
    assert first.exit_code == 0, first.stderr
    made = len(model.calls)
    replayed = invoke(*words, *out[1], "--replay", str(calls), *(["--llm", spec] if spec else []))
    assert replayed.exit_code == 0, replayed.stderr
    assert len(model.calls) == made
    line = f"Warning: {calls} holds calls of scripted, which are replayed: {told}, which --llm or RAGSCALE_LLM names"
    assert (line in replayed.stderr) == ("holds calls of" in replayed.stderr) == bool(told)
    assert "secret" not in replayed.stderr


def test_a_sweep_is_replayed_from_its_own_calls(world: tuple[str, str], tmp_path: Path, model: ScriptedLLM) -> None:
    words = ["sweep", *world, "--mode", "once,chain(steps=1)", "--tokens", "1k,2k", "--json"]
    first = invoke(*words, "--out", f"{tmp_path}/run")
    made = len(model.calls)
    again = invoke(*words, "--out", f"{tmp_path}/again", "--replay", f"{tmp_path}/run/calls.sqlite")
    assert again.exit_code == 0, again.stderr
    assert len(model.calls) == made
    scores = [
        {cell: (means["em"], means["f1"], means["tokens"]) for cell, means in json.loads(out)["cells"].items()}
        for out in (first.stdout, again.stdout)
    ]
    assert scores[0] == scores[1]
    assert not (tmp_path / "again" / "calls.sqlite").exists()
    more = invoke(
        *words, "--mode", "parallel", "--out", f"{tmp_path}/again", "--replay", f"{tmp_path}/run/calls.sqlite"
    )
    assert more.exit_code == 1
    assert "calls.sqlite: no " in more.stderr


def test_a_dry_run_spends_nothing(world: tuple[str, str], tmp_path: Path, model: ScriptedLLM) -> None:
    """First by the shapes of the modes, then by the rows that the run has; prices make dollars of it."""
    prices = tmp_path / "prices.toml"
    prices.write_text("[scripted]\ninput = 1.0\noutput = 2.0\n")
    words = ["sweep", *world, "--mode", "once,chain(steps=1)", "--tokens", "1k,2k", "--out", f"{tmp_path}/run"]
    words += ["--prices", str(prices)]
    before = invoke(*words, "--dry-run", "--json")
    assert before.exit_code == 0, before.stderr
    plan = json.loads(before.stdout)
    assert [cell["cell"] for cell in plan["cells"]] == [
        "once@tokens=1000", "once@tokens=2000", "chain(steps=1)@tokens=1000", "chain(steps=1)@tokens=2000",
    ]  # fmt: skip
    assert {(cell["questions"], cell["basis"]) for cell in plan["cells"]} == {(3, "shape")}
    assert plan["total"]["usd"] > 0
    assert plan["total"]["seconds"] is None
    assert (model.calls, (tmp_path / "run").exists()) == ([], False)
    stopped = invoke(*words, "--max-cost", "0.000001")
    assert (stopped.exit_code, model.calls) == (1, [])
    assert "--max-cost is $0.000001" in stopped.stderr
    assert invoke(*words, "--max-cost", "0.000001", "--yes", "--limit", "2").exit_code == 0
    after = json.loads(invoke(*words, "--dry-run", "--json").stdout)
    assert {(cell["questions"], cell["basis"]) for cell in after["cells"]} == {(1, "rows")}
    assert 0 < after["total"]["usd"] < plan["total"]["usd"]
    assert after["total"]["seconds"] is not None
    table = invoke(*words, "--dry-run")
    assert [line.split()[0] for line in table.stdout.splitlines() if line.startswith(("once", "all"))][-1] == "all"
    assert table.stderr == (
        "As the questions that a cell was asked before; calls that cells share are paid once.\n"
        "Minutes are for --concurrency 2, by seconds measured at the concurrency of the run: an upper bound where that "
        "was higher, a lower bound where it was lower.\n"
    )
    assert "Minutes" not in invoke(*words[:-3], f"{tmp_path}/new", "--dry-run").stderr, "unknown"
    wider = invoke(*words[:4], "chain(steps=1),direct", *words[5:], "--dry-run")
    assert wider.stderr.startswith(
        "By the modes' own sizing, for a model that always finds more to ask (short passages "
    )
    assert "no limit is passed); as the questions that a cell was asked before;" in wider.stderr


def test_a_dry_run_refuses_what_the_sweep_would_refuse(
    world: tuple[str, str], tmp_path: Path, model: ScriptedLLM
) -> None:
    words = ["sweep", *world, "--tokens", "1k", "--out", f"{tmp_path}/run"]
    assert invoke(*words, "--mode", "once", "--limit", "2").exit_code == 0
    asked = len(model.calls)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    questions = tmp_path / "questions.jsonl"
    questions.write_text(Path(world[1]).read_text().replace("?", "??"))
    cases = [
        ([*words, "--mode", "once", "--prices", "1/h"], "a run with price None, not "),
        ([*words[:-1], f"{tmp_path}/other", "--mode", "once"], "not empty and no run"),
        (["sweep", world[0], str(questions), *words[3:], "--mode", "once"], "a run with another question"),
        ([*words, "--mode", "once", "--race", "--baseline", "chain"], "baseline 'chain' is not among the modes"),
        ([*words, "--mode", "once,chain", "--baseline", "chain"], "--baseline without --race"),
        ([*words, "--mode", "once", "--rounds", ""], "--rounds '' is not a whole number"),
    ]
    for given, problem in cases:
        for more in (["--dry-run"], []):
            refused = invoke(*given, *more)
            assert (refused.exit_code, problem in " ".join(refused.stderr.split())) == (1, True), (
                given,
                refused.stderr,
            )
    assert len(model.calls) == asked
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["notes.txt"]


def test_a_race_says_what_it_dropped(world: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_raced_sweep import MODES, QUESTIONS, misled

    monkeypatch.setattr("ragscale.agent.load", lambda spec: spec if isinstance(spec, ScriptedLLM) else model)
    model = ScriptedLLM(misled)
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(f"{json.dumps(asdict(question))}\n" for question in QUESTIONS[:20]))
    words = ["sweep", world[0], str(questions), "--mode", ",".join(MODES), "--race", "--json"]
    result = invoke(*words, "--out", f"{tmp_path}/run")
    assert result.exit_code == 0, result.stderr
    told = " ".join(result.stderr.split())
    assert "once(k=2): dropped after 16 questions: once(k=1) is better by 1.00 (at least 0." in told
    assert json.loads(result.stdout)["cells"]["once(k=2)"]["n"] == 16
    assert "dropped" not in invoke(*words, "--baseline", "once(k=2)", "--out", f"{tmp_path}/kept").stderr


def test_dollars_without_a_price_are_refused_before_anything_is_written(
    world: tuple[str, str], tmp_path: Path, model: ScriptedLLM
) -> None:
    """The run would be pinned to no price, and could not be gone on with once one is given."""
    words = ["sweep", *world, "--mode", "once", "--usd", "0.01", "--out", f"{tmp_path}/run"]
    refused = invoke(*words)
    assert refused.exit_code == 1
    assert "price is unknown" in " ".join(refused.stderr.replace("\u2502", " ").split())
    assert (model.calls, (tmp_path / "run").exists()) == ([], False)
    prices = tmp_path / "prices.toml"
    prices.write_text("[scripted]\ninput = 1.0\noutput = 2.0\n")
    assert invoke(*words, "--prices", str(prices)).exit_code == 0
