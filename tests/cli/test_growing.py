"""``ragscale index add | update | remove | compact``, and what ``info`` says afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from ragscale.cli import index as commands
from ragscale.errors import IndexDamaged, InvalidInput
from ragscale.index import Changes

root = typer.Typer()
root.add_typer(commands.app, name="index")
root.command("search")(commands.search)


def run(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


def printed(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def corpus(path: Path, **texts: str) -> Path:
    path.write_text("".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()))
    return path


@pytest.fixture
def built(tmp_path: Path) -> Path:
    first = corpus(tmp_path / "first.jsonl", bread="Bread is baked.", violin="Four strings.", paris="A capital.")
    printed("index", "build", first, "--out", tmp_path / "index", "--embedder", "none")
    return tmp_path / "index"


def info(folder: Path) -> Any:
    return json.loads(printed("index", "info", folder, "--json"))


def test_an_index_grows_and_shrinks(built: Path, tmp_path: Path) -> None:
    more = corpus(tmp_path / "more.jsonl", violin="Four strings.", seine="A river.")
    assert (
        printed("index", "add", built, more)
        .strip()
        .endswith("documents 1 added, 0 changed, 1 unchanged, 0 removed; 1 passage written")
    )
    changed = corpus(tmp_path / "changed.jsonl", violin="Five strings.", seine="A river.")
    assert isinstance(run("index", "add", built, changed).exception, InvalidInput)
    assert "0 added, 1 changed, 1 unchanged, 0 removed; 1 passage written" in printed("index", "update", built, changed)
    assert "1. violin [violin]" in printed("search", built, "five")
    assert "0 added, 0 changed, 2 unchanged, 2 removed" in printed("index", "update", built, changed, "--prune")
    assert printed("index", "remove", built, "seine") == f"{built}: 1 removed\n"
    assert printed("search", built, "river") == "no hits\n"
    assert isinstance(run("index", "remove", built, "seine").exception, InvalidInput)
    text = printed("index", "info", built)
    assert "passages     1\n" in text
    assert "rows         5, 4 of them deleted\n" in text
    assert "segments     000000 (3 rows), 000001 (1 row), 000002 (1 row)\n" in text
    fingerprint = info(built)["fingerprint"]
    assert printed("index", "compact", built) == f"{built}: 5 rows before, 1 now\n"
    assert (info(built)["fingerprint"], info(built)["segments"]) == (fingerprint, [{"name": "000003", "rows": 1}])
    assert "files are as they were written" in printed("index", "verify", built)


def test_verify_names_the_command_that_repairs(built: Path) -> None:
    fingerprint = info(built)["fingerprint"]
    assert printed("index", "repair", built) == f"{built}: no file is damaged, nothing was changed\n"
    (built / "generations" / "000001" / "ids.npy").write_bytes(b"damaged")
    refused = run("index", "verify", built).exception
    assert isinstance(refused, IndexDamaged)
    assert f"`ragscale index repair {built}`" in str(refused)
    assert printed("index", "repair", built) == f"{built}: derived again: generations/000001/ids.npy\n"
    assert "files are as they were written" in printed("index", "verify", built)
    assert info(built)["fingerprint"] == fingerprint


def test_an_outgrown_index_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ragscale.index.write.grow.add", lambda *args, **options: Changes(added=1, outgrown="RaBitQfs"))
    result = run("index", "add", tmp_path / "index", corpus(tmp_path / "more.jsonl", seine="A river."))
    assert result.exit_code == 0
    assert "auto would choose RaBitQfs now" in result.stderr
    assert f"`ragscale index reindex {tmp_path / 'index'}`" in result.stderr
    assert "RaBitQfs" not in result.stdout
