"""The command that installs an extra: from where this ragscale came, whatever that is."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from ragscale import extras
from ragscale.extras import pip_install

ROOT = Path(__file__).parents[1]


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Sets the note of the installation; returns a clone with a blank in its path."""
    clone = tmp_path / "my clone"
    clone.mkdir()
    (clone / "pyproject.toml").touch()

    class Installed(Distribution):
        def __init__(self, note: str | None) -> None:
            self.note = note

        def read_text(self, filename: str) -> str | None:
            return self.note if filename == "direct_url.json" else None

        def locate_file(self, path: Any) -> Path:
            return tmp_path

    def note(value: Any) -> Path:
        text = value if value is None or isinstance(value, str) else json.dumps(value)
        monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed(text))
        return clone

    return note


def test_a_clone_is_installed_from_its_folder(noted: Any) -> None:
    clone = noted(None)
    noted({"url": clone.as_uri(), "dir_info": {}})
    assert shlex.split(pip_install("serve")) == ["pip", "install", f"{clone}[serve]"]
    noted({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert shlex.split(pip_install("cpu")) == ["pip", "install", "-e", f"{clone}[cpu]"]
    noted({"url": (clone / "gone").as_uri(), "dir_info": {"editable": True}})
    assert pip_install("cpu") == "pip install '.[cpu]' in a clone of ragscale"


@pytest.mark.parametrize(
    ("note", "what"),
    [
        (
            {
                "url": "https://example.org/r.git",
                "vcs_info": {"vcs": "git", "commit_id": "f00", "requested_revision": "v1"},
            },
            "ragscale[ray] @ git+https://example.org/r.git@v1",
        ),
        (
            {"url": "ssh://git@example.org/r.git", "vcs_info": {"vcs": "git", "commit_id": "f00"}},
            "ragscale[ray] @ git+ssh://git@example.org/r.git@f00",
        ),
        (
            {"url": "https://example.org/ragscale-1-py3-none-any.whl", "archive_info": {}},
            "ragscale[ray] @ https://example.org/ragscale-1-py3-none-any.whl",
        ),
    ],
)
def test_a_repository_or_an_archive_is_named(noted: Any, note: dict[str, Any], what: str) -> None:
    noted(note)
    assert shlex.split(pip_install("ray")) == ["pip", "install", what]


@pytest.mark.parametrize("note", [None, "", "no json", "[]"])
def test_without_a_note(noted: Any, note: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that runs without being installed; and the name alone, once a package index gave it."""
    noted(note)
    assert shlex.split(pip_install("ray")) == ["pip", "install", f"{ROOT}[ray]"]
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "site-packages" / "ragscale" / "extras.py"))
    assert pip_install("ray") == "pip install 'ragscale[ray]'"


def test_no_other_place_makes_the_command() -> None:
    """Nothing is on PyPI: a remedy or a page that says so by hand sends people to a package that is not there."""
    by_hand = re.compile(r"pip install [^\n]*\bragscale\[")
    files = [*ROOT.glob("ragscale/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md", *ROOT.glob("benchmarks/*")]
    found = {path.name for path in files if path.is_file() and by_hand.search(path.read_text("utf-8"))}
    assert found == {"extras.py"}
