"""Admission to a shared space."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from ragscale.llm.semaphore import WeightedSemaphore


async def test_what_is_inside_never_weighs_more_and_all_get_in() -> None:
    semaphore, inside, most, done = WeightedSemaphore(10), 0, 0, 0
    source = random.Random(1)

    async def work(weight: int) -> None:
        nonlocal inside, most, done
        async with semaphore.admit(weight):
            inside += weight
            most = max(most, inside)
            await asyncio.sleep(source.random() / 200)
            inside -= weight
        done += 1

    await asyncio.gather(*(work(source.randint(1, 10)) for _ in range(200)))
    assert (inside, done) == (0, 200)
    assert 8 <= most <= 10


async def test_first_come_first_served() -> None:
    semaphore, order = WeightedSemaphore(10), []

    async def work(name: str, weight: int) -> None:
        async with semaphore.admit(weight):
            order.append(name)
            await asyncio.sleep(0.01)

    await asyncio.gather(work("a", 6), work("large", 10), work("small", 1))
    assert order == ["a", "large", "small"]  # nothing small overtakes for ever


async def test_too_heavy_goes_in_alone() -> None:
    semaphore = WeightedSemaphore(10)
    async with asyncio.timeout(5), semaphore.admit(99):
        pass


async def test_cancelled_waiters_and_failures_leave_no_trace() -> None:
    semaphore = WeightedSemaphore(1)
    with pytest.raises(ValueError, match="inside"):
        async with semaphore.admit(1):
            raise ValueError("inside")

    async def hold() -> None:
        async with semaphore.admit(1):
            await asyncio.sleep(60)

    source = random.Random(2)
    for _ in range(50):
        tasks = [asyncio.create_task(hold()) for _ in range(4)]
        for task in source.sample(tasks, 4):
            if source.random() < 0.5:
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5), semaphore.admit(1):
        pass


def test_loops_in_several_threads_share_it() -> None:
    semaphore, lock = WeightedSemaphore(2), threading.Lock()
    inside, most = 0, 0

    async def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            async with semaphore.admit(1):
                with lock:
                    inside += 1
                    most = max(most, inside)
                await asyncio.sleep(0.001)
                with lock:
                    inside -= 1

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 2)
