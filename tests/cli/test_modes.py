"""``ragscale modes``: every parameter with its type, default and meaning; drawings on request."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langgraph.graph import StateGraph
from typer.testing import CliRunner

from ragscale import modes
from ragscale.cli import app
from ragscale.cli.modes import describe
from ragscale.modes import Mode, Once
from ragscale.modes.core.moves import Context
from ragscale.modes.core.state import State
from ragscale.modes.spec import label


@dataclass(frozen=True, kw_only=True)
class Echo(Mode):
    """Searches ``twice``, badly.

    More about it.
    """

    name: ClassVar[str] = "echo"
    source: ClassVar[str] = "Somebody, arXiv 0000.00000"
    least: ClassVar[dict[str, float]] = {"temperature": 0.0}

    k: int = 3
    """Fewer than
    elsewhere."""
    loud: bool = False
    temperature: float = 0.5
    """Degree of ``heat``."""

    def graph(self) -> StateGraph[Any, Context, Any, Any]:
        """Nothing but an answer."""
        graph = StateGraph(State, Context)
        graph.add_node("answer", self.closing())
        graph.set_entry_point("answer")
        return graph


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package's mode is registered."""
    known = modes.registered()
    monkeypatch.setattr(modes, "registered", lambda: {**known, "echo": Echo})


def test_a_description_reads_the_docstrings_below_the_fields_own_and_inherited() -> None:
    described = describe(Echo)
    context = described["parameters"][1]["help"]
    assert context.startswith("Passages shown to the closing answer")
    assert described == {
        "name": "echo",
        "summary": "Searches twice, badly.",
        "source": "Somebody, arXiv 0000.00000",
        "pays": "",
        "calls": 1,
        "queries": 1,
        "rounds": 1,
        "serial_calls": 1,
        "parameters": [
            {"name": "k", "type": "int", "default": 3, "help": "Fewer than elsewhere."},
            {"name": "context", "type": "int", "default": 8, "help": context},
            {"name": "loud", "type": "bool", "default": False, "help": ""},
            {"name": "temperature", "type": "float", "default": 0.5, "help": "Degree of heat."},
        ],
    }


def test_a_class_without_source_still_has_its_parameters() -> None:
    namespace: dict[str, Any] = {"Once": Once, "dataclass": dataclass, "__name__": __name__}
    exec("@dataclass(frozen=True, kw_only=True)\nclass Made(Once):\n    extra: int = 1\n    'lost'", namespace)
    names = [parameter["name"] for parameter in describe(namespace["Made"])["parameters"]]
    assert names == ["k", "context", "profile", "prompts", "answer_tokens", "logprobs", "extra"]


@pytest.mark.usefixtures("third_party")
def test_json_lists_every_mode_with_documented_parameters() -> None:
    result = CliRunner().invoke(app, ["modes", "--json"])
    assert result.exit_code == 0, result.stderr
    listed = json.loads(result.stdout)["modes"]
    built_in = modes.built_in()
    assert [mode["name"] for mode in listed] == [*built_in, "echo"]
    for mode, cls in zip(listed[:-1], built_in.values(), strict=True):
        assert mode["summary"]
        assert mode["pays"]
        assert [parameter["name"] for parameter in mode["parameters"]] == [field.name for field in fields(cls)]
        assert all(parameter["help"] for parameter in mode["parameters"]), mode
        values = {field.name: getattr(cls(), field.name) for field in fields(cls)}
        made = {name: label(value) if isinstance(value, modes.Mode) else value for name, value in values.items()}
        assert {parameter["name"]: parameter["default"] for parameter in mode["parameters"]} == made


@pytest.mark.usefixtures("third_party")
def test_the_parameters_of_some_modes_for_readers() -> None:
    result = CliRunner().invoke(app, ["modes", "parallel, echo"], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.stderr
    for part in ("parallel", "max_queries", "= 'auto'", "float = 0.5", "Degree of heat."):
        assert part in result.stdout
    assert "rollouts" not in result.stdout


def test_parameters_of_an_unknown_mode() -> None:
    result = CliRunner().invoke(app, ["modes", "chian"])
    assert result.exit_code == 1
    assert "Did you mean 'chain'?" in result.stderr


def test_modes_are_named_as_elsewhere_on_the_command_line() -> None:
    """A comma inside parentheses separates parameters, none of the list."""
    result = CliRunner().invoke(app, ["modes", "vote(of=chain, n=5),chain", "--json"])
    assert result.exit_code == 0, result.stderr
    assert [mode["name"] for mode in json.loads(result.stdout)["modes"]] == ["vote", "chain"]


@pytest.mark.usefixtures("third_party")
@pytest.mark.parametrize("columns", [80, 160])
def test_a_table_to_choose_from(columns: int) -> None:
    """Each mode on a row with its cost at the defaults, within the terminal."""
    result = CliRunner().invoke(app, ["modes"], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.stderr
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line[:1].strip()}
    assert rows["tree"][-4:] == ["219", "37", "97", "16"]  # CoRAG's count, but for scores that are equal
    assert rows["echo"][-4:] == ["1", "1", "1", "1"]
    assert {*modes.built_in(), "echo"} <= {*rows}
    assert all(len(line) <= columns for line in result.stdout.splitlines())
    assert "0000.00000" in result.stdout


@pytest.mark.parametrize("name", modes.built_in())
def test_each_tells_its_source_and_its_cost(name: str) -> None:
    mode = modes.built_in()[name]
    assert mode.source
    assert mode.pays
    assert re.search(r"\b(C = |[Cc]osts?\b)", inspect.getdoc(mode) or "")


@pytest.mark.usefixtures("third_party")
def test_drawings_are_written_for_every_mode(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["modes", "--draw", f"{tmp_path}/new/folder"])
    assert result.exit_code == 0
    written = {path.stem: path.read_text() for path in (tmp_path / "new" / "folder").iterdir()}
    assert sorted(written) == sorted([*modes.built_in(), "echo"])
    assert "retrieve --> answer" in written["once"]
    assert "__start__ --> answer" in written["echo"]
