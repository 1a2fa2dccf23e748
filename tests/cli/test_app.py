"""The root of the command line: quick to start, and errors are messages with exit codes."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings

import pytest
from typer.testing import CliRunner

import ragscale
from ragscale.cli import app
from ragscale.errors import InvalidInput
from ragscale.llm.notices import Notices

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


def test_an_error_that_quotes_control_codes_does_not_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise InvalidInput("the server says \x1b[2J\x9b2J")

    monkeypatch.setattr("ragscale.modes.registered", fail)
    assert CliRunner().invoke(app, ["modes"]).stderr == "the server says \ufffd[2J\ufffd2J\n"


def test_a_warning_about_the_model_is_a_line_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = ragscale.modes.registered()
    usual = warnings.showwarning

    def warn() -> None:
        said = Notices()
        for _ in range(2):
            said.once("schema", "m was not seen to do: [json] schema, \x1b[2J")

    def registered() -> object:
        thread = threading.Thread(target=warn)  # as questions run in the thread of a loop
        thread.start()
        thread.join()
        warnings.warn("of another package", UserWarning, stacklevel=1)
        return modes

    monkeypatch.setattr("ragscale.modes.registered", registered)
    with pytest.warns(UserWarning, match="of another package") as others:
        result = CliRunner().invoke(app, ["modes"])
    assert result.exit_code == 0
    assert result.stderr == "Warning: m was not seen to do: [json] schema, \ufffd[2J\n"
    assert [str(other.message) for other in others] == ["of another package"]
    assert warnings.showwarning is usual


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
