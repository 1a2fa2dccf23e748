"""Options of ``ragscale index build`` that say how corpora are read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ragscale.cli import index as commands
from ragscale.errors import BadDocument, CorpusError, InvalidInput
from ragscale.index import Index

root = typer.Typer()
root.add_typer(commands.app, name="index")


def build(folder: Path, *words: object) -> Result:
    options = ["--out", folder / "index", "--embedder", "none", *words]
    return CliRunner().invoke(root, ["index", "build", str(folder / "corpus"), *map(str, options)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of a Markdown file, a table, a picture and a file in the wrong encoding."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.md").write_text("# Guide\n\nwelcome\n\n## Install\n\nrun pip\n")
    (corpus / "b.csv").write_text("key,body,year\nb1,a row,1990\n")
    (corpus / "c.png").write_bytes(b"picture")
    (corpus / "d.txt").write_bytes(b"caf\xe9")
    return tmp_path


def test_a_bad_document_stops_the_build(folder: Path) -> None:
    result = build(folder, "--columns", "id=key,text=body")
    assert isinstance(result.exception, BadDocument)
    assert "d.txt, line 1: invalid UTF-8" in str(result.exception)
    assert not (folder / "index").exists()


def test_keep_going_says_what_was_left_out(folder: Path) -> None:
    result = build(folder, "--columns", "id=key,text=body", "--keep-going", "--chunk-by", "headings")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{folder / 'index'}: 3 passages, searched by bm25",
        "words: english (auto: too little text to tell), stemmer english, 33 stop words",
    ]
    assert f"skipped {folder}/corpus/d.txt, line 1: invalid UTF-8" in " ".join(result.stderr.split())
    assert result.stderr.endswith("1 bad document skipped\nnot read: .png files (1)\n")
    with Index.open(folder / "index") as index:
        assert index.search(["pip"], k=1)[0][0].passage.title == "Guide > Install"
        assert index.search(["row"], k=1)[0][0].passage.id == "b1"


def test_the_index_knows_its_chunking(folder: Path) -> None:
    (folder / "corpus" / "d.txt").unlink()
    (folder / "corpus" / "b.csv").unlink()
    assert build(folder, "--chunk-by", "sentences", "--chunk-size", 200, "--chunk-rows").exit_code == 0
    text = CliRunner().invoke(root, ["index", "info", str(folder / "index")]).stdout
    assert "documents and rows by sentences, 200 characters at most, 20 shared" in text
    info = json.loads(CliRunner().invoke(root, ["index", "info", str(folder / "index"), "--json"]).stdout)
    assert info["chunking"] == {"size": 200, "overlap": 20, "by": "sentences", "rows": True, "tokenizer": ""}


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["--columns", "id"], InvalidInput, "columns 'id': cannot read 'id'"),
        (["--chunk-size", 0], InvalidInput, "chunk size 0"),
        (["--columns", "text=nothing", "--keep-going"], CorpusError, "no passage"),
    ],
)
def test_options_out_of_range(folder: Path, words: list[object], kind: type[Exception], message: str) -> None:
    (folder / "corpus" / "a.md").unlink()
    result = build(folder, *words)
    assert isinstance(result.exception, kind)
    assert message in str(result.exception)


def test_a_corpus_on_standard_input(tmp_path: Path) -> None:
    program = "from ragscale.cli import app; app()"
    command = [sys.executable, "-c", program, "index", "build", "-", "-o", str(tmp_path / "index")]
    rows = "".join(f'{{"id": "{n}", "text": "row {n}"}}\n' for n in range(3))
    done = subprocess.run([*command, "--embedder", "none"], input=rows, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "3 passages" in done.stdout


def test_add_and_update_read_like_build(folder: Path) -> None:
    index, corpus = folder / "index", folder / "corpus"
    options = ["--columns", "id=key,text=body", "--keep-going"]
    assert build(folder, *options, "--chunk-by", "headings").exit_code == 0
    (corpus / "e.md").write_text("# More\n\nfirst\n\n## Still more\n\nlast\n")

    def run(command: str, *words: object) -> Result:
        return CliRunner().invoke(root, ["index", command, str(index), str(corpus), *map(str, words)])

    assert isinstance(run("add", *options[:2]).exception, BadDocument)
    added = run("add", *options)
    assert added.exit_code == 0, added.output
    assert "documents 1 added, 0 changed, 2 unchanged" in added.stdout
    assert "1 bad document skipped" in added.stderr
    refused = run("update", "--prune", *options)
    assert "1 bad document skipped, which --prune would remove" in str(refused.exception)
    (corpus / "d.txt").unlink()
    (corpus / "a.md").unlink()
    assert "1 removed" in run("update", "--prune", *options).stdout
    with Index.open(index) as opened:
        assert opened.search(["last"], k=1)[0][0].passage.title == "More > Still more"
    (corpus / "b.csv").write_text("key,body,year\nb2,a row,unknown\n")
    added = run("add", *options[:2])
    assert added.exit_code == 0, added.output
    assert "values of `year` that are text, not a whole number (1)" in added.stderr
