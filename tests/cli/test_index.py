"""``ragscale index`` and ``ragscale search``, through a root app like the real one."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from ragscale.cli import app
from ragscale.cli import index as commands
from ragscale.cli.progress import progress_bars
from ragscale.errors import CorpusError, IndexDamaged, InvalidInput, RagscaleError
from ragscale.index.storage.locks import writing

root = typer.Typer()
root.add_typer(commands.app, name="index")
root.command("search")(commands.search)

ROWS = [
    {"id": "bread", "title": "Bread", "text": "Bread is baked from flour, water, salt and yeast."},
    {"id": "violin", "title": "", "text": "The violin has four strings. " + "It is played with a bow. " * 20},
    {"id": "paris", "title": "Paris", "text": "Paris is the capital of France."},
]


def run(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


WORDS = "words: english (auto: 100% of a sample), stemmer english, 33 stop words\n"


def load(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def built(corpus: Path, tmp_path: Path) -> Path:
    result = run("index", "build", corpus, "--out", tmp_path / "index", "--embedder", "none")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'index'}: 3 passages, searched by bm25\n{WORDS}"
    assert re.findall(r"^(\w+) .* 3/3\s+[\d,]+ passages/s", result.stderr, re.MULTILINE) == ["Reading", "Terms"]
    return tmp_path / "index"


def test_a_bar_tells_passages_a_second_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bars() as report:
        for done in (0, 20, 40, 60):
            report("embed", done, 100)
            time.sleep(0.1)
    shown = capsys.readouterr()
    bar = re.search(r"^Embedding +\S.* 60/100 +([\d,]+) passages/s +(\d):(\d\d):(\d\d) +0:00:(\d\d)", shown.err, re.M)
    assert bar is not None, shown.err
    speed, left = int(bar[1].replace(",", "")), int(bar[5])
    assert 0 < speed <= 200  # 20 passages in 0.1 s or more
    assert left == pytest.approx(40 / speed, abs=2)
    assert shown.out == ""


def test_folders_are_named_as_they_were_given(built: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built.parent)
    damaged = built / "generations" / "000001" / "ids.npy"
    for words in (["add", "nothing", corpus], ["remove", "index", "nobody"], ["compact", "nothing"]):
        assert str(run("index", *words).exception).startswith(f"{words[1]}: no")
    with writing(built):
        assert str(run("index", "remove", "index", "bread").exception).startswith("index: another process")
        again = run("index", "build", corpus, "--out", "index", "--force", "--embedder", "none")
        assert str(again.exception).startswith("index: another process")
    (built.parent / ".new.building").mkdir()
    with writing(built.parent / ".new.building"):
        new = run("index", "build", corpus, "--out", "new", "--embedder", "none")
    assert str(new.exception).startswith(".new.building: another process")
    damaged.write_bytes(b"")
    for command in ("verify", "compact"):
        assert str(run("index", command, "index").exception).startswith("index/generations/000001/ids.npy: 0 bytes")


@pytest.mark.parametrize("words", [["verify"], ["compact"], ["tune"], ["add", "x"], ["remove", "x"]])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "HTTPS://host/index"])
def test_a_url_is_no_folder(words: list[str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command, *rest = words
    result = CliRunner().invoke(app, ["index", command, url, *rest])
    assert result.exit_code == 1
    assert f"{url} is a URL, and this takes the folder of an index" in result.output


def test_build_takes_its_options(corpus: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("# Notes\n\n" + "word " * 100)
    out = tmp_path / "index"
    options = ["--embedder", "none", "--lexical", "rank-bm25", "--chunk-size", 100, "--chunk-overlap", 10]
    assert run("index", "build", corpus, notes, "-o", out, *options).exit_code == 0
    info = load(run("index", "info", out, "--json"))
    assert info["lexical"]["kind"] == "rank-bm25"
    assert (info["chunking"]["size"], info["chunking"]["overlap"]) == (100, 10)
    assert info["passages"] > 6
    assert isinstance(run("index", "build", corpus, "-o", out, "--embedder", "none").exception, InvalidInput)
    assert run("index", "build", corpus, "-o", out, "--embedder", "none", "--force").exit_code == 0
    assert load(run("index", "info", out, "--json"))["passages"] == 3


def test_a_description_is_kept_and_shown(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    text = "Recipes and  instruments,\nby a cook."
    assert run("index", "build", corpus, "-o", out, "--embedder", "none", "--description", text).exit_code == 0
    assert load(run("index", "info", out, "--json"))["description"] == "Recipes and instruments, by a cook."
    assert "description  Recipes and instruments, by a cook.\n" in run("index", "info", out).stdout
    assert run("index", "describe", out, "Recipes.").exit_code == 0
    assert load(run("index", "info", out, "--json"))["description"] == "Recipes."


def test_info_shows_what_the_manifest_holds(built: Path) -> None:
    info = load(run("index", "info", built, "--json"))
    assert info == json.loads((built / "manifest.json").read_text())
    text = run("index", "info", built).stdout
    assert info["fingerprint"] in text
    assert "passages     3\n" in text
    assert "description" not in text + json.dumps(info)
    assert "embedder     none\n" in text


def test_verify(built: Path) -> None:
    assert "files are as they were written" in run("index", "verify", built).stdout
    path = built / "segments" / "000000" / "passages.arrow"
    path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    result = run("index", "verify", built)
    assert result.exit_code == 1
    assert isinstance(result.exception, IndexDamaged)


def test_search_json_of_one_query(built: Path) -> None:
    found = load(run("search", built, "capital of France", "--json"))
    assert list(found) == ["hits"]
    assert [list(hit) for hit in found["hits"]] == [["id", "title", "text", "score"]]
    assert {key: found["hits"][0][key] for key in ROWS[2]} == ROWS[2]
    assert found["hits"][0]["score"] > 0


def test_search_json_of_several_queries(built: Path) -> None:
    found = load(run("search", built, "flour", "zebra", "bow", "--json", "-k", 1, "--how", "bm25"))
    assert [(q["query"], [hit["id"] for hit in q["hits"]]) for q in found["queries"]] == [
        ("flour", ["bread"]),
        ("zebra", []),
        ("bow", ["violin"]),
    ]


def test_search_as_text(built: Path) -> None:
    lines = run("search", built, "strings", "zebra").stdout.splitlines()
    assert lines[0] == "# strings"
    assert lines[1].startswith("1. violin [violin] ")
    assert lines[2].endswith("...")
    assert lines[3:] == ["# zebra", "no hits"]


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["search", "{built}", "x", "--how", "dense"], InvalidInput, "needs vectors"),
        (["search", "{built}", "x", "-k", "0"], InvalidInput, "k 0"),
        (["search", "{built}", " "], InvalidInput, "blank"),
        (["search", "{tmp}", "x"], InvalidInput, "not an index"),
        (["index", "info", "{tmp}"], InvalidInput, "not an index"),
        (["index", "build", "{tmp}/corpus.jsonl", "-o", ""], InvalidInput, "out '' names no folder"),
        (["index", "build", "{tmp}/no.jsonl", "-o", "{tmp}/new"], CorpusError, "no such file"),
    ],
)
def test_errors_are_ragscales_own(
    built: Path, tmp_path: Path, words: list[str], kind: type[RagscaleError], message: str
) -> None:
    result = run(*(word.format(built=built, tmp=tmp_path) for word in words))
    assert isinstance(result.exception, kind)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_a_bad_document_says_how_to_skip_it(tmp_path: Path) -> None:
    docs, build = tmp_path / "docs", ["index", "build", str(tmp_path / "docs"), "--embedder", "none"]
    docs.mkdir()
    (docs / "a.txt").write_text("A zebra.")
    (docs / "b.txt").touch()
    stopped = run(*build, "-o", str(tmp_path / "one"))
    assert str(stopped.exception).endswith("Fill the file or remove it. Or skip all that cannot be read: --keep-going.")
    skipped = run(*build, "-o", str(tmp_path / "two"), "--keep-going")
    assert (skipped.exit_code, "skip all" in skipped.output) == (0, False)
    assert "1 bad document skipped" in skipped.stderr
    (docs / "b.txt").unlink()
    (docs / "c.csv").write_text("id,text\n1,rho\0dium\n")  # a message that says so by itself
    assert str(run(*build, "-o", str(tmp_path / "three")).exception).count("Or skip all") == 1


@pytest.mark.parametrize(
    "words", [["index", "build"], ["search"], ["index", "build", "c", "-o", "d", "--lexical", "x"]]
)
def test_usage_errors(words: list[str]) -> None:
    assert run(*words).exit_code == 2
