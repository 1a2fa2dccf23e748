"""Sweeps that are killed, meet a second writer or a full disk: nothing is lost, nothing doubled, nothing paid twice.

Real processes, SIGKILL, SQLite files, a real BM25 index, and an HTTP server that counts what was paid. The default
suite kills some eight times; 200 times::

    pytest tests/kills/test_sweep_kills.py -m slow
"""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from doubles import never_repeating
from fake_endpoint import TRIALS, Body, FakeEndpoint, Reply, Vllm, completion
from sweeper import CONCURRENCY, PLACES, Sweep, work

import ragscale as rs
from ragscale.llm.scripted import ScriptedCall
from ragscale.measure import Row, Run, Store

MODES = ("once", "chain(steps=2)", "parallel(rounds=2)")
PEOPLE = ("Wollaston", "Davy", "Klaproth", "Scheele", "Berzelius", "Vauquelin", "Tennant")
_PRELOAD = [
    "ragscale.agent", "ragscale.measure", "ragscale.index.lexical.kernel", "ragscale.index.lexical.bm25", "bm25s",
    "ragscale.llm.openai", "filelock",
]  # fmt: skip
_TIMELESS = ("seconds", "cached_tokens")


def tried(body: Body) -> bool:
    """Whether the model is being tried out."""
    return body["messages"][0]["content"] in TRIALS


class Till(Vllm):
    """Answers the same to the same request, and counts what it was asked: that has to be paid."""

    def __init__(self) -> None:
        super().__init__(window=100_000)
        self.paid = Counter[str]()
        self.victim: tuple[Started, int] | None = None
        """Whom to kill, and at which request."""
        self.delay = 0.0

    def __call__(self, path: str, body: Body) -> Reply:
        paid = path.endswith("/chat/completions") and not tried(body)
        if paid:  # else the model is being tried out
            self.paid[json.dumps(body, sort_keys=True)] += 1
            if self.victim and self.paid.total() == self.victim[1]:
                self.victim[0].process.kill()
        return replace(super().__call__(path, body), delay=self.delay if paid else 0.0)

    def _chat(self, body: Body) -> Reply:
        if tried(body):
            return super()._chat(body)
        wanted = body.get("structured_outputs", {}).get("json")
        call = ScriptedCall(0, tuple(body["messages"]), n=body.get("n", 1), seed=body.get("seed"), schema=wanted)
        texts = never_repeating(body["messages"], call)
        prompt = len(self.prompt(body))
        return Reply(completion(*texts, prompt=prompt, done=sum(map(len, texts)), cached=0))


@pytest.fixture(scope="module")
def till() -> Iterator[tuple[Till, str]]:
    till = Till()
    with FakeEndpoint(till) as server:
        yield till, f"openai:{server.url}#org/model"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index and questions."""
    folder = tmp_path_factory.mktemp("sweeps")
    texts = (f"{person} wrote of w{i:x} and of {PEOPLE[i % 5]}, query {i}." for i, person in enumerate(PEOPLE * 7))
    rows = ({"id": f"p{i}", "title": f"Page {i}", "text": text} for i, text in enumerate(texts))
    (folder / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    rs.Index.build([folder / "corpus.jsonl"], folder / "index", embedder=None).close()
    asked = (
        {"id": f"q{i}", "question": f"Of what did {name} write?", "answers": ["w1"]} for i, name in enumerate(PEOPLE)
    )
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in asked))
    return folder


class Started:
    """A process that sweeps."""

    def __init__(self, job: Sweep, process: Any, told: Connection) -> None:
        self.job, self.process, self._told = job, process, told

    @property
    def running(self) -> bool:
        return bool(self.process.is_alive())

    def __call__(self) -> tuple[str | None, dict[str, int]]:
        """Wait for what it says, None where it was killed, and for its turns."""
        try:
            said, turns = self._told.recv()
        except EOFError:
            said, turns = None, {}
        self.process.join(60)
        assert self.process.exitcode == (-signal.SIGKILL if said is None else 0), (self.job, self.process.exitcode)
        return said, turns


class Campaign:
    """Sweeps that something happens to, each with the uninterrupted one to compare with."""

    def __init__(self, world: Path, till: tuple[Till, str], seed: int, modes: tuple[str, ...] = MODES) -> None:
        self.till, llm = till
        self.pick = random.Random(seed)
        self.files = Path(tempfile.mkdtemp(dir=world))
        self.deaths = Counter[str]()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOAD)
        index, questions = (str(world / name) for name in ("index", "questions.jsonl"))
        self.job = Sweep(index, llm, questions, str(self.files / "whole"), modes, (3_000, 9_000))
        before = self.till.paid.total()
        said, self.turns = self.run(self.job)
        assert said == ""
        self.calls = self.till.paid.total() - before
        self.whole = outcomes(self.files / "whole")
        assert len(self.whole) == len(modes) * 2 * len(PEOPLE)
        assert calls_in(self.files / "whole") == self.calls

    def start(self, job: Sweep, at: int | None = None) -> Started:
        """Start a process, which is killed at a request."""
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(job, there))
        started = Started(job, process, here)
        if at is not None:
            self.till.victim = started, self.till.paid.total() + at
        process.start()
        there.close()
        return started

    def run(self, job: Sweep, at: int | None = None) -> tuple[str | None, dict[str, int]]:
        return self.start(job, at)()

    @contextmanager
    def slowly(self, delay: float) -> Iterator[None]:
        """Replies take so many seconds."""
        self.till.delay = delay
        yield
        self.till.delay = 0.0

    def case(self, kills: int) -> None:
        """Kill a sweep some times, or fill its disk, each time at another place, and let it end."""
        out = self.files / f"{self.deaths.total()}-{self.pick.random()}"
        job, deaths, left = replace(self.job, out=str(out)), [], 1.0
        self.till.paid.clear()
        for _ in range(kills):
            place = self.pick.choice((*PLACES, "call", "call", "full", "calls full"))
            part = self.pick.random() * left
            left -= part
            at = 1 + int(part * {**self.turns, "call": self.calls, "calls full": 1}[place])
            before, known = self.till.paid.total(), calls_in(out)
            deaths.append((place, at))
            if place == "call":
                said, _ = self.run(job, at)
            elif place == "calls full":
                said, _ = self.run(replace(job, largest=self.pick.randrange(60_000, 400_000)))
            else:
                said, _ = self.run(replace(job, die=(place, at)))
            assert self.till.paid.total() - before <= calls_in(out) - known + CONCURRENCY, deaths
            if place in ("full", "calls full") and said:
                assert str(out) in said, deaths
                assert "cannot be" in said, deaths
                assert "Make room on its disk" in said, deaths
                assert "the same command goes on" in said or "the same command again: it goes on" in said, deaths
            elif said is None:
                assert place not in ("full", "calls full")
            self.deaths[place] += said != ""
            self.check(out, deaths)
            if said == "":
                break
        before, known = self.till.paid.total(), calls_in(out)
        assert self.run(job)[0] == "", deaths
        assert self.till.paid.total() - before == calls_in(out) - known, deaths
        doubled = self.till.paid.total() - len(self.till.paid)
        assert doubled <= CONCURRENCY * len(deaths), deaths
        assert self.check(out, deaths) == self.whole, deaths
        before = self.till.paid.total()
        files = {path: path.read_bytes() for path in (*out.glob("rows/*"), *out.glob("traces/*"))}
        assert self.run(job)[0] == "", deaths
        assert self.till.paid.total() == before, deaths
        assert files == {path: path.read_bytes() for path in files}, deaths
        shutil.rmtree(out)

    def check(self, out: Path, deaths: Any) -> dict[tuple[str, str], Any]:
        """Finished rows are whole, there once, and as in the uninterrupted run."""
        if not (out / "config.json").exists():
            return {}
        found = outcomes(out)
        assert all(self.whole[key] == outcome for key, outcome in found.items()), deaths
        return found


def calls_in(out: Path) -> int:
    """Number of the calls that are kept."""
    path = out if out.is_file() else out / "calls.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as db:
        if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'calls'").fetchone()[0]:
            return 0
        (number,) = db.execute("SELECT count(*) FROM calls").fetchone()
    db.close()
    return int(number)


def outcomes(out: Path) -> dict[tuple[str, str], Any]:
    """Everything of each finished question but the time that it took, and what a cache spared.

    Asserts that each stands there once, and that its trace can be read, from the run and from its file alone.
    """
    run, store = Run(out), Store(out)
    table = [(row["cell"], row["id"]) for row in run.rows().select(["cell", "id"]).to_pylist()]
    found: dict[tuple[str, str], Any] = {}
    for key in run.cells:
        lines = (read(store.path(key)) or b"").split(b"\n")[:-1]
        traces = gzipped(read(store.path(key, traces=True)) or b"")
        for row in map(Row.from_json, lines):
            assert not row.failed, row.reason
            assert (key, row.id) not in found
            trace = run.trace(key, row.id)
            assert trace in traces
            assert trace["answer"] == row.answer
            moves = [(event["move"], event["branch"], event["output"]) for event in trace["trace"]]
            spends = [{**spend.to_dict(), **dict.fromkeys(_TIMELESS)} for spend in (row.spend.total, row.spend.serial)]
            found[key, row.id] = row.answer, row.em, row.f1, row.stop_reason, row.reason, spends, moves
    assert len(table) == len(set(table))
    assert found.keys() >= set(table)  # a sweep that is under way has added to it since
    return found


def read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def gzipped(data: bytes) -> list[Any]:
    """The traces of a file, up to one that is cut."""
    found = []
    while data:
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        text = member.decompress(data)
        if not member.eof:
            break
        found.append(json.loads(text))
        data = member.unused_data
    return found


@pytest.fixture(scope="module")
def small(world: Path, till: tuple[Till, str]) -> Campaign:
    return Campaign(world, till, seed=3, modes=("once", "chain(steps=1)"))


def test_a_killed_sweep_goes_on(small: Campaign) -> None:
    while small.deaths.total() < 4:  # a place drawn late may come no more, as less is left to do
        small.case(kills=3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_kills(world: Path, till: tuple[Till, str]) -> None:
    campaign = Campaign(world, till, seed=11)
    while campaign.deaths.total() < 200:
        campaign.case(kills=campaign.pick.randint(1, 6))
    print(f"{campaign.deaths.total()} kills and full disks: {dict(campaign.deaths)}")
    assert set(campaign.deaths) == {*PLACES, "call", "full", "calls full"}


def test_two_writers(small: Campaign) -> None:
    """The second one is refused, and the first one is not disturbed; when it is killed, another one goes on."""
    job = replace(small.job, out=str(small.files / "two"))
    refused = f"RagscaleError: {job.out}: another process is writing this run. Wait until it is done, or give"
    small.till.paid.clear()
    with small.slowly(0.1):
        first = small.start(job, at=10)
        while not calls_in(Path(job.out)):
            time.sleep(0.01)
        said, _ = small.run(job)
        assert said
        assert said.startswith(refused)
        assert first()[0] is None
        both = [small.start(job), small.start(job)]
        said = max(wait()[0] or "" for wait in both)
        assert said == "" or said.startswith(refused)
    assert small.check(Path(job.out), "") == small.whole
    assert small.till.paid.total() - len(small.till.paid) <= CONCURRENCY


def test_two_runs_share_a_recording(small: Campaign) -> None:
    """At the same time, so that both reach the same calls at the same moment: each is made, and paid, once."""
    record = small.files / "record.sqlite"
    jobs = [replace(small.job, out=str(small.files / name), record=str(record)) for name in ("a", "b")]
    small.till.paid.clear()
    with small.slowly(0.02):
        running = [small.start(job) for job in jobs]
        assert [wait()[0] for wait in running] == ["", ""]
    assert set(small.till.paid.values()) == {1}
    assert small.till.paid.total() == calls_in(record) == small.calls
    for job in jobs:
        assert small.check(Path(job.out), job) == small.whole


def test_a_reader_beside_a_sweep(small: Campaign) -> None:
    """Every row that is there can be read, with its trace and its question, at any time; none goes away."""
    job = replace(small.job, out=str(small.files / "read"))
    seen: set[tuple[str, str]] = set()
    looks = 0
    with small.slowly(0.02):
        for tokens, at in ((job.tokens[:1], 5), (job.tokens, None)):
            wait = small.start(replace(job, tokens=tokens), at=at)
            while wait.running:
                if (Path(job.out) / "config.json").exists():
                    now = set(small.check(Path(job.out), ""))
                    assert seen <= now
                    seen, looks = now, looks + 1
            assert wait()[0] == (None if at else "")
    assert looks > 5
    assert small.check(Path(job.out), "") == small.whole


def test_a_small_disk(small: Campaign) -> None:
    """A real one, that is full before the sweep is done: the run ends there, not each question by itself."""
    mount = shutil.which("mount")
    disk = small.files / "disk"
    disk.mkdir()
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=260k", "tmpfs", str(disk)]
    if not mount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs; files that may not grow are tried above")
    try:
        job = replace(small.job, out=str(disk / "run"))
        small.till.paid.clear()
        said, _ = small.run(job)
        assert said
        assert "Make room on its disk" in said
        some = small.check(disk / "run", "")
        assert len(some) < len(small.whole)
        subprocess.run([mount, "-o", "remount,size=20m", str(disk)], check=True)
        assert small.run(job)[0] == ""
        assert small.check(disk / "run", "") == small.whole
        assert small.till.paid.total() - len(small.till.paid) <= CONCURRENCY
        subprocess.run([mount, "-o", "remount,ro", str(disk)], check=True)
        said, _ = small.run(job)
        assert said
        assert said.startswith(f"InvalidInput: {disk / 'run'}: no run can be written here (")
        assert small.check(disk / "run", "") == small.whole
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_folder_that_cannot_be_written(small: Campaign) -> None:
    """By anybody, the superuser included: a file is in the way."""
    job = replace(small.job, out=str(small.files / "denied"))
    assert small.run(job, at=3)[0] is None
    rows = Path(job.out) / "rows"
    shutil.rmtree(rows, ignore_errors=True)
    rows.write_text("")
    said, _ = small.run(job)
    assert said
    assert re.match(
        r"RagscaleError: .*/rows/.*jsonl: cannot be written \(Not a directory\)\. Check its permissions, then", said
    )
    rows.unlink()
    assert small.run(job)[0] == ""
    assert small.check(Path(job.out), "") == small.whole
