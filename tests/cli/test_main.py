"""The ``ragscale`` command before it has imported anything."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with a folder before the others on its path."""
    paths = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": paths}
    )


def test_ctrl_c_while_it_is_imported(tmp_path: Path) -> None:
    """A package that it imports is interrupted."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    ended = run(tmp_path, "-m", "ragscale", "modes")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert scripts == {"ragscale": "ragscale.__main__:main"}


def test_it_is_the_command(tmp_path: Path) -> None:
    ended = run(tmp_path, "-m", "ragscale", "modes", "--help")
    assert ended.returncode == 0
    assert "Usage: ragscale modes" in ended.stdout


def test_the_package_alone_imports_little(tmp_path: Path) -> None:
    """Imports of the bare package, in which Ctrl-C cannot be caught."""
    heavy = ("asyncio", "numpy", "typer", "langgraph")
    program = f"import sys, ragscale; print([name for name in {heavy} if name in sys.modules])"
    assert run(tmp_path, "-W", "ignore", "-c", program).stdout == "[]\n"
