"""Damage at random places of every file: `verify` and `open` refuse it, with an error of ours and a remedy."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput, RagscaleError
from ragscale.index import Index, Manifest, check_files, upkeep
from ragscale.index import files as files_module
from ragscale.index.manifest import MANIFEST_FILE

CASES = 1000  # flips and cuts; longer and missing files come on top
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
        upkeep.remove(folder / "index", ["p3", "p50"])
        yield folder / "index"


def damaged(whole: bytes, rng: random.Random) -> tuple[str, bytes | None]:
    """What was done, and the bytes now: a flipped bit, a shorter or, now and then, a longer file, or none at all."""
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
    """What `verify` and `open` say."""
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
            assert ("ragscale index repair" in error.remedy) == path.is_relative_to(index / "generations")
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
    for write in (lambda: upkeep.remove(index, ["p1"]), lambda: upkeep.compact(index)):
        with pytest.raises(IndexDamaged, match=r"hashes\.u64: its checksum"):
            write()
    path.write_bytes(whole)


def test_opening_computes_checksums_up_to_its_limits(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is larger is mapped and not read; its size is compared all the same, and `verify` reads everything."""
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
