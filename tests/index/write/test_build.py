"""Building: complete or not at all, and nothing lost when it goes wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from ragscale.errors import (
    CorpusError,
    EndpointError,
    InvalidInput,
    MissingDependency,
    ModelFileError,
    RagscaleError,
)
from ragscale.extras import pip_install
from ragscale.index import Index, Manifest
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.storage import durable as place_module
from ragscale.index.storage.snapshot import open_vectors
from ragscale.index.write import build as build_module
from ragscale.index.write import segments as segments_module

Rows = list[dict[str, str]]
Write = Callable[[Path, Rows], Path]


def test_vectors_are_those_of_the_embedder_in_row_order(corpus: Path, model: Path, tmp_path: Path, rows: Rows) -> None:
    with Index.build([corpus], tmp_path / "index", embedder=model, dtype="float32", batch_size=2) as index:
        stored = open_vectors(index.path, index.manifest).take(np.arange(len(rows)))
    texts = [f"{row['title']}\n{row['text']}" if row["title"] else row["text"] for row in rows]
    wanted = Embedder.for_documents(model, dtype="float32").encode_documents(texts)
    np.testing.assert_allclose(stored, wanted, atol=1e-6)


def test_slabs_make_no_difference(
    corpus: Path, dense: Index, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SLAB", 5)
    with Index.build([corpus], tmp_path / "index", embedder=model, dtype="float32") as index:
        queries = ["who discovered radium", "a slow river of ice"]
        assert index.search(queries, 5) == dense.search(queries, 5)


def test_progress_reaches_the_end_of_every_stage(corpus: Path, model: Path, tmp_path: Path, rows: Rows) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    Index.build(
        [corpus],
        tmp_path / "index",
        embedder=model,
        batch_size=1,
        progress=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)),
    ).close()
    assert list(seen) == ["read", "bm25", "embed"]
    assert all(steps[-1] == (len(rows), len(rows)) for steps in seen.values())
    assert seen["read"][0] == (0, 0)  # its length is not known yet
    assert seen["bm25"][0] == (0, len(rows))
    assert [done for done, _ in seen["embed"]] == [0, 4, 8, 12]


@pytest.mark.parametrize("embedder", [None, "none"])
def test_a_lexical_index_needs_neither_torch_nor_faiss(corpus: Path, tmp_path: Path, embedder: str | None) -> None:
    code = (
        "import sys; sys.modules.update(faiss=None, torch=None, sentence_transformers=None)\n"
        "from ragscale.index import Index\n"
        f"Index.build(sys.argv[1:2], sys.argv[2], embedder={embedder!r}).close()\n"
        "with Index.open(sys.argv[2]) as index: print(index.search(['bread'], 1)[0][0].passage.id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, corpus, tmp_path / "i"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "bread\n"
    [warning] = done.stderr.splitlines()  # of importing ragscale, and nothing else
    assert "UserWarning: No faiss is installed" in warning
    assert pip_install("cpu") in warning


def test_without_faiss_a_dense_index_is_refused_at_once(
    corpus: Path, dense: Index, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependency, match=r"\[cpu\]"):
        Index.build([corpus], tmp_path / "index")
    with pytest.raises(MissingDependency, match=r"\[cpu\]"):
        Index.open(dense.path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lexical": "lucene"}, "unknown lexical index 'lucene'"),
        ({"batch_size": 0}, "batch size 0"),
        ({"batch_size": "64"}, "batch size '64'"),
        ({"chunk_size": 0}, "chunk size 0"),
        ({"chunk_size": "5"}, "chunk size '5' is no whole number"),
        ({"chunk_overlap": 2.5}, r"chunk overlap 2\.5 is no whole number"),
        ({"columns": {"text": "body"}}, r"columns \{'text': 'body'\} is no Columns"),
        ({"factory": "Nonsense"}, "factory 'Nonsense' for an index without vectors"),
        ({"memory": 8}, "memory 8 for an index without vectors"),
        ({"document_prompt": ""}, "document_prompt '' for an index without vectors"),
        ({"devices": ["cpu", "cpu"]}, "devices 'cpu, cpu' for an index without vectors"),
        ({"embedder": "model", "devices": "cpu"}, "devices is one string"),
        ({"embedder": "model", "factory": "Flatt"}, "factory 'Flatt'"),
        ({"embedder": "model", "factory": "IVF64,Flat"}, "'IVF64,Flat' cannot be trained on 12 passages"),
    ],
)
def test_bad_options(corpus: Path, model: Path, tmp_path: Path, options: dict[str, object], message: str) -> None:
    chosen = {"embedder": None, **options}
    if chosen["embedder"] == "model":
        chosen["embedder"] = model
    with pytest.raises(InvalidInput, match=message):
        Index.build([corpus], tmp_path / "index", **chosen)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"factory": "nonsense"}, InvalidInput, "factory 'nonsense' is not one that FAISS can make for 32 dimensions"),
        ({"factory": "PQ7x4fs"}, InvalidInput, "factory 'PQ7x4fs'"),  # 32 is no multiple of 7
        ({"factory": "IDMap,Flat"}, InvalidInput, "stores row numbers"),
        ({"factory": "HNSW1"}, InvalidInput, "'HNSW1' has HNSW1, the least is HNSW2"),
        ({"devices": ["cpu", "cuda:99"]}, InvalidInput, r"device 'cuda:99' cannot be used \(.+\)\. Name devices"),
        ({"devices": ["gpu"]}, InvalidInput, r"device 'gpu' cannot be used \(.+\)\. Name devices"),
        ({"embedder": "./no/such/model"}, ModelFileError, "no such model folder"),
        ({"embedder": "endpoint:http://127.0.0.1:9/v1#m"}, EndpointError, "127.0.0.1:9"),
        ({"embedder": "endpoint:nowhere"}, InvalidInput, "nowhere"),
        ({"backend": "jax"}, InvalidInput, "unknown backend 'jax'"),
        ({"dtype": "int3"}, InvalidInput, "unknown dtype 'int3'"),
        ({"corpora": ["{corpus}", "none.jsonl"]}, CorpusError, r"none\.jsonl: no such file"),
        ({"corpora": ["{corpus}", __file__]}, CorpusError, r"test_build\.py: unknown kind of corpus"),
        ({"corpora": ["{corpus}", "n" * 300]}, CorpusError, "nnn: cannot be read .*name too long"),
    ],
)
def test_what_can_be_known_before_is_refused_before_a_corpus_is_read(
    corpus: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    kind: type[RagscaleError],
    message: str,
) -> None:
    monkeypatch.setattr(build_module, "read", lambda *_, **__: pytest.fail("the corpus was read"))
    chosen = {"embedder": model, "corpora": ["{corpus}"], **options}
    corpora = [name.format(corpus=corpus) for name in chosen.pop("corpora")]
    with pytest.raises(kind, match=message):
        Index.build(corpora, tmp_path / "index", **chosen)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_build_that_was_never_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage to what is derived costs no embedding, damage to a segment all of it."""
    log = tmp_path / "embedded.log"
    tiny.install(monkeypatch, log=log)
    corpus, out = tiny.write_rows(tmp_path / "corpus.jsonl", tiny.rows_of(range(20))), tmp_path / "index"
    Index.build([corpus], out, embedder="tiny").close()
    for damaged, again in (("generations/000001/ids.npy", 0), ("segments/000000/vectors.f32", 20)):
        log.unlink()
        log.touch()
        out.rename(tmp_path / ".index.building")
        (tmp_path / ".index.building" / damaged).write_bytes(b"damaged")
        with Index.build([corpus], out, embedder="tiny") as index:
            index.verify()
        assert sum(map(int, log.read_text().split())) == again


def test_bad_corpora_leave_nothing_behind(corpus: Path, tmp_path: Path, rows: Rows, write_corpus: Write) -> None:
    out = tmp_path / "new" / "index"
    with pytest.raises(InvalidInput, match="no corpus"):
        Index.build([], out)
    for bare in (str(corpus), corpus, None):
        with pytest.raises(InvalidInput, match=r"corpora is (one string|no list) \("):
            Index.build(bare, out)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="corpora holds 5"):
        Index.build([corpus, 5], out)  # type: ignore[list-item]
    for blank in ("", " "):
        with pytest.raises(InvalidInput, match=f"out '{blank}' names no folder"):
            Index.build([corpus], blank, embedder=None)
    with pytest.raises(CorpusError, match=f"{corpus} is read twice. Give each corpus once"):
        Index.build([corpus, corpus], out, embedder=None)
    doubled = write_corpus(tmp_path / "doubled.jsonl", [*rows, rows[3]])
    with pytest.raises(CorpusError, match=f"duplicate id 'warsaw': {doubled}, line 4 and {doubled}, line 13"):
        Index.build([doubled], out, embedder=None)
    with pytest.raises(CorpusError, match="empty"):
        Index.build([write_corpus(tmp_path / "empty.jsonl", [])], out, embedder=None)
    assert list(out.parent.iterdir()) == []


def test_what_is_there_is_replaced_only_by_force(corpus: Path, tmp_path: Path, rows: Rows, write_corpus: Write) -> None:
    out = tmp_path / "index"
    Index.build([corpus], out, embedder=None).close()
    small = write_corpus(tmp_path / "small.jsonl", rows[:2])
    with pytest.raises(InvalidInput, match="exists") as caught:
        Index.build([small], out, embedder=None)
    assert "--force" in caught.value.remedy
    with Index.open(out) as old:
        with Index.build([small], out, embedder=None, force=True) as new:
            assert len(new) == 2
        # the index that was open goes on reading what it opened, or says that it cannot
        assert old.passage("bread").title == "Bread"
        with pytest.raises(RagscaleError, match="replaced after it was opened"):
            old.search(["bread"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "small.jsonl"]


def test_a_writer_works_where_links_lead_and_else_under_the_given_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real" / "index").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert place_module.settled(Path("link/index")) == tmp_path / "real" / "index"
    assert place_module.settled(Path("real/../link/new")) == tmp_path / "real" / "new"
    assert place_module.settled(Path(".")) == tmp_path
    for given in (Path("real/index"), Path("new"), tmp_path / "new", Path("../else")):
        assert place_module.settled(given) == given


def test_a_link_to_an_index_stays_a_link(corpus: Path, tmp_path: Path, rows: Rows, write_corpus: Write) -> None:
    Index.build([corpus], tmp_path / "real" / "index", embedder=None).close()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "index")
    small = write_corpus(tmp_path / "small.jsonl", rows[:2])
    Index.build([small], link, embedder=None, force=True).close()
    assert link.is_symlink()
    with Index.open(tmp_path / "real" / "index") as index:
        assert len(index) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real", "small.jsonl"]


def test_force_never_replaces_what_is_no_index(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(InvalidInput, match="is not an index"):
        Index.build([corpus], tmp_path, embedder=None, force=True)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("force", [False, True])
def test_what_appears_during_a_build_is_replaced_no_more_than_what_was_there(
    corpus: Path, tmp_path: Path, rows: Rows, write_corpus: Write, force: bool
) -> None:
    small, out = write_corpus(tmp_path / "small.jsonl", rows[:2]), tmp_path / "index"

    def appear(stage: str, done: int, total: int) -> None:
        if out.exists():
            return
        if force:
            out.mkdir()
            (out / "thesis.txt").write_text("ten years of work")
        else:
            Index.build([small], tmp_path / "other", embedder=None).close()
            (tmp_path / "other").rename(out)

    with pytest.raises(InvalidInput, match="is not an index" if force else f"{out} exists"):
        Index.build([corpus], out, embedder=None, force=force, progress=appear)
    if force:
        assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    else:
        with Index.open(out) as index:
            assert len(index) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "small.jsonl"]


@pytest.mark.parametrize("exchange", [True, False])
def test_the_old_index_goes_when_the_disk_has_the_name_of_the_new_one(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows, write_corpus: Write, exchange: bool
) -> None:
    """Both ways of replacing: the exchange of Linux, and that of other systems."""
    if not exchange:
        monkeypatch.setattr(place_module, "_exchange", lambda one, other: False)
    out, synced = tmp_path / "index", []
    old = Index.build([corpus], out, embedder=None)
    old.close()
    really = place_module.sync

    def sync(path: Path, *, deep: bool = True) -> None:
        really(path, deep=deep)
        if path == tmp_path:
            synced.extend(Manifest.read(found.parent).fingerprint for found in tmp_path.glob(".*/manifest.json"))

    monkeypatch.setattr(place_module, "sync", sync)
    small = write_corpus(tmp_path / "small.jsonl", rows[:2])
    with Index.build([small], out, embedder=None, force=True) as new:
        assert len(new) == 2
    assert synced == [old.fingerprint]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "small.jsonl"]


def test_what_a_kill_left_of_an_old_index_goes_with_the_next(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_module, "_exchange", lambda one, other: False)
    out = tmp_path / "index"
    Index.build([corpus], out, embedder=None).close()
    shutil.copytree(out, tmp_path / ".index.old")
    for _ in range(2):
        Index.build([corpus], out, embedder=None, force=True).close()
        assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_an_interrupted_build_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Index.build([corpus], tmp_path / "index", embedder=None, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_by_error_number(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "index"
    Index.build([corpus], out, embedder=None).close()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RagscaleError, match=r"index: no space left on the disk \(.* MB free\)") as caught:
        Index.build([corpus], out, embedder=None, force=True)
    assert "unchanged" in caught.value.remedy
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    with Index.open(out) as index:
        index.verify()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("no right to mount a tmpfs; the error number alone is tested above")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("stage", ["passages", "bm25", "vectors"])
def test_a_disk_that_is_really_full(
    corpus: Path, tiny_disk: Path, tmp_path: Path, model: Path, stage: str, rows: Rows
) -> None:
    out = tiny_disk / "index"
    Index.build([corpus], out, embedder=None).close()
    words = {"passages": 600, "bm25": 20, "vectors": 1}[stage]
    count = {"passages": 2000, "bm25": 7500, "vectors": 12_000}[stage]
    letters = str.maketrans("0123456789", "abcdefghij")  # a word of letters and digits has terms for its parts, too
    texts = (" ".join(f"w{(n * 37 + i * 1009) % 9973}".translate(letters) for i in range(words)) for n in range(count))
    big = tmp_path / "big.jsonl"
    big.write_text("".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)))
    reached: list[str] = []
    with pytest.raises(RagscaleError, match="no space left on the disk"):
        Index.build(
            [big],
            out,
            embedder=model if stage == "vectors" else None,
            force=True,
            progress=lambda at, done, total: reached.append(at),
        )
    assert reached[-1] == {"passages": "read", "bm25": "bm25", "vectors": "embed"}[stage]
    kept = [".index.building"] if stage == "vectors" else []  # what was embedded is worth keeping
    assert sorted(path.name for path in tiny_disk.iterdir()) == [*kept, "index"]
    with Index.open(out) as index:
        index.verify()
        assert len(index) == len(rows)


def test_a_folder_that_cannot_be_written(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RagscaleError, match="the index cannot be written"):
        Index.build([corpus], tmp_path / "file" / "index", embedder=None)
