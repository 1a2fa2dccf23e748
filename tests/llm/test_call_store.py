"""Calls are made once, charged as they were when made, and replayed without the model."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conformance import story
from doubles import first_member_fails, run, scripted

from ragscale import modes
from ragscale.budget import Budget
from ragscale.errors import CallMissing, CallStoreError, InvalidInput, ModelError, RagscaleError
from ragscale.llm import LLM, special_tokens
from ragscale.llm.embedded import EmbeddedLLM
from ragscale.llm.openvino import OpenVinoLLM
from ragscale.llm.scripted import ScriptedLLM
from ragscale.llm.store import StoredLLM
from ragscale.modes import Chain, Vote
from ragscale.types import Message, Spend

ASK: list[Message] = [{"role": "user", "content": "Which river?"}]


class Counter(ScriptedLLM):
    """A model that says how many calls it had."""

    def __init__(self, **options: Any) -> None:
        super().__init__(lambda messages, call: [f"number {call.index} {i}" for i in range(call.n)], **options)


@pytest.mark.parametrize("name", modes.built_in())
def test_a_run_of_any_mode_is_replayed(name: str, tmp_path: Path) -> None:
    """The same trace and the same charge, first from the store beside the model, then without the model."""
    budget, model = Budget(tokens=9_000), scripted(delay=2.0)
    first, _ = run(name, llm=StoredLLM(tmp_path / "calls", model), budget=budget)
    made = len(model.calls)
    assert first.spend.paid.llm_calls <= made == first.spend.total.llm_calls - first.spend.stored.llm_calls
    for inner in (model, None):
        again, _ = run(name, llm=StoredLLM(tmp_path / "calls", inner), budget=budget)
        assert story(again) == story(first)
        assert replace(again.spend, stored=Spend()) == replace(first.spend, stored=Spend())
        assert again.text == first.text
        assert again.spend.paid.llm_calls == again.spend.paid.tokens == 0
        assert again.spend.paid.queries == first.spend.paid.queries
    assert len(model.calls) == made


def test_the_first_plan_is_shared_by_modes_and_budgets(tmp_path: Path) -> None:
    model = scripted()
    stored = StoredLLM(tmp_path / "calls", model)
    small, _ = run(Chain(steps=2), llm=stored, budget=Budget(tokens=4_000))
    large, _ = run(Chain(steps=2), llm=stored, budget=Budget(tokens=40_000))
    assert small.spend.paid == small.spend.total
    assert large.spend.paid.llm_calls == 0
    vote, _ = run(Vote(of=Chain(steps=2), n=2), llm=stored, budget=Budget(tokens=40_000))
    assert vote.spend.stored.llm_calls > 0, "the first member is greedy, as the chain is"
    assert vote.spend.paid.llm_calls == len(model.calls) - small.spend.total.llm_calls


async def test_a_completion_that_ended_serves_calls_with_room_for_it(tmp_path: Path) -> None:
    model = ScriptedLLM(lambda messages, call: "one two three four five")
    stored = StoredLLM(tmp_path / "calls", model)
    for room, text, made in (
        (3, "one two three", 1),  # cut
        (3, "one two three", 1),
        (4, "one two three four", 2),  # what was cut with less room does not serve
        (20, "one two three four five", 3),
        (5, "one two three four five", 3),  # it needs five tokens
        (900, "one two three four five", 3),
        (3, "one two three", 3),
    ):
        reply = await stored.generate(ASK, max_tokens=room)
        assert (reply.texts, len(model.calls)) == ([text], made)


async def test_several_samples_serve_calls_with_room_for_the_longest(tmp_path: Path) -> None:
    model = ScriptedLLM(lambda messages, call: ["a b c d", "a"])
    stored = StoredLLM(tmp_path / "calls", model)
    for room, made in ((10, 1), (4, 1), (3, 2)):
        await stored.generate(ASK, max_tokens=room, n=2, temperature=1.0, seed=4)
        assert len(model.calls) == made


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ({"seed": 1}, {"seed": 2}, True),  # greedy: the seed changes nothing
        ({"temperature": 0.7, "seed": 1}, {"temperature": 0.7, "seed": 1}, True),
        ({"temperature": 0.7, "seed": 1}, {"temperature": 0.7, "seed": 2}, False),
        ({"temperature": 0.7, "seed": 1}, {"temperature": 0.8, "seed": 1}, False),
        ({"temperature": 0.7}, {"temperature": 0.7}, False),  # no seed: a new sample each time
        ({"stop": ["."]}, {"stop": [";"]}, False),
        ({"stop": []}, {}, True),
        ({"schema": {"type": "object"}}, {"schema": {"type": "array"}}, False),
        ({"logprobs": True}, {}, False),
        ({"n": 2}, {"n": 1}, False),
    ],
)
async def test_only_equal_calls_are_shared(
    one: dict[str, Any], other: dict[str, Any], shared: bool, tmp_path: Path
) -> None:
    stored = StoredLLM(tmp_path / "calls", Counter())
    first = await stored.generate(ASK, max_tokens=9, **one)
    second = await stored.generate(ASK, max_tokens=9, **other)
    assert (first.texts == second.texts) is shared
    assert (second.seconds is not None) is shared


async def test_other_models_and_other_fields_do_not_share(tmp_path: Path) -> None:
    models = [Counter(name="a"), Counter(name="b"), Counter(name="b")]
    models[2].fields = {"reasoning_effort": "low"}  # type: ignore[attr-defined]
    for model in models:
        assert (await StoredLLM(tmp_path / "calls", model).generate(ASK, max_tokens=9)).texts == ["number 0 0"]
        assert len(model.calls) == 1


async def test_other_programs_do_not_share_a_file_of_weights(tmp_path: Path) -> None:
    """The packaged model by llama.cpp and by OpenVINO has one name, and gives other texts."""
    models = [by("llama.cpp"), by("openvino"), Counter()]
    for model in models:
        stored = StoredLLM(tmp_path / "calls", model)
        await stored.capabilities()
        assert (await stored.generate(ASK, max_tokens=9)).texts == ["number 0 0"]
        assert len(model.calls) == 1
    with pytest.raises(InvalidInput, match=r"several models \(scripted by llama.cpp, scripted by openvino, scripted\)"):
        StoredLLM(tmp_path / "calls")
    assert (EmbeddedLLM.runtime, OpenVinoLLM.runtime) == ("llama.cpp", "openvino")


async def test_a_replay_is_by_the_program_of_then(tmp_path: Path) -> None:
    stored = StoredLLM(tmp_path / "calls", by("openvino"))
    await stored.capabilities()
    made = await stored.generate(ASK, max_tokens=9)
    replay = StoredLLM(tmp_path / "calls")
    assert (stored.runtime, replay.runtime) == ("openvino", "openvino")
    assert (await replay.generate(ASK, max_tokens=9)).texts == made.texts
    assert StoredLLM(tmp_path / "others", Counter()).runtime == ""


async def test_a_file_from_before_programs_were_told_apart(tmp_path: Path) -> None:
    """Refused for a model that knows its program, of whose calls nobody knows which made them; still replayed."""
    old = StoredLLM(tmp_path / "calls", Counter())
    await old.capabilities()
    made = await old.generate(ASK, max_tokens=9)
    assert StoredLLM(tmp_path / "calls", by("openvino")).runtime == "openvino"  # those are of an endpoint
    with sqlite3.connect(tmp_path / "calls") as db:  # neither the keys nor the facts of then had a program
        db.execute("UPDATE models SET facts = json_remove(facts, '$.runtime')")
    with pytest.raises(InvalidInput, match=r"do not tell which program made them, openvino or another.*--replay"):
        StoredLLM(tmp_path / "calls", by("openvino"))
    replay = StoredLLM(tmp_path / "calls")
    assert (await replay.generate(ASK, max_tokens=9)).texts == made.texts
    assert (await StoredLLM(tmp_path / "calls", Counter()).generate(ASK, max_tokens=9)).seconds is not None


def by(runtime: str) -> Counter:
    """A model that knows its program."""
    model = Counter()
    model.runtime = runtime  # type: ignore[attr-defined]
    return model


async def test_calls_in_flight_are_joined(tmp_path: Path) -> None:
    model = Counter(delay=0.05)
    stored = StoredLLM(tmp_path / "calls", model)
    replies = await asyncio.gather(*(stored.generate(ASK, max_tokens=9) for _ in range(20)))
    assert len(model.calls) == 1
    assert [reply.texts for reply in replies] == [["number 0 0"]] * 20
    paid = [reply for reply in replies if reply.seconds is None]
    assert len(paid) == 1
    assert all(reply.seconds and reply.seconds >= 0.05 for reply in replies if reply is not paid[0])


async def test_calls_in_flight_of_others_with_the_file_are_waited_for(tmp_path: Path) -> None:
    """Two runs of a process that share a file; with other room, too, where what comes ends by itself."""
    models = [Counter(delay=0.2) for _ in range(2)]
    stored = [StoredLLM(tmp_path / "calls", model) for model in models]
    replies = await asyncio.gather(*(each.generate(ASK, max_tokens=room) for each in stored for room in (9, 12)))
    assert len({reply.texts[0] for reply in replies}) == 1
    assert len({reply.seconds for reply in replies if reply.seconds is not None}) == 1
    assert sum(len(model.calls) for model in models) == 1


async def test_a_cancelled_call_leaves_the_others_theirs(tmp_path: Path) -> None:
    stored = StoredLLM(tmp_path / "calls", Counter(delay=0.05))
    first, second = (asyncio.create_task(stored.generate(ASK, max_tokens=9)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    assert (await second).texts == ["number 1 0"]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_failures_are_not_kept(tmp_path: Path) -> None:
    model = ScriptedLLM(lambda messages, call: ModelError("busy", retryable=True) if call.index == 0 else "fine")
    stored = StoredLLM(tmp_path / "calls", model)
    with pytest.raises(ModelError, match="busy"):
        await stored.generate(ASK, max_tokens=9)
    assert (await stored.generate(ASK, max_tokens=9)).texts == ["fine"]


def test_stored_seconds_count_against_a_limit(tmp_path: Path) -> None:
    """A chain of calls of ten seconds each ends where it ended before, though its calls now take no time."""
    limit = Budget(seconds=35)
    stored = StoredLLM(tmp_path / "calls", scripted(delay=10.0))
    whole, _ = run(Chain(steps=6), llm=stored)
    assert whole.spend.serial.seconds > 100
    fresh, _ = run(Chain(steps=6), llm=scripted(delay=10.0), budget=limit)
    again, _ = run(Chain(steps=6), llm=stored, budget=limit)
    assert (again.text, again.stop_reason) == (fresh.text, fresh.stop_reason)
    assert again.spend.serial.seconds <= 35
    assert again.spend.total.llm_calls == fresh.spend.total.llm_calls


async def test_scores_are_kept(tmp_path: Path) -> None:
    model = scripted()
    stored = StoredLLM(tmp_path / "calls", model)
    first, again = await stored.score(ASK, "The Seine"), await stored.score(ASK, "The Seine")
    assert again.logprob == first.logprob
    assert (first.seconds, len(model.calls)) == (None, 1)
    assert again.seconds is not None
    await stored.score(ASK, "The Loire")
    assert len(model.calls) == 2


async def test_a_replay_names_the_call_that_is_missing(tmp_path: Path) -> None:
    made = StoredLLM(tmp_path / "calls", Counter())
    await made.capabilities()
    await made.generate(ASK, max_tokens=9)
    replay = StoredLLM(tmp_path / "calls")
    assert (replay.name, replay.context_window) == ("scripted", made.context_window)
    assert (await replay.generate(ASK, max_tokens=9)).texts == ["number 0 0"]
    other: list[Message] = [{"role": "user", "content": "Which lake?"}]
    with pytest.raises(CallMissing, match=r"no call generate\('Which lake\?', n=1.* with room for 9 tokens.*Record"):
        await replay.generate(other, max_tokens=9)
    with pytest.raises(CallMissing, match=r"no call generate\('Which river\?', .*temperature=0\.5, seed=3"):
        await replay.generate(ASK, max_tokens=9, temperature=0.5, seed=3)
    with pytest.raises(CallMissing, match=r"no call score\('Which river\?', continuation='Po'"):
        await replay.score(ASK, "Po")
    with pytest.raises(CallMissing, match="no count of the tokens of 'Which lake"):
        await replay.count_tokens(other)
    with pytest.raises(CallMissing, match="no trial of the model's tools"):
        await replay.capabilities(tools=True)


def test_a_member_cannot_go_on_without_a_missing_call(tmp_path: Path) -> None:
    """An ensemble does without a member that fails; a replay that lacks a call is no such failure."""
    answer, _ = run(Vote(of=Chain(steps=1), n=3), llm=StoredLLM(tmp_path / "calls", scripted(first_member_fails)))
    assert answer.stop_reason == "answered"
    with sqlite3.connect(tmp_path / "calls") as db:
        db.execute("DELETE FROM calls WHERE key IN (SELECT key FROM calls ORDER BY key LIMIT 1)")
    with pytest.raises(CallMissing) as missing:
        run(Vote(of=Chain(steps=1), n=3), llm=StoredLLM(tmp_path / "calls"))
    assert not getattr(missing.value, "__notes__", ())  # no word of the graph's tasks


def test_a_file_that_several_processes_make_at_the_same_moment(tmp_path: Path) -> None:
    """SQLite refuses the change of a journal at once, and marks read one by one are of two moments."""
    work = (
        "import sys, time; from pathlib import Path; from ragscale.llm.store import CallFile\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "for n in range(25): CallFile(Path(sys.argv[1], f'{n}.sqlite'), new=True).close()"
    )
    at = str(time.time() + 3)
    makers = [subprocess.Popen([sys.executable, "-c", work, tmp_path, at], stderr=subprocess.PIPE) for _ in range(4)]
    assert [maker.communicate()[1].decode()[-300:] for maker in makers] == [""] * 4


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        StoredLLM(tmp_path / "none")
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(InvalidInput, match="not a file of model calls"):
        StoredLLM(tmp_path / "text", Counter())
    assert (tmp_path / "text").read_text() == "no database " * 100
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("CREATE TABLE calls (name TEXT)")
    with pytest.raises(InvalidInput, match="not a file of model calls"):
        StoredLLM(tmp_path / "other", Counter())
    StoredLLM(tmp_path / "empty", Counter())
    with pytest.raises(InvalidInput, match="calls of no model"):
        StoredLLM(tmp_path / "empty")
    with pytest.raises(RagscaleError, match="cannot be kept"):
        StoredLLM(tmp_path / "text" / "below", Counter())


async def test_a_file_that_was_cut_off_says_that_it_can_be_moved_away(tmp_path: Path) -> None:
    """No room on the disk would mend it; also where it breaks while it is open."""
    path = tmp_path / "calls"
    stored = StoredLLM(path, Counter())
    for n in range(60):
        await stored.generate([{"role": "user", "content": f"{n}"}], max_tokens=9)
    stored.close()
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(RagscaleError, match=r"malformed\)\. It is damaged: move it away"):
        StoredLLM(path, Counter())


async def test_a_file_of_several_models_is_not_replayed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        await StoredLLM(tmp_path / "calls", Counter(name=name)).capabilities()
    with pytest.raises(InvalidInput, match=r"calls of several models \(a, b\)"):
        StoredLLM(tmp_path / "calls")


async def test_a_damaged_reply_is_said(tmp_path: Path) -> None:
    stored = StoredLLM(tmp_path / "calls", Counter())
    await stored.generate(ASK, max_tokens=9)
    with sqlite3.connect(tmp_path / "calls") as db:
        db.execute("UPDATE calls SET reply = ?", (zlib.compress(b'{"texts": 3}'),))
    with pytest.raises(CallStoreError, match="a call is damaged"):
        await stored.generate(ASK, max_tokens=9)
    with sqlite3.connect(tmp_path / "calls") as db:
        db.execute("UPDATE calls SET reply = x'0102'")
    with pytest.raises(CallStoreError, match="a call is damaged"):
        await stored.generate(ASK, max_tokens=9)


async def test_a_full_disk_is_said(tmp_path: Path) -> None:
    stored = StoredLLM(tmp_path / "calls", ScriptedLLM(lambda messages, call: os.urandom(50_000).hex()))
    (pages,) = stored._file._db.execute("PRAGMA page_count").fetchone()
    stored._file._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(CallStoreError, match=r"cannot be kept .*full.* Make room"):
        await stored.generate(ASK, max_tokens=9)


def test_what_the_model_has_beside_the_protocol(tmp_path: Path) -> None:
    model = Counter()
    model.probe_spend = Spend(llm_calls=3)  # type: ignore[attr-defined]
    assert StoredLLM(tmp_path / "calls", model).probe_spend == Spend(llm_calls=3)
    assert not hasattr(StoredLLM(tmp_path / "calls", Counter()), "probe_spend")
    assert isinstance(StoredLLM(tmp_path / "calls", model), LLM)


WRITER = """
import asyncio, sys
sys.path[:0] = {paths!r}
from test_call_store import ASK, Counter
from ragscale.llm.store import StoredLLM

async def main():
    stored = StoredLLM(sys.argv[1], Counter())
    for i in range(int(sys.argv[2])):
        await stored.generate([{{"role": "user", "content": str(i)}}], max_tokens=9)
        print(i, flush=True)

asyncio.run(main())
"""


def test_writers_side_by_side_and_killed(tmp_path: Path) -> None:
    """Three processes write the same calls, one is killed: what any of them had said it made is there."""
    code = WRITER.format(paths=[path for path in sys.path if path])
    command = [sys.executable, "-c", code, str(tmp_path / "calls"), "400"]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert writers[0].stdout
    while writers[0].stdout.readline() != "150\n":
        pass
    writers[0].send_signal(signal.SIGKILL)
    writers[0].wait()
    assert [writer.wait(timeout=60) for writer in writers[1:]] == [0, 0]
    for writer in writers:
        assert writer.stdout
        writer.stdout.close()
    with sqlite3.connect(tmp_path / "calls") as db:
        assert db.execute("SELECT count(*), count(DISTINCT key) FROM calls").fetchone() == (400, 400)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_real_model(real: LLM, tmp_path: Path) -> None:
    """Text, usage and log-probabilities come back as they were; a sampled call, too."""
    stored = StoredLLM(tmp_path / "calls", real)
    can = await stored.capabilities()
    given: dict[str, Any] = {"max_tokens": 12, "temperature": 0.9, "seed": 5, "n": 2, "logprobs": True}
    first = await stored.generate(ASK, **given)
    score = await stored.score(ASK, "The Seine.") if can.scoring else None
    count = await stored.count_tokens(ASK)
    replay = StoredLLM(tmp_path / "calls")
    assert await replay.capabilities() == can
    again = await replay.generate(ASK, **given)
    assert again.seconds
    assert replace(again, seconds=None) == first
    if score:
        assert (await replay.score(ASK, "The Seine.")).logprob == score.logprob
    assert await replay.count_tokens(ASK) == count
    assert replay.special_tokens == special_tokens(real) != frozenset()
    assert replay.context_window == real.context_window
