"""Writers that are killed at any moment: nothing lost, nothing doubled, the old index readable meanwhile.

By default 200 kills at random moments, and one at each step that touches the disk. A thousand random ones:

    python -m pytest tests/index/test_kill.py -m slow
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny

from ragscale.index import Index, Manifest, check_files
from ragscale.index.locks import LOCK_FILE
from ragscale.index.manifest import MANIFEST_FILE

SLAB = 8
SEGMENT_ROWS = 20
KILLED = -signal.SIGKILL


class Server:
    """The process that forks the jobs."""

    def __init__(self) -> None:
        paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
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


class World:
    """A corpus, the jobs on it, and what an uninterrupted run of each ends in."""

    def __init__(self, folder: Path, server: Server, passages: int = 50) -> None:
        self.passages = passages
        self.folder = folder
        self.server = server
        self.log = folder / "embedded.log"
        first = tiny.write_rows(folder / "first.jsonl", tiny.rows_of(range(passages)))
        more = tiny.write_rows(folder / "more.jsonl", tiny.rows_of(range(passages - 5, 2 * passages)))
        changed = [*tiny.rows_of(range(passages)), *tiny.rows_of(range(passages, passages + 20), version=1)]
        update = tiny.write_rows(folder / "update.jsonl", changed)
        self.jobs: dict[str, dict[str, Any]] = {
            "build": self._job("build", [first]),
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
            self.wanted[what] = self.state()

    def _job(self, what: str, corpora: list[Path]) -> dict[str, Any]:
        sizes = {"slab": SLAB, "segment_rows": SEGMENT_ROWS}
        paths = {"path": str(self.folder / "index"), "log": str(self.log), "corpora": [str(c) for c in corpora]}
        return {"what": what, "die_at": 0, **sizes, **paths}

    def run(self, what: str, *, after: float | None = None, die_at: int = 0) -> tuple[int, float]:
        """`Server.run` of a job that is killed after so much processor time, or at its n-th step on the disk."""
        return self.server.run({**self.jobs[what], "die_at": die_at, "after": after})

    def state(self) -> dict[str, str]:
        """Fingerprint and the checksums of all files, of those of a generation without its number."""
        manifest = Manifest.read(self.folder / "index")
        files = {
            name.replace(f"generations/{manifest.generation:06d}", "generation"): info.sha256
            for name, info in manifest.files.items()
        }
        return {"fingerprint": manifest.fingerprint, **files}

    def place(self) -> int:
        """Which folder is the index: another one once a build has put its own there."""
        return (self.folder / "index").stat().st_ino

    def embedded(self) -> int:
        """Passages embedded since the last call."""
        found = sum(int(line) for line in self.log.read_text().splitlines()) if self.log.exists() else 0
        self.log.unlink(missing_ok=True)
        return found

    def check_readable(self, wanted: list[dict[str, str]]) -> None:
        """The index is whole, and one of the states that it may be in."""
        with Index.open(self.folder / "index", embedder=None) as index:
            check_files(index.path, index.manifest)
            assert self.state() in wanted
            assert len(index) == index.manifest.passages
            row = min(index.manifest.passages, 5)
            assert index.passage(index._snapshot.passages.id(row)).text

    def check_complete(self, what: str) -> None:
        """The end of an uninterrupted run, and not a file more."""
        assert self.state() == self.wanted[what]
        index = self.folder / "index"
        on_disk = {path.relative_to(index).as_posix() for path in index.rglob("*") if path.is_file()}
        assert on_disk - {LOCK_FILE, MANIFEST_FILE} == set(Manifest.read(index).files)
        assert sorted(path.name for path in self.folder.iterdir() if path.is_dir()) == ["index"]


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
    """Run the jobs in turns, each killed at random moments until it gets through, until enough kills are counted."""
    rng = random.Random(seed)
    before, counted = world.state(), 0
    while counted < kills:
        for what in world.jobs:
            world.embedded()
            attempts, builds = 0, 1
            place = world.place()
            while (code := world.run(what, after=rng.uniform(0, 1.2 * world.seconds[what]))[0]) == KILLED:
                attempts += 1
                world.check_readable([before, world.wanted[what]])
                # a build that was killed after it had put its index in place was done: the next one is a new one
                builds += what == "build" and world.place() != place
                place = world.place()
            # a removal that was killed after its commit finds nothing to remove
            assert code == 0 or (what == "remove" and attempts)
            counted += attempts
            world.check_complete(what)
            rows = {"build": builds * world.passages, "add": world.passages, "update": 21}.get(what, 0)
            assert world.embedded() <= rows + attempts * SLAB
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
    before = world.state()
    for what in world.jobs:
        step = 1
        while (code := world.run(what, die_at=step)[0]) == KILLED:
            world.check_readable([before, world.wanted[what]])
            step += 1
        # a removal that was killed after its commit finds nothing to remove
        assert code == 0 or what == "remove"
        assert step > 10
        world.check_complete(what)
        before = world.wanted[what]
