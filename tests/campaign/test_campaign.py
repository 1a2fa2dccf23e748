"""Runs over fake servers of every kind, misreporting in every way: limits hold by the server's count.

The default suite makes some 300 runs in a quarter of a minute. The long campaign makes 5,000 with wider trees and up to
32 questions at once, in 25 parts of a seed each, in some five minutes on one core::

    pytest tests/campaign/test_campaign.py -m slow --numprocesses auto

A failure names its cases by their seeds; ``PYTHONPATH=tests/modes python tests/campaign/campaign.py 4711`` tells one in
full (``4711long`` if it is of the long campaign).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from campaign import Shelf, impatient, run_cases
from fake_kinds import Fakes, Kind, tagged

from ragscale.agent import Agent
from ragscale.answer import Answer
from ragscale.budget import Budget

PARTS, RUNS = 25, 200


@pytest.mark.parametrize("part", range(3))
def test_limits_hold_by_the_servers_count(part: int) -> None:
    report = run_cases(10_000 * part, 100)
    if report.failures:
        pytest.fail(f"{report}", pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_limits_hold_in_a_long_campaign(part: int) -> None:
    report = run_cases(1_000_000 + 10_000 * part, RUNS, long=True)
    if report.failures:
        pytest.fail(f"{report}", pytrace=False)


@pytest.mark.parametrize(
    "mode", ["chain(steps=8)", "parallel(rounds=8)", "revise", "tree(steps=4, expand=1, samples=1, rollouts=1)"]
)
def test_a_limit_of_seconds_holds_by_the_servers_clock(mode: str) -> None:
    """Calls of a second each, one after another: as many as the limit has seconds, and the one that it cuts."""
    whole, calls = asked(mode, Kind(), Budget())
    assert (whole.stop_reason, calls > 5) == ("answered", True)
    cut, calls = asked(mode, Kind(slow=1.0, slow_rate=1.0), Budget(seconds=3))
    assert calls <= 4
    assert cut.stop_reason == "budget:seconds"


def asked(mode: str, kind: Kind, budget: Budget) -> tuple[Answer, int]:
    """The answer to a question, and the calls that the server saw for it."""
    shelf: Any = Shelf(False)

    async def ask(spec: str) -> Answer:
        agent = Agent(shelf, spec)
        try:
            question = tagged("Which lamp is older, that of the mine or the harbour", 1)
            return await agent.aask(question, mode=mode, budget=budget)
        finally:
            await agent.llm.aclose()

    with Fakes() as fakes, impatient():
        fake = fakes.add(kind)
        answer = asyncio.run(ask(fake.spec))
        return answer, fake.truth["zq000001"].calls
