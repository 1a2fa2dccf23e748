"""``ragscale search``: filters, metadata in the JSON, and options that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ragscale.cli import index as commands
from ragscale.errors import InvalidInput

root = typer.Typer()
root.add_typer(commands.app, name="index")
root.command("search")(commands.search)

ROWS = [
    {"id": "bread", "title": "Bread", "text": "Bread is baked from flour.", "year": 1990, "lang": "en"},
    {"id": "rye", "title": "Rye", "text": "Rye bread is dark.", "year": 2001, "lang": "en"},
    {"id": "toast", "title": "Toast", "text": "Toast is bread, browned."},
]


def run(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert run("index", "build", folder / "corpus.jsonl", "-o", folder / "index", "--embedder", "none").exit_code == 0
    return folder / "index"


def test_filters_and_metadata(built: Path) -> None:
    found = json.loads(run("search", built, "bread", "--json").stdout)["hits"]
    metadata = {hit["id"]: hit.get("metadata") for hit in found}
    assert metadata == {"bread": {"year": 1990, "lang": "en"}, "rye": {"year": 2001, "lang": "en"}, "toast": None}
    assert all(list(hit)[:4] == ["id", "title", "text", "score"] for hit in found)
    for where, wanted in (('year > 1990 and lang = "en"', ["rye"]), ("year is null", ["toast"]), ("year = 1", [])):
        hits = json.loads(run("search", built, "bread", "--json", "--where", where).stdout)["hits"]
        assert [hit["id"] for hit in hits] == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--where", "yaer = 1"], "no field 'yaer'"),
        (["--weight", "0.5"], "weight is of hybrid search"),
        (["--mmr", "0.5"], "mmr needs vectors"),
        (["--mmr-union"], "mmr_union without mmr"),
        (["--depth", "0"], "depth 0"),
    ],
)
def test_options_that_do_not_fit(built: Path, words: list[str], message: str) -> None:
    result = run("search", built, "bread", *words)
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)
