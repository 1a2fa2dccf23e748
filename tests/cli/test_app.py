"""The root of the command line: quick to start, and errors are messages with exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import ragscale
from ragscale.cli import app
from ragscale.errors import InvalidInput

COMMANDS = ("ask", "search", "eval", "modes", "doctor", "index", "model")
HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "langgraph", "langchain_core", "openai", "pyarrow",
         "numpy", "bm25s", "xllamacpp", "huggingface_hub")  # fmt: skip


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str) -> None:
    program = (
        "import sys\nfrom ragscale.cli import app\n"
        f"try:\n    app({[*filter(None, [command]), '--help']!r})\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('loaded:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout
    assert result.stdout.splitlines()[-1] == "loaded: []"


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(f" {command} " in result.stdout for command in COMMANDS)


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"ragscale {ragscale.__version__}\n")


def test_our_errors_are_a_message_unless_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise InvalidInput("value [7] is above the limit 5", "Give less.")

    monkeypatch.setattr("ragscale.modes.registered", fail)
    result = CliRunner().invoke(app, ["modes"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "value [7] is above the limit 5. Give less.\n"
    debugged = CliRunner().invoke(app, ["--debug", "modes"])
    assert isinstance(debugged.exception, InvalidInput)


def test_an_interrupt_is_exit_code_130_and_other_errors_stay_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    def defect() -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("ragscale.modes.registered", interrupt)
    result = CliRunner().invoke(app, ["modes"])
    assert (result.exit_code, result.stderr) == (130, "Interrupted.\n")
    monkeypatch.setattr("ragscale.modes.registered", defect)
    assert isinstance(CliRunner().invoke(app, ["modes"]).exception, ZeroDivisionError)
