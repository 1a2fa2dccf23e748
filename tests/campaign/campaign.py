"""Random runs over fake model servers of every kind, and all that must hold for each of them.

A case is drawn from one number. To see again what one did::

    PYTHONPATH=tests/modes python tests/campaign/campaign.py 4711
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import json
import os
import random
import string
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from unittest import mock

from any_mode import any_mode
from fake_kinds import BLIND, HARD, PARTLY, THOUGHT, Fake, Fakes, Kind, Truth, tagged
from fake_tokens import DENSE, ORDINARY

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget, Ledger
from ragscale.endpoint.retry import attempts
from ragscale.llm.prices import Price
from ragscale.modes import Chain, Mode, Once, Parallel, React, Tree
from ragscale.types import Hit, Passage, Spend, Usage

__all__ = ["Shelf", "impatient", "run_cases", "says_estimate", "told"]

STOPS = {"answered", "failed", *(f"budget:{f.name}" for f in fields(Budget))}
PRICE = Price(input=0.15, output=0.6, cached=0.075)
MUST_THINK = 1_000
"""Tokens of a thought that a run without limits has to have room for."""
LATE = 20.0
"""Seconds that a busy machine may be late with the end of a run: more than most of these take, so that it catches one
that waits for ever. That a limit of seconds ends a run is held to the server's clock, in `test_campaign`."""


def says_estimate(answer: Answer) -> bool:
    """Whether the answer says that its limit of tokens rests on an estimate. ADAPT HERE to how it is said."""
    return "estimate" in json.dumps(answer.to_dict(), default=str).casefold()


# -- what is searched


class Shelf:
    """An index in memory: which passages a query finds is a function of the query.

    Args:
        mixed: Whether a third of the passages are numbers, code, emoji or another script: dense, for most tokenizers.
    """

    def __init__(self, mixed: bool) -> None:
        plain = _passages()
        odd = _oddities() if mixed else []
        self._passages = {p.id: p for p in [*plain[: 2 * len(odd) or None], *odd]}
        self._ids = list(self._passages)

    async def asearch(self, queries: Sequence[str], k: int = 10, how: Any = None) -> list[list[Hit]]:
        return [[Hit(self.passage(id), 1.0 / n) for n, id in enumerate(self._find(query, k), 1)] for query in queries]

    def _find(self, query: str, k: int) -> list[str]:
        number = zlib.crc32(query.encode("utf-8", "replace"))
        if number % 11 == 0:
            return []
        return [self._ids[(number + 13 * i) % len(self._ids)] for i in range(k)]

    def passage(self, identity: str) -> Passage:
        return self._passages[identity]

    def close(self) -> None:
        pass


@functools.cache
def _passages() -> list[Passage]:
    path = Path(__file__).resolve().parents[2] / "corpora" / "elements" / "passages.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Passage(row["id"], row["title"], row["text"]) for row in rows]


@functools.cache
def _oddities() -> list[Passage]:
    dice = random.Random(0)
    made = [
        lambda: " ".join(f"{dice.random():.6f}" for _ in range(60)),
        lambda: " ".join(str(dice.randrange(10)) for _ in range(150)),
        lambda: "鉄道の歴史は十八世紀のイギリスで始まり、産業革命とともに世界中へ広がった。" * dice.randint(1, 9),
        lambda: "Железнодорожный транспорт возник в начале XIX века. " * dice.randint(1, 9),
        lambda: "भारत की पहली रेलगाड़ी १८५३ में चली। " * dice.randint(1, 9),
        lambda: "🚂🚃🚃 🇩🇪👩‍👩‍👧 ✨ " * dice.randint(3, 30),
        lambda: "if (a[i] != b[j]) { x += ~(y ^ z) % 7; } else { return {}; } " * dice.randint(1, 9),
        lambda: "".join(dice.choice(string.ascii_letters + string.digits + "+/") for _ in range(500)),
        lambda: "x" * dice.randint(100, 900),
    ]  # fmt: skip
    return [Passage(f"odd-{i}", f"Odd {i}", made[i % len(made)]()) for i in range(9 * 14)]


# -- what is drawn


@dataclass(frozen=True, kw_only=True)
class Bout:
    """Questions that are asked at once."""

    mode: Mode
    budget: Budget
    total: Budget | None
    """Of all together; None for a single question that is asked for itself."""
    questions: int
    concurrency: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """One server and one agent, and the bouts that follow one another on it: what a model learns, it keeps."""

    seed: int
    kind: Kind
    mixed: bool
    """Whether some passages are dense; see `Shelf`."""
    bouts: list[Bout]

    @property
    def runs(self) -> int:
        return sum(bout.questions for bout in self.bouts)


def draw(seed: int, *, long: bool = False) -> Case:
    """A case; `long` ones have wider trees and more questions at once."""
    dice = random.Random(seed)
    kind = _kind(dice)
    bouts = [_bout(dice, kind, long) for _ in range(dice.choice([1, 1, 1, 2, 3] if long else [1, 1, 1, 1, 1, 2, 3]))]
    return Case(seed=seed, kind=kind, mixed=dice.random() < 0.35, bouts=bouts)


def _kind(dice: random.Random) -> Kind:
    """A good server but for one to four things."""
    pick = dice.choice
    route = pick(["", "", "", "vllm", "llama"])
    told: dict[str, Any] = {
        "tokenizer": pick([*ORDINARY, *ORDINARY, *DENSE]),
        "head": pick([2, 4, 4, 8]),
        "preamble": pick([0, 0, 0, 25]),
        "route": route,
        "tools": pick(["", "calls", "calls", "once"]),
        "window_in": pick(
            ["", "", "max_model_len", "context_length", "context_window", "max_context_length", "meta.n_ctx", "props"]
        ),
    }
    odd: list[dict[str, Any]] = [
        {"usage": pick([*HARD[1:], *BLIND])},
        {"usage": pick([*PARTLY, *BLIND])},
        {"usage": pick(["absent", "zeros"])},
        {"off": pick([1, 5, 20])},
        {"models": pick(["404", "405", "500", "501", "502", "400", "403", "422", "list", "html", "null", "nothing",
                         "empty", "names", "other", "wildcard", "many"])},
        {"thought": pick([20, 100, 150, 400, 900]), "cut": pick([None, ""]),
         "thought_in": pick(["reasoning_content", "reasoning", "tags", "end_tag", "hidden"]),
         "switch": pick(["", "", "enable_thinking", "reasoning_effort"])},
        {"overshoot": pick([5, 60, 400])},
        {"limit_field": "max_completion_tokens", "refuses": ("temperature",)},
        {"limit_field": pick(["any", "max_completion_tokens"])},
        {"system": False},
        {"refuses": pick([("temperature",), ("n",), ("seed",), ("logprobs",), ("response_format", "structured_outputs"),
                          ("n", "logprobs", "seed")])},
        {"ignores": pick([("n",), ("response_format",), ("logprobs", "n"), ("response_format", "logprobs", "n")])},
        {"least": 16},
        {"window": pick([1_500, 4_096, 8_192])},
        {"failure": pick(["429", "503", "500", "cut", "gone", "few", "error200", "error429", "none", "html",
                          "choices_null"]), "rate": pick([0.1, 0.4, 1.0])},
        {"failure": pick(["500", "cut", "gone", "few", "error200"]), "rate": pick([0.2, 0.5])},
        {"failure": pick(["refusal", "content_filter", "finish_error", "402", "403"]), "rate": pick([0.3, 1.0])},
        {"slow": 0.08},
        {"content": pick(["parts", "fenced"])},
        {"garbled": pick([0.2, 0.9])},
    ]  # fmt: skip
    for part in dice.sample(odd, k=pick([1, 1, 2, 2, 3])):
        told |= part
    if told.get("usage") == "low" and not route:
        told["usage"] = "absent"  # nobody can see through that lie
    if told.get("usage") in BLIND and told.get("thought_in") == "hidden":
        told["thought_in"] = "tags"  # nor through two
    if told.get("thought_in") == "hidden" and told["thought"]:
        told["usage"] = pick(["honest", "hidden"])
    elif told.get("usage") == "hidden":
        told |= {"thought": 100, "thought_in": "hidden"}
    if told.get("thought_in") == "end_tag":
        told["thought"] = min(told["thought"], 400)  # only its end tells what it is, and a trial has to reach that
    if told.get("usage") in (*BLIND, *PARTLY):
        told.pop("off", None)  # without an honest report nobody can know by how much
    if not route:
        told.pop("off", None)
    if told.get("usage") == "first_sample":
        told.pop("ignores", None)
        told.pop("refuses", None)
        told.pop("thought", None)
    return Kind(**told)


def _bout(dice: random.Random, kind: Kind, long: bool) -> Bout:
    pick = dice.choice

    def limit(often: float, *values: float) -> Any:
        return pick(values) if dice.random() < often else None

    def budget(times: int = 1) -> Budget:
        if dice.random() < 0.12:
            return Budget()
        tokens = limit(0.65, 0, 9, 150, 400, 800, 1_300, 2_000, 3_000, 4_000, 6_000, 9_000, 16_000)
        return Budget(
            tokens=None if tokens is None else tokens * times,
            llm_calls=limit(0.2, 0, 1, 2, 3, 5, 8, 13, 21 * times),
            queries=limit(0.2, 0, 1, 2, 3, 5, 8, 13 * times),
            rounds=limit(0.2, 0, 1, 2, 3, 5),
            seconds=limit(0.12, 0, 0.05, 0.2, 0.5, 30.0),
            serial_tokens=limit(0.1, 0, 150, 800, 2_000, 4_000, 9_000),
            serial_calls=limit(0.1, 0, 1, 2, 5, 13),
            usd=limit(0.15, 0, 1e-6, 1e-4, 2e-4, 4e-4, 8e-4, 2e-3),
        )

    modes: list[Mode] = [
        Once(k=pick([1, 3, 8]), context=pick([1, 3, 8])),
        Chain(steps=pick([1, 3, 6]), k=pick([1, 3, 5]), question_k=pick([0, 2, 5]), repeats=pick([0, 1, 2]),
              context=pick([3, 8])),
        Parallel(rounds=pick([1, 2, 4]), max_queries=pick([1, 2, 3]), k=pick([1, 3]), turn_tokens=pick([8, 96, 1024]),
                 profile=pick(["generic", "rag-r1"]), continued=False, question_k=pick([0, 3])),
        Parallel(rounds=pick([2, 4]), profile=pick(["generic", "rag-r1"]), continued=False),
        React(turns=pick([1, 2, 4]), width=pick([1, 2, 3]), k=pick([1, 3]), tools=pick(["auto", "auto", "json"]),
              turn_tokens=pick([8, 96, 1024])),
        Tree(steps=pick([1, 2]), expand=pick([1, 2, 4 if long else 3]), samples=pick([1, 4]), rollouts=pick([1, 2]),
             rollout_steps=pick([0, 1]), question_k=pick([0, 2]), k=pick([1, 3])),
    ]  # fmt: skip
    whole = {"continued": False, "answer_tokens": 0, "plan_tokens": 0, "read_tokens": 0, "turn_tokens": 1024}
    modes += [any_mode(dice, depth=pick([0, 0, 1, 2 if long else 1]), **whole) for _ in range(3)]
    questions = pick([1] * 12 + [2, 2, 4, 4, 8, 32] if long else [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 8])
    mode = pick(modes[:3] if questions > 4 else modes)
    total = None if questions == 1 and dice.random() < 0.7 else pick([Budget(), budget(questions)])
    concurrency = questions if questions > 8 else pick([1, 2, 8, 32])
    if kind.rate == 1.0:  # all attempts are made in vain, four a call
        mode = pick(modes[:4])
    return Bout(mode=mode, budget=budget(), total=total, questions=questions, concurrency=concurrency)


# -- what is done


@dataclass
class Outcome:
    """Outcome of a bout."""

    bout: Bout
    answers: list[Answer]
    tags: list[str]
    seconds: float
    parent: Ledger | None


async def play(case: Case, fake: Fake) -> list[Outcome]:
    """Ask all bouts of a case on one agent, one after another."""
    shelf: Any = Shelf(case.mixed)  # all that modes need
    agent = Agent(shelf, fake.spec, seed=case.seed, prices=PRICE)
    outcomes = []
    numbers = itertools.count()
    try:
        for bout in case.bouts:
            asked = [next(numbers) for _ in range(bout.questions)]
            questions = [tagged("Which lamp is older, that of the mine or the harbour", number) for number in asked]
            parent = Ledger() if bout.total is None else None
            started = time.monotonic()
            if bout.total is None:
                [question] = questions
                answers = [await agent.aask(question, mode=bout.mode, budget=bout.budget, parent=parent)]
            else:
                answers = await agent.abatch(
                    questions, mode=bout.mode, budget=bout.budget, total=bout.total, concurrency=bout.concurrency
                )
            seconds = time.monotonic() - started
            outcomes.append(Outcome(bout, answers, [f"zq{number:06d}" for number in asked], seconds, parent))
    finally:
        await agent.llm.aclose()
    return outcomes


# -- what must hold


def problems(case: Case, fake: Fake, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Everything that does not hold, in words."""
    kind = case.kind
    for outcome in outcomes:
        bout, budget = outcome.bout, outcome.bout.budget
        truths = [fake.truth[tag] for tag in outcome.tags]
        for answer, truth in zip(outcome.answers, truths, strict=True):
            yield from _ends(answer)
            yield from _adds_up(answer, outcome.parent)
            excess = _excess(bout, [truth]) if _exact(kind) else None
            yield from _limits(answer, budget, bout.total, excess)
            yield from _tokens(case, bout, answer, truth)
            yield from _calls(kind, bout, answer, truth)
            yield from _use(kind, bout, answer, truth)
        total = bout.total or Budget()
        spends = [answer.spend.total for answer in outcome.answers]
        beyond = _excess(bout, truths)
        for name in ("queries", "llm_calls", "tokens", "usd"):
            limit, used = getattr(total, name), round(sum(getattr(spend, name) for spend in spends), 12)
            excess = {"tokens": beyond, "usd": PRICE.most(0, beyond)}.get(name, 0)
            if limit is not None and used > limit + excess and (name not in ("tokens", "usd") or _exact(kind)):
                yield f"the batch's ledgers have {used} {name} of {limit}"
        true, excess = sum(truth.tokens for truth in truths), _excess(bout, truths)
        if total.tokens is not None and _binding(case, outcome.answers) and true > total.tokens + excess:
            yield f"OVERRUN of a batch: {true} tokens of {total.tokens}"
        for seconds in (budget.seconds, total.seconds):
            if seconds is not None and bout.questions <= bout.concurrency and outcome.seconds > seconds + LATE:
                yield f"took {outcome.seconds:.1f} s of {seconds}"


def _ends(answer: Answer) -> Iterator[str]:
    if answer.stop_reason not in STOPS:
        yield f"stop reason {answer.stop_reason!r}"
    if answer.stop_reason == "answered" and not answer.text.strip():
        yield "answered, without an answer"
    whole = answer.stop_reason == "answered" and "ended by the server" not in answer.reason
    if bool(answer.reason) == whole:
        yield f"reason {answer.reason!r} of {answer.stop_reason}"
    if THOUGHT in answer.text:
        yield f"a thought in the answer: {answer.text[:60]!r}"
    json.dumps(answer.to_dict(), allow_nan=False, ensure_ascii=False).encode()


def _adds_up(answer: Answer, parent: Ledger | None) -> Iterator[str]:
    total, serial = asdict(answer.spend.total), asdict(answer.spend.serial)
    traced = asdict(sum((event.spend for event in answer.trace), Spend()))
    for name, value in total.items():
        near = 1e-6 if name == "seconds" else 0
        if abs(value - traced[name]) > near:
            yield f"ledger {value} {name}, trace {traced[name]}"
        if serial[name] > value + near or serial[name] < 0:
            yield f"serial {serial[name]} {name}, total {value}"
        if parent is not None and abs(getattr(parent.spent, name) - value) > near:
            yield f"the parent was charged {getattr(parent.spent, name)} {name}, the run {value}"
    if parent is not None and parent.held != Spend():
        yield f"still held: {parent.held}"


def _limits(answer: Answer, budget: Budget, together: Budget | None, excess: int | None) -> Iterator[str]:
    """`excess`: tokens that may have been written beyond a limit; None where nobody can know."""
    total, serial = answer.spend.total, answer.spend.serial
    used = [("queries", total.queries, budget.queries), ("llm_calls", total.llm_calls, budget.llm_calls)]
    along = {"rounds": serial.rounds, "serial_calls": serial.llm_calls, "serial_tokens": serial.tokens}
    for name, spent in along.items():
        limits = [getattr(b, name) for b in (budget, together) if b is not None and getattr(b, name) is not None]
        if name != "serial_tokens":
            used.append((name, spent, min(limits, default=None)))
        elif excess is not None and limits:
            used.append((name, spent, min(limits) + excess))
    if excess is not None and budget.usd is not None:
        used.append(("usd", total.usd, budget.usd + PRICE.most(0, excess)))
    for name, spent, limit in used:
        if limit is not None and spent > limit:
            yield f"{spent} {name} of {limit}"
    if total.usd != PRICE.usd(Usage(total.prompt_tokens, total.completion_tokens, total.cached_tokens)):
        yield f"{total.usd} dollars for {total}"
    if budget.seconds is not None and serial.seconds > budget.seconds + LATE:
        yield f"{serial.seconds:.2f} seconds of {budget.seconds}"


def _binding(case: Case, answers: Sequence[Answer]) -> bool:
    """Whether limits of tokens must hold by the server's count: else they rest on an estimate, and that is too low.

    Exempt are servers without a tokenizer route whose usage cannot be believed (`BLIND`), or can in part and the answer
    says that it rests on an estimate (`PARTLY`), where the texts are dense or the tokenizer is not an `ORDINARY` one.
    """
    kind = case.kind
    if kind.usage in HARD or kind.route:
        return True
    if kind.usage in PARTLY and not any(map(says_estimate, answers)):
        return True
    return kind.tokenizer in ORDINARY and not case.mixed


def _exact(kind: Kind) -> bool:
    """Whether what is charged is what was written: an estimate of what was written beyond a limit may be above it."""
    return kind.honours or kind.usage in HARD


def _excess(bout: Bout, truths: Sequence[Truth]) -> int:
    """Tokens that calls in flight may write beyond a limit once it is reached."""
    branches = bout.mode.expand * bout.mode.rollouts if isinstance(bout.mode, Tree) else 1
    width = branches * min(bout.questions, bout.concurrency)
    return sum(sorted((over for truth in truths for over in truth.overshoots), reverse=True)[:width])


def _tokens(case: Case, bout: Bout, answer: Answer, truth: Truth) -> Iterator[str]:
    kind, limit, charged = case.kind, bout.budget.tokens, answer.spend.total.tokens
    binding = _binding(case, [answer])
    if limit is not None and binding and truth.tokens > limit + _excess(bout, [truth]):
        yield f"OVERRUN: {truth.tokens} tokens of {limit} (ledger {charged})"
    if limit is not None and charged > limit + _excess(bout, [truth]) and _exact(kind):
        yield f"OVERRUN by its own ledger: {charged} tokens of {limit} (server {truth.tokens})"
    # What a failed or late call wrote beyond its limit, or had for a prompt too dense for an estimate, nobody can know.
    timed = _timed(bout)
    knowable = not (truth.failed or timed) or (kind.honours and (kind.route or not case.mixed))
    if kind.usage in HARD and knowable and charged < truth.tokens - kind.off * truth.failed:
        yield f"UNDERCHARGED: {charged} tokens, the server counts {truth.tokens}"
    told = kind.usage in HARD and kind.usage != "first_sample" and not truth.failed and not timed
    if told and charged != truth.tokens:
        yield f"charged {charged} tokens, the server reported {truth.tokens}"
    blind = kind.usage in BLIND and not kind.route
    if blind and limit is not None and truth.tokens and not says_estimate(answer):
        yield "does not say that its limit rests on an estimate"


def _timed(bout: Bout) -> bool:
    return any(budget is not None and budget.seconds is not None for budget in (bout.budget, bout.total))


def _calls(kind: Kind, bout: Bout, answer: Answer, truth: Truth) -> Iterator[str]:
    calls = answer.spend.total.llm_calls
    if truth.calls > calls or (truth.calls < calls and not _timed(bout)):
        yield f"{calls} calls charged, the server saw {truth.calls}"


def _use(kind: Kind, bout: Bout, answer: Answer, truth: Truth) -> Iterator[str]:
    """That a run without limits is a whole one, and that the server's word is passed on."""
    open_ended = all(b is None or b == Budget() for b in (bout.budget, bout.total))
    roomy = kind.window >= 8_192 and kind.thought <= MUST_THINK and getattr(bout.mode, "turn_tokens", 1024) >= 96
    if open_ended and roomy and not kind.failure and not kind.garbled:
        if answer.stop_reason != "answered":
            yield f"no limit, no failure: {answer.stop_reason}: {answer.reason}"
        if truth.lost > 2:
            yield f"{truth.lost} calls of {truth.calls} were cut within a thought"
    if open_ended and kind.rate == 1.0 and truth.calls:
        notes = f"{answer.reason} {' '.join(event.note for event in answer.trace)}".casefold()
        words = {"refusal": "assist", "content_filter": "content_filter", "402": "credits", "403": "moderation",
                 "error200": "upstream", "error429": "provider", "finish_error": "error"}  # fmt: skip
        if words.get(kind.failure, "") not in notes:
            yield f"the server's word ({kind.failure}) is not passed on: {notes[:200]}"
        if kind.failure == "refusal" and isinstance(bout.mode, Once) and truth.calls > 1:
            yield f"a refusal was paid {truth.calls} times"


# -- running them


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Without waits between attempts, without a key or a proxy from outside, without warnings."""
    parameters = inspect.signature(attempts).parameters.values()
    defaults = tuple(0.0 if p.name in ("base", "cap") else p.default for p in parameters)
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    clean["OPENAI_API_KEY"] = "sk-fake"
    with (
        mock.patch.object(attempts, "__defaults__", defaults),
        mock.patch.dict(os.environ, clean, clear=True),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def run_case(case: Case, fakes: Fakes) -> list[str]:
    """Play one case and say what does not hold."""
    fake = fakes.add(case.kind)
    try:
        outcomes = asyncio.run(asyncio.wait_for(play(case, fake), 120))
    except Exception as error:  # none may leave an ask
        last = traceback.extract_tb(error.__traceback__)[-1]
        return [f"RAISED {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"]
    else:
        return list(dict.fromkeys(problems(case, fake, outcomes)))
    finally:
        fakes.drop(fake)


@dataclass
class Report:
    """Report on many cases."""

    runs: int = 0
    cases: int = 0
    failures: list[tuple[Case, list[str]]] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"{len(self.failures)} of {self.cases} cases failed, {self.runs} runs in {self.seconds:.0f} s"]
        kinds = Counter(_shape(problem) for _, found in self.failures for problem in found)
        lines += [f"  {count:4} x {shape}" for shape, count in kinds.most_common()]
        for case, found in self.failures[:60]:
            lines.append(f"case {case.seed}: {case.kind.name}{' MIXED' if case.mixed else ''}")
            lines += [f"    {problem}" for problem in found[:3]]
        return "\n".join(lines)


def _shape(problem: str) -> str:
    """A problem without its numbers."""
    return "".join("#" if char.isdigit() else char for char in problem.partition(" (")[0])[:80]


def run_cases(first: int, runs: int, *, long: bool = False) -> Report:
    """Cases from seed `first` on until `runs` runs were made."""
    report = Report()
    started = time.monotonic()
    with Fakes() as fakes, impatient():
        for seed in itertools.count(first):
            if report.runs >= runs:
                break
            case = draw(seed, long=long)
            found = run_case(case, fakes)
            report.runs += case.runs
            report.cases += 1
            if found:
                report.failures.append((case, found))
    report.seconds = time.monotonic() - started
    return report


def told(seed: int, *, long: bool = False) -> str:
    """One case in full."""
    case = draw(seed, long=long)
    lines = [f"{case.kind}", *(f"{bout}" for bout in case.bouts)]
    with Fakes() as fakes, impatient():
        fake = fakes.add(case.kind)
        outcomes = asyncio.run(play(case, fake))
        for outcome in outcomes:
            for tag, answer in zip(outcome.tags, outcome.answers, strict=True):
                lines += [f"{tag} {answer.stop_reason} {answer.text!r} {answer.reason!r} {answer.spend.total}"]
                lines += [f"    {event.move} {event.branch} {event.spend} {event.note}" for event in answer.trace]
                lines += [f"    TRUTH {fake.truth[tag]}"]
        lines += [f"PROBLEM {problem}" for problem in problems(case, fake, outcomes)]
    return "\n".join(lines)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        print(told(int(given.removesuffix("long")), long=given.endswith("long")))
