"""A value found out once, by whichever loop or thread asks first."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ragscale.llm.memo import Memo


async def test_many_ask_and_one_computes() -> None:
    memo: Memo[int] = Memo()
    computed: list[int] = []

    async def compute() -> int:
        computed.append(1)
        await asyncio.sleep(0.01)
        return 7

    assert await asyncio.gather(*(memo.get(compute) for _ in range(20))) == [7] * 20
    assert len(computed) == 1
    assert memo.wait(compute) == memo.value == 7


async def test_an_error_goes_to_its_caller_and_the_next_one_tries() -> None:
    memo: Memo[int] = Memo()
    outcomes: list[object] = [ValueError("first"), 7]

    async def compute() -> int:
        await asyncio.sleep(0.01)
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return 7

    results = await asyncio.gather(*(memo.get(compute) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, int, int]


async def test_cancelling_a_waiter_or_the_worker_harms_nobody() -> None:
    memo: Memo[int] = Memo()

    async def compute() -> int:
        await asyncio.sleep(0.05)
        return 7

    worker, waiter, other = [asyncio.create_task(memo.get(compute)) for _ in range(3)]
    await asyncio.sleep(0.01)
    waiter.cancel()
    worker.cancel()
    assert await other == 7
    for task in (worker, waiter):
        with pytest.raises(asyncio.CancelledError):
            await task


def test_threads_share_one_computation() -> None:
    memo: Memo[int] = Memo()
    computed: list[int] = []
    results: list[int] = []

    async def compute() -> int:
        computed.append(1)
        await asyncio.sleep(0.05)
        return 7

    threads = [threading.Thread(target=lambda: results.append(asyncio.run(memo.get(compute)))) for _ in range(8)]
    threads += [threading.Thread(target=lambda: results.append(memo.wait(compute))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (results, len(computed)) == ([7] * 16, 1)
