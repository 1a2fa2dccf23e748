"""Passages go through the Arrow file unchanged and are found by id."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragscale.corpus import Place, Record
from ragscale.errors import CorpusError, InvalidInput
from ragscale.index import passages as module
from ragscale.index.passages import PassageStore, PassageWriter, full_text
from ragscale.types import Passage

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def write(folder: Path, found: list[Passage], file: str = "c.jsonl") -> None:
    with PassageWriter(folder) as writer:
        for number, passage in enumerate(found, 1):
            writer.add(Record(passage, Place(Path(file), "line", number)))
        writer.finish()


@given(st.lists(st.builds(Passage, TEXT, TEXT, TEXT), unique_by=lambda p: p.id, min_size=1, max_size=30), st.data())
@settings(deadline=None, max_examples=60)
def test_round_trip(found: list[Passage], data: st.DataObject) -> None:
    batch = data.draw(st.integers(1, 8))
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH", batch)
        write(Path(name), found)
        with PassageStore(Path(name)) as store:
            assert list(store) == found
            assert [store.row(passage.id) for passage in found] == list(range(len(found)))
            assert store.texts(0, len(found)) == [full_text(passage) for passage in found]
            stranger = data.draw(TEXT)
            assert (store.row(stranger) is None) == (stranger not in {passage.id for passage in found})


def test_ids_of_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_hash", lambda identity: len(identity))
    found = [Passage(identity, "", "text") for identity in ("aa", "b", "bb", "cc", "c")]
    write(tmp_path, found)
    with PassageStore(tmp_path) as store:
        assert [store.row(passage.id) for passage in found] == [0, 1, 2, 3, 4]
        assert store.row("dd") is None


def test_duplicates_name_both_places(tmp_path: Path) -> None:
    with PassageWriter(tmp_path) as writer:
        for file, number, identity in (("a", 1, "x"), ("a", 2, "y"), ("b", 1, "z"), ("b", 7, "y"), ("c", 9, "x")):
            writer.add(Record(Passage(identity, "", "text"), Place(Path(file), "line", number)))
        with pytest.raises(CorpusError, match="duplicate id 'y': a, line 2 and b, line 7"):
            writer.finish()


def test_unknown_ids(tmp_path: Path) -> None:
    write(tmp_path, [Passage("a", "", "text")])
    with PassageStore(tmp_path) as store:
        assert store.row("\ud83d") is None
        with pytest.raises(InvalidInput, match="no passage 'b' among 1"):
            store.get("b")
