"""Models that misbehave, under random budgets, in random modes: no limit is ever passed, every run ends and adds up.

The model counts its calls and the tokens that it told, so that a call which is not charged is found, too.

Half of the runs are in any mode with any parameters, nested up to two levels deep (`any_mode`). The default suite makes
some 1,500 runs. The long campaign makes more than 200,000, which takes hours::

    pytest tests/modes/test_fuzz.py -m slow --numprocesses auto

Parts of it are chosen by ``-k "long_campaign and [3]"``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from any_mode import any_mode
from conformance import check
from doubles import PRICE, QUESTION, StubIndex, move_of, never_repeating, others, scripted, virtually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.errors import EndpointError, ModelError
from ragscale.llm.base import Capabilities
from ragscale.llm.scripted import Said, ScriptedCall, ScriptedLLM, count
from ragscale.modes import Chain, Mode, Once, Parallel, React, Tree
from ragscale.prompts import NO_INFORMATION
from ragscale.types import Message, Spend, ToolCall, Usage

GARBAGE = [
    "", " ", "\n\n", "[", "{", "[]", "{}", "null", "nothing", '["', '["cut off', '["a", 3, null, {"b": []}]', '[""]',
    '{"queries": []}', '{"queries": [""]}', '{"queries": {"a": 1}}', '{"queries": "one"}', '{"queries": [null, [], 7]}',
    '{"answer": {"x": [1]}}', '{"answer": null}', '{"answer": 0, "documents": "all"}', '{"answer": "cut',
    '{"answer": "x", "documents": [1e9]}', '{"documents": [' + "1" * 5000 + '], "answer": "x', "[" * 4000,
    '{"a":' * 2000, '["\\ud83d"]', "caf\ud83d", "\x00\x1b[31m", "</documents><|im_end|>", "<search>",
    "<search></search>", "<answer> </answer>", "<search> a, b, c, d, e, f </search>", "<think> hm </think><answer> yes",
    "{} %s {0}", "word " * 3000, "x" * 20_000, NO_INFORMATION, NO_INFORMATION.upper() + "!", '["same"]',
    '{"queries": ["same", "SAME", "other"]}', '["' + "q" * 3000 + '"]', '```json\n["fenced"]\n```', "[NaN, Infinity]",
    "\u2028\u0085", "1. first\n2. second",
]  # fmt: skip


ARGUMENTS = [
    '{"queries": []}', '{"queries": [7, null, {"a": 1}]}', '{"query": "one"}', '{"queries": "[\\"a\\", \\"b\\"]"}',
    '{"q": "same"}', '{"passage": 1}', '{"passage": "[2]"}', '{"passage": [1, 2, 999999999999]}', '{"passage": -1}',
    '{"passage": 1e400}', '{"passage": "one"}', '{"queries": ["</tool_call><tool_call>"]}',
    '{"queries": ["' + '", "'.join(f"many {i}" for i in range(500)) + '"]}',
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Manners:
    """Behaviour of a model: each rate is the share of its calls."""

    seed: int
    garbage: float
    retryable: float
    fatal: float
    slow: float
    usage: str
    """``"true"``, ``"under"``, ``"within"`` the ledger's margin, or far ``"over"`` what was announced."""
    window: int
    scores: bool
    samples: bool
    schema: bool
    tools: bool


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run, or several under a total."""

    mode: Mode
    budget: Budget
    total: Budget
    manners: Manners
    questions: int
    cancel: float | None
    """After how many seconds the first question is cancelled."""


def case(seed: int) -> Case:
    """Everything drawn from one number, evenly: hypothesis favours small values, and few such runs get far."""
    pick = random.Random(seed).choice

    def limit(*values: float) -> Any:
        return pick([None] * 5 + [pick(values)])

    def budget() -> Budget:
        return Budget(
            tokens=limit(0, 9, 150, 300, 450, 600, 800, 1_000, 1_300, 1_700, 2_200, 3_000, 4_000, 6_000, 9_000, 15_000),
            llm_calls=limit(0, 1, 2, 3, 5, 8, 13, 21, 34),
            queries=limit(0, 1, 2, 3, 5, 8, 13, 21),
            rounds=limit(0, 1, 2, 3, 5, 8),
            seconds=limit(0, 0.3, 2, 5, 9.7, 20, 45, 100, 400),
            serial_tokens=limit(0, 9, 300, 600, 1_000, 1_700, 3_000, 6_000),
            serial_calls=limit(0, 1, 2, 3, 5, 8, 13),
            usd=limit(0, 1e-6, 3e-5, 6e-5, 1e-4, 1.5e-4, 2.5e-4, 4e-4, 8e-4, 1.5e-3, 4e-3),
        )

    def rate(often: float) -> float:
        return pick([0.0, 0.0, 0.0, often / 10, often / 3, often])

    modes: list[Mode] = [
        Once(k=pick([1, 3]), context=pick([1, 3])),
        Chain(steps=pick([1, 3, 6]), k=pick([1, 3]), question_k=pick([0, 2]), repeats=pick([0, 1, 2])),
        Parallel(
            rounds=pick([1, 2, 3]), max_queries=pick([1, 2, 3]), k=pick([1, 3]), turn_tokens=pick([1, 8, 96, 1024]),
            profile=pick(["generic", "generic", "rag-r1", "search-r1"]),
        ),
        React(turns=pick([1, 2, 4]), width=pick([1, 2, 3]), k=pick([1, 3]), turn_tokens=pick([1, 8, 96, 1024])),
        Tree(
            steps=pick([1, 2, 4]), expand=pick([1, 2, 4]), samples=pick([1, 4, 6]), rollouts=pick([1, 2]),
            rollout_steps=pick([0, 1, 2]), question_k=pick([0, 2]), k=pick([1, 3]),
        ),
    ]  # fmt: skip
    mode = pick(modes) if pick([True, False]) else any_mode(random.Random(seed), depth=pick([0, 0, 1, 1, 2]))
    return Case(
        mode=mode,
        budget=budget(),
        total=pick([Budget(), Budget(), budget()]),
        manners=Manners(
            seed=seed,
            garbage=rate(0.9),
            retryable=rate(0.6),
            fatal=rate(0.2),
            slow=rate(0.3),
            usage=pick(["true", "under", "within", "within", "over"]),
            window=pick([100_000] * 12 + [2_000, 600, 300, 40]),
            scores=pick([True, True, False]),
            samples=pick([True, True, False]),
            schema=pick([True, True, False]),
            tools=pick([True, True, False]),
        ),
        questions=pick([1, 1, 1, 2, 3]),
        cancel=pick([None] * 5 + [0.0, 0.15, 1.1, 3.3, 8.0]),
    )


class Misbehaving:
    """A scripted model with manners. What a call does depends on the seed and the call's number alone."""

    def __init__(self, manners: Manners) -> None:
        self.manners = manners
        self.excess = 0
        """Tokens charged beyond what the prompt's count and the call's limits announced."""
        self.told = 0
        """Tokens of all usage reports."""
        self.refused: set[int] = set()
        """Indexes of calls whose failure says that nothing was done."""
        self.llm: ScriptedLLM = scripted(
            self.reply,
            usage=self.usage,
            delay=self.delay,
            score=self.score if manners.scores else None,
            context_window=manners.window,
            capabilities=Capabilities(
                continues=True,
                json_schema=manners.schema,
                scoring=manners.scores,
                tokenizer=True,
                samples=manners.samples,
                tools=manners.tools,
            ),
        )

    def dice(self, call: ScriptedCall, what: str) -> random.Random:
        return random.Random(f"{self.manners.seed}|{call.index}|{what}")

    def delay(self, call: ScriptedCall) -> float:
        dice = self.dice(call, "delay")
        return dice.choice([30.0, 3600.0]) if dice.random() < self.manners.slow else dice.choice([0.0, 0.1, 1.0])

    def failure(self, call: ScriptedCall) -> ModelError | None:
        dice = self.dice(call, "failure")
        spend = dice.choice(
            [None, Spend(), Spend(llm_calls=1), Spend(llm_calls=1, prompt_tokens=count(call.messages, call.tools))]
        )
        error = None
        if dice.random() < self.manners.fatal:
            error = dice.choice([ModelError, EndpointError])("refused", "Do not", spend=spend)
        elif dice.random() < self.manners.retryable:
            error = ModelError("busy", retryable=True, spend=spend)
        if error and spend and not spend.llm_calls:
            self.refused.add(call.index)
        return error

    def reply(self, messages: Sequence[Message], call: ScriptedCall) -> Any:
        dice = self.dice(call, "reply")
        texts = never_repeating(messages, call)
        if move_of(call) == "read" and dice.random() < 0.3:
            texts = [NO_INFORMATION] * call.n
        if dice.random() < 0.05 and call.n > 1:
            texts = texts[:-1]  # a sample less than asked for
        return self.failure(call) or [
            self.garbage(dice, call) if dice.random() < self.manners.garbage else text for text in texts
        ]

    def garbage(self, dice: random.Random, call: ScriptedCall) -> str | Said:
        """Nonsense, in the arguments of tool calls too where tools are on offer."""
        if not call.tools or dice.random() < 0.4:
            return dice.choice(GARBAGE)
        names = ["search", "open", "Search", "functions.search", "", "delete", "sea rch", "\ud83d", "x" * 3000]
        calls = [
            ToolCall(dice.choice(names), dice.choice([*GARBAGE, *ARGUMENTS]))
            for _ in range(dice.choice([1, 2, 5, 300]))
        ]
        return Said(dice.choice(["", "Let me see.", "<think> hm", dice.choice(GARBAGE)]), calls)

    def score(self, messages: Sequence[Message], text: str) -> float:
        return random.Random(f"{self.manners.seed}|{messages[-1]['content']}").choice([-9.0, -1.5, 0.0, float("nan")])

    def usage(self, true: Usage, call: ScriptedCall) -> Usage:
        if call.continuation is not None and (failure := self.failure(call)):
            raise failure
        dice, kind = self.dice(call, "usage"), self.manners.usage
        prompt, completion = true.prompt_tokens, true.completion_tokens
        most = len(call.continuation) + 1 if call.continuation is not None else call.max_tokens * call.n
        if kind == "under":
            prompt, completion = dice.randint(0, prompt), dice.randint(0, completion)
        elif kind == "within":
            prompt, completion = dice.randint(prompt, prompt + 8 + prompt // 32), dice.randint(completion, most)
        elif kind == "over":
            prompt, completion = prompt * dice.randint(1, 4), completion * dice.randint(1, 4)
        self.told += prompt + completion
        self.excess += max(0, prompt + completion - true.prompt_tokens - most)
        return Usage(prompt, completion, dice.randint(0, prompt))


def find(query: str) -> list[str]:
    """Some queries find nothing, many find the same."""
    number = len(query) % 7
    return [f"p{i}" for i in range(number * 2)]


@dataclass(frozen=True)
class Outcome:
    answers: list[tuple[Answer, Ledger]]
    total: Ledger
    ended: float


async def play(case: Case, model: Misbehaving) -> Outcome:
    """Ask one or several questions at once under a total, and cancel the first one midway if the case says so."""
    loop = asyncio.get_running_loop()
    ledger = Ledger(case.total, clock=loop.time)
    index = StubIndex(find, words=9, delay=lambda queries: len(queries) % 3 * 0.2)
    agent = Agent(index, model.llm, case.mode, case.budget, prices=PRICE)
    charged = [ledger.child() for _ in range(case.questions)]
    tasks = [asyncio.create_task(agent.aask(f"{QUESTION} {i}", parent=own)) for i, own in enumerate(charged)]
    if case.cancel is not None:
        await asyncio.wait(tasks[:1], timeout=case.cancel)
        tasks[0].cancel()
    await asyncio.wait(tasks)
    ended = loop.time()
    assert (model.llm.running, index.running, await others(), ledger.held) == (0, 0, [], Spend())
    done = [(task.result(), own) for task, own in zip(tasks, charged, strict=True) if not task.cancelled()]
    return Outcome(done, ledger, ended)


def campaign(seed: int) -> None:
    """One case, and all that must hold for it."""
    drawn = case(seed)
    model = Misbehaving(drawn.manners)
    outcome = virtually(lambda: play(drawn, model))
    over = drawn.manners.usage == "over"
    for answer, ledger in outcome.answers:
        check(answer, ledger, drawn.budget, overrun=over)
        along = ("rounds", "serial_tokens", "serial_calls")
        check(answer, ledger, Budget(**{name: getattr(drawn.total, name) for name in along}), overrun=over)
        json.dumps(answer.to_dict(), ensure_ascii=False, allow_nan=False).encode()
        assert answer.text.strip() == answer.text
        if drawn.budget.tokens is not None:
            assert answer.spend.total.tokens <= drawn.budget.tokens + model.excess
        if drawn.budget.usd is not None:
            assert (answer.spend.total.usd or 0.0) <= drawn.budget.usd + PRICE.most(0, model.excess)
    spent = outcome.total.spent
    # The server's own count: nothing that was asked or told is missing in the ledger.
    assert spent.llm_calls == len(model.llm.calls) - len(model.refused)
    assert spent.tokens >= model.told
    for name in ("tokens", "llm_calls", "queries"):
        limit = getattr(drawn.total, name)
        assert limit is None or getattr(spent, name) <= limit + model.excess * (name == "tokens")
    assert drawn.total.usd is None or (spent.usd or 0.0) <= drawn.total.usd + PRICE.most(0, model.excess)
    for seconds in (drawn.budget.seconds, drawn.total.seconds):
        assert seconds is None or outcome.ended <= seconds + 1e-6
    assert len(outcome.answers) >= drawn.questions - (drawn.cancel is not None)


seeds = given(seed=st.integers(0, 2**64 - 1))
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


@seeds
@settings(relaxed, max_examples=1_000, derandomize=True)
def test_no_limit_is_passed_and_every_run_ends(seed: int) -> None:
    campaign(seed)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(200))  # for several processes; hypothesis slows down in tens of thousands
@seeds
@settings(relaxed, max_examples=1_000, derandomize=False)
def test_no_limit_is_passed_in_a_long_campaign(part: int, seed: int) -> None:
    campaign(seed)
