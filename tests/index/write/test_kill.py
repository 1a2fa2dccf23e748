"""Writers that are killed at any moment: nothing lost, nothing doubled, the old index readable meanwhile.

By default 200 kills of builds and adds at random moments, those of the other writers besides, and one at each step that
touches the disk. A thousand random ones:

    python -m pytest tests/index/write/test_kill.py -m slow
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

from ragscale.index import Index, Manifest, check_files
from ragscale.index.storage.layout import LOCK_FILE, MANIFEST_FILE

SLAB = 8
SEGMENT_ROWS = 20
KILLED = -signal.SIGKILL
FACTORY = "IVF2,Flat"
COUNTED = ("first", "build", "add")
"""Jobs whose kills are counted; the others are killed too, but once a turn."""


class Server:
    """The process that forks the jobs."""

    def __init__(self) -> None:
        paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, str(Path(__file__).with_name("kill_server.py"))]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, job: dict[str, Any]) -> tuple[int, float]:
        """Exit code of a job and its processor time in seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        assert answer, f"the server ended with {self._process.wait(30)}"
        return int(answer[0]), float(answer[1])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def rows_of(numbers: Iterable[int], version: int = 0) -> list[tiny.Row]:
    """`tiny.rows_of` with metadata, so that there are files of fields."""
    return [{**row, "year": 1900 + int(row["id"][1:])} for row in tiny.rows_of(numbers, version)]


class World:
    """A corpus, the jobs on it, and what an uninterrupted run of each ends in.

    They write the folder ``index``, where one stands from the start; ``first`` builds at ``first``, where none does.
    """

    def __init__(self, folder: Path, server: Server, passages: int = 50) -> None:
        self.passages = passages
        self.folder = folder
        self.server = server
        self.log = folder / "embedded.log"
        corpus = tiny.write_rows(folder / "corpus.jsonl", rows_of(range(passages)))
        more = tiny.write_rows(folder / "more.jsonl", rows_of(range(passages - 5, 2 * passages)))
        changed = [*rows_of(range(passages)), *rows_of(range(passages, passages + 20), version=1)]
        update = tiny.write_rows(folder / "update.jsonl", changed)
        self.jobs: dict[str, dict[str, Any]] = {
            "first": self._job("first", [corpus]),
            "build": self._job("build", [corpus]),
            "add": self._job("add", [more]),
            "remove": {**self._job("remove", []), "names": ["p3", f"p{passages + 1}"]},
            "update": self._job("update", [update]),
            "compact": self._job("compact", []),
        }
        self.wanted: dict[str, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        for what in self.jobs:
            code, self.seconds[what] = self.run(what)
            assert code == 0
            self.wanted[what] = self.state(what)
        self.drop("first")
        files = {name.rpartition("/")[2] for wanted in self.wanted.values() for name in wanted}
        assert files >= {"vectors.faiss", "fields.arrow", "deleted.npy", "vectors.f32"}

    def path(self, what: str) -> Path:
        """Of the index that a job writes."""
        return self.folder / ("first" if what == "first" else "index")

    def drop(self, what: str) -> None:
        """Remove the index of the job that wants none at its destination."""
        if what == "first":
            shutil.rmtree(self.path(what))

    def _job(self, what: str, corpora: list[Path]) -> dict[str, Any]:
        sizes = {"slab": SLAB, "segment_rows": SEGMENT_ROWS, "factory": FACTORY}
        paths = {"path": str(self.path(what)), "log": str(self.log), "corpora": [str(c) for c in corpora]}
        return {"what": what, "die_at": 0, **sizes, **paths}

    def run(self, what: str, *, after: float | None = None, die_at: int = 0) -> tuple[int, float]:
        """`Server.run` of a job that is killed after so much processor time, or at its n-th step on the disk."""
        return self.server.run({**self.jobs[what], "die_at": die_at, "after": after})

    def state(self, what: str) -> dict[str, str]:
        """Fingerprint and the checksums of all files, of those of a generation without its number."""
        manifest = Manifest.read(self.path(what))
        files = {
            name.replace(f"generations/{manifest.generation:06d}", "generation"): info.sha256
            for name, info in manifest.files.items()
        }
        return {"fingerprint": manifest.fingerprint, **files}

    def place(self, what: str) -> int:
        """Inode of the index's folder, 0 for none: another one once a build has put its own there."""
        path = self.path(what)
        return path.stat().st_ino if path.exists() else 0

    def embedded(self) -> int:
        """Passages embedded since the last call."""
        found = sum(int(line) for line in self.log.read_text().splitlines()) if self.log.exists() else 0
        self.log.unlink(missing_ok=True)
        return found

    def check_readable(self, what: str, before: dict[str, str]) -> None:
        """The index is whole, and in the state from before or in the one that the job ends in; or it is not there."""
        path = self.path(what)
        if what == "first" and not path.exists():
            return
        with Index.open(path, embedder=None) as index:
            check_files(path, index.manifest)
            assert self.state(what) in ([] if what == "first" else [before]) + [self.wanted[what]]
            assert len(index) == index.manifest.passages
            row = min(index.manifest.passages, 5)
            assert index.passage(index._snapshot.passages.id(row)).text

    def check_complete(self, what: str) -> None:
        """The end of an uninterrupted run, and not a file more."""
        path = self.path(what)
        assert self.state(what) == self.wanted[what]
        on_disk = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
        assert on_disk - {LOCK_FILE, MANIFEST_FILE} == set(Manifest.read(path).files)
        folders = sorted(entry.name for entry in self.folder.iterdir() if entry.is_dir())
        assert folders == (["first", "index"] if what == "first" else ["index"])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """On a disk in memory where there is one: processes die here, not machines, and waiting for a disk takes long."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def suffer(world: World, kills: int, seed: int) -> None:
    """Run the jobs in turns, killed at random moments until they get through, until enough kills are counted."""
    rng = random.Random(seed)
    before, counted = world.state("compact"), 0
    while counted < kills:
        for what in world.jobs:
            world.embedded()
            attempts, builds = 0, 1
            place = world.place(what)
            while True:
                spared = attempts and what not in COUNTED
                after = None if spared else rng.uniform(0, 1.1 * world.seconds[what])
                code, _ = world.run(what, after=after)
                if code != KILLED:
                    break
                attempts += 1
                world.check_readable(what, before)
                # a build that was killed after it had put its index in place was done: the next one is a new one
                builds += what in ("first", "build") and world.place(what) != place
                place = world.place(what)
            # a removal that was killed after its commit finds nothing to remove
            assert code == 0 or (what == "remove" and attempts)
            counted += attempts * (what in COUNTED)
            world.check_complete(what)
            rows = {"first": builds, "build": builds, "add": 1}.get(what, 0) * world.passages
            assert world.embedded() <= rows + 21 * (what == "update") + attempts * SLAB
            world.drop(what)
            if what != "first":
                before = world.wanted[what]


@pytest.mark.timeout(3600)
def test_200_kills_at_random_moments(folder: Path, server: Server) -> None:
    suffer(World(folder, server), 200, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_1000_kills_at_random_moments(folder: Path, server: Server) -> None:
    suffer(World(folder, server), 1000, seed=1)


@pytest.mark.timeout(3600)
def test_a_kill_at_every_step_that_touches_the_disk(folder: Path, server: Server) -> None:
    world = World(folder, server, passages=12)
    before = world.state("compact")
    for what in world.jobs:
        step = 1
        while (code := world.run(what, die_at=step)[0]) == KILLED:
            world.check_readable(what, before)
            step += 1
        # a removal that was killed after its commit finds nothing to remove
        assert code == 0 or what == "remove"
        assert step > 10
        world.check_complete(what)
        world.drop(what)
        if what != "first":
            before = world.wanted[what]
