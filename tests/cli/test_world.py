"""``ragscale world``: from nothing to an evaluated mode, by commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.measure import load_questions


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_world_is_made_indexed_and_searched(tmp_path: Path) -> None:
    world, index = tmp_path / "world", tmp_path / "index"
    said = run("world", "make", str(world), "--depth", "1,2", "--breadth", "2", "--questions", "3", "--seed", "4")
    card = json.loads((world / "world.json").read_text("utf-8"))
    assert f"{card['passages']} passages, 6 questions" in said
    assert card["settings"] == {"depth": [1, 2], "breadth": [2], "questions": 3, "seed": 4}
    run("index", "build", str(world / "corpus.jsonl"), "--out", str(index), "--embedder", "none")
    question = load_questions(world / "questions.jsonl")[0]
    found = json.loads(run("search", str(index), question.question, "-k", "8", "--json"))
    assert set(question.supporting) & {hit["id"] for hit in found["hits"]}


def test_the_card_is_printed_as_json(tmp_path: Path) -> None:
    card = json.loads(run("world", "make", str(tmp_path / "w"), "--depth", "1", "--breadth", "1", "--json"))
    assert card == json.loads((tmp_path / "w" / "world.json").read_text("utf-8"))
    assert card["questions"] == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--depth", "two"], "--depth 'two'"), (["--depth", "9"], "depth=9"), (["--questions", "0"], "questions=0")],
)
def test_wrong_values_are_said_and_nothing_is_written(tmp_path: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["world", "make", str(tmp_path / "w"), *options])
    assert result.exit_code == 1
    assert said in result.output
    assert not (tmp_path / "w").exists()
