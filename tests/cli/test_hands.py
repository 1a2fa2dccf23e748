"""Small things at hand: standard input, settings of searches, JSON of every command, lines that fit a terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from rich.console import Console
from smallworld import PASSAGES, QUESTIONS, build, script, write_questions
from typer.testing import CliRunner

from ragscale.agent import Agent
from ragscale.answer import Answer, AnswerSpend
from ragscale.cli import app
from ragscale.cli.common import with_k
from ragscale.cli.terminal import event_text, show_answer, side_by_side
from ragscale.errors import EndpointError
from ragscale.index import Index
from ragscale.llm.scripted import ScriptedLLM
from ragscale.measure import Run, sweep
from ragscale.modes import Chain, Once, Vote
from ragscale.types import Event, Hit, Passage, Spend
from ragscale.view.trace import line

QUESTION = "Where was the discoverer of polonium born?"


def run(*words: str, **options: Any) -> Any:
    return CliRunner().invoke(app, list(words), **options)


@pytest.fixture(scope="module")
def dated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The passages, each with a number to filter by."""
    base = tmp_path_factory.mktemp("dated")
    rows = [{**row, "number": number} for number, row in enumerate(PASSAGES)]
    (base / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Index.build([base / "corpus.jsonl"], base / "index", embedder=None).close()
    return str(base / "index")


@pytest.mark.usefixtures("model")
def test_a_question_and_queries_come_from_standard_input(world: tuple[str, str]) -> None:
    asked = run("ask", world[0], "-", "--mode", "once", "--json", input=f"{QUESTION}\n")
    assert json.loads(asked.stdout)["question"] == QUESTION
    found = run("search", world[0], "-", "-k", "1", "--json", input="radium\nseine\n")
    assert [query["query"] for query in json.loads(found.stdout)["queries"]] == ["radium", "seine"]
    nothing = run("ask", world[0], "-", input="  \n")
    assert nothing.exit_code == 1
    assert "nothing is there" in nothing.stderr


@pytest.mark.usefixtures("model")
def test_standard_input_is_text_or_refused_before_anything_is_asked(
    world: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = run("ask", world[0], "-", "--mode", "once", "--json", input=f"{QUESTION}\n".encode("utf-16"))
    assert json.loads(marked.stdout)["question"] == QUESTION
    lines = run("search", world[0], "-", "-k", "1", "--json", input="\ufeffradium\n \n\nseine\n")
    assert [query["query"] for query in json.loads(lines.stdout)["queries"]] == ["radium", "seine"]
    rows = Path(world[1]).read_bytes()
    measured = run("eval", world[0], "-", "--mode", "once", "--json", "--out", f"{tmp_path}/run", input=rows)
    assert json.loads(measured.stdout)["cells"]["once"]["n"] == 3
    monkeypatch.setattr(Agent, "stream", lambda *_, **__: pytest.fail("was asked"))
    for data, problem in (("Zo\u00eb?".encode("latin-1"), "no utf-8, byte 0xeb at 2"), (b"Who\0?", "has a NUL")):
        refused = run("ask", world[0], "-", input=data)
        assert refused.exit_code == 1
        assert problem in " ".join(refused.stderr.split())
        assert "iconv" in refused.stderr


def test_answers_in_a_pipe_are_whole_and_a_narrow_table_says_how_each_ended() -> None:
    text = "word " * 40 + "end"
    answer = Answer(text, [], "once", "answered", AnswerSpend(Spend(llm_calls=2), Spend(llm_calls=2)), [])
    pipe = Console(file=io.StringIO(), width=80)
    show_answer(pipe, answer)
    assert pipe.file.getvalue().splitlines()[0] == text
    narrow = Console(file=io.StringIO(), width=40)
    narrow.print(side_by_side([answer, replace(answer, mode="parallel", stop_reason="budget:tokens")]))
    shown = narrow.file.getvalue()
    assert "ended" in shown
    assert "budget:tokens" in shown
    assert all(cell_len(line) <= 40 for line in shown.splitlines())


@pytest.mark.usefixtures("model")
def test_ask_and_eval_search_as_they_are_told(dated: str, tmp_path: Path) -> None:
    settings = ["--where", "number >= 2", "-k", "1"]
    asked = run("ask", dated, QUESTION, "--mode", "once", "--json", *settings)
    assert asked.exit_code == 0, asked.stderr
    assert json.loads(asked.stdout)["mode"] == "once(k=1)"
    found = [event["passages"] for event in json.loads(asked.stdout)["trace"] if event["move"] == "retrieve"]
    assert all(len(ids) <= 1 for ids in found)
    assert not {id for ids in found for id in ids} & {"polonium", "warsaw"}
    measured = run(
        "eval", dated, str(write_questions(tmp_path)), "--mode", "once", "--json", "--out", f"{tmp_path}/run", *settings
    )
    assert measured.exit_code == 0, measured.stderr
    assert list(json.loads(measured.stdout)["cells"]) == ["once(k=1)"]
    gold = {row["id"]: row["gold_recall"] for row in Run(tmp_path / "run").rows().to_pylist()}
    assert gold == {"q1": 0.0, "q2": 0.5, "q3": None}  # of polonium and warsaw nothing, of paris and polonium one
    other = run("ask", dated, QUESTION, "--where", "colour = 'red'")
    assert other.exit_code == 1
    assert "colour" in other.stderr
    dense = run("ask", dated, QUESTION, "--weight", "0.5", "--how", "hybrid")
    assert dense.exit_code == 1


@pytest.mark.usefixtures("model")
def test_several_modes_answer_side_by_side(world: tuple[str, str]) -> None:
    words = ["ask", world[0], QUESTION, "--mode", "once,chain(steps=2)"]
    shown = run(*words, "--gold", "Warsaw", "--gold", "warsaw poland", env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.stderr
    lines = [row.split() for row in shown.stdout.splitlines()]
    assert lines[0] == ["mode", "answer", "right", "calls", "tokens", "rounds", "s", "ended"]
    assert [row[:5] for row in lines[2:4]] == [
        ["once", "Warsaw,", "Poland", "yes", "1"],
        ["chain(steps=2)", "Warsaw,", "Poland", "yes", "5"],
    ]
    assert [row.partition(":")[0] for row in shown.stderr.splitlines()] == ["once", "chain(steps=2)"]
    answers = json.loads(run(*words, "--json").stdout)["answers"]
    assert [answer["mode"] for answer in answers] == ["once", "chain(steps=2)"]
    alone = run("ask", world[0], QUESTION, "--mode", "once", "--gold", "Kraków")
    assert "wrong: Kraków" in alone.stdout


def test_k_reaches_the_modes_within_a_mode() -> None:
    assert with_k(Vote(of=Chain(steps=2), n=3), 7) == Vote(of=Chain(steps=2, k=7), n=3, k=7)
    assert with_k(Once(k=3), None) == Once(k=3)


@pytest.mark.parametrize(
    "words", [["-h"], ["ask", "-h"], ["index", "-h"], ["index", "build", "-h"], ["world", "make", "-h"]]
)
def test_h_is_help(words: list[str]) -> None:
    result = run(*words, env={"COLUMNS": "100"})
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_options_name_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shells leave ``--out=~/index`` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(json.dumps(PASSAGES[0]))
    result = run("index", "build", "a.jsonl", "--embedder=none", "--out=~/index", "--description=~ and a~/b")
    assert result.exit_code == 0, result.stderr
    assert json.loads(run("index", "info", "index", "--json").stdout)["description"] == "~ and a~/b"
    assert not (tmp_path / "~").exists()


def test_commands_on_indexes_print_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PASSAGES[:3]))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PASSAGES[2:]))
    index = str(tmp_path / "index")

    def told(*words: str) -> dict[str, Any]:
        result = run("index", *words, "--json")
        assert result.exit_code == 0, result.stderr
        return dict(json.loads(result.stdout))

    built = told("build", str(tmp_path / "a.jsonl"), "--out", index, "--embedder", "none")
    assert (built["passages"], built["skipped"]) == (3, 0)
    assert (told("add", index, str(tmp_path / "b.jsonl"))["added"], told("info", index)["passages"]) == (2, 5)
    assert told("remove", index, "radium")["removed"] == 1
    assert told("compact", index) == {"before": 5, "rows": 4}
    assert told("repair", index) == {"derived": []}
    described = told("describe", index, "Elements.")
    assert described == {"description": "Elements.", "fingerprint": told("info", index)["fingerprint"]}
    verified = told("verify", index)
    assert verified["files"] == len(told("info", index)["files"])
    listed = run("model", "list", "--json")
    assert set(json.loads(listed.stdout)) == {"llm", "embedder"}


def test_every_command_prints_json_but_those_that_write_a_page_or_serve() -> None:
    def without(group: Any, *names: str) -> set[str]:
        found = set()
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                found |= without(command, *names, name)
            elif not any("--json" in parameter.opts for parameter in command.params):
                found.add(" ".join([*names, name]))
        return found

    assert without(typer.main.get_command(app)) == {"serve", "trace"}


EVENTS = [
    Event("retrieve", "2.0", ["Which optical drawing aid did the discoverer of rhodium invent, and when was it?"],
          passages=["a", "b"], spend=Spend(queries=1, passages=2, rounds=1, seconds=0.1)),
    Event("read", "", "Which optical drawing aid did the discoverer of rhodium invent, and when?",
          "William Hyde Wollaston invented the camera lucida, a drawing aid, in 1806 or so.",
          spend=Spend(1, 684, 3, 210, seconds=16.0)),
    Event("score", "1", "a chain of sub-queries and their answers " * 3, score=-1.25, spend=Spend(1, 800, 1)),
    Event("read", "", "短い" * 40, "答え" * 40, spend=Spend(1, 684, 3)),
]  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=range(4))
@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_line_of_a_move_fits_the_terminal_and_keeps_score_and_cost(event: Event, width: int) -> None:
    whole, fitted = event_text(event).plain, event_text(event, width=width).plain
    assert cell_len(fitted) <= width
    if width >= 80:
        assert fitted.rpartition("  ")[2] == whole.rpartition("  ")[2]  # what it cost
    if event.score is not None:
        assert "-1.250" in fitted
    if event.move == "read":
        question, _, answer = fitted.partition(" → ")
        assert question.endswith("…")
        assert len(answer) > 12


def test_plans_and_answers_are_told_by_what_was_read() -> None:
    plan = Event("plan", "", output='{"known": "", "queries": ["a", "b"]}', plan=["a", "b"])
    assert line(plan) == "a | b"
    assert line(Event("answer", "", output='{"answer": "camera lucida", "documents": [1]}')) == "camera lucida"
    assert line(Event("answer", "", output='{"documents": [1]}')) == '{"documents": [1]}'


def test_a_finished_run_needs_no_endpoint_for_its_table(tmp_path: Path) -> None:
    index, questions = build(tmp_path), write_questions(tmp_path)
    with Agent(index, ScriptedLLM(script)) as agent:
        sweep(agent, questions, ["once"], tmp_path / "run")

    class Gone(ScriptedLLM):
        """A model whose server is gone, and with it its name."""

        @property
        def name(self) -> str:
            raise EndpointError("No model server at http://127.0.0.1:1/v1", "Start it.")

    with Agent(index, Gone(script)) as agent:
        assert sweep(agent, questions, ["once"], tmp_path / "run").reports()["once"].n == len(QUESTIONS)
        with pytest.raises(EndpointError, match="No model server"):
            sweep(agent, questions, ["once", "chain"], tmp_path / "run")
        questions.write_text(questions.read_text().replace("Does radium glow?", "Does it glow?"))
        with pytest.raises(EndpointError, match="No model server"):
            sweep(agent, questions, ["once"], tmp_path / "run")


def test_what_python_prints_is_a_line(world: tuple[str, str]) -> None:
    with Agent(world[0], ScriptedLLM(script), "chain(steps=2)") as agent:
        answer = agent.ask(QUESTION)
        assert repr(agent) == f"Agent(Index({world[0]!r}, 5 passages, bm25), <ScriptedLLM>, chain(steps=2), no limits)"
        [[hit, *_]] = agent.index.search(["polonium"])
    assert repr(answer).startswith("Answer('Warsaw, Poland', cites ['")
    assert "; chain(steps=2): answered; 5 calls, " in repr(answer)
    assert repr(hit).startswith(f"Hit({hit.score:.4f} [polonium] Polonium: 'Polonium is an element that Marie Curie")
    assert repr(answer.trace[0]) == f"Event(retrieve :0: '{QUESTION}' -> {len(answer.trace[0].passages)} passages)"
    long = Hit(Passage("p", "T", "word " * 1000), 1.0)
    assert all(len(repr(value)) < 250 for value in (answer, agent, hit, long, *answer.trace))
    assert "Raise tokens" in repr(replace(answer, stop_reason="budget:tokens", reason="Raise tokens."))


def test_a_notebook_shows_a_sign_of_life(
    world: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import IPython
    import IPython.display

    told: list[str] = []

    class Handle:
        def update(self, shown: dict[str, str], raw: bool) -> None:
            told.append(shown["text/plain"])

    def display(shown: dict[str, str], raw: bool, display_id: bool) -> Handle:
        told.append(shown["text/plain"])
        return Handle()

    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", display)
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"id": "a", "text": "Warsaw is in Poland."}\n')
    Index.build([corpus], tmp_path / "index", embedder=None)
    assert told[:3] == ["index: reading the corpus, loading the embedder", "index: read, 0", "index: read, 1 of 1"]
    assert told[-2:] == ["index: bm25, 1 of 1", ""]
    told.clear()
    Agent(tmp_path / "index", "openai:http://127.0.0.1:9/v1#none").close()
    assert told == ["agent: starting the model", ""]
    told.clear()
    with Agent(world[0], ScriptedLLM(script), "chain(steps=2)") as agent:
        assert agent.ask(QUESTION).text == "Warsaw, Poland"
        assert told[0] == "chain(steps=2): opening the index, starting the model"
        assert told[1].startswith("chain(steps=2): 0 calls, ")
        assert "retrieve" in told[1]
        assert told[-2].startswith("chain(steps=2): 5 calls, ")
        assert told[-1] == ""
        told.clear()
        run = sweep(agent, world[1], ["once"], tmp_path / "run")
    assert told[0] == "sweep: opening the index, starting the model"
    assert "3 of 3 questions of all cells · once: answered" in told
    assert told[-1] == ""
    assert "Means over 3 questions" in run._repr_html_()
    assert "once" in run._repr_html_()
