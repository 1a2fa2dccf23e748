"""Ctrl-C and SIGTERM while passages are embedded: a line says what is kept, and the same command goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ragscale.index import Index

TESTS = Path(__file__).parents[1] / "index"
sys.path.insert(0, str(TESTS))

import tiny  # noqa: E402

SLAB = 8
PROGRAM = f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
from pathlib import Path
import tiny
from ragscale.cli import app
from ragscale.index.write import segments

log, hang_at = Path(sys.argv[1]), int(sys.argv[2])
encode = tiny.TinyModel.encode

def hanging(self, texts, *, query, **options):
    if not query and log.exists() and len(log.read_text().splitlines()) == hang_at:
        log.with_name("hangs").touch()
        time.sleep(60)
    return encode(self, texts, query=query, **options)

class Patch:
    setattr = staticmethod(setattr)

log.touch()
tiny.TinyModel.encode = hanging
tiny.install(Patch, log=log)
segments.SLAB = {SLAB}
app(sys.argv[3:])
"""


def start(folder: Path, hang_at: int, *words: object) -> subprocess.Popen[str]:
    """A command in a process of its own, which hangs once it has embedded so many slabs."""
    (folder / "embedded.log").unlink(missing_ok=True)
    (folder / "hangs").unlink(missing_ok=True)
    paths = [str(TESTS), str(TESTS.parents[1])]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder / "embedded.log"), str(hang_at), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def stopped(folder: Path, hang_at: int, number: signal.Signals, *words: object) -> tuple[int, str]:
    """Exit code and last line on standard error of a command that gets a signal where it hangs."""
    process = start(folder, hang_at, *words)
    deadline = time.monotonic() + 60
    while not (folder / "hangs").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors.splitlines()[-1]


def embeds(folder: Path, *words: object) -> int:
    """Passages that a command embeds; it must end well."""
    process = start(folder, -1, *words)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return sum(map(int, (folder / "embedded.log").read_text().split()))


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
def test_a_build_and_an_addition_go_on(tmp_path: Path, number: signal.Signals, code: int, word: str) -> None:
    first = tiny.write_rows(tmp_path / "first.jsonl", tiny.rows_of(range(30)))
    more = tiny.write_rows(tmp_path / "more.jsonl", tiny.rows_of(range(30, 50)))
    build = ["index", "build", first, "--out", tmp_path / "index", "--embedder", "tiny"]
    add = ["index", "add", tmp_path / "index", more]
    for command, passages in ((build, 30), (add, 20)):
        nothing = f"{word} Nothing is kept: the same command begins anew."
        assert stopped(tmp_path, 0, number, *command) == (code, nothing)
        kept = f"{word} {2 * SLAB} embedded passages kept: the same command goes on from there."
        assert stopped(tmp_path, 2, number, *command) == (code, kept)
        assert embeds(tmp_path, *command) == passages - 2 * SLAB
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["index"]
    with Index.open(tmp_path / "index") as index:
        index.verify()
        assert len(index) == 50
