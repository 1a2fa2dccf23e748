"""Damage at random places of every file: `verify` and `open` refuse it, with an error of ours and a remedy."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput, RagscaleError
from ragscale.index import Index, Manifest, check_files, repair, verify
from ragscale.index.storage import checksums as files_module
from ragscale.index.storage.layout import MANIFEST_FILE
from ragscale.index.write import grow, maintain
from ragscale.index.write.build import build

CASES = 1000  # flips and cuts; longer and missing files come on top
COUNTED = {"hashes.u64", "terms.i32", "lengths.i32", "vocabulary.txt", "words.json"}  # from passages
REFUSALS = (IndexDamaged, IndexMismatch, InvalidInput)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An index that has every kind of file: several segments, metadata, an approximate index, deleted rows."""
    folder = tmp_path_factory.mktemp("damage")
    rows = [{**row, "year": 1990 + number} for number, row in enumerate(tiny.rows_of(range(60)))]
    corpus = tiny.write_rows(folder / "corpus.jsonl", rows)
    with pytest.MonkeyPatch.context() as patch:
        tiny.install(patch)
        Index.build([corpus], folder / "index", embedder="tiny", factory="HNSW8", segment_rows=40).close()
        maintain.remove(folder / "index", ["p3", "p50"])
        yield folder / "index"


def damaged(whole: bytes, rng: random.Random) -> tuple[str, bytes | None]:
    """Kind of damage, and the bytes then: a flipped bit, a shorter or, now and then, a longer file, or none at all."""
    kind = rng.choice([*["flip"] * 12, *["cut"] * 6, "extend", "remove"])
    if kind == "remove":
        return kind, None
    if kind == "extend" or not whole:
        return "extend", whole + rng.randbytes(rng.randint(1, 64))
    at = rng.randrange(len(whole))
    if kind == "cut":
        return kind, whole[:at]
    return kind, whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]


def refusal(folder: Path) -> list[RagscaleError]:
    """Errors that `verify` and `open` raise."""
    found = []
    for check in (lambda: check_files(folder, Manifest.read(folder)), lambda: Index.open(folder).close()):
        with pytest.raises(REFUSALS) as caught:
            check()
        found.append(caught.value)
    return found


def test_1000_damaged_files_are_refused(index: Path) -> None:
    rng = random.Random(0)
    names = [*Manifest.read(index).files, MANIFEST_FILE]
    kinds = {"fields.arrow", "vectors.f32", "vectors.faiss", "deleted.npy", "ids.npy", "hashes.u64", "journal.jsonl"}
    assert kinds < {name.rpartition("/")[2] for name in names}
    done: Counter[str] = Counter()
    while done["flip"] + done["cut"] < CASES:
        path = index / names[done.total() % len(names)]
        whole = path.read_bytes()
        kind, data = damaged(whole, rng)
        done[kind] += 1
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        for error in refusal(index):
            assert error.remedy
            derivable = path.is_relative_to(index / "generations") or path.name in COUNTED
            assert ("ragscale index repair" in error.remedy) == derivable
            assert str(path if path.name != MANIFEST_FILE else index) in str(error)
        path.write_bytes(whole)
    assert all(done[kind] for kind in ("flip", "cut", "extend", "remove"))
    with Index.open(index) as opened:
        opened.verify()
        assert len(opened.search(["river"], 100, "dense")[0]) == 58


def test_a_writer_refuses_a_damaged_index_too(index: Path) -> None:
    path = next(index.glob("segments/*/hashes.u64"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for write in (lambda: maintain.remove(index, ["p1"]), lambda: maintain.compact(index)):
        with pytest.raises(IndexDamaged, match=r"hashes\.u64: its checksum"):
            write()
    path.write_bytes(whole)


def flip(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("vectors.faiss", lambda folder: maintain.remove(folder, ["p1"])),
        ("vectors.faiss", lambda folder: grow.add(folder, [folder.parent / "more.jsonl"])),
        ("ids.npy", lambda folder: maintain.reindex(folder, "IVF2,Flat")),
        ("bm25/data.csc.index.npy", lambda folder: maintain.retune(folder, Manifest.read(folder).dense)),
    ],
)
def test_a_write_does_not_sign_damage_that_nobody_saw(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[Path], object]
) -> None:
    """A file of which opening computes no checksum is taken over as it was: `verify` and `repair` still find it."""
    tiny.install(monkeypatch)
    copy = shutil.copytree(index, tmp_path / "index")
    tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of([77]))
    flip(Manifest.read(copy).generation_path(copy) / name)
    with monkeypatch.context() as patch:
        patch.setattr(files_module, "HASHED_FILE", -1)
        write(copy)
    now = Manifest.read(copy)
    assert now.generation > Manifest.read(index).generation
    with pytest.raises(IndexDamaged, match=f"{name}: its checksum"):
        check_files(copy, now)
    assert repair(copy) == [(now.generation_path(Path()) / name).as_posix()]


@pytest.mark.parametrize(
    ("name", "part"),
    [("vectors.f32", b""), ("passages.arrow", b"river"), ("fields.arrow", (1999).to_bytes(8, "little"))],
)
def test_compacting_copies_no_damage(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: bytes
) -> None:
    copy = shutil.copytree(index, tmp_path / "index")
    path = copy / "segments" / "000000" / name
    whole = path.read_bytes()
    at = whole.index(part)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    monkeypatch.setattr(files_module, "HASHED_FILE", -1)
    with pytest.raises(IndexDamaged, match=f"{name}: its checksum"):
        maintain.compact(copy)
    assert Manifest.read(copy) == Manifest.read(index)


def during(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Does something once, when the first checksum is wanted."""
    really, left = files_module._sha256, [what]

    def sha256(path: Path) -> str:
        if left:
            left.pop()()
        return really(path)

    monkeypatch.setattr(files_module, "_sha256", sha256)


def test_a_commit_during_a_long_check_is_no_damage(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(index, tmp_path / "index")

    def write() -> None:
        maintain.remove(copy, ["p1"])
        maintain.compact(copy)

    during(monkeypatch, write)
    verify(copy)
    maintain.sweep(copy)  # what was checked is let go
    now = Manifest.read(copy)
    assert now.passages == 57
    assert [path.name for path in (copy / "generations").iterdir()] == [f"{now.generation:06d}"]
    assert [path.name for path in (copy / "segments").iterdir()] == [segment.name for segment in now.segments]


def test_an_open_index_checks_the_newest_commit(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(index, tmp_path / "index")
    with Index.open(copy) as opened:
        maintain.remove(copy, ["p1"])
        during(monkeypatch, lambda: maintain.remove(copy, ["p2"]))
        opened.verify()
        flip(Manifest.read(copy).generation_path(copy) / "ids.npy")
        with pytest.raises(IndexDamaged, match=r"ids\.npy: its checksum"):
            opened.verify()


def test_an_index_that_is_replaced_during_a_check_is_not_called_damaged(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(index, tmp_path / "index")
    corpus = tiny.write_rows(tmp_path / "corpus.jsonl", tiny.rows_of(range(9)))
    for check in (verify, Index.open):
        with monkeypatch.context() as patch:
            during(patch, lambda: build([corpus], copy, embedder=None, force=True))
            with pytest.raises(IndexMismatch, match="replaced after it was opened"):
                check(copy)
    verify(copy)


def test_opening_computes_checksums_up_to_its_limits(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger files are mapped and not read; their size is compared all the same, and `verify` reads everything."""
    path = next(index.glob("segments/*/passages.arrow"))
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    for name, limit in (("HASHED_FILE", len(whole) - 1), ("HASHED_TOTAL", len(whole))):
        with monkeypatch.context() as patch:
            patch.setattr(files_module, name, limit)
            check_files(index, Manifest.read(index), at_open=True)
            with pytest.raises(IndexDamaged, match="checksum"):
                check_files(index, Manifest.read(index))
    with pytest.raises(IndexDamaged, match="checksum"):
        check_files(index, Manifest.read(index), at_open=True)
    path.write_bytes(whole)
