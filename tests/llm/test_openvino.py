"""OpenVINO GenAI, for real, with a small model whose answers mean nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragscale.errors import InvalidInput, ModelError, ModelFileError
from ragscale.llm import LLM, Capabilities, load, openvino
from ragscale.llm.embedded import EmbeddedLLM
from ragscale.llm.openvino import OpenVinoLLM
from ragscale.llm.openvino_worker import BatchingEngine, said
from ragscale.types import Message, Spend

genai = pytest.importorskip("openvino_genai")

ASK: list[Message] = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Name a colour."}]
ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}
NEVER = {"type": "nonsense"}


@pytest.fixture(scope="module")
def model(openvino_engine: Path) -> Iterator[OpenVinoLLM]:
    model = OpenVinoLLM(openvino_engine)
    yield model
    model.close()


async def underway(task: asyncio.Task[Any]) -> None:
    """Until the task's request must have reached the engine."""
    await asyncio.sleep(0.5)
    assert not task.done()


async def test_its_capabilities_are_known_and_cost_nothing(model: OpenVinoLLM) -> None:
    assert isinstance(model, LLM)
    can = Capabilities(json_schema=True, tokenizer=True, logprobs=True, samples=True, continues=True)
    assert await model.capabilities() == await model.capabilities(tools=True) == can
    assert model.probe_spend == Spend()
    with pytest.raises(ModelError, match="cannot score") as caught:
        await model.score(ASK, "Blue.")
    assert caught.value.spend == Spend()


async def test_counts_what_it_charges_and_what_llama_counts(model: OpenVinoLLM, smol: EmbeddedLLM) -> None:
    closed: Message = {"role": "assistant", "content": "Blue é 漢字 <|im_end|> \n\n\t 1234,5"}
    for messages in (ASK, ASK[1:], [*ASK, closed, ASK[1]], [*ASK, {"role": "assistant", "content": "Blu"}]):
        done = await model.generate(messages, max_tokens=1)
        assert await model.count_tokens(messages) == done.usage.prompt_tokens
        assert await smol.count_tokens(messages) == done.usage.prompt_tokens


async def test_greedy_answers_repeat(model: OpenVinoLLM) -> None:
    messages: list[Message] = [{"role": "user", "content": "FAISS searches. " * 12 + "What is it?"}]
    await model.generate(messages, max_tokens=8)
    first, second, several = [await model.generate(messages, max_tokens=8, n=n, logprobs=True) for n in (1, 1, 3)]
    assert first.texts == second.texts
    assert first.finish_reasons == ["length"]
    assert first.usage.completion_tokens == 8
    assert several.texts == first.texts * 3
    assert several.usage.completion_tokens == 24
    assert all(value < 0 for value in several.logprobs)


async def test_seeds_repeat_samples_whatever_else_is_under_way(model: OpenVinoLLM) -> None:
    async def draw(seed: int | None) -> list[str]:
        drawn = await model.generate(ASK, max_tokens=6, n=4, temperature=1.0, seed=seed, logprobs=True)
        assert len(drawn.logprobs) == 4
        assert 4 < drawn.usage.completion_tokens <= 24
        return drawn.texts

    await draw(0)
    alone = [await draw(seed) for seed in (1, 2**40 + 2, -3)]
    assert len({text for texts in alone for text in texts}) > 4
    assert await asyncio.gather(*map(draw, (1, 2**40 + 2, -3))) == alone
    assert await draw(None) != await draw(None)


async def test_obeys_a_schema(model: OpenVinoLLM) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [12]}}, "required": ["n"], "additionalProperties": False}
    done = await model.generate(ASK, max_tokens=40, schema=schema)
    assert "".join(done.texts[0].split()) == '{"n":12}'


async def test_a_refused_schema_fails_its_own_call_alone(model: OpenVinoLLM) -> None:
    other = asyncio.create_task(model.generate(ASK, max_tokens=60, schema=ENDLESS))
    await underway(other)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"refuses the schema: Unsupported type \"nonsense\"") as caught:
            await model.generate(ASK, max_tokens=4, schema=NEVER)
        assert not caught.value.retryable
        assert caught.value.spend == Spend()
    assert (await other).usage.completion_tokens == 60
    assert (await model.generate(ASK, max_tokens=2)).texts


@pytest.mark.parametrize("stop", [["colour"], ["ur", "never"], [" is"], ["a c", "olo"]])
async def test_stops_and_tells_at_what(model: OpenVinoLLM, stop: list[str]) -> None:
    free = (await model.generate(ASK, max_tokens=20)).texts[0]
    at, mark = min((free.find(mark), mark) for mark in stop if mark in free)
    done = await model.generate(ASK, max_tokens=20, stop=stop)
    assert (done.texts, done.stops, done.finish_reasons) == ([free[:at]], [mark], ["stop"])
    assert done.usage.completion_tokens >= await model.count_tokens([{"role": "user", "content": free[:at]}]) - 40


async def test_stops_at_white_space(model: OpenVinoLLM) -> None:
    free = (await model.generate(ASK, max_tokens=20)).texts[0]
    done = await model.generate(ASK, max_tokens=20, stop=[" "])
    assert (done.texts, done.stops) == ([free.split()[0]], [" "])
    ended = await model.generate(ASK, max_tokens=40, stop=["\n\n\n\n"])
    assert (ended.stops, ended.finish_reasons) == ([""], ["stop"])


async def test_goes_on_with_a_turn(model: OpenVinoLLM) -> None:
    begun: list[Message] = [*ASK, {"role": "assistant", "content": "Roses are"}]
    done = await model.generate(begun, max_tokens=4)
    assert not done.texts[0].startswith("Roses")
    assert (await model.generate(begun[-1:], max_tokens=2)).usage.prompt_tokens < done.usage.prompt_tokens


async def test_prompt_beyond_the_window_names_both_numbers(model: OpenVinoLLM) -> None:
    with pytest.raises(ModelError, match=r"prompt has 90\d\d tokens, the window of .* holds 8192") as caught:
        await model.generate([{"role": "user", "content": "hello " * 9000}], max_tokens=5)
    assert not caught.value.retryable
    small = OpenVinoLLM(model.path, context_window=30)
    done = await small.generate(ASK, max_tokens=200, schema=ENDLESS)
    assert done.usage.prompt_tokens + done.usage.completion_tokens == 30
    await small.aclose()


async def test_the_event_loop_goes_on_while_a_prompt_is_read(model: OpenVinoLLM) -> None:
    """A step holds the lock of Python for as long as it takes: here, in another process."""
    task = asyncio.create_task(model.generate([{"role": "user", "content": "word " * 400}], max_tokens=1))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 10


async def test_a_cancelled_call_is_taken_back(model: OpenVinoLLM) -> None:
    """Sampled calls go one after the other: one that nobody waits for would be in the way of the next."""
    drawn = [
        asyncio.create_task(model.generate(ASK, max_tokens=8000, schema=ENDLESS, temperature=1.0)) for _ in range(3)
    ]
    await underway(drawn[0])
    for task in drawn:
        task.cancel()
    assert [type(end) for end in await asyncio.gather(*drawn, return_exceptions=True)] == [asyncio.CancelledError] * 3
    async with asyncio.timeout(20):
        assert (await model.generate(ASK, max_tokens=2, temperature=1.0)).texts


def test_an_event_loop_that_ends_takes_nothing_with_it(model: OpenVinoLLM) -> None:
    loop = asyncio.new_event_loop()
    left = loop.create_task(model.generate(ASK, max_tokens=40, schema=ENDLESS))
    loop.run_until_complete(asyncio.sleep(0.3))
    loop.close()
    assert asyncio.run(model.generate(ASK, max_tokens=2)).texts
    assert not left.done()
    left._log_destroy_pending = False  # type: ignore[attr-defined]


def test_works_from_threads_with_loops_of_their_own(openvino_engine: Path) -> None:
    model = load(f"openvino:{openvino_engine}")
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda: results.extend(asyncio.run(model.generate(ASK, max_tokens=3)).texts))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    asyncio.run(model.aclose())


async def test_a_template_that_refuses_is_an_error_of_the_call(
    model: OpenVinoLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = model._engine._tokenizer
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('no system here') }}")
    for call in (model.count_tokens([*ASK, ASK[1]]), model.generate(ASK, max_tokens=2)):
        with pytest.raises(ModelError, match=r"refuses the messages.*no system here") as caught:
            await call
        assert caught.value.spend == Spend()


async def test_a_half_of_a_character_is_no_failure(model: OpenVinoLLM) -> None:
    assert (await model.generate([{"role": "user", "content": "lone \ud800 \0"}], max_tokens=2)).texts


PROGRAM = """
import json, os, sys
print(json.dumps({"ready": True} if "sound" in sys.argv[1] else {"broken": "no such layer"}), flush=True)
for line in sys.stdin:
    line = json.loads(line)
    print("to the log", line, file=sys.stderr)
    if "die" in line:
        os._exit(7)
    if "say" in line:
        print(json.dumps({"number": line["number"], "heard": line["say"]}), flush=True)
    if "forget" in line:
        print(json.dumps({"number": line["forget"] - 1, "forgot": line["forget"]}), flush=True)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does as it is told."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    monkeypatch.setattr(openvino.openvino_worker, "__file__", str(file))


@pytest.mark.usefixtures("program")
def test_a_worker_that_dies_fails_what_is_in_flight() -> None:
    worker = openvino._Worker(Path("m.gguf"), {"path": "sound"})
    worker.wait()
    assert worker.ask({"say": "a"}).result(20) == {"number": 0, "heard": "a"}
    waiting, taken_back = worker.ask({}), worker.ask({})
    assert not worker.ended
    taken_back.cancel()
    assert waiting.result(20) == {"number": 1, "forgot": 2}
    lost = [worker.ask({}), worker.ask({"die": True})]
    for done in lost:
        with pytest.raises(ModelError, match=r"its process ended with 7: to the log .*'die'") as caught:
            done.result(20)
        assert caught.value.retryable
        assert caught.value.spend is None
    assert worker.ended
    with pytest.raises(ModelError, match="ended with 7"):
        worker.ask({})


@pytest.mark.usefixtures("program")
def test_a_worker_that_is_stopped_fails_what_is_in_flight_for_good() -> None:
    worker = openvino._Worker(Path("m.gguf"), {"path": "sound"})
    worker.wait()
    waiting = worker.ask({})
    worker.stop()
    worker.stop()
    with pytest.raises(ModelError, match="m was closed") as caught:
        waiting.result(20)
    assert not caught.value.retryable


@pytest.mark.usefixtures("program")
def test_a_worker_that_cannot_load_says_why() -> None:
    worker = openvino._Worker(Path("m.gguf"), {"path": "no"})
    with pytest.raises(ModelFileError, match=r"cannot load m.gguf: no such layer"):
        worker.wait()
    assert worker.ended


@pytest.mark.slow  # loads the model twice more
async def test_an_engine_that_dies_fails_its_calls_and_is_started_again(gguf: Path) -> None:
    """And one that is closed fails them, too, for good; the last user stops it."""
    model, other = OpenVinoLLM(gguf, cpus=1), OpenVinoLLM(gguf, cpus=1)
    assert model._engine is other._engine
    task = asyncio.create_task(model.generate(ASK, max_tokens=8000, schema=ENDLESS))
    await underway(task)
    os.kill(model._engine._worker._process.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="its process ended with -9") as caught:
        await task
    assert caught.value.retryable
    assert caught.value.spend is None
    await model.aclose()
    await model.aclose()
    again = await asyncio.gather(*(other.generate(ASK, max_tokens=2) for _ in range(3)))
    assert all(done.texts == again[0].texts for done in again)
    task = asyncio.create_task(other.generate(ASK, max_tokens=8000, schema=ENDLESS))
    await underway(task)
    process = other._engine._worker._process
    await other.aclose()
    assert process.poll() is not None
    for late in (task, other.generate(ASK, max_tokens=2)):
        with pytest.raises(ModelError, match="was closed") as caught:
            await late
        assert not caught.value.retryable


@pytest.mark.slow  # loads the model once more
def test_it_ends_with_the_process_that_started_it(gguf: Path) -> None:
    code = (
        "import sys, time; from ragscale.llm.openvino import OpenVinoLLM; model = OpenVinoLLM(sys.argv[1]); "
        "print(model._engine._worker._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(gguf)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.kill()
    deadline = time.monotonic() + 20
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(pid)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


class Small(genai.SchedulerConfig):  # type: ignore[misc]
    """Memory for 512 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.num_kv_blocks = 16

    cache_size = property(lambda self: 0, lambda self, value: None)


@pytest.mark.slow  # loads the model once more
def test_memory_is_freed_and_its_lack_is_told(gguf: Path, model: OpenVinoLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genai, "SchedulerConfig", Small)
    answers: list[dict[str, Any]] = []
    engine = BatchingEngine({"path": str(gguf), "cpus": None}, answers.append)
    greedy = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": 2, "stop_token_ids": [2]}
    many = {**greedy, "max_new_tokens": 900, "do_sample": True, "num_return_sequences": 2, "ignore_eos": True}
    prompt = model._engine.read(ASK)

    def run(*numbers: int) -> list[dict[str, Any]]:
        while not engine.idle:
            engine.step()
        told = sorted(answers, key=lambda answer: answer["number"])
        assert [answer["number"] for answer in told] == list(numbers)
        answers.clear()
        return told

    engine.take({"number": 0, "prompt": prompt * 40, "settings": greedy, "schema": None})  # longer than the memory
    engine.take({"number": 1, "prompt": prompt, "settings": greedy, "schema": None})
    beyond, short = run(0, 1)  # the engine drops both
    assert beyond == {"number": 0, "tokens": 0, "overflow": True}
    assert len(short["samples"][0]["ids"]) == 5
    engine.take({"number": 2, "prompt": prompt, "settings": many, "schema": None})  # which grows out of it
    [grown] = run(2)
    assert grown["overflow"]
    assert grown["tokens"] > 200
    for number in range(3, 9):  # six of them would fill it, were they not forgotten
        settings = many if number < 6 else {**greedy, "max_new_tokens": 900}
        engine.take({"number": number, "prompt": prompt, "settings": settings, "schema": None})
        for _ in range(4):
            engine.step()
        engine.take({"forget": number})
        assert run() == []
    engine.take({"number": 9, "prompt": prompt * 15, "settings": greedy, "schema": None})
    assert run(9)[0]["tokens"] == 5


async def test_a_call_beyond_the_memory_says_so(model: OpenVinoLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    async def beyond(*request: Any) -> dict[str, Any]:
        return {"tokens": 7, "overflow": True}

    monkeypatch.setattr(model._engine, "write", beyond)
    with pytest.raises(ModelError, match=r"2 samples of up to 5 tokens behind a prompt of 22 .* memory of 2 GiB") as it:
        await model.generate(ASK, max_tokens=5, n=2, temperature=1.0)
    assert not it.value.retryable
    assert it.value.spend == Spend(llm_calls=1, prompt_tokens=22, completion_tokens=7)


def test_a_model_that_always_thinks_first_is_refused(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []

    class Worker:
        def __init__(self, *given: Any) -> None:
            self.stop = lambda: ended.append(True)

    class Tokenizer:
        def __init__(self, path: str) -> None: ...

        def apply_chat_template(self, *given: Any, **more: Any) -> str:
            return "<|assistant|>\n<think>\n"

    monkeypatch.setattr(openvino, "_Worker", Worker)
    monkeypatch.setattr(genai, "Tokenizer", Tokenizer)
    with pytest.raises(ModelFileError, match="always thinks before it replies"):
        OpenVinoLLM(gguf, cpus=2)
    assert ended == [True]


async def test_is_silent_and_shows_no_path(model: OpenVinoLLM, capfd: pytest.CaptureFixture[str]) -> None:
    await model.generate(ASK, max_tokens=2)
    assert model.name == model.path.stem
    assert str(model.path.parent) not in repr(model)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("content", "message"), [(None, "Cannot read"), (b"PK\x03\x04", "not a GGUF")])
def test_refuses_what_is_no_model(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "model.gguf"
    if content:
        file.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        load(f"openvino:{file}")


@pytest.mark.slow  # loads the model once more
def test_refuses_a_damaged_model(tmp_path: Path, gguf: Path) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(gguf.read_bytes()[:5_000_000])
    with pytest.raises(ModelFileError, match="cannot load"):
        load(f"openvino:{file}")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"context_window": 0}, "1 or more"),
        ({"cpus": 0}, "1 or more"),
        ({"context_window": 9000}, "one of 8192 tokens"),
    ],
)
def test_refuses_settings_that_cannot_be(gguf: Path, settings: dict[str, int], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        OpenVinoLLM(gguf, **settings)


def test_an_error_is_shown_without_its_place() -> None:
    told = RuntimeError("[10:08:02] /home/ci/a.b/xgrammar-src/cpp/json_schema_converter.cc:898: Unsupported:\n  x.cpp")
    assert said(told) == "Unsupported: x.cpp"
    assert said(RuntimeError("Check 'x' failed at src/a/b.cpp:97:\nNo such file")) == "No such file"
