"""Passages go through the Arrow files unchanged, over any number of folders, and are found by id and by field."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragscale.corpus import FieldTypes, Place, Problems, Record
from ragscale.errors import CorpusError, InvalidInput
from ragscale.index.storage import passages as module
from ragscale.index.storage.hashes import load_hashes, row_hashes, take_hashes
from ragscale.index.storage.layout import FIELDS_FILE
from ragscale.index.storage.passages import PassageStore, PassageWriter, full_text, id_table
from ragscale.index.write.staging import Staged
from ragscale.types import Passage, Scalar

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**63), 2**63 - 1)
METADATA = st.fixed_dictionaries(
    {}, optional={"year": NUMBERS, "lang": TEXT, "open": st.booleans(), "size": st.floats(allow_nan=False)}
)
PASSAGES = st.builds(Passage, TEXT, TEXT, TEXT, TEXT, METADATA)
SOMEWHERE = Place(Path("c.jsonl"), "line", 1)


def types_of(found: Sequence[Passage]) -> dict[str, str]:
    fields = FieldTypes()
    for passage in found:
        fields.fitted(passage.metadata, SOMEWHERE, Problems())
    return fields.types


def write(folder: Path, found: Sequence[Passage]) -> Path:
    folder.mkdir()
    with PassageWriter(folder, types_of(found)) as writer:
        for passage in found:
            writer.add(passage)
    return folder


def opened(folders: Sequence[Path]) -> PassageStore:
    ids = np.concatenate([load_hashes(folder)[:, 0] for folder in folders])
    return PassageStore(folders, id_table(ids, np.arange(len(ids))))


@given(st.lists(st.lists(PASSAGES, max_size=12), min_size=1, max_size=4), st.data())
@settings(max_examples=60)
def test_round_trip(parts: list[list[Passage]], data: st.DataObject) -> None:
    unique = {passage.id: passage for part in parts for passage in part}
    parts = [[passage for passage in part if unique.pop(passage.id, None)] for part in parts]
    found = [passage for part in parts for passage in part]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH", data.draw(st.integers(1, 5)))
        folders = [write(Path(name, str(number)), part) for number, part in enumerate(parts)]
        with opened(folders) as store:
            assert len(store) == len(found)
            assert [store[row] for row in range(len(found))] == found
            assert [store.row(passage.id) for passage in found] == list(range(len(found)))
            start, stop = data.draw(st.integers(0, len(found))), data.draw(st.integers(0, len(found) + 3))
            assert store.texts(start, stop) == [full_text(passage) for passage in found[start:stop]]
            rows = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=len(found), max_size=len(found))))
            assert list(store.take(rows)) == [found[row] for row in rows]
            hashes = take_hashes(folders, rows)
            assert [list(row) for row in hashes] == [list(row_hashes(found[row])) for row in rows]
            stranger = data.draw(TEXT)
            assert (store.row(stranger) is None) == (stranger not in {passage.id for passage in found})
            assert columns(store) == {
                name: [passage.metadata.get(name) for passage in found] for name in sorted(types_of(found))
            }


def columns(store: PassageStore) -> Any:
    return store.fields.table().to_pydict()


def test_fields_of_all_segments_make_one_table(tmp_path: Path) -> None:
    def part(number: int, *rows: dict[str, Scalar]) -> Path:
        found = [Passage(f"{number}-{row}", "", "text", "", metadata) for row, metadata in enumerate(rows)]
        return write(tmp_path / str(number), found)

    folders = [part(0, {"year": 1990}, {}), part(1, {}), part(2, {"year": 1990.5, "lang": "en"})]
    with opened(folders) as store:
        assert columns(store) == {"lang": [None, None, None, "en"], "year": [1990.0, None, None, 1990.5]}
        assert store[0].metadata == {"year": 1990}  # a passage comes back as it was
        assert [str(column.type) for column in store.fields.table().columns] == ["large_string", "double"]
    with opened(folders[1:2]) as store:
        assert store.fields.table().num_columns == 0


def test_fields_stay_those_that_were_opened(tmp_path: Path) -> None:
    """Mapped once, whatever comes to stand at the path; and no map is left when all is closed and forgotten."""
    folder = write(tmp_path / "0", [Passage("a", "", "text", "", {"year": 1990})])
    other = write(tmp_path / "1", [Passage("a", "", "text", "", {"year": 2000})])
    with opened([folder]) as store:
        (other / FIELDS_FILE).replace(folder / FIELDS_FILE)
        assert columns(store) == {"year": [1990]}
        (folder / FIELDS_FILE).unlink()
        assert columns(store) == {"year": [1990]}
        assert maps_of(folder)
    assert not maps_of(folder)


def maps_of(folder: Path) -> list[str]:
    """Files of a folder that this process has mapped, removed ones included."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("the maps of a process are listed on Linux only")
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(folder / FIELDS_FILE) in line]


def test_ids_of_one_hash_are_told_apart(tmp_path: Path) -> None:
    found = [Passage(identity, "", "text") for identity in ("aa", "b", "bb", "cc", "c")]
    folder = write(tmp_path / "0", found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "id_hash", len)
        hashes = np.array([len(passage.id) for passage in found], dtype=np.uint64)
        with PassageStore([folder], id_table(hashes, np.arange(5))) as store:
            assert [store.row(passage.id) for passage in found] == [0, 1, 2, 3, 4]
            assert store.row("dd") is None


def test_duplicates_name_both_places(tmp_path: Path) -> None:
    rows = (("a", 1, "x"), ("a", 2, "y"), ("b", 1, "z"), ("b", 7, "y"), ("c", 9, "x"))
    records = [Record(Passage(identity, "", "text"), Place(Path(file), "line", n)) for file, n, identity in rows]
    with pytest.raises(CorpusError, match="duplicate id 'y': a, line 2 and b, line 7"):
        Staged(tmp_path, records)


def test_unknown_ids(tmp_path: Path) -> None:
    with opened([write(tmp_path / "0", [Passage("a", "", "text")])]) as store:
        assert store.row("\ud83d") is None
        with pytest.raises(InvalidInput, match="no passage 'b' among 1"):
            store.get("b")
