"""The contracts of pyproject.toml hold: floors and no circles by import-linter, no print and no pickle by ruff.

Each of them is shown to report what it is there for, in a copy of the package with one line more.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = Path(sys.executable).parent


def lint_imports(folder: Path) -> tuple[int, str]:
    """Exit code and report of import-linter on the package in a folder."""
    command = [str(COMMANDS / "lint-imports"), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_contracts_hold() -> None:
    code, report = lint_imports(ROOT)
    assert code == 0, report


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its contracts in a folder of their own."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "ragscale", folder / "ragscale", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("file", "line", "reported"),
    [
        ("budget.py", "from ragscale.agent import Agent", "ragscale.budget is not allowed to import ragscale.agent"),
        ("corpus/lines.py", "def f():\n    import ragscale.cli.ask", "ragscale.corpus is not allowed to import"),
        ("types.py", "from ragscale.answer import Answer", "ragscale.types is not allowed to import ragscale.answer"),
        ("llm/base.py", "from ragscale.index import Index", "ragscale.llm is not allowed to import ragscale.index"),
        ("llm/memo.py", "from ragscale import prompts", "ragscale.llm is not allowed to import ragscale.prompts"),
        ("view/trace.py", "from ragscale import Agent", "ragscale.view is not allowed to import ragscale.agent"),
        (
            "index/query/mmr.py",
            "if TYPE_CHECKING:\n    import ragscale.modes",
            "ragscale.index is not allowed to import",
        ),
        (
            "index/storage/manifest.py",
            "from ragscale.index.dense import factory",
            "ragscale.index.storage is not allowed",
        ),
        (
            "index/query/mmr.py",
            "from ragscale.index.write import grow",
            "ragscale.index.query is not allowed to import",
        ),
        ("index/searchable.py", "if TYPE_CHECKING:\n    import ragscale.index.local", "searchable is not allowed"),
        ("index/storage/layout.py", "from ragscale.index.storage import manifest", "of a room BROKEN"),
        ("index/attic.py", "", "ragscale.index.attic"),
        ("attic.py", "", "ragscale.attic"),
        ("corpus/record.py", "from ragscale.corpus import documents", "No circles among the modules of a room BROKEN"),
        ("endpoint/urls.py", "def f():\n    from ragscale.endpoint import transport", "of a room BROKEN"),
    ],
)
def test_what_climbs_or_goes_round_is_reported(copied: Path, file: str, line: str, reported: str) -> None:
    changed = copied / "ragscale" / file
    before = changed.read_text("utf-8") if changed.exists() else None
    try:
        changed.write_text(f"{before or ''}\n{line}\n", "utf-8")
        code, report = lint_imports(copied)
    finally:
        changed.unlink() if before is None else changed.write_text(before, "utf-8")
    assert code == 1
    assert reported in report


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("print(1)", "T201"),
        ("import pickle", "TID251"),
        ("def f():\n    from pickle import loads", "TID251"),
        ("import joblib.memory", "TID251"),
        ("from . import types", "TID252"),
        ("from ..index import Index", "TID252"),
    ],
)
@pytest.mark.parametrize("file", ["ragscale/budget.py", "ragscale/index/query/mmr.py"])
def test_what_is_banned_is_reported(line: str, rule: str, file: str) -> None:
    command = [
        str(COMMANDS / "ruff"),
        "check",
        "--no-cache",
        "--output-format",
        "concise",
        "--stdin-filename",
        file,
        "-",
    ]
    done = subprocess.run(command, cwd=ROOT, input=f"{line}\n", capture_output=True, text=True, timeout=60)
    assert rule in done.stdout
