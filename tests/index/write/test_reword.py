"""Another language, and indexes whose words were cut by older rules: brought up to date without embedding."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.errors import IndexMismatch, InvalidInput
from ragscale.index import Index, Manifest, repair, reword
from ragscale.index.write import segments
from ragscale.language.terms import VERSION

Build = Callable[..., Index]
ROWS: list[tiny.Row] = [
    {"id": "houses", "text": "Die alten Häuser der Stadt stehen am Fluss und sind aus rotem Stein gebaut worden."},
    {"id": "skin", "text": "Die Haut der Hand ist nach der Arbeit im kalten Wasser rot und rau geworden."},
    {
        "id": "gone",
        "text": "Ein Haus ohne Garten hat weniger Licht, aber es ist im Winter oft viel leichter zu heizen.",
    },
]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds an index of rows with the tiny embedder, whose calls it logs."""
    tiny.install(monkeypatch, log=tmp_path / "embedded.log")

    def make(rows: Sequence[tiny.Row] = ROWS, name: str = "index", **options: Any) -> Index:
        corpus = tiny.write_rows(tmp_path / f"{name}.jsonl", rows)
        return Index.build([corpus], tmp_path / name, **{"embedder": "tiny", "segment_rows": 2, **options})

    return make


def made_old(folder: Path) -> None:
    """Give an index the manifest of one that was made before words had rules."""
    manifest = Manifest.read(folder)
    kept = {name: manifest.lexical[name] for name in ("kind", "method", "k1", "b", "terms")}
    files = {name: info for name, info in manifest.files.items() if not name.endswith("words.json")}
    for path in folder.rglob("words.json"):
        path.unlink()
    replace(manifest, lexical={**kept, "stopwords": "english", "stemmer": "english"}, files=files).write(folder)


def found(index: Index, query: str) -> list[str]:
    return [hit.passage.id for hit in index.search([query], 10, "bm25")[0]]


def test_another_language_is_a_new_build_without_embedding(build: Build, tmp_path: Path) -> None:
    with build(language="none") as index, build(name="fresh", language="de") as fresh:
        assert found(index, "Hauses") == []
        index.remove(["gone"])
        fresh.remove(["gone"])
        vectors = {path.name: path.stat().st_ino for path in index.path.rglob("vectors.f32")}
        (tmp_path / "embedded.log").unlink()
        manifest = reword(index.path, "german")
        assert not (tmp_path / "embedded.log").exists()
        assert index.reload()
        assert found(index, "Hauses") == found(fresh, "Hauses") == ["houses"]
        assert manifest.fingerprint == index.fingerprint == fresh.fingerprint
        assert {path.name: path.stat().st_ino for path in index.path.rglob("vectors.f32")} == vectors
        assert index.search(["Haus"], 5, "dense") == fresh.search(["Haus"], 5, "dense")
        index.verify()
        assert reword(index.path, "de") == manifest  # nothing to do
        index.add([tiny.write_rows(tmp_path / "more.jsonl", [{"id": "new", "text": "Viele Häuser"}])])
        assert set(found(index, "Haus")) == {"houses", "new"}


def test_an_old_index_says_how_it_is_updated(build: Build, tmp_path: Path) -> None:
    with build(language="english") as index:
        path, hits = index.path, found(index, "Wasser")
    made_old(path)
    command = rf"`ragscale index reindex {path} --language auto` cuts them again; nothing is embedded"
    with pytest.raises(IndexMismatch, match=command):
        Index.open(path)
    from ragscale.index.write.grow import add

    with pytest.raises(IndexMismatch, match=command):
        add(path, [tmp_path / "index.jsonl"])
    shown = CliRunner().invoke(app, ["index", "info", str(path)])
    assert "--language auto` mends it" in shown.stdout
    (tmp_path / "embedded.log").unlink()
    done = CliRunner().invoke(app, ["index", "reindex", str(path), "--language", "auto"])
    assert done.exit_code == 0, done.output
    assert f"{path}: words german (auto: 100% of a sample), stemmer german" in done.stdout
    assert not (tmp_path / "embedded.log").exists()
    with Index.open(path) as index:
        assert found(index, "Wasser") == hits == ["skin"]
        assert index.manifest.lexical["language"] == "german"


def test_an_index_of_the_rules_before_keeps_its_language(build: Build, tmp_path: Path) -> None:
    with build(language="german") as index:
        path, hits, fingerprint = index.path, found(index, "Wasser"), index.fingerprint
    manifest = Manifest.read(path)
    replace(manifest, lexical={**manifest.lexical, "words": VERSION - 1}).write(path)
    with pytest.raises(
        IndexMismatch, match=rf"rules {VERSION - 1}, this ragscale reads rules {VERSION}.*--language german` cuts"
    ):
        Index.open(path)
    shown = CliRunner().invoke(app, ["index", "info", str(path)])
    assert f"cut by rules {VERSION - 1}" in shown.stdout
    assert "--language german` mends it" in shown.stdout
    (tmp_path / "embedded.log").unlink()
    done = CliRunner().invoke(app, ["index", "reindex", str(path), "--language", "german"])
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "embedded.log").exists()
    with Index.open(path) as index:
        assert (found(index, "Wasser"), index.fingerprint) == (hits, fingerprint)


def test_damage_of_old_words_is_not_counted_again_by_new_rules(build: Build) -> None:
    with build() as index:
        path = index.path
    made_old(path)
    next(path.rglob("terms.i32")).write_bytes(b"")
    with pytest.raises(IndexMismatch, match="--language auto"):
        repair(path)


def test_the_language_is_told_and_kept(build: Build) -> None:
    with build() as index:
        lexical = index.manifest.lexical
        assert (lexical["language"], lexical["stemmer"], lexical["chosen"]) == ("german", "german", "100% of a sample")
        assert lexical["stopwords"] > 200
    with build(name="named", language="german") as named:
        assert named.manifest.lexical == {**lexical, "chosen": ""}
        assert named.fingerprint == index.fingerprint  # the reason is none of it
    with pytest.raises(InvalidInput, match="language 'klingon' has no stemmer"):
        build(name="no", language="klingon")


def test_a_killed_build_is_not_continued_in_another_language(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(segments, "_append", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            build(language="english")
    with build(language="german") as index:
        assert set(found(index, "Haus")) == {"houses", "gone"}
        rules = [json.loads(path.read_text()) for path in index.path.rglob("words.json")]
        assert rules == [{"words": VERSION, "language": "german"}] * 2


def _killed(*_: object) -> None:
    raise RuntimeError("killed")
