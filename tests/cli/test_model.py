"""``ragscale model fetch`` and ``ragscale model list``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.errors import ModelFileError
from ragscale.weights import fetch as fetching
from ragscale.weights import pinned
from ragscale.weights.pinned import PackagedModel, PinnedFile

DATA = b"weights"
FILE = PinnedFile("tiny.gguf", len(DATA), hashlib.sha256(DATA).hexdigest())


def packaged(folder: str) -> PackagedModel:
    return PackagedModel("Tiny " + folder, "MIT", folder, (FILE,), FILE.name, "org/tiny", "main", ())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that has the models."""
    models = {"llm": packaged("a"), "embedder": packaged("b")}
    monkeypatch.setattr(pinned, "MODELS", MappingProxyType(models))
    monkeypatch.setenv("RAGSCALE_CACHE", str(tmp_path))

    def serve(model: PackagedModel, target: Path) -> bool:
        (target / FILE.name).write_bytes(DATA)
        return True

    monkeypatch.setattr(fetching, "_from_hub", serve)
    return tmp_path


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["model", *words])
    return done.exit_code, done.stdout if done.exit_code == 0 else done.output


def test_fetches_both_and_says_where(cache: Path) -> None:
    assert run("fetch") == (0, f"llm: {cache}/a/tiny.gguf\nembedder: {cache}/b/tiny.gguf\n")


def test_fetching_prints_the_paths_as_json(cache: Path) -> None:
    paths = {"llm": f"{cache}/a/tiny.gguf", "embedder": f"{cache}/b/tiny.gguf"}
    assert json.loads(run("fetch", "--json")[1]) == paths
    assert json.loads(run("fetch", "--json")[1]) == paths


def test_fetches_only_one_and_nothing_twice(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("fetch", "--only", "embedder") == (0, f"embedder: {cache}/b/tiny.gguf\n")
    monkeypatch.setattr(fetching, "_from_hub", lambda *args: pytest.fail("downloaded again"))
    assert run("fetch", "--only", "embedder") == (0, f"embedder: {cache}/b/tiny.gguf\n")
    assert not (cache / "a").exists()


def test_a_failure_is_a_sentence_and_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise ModelFileError("The hub burnt down", "Wait.")

    monkeypatch.setattr(fetching, "_from_hub", fail)
    assert run("fetch") == (1, "Fetching Tiny a (0 MB)\nThe hub burnt down. Wait.\n")


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (lambda cache: None, ["not usable", "tiny.gguf is missing", "Run: ragscale model fetch"]),
        (lambda cache: run("fetch"), ["ready", "llm: ", "embedder: "]),
    ],
)
def test_list_shows_what_is_there(cache: Path, before: Callable[[Path], object], words: list[str]) -> None:
    before(cache)
    code, text = run("list")
    assert code == 0
    for word in ("Tiny a", "Tiny b", "MIT", *words):
        assert word in text


def test_an_unknown_model_is_refused() -> None:
    code, text = run("fetch", "--only", "everything")
    assert code == 2
    assert "embedder" in text
