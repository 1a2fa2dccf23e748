"""Odd replies: whatever an endpoint sends, there is a value or an error of ours, soon, and within bounds.

Every odd value stands at every place of every reply that is read, and every odd framing around it; see `odd_replies`.
The default suite takes a sample of them. The 46,000 of them take some three quarters of an hour on one core, in 16
parts::

    pytest tests/llm/test_spoilt_replies.py -m slow --numprocesses auto
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import resource
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from doubles import StubIndex
from odd_replies import READ, Case, World, all_cases
from pydantic import AliasChoices, BaseModel
from ticking import LONGEST, ticking

import ragscale as rs
from ragscale.endpoint import replies
from ragscale.endpoint.retry import attempts
from ragscale.errors import RagscaleError
from ragscale.index.encoders.endpoint import Endpoint
from ragscale.llm import Capabilities, Generation, Score
from ragscale.llm.openai import OpenAILLM
from ragscale.types import Message, Tool, ToolCall

ASK: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A colour?"}]
BEGUN: list[Message] = [*ASK, {"role": "assistant", "content": "It is bl"}]
TOOLS = (Tool("look", "Looks up.", {"type": "object", "properties": {"k": {"type": "integer"}}}),)
SCHEMA = {"type": "object", "properties": {"k": {"type": "integer", "enum": [7]}}, "required": ["k"]}
PARTS = 16
SAID = 3000  # characters of an error
TOLD = 200 * 64  # characters of the most tokens that a call asks for, at the longest that a token has
GROWTH = 400 * 2**20  # bytes of memory beyond those of the beginning, servers included


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts are tested elsewhere."""
    for module in (
        "ragscale.modes.core.run",
        "ragscale.modes.core.calls",
        "ragscale.endpoint.transport",
        "ragscale.index.encoders.endpoint",
    ):
        monkeypatch.setattr(f"{module}.attempts", functools.partial(attempts, base=0.0))
    monkeypatch.setattr("ragscale.endpoint.retry._LONGEST_WAIT", 0.0)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture(scope="module")
def cases(world: World) -> list[Case]:
    """All of them, by what the well-formed replies are."""
    seen = {}
    for kind in READ:
        world.seen = {}
        assert tried(world, None, kind) == []
        assert set(world.seen) >= set(READ[kind])
        seen[kind] = world.seen
    return all_cases(seen)


def test_every_field_that_is_read_is_spoilt(world: World, cases: list[Case]) -> None:
    """A field that is newly read belongs into `odd_replies.rich`."""
    spoilt = {case.name.rpartition(" at ")[2].rpartition(".")[2] for case in cases}
    for form in (form for form in vars(replies).values() if isinstance(form, type) and issubclass(form, BaseModel)):
        for name, field in form.model_fields.items():
            alias = field.validation_alias
            known = {*alias.choices} if isinstance(alias, AliasChoices) else {name}
            assert known & spoilt, f"{form.__name__}.{name}"


def test_a_sample(world: World, cases: list[Case]) -> None:
    light = [case for case in cases if not case.heavy]
    heavy = [case for case in cases if case.heavy]
    run(world, light[:: len(light) // 560] + heavy[:: len(heavy) // 25])


@pytest.mark.slow
@pytest.mark.timeout(3_600)  # minutes on a quiet machine
@pytest.mark.parametrize("part", range(PARTS))
def test_all(part: int, world: World, cases: list[Case]) -> None:
    assert len(cases) > 5000
    run(world, cases[part::PARTS])


@pytest.mark.parametrize("mode", ["once", "chain(steps=2)"])
def test_a_sample_in_a_run(mode: str, world: World, cases: list[Case]) -> None:
    asking = [case for case in cases if case.slot in ("chat", "schema", "samples", "tokenize", "models", "grammar")]
    run(world, asking[:: len(asking) // 30], mode)


def test_a_sample_of_tool_calls_in_a_run(world: World, cases: list[Case]) -> None:
    calling = [case for case in cases if case.slot == "calls" and not case.heavy]
    run(world, calling[:: len(calling) // 30], "react(turns=2)")


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode", ["once", "chain(steps=2)", "react(turns=2)", "parallel(rounds=1)", "tree(steps=1,rollouts=1)"]
)
def test_many_in_a_run(mode: str, world: World, cases: list[Case]) -> None:
    run(world, [case for case in cases if case.slot != "embeddings"][:: len(cases) // 500], mode)


# -- a case


def run(world: World, cases: list[Case], mode: str = "") -> None:
    """Try cases, on the model alone or in a run of a mode."""
    begun, started, sent = memory(), time.monotonic(), 0
    faults = []
    for case in cases:
        faults += [f"{case}: {fault}" for fault in tried(world, case, case.kind, mode)]
        sent += world.times > 0
    grown = memory() - begun
    print(f"{len(cases)} cases, {sent} sent, {time.monotonic() - started:.0f} s, {grown / 2**20:.0f} MB")
    if grown > GROWTH:
        faults.append(f"{grown / 2**20:.0f} MB of memory more than at the beginning")
    if faults:
        pytest.fail(f"{len(faults)} of {len(cases)} cases\n" + "\n".join(faults), pytrace=False)


def memory() -> int:
    """The most bytes of memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tried(world: World, case: Case | None, kind: str, mode: str = "") -> list[str]:
    """Faults in the end of a case. Where it took long, the best of three: a busy machine is no failure."""
    faults: list[str] = []
    for _ in range(3):
        faults, gap = once(world, case, kind, mode)
        if gap < LONGEST:
            return faults
    return [*faults, f"a loop that was blocked for {gap:.1f} s"]


def once(world: World, case: Case | None, kind: str, mode: str) -> tuple[list[str], float]:
    url = world.add(kind, case)
    if case and case.slot == "embeddings":
        return embedding(world, case, url)
    faults, gaps = [], [0.0]

    async def asked() -> None:
        model = OpenAILLM(url, timeout=case.patience if case else 20.0)
        async with ticking(gaps):
            calls = calls_of(model, case.slot if case else "")
            if mode:
                agent = rs.Agent(StubIndex(), model, mode, rs.Budget(tokens=8000, llm_calls=12))
                calls = {"ask": lambda: agent.aask("Who?")}
                if case and case.later:
                    await model.capabilities()
                    world.on = True
            for name, call in calls.items():
                faults.extend([f"{name}: {fault}" for fault in await outcome(call)])
                world.on = True
            await model.aclose()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(asked())
    if not mode and (case is None or case.slot == "models"):  # which encoders read, too
        more, gap = embedding(world, case, url)
        faults += [f"{kind}, {fault}" for fault in more]
        gaps.append(gap)
    return faults, max(gaps)


def calls_of(model: OpenAILLM, slot: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The calls that read a reply of that name, the trial first; all of them for no name."""
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "capabilities": model.capabilities,
        "generate": lambda: model.generate(ASK, max_tokens=20),
        "continued": lambda: model.generate(BEGUN, max_tokens=20, stop=["</search>"]),
        "samples": lambda: model.generate(ASK, max_tokens=20, n=2, temperature=1.0, logprobs=True),
        "schema": lambda: model.generate(ASK, max_tokens=20, schema=SCHEMA),
        "calls": lambda: model.generate(ASK, max_tokens=200, tools=TOOLS),
        "count_tokens": lambda: model.count_tokens([*ASK, {"role": "assistant", "content": "Blue."}]),
        "score": lambda: model.score(ASK, "blue"),
        "name": lambda: asyncio.to_thread(lambda: f"{model.name} {model.context_window + 0}"),
    }
    names = {
        "samples": ("samples",), "calls": ("calls",), "schema": ("schema",),
        "chat": ("generate",), "props": ("generate", "name"),
        "prompt_logprobs": ("score",), "completed": ("continued",), "grammar": ("score",), "tokenize text": ("score",),
        "models": ("generate", "name"), "loaded": ("generate", "name"), "running": ("generate", "name"),
        "load": ("generate", "name"), "template": ("count_tokens", "score", "generate"),
        "tokenize": ("count_tokens", "score", "generate"),
    }.get(slot, tuple(calls))  # fmt: skip
    tried = () if slot == "chat" else ("capabilities",)  # where it says nothing of a plain call
    return {name: call for name, call in calls.items() if name in (*tried, *names)}


async def outcome(call: Callable[[], Awaitable[Any]]) -> list[str]:
    """Faults in the end of a call."""
    try:
        async with asyncio.timeout(60):
            value = await call()
    except RagscaleError as error:
        return wrong_error(error)
    except TimeoutError:
        return ["no end"]
    except Exception as error:
        return [f"{type(error).__name__}: {str(error)[:200]}"]
    return wrong_value(value)


def wrong_error(error: RagscaleError) -> list[str]:
    said = str(error)
    faults = [] if len(said) < SAID else [f"an error of {len(said):,} characters"]
    with contextlib.suppress(UnicodeEncodeError):
        said.encode()
        return faults
    return [*faults, "an error that cannot be encoded"]


def wrong_value(value: Any) -> list[str]:
    good = True
    if isinstance(value, Generation):
        usage = value.usage
        counts = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens)
        good = all(type(count) is int and 0 <= count <= 2**54 for count in (*counts, usage.estimated_tokens))
        good = good and all(map(spoken, [*value.texts, *value.finish_reasons, *value.thoughts]))
        good = good and all(math.isfinite(value) for value in value.logprobs)
        calls = [call for called in value.calls for call in called]
        good = good and all(isinstance(call, ToolCall) and spoken(call.name) for call in calls)
        good = good and all(isinstance(call.arguments, str) and len(call.arguments) <= TOLD for call in calls)
    elif isinstance(value, rs.Answer):
        good = spoken(value.text) and spoken(value.stop_reason) and len(repr(value)) < 200_000
    elif isinstance(value, Score):
        good = type(value.logprob) is float and math.isfinite(value.logprob)
    elif isinstance(value, Capabilities):
        good = type(value.thinking) is int
    elif isinstance(value, int):
        good = type(value) is int and value >= 0
    elif isinstance(value, str):
        good = spoken(value)
    else:
        good = isinstance(value, np.ndarray) and value.ndim == 2 and bool(np.isfinite(value).all())
    return [] if good else [f"{value!r}"[:200]]


def spoken(text: Any) -> bool:
    """Whether it is a text that can be written anywhere, and none of more tokens than a call asked for."""
    return isinstance(text, str) and len(text) <= TOLD and text.encode("utf-8", "replace").decode() == text


def embedding(world: World, case: Case | None, url: str) -> tuple[list[str], float]:
    """Embeddings have a loop of their own, which must not be blocked either: its callers are in others."""
    named = "" if case and case.slot == "models" else "#m"
    endpoint = Endpoint(f"endpoint:{url}{named}", timeout=case.patience if case else 20.0)
    faults, gaps, done = [], [0.0], asyncio.Event()

    async def watch() -> None:
        async with ticking(gaps):
            await done.wait()

    watching = asyncio.run_coroutine_threadsafe(watch(), endpoint._loop)
    texts = ["one", "two", "three"]
    calls: dict[str, Callable[[], Any]] = {
        "info": lambda: endpoint.info("", "").name,
        "encode": lambda: endpoint.encode(texts, prompt="", query=False, batch_size=2),
    }
    for name, call in calls.items():
        faults += [f"{name}: {fault}" for fault in asyncio.run(outcome(lambda call=call: asyncio.to_thread(call)))]
    endpoint._loop.call_soon_threadsafe(done.set)
    watching.result(60)
    endpoint.close()
    return faults, max(gaps)
