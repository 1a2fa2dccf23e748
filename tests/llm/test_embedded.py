"""The embedded server, for real, with a small model whose answers mean nothing."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ragscale.errors import InvalidInput, ModelError, ModelFileError
from ragscale.llm import LLM, Capabilities, embedded, load
from ragscale.llm.embedded import EmbeddedLLM

ASK = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Name a colour."}]
LONG = "FAISS is a library for similarity search. " * 12


async def test_can_do_everything_and_charges_for_finding_out(smol: EmbeddedLLM) -> None:
    assert isinstance(smol, LLM)
    assert smol.probe_spend.llm_calls == 0
    assert await smol.capabilities() == Capabilities(True, True, True, True, True, True)
    spent = smol.probe_spend
    assert 0 < spent.llm_calls <= 5
    assert 0 < spent.completion_tokens < 100 < spent.prompt_tokens  # one reply was longer: was it a thought?
    await smol.capabilities()
    assert smol.probe_spend == spent


async def test_counts_what_the_server_charges(smol: EmbeddedLLM) -> None:
    for messages in (ASK, ASK[1:], [*ASK, {"role": "assistant", "content": "Blue é 漢字 <|im_end|>"}, ASK[1]]):
        done = await smol.generate(messages, max_tokens=1)
        assert await smol.count_tokens(messages) == done.usage.prompt_tokens


async def test_greedy_answers_repeat_and_read_the_prefix_cache(smol: EmbeddedLLM) -> None:
    messages = [{"role": "user", "content": LONG + "What is it?"}]
    await smol.generate(messages, max_tokens=8)
    first, second = [await smol.generate(messages, max_tokens=8) for _ in range(2)]
    assert first.texts == second.texts
    assert second.usage.cached_tokens >= second.usage.prompt_tokens - 2
    assert second.finish_reasons == ["length"]
    assert second.usage.completion_tokens == 8


async def test_samples_are_counted_together_and_seeds_repeat_them(smol: EmbeddedLLM) -> None:
    async def draw(seed: int) -> list[str]:
        drawn = await smol.generate(ASK, max_tokens=6, n=6, temperature=1.0, seed=seed, logprobs=True)
        assert len(drawn.texts) == len(drawn.logprobs) == 6
        # The server reports the tokens of one sample; each has at least the token that ends it.
        assert 6 < drawn.usage.completion_tokens <= 36
        assert all(value < 0 for value in drawn.logprobs)
        return drawn.texts

    assert len(set(await draw(1))) > 1
    alone = [await smol.generate(ASK, max_tokens=6, temperature=1.0, seed=5) for _ in range(2)]
    assert alone[0].texts == alone[1].texts


async def test_obeys_schema_and_stop(smol: EmbeddedLLM) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [12]}}, "required": ["n"], "additionalProperties": False}
    done = await smol.generate(ASK, max_tokens=40, schema=schema)
    assert "".join(done.texts[0].split()) == '{"n":12}'
    free = (await smol.generate(ASK, max_tokens=8)).texts[0]
    stop = free.split()[2]
    assert stop not in (await smol.generate(ASK, max_tokens=8, stop=[stop])).texts[0]


async def test_score_is_the_mean_of_the_logprobs_of_an_unforced_run_of_the_same_tokens(smol: EmbeddedLLM) -> None:
    """A greedy run that ends by itself has the tokens that its text forces: both means must agree."""
    for question in ("Reply with one word: hello.", "What is 2+2? Reply with a number.", "Say yes."):
        messages = [{"role": "user", "content": question}]
        free = await smol.generate(messages, max_tokens=60, logprobs=True)
        if free.finish_reasons == ["stop"]:
            break
    else:
        pytest.fail("no greedy answer ended by itself")
    forced = await smol.score(messages, free.texts[0])
    assert forced.usage.completion_tokens == free.usage.completion_tokens  # the end of the turn is among them
    assert forced.logprob == pytest.approx(free.logprobs[0], abs=0.05)
    unlikely = await smol.score(messages, 'Zürich "0"\n\\ <|x|>')
    assert unlikely.logprob < forced.logprob - 1


async def test_prompt_beyond_the_window_names_both_numbers(smol: EmbeddedLLM) -> None:
    messages = [{"role": "user", "content": "hello " * 9000}]
    with pytest.raises(ModelError, match=r"prompt has 9\d{3} tokens, the window of .* holds 8192") as caught:
        await smol.generate(messages, max_tokens=5)
    assert not caught.value.retryable


async def test_a_burst_larger_than_the_shared_memory_is_answered(
    smol_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without admission the server fails every request in its memory once that overflows."""
    monkeypatch.setattr(embedded, "_SPARE", 0)
    model = EmbeddedLLM(smol_file, context_window=128)
    messages = [[{"role": "user", "content": f"{i} " + "word " * 90}] for i in range(6)]
    done = await asyncio.gather(*(model.generate(m, max_tokens=2) for m in messages))
    assert all(g.usage.completion_tokens > 0 for g in done)
    await model.aclose()


async def test_a_cancelled_call_frees_its_place(smol_file: Path) -> None:
    """A server with a single slot, and a call that would keep it for a minute."""
    endless = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}
    model = EmbeddedLLM(smol_file, slots=1)
    await model.capabilities()
    task = asyncio.create_task(model.generate(ASK, max_tokens=8000, schema=endless))
    await asyncio.sleep(1)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        assert (await model.generate(ASK, max_tokens=2)).texts
    await model.aclose()


def test_works_from_threads_with_loops_of_their_own(smol_server: Path) -> None:
    model = load(f"embedded:{smol_server}")
    results: list[str] = []

    def ask() -> None:
        async def both() -> None:
            await model.capabilities()
            results.append((await model.generate(ASK, max_tokens=3)).texts[0])

        asyncio.run(both())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    asyncio.run(model.aclose())


async def test_the_last_user_stops_the_server(smol_file: Path) -> None:
    first, second = EmbeddedLLM(smol_file, context_window=256), EmbeddedLLM(smol_file, context_window=256)
    port = urlsplit(first.endpoint).port
    assert port == urlsplit(second.endpoint).port
    await first.aclose()
    await first.aclose()
    assert (await second.generate(ASK, max_tokens=1)).texts
    await second.aclose()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port or 0), 1).close()


async def test_is_silent_and_shows_no_path(smol: EmbeddedLLM, capfd: pytest.CaptureFixture[str]) -> None:
    await smol.generate(ASK, max_tokens=2)
    assert smol.name == smol.path.stem
    assert str(smol.path.parent) not in repr(smol)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("content", "message"), [(None, "Cannot read"), (b"PK\x03\x04", "not a GGUF")])
def test_refuses_what_is_no_model(tmp_path: Path, content: bytes | None, message: str) -> None:
    pytest.importorskip("xllamacpp")
    file = tmp_path / "model.gguf"
    if content:
        file.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        load(f"embedded:{file}")


def test_refuses_a_damaged_model(tmp_path: Path, smol_file: Path) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(smol_file.read_bytes()[:5_000_000])
    with pytest.raises(ModelFileError, match="cannot load"):
        load(f"embedded:{file}")


@pytest.mark.parametrize("setting", ["context_window", "slots", "cpus"])
def test_refuses_settings_below_one(smol_file: Path, setting: str) -> None:
    with pytest.raises(InvalidInput, match=setting):
        EmbeddedLLM(smol_file, **{setting: 0})
