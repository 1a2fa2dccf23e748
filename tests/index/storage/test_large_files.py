"""Damage in files too large to be read when an index is opened: an error of ours as they are used, never a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny

from ragscale.errors import IndexDamaged
from ragscale.index import Index, Manifest
from ragscale.index.storage import checksums as files_module
from ragscale.index.write import maintain


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of every kind of file."""
    folder = tmp_path_factory.mktemp("large")
    rows = [
        {**row, "year": 1990 + n % 30, "kind": "ab"[n % 2] * (n % 9)} for n, row in enumerate(tiny.rows_of(range(120)))
    ]
    corpus = tiny.write_rows(folder / "corpus.jsonl", rows)
    with pytest.MonkeyPatch.context() as patch:
        tiny.install(patch)
        Index.build([corpus], folder / "index", embedder="tiny", factory="HNSW8", segment_rows=80).close()
        maintain.remove(folder / "index", ["p3", "p90"])
    return folder / "index"


@pytest.fixture
def index(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, opened as if all its files were large; as it was after the test."""
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file()}
    tiny.install(monkeypatch)
    monkeypatch.setattr(files_module, "HASHED_FILE", -1)
    yield built
    for path, whole in before.items():
        path.write_bytes(whole)


def survives(folder: Path, cases: int, seed: int) -> None:
    command = [sys.executable, str(Path(__file__).with_name("damage.py")), str(folder), str(cases), str(seed)]
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1]}: {done.returncode}\n{done.stderr[-2000:]}"
    ends = Counter(line.split()[-1] for line in done.stdout.splitlines())
    assert ends.total() == cases
    assert set(ends) <= {"ok", "IndexDamaged", "IndexMismatch", "InvalidInput"}
    assert ends["IndexDamaged"] > cases / 4


def test_no_damage_ends_the_process(built: Path) -> None:
    survives(built, 300, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_no_damage_ends_the_process_at_length(built: Path, seed: int) -> None:
    survives(built, 2000, seed)


def find(folder: Path, name: str) -> Path:
    manifest = Manifest.read(folder)
    return next(folder / known for known in sorted(manifest.files) if known.endswith(name))


def overwrite(path: Path, part: bytes, by: bytes) -> None:
    whole = path.read_bytes()
    at = whole.index(part)
    path.write_bytes(whole[:at] + by + whole[at + len(by) :])


def text_beyond(folder: Path) -> Path:
    """The end of a text is far beyond the file."""
    path = find(folder, "000000/passages.arrow")
    lengths = np.cumsum([0, *(len(f"p{n}") for n in range(80))]).astype("<i8")
    overwrite(path, lengths[10:14].tobytes(), (2**40).to_bytes(8, "little"))
    return path


def text_no_text(folder: Path) -> Path:
    path = find(folder, "000000/passages.arrow")
    overwrite(path, b"river", b"\xff")
    return path


def metadata_no_json(folder: Path) -> Path:
    path = find(folder, "000000/passages.arrow")
    overwrite(path, b'{"year"', b"[")
    return path


def posting_beyond(folder: Path) -> Path:
    path = find(folder, "indices.csc.index.npy")
    whole = path.read_bytes()
    path.write_bytes(whole[:-400] + (2**31 - 1).to_bytes(4, "little") * 100)
    return path.parent


def posting_negative(folder: Path) -> Path:
    path = find(folder, "indices.csc.index.npy")
    path.write_bytes(path.read_bytes()[:-400] + b"\x00\x00\x00\x80" * 100)
    return path.parent


def borders_crossed(folder: Path) -> Path:
    path = find(folder, "indptr.csc.index.npy")
    whole = path.read_bytes()
    path.write_bytes(
        whole[:-16] + whole[-24:-16] + whole[-8:][::-1] if False else whole[:-16] + b"\x7f" * 8 + whole[-8:]
    )
    return path.parent


def number_of_rows(folder: Path) -> Path:
    path = find(folder, "params.index.json")
    overwrite(path, b'"num_docs": 120', b'"num_docs": 9e9')
    return path.parent


def row_beyond(folder: Path) -> Path:
    path = find(folder, "ids.npy")
    path.write_bytes(path.read_bytes()[: -118 * 8] + b"\xff" * 118 * 8)
    return find(folder, "000001/passages.arrow")


def header_of_ids(folder: Path) -> Path:
    path = find(folder, "ids.npy")
    overwrite(path, b"(2, 118)", b"(9, 118)")
    return path


def graph(folder: Path) -> Path:
    path = find(folder, "vectors.faiss")
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + b"\x7f" * 4 + whole[5004:])
    return path


def field_beyond(folder: Path) -> Path:
    path = find(folder, "000000/fields.arrow")
    lengths = np.cumsum([0, *(n % 9 for n in range(80))]).astype("<i8")
    overwrite(path, lengths[10:14].tobytes(), (2**40).to_bytes(8, "little"))
    return path


def use(folder: Path) -> None:
    """Reads every row, posting and field."""
    words = " ".join(f"w{number}" for number in range(120))
    with Index.open(folder) as opened:
        opened.search([words], 118, "dense")
        opened.search([f"river ice bread violin paris {words}"], 118, "bm25", where="year > 0 and kind is not null")
        for number in set(range(120)) - {3, 90}:
            opened.passage(f"p{number}")


def test_what_is_whole_is_found(index: Path) -> None:
    use(index)


@pytest.mark.parametrize(
    "damage",
    [
        *(text_beyond, text_no_text, metadata_no_json, posting_beyond, posting_negative, borders_crossed),
        *(number_of_rows, row_beyond, header_of_ids, graph, field_beyond),
    ],
)
def test_is_named_as_it_is_met(index: Path, damage: Callable[[Path], Path]) -> None:
    path = damage(index)
    with pytest.raises(IndexDamaged) as caught:
        use(index)
    assert f"{path}: " in str(caught.value)
    assert "ragscale index" in caught.value.remedy


def test_the_graph_is_read_once_a_process(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAISS follows whatever stands in its file, so all of it is compared first; also in the next commit's place."""
    read: list[str] = []
    really = files_module._sha256
    monkeypatch.setattr(files_module, "_sha256", lambda path: (read.append(path.name), really(path))[1])
    monkeypatch.setattr(files_module, "_checked", {})
    with Index.open(index) as opened:
        assert read == []
        opened.search(["river"], 3, "dense")
        assert read == ["vectors.faiss"]
        maintain.remove(index, ["p5"])
        read.clear()
        opened.reload()
        opened.search(["river"], 3, "dense")
        assert read == []
    graph(index)
    with Index.open(index) as opened, pytest.raises(IndexDamaged, match=r"vectors\.faiss: its checksum"):
        opened.search(["river"], 3, "dense")
