"""Adding, updating, removing and compacting: always what a fresh build of the live documents would be."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.errors import CorpusError, IndexBusy, IndexMismatch, InvalidInput, RagscaleError
from ragscale.index import Changes, Index, reindex, retune
from ragscale.index.dense import auto
from ragscale.index.encoders.embedder import Embedder
from ragscale.index.write import commit, grow, maintain, segments
from ragscale.types import Hit

Build = Callable[..., Index]
QUERIES = ["river ice", "violin string chain", "w3 metal", "capital"]
HOWS = ["dense", "bm25", "hybrid"]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds an index of rows with the tiny embedder."""
    tiny.install(monkeypatch, log=tmp_path / "embedded.log")

    def make(rows: Sequence[tiny.Row], name: str = "index", **options: Any) -> Index:
        corpus = tiny.write_rows(tmp_path / f"{name}.jsonl", rows)
        return Index.build([corpus], tmp_path / name, **{"embedder": "tiny", "segment_rows": 7, **options})

    return make


def embedded(folder: Path) -> int:
    """Passages embedded since the last call."""
    log = folder / "embedded.log"
    found = sum(int(line) for line in log.read_text().splitlines()) if log.exists() else 0
    log.unlink(missing_ok=True)
    return found


def ids(hits: list[Hit]) -> list[str]:
    return [hit.passage.id for hit in hits]


def assert_same_searches(one: Index, other: Index) -> None:
    """Equal hits with equal scores, those of equal score in any order."""
    for how in HOWS:
        for mine, theirs in zip(one.search(QUERIES, 100, how), other.search(QUERIES, 100, how), strict=True):
            if how != "hybrid":  # ranks, and with them the fused scores, follow the order of ties
                scores = [{hit.passage: round(hit.score, 5) for hit in hits} for hits in (mine, theirs)]
                assert scores[0].keys() == scores[1].keys()
                assert list(scores[0].values()) == pytest.approx([scores[1][p] for p in scores[0]], abs=3e-5)
            assert set(ids(mine)) == set(ids(theirs))


NUMBERS = st.lists(st.integers(0, 15), min_size=1, max_size=8, unique=True)
STEPS = st.one_of(
    st.tuples(st.just("add"), NUMBERS, st.just(0)),
    st.tuples(st.just("update"), NUMBERS, st.integers(0, 2)),
    st.tuples(st.just("prune"), NUMBERS, st.integers(0, 2)),
    st.tuples(st.just("remove"), NUMBERS, st.just(0)),
    st.tuples(st.just("compact"), st.just([]), st.just(0)),
)


def documents(numbers: Sequence[int], version: int) -> list[tiny.Row]:
    """Even numbers are documents of their own, odd ones have two passages that lie apart."""
    first = [{"id": f"d{n}", "text": tiny.text_of(n, version), "n": n} for n in numbers if n % 2 == 0]
    for part in "ab":
        texts = ((n, tiny.text_of(n + 20 * (part == "b"), version)) for n in numbers if n % 2)
        first += [{"id": f"d{n}{part}", "document": f"d{n}", "text": text, "n": n} for n, text in texts]
    return first


class Model:
    """Expected content of the index: rows by document, in row order."""

    def __init__(self, rows: list[tiny.Row]) -> None:
        self.rows = rows

    @staticmethod
    def document(row: tiny.Row) -> str:
        return str(row.get("document") or row["id"])

    def by_document(self) -> dict[str, list[tiny.Row]]:
        found: dict[str, list[tiny.Row]] = {}
        for row in self.rows:
            found.setdefault(self.document(row), []).append(row)
        return found

    def put(self, rows: list[tiny.Row], prune: bool) -> None:
        before, after = self.by_document(), Model(rows).by_document()
        changed = {name for name, found in after.items() if before.get(name) != found}
        gone = changed | (before.keys() - after.keys() if prune else set())
        kept = [row for row in self.rows if self.document(row) not in gone]
        self.rows = kept + [row for row in rows if self.document(row) in changed]

    def remove(self, names: list[str]) -> None:
        self.rows = [row for row in self.rows if self.document(row) not in names]


def take_step(index: Index, model: Model, step: tuple[str, list[int], int], corpus: Path) -> None:
    what, numbers, version = step
    rows = documents(numbers, version)
    names = [f"d{n}" for n in numbers]
    if what == "compact":
        index.compact()
    elif what == "remove":
        known = model.by_document()
        if all(name in known for name in names) and len(known) > len(names):
            assert index.remove(names) == Changes(removed=len(names))
            model.remove(names)
        else:
            with pytest.raises(InvalidInput, match=r"no document and no passage|nothing would be left"):
                index.remove(names)
    elif what == "add":
        known, new = model.by_document(), Model(rows).by_document()
        if any(name in known and known[name] != found for name, found in new.items()):
            with pytest.raises(InvalidInput, match="index update"):
                index.add([tiny.write_rows(corpus, rows)])
        else:
            index.add([tiny.write_rows(corpus, rows)])
            model.put(rows, prune=False)
    else:
        index.update([tiny.write_rows(corpus, rows)], prune=what == "prune")
        model.put(rows, prune=what == "prune")


@given(st.lists(STEPS, min_size=1, max_size=7))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_any_sequence_ends_where_a_fresh_build_would(steps: list[tuple[str, list[int], int]]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        tiny.install(patch)
        folder, model = Path(name), Model(documents(range(6), 0))
        first = tiny.write_rows(folder / "first.jsonl", model.rows)
        with Index.build([first], folder / "index", embedder="tiny", segment_rows=3) as index:
            for step in steps:
                take_step(index, model, step, folder / "step.jsonl")
            last = tiny.write_rows(folder / "last.jsonl", model.rows)
            with Index.build([last], folder / "fresh", embedder="tiny") as fresh:
                assert len(index) == len(fresh) == len(model.rows)
                assert index.fingerprint == fresh.fingerprint
                assert_same_searches(index, fresh)
                for row in model.rows:
                    assert index.passage(row["id"]) == fresh.passage(row["id"])
                index.compact()
                assert index.manifest.rows == len(model.rows)
                assert_same_searches(index, fresh)
                assert index.fingerprint == fresh.fingerprint


def test_only_what_is_new_or_changed_is_embedded(build: Build, tmp_path: Path) -> None:
    with build(tiny.rows_of(range(20))) as index:
        assert embedded(tmp_path) == 20
        more = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(15, 25)))
        assert index.add([more]) == Changes(added=5, unchanged=5, passages=5)
        assert embedded(tmp_path) == 5
        assert index.add([more]) == Changes(unchanged=10)
        assert index.manifest.generation == 2
        changed = [*tiny.rows_of(range(22)), *tiny.rows_of(range(22, 26), version=1)]
        corpus = tiny.write_rows(tmp_path / "changed.jsonl", changed)
        with pytest.raises(InvalidInput, match="3 documents with other content in the index: 'p22', 'p23', 'p24'"):
            index.add([corpus])
        assert index.update([corpus]) == Changes(added=1, changed=3, unchanged=22, passages=4)
        assert embedded(tmp_path) == 4
        assert index.passage("p23").text == tiny.text_of(23, 1)
        assert index.update([more], prune=True) == Changes(changed=3, unchanged=7, removed=16, passages=3)
        assert embedded(tmp_path) == 3
        assert len(index) == 10
        index.compact()
        assert embedded(tmp_path) == 0


def test_removal_holds_for_every_search(build: Build) -> None:
    with build(documents(range(12), 0)) as index:
        assert index.remove(["d3", "d4", "d5a"]) == Changes(removed=3)
        found = {hit.passage.id for how in HOWS for hits in index.search(QUERIES, 100, how) for hit in hits}
        assert not found & {"d3a", "d3b", "d4", "d5a"}
        assert "d5b" in found
        assert "d4" not in index
        with pytest.raises(InvalidInput, match="no document and no passage 'd4', 'ghost'") as caught:
            index.remove(["d1", "d4", "ghost"])
        assert "Nothing was removed" in caught.value.remedy
        assert "d1a" in index
        for write in (index.add, index.update):
            with pytest.raises(InvalidInput, match="corpora is one string"):
                write("corpus.jsonl")
        with pytest.raises(InvalidInput, match="names holds 5"):
            index.remove(["p1", 5])  # type: ignore[list-item]
        with pytest.raises(InvalidInput, match="one string"):
            index.remove("d1")
        with pytest.raises(InvalidInput, match="nothing would be left"):
            index.remove([f"d{n}" for n in (0, 1, 2, 5, 6, 7, 8, 9, 10, 11)])


def test_ids_stay_unique(build: Build, tmp_path: Path) -> None:
    with build([{"id": "a", "text": "one"}, {"id": "b#0", "document": "b", "text": "two"}]) as index:
        corpus = tiny.write_rows(tmp_path / "c.jsonl", [{"id": "b#0", "document": "other", "text": "three"}])
        with pytest.raises(
            CorpusError, match=r"c\.jsonl, line 1: the id 'b#0' is in the index already, in document 'b'"
        ):
            index.add([corpus])
        # where the document goes, its ids are free
        moved = [{"id": "b#1", "document": "b", "text": "two"}, {"id": "b#0", "document": "other", "text": "three"}]
        assert index.update([tiny.write_rows(corpus, moved)]) == Changes(added=1, changed=1, passages=2)
        assert index.passage("b#0").document == "other"


def test_metadata_of_all_commits(build: Build, tmp_path: Path) -> None:
    with build([{"id": "a", "text": "one", "year": 1990}, {"id": "b", "text": "two"}]) as index:
        index.add([tiny.write_rows(tmp_path / "c.jsonl", [{"id": "c", "text": "three", "year": 1.5, "lang": "en"}])])
        assert index.manifest.fields == {"year": "double", "lang": "large_string"}
        table = index._snapshot.passages.fields.table()
        assert table.to_pydict() == {"lang": [None, None, "en"], "year": [1990, None, 1.5]}
        # A number becomes text in a field of texts.
        index.add([tiny.write_rows(tmp_path / "d.jsonl", [{"id": "d", "text": "four", "lang": 5}])])
        assert index.passage("d").metadata == {"lang": "5"}


def test_large_whole_numbers_of_a_field_that_gets_fractions_are_rounded(build: Build, tmp_path: Path) -> None:
    large = 2**53 + 1  # the first that a float does not hold
    more = tiny.write_rows(tmp_path / "c.jsonl", [{"id": "c", "text": "one", "n": 1.5}])
    with build([{"id": "a", "text": "one", "n": large}, {"id": "b", "text": "one"}]) as index:
        for write in (lambda: index.add([more]), lambda: index.remove(["b"]), index.compact):
            write()
            for where, wanted in (("n > 1.5", ["a"]), (f"n = {large}", ["a"]), (f"n < {large}", ["c"])):
                assert ids(index.search(["one"], 9, "bm25", where=where)[0]) == wanted
            assert index.passage("a").metadata == {"n": large}  # a passage comes back as it was


def test_a_reader_keeps_its_view_until_it_reloads(build: Build, tmp_path: Path) -> None:
    with build(tiny.rows_of(range(20))) as writer, Index.open(writer.path) as reader:
        before = reader.fingerprint
        wanted = writer.search(QUERIES, 50, "hybrid")
        writer.remove(["p1", "p2"])
        writer.compact()
        writer.add([tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(20, 40)))])
        # nothing was loaded before the writes: files of the old commit are read only now
        assert reader.search(QUERIES, 50, "hybrid") == wanted
        assert reader.passage("p1").title == "Title 1"
        assert (len(reader), reader.fingerprint) == (20, before)
        assert reader.reload()
        assert not reader.reload()
        assert (len(reader), reader.fingerprint) == (38, writer.fingerprint)
        assert reader.search(QUERIES, 50, "hybrid") == writer.search(QUERIES, 50, "hybrid")
        maintain.sweep(writer.path)
        on_disk = {p.relative_to(writer.path).as_posix() for p in writer.path.rglob("*") if p.is_file()}
        assert on_disk == {*writer.manifest.files, "manifest.json", ".lock"}


def test_reloading_keeps_the_loaded_embedder(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with build(tiny.rows_of(range(20))) as index:
        index.search(QUERIES, 5, "dense")
        index.remove(["p1"])
        monkeypatch.undo()  # from here on the embedder "tiny" cannot be loaded
        assert len(index.search(QUERIES, 5, "dense")) == len(QUERIES)


def test_reload_finds_an_index_that_was_replaced(build: Build) -> None:
    with build(tiny.rows_of(range(5))) as old:
        build(tiny.rows_of(range(9)), force=True).close()
        with pytest.raises(IndexMismatch, match="replaced after it was opened"):
            old.search(QUERIES)
        assert old.reload()
        assert len(old) == 9
        assert old.search(QUERIES)


@pytest.mark.parametrize("years", [range(1920, 1900, -1), ()])
def test_filters_of_an_index_that_was_replaced_are_its_own(build: Build, years: Sequence[int]) -> None:
    """An open index goes on answering from the old passages, which the metadata of the new ones does not fit."""
    filters = ["year < 1905", "year >= 1915", "year is null"]

    def rows(years: Sequence[int]) -> list[tiny.Row]:
        return [{**row, "year": year} for row, year in zip(tiny.rows_of(range(len(years))), years, strict=True)]

    with build(rows(range(1900, 1920))) as old:
        old.search(QUERIES)
        build(rows(years) or tiny.rows_of(range(3)), force=True).close()
        found = [ids(old.search(["river"], 99, "dense", where=where)[0]) for where in filters]
        assert list(map(sorted, found)) == [[f"p{n}" for n in part] for part in (range(5), range(15, 20), ())]
        with pytest.raises(InvalidInput, match=r"no field 'month'.* The passages have: year"):
            old.search(QUERIES, where="month = 1")


HOLDS = """
import sys; from pathlib import Path; from ragscale.index.storage.locks import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_writers(build: Build, tmp_path: Path) -> None:
    corpus = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(20, 30)))
    with build(tiny.rows_of(range(20))) as index:
        command = [sys.executable, "-c", HOLDS, str(index.path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            for write in (lambda: index.add([corpus]), lambda: index.remove(["p1"]), index.compact):
                with pytest.raises(IndexBusy, match="another process is writing this index"):
                    write()
            with pytest.raises(IndexBusy, match="another process is writing"):
                build(tiny.rows_of(range(5)), force=True)
            assert len(index.search(["river"], 100, "dense")[0]) == 20  # readers do not care
            other.communicate("")
        assert other.returncode == 0
        assert index.add([corpus]).added == 10


WRITES = """
import sys; from itertools import count; from pathlib import Path
import tiny; from ragscale.index.write import grow, maintain
class Patch: setattr = staticmethod(setattr)
tiny.install(Patch)
folder = Path(sys.argv[1])
for turn in count(1):
    rows = tiny.rows_of(range(10 * turn, 10 * turn + 10))
    grow.add(folder / "index", [tiny.write_rows(folder / "turn.jsonl", rows)], segment_rows=7)
    maintain.remove(folder / "index", [f"p{n}" for n in range(10 * turn - 10, 10 * turn)])
    maintain.compact(folder / "index", segment_rows=7)
    if (folder / "stop").exists():
        break
"""


def test_readers_see_whole_states_while_another_process_writes(build: Build, tmp_path: Path) -> None:
    """It adds ten passages, removes the ten before them, compacts, and so on: always ten or twenty are there."""
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with build(tiny.rows_of(range(10))) as reader:
        seen: list[list[int]] = []
        with subprocess.Popen([sys.executable, "-c", WRITES, str(tmp_path)], env=environment) as writer:
            try:
                while len(seen) < 12:
                    assert writer.poll() is None
                    reader.reload()
                    with Index.open(reader.path) as fresh:
                        for index in (reader, fresh):
                            state = whole_state(index)
                            if not seen or seen[-1] != state:
                                seen.append(state)
            finally:
                (tmp_path / "stop").touch()
        assert writer.returncode == 0
    assert seen == sorted(seen)


def whole_state(index: Index) -> list[int]:
    """Tens of passages that an index has: each wholly, found by every search, and no two that never met."""
    found = [sorted(int(hit.passage.id[1:]) for hit in index.search(["title river"], 100, how)[0]) for how in HOWS]
    assert found == [found[0]] * len(HOWS)
    assert len(index) == len(found[0])
    tens = sorted({number // 10 for number in found[0]})
    assert found[0] == list(range(10 * tens[0], 10 * tens[-1] + 10))
    assert len(tens) <= 2
    return tens


def test_the_lock_of_a_dead_process_is_free(build: Build) -> None:
    with build(tiny.rows_of(range(20))) as index:
        code = (
            "import os, signal, sys; from pathlib import Path; from ragscale.index.storage.locks import writing\n"
            "with writing(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run([sys.executable, "-c", code, index.path], check=False)
        assert done.returncode == -9
        assert index.remove(["p1"]).removed == 1


def test_another_embedder_is_refused(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(20, 30)))
    with build(tiny.rows_of(range(20))) as index:
        before = index.fingerprint
        with pytest.raises(IndexMismatch, match="was built with tiny, not with other"):
            grow.add(index.path, [corpus], embedder="other")
        tiny.install(monkeypatch, revision="sha256:1")
        with pytest.raises(IndexMismatch, match="was built with tiny at sha256:0, found tiny at sha256:1"):
            index.add([corpus])
        assert Index.open(index.path).fingerprint == before


def test_a_full_disk_leaves_the_index_as_it_was(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(20, 30)))
    with build(tiny.rows_of(range(20))) as index:
        embedded(tmp_path)
        before = index.manifest

        def full(*args: object, **options: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(np, "save", full)
            with pytest.raises(RagscaleError, match="no space left on the disk"):
                index.add([corpus])
        assert not index.reload()
        index.verify()
        assert index.manifest == before
        assert index.add([corpus]).added == 10
        assert embedded(tmp_path) == 10  # once, before the disk was full


@pytest.mark.parametrize("embedder", ["tiny", None])
def test_what_is_committed_stays_when_tidying_is_interrupted(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedder: str | None
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    corpus = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(20, 30)))
    with build(tiny.rows_of(range(20)), embedder=embedder) as index:
        index.remove(["p1"])
        for write, passages in ((lambda: index.compact(), 19), (lambda: index.add([corpus]), 29)):
            with monkeypatch.context() as patch:
                patch.setattr(commit, "tidy", stop)
                with pytest.raises(KeyboardInterrupt):
                    write()
            assert index.reload()
            index.verify()
            assert len(index) == passages


def test_a_failure_is_told_though_the_manifest_cannot_be_read(build: Build) -> None:
    with build(tiny.rows_of(range(20))) as index:
        before = sorted(index.path.rglob("*"))
        with pytest.raises(ValueError, match="the first failure"), segments.new_segments(index.path, 0):  # noqa: PT012
            index.path.joinpath("manifest.json").write_text("{")
            raise ValueError("the first failure")
        assert sorted(index.path.rglob("*")) == before


def test_an_approximate_index_covers_its_rows_until_many_came_later(build: Build, tmp_path: Path) -> None:
    def grown(start: int, stop: int) -> int:
        rows = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(start, stop)))
        index.add([rows])
        assert index.manifest.dense is not None
        return index.manifest.dense.rows

    with build(tiny.rows_of(range(100)), factory="HNSW8") as index:
        assert grown(100, 130) == 100
        assert grown(130, 140) == 140
        index.remove(["p0", "p1"])
        assert index.manifest.dense is not None
        assert index.manifest.dense.rows == 140
        index.compact()
        assert index.manifest.dense.rows == 138
        with build(tiny.rows_of(range(2, 140)), "fresh", factory="HNSW8") as fresh:
            assert index.fingerprint == fresh.fingerprint


def test_an_index_that_has_outgrown_what_auto_chose(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "_EXACT_NUMBERS", 16 * 30)
    more = [tiny.write_rows(tmp_path / f"{n}.jsonl", tiny.rows_of(range(n, n + 10))) for n in (20, 30, 40)]
    with (
        build(tiny.rows_of(range(20)), memory=10**6) as index,
        build(tiny.rows_of(range(20)), "named", factory="Flat") as named,
    ):
        with build(tiny.rows_of(range(20)), "plain") as other:
            plain = other.manifest
        assert index.manifest.dense is not None
        assert index.manifest.dense.memory == 10**6
        assert "memory" not in plain.to_dict()["dense"]  # manifests written before there was one stay valid
        assert index.fingerprint == plain.fingerprint == named.fingerprint
        assert index.add([more[0]]) == Changes(added=10, passages=10)
        assert index.add([more[1]]) == Changes(added=10, passages=10, outgrown="RaBitQfs")
        assert index.update([more[2]]) == Changes(added=10, passages=10, outgrown="RaBitQfs")
        assert named.add(more) == Changes(added=30, passages=30)
        assert reindex(index.path, "Flat").factory == "Flat"  # named by now
        assert index.add([tiny.write_rows(tmp_path / "last.jsonl", tiny.rows_of(range(50, 60)))]).outgrown == ""
        # judged by the limit within which it was chosen: by that of the machine, Flat would do
        monkeypatch.undo()
        tiny.install(monkeypatch)
        assert reindex(index.path, "auto", memory=1000).factory == "RaBitQfs"
        assert index.add([tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(60, 70)))]).outgrown == ""
        assert index.manifest.dense.memory == 1000


def test_another_factory_without_embedding(build: Build, tmp_path: Path) -> None:
    with build(tiny.rows_of(range(40))) as index:
        index.remove(["p7"])
        exact = index.search(QUERIES, 5, "dense")
        embedded(tmp_path)
        written = reindex(index.path, "IVF2,Flat")
        assert (written.factory, written.rows) == ("IVF2,Flat", 40)
        retune(index.path, commit.DenseInfo("IVF2,Flat", 40, 1, {"nprobe": 2}, "tuned"))
        assert index.reload()
        assert index.manifest.dense is not None
        assert (index.manifest.dense.settings, index.manifest.dense.reason) == ({"nprobe": 2}, "tuned")
        assert index.search(QUERIES, 5, "dense") == exact
        assert embedded(tmp_path) == 0
        with pytest.raises(InvalidInput, match="factory 'Nope'"):
            reindex(index.path, "Nope")


def test_a_lexical_index_grows_too(build: Build, tmp_path: Path) -> None:
    with build(tiny.rows_of(range(10)), embedder=None) as index:
        index.add([tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(10, 14)))])
        assert ids(index.search(["w12"])[0])[0] == "p12"
        with pytest.raises(IndexMismatch, match="was built with no embedder"):
            grow.add(index.path, [tmp_path / "more.jsonl"], embedder="tiny")
        with pytest.raises(InvalidInput, match="lexical-only"):
            reindex(index.path, "Flat")


@pytest.mark.parametrize("change", ["add", "update"])
def test_new_passages_are_embedded_with_the_backend_and_the_devices_that_are_given(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    corpus = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(3, 5)))
    asked: list[tuple[Any, Any]] = []

    def spy(cls: type[Embedder], *args: Any, **options: Any) -> Embedder:
        asked.append((options["backend"], tuple(options["devices"])))
        return cls(tiny.TinyModel(), tiny.INFO)

    with build(tiny.rows_of(range(3))) as index:
        monkeypatch.setattr(Embedder, "for_documents", classmethod(spy))
        getattr(index, change)([corpus], backend="openvino")
        corpus = tiny.write_rows(corpus, tiny.rows_of(range(3, 7)))
        words = ["index", change, str(index.path), str(corpus), "--device", "cpu", "--device", "cuda:1"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        corpus = tiny.write_rows(corpus, tiny.rows_of(range(3, 8)))
        result = CliRunner().invoke(app, [*words[:4], "--backend", "onnx"])
        assert result.exit_code == 0, result.output
        assert index.reload()
        assert len(index) == 8
    assert asked == [("openvino", ()), ("torch", ("cpu", "cuda:1")), ("onnx", ())]
