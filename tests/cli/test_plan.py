"""``ragscale plan``: the course of modes at a budget, without a model, an index or a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from smallworld import script
from typer.testing import CliRunner

from ragscale.agent import Agent
from ragscale.budget import Budget, Ledger
from ragscale.cli import app
from ragscale.index import Index
from ragscale.llm.prices import Price
from ragscale.llm.scripted import ScriptedLLM
from ragscale.measure import Question, Run, dry_run, means, sweep
from ragscale.modes import spec
from ragscale.modes.core import Cost, Costs, Room

EVERY = "once,chain,parallel,tree,vote,best-of-n,mcts,vote(of=best-of-n(of=chain(steps=3), n=2), n=3)"


def planned(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["plan", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_tokens_may_be_said_in_thousands() -> None:
    assert planned("chain", "--tokens", "4k", "--serial-tokens", "2.5k") == planned(
        "chain", "--tokens", "4000", "--serial-tokens", "2500"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("2.5", "--tokens '2.5' is not a whole number. Give it as in 4000, 4k or 0.5m."),
        ("many", "--tokens 'many' is not a whole number. Give it as in 4000, 4k or 0.5m."),
        ("1k,2k", "--tokens '1k,2k' is more than one number. Give one: only a sweep takes several."),
    ],
)
def test_tokens_that_are_none_are_refused_with_a_remedy(given: str, said: str) -> None:
    result = CliRunner().invoke(app, ["plan", "chain", "--tokens", given])
    assert result.exit_code == 1
    assert said in result.output


@pytest.mark.parametrize(
    ("options", "budget"),
    [
        (["--tokens", "1000"], Budget(tokens=1_000)),
        (["--tokens", "16000", "--rounds", "3"], Budget(tokens=16_000, rounds=3)),
        (["--calls", "9"], Budget(llm_calls=9)),
        (["--queries", "7"], Budget(queries=7)),
        (["--serial-tokens", "5000", "--serial-calls", "9"], Budget(serial_tokens=5_000, serial_calls=9)),
        ([], Budget()),
    ],
    ids=str,
)
def test_each_mode_is_planned_as_its_forecast_says(options: list[str], budget: Budget) -> None:
    found = planned(EVERY, *options)["modes"]
    modes = spec.parse_list(EVERY)
    assert [row["mode"] for row in found] == [spec.label(mode) for mode in modes]
    for row, mode in zip(found, modes, strict=True):
        course = mode.forecast(Costs(), Room.of(Ledger(budget)))
        least, full = mode.cost(Costs())
        assert row["shape"] == course.shape
        for name, spend in (("expected", course.spend), ("least", least), ("full", full)):
            cost = Cost.of(spend)
            assert row[name] == {
                "llm_calls": cost.llm_calls, "queries": cost.queries, "rounds": cost.rounds, "tokens": cost.tokens,
                "serial_tokens": cost.serial_tokens, "serial_calls": cost.serial_calls,
            }  # fmt: skip


def test_the_budget_is_told_without_what_is_open() -> None:
    assert planned("once", "--tokens", "900", "--calls", "2")["budget"] == {"tokens": 900, "llm_calls": 2}
    assert planned("once")["budget"] == {}


@pytest.mark.parametrize(
    ("mode", "tokens", "words"),
    [
        ("chain", "4000", "2 steps"),
        ("vote", "4000", "1 member, each 2 steps"),
        ("vote(of=best-of-n(n=2), n=2)", "16000", "2 members, each 2 members, each 2 steps"),
        ("parallel", "4000", "2 rounds"),
        ("tree", "64000", "the first: expand=4, rollouts=2, depth=2, k=5"),
        ("chain", "16", "nothing: the budget pays for no answer"),
    ],
)
def test_shapes_are_told_in_words(mode: str, tokens: str, words: str) -> None:
    result = CliRunner().invoke(app, ["plan", mode, "--tokens", tokens], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert words in result.stdout


def test_a_mode_that_does_not_fit_is_said_with_what_does() -> None:
    result = CliRunner().invoke(app, ["plan", "once,chain", "--tokens", "1500"], env={"COLUMNS": "200"})
    assert "does not fit: 1 step" in result.stdout
    assert "chain does not fit: its least is 3,810 tokens." in result.stdout
    assert "once does not fit" not in result.stdout
    fitting = next(line for line in result.stdout.splitlines() if line.startswith("What fits: "))
    assert {"once", "direct", "auto"} <= set(fitting.removeprefix("What fits: ").rstrip(".").split(", "))
    assert {row["mode"]: row["lacks"] for row in planned("once,chain", "--tokens", "1500")["modes"]} == {
        "once": {}, "chain": {"tokens": 3810},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--tokens", "3810"], None),
        ([], None),
        (["--tokens", "100"], "No mode fits: direct takes 150 tokens."),
        (["--rounds", "1"], "chain does not fit: its least is 3 rounds."),
        (["--calls", "2", "--queries", "1"], "chain does not fit: its least is 5 model calls and 3 queries."),
        (["--serial-calls", "2"], "chain does not fit: its least is 5 model calls in a row."),
        (["--usd", "0.0001", "--prices", "openai:gpt-4o-mini"], "chain does not fit: its least is $0.0007"),
    ],
)
def test_what_a_mode_lacks_is_told_by_limit(options: list[str], told: str | None) -> None:
    result = CliRunner().invoke(app, ["plan", "chain", *options], env={"COLUMNS": "200"})
    assert (told or "chain") in result.stdout
    assert ("fit" in result.stdout) == bool(told)


def test_passages_of_an_index_stand_for_those_that_will_be_read(tmp_path: Path) -> None:
    chains = []
    for words in (20, 400):
        corpus = tmp_path / f"{words}.jsonl"
        corpus.write_text("".join(json.dumps({"id": str(n), "text": f"word{n} " * words}) + "\n" for n in range(30)))
        Index.build([corpus], tmp_path / f"index{words}", embedder=None).close()
        [row] = planned("chain", "--tokens", "6000", "--index", str(tmp_path / f"index{words}"))["modes"]
        chains.append(row)
    short, long = chains
    assert short["shape"]["steps"] > long["shape"]["steps"]
    assert short["full"]["tokens"] < long["full"]["tokens"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chian"], "Unknown mode 'chian'"),
        (["chain", "--tokens", "-1"], "tokens=-1"),
        (["chain,chain"], "given twice"),
        (["chain", "--index", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_planned_is_an_error_in_a_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["plan", *arguments])
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


def test_minutes_and_dollars_are_those_of_all_questions() -> None:
    options = ["once,chain", "--tokens", "4000", "--questions", "60", "--prices", "openai:gpt-4o-mini", "--speed", "50"]
    once, chain = planned(*options)["modes"]
    for row in (once, chain):
        assert row["basis"] == "shape"
        assert row["each"]["tokens"] == row["expected"]["tokens"]
        assert row["all"]["seconds"] == pytest.approx(60 * row["each"]["tokens"] / 50)
        assert row["all"]["usd"] == pytest.approx(60 * row["each"]["tokens"] * 0.195e-6)
    shown = CliRunner().invoke(app, ["plan", *options], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert f"{chain['all']['seconds'] / 60:,.1f}" in shown.stdout
    assert "minutes" in shown.stdout
    halved = planned(*options, "--concurrency", "2")["modes"]
    assert halved[1]["all"]["seconds"] == chain["all"]["seconds"] / 2


def test_what_is_unknown_is_a_dash_and_null() -> None:
    row = planned("once", "--questions", "3")["modes"][0]
    assert (row["all"]["seconds"], row["all"]["usd"], row["each"]["usd"]) == (None, None, None)
    shown = CliRunner().invoke(app, ["plan", "once", "--questions", "3"], env={"COLUMNS": "200"})
    assert " - " in shown.stdout
    assert "Dollars are unknown" in shown.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--usd", "0.01"], "is not known before it is made"),
        (["--usd", "0.01", "--prices", "1/h"], "is not known before it is made"),
        (["--speed", "0"], "is not above 0"),
        (["--measure"], "without --llm"),
        (["--measure", "--speed", "3", "--llm", "embedded"], "with --speed"),
        (["--run", "nowhere"], "nowhere"),
        (["--prices", "nowhere.toml"], "cannot be read"),
    ],
)
def test_what_cannot_be_planned_is_refused(options: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["plan", "once", *options])
    assert result.exit_code == 1
    assert told in " ".join(result.stderr.split())


def test_a_model_is_looked_up_and_not_called() -> None:
    found = planned("once", "--usd", "0.001", "--llm", "openai:https://api.openai.com/v1#gpt-4o-mini")["modes"][0]
    assert found["each"]["usd"] > 0
    assert planned("once", "--llm", "vllm:Qwen/Qwen3-8B")["modes"][0]["each"]["usd"] is None
    assert planned("once", "--llm", "embedded", "--prices", "1/h", "--speed", "100")["modes"][0]["each"]["usd"] > 0


@pytest.mark.parametrize(("mode", "tokens", "words"), [("retry", "5k", "1 try,"), ("muse", "9k", "1 branch,")])
def test_what_is_there_once_is_told_in_the_singular(mode: str, tokens: str, words: str) -> None:
    result = CliRunner().invoke(app, ["plan", mode, "--tokens", tokens], env={"COLUMNS": "200"})
    assert words in result.stdout


def test_eighty_columns_have_calls_and_rounds() -> None:
    """Columns that a plan is asked for stay; the least and the full cost leave first."""
    modes = "vote(of=best-of-n(of=chain(steps=3), n=2), n=4),chain,tree"
    result = CliRunner().invoke(app, ["plan", modes, "--tokens", "64000"], env={"COLUMNS": "80"})
    head = result.stdout.splitlines()[0].split()
    assert {"calls", "rounds", "tokens", "shape"} <= {*head}
    assert max(map(len, result.stdout.splitlines()[:2])) <= 80


@pytest.fixture(scope="module")
def run(world: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a run that has one cell."""
    out = tmp_path_factory.mktemp("planned") / "run"
    with Agent(world[0], ScriptedLLM(script, delay=0.1), prices=Price(input=1, output=2)) as agent:
        sweep(agent, world[1], ["chain(steps=1)"], out, budgets=[Budget(tokens=4_000)])
    return str(out)


class TestOfARun:
    """Means of its questions stand for the cells that it has, but for what the options say otherwise."""

    def test_the_course_and_the_cost_are_of_the_same_questions(self, run: str) -> None:
        chain, once = planned("chain(steps=1),once", "--tokens", "4k", "--run", run, "--questions", "10")["modes"]
        [row] = means(Run(run).rows()).values()
        assert (chain["basis"], once["basis"]) == ("rows", "shape")
        found = {name: round(row[name] or 0) for name in ("queries", "rounds", "serial_tokens", "serial_calls")}
        assert chain["expected"] == {**found, "llm_calls": 3, "tokens": round(chain["each"]["tokens"])}
        assert chain["each"]["usd"] == row["usd"] == pytest.approx((row["prompt_tokens"] or 0) * 1e-6, rel=0.5)
        assert chain["least"]["tokens"] > chain["expected"]["tokens"], "the least is by the mode's own sizing"
        result = CliRunner().invoke(app, ["plan", "chain(steps=1),once", "--tokens", "4k", "--run", run])
        assert result.stderr.startswith("As the questions that were asked before: chain(steps=1).\n")
        assert f"{chain['expected']['tokens']:,}" in result.stdout

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ([], "--concurrency 1,"), (["--concurrency", "16"], "--concurrency 16,"), (["--speed", "10"], None),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("mode", ["chain(steps=1)", "once"])
    def test_minutes_by_a_run_say_what_they_are_worth(
        self, run: str, mode: str, options: list[str], told: str | None
    ) -> None:
        result = CliRunner().invoke(app, ["plan", mode, "--tokens", "4k", "--run", run, *options])
        said = f"Minutes are for {told} by seconds measured at the concurrency of the run: an upper bound"
        assert (said in result.stderr) == (told is not None)
        assert "Minutes are" in result.stderr or told is None

    @pytest.mark.parametrize(
        ("prices", "times"),
        [("[scripted]\ninput = 1\noutput = 2\n", 1), ("[scripted]\ninput = 100\noutput = 200\n", 100)],
    )
    def test_another_price_counts(self, run: str, prices: str, times: float, tmp_path: Path) -> None:
        (tmp_path / "prices.toml").write_text(prices.replace("scripted", '"*"'))
        mode = ["chain(steps=1)", "--tokens", "4k", "--run", run]
        [then] = planned(*mode)["modes"]
        [now] = planned(*mode, "--prices", str(tmp_path / "prices.toml"))["modes"]
        assert now["each"]["usd"] == pytest.approx(times * then["each"]["usd"], rel=0.01)

    def test_another_speed_counts(self, run: str) -> None:
        [row] = planned("chain(steps=1)", "--tokens", "4k", "--run", run, "--speed", "10", "--prices", "3.6/h")["modes"]
        assert row["each"]["seconds"] == pytest.approx(row["each"]["tokens"] / 10)
        assert row["each"]["usd"] == pytest.approx(row["each"]["seconds"] / 1000)


@pytest.mark.parametrize(
    ("llm", "name"),
    [
        ("embedded", "qwen2.5-coder-1.5b-instruct-q4_k_m"),
        ("embedded:/models/mine.gguf", "mine"),
        ("vllm:Qwen/Qwen3-8B?dtype=half", "Qwen/Qwen3-8B"),
    ],
)
def test_a_model_that_is_not_started_has_the_price_of_its_name(llm: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text(f'["{name}"]\ninput = 1\noutput = 1\n')
    [row] = planned("once", "--llm", llm, "--prices", str(tmp_path / "prices.toml"))["modes"]
    assert row["each"]["usd"] == pytest.approx(row["each"]["tokens"] * 1e-6)


def test_search_settings_leave_the_passages_as_long_as_they_are(tmp_path: Path) -> None:
    """A sweep is planned by those of the index, with settings or without."""
    (tmp_path / "c.jsonl").write_text(
        "".join(json.dumps({"id": f"{n}", "text": "word " * 700}) + "\n" for n in range(9))
    )
    Index.build([tmp_path / "c.jsonl"], tmp_path / "index", embedder=None).close()
    asked = [Question("a", "Who?", ("Ann",))]
    with Index.open(tmp_path / "index") as index:
        agents = [Agent(one, ScriptedLLM(script)) for one in (index, index.searching("bm25"))]
        plain, settings = ([one.each.tokens for one in dry_run(a, asked, ["once"], tmp_path / "run")] for a in agents)
    assert plain == settings
    assert plain[0] > 3_000
