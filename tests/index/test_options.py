"""Keywords of builds, additions and updates, and the description of a corpus."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from smallworld import serving

from ragscale.errors import IndexDamaged, InvalidInput
from ragscale.index import AddOptions, BuildOptions, Index, Manifest, UpdateOptions
from ragscale.index.storage.layout import MANIFEST_FILE
from ragscale.index.write import build, grow
from ragscale.index.write.maintain import describe


@pytest.mark.parametrize(("settings", "options"), [(build._Settings, BuildOptions), (grow._Settings, UpdateOptions)])
def test_every_option_has_a_default(settings: Any, options: Any) -> None:
    assert {field.name for field in dataclasses.fields(settings)} == set(options.__annotations__)


def test_an_addition_has_the_options_of_an_update_but_one() -> None:
    assert set(UpdateOptions.__annotations__) - set(AddOptions.__annotations__) == {"prune"}


@pytest.mark.parametrize("name", ["embeder", "chunk", "prune", "folder"])
def test_unknown_options_are_refused(corpus: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"unknown option '{name}' of a build") as caught:
        Index.build([corpus], tmp_path / "other", **{name: 1})  # type: ignore[misc]
    assert "chunk_by" in caught.value.remedy
    assert not (tmp_path / "other").exists()
    with Index.build([corpus], tmp_path / "index", embedder=None) as index:
        before = index.manifest
        with pytest.raises(InvalidInput, match=f"unknown option '{name}' of an addition"):
            index.add([corpus], **{name: 1})  # type: ignore[misc]
        if name != "prune":
            with pytest.raises(InvalidInput, match=f"unknown option '{name}' of an update"):
                index.update([corpus], **{name: 1})  # type: ignore[misc]
        assert Manifest.read(index.path) == before


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("Papers on ice.", "Papers on ice."),
        (" Zwei  Zeilen\nüber Eis.\t", "Zwei Zeilen über Eis."),
        ("half \ud83d", "half ?"),
        ("x" * 1000 + " ", "x" * 1000),
    ],
)
def test_a_description(corpus: Path, tmp_path: Path, given: str, kept: str) -> None:
    """It survives changes of the index and is told by a server; without one, all is as it was before there were any."""
    plain = Index.build([corpus], tmp_path / "plain", embedder=None)
    with Index.build([corpus], tmp_path / "index", embedder=None, description=given) as index:
        assert index.description == index.searching(how="bm25").description == kept
        assert (index.fingerprint == plain.fingerprint) == (not kept)
        assert ("description" in json.loads((index.path / MANIFEST_FILE).read_text())) == bool(kept)
        more = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(20, 25)))
        index.add([more])
        index.remove(["p1"])
        index.compact()
        assert index.description == kept
        with serving(index) as url, Index.open(url) as remote:
            assert remote.description == remote.searching(how="bm25").description == kept


@pytest.mark.parametrize(
    ("given", "message"), [("x" * 1001, "1,001 characters, the limit is 1,000"), (7, "7 is not text")]
)
def test_no_description(corpus: Path, tmp_path: Path, given: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Index.build([corpus], tmp_path / "index", embedder=None, description=given)


def test_a_description_that_was_changed_by_hand_is_refused(corpus: Path, tmp_path: Path) -> None:
    Index.build([corpus], tmp_path / "index", embedder=None, description="On ice.").close()
    path = tmp_path / "index" / MANIFEST_FILE
    for old, new in (("On ice.", "On fire."), ('  "description": "On ice.",\n', "")):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(IndexDamaged, match="checksum"):
            Index.open(tmp_path / "index")
        path.write_text(text)


@pytest.mark.parametrize("first", ["", "On ice."])
def test_an_index_is_described_later(corpus: Path, tmp_path: Path, first: str) -> None:
    with Index.build([corpus], tmp_path / "index", embedder=None, description=first) as index:
        index.remove(["p3"])
        before, found = index.fingerprint, index.search(["river ice"])
        describe(index.path, first)
        assert not index.reload()
        for text in ("On  rivers.", ""):
            describe(index.path, text)
            assert index.reload()
            assert (index.description, index.search(["river ice"])) == (" ".join(text.split()), found)
            assert (index.fingerprint == before) == (text == first)
        with pytest.raises(InvalidInput, match="1,001 characters"):
            describe(index.path, "x" * 1001)
        index.verify()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return tiny.write_rows(tmp_path / "corpus.jsonl", tiny.rows_of(range(10)))
