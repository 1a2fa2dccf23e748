"""Building on Ray: the index of a local build. Most of it runs without Ray, the last part on a local one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.corpus import Problems
from ragscale.endpoint.transport import UnreachableError
from ragscale.errors import CorpusError, EndpointError, InvalidInput, MissingDependency, RagscaleError
from ragscale.index import Index
from ragscale.index.storage.snapshot import open_vectors
from ragscale.index.write import ray as ray_engine
from ragscale.index.write import ray_tasks
from ragscale.index.write import segments as segments_module

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed (pip install '.[ray]')")


def here(items: list[dict[str, Any]], task: Any, *, batch_size: int | None, **options: Any) -> Iterator[list[Any]]:
    """Stand-in for `ray._stream`, in this process: in blocks of three items, or a batch at a time."""
    table = pa.Table.from_pylist(items)
    run = task(*options["fn_constructor_args"]) if isinstance(task, type) else task
    size = batch_size or 3
    for start in range(0, len(items), size):
        made = run(table.slice(start, size), **options.get("fn_kwargs", {}))
        for found in [made] if isinstance(made, pa.Table) else made:
            yield from ray_tasks.unpacked(found)


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine ray without Ray."""
    monkeypatch.setattr(ray_engine, "_stream", here)
    monkeypatch.setattr(ray_engine, "_actors", lambda gpus: {})
    monkeypatch.setattr(ray_engine, "connected", nullcontext)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Tables and documents of several kinds, in files and in a folder, some 150 passages."""
    root = tmp_path_factory.mktemp("corpora")
    rows = [{**row, "year": 1900 + n} for n, row in enumerate(tiny.rows_of(range(40)))]
    lines = tiny.write_rows(root / "a.jsonl", rows)
    (root / "b.csv").write_text("id,text,year\n" + "".join(f"c{n},{tiny.text_of(n)},{n}.5\n" for n in range(30)))
    pq.write_table(pa.Table.from_pylist(tiny.rows_of(range(100, 150))), root / "c.parquet")
    folder = root / "papers"
    (folder / "deep").mkdir(parents=True)
    for n in range(8):
        (folder / f"{n}.md").write_text(f"# Paper {n}\n\n" + "\n\n".join(tiny.text_of(n + i) for i in range(3)))
    (folder / "deep" / "long.txt").write_text("\n\n".join(tiny.text_of(n) for n in range(60)))
    (folder / "picture.png").write_bytes(b"no text")
    with zipfile.ZipFile(folder / "old.zip", "w") as archive:
        archive.writestr("inner/z.txt", "yeast and salt")
        archive.writestr("inner/rows.jsonl", json.dumps({"id": "z", "text": "metal chain"}))
    return [lines, root / "b.csv", root / "c.parquet", folder]


def assert_same(one: Index, other: Index) -> None:
    """Two indexes hold and find the same."""
    assert one.manifest.passages == other.manifest.passages > 100
    assert list(one._snapshot.passages.take(np.arange(len(one)))) == list(
        other._snapshot.passages.take(np.arange(len(other)))
    )
    assert one.manifest.fields == other.manifest.fields
    assert one.fingerprint == other.fingerprint
    for how in ("dense", "bm25", "hybrid"):
        queries = ["river of ice", "yeast salt bread", "radium metal"]
        for mine, theirs in zip(one.search(queries, 20, how), other.search(queries, 20, how), strict=True):
            assert [hit.passage.id for hit in mine] == [hit.passage.id for hit in theirs]
            np.testing.assert_allclose([hit.score for hit in mine], [hit.score for hit in theirs], atol=1e-6)


@pytest.mark.parametrize("chunk_by", ["characters", "sentences"])
@pytest.mark.usefixtures("no_ray")
def test_tasks_make_what_a_local_build_makes(
    corpora: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_by: Any
) -> None:
    tiny.install(monkeypatch)
    monkeypatch.setattr(segments_module, "SLAB", 16)
    options: dict[str, Any] = {"embedder": "tiny", "chunk_by": chunk_by, "chunk_size": 90, "segment_rows": 50}
    told: list[tuple[str, int, int]] = []
    skipped = [Problems(keep_going=True), Problems(keep_going=True)]
    with (
        Index.build(corpora, tmp_path / "local", problems=skipped[0], **options) as local,
        Index.build(
            corpora,
            tmp_path / "ray",
            problems=skipped[1],
            engine="ray",
            progress=lambda *step: told.append(step),
            **options,
        ) as spread,
    ):
        assert_same(local, spread)
        vectors = [open_vectors(index.path, index.manifest).take(np.arange(len(index))) for index in (local, spread)]
        np.testing.assert_array_equal(*vectors)
        count = len(local)
    assert skipped[0].left_out == skipped[1].left_out == Counter({".png files": 1})
    done = [done for stage, done, total in told if stage == "embed"]
    assert done == sorted(done)
    assert done[-1] == count
    assert len(done) > 5


@pytest.mark.usefixtures("no_ray")
def test_bad_documents_are_told_as_locally(tmp_path: Path) -> None:
    rows = [*tiny.rows_of(range(3)), {"id": "bad"}, {"id": "late", "text": "river", "year": "about 1900"}]
    first = tiny.write_rows(tmp_path / "first.jsonl", [{"id": "y", "text": "ice", "year": 1900}])
    second = tiny.write_rows(tmp_path / "second.jsonl", rows)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"nothing")
    corpora = [first, second, damaged]
    said = []
    for engine in ("local", "ray"):
        with pytest.raises(CorpusError) as caught:
            Index.build(corpora, tmp_path / engine, embedder=None, engine=engine)
        problems = Problems(keep_going=True)
        with Index.build(corpora, tmp_path / engine, embedder=None, engine=engine, problems=problems) as index:
            told = problems.first, problems.count, dict(problems.left_out)
            said.append((type(caught.value), str(caught.value), *told, index.fingerprint))
    assert said[0] == said[1]
    assert [problem.place for problem in said[1][2]] == [f"{second}, line 4", str(damaged)]
    assert said[1][4] == {"values of `year` that are text, not a whole number": 1}


@pytest.mark.usefixtures("no_ray")
def test_corpora_that_cannot_be_read(tmp_path: Path) -> None:
    empty = tiny.write_rows(tmp_path / "empty.jsonl", [])
    good, again = (tiny.write_rows(tmp_path / name, tiny.rows_of(range(2))) for name in ("x.jsonl", "y.jsonl"))
    for corpora, message in (
        ([good, empty], "empty.jsonl: the corpus is empty"),
        ([good, tmp_path / "none.jsonl"], "no such file"),
        ([good, again], "duplicate id 'p0'"),
        ([good, good], "x.jsonl is read twice"),
    ):
        with pytest.raises(CorpusError, match=message):
            Index.build(corpora, tmp_path / "index", embedder=None, engine="ray")
    with pytest.raises(InvalidInput, match="standard input"):
        Index.build([Path("-")], tmp_path / "index", embedder=None, engine="ray")
    with pytest.raises(InvalidInput, match="devices cpu, cpu with the engine ray"):
        Index.build([good], tmp_path / "index", engine="ray", devices=["cpu", "cpu"])
    with pytest.raises(InvalidInput, match="unknown engine 'spark'"):
        Index.build([good], tmp_path / "index", embedder=None, engine="spark")  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_ray")
def test_what_an_actor_cannot_do_is_raised_here(
    corpora: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.install(monkeypatch)
    encoder = ray_tasks.SlabEncoder(tiny.INFO, "tiny", 4)
    slab = {"folder": str(tmp_path / "elsewhere"), "start": 0, "stop": 4}
    [(kind, name, problem, _)] = ray_tasks.unpacked(encoder(pa.Table.from_pylist([slab])))
    assert (kind, name) == ("error", "RagscaleError")
    assert "cannot read" in problem
    monkeypatch.setattr(ray_tasks, "encode_slab", lambda *args: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(RagscaleError, match="gone"):
        Index.build(corpora[:1], tmp_path / "index", embedder="tiny", engine="ray")


@pytest.mark.usefixtures("no_ray")
def test_an_error_of_another_module_is_raised_as_its_nearest_kin(
    corpora: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: Any) -> None:
        raise UnreachableError("nobody there", "Start it.")

    tiny.install(monkeypatch)
    monkeypatch.setattr(ray_tasks, "encode_slab", unreachable)
    with pytest.raises(EndpointError, match=r"nobody there\. Start it\.$"):
        Index.build(corpora[:1], tmp_path / "index", embedder="tiny", engine="ray")


@pytest.mark.usefixtures("no_ray")
def test_a_data_set_that_cannot_be_read_stops_what_keeps_going(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"key": ["1"], "text": ["x"]}), tmp_path / "d" / "a.parquet")
    corpora = [Path(f"hf:{tmp_path}/d"), tiny.write_rows(tmp_path / "b.jsonl", tiny.rows_of(range(3)))]
    said = []
    for engine in ("local", "ray"):
        problems = Problems(keep_going=True)
        with pytest.raises(CorpusError, match="no column 'id'") as caught:
            Index.build(corpora, tmp_path / "index", embedder=None, engine=engine, problems=problems)
        said.append((str(caught.value), problems.count))
    assert said[0] == said[1]


def test_without_ray(corpora: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match="ray") as caught:
        Index.build(corpora, tmp_path / "index", embedder=None, engine="ray")
    assert "[ray]" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A local Ray of two processors, and where other processes reach it."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20)
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


@needs_ray
@pytest.mark.usefixtures("address")
def test_ray_builds_the_same_index(
    corpora: list[Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SLAB", 32)
    options: dict[str, Any] = {"embedder": model, "dtype": "float32", "chunk_size": 90, "batch_size": 4}
    options |= {"segment_rows": 70}
    with (
        Index.build(corpora, tmp_path / "local", **options) as local,
        Index.build(corpora, tmp_path / "ray", engine="ray", **options) as spread,
    ):
        assert_same(local, spread)
        vectors = [open_vectors(index.path, index.manifest).take(np.arange(len(index))) for index in (local, spread)]
        # the number of threads may differ, and with it the order in which a product is summed
        np.testing.assert_allclose(*vectors, atol=1e-6)


@needs_ray
@pytest.mark.usefixtures("address")
def test_the_command_builds_on_ray(corpora: list[Path], model: Path, tmp_path: Path) -> None:
    words = [*map(str, corpora), "--embedder", str(model), "--dtype", "float32", "--chunk-size", "90"]
    for engine in ("local", "ray"):
        command = ["index", "build", *words, "--engine", engine, "--out", str(tmp_path / engine)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert "passages, searched by hybrid" in result.stdout
        assert "not read: .png files (1)" in result.stderr
    with Index.open(tmp_path / "local") as local, Index.open(tmp_path / "ray") as spread:
        assert_same(local, spread)


@needs_ray
@pytest.mark.usefixtures("address")
def test_ray_tells_of_a_bad_row(corpora: list[Path], tmp_path: Path) -> None:
    bad = tiny.write_rows(tmp_path / "bad.jsonl", [*tiny.rows_of(range(200, 203)), {"id": "bad"}])
    with pytest.raises(CorpusError) as caught:
        Index.build([*corpora, bad], tmp_path / "index", embedder=None, engine="ray")
    assert str(caught.value).startswith(f"{bad}, line 4: the row with id 'bad' has no text")
    problems = Problems(keep_going=True)
    with Index.build([*corpora, bad], tmp_path / "index", embedder=None, engine="ray", problems=problems) as index:
        assert index.passage("p202").id == "p202"
    assert [problem.place for problem in problems.first] == [f"{bad}, line 4"]


@needs_ray
@pytest.mark.usefixtures("address")
def test_ray_gives_up_in_one_line() -> None:
    def fail(table: pa.Table) -> pa.Table:
        raise ValueError("out of luck")

    with pytest.raises(RagscaleError, match=r"^Ray gave up: .*out of luck") as caught:
        list(ray_engine._stream([{"n": 1}], fail, blocks=1, batch_size=1))
    assert len(str(caught.value).splitlines()) == 1


KILLED = """
import os, signal, sys
from ragscale.index import Index
from ragscale.index.write import segments

def stop(stage, done, total):
    if stage == "embed" and done >= 96:  # the third slab is about to be written
        os.kill(os.getpid(), signal.SIGKILL)

segments.SLAB = 32
Index.build([sys.argv[1]], sys.argv[2], embedder=sys.argv[3], dtype="float32", engine="ray", progress=stop)
"""


@needs_ray
def test_a_killed_build_on_ray_goes_on(
    address: str, corpora: list[Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tiny.write_rows(tmp_path / "corpus.jsonl", tiny.rows_of(range(200)))
    command = [sys.executable, "-c", KILLED, str(corpus), str(tmp_path / "ray"), str(model)]
    killed = subprocess.run(command, env={**os.environ, "RAY_ADDRESS": address}, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    assert not (tmp_path / "ray").exists()
    kept = next((tmp_path / ".ray.building").rglob("vectors.f32")).read_bytes()
    monkeypatch.setattr(segments_module, "SLAB", 32)
    told: list[int] = []
    with (
        Index.build(
            [corpus],
            tmp_path / "ray",
            embedder=model,
            dtype="float32",
            engine="ray",
            progress=lambda stage, done, total: told.append(done) if stage == "embed" else None,
        ) as index,
        Index.build([corpus], tmp_path / "local", embedder=model, dtype="float32") as local,
    ):
        assert told == [64, 96, 128, 160, 192, 200]
        assert next((tmp_path / "ray").rglob("vectors.f32")).read_bytes().startswith(kept[: 64 * 32 * 4])
        assert_same(local, index)
        index.verify()
