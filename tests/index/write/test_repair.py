"""Repair: what is derived from the segments is derived again, as it was; a damaged segment is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from ragscale.errors import IndexDamaged, InvalidInput
from ragscale.index import Index, Manifest, check_files, repair
from ragscale.index.dense.search import DenseIndex
from ragscale.index.storage.layout import LOCK_FILE
from ragscale.index.write import maintain
from ragscale.types import Hit

QUERIES = ["river ice", "violin string chain", "w45 metal", "capital"]
DERIVED = ["ids.npy", "deleted.npy", "vectors.faiss", "bm25/data.csc.index.npy", "bm25/indices.csc.index.npy",
           "bm25/indptr.csc.index.npy", "bm25/params.index.json", "bm25/vocab.index.json"]  # fmt: skip
COUNTED = ["hashes.u64", "lengths.i32", "terms.i32", "vocabulary.txt", "words.json"]
EMBEDDED = "embedded.log"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments, metadata, deleted rows; an approximate index of the first rows, with settings of its own."""
    folder = tmp_path_factory.mktemp("repair")
    rows = [{**row, "year": 1990 + number} for number, row in enumerate(tiny.rows_of(range(50)))]
    first = tiny.write_rows(folder / "first.jsonl", rows[:40])
    more = tiny.write_rows(folder / "more.jsonl", rows[40:])
    with pytest.MonkeyPatch.context() as patch:
        tiny.install(patch)
        with Index.build([first], folder / "index", embedder="tiny", factory="HNSW8", segment_rows=30) as index:
            index.add([more])
            index.remove(["p3", "p45"])
            dense = index.manifest.dense
    assert dense is not None
    assert dense.rows == 40
    maintain.retune(folder / "index", type(dense)("HNSW8", 40, 3, {"efSearch": 99}, dense.reason))
    return folder / "index"


@pytest.fixture
def index(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy to be damaged; searches go through `vectors.faiss` however few rows there are."""
    tiny.install(monkeypatch, log=tmp_path / EMBEDDED)
    monkeypatch.setattr(DenseIndex, "_is_small", lambda self, live, k: False)
    yield shutil.copytree(whole, tmp_path / "index")
    assert not (tmp_path / EMBEDDED).exists()


def derived(folder: Path, name: str) -> Path:
    return Manifest.read(folder).generation_path(folder) / name


def damage(path: Path, kind: str) -> None:
    whole = path.read_bytes()
    path.unlink()  # it may be linked to one of another generation
    if kind == "flipped":
        at = len(whole) // 2
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
    elif kind == "cut":
        path.write_bytes(whole[:-3])


def hits(folder: Path) -> list[list[list[Hit]]]:
    with Index.open(folder) as index:
        return [index.search(QUERIES, 10, how) for how in ("dense", "bm25", "hybrid")]


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LOCK_FILE
    }


def test_these_are_all_derived_files(whole: Path) -> None:
    manifest = Manifest.read(whole)
    assert sorted(name for name in manifest.files if name.startswith("generations/")) == sorted(
        f"generations/{manifest.generation:06d}/{name}" for name in DERIVED
    )


@pytest.mark.parametrize("kind", ["flipped", "cut", "missing"])
@pytest.mark.parametrize("name", DERIVED)
def test_a_derived_file_is_derived_again(index: Path, name: str, kind: str) -> None:
    before, found = Manifest.read(index), hits(index)
    path = derived(index, name)
    damage(path, kind)
    for check in (lambda: check_files(index, Manifest.read(index)), lambda: Index.open(index)):
        with pytest.raises(IndexDamaged) as caught:
            check()
        assert str(path) in caught.value.problem
        assert f"`ragscale index repair {index}`" in caught.value.remedy
    assert repair(index) == [path.relative_to(index).as_posix()]
    after = Manifest.read(index)
    check_files(index, after)
    assert after.fingerprint == before.fingerprint
    assert after.dense == before.dense
    assert (after.passages, after.content, after.lexical) == (before.passages, before.content, before.lexical)
    assert hits(index) == found
    if name != "vectors.faiss":  # the graph may differ by the order in which threads insert
        old, new = (f"generations/{manifest.generation:06d}/" for manifest in (before, after))
        assert after.files == {file.replace(old, new): info for file, info in before.files.items()}


def test_all_that_can_be_derived_at_once(index: Path) -> None:
    before, found = Manifest.read(index), hits(index)
    for name in DERIVED:
        if name != "deleted.npy":
            damage(derived(index, name), "missing")
    assert len(repair(index)) == len(DERIVED) - 1
    check_files(index, Manifest.read(index))
    assert (Manifest.read(index).fingerprint, hits(index)) == (before.fingerprint, found)


def test_without_deleted_rows_the_whole_folder_is_derived_again(index: Path) -> None:
    maintain.compact(index)
    before, found = Manifest.read(index), hits(index)
    shutil.rmtree(index / "generations")
    with pytest.raises(IndexDamaged, match="repair"):
        Index.open(index)
    repair(index)
    check_files(index, Manifest.read(index))
    assert (Manifest.read(index).fingerprint, hits(index)) == (before.fingerprint, found)


def test_a_lexical_index(tmp_path: Path) -> None:
    corpus = tiny.write_rows(tmp_path / "corpus.jsonl", tiny.rows_of(range(9)))
    with Index.build([corpus], tmp_path / "index", embedder=None) as index:
        found = index.search(QUERIES, 10)
    shutil.rmtree(tmp_path / "index" / "generations" / "000001" / "bm25")
    repair(tmp_path / "index")
    with Index.open(tmp_path / "index") as index:
        index.verify()
        assert index.search(QUERIES, 10) == found


def refused(folder: Path, name: Path) -> None:
    """Repair, verify and open name a file, do not name `repair`, and change nothing."""
    before = content(folder)
    for check in (
        lambda: repair(folder),
        lambda: check_files(folder, Manifest.read(folder)),
        lambda: Index.open(folder),
    ):
        with pytest.raises(IndexDamaged) as caught:
            check()
        assert str(name) in caught.value.problem
        assert "index repair" not in caught.value.remedy
        assert "restore it from a copy" in caught.value.remedy
    assert content(folder) == before


@pytest.mark.parametrize("kind", ["flipped", "cut", "missing"])
def test_what_follows_from_the_passages_of_a_segment_is_counted_again(index: Path, kind: str) -> None:
    before = content(index)
    segment = index / "segments" / "000001"
    for name in COUNTED:
        damage(segment / name, kind)
        with pytest.raises(IndexDamaged, match=f"{name}: .*index repair"):
            Index.open(index)
        assert repair(index) == [f"segments/000001/{name}"]
        assert content(index) == before
    for name in COUNTED:
        damage(segment / name, kind)
    damage(index / "segments" / "000002" / COUNTED[0], kind)
    damage(derived(index, "ids.npy"), kind)
    fingerprint = Manifest.read(index).fingerprint
    assert len(repair(index)) == len(COUNTED) + 2
    check_files(index, Manifest.read(index))
    assert {name: data for name, data in content(index).items() if name.startswith("segments")} == {
        name: data for name, data in before.items() if name.startswith("segments")
    }
    assert Manifest.read(index).fingerprint == fingerprint


def test_words_that_are_counted_otherwise_by_now_change_nothing(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damage(index / "segments" / "000000" / "hashes.u64", "cut")
    damage(index / "segments" / "000001" / "vocabulary.txt", "cut")
    before = content(index)
    monkeypatch.setattr("ragscale.index.lexical.bm25.Terms.__call__", lambda terms, text: text.split())
    with pytest.raises(IndexDamaged, match=r"000001/vocabulary\.txt: does not come out as it was.*from a copy"):
        repair(index)
    assert content(index) == before


def test_a_damaged_segment_is_refused_whatever_else_is_damaged(index: Path) -> None:
    damage(derived(index, "ids.npy"), "flipped")
    segment = index / "segments" / "000001"
    for path in sorted(path for path in segment.iterdir() if path.name not in COUNTED):
        whole = path.read_bytes()
        for kind in ("flipped", "cut", "missing"):
            damage(path, kind)
            refused(index, path)
            path.write_bytes(whole)
    whole = (segment / "passages.arrow").read_bytes()
    for name in COUNTED:
        damage(segment / name, "cut")
    damage(segment / "passages.arrow", "flipped")
    with pytest.raises(IndexDamaged, match=r"segments/000001/.*cannot be derived again"):
        repair(index)
    (segment / "passages.arrow").write_bytes(whole)
    assert len(repair(index)) == 1 + len(COUNTED)


def test_deleted_rows_are_lost_with_both_files_that_name_them(index: Path) -> None:
    damage(derived(index, "ids.npy"), "cut")
    damage(derived(index, "deleted.npy"), "missing")
    refused(index, derived(index, "deleted.npy"))


def test_a_whole_index_is_left_alone(index: Path) -> None:
    before = content(index)
    assert repair(index) == []
    assert content(index) == before


def test_no_index_and_a_damaged_manifest(index: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not an index"):
        repair(tmp_path)
    damage(index / "manifest.json", "cut")
    with pytest.raises(IndexDamaged, match=r"manifest\.json: damaged") as caught:
        repair(index)
    assert "index repair" not in caught.value.remedy


def test_an_open_index_moves_on(index: Path) -> None:
    found = hits(index)
    with Index.open(index) as opened:
        damage(derived(index, "vectors.faiss"), "cut")
        repair(index)
        assert opened.reload()
        assert [opened.search(QUERIES, 10, how) for how in ("dense", "bm25", "hybrid")] == found
        opened.verify()
