"""Processes killed at random calls, and between what a node wrote and its checkpoint: the uninterrupted answer comes.

Real processes, SIGKILL, SQLite files, a real BM25 index and HTTP. The default suite kills some ten times, in a mode of
each shape: one call, a chain, rounds, a tree, runs within runs (`MODES`). The long campaign kills 200 times, in these
and in modes that keep more between their calls (`MORE`), with and without budgets, on an endpoint with a tokenizer and
one without::

    pytest tests/kills -m slow
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from doubles import never_repeating
from fake_endpoint import Body, FakeEndpoint, Reply, Vllm, completion
from killed import PRICE, Job, work

import ragscale as rs
from ragscale.answer import Answer
from ragscale.llm.scripted import ScriptedCall
from ragscale.types import Spend, Usage

MODES = (
    "once", "chain(steps=3)", "parallel(rounds=2)", "tree(steps=2, expand=2, samples=3, rollouts=1)",
    "vote(of=best-of-n(of=chain(steps=1), n=2), n=2)",
)  # fmt: skip
MORE = ("vote(of=chain(steps=2), n=2)", "react(turns=3, tools='json')", "mcts(rollouts=3)", "evolve")
LIMITS: tuple[dict[str, Any], ...] = (
    {}, {"tokens": 3_000}, {"tokens": 9_000}, {"llm_calls": 6}, {"queries": 4, "tokens": 20_000}, {"rounds": 3},
    {"usd": 6e-4}, {"usd": 1.5e-3},
)  # fmt: skip
PEOPLE = ("Wollaston", "Davy", "Klaproth", "Scheele", "Berzelius", "Vauquelin", "Tennant", "Hatchett", "Mosander")
_PRELOAD = [
    "ragscale.agent", "ragscale.index.lexical.kernel", "ragscale.index.lexical.bm25", "ragscale.llm.openai", "bm25s",
    "langgraph.checkpoint.sqlite.aio", "filelock",
]  # fmt: skip
"""Modules that a process needs, imported once and for all of them."""
DEATHS = ("call", "call", "call", "put", "written", "writes")


class Repeating(Vllm):
    """Answers the same to the same request, as vLLM or as a bare endpoint; kills whoever sends the request that is due.

    Args:
        bare: Without a tokenizer and scores.
    """

    def __init__(self, *, bare: bool) -> None:
        super().__init__(window=100_000)
        self.bare = bare
        self.asked = 0
        self.used = Counter[str]()
        """Calls and tokens, as this server counts them, of clients that died too."""
        self.victim: tuple[Callable[[], int | None], int] | None = None
        """Whom to kill, and at which request."""

    def __call__(self, path: str, body: Body) -> Reply:
        if len(body.get("messages", ())) > 1 or len(body.get("prompt", ())) > 200:  # else the model is being tried out
            self.asked += path.endswith("/completions")
            if self.victim and self.asked == self.victim[1]:
                pid = self.victim[0]()
                assert pid
                os.kill(pid, signal.SIGKILL)
        if self.bare and path not in ("/v1/models", "/v1/chat/completions"):
            return Reply({"error": {"message": "Not Found"}}, 404)
        return super().__call__(path, body)

    def _chat(self, body: Body) -> Reply:
        wanted = body.get("structured_outputs", {}).get("json")
        wanted = wanted or body.get("response_format", {}).get("json_schema", {}).get("schema")
        if len(body["messages"]) < 2:  # the model is being tried out
            return super()._chat(body)
        call = ScriptedCall(0, tuple(body["messages"]), n=body.get("n", 1), seed=body.get("seed"), schema=wanted)
        texts = never_repeating(body["messages"], call)
        prompt = len(self.prompt(body))
        if "Query: " in body["messages"][-1]["content"] or "Question: " in body["messages"][-1]["content"]:
            done = sum(map(len, texts))
            picodollars = round(PRICE.usd(Usage(prompt, done)) * 10**12)
            self.used += Counter(llm_calls=1, tokens=prompt + done, picodollars=picodollars)
        return Reply(completion(*texts, prompt=prompt, done=sum(map(len, texts)), cached=0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an index of a few short passages."""
    folder = tmp_path_factory.mktemp("kills")
    texts = (
        f"{person} wrote of w{i:x} and of {PEOPLE[i % 7]}, query about {i}." for i, person in enumerate(PEOPLE * 9)
    )
    (folder / "corpus.jsonl").write_text(
        "".join(f'{{"id": "p{i}", "title": "Page {i}", "text": "{text}"}}\n' for i, text in enumerate(texts))
    )
    rs.Index.build([folder / "corpus.jsonl"], folder / "index", embedder=None).close()
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["vllm", "bare"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[tuple[Repeating, str]]:
    repeating = Repeating(bare=request.param)
    with FakeEndpoint(repeating) as server:
        yield repeating, f"openai:{server.url}#org/model"


class Campaign:
    """Kills runs of the modes, each with its uninterrupted answer to compare with."""

    def __init__(self, folder: Path, endpoint: tuple[Repeating, str], seed: int) -> None:
        self.folder, self.pick = folder, random.Random(seed)
        self.files = Path(tempfile.mkdtemp(dir=folder))
        self.model, self.llm = endpoint
        self.kills = 0
        self.cut = 0
        """Runs that a limit cut short, as calls of killed processes had been paid out of it."""
        self.deaths: dict[str, int] = {}
        self._whole: dict[str, tuple[Answer, dict[str, int], int]] = {}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOAD)

    def case(self, mode: str, limits: dict[str, Any], kills: int) -> None:
        """Kill a run up to `kills` times, each time at another place, and let it end."""
        job = Job(str(self.folder / "index"), self.llm, mode, "", limits)
        whole, turns, calls = self._uninterrupted(job)
        job = replace(job, checkpoints=str(self.files / f"{self.kills}-{self.pick.random()}.sqlite"))
        self.model.used.clear()
        deaths, left = [], 1.0
        for _ in range(kills):
            kind = self.pick.choice(DEATHS)
            turn = self.pick.random() * left
            at = 1 + int(turn * {**turns, "call": calls}[kind])
            left -= turn
            deaths.append((kind, at))
            died, _ = self._run(
                replace(job, die=None if kind == "call" else (kind, at)), at if kind == "call" else None
            )
            if died is not None:  # a run that is resumed has fewer turns than a whole one
                self._check(died, whole, deaths, limits)
                break
            self.kills += 1
            self.deaths[kind] = self.deaths.get(kind, 0) + 1
        answer, _ = self._run(job)
        assert answer is not None, deaths
        self._check(answer, whole, deaths, limits)

    def _check(self, answer: Answer, whole: Answer, deaths: Any, limits: dict[str, Any]) -> None:
        """The uninterrupted answer; or one cut short where the limits do not pay for calls made again."""
        for name in ("llm_calls", "tokens"):
            assert self.model.used[name] <= limits.get(name, 10**9), (name, limits, deaths)
        assert self.model.used["picodollars"] <= limits.get("usd", 1.0) * 10**12, (limits, deaths)
        if outcome(answer) != outcome(whole):
            assert limits, deaths
            assert answer.spend.lost.llm_calls + answer.spend.lost.queries, (limits, deaths)
            assert answer.text or limits.get("tokens") == 3_000 or limits.get("usd") == 6e-4, (limits, deaths)
            assert answer.text or answer.stop_reason != "answered", (limits, deaths)
            self.cut += 1

    def stops(self) -> dict[str, int]:
        """Stop reasons of the uninterrupted runs."""
        return dict(Counter(answer.stop_reason for answer, *_ in self._whole.values()))

    def _uninterrupted(self, job: Job) -> tuple[Answer, dict[str, int], int]:
        key = f"{job.mode} {job.limits}"
        if key not in self._whole:
            before = self.model.asked
            answer, turns = self._run(replace(job, checkpoints=str(self.files / f"{len(self._whole)}-whole.sqlite")))
            assert answer is not None
            assert answer.text
            self._whole[key] = answer, turns, self.model.asked - before
        return self._whole[key]

    def _run(self, job: Job, at: int | None = None) -> tuple[Answer | None, dict[str, int]]:
        """The answer of a process, or None where it was killed."""
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(job, there))
        self.model.victim = (lambda: process.pid, self.model.asked + at) if at else None
        process.start()
        there.close()
        try:
            answer, turns = here.recv()
        except EOFError:
            answer, turns = None, {}
        process.join(60)
        assert process.exitcode == (-signal.SIGKILL if answer is None else 0), (job, process.exitcode)
        return answer, turns


def outcome(answer: Answer) -> Any:
    """All of an answer but the time that it took, and what a cache spared."""

    def timeless(spend: Spend) -> Spend:
        return replace(spend, seconds=0.0, cached_tokens=0)

    trace = [replace(event, start=0.0, spend=timeless(event.spend)) for event in answer.trace]
    spends = [timeless(spend) for spend in (answer.spend.total, answer.spend.serial)]
    return answer.text, answer.citations, answer.stop_reason, answer.reason, answer.passages, spends, trace


def test_a_killed_run_gives_the_uninterrupted_answer(folder: Path, endpoint: tuple[Repeating, str]) -> None:
    campaign = Campaign(folder, endpoint, seed=12)
    for mode in MODES:
        campaign.case(mode, campaign.pick.choice(LIMITS), kills=2)
    assert campaign.kills >= 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills_an_endpoint(folder: Path, endpoint: tuple[Repeating, str]) -> None:
    campaign = Campaign(folder, endpoint, seed=5)
    cases = list(itertools.product(MODES + MORE, LIMITS))
    campaign.pick.shuffle(cases)
    for mode, limits in itertools.cycle(cases):
        campaign.case(mode, limits, kills=campaign.pick.randint(1, 4))
        if campaign.kills >= 100:
            break
    print(f"{campaign.kills} kills: {campaign.deaths}; {campaign.stops()}; {campaign.cut} cut short")
    assert len(campaign.stops()) >= 4  # budgets did cut runs short
