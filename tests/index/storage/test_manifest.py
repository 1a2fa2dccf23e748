"""The manifest refuses what is not the index that was built."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput
from ragscale.index import Index, Manifest
from ragscale.index.storage import checksums as files_module
from ragscale.index.storage.layout import LOCK_FILE, MANIFEST_FILE
from ragscale.index.storage.manifest import DenseInfo, EmbedderInfo, FileInfo, Segment

MakeModel = Callable[..., Path]


@pytest.fixture
def copy(dense: Index, tmp_path: Path) -> Path:
    """A copy of an index with vectors, to be damaged."""
    return shutil.copytree(dense.path, tmp_path / "copy")


def edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_round_trip(tmp_path: Path) -> None:
    info = EmbedderInfo("n", "r", "float32", 3, 256, "q: ", "d: ")
    manifest = Manifest(
        generation=3,
        segments=(Segment("000000", 2), Segment("000007", 1)),
        passages=2,
        content="c",
        lexical={"kind": "bm25s", "terms": 9},
        chunking={},
        fields={"year": "int64"},
        embedder=info,
        dense=DenseInfo("HNSW8", 3, 1, {"efSearch": 128}, "as asked for"),
        files={"a/b": FileInfo(3, "f")},
    )
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest


def test_every_file_is_listed(dense: Index) -> None:
    on_disk = {p.relative_to(dense.path).as_posix() for p in dense.path.rglob("*") if p.is_file()}
    assert on_disk == {*dense.manifest.files, MANIFEST_FILE, LOCK_FILE}
    wanted = {"segments/000000/passages.arrow", "segments/000000/vectors.f32", "generations/000001/ids.npy"}
    assert wanted < on_disk
    assert not any("pickle" in name or name.endswith((".pkl", ".bin")) for name in on_disk)
    dense.verify()


def test_truncated_files_are_refused_by_open(dense: Index, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "HASHED_FILE", -1)  # sizes alone must be enough
    for name in dense.manifest.files:
        path = copy / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(IndexDamaged, match="the manifest says") as caught:
            Index.open(copy)
        assert str(path) in str(caught.value)
        path.unlink()
        with pytest.raises(IndexDamaged, match="missing"):
            Index.open(copy)
        path.write_bytes(whole)
    Index.open(copy).close()


@pytest.mark.parametrize("seed", range(5))
def test_flipped_bits_are_refused_by_open_and_verify(dense: Index, copy: Path, seed: int) -> None:
    rng = random.Random(seed)
    index = Index.open(copy)
    for name in dense.manifest.files:
        path = copy / name
        whole = path.read_bytes()
        at, bit = rng.randrange(len(whole)), rng.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        with pytest.raises(IndexDamaged, match="checksum"):
            Index.open(copy)
        with pytest.raises(IndexDamaged, match="checksum"):
            index.verify()
        path.write_bytes(whole)
    index.verify()


def test_a_damaged_manifest_is_refused(copy: Path) -> None:
    path = copy / MANIFEST_FILE
    whole = path.read_bytes()
    for cut in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:cut])
        with pytest.raises(IndexDamaged, match="damaged"):
            Index.open(copy)
    for changed in (whole.replace(b"inner", b"outer"), whole + b" ", whole.replace(b": 1", b":  1")):
        path.write_bytes(changed)
        with pytest.raises(IndexDamaged, match="does not have its checksum"):
            Index.open(copy)
    path.write_bytes(b"\xff" + whole)
    with pytest.raises(IndexDamaged, match="damaged"):
        Index.open(copy)
    for text in ("[]", "{}", '{"format": 3}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(IndexDamaged, match="damaged"):
            Index.open(copy)


def test_paths_outside_the_folder_are_refused(copy: Path) -> None:
    edit(copy, files={"../secret": {"size": 1, "sha256": "f"}})
    with pytest.raises(IndexDamaged, match="damaged"):
        Index.open(copy)


def test_another_format_version(copy: Path) -> None:
    edit(copy, format=99)
    with pytest.raises(IndexMismatch, match="index format 99, this ragscale reads 3") as caught:
        Index.open(copy)
    assert "Build the index again" in caught.value.remedy


def test_not_an_index(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not an index") as caught:
        Index.open(tmp_path)
    assert caught.value.remedy == f"Build one: `ragscale index build CORPUS --out {tmp_path}`."
    (tmp_path / "notes.txt").write_text("A folder of documents is what an index is built of, not where it may stand.")
    with pytest.raises(InvalidInput, match="not an index") as caught:
        Index.open(tmp_path)
    assert caught.value.remedy == f"Build one: `ragscale index build {tmp_path} --out INDEX`."


def test_a_manifest_that_is_gone(copy: Path) -> None:
    (copy / MANIFEST_FILE).unlink()
    with pytest.raises(IndexDamaged, match=r"its manifest\.json is missing") as caught:
        Index.open(copy)
    assert "estore manifest.json from a copy" in caught.value.remedy
    (copy / "segments").rename(copy / "other")
    with pytest.raises(InvalidInput, match="not an index"):
        Index.open(copy)


def test_another_embedder(dense: Index, lexical: Index, model: Path, make_model: MakeModel) -> None:
    with pytest.raises(IndexMismatch, match=r"was built with .*model, not with other/model"):
        Index.open(dense.path, embedder="other/model")
    with pytest.raises(IndexMismatch, match="was built with no embedder, not with sentence-transformers/all-MiniLM"):
        Index.open(lexical.path, embedder="default")
    with pytest.raises(IndexMismatch, match="was built with no embedder"):
        Index.open(lexical.path, embedder=model)
    with (
        Index.open(dense.path, embedder=make_model(5)) as index,
        pytest.raises(IndexMismatch, match="found sha256:"),
    ):
        index.search(["bread"], how="dense")


def test_fingerprints_follow_content_and_settings(corpus: Path, lexical: Index, tmp_path: Path) -> None:
    def fingerprint(name: str, **options: object) -> str:
        with Index.build([corpus], tmp_path / name, embedder=None, **options) as index:  # type: ignore[arg-type]
            return index.fingerprint

    assert fingerprint("same") == lexical.fingerprint
    assert fingerprint("other", lexical="rank-bm25") != lexical.fingerprint
    corpus_2 = tmp_path / "c.jsonl"
    corpus_2.write_text(corpus.read_text().replace("polonium", "Polonium"))
    with Index.build([corpus_2], tmp_path / "changed", embedder=None) as index:
        assert index.fingerprint != lexical.fingerprint
