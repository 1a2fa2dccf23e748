"""Runs over fake servers of every kind, misreporting in every way: limits hold by the server's count.

The default suite makes some 300 runs in a quarter of a minute. The long campaign makes 5,000 with wider trees and up to
32 questions at once, in 25 parts of a seed each, in some five minutes on one core::

    pytest tests/campaign/test_campaign.py -m slow --numprocesses auto

A failure names its cases by their seeds; ``PYTHONPATH=tests/modes python tests/campaign/campaign.py 4711`` tells one in
full (``4711long`` if it is of the long campaign).
"""

from __future__ import annotations

import pytest
from campaign import run_cases

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
