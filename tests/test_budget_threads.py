"""One family of ledgers under many threads and tasks."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from ragscale.budget import Budget, Ledger
from ragscale.errors import BudgetExceeded
from ragscale.types import Spend

CALL = Spend(llm_calls=1, prompt_tokens=60, completion_tokens=40)


def test_many_threads_never_pass_a_limit() -> None:
    """Threads reserve, keep, settle and refund in one family; at no moment is more granted than there is."""
    batch = Ledger(Budget(tokens=5_000, llm_calls=50, queries=40))
    questions = [batch.child(Budget(tokens=1_500)) for _ in range(4)]
    start = threading.Barrier(16)
    left: list[float] = []
    granted: list[Spend] = []

    def work(number: int) -> None:
        ledger = questions[number % 4]
        start.wait()
        for turn in range(200):
            try:
                with ledger.reserve(Spend(llm_calls=1, prompt_tokens=100, queries=turn % 2)) as held:
                    left.append(min(batch.left("tokens"), ledger.left("tokens"), batch.left("llm_calls")))
                    if turn % 3:
                        held.refund()
                    else:
                        actual = Spend(llm_calls=1, prompt_tokens=40 + number, queries=turn % 2)
                        granted.append(actual)
                        held.settle(actual)
            except BudgetExceeded:
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(granted, Spend())
    assert batch.held == Spend()
    assert batch.spent == total == sum((question.spent for question in questions), Spend())
    assert (total.tokens <= 5_000, total.llm_calls <= 50, total.queries <= 40) == (True, True, True)
    assert all(question.spent.tokens <= 1_500 for question in questions)
    assert min(left) >= 0
    assert total.llm_calls > 30  # the threads did compete for what there was


def test_one_reservation_settled_by_many_threads_is_charged_once() -> None:
    for _ in range(50):
        ledger = Ledger()
        held = ledger.reserve(CALL)
        start = threading.Barrier(8)

        def settle(start: threading.Barrier = start, held: Any = held) -> None:
            start.wait()
            held.settle(CALL)

        threads = [threading.Thread(target=settle) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (ledger.spent, ledger.held) == (CALL, Spend())


async def test_tasks_compete_for_one_limit() -> None:
    ledger = Ledger(Budget(llm_calls=7))

    async def call() -> bool:
        try:
            with ledger.reserve(CALL) as held:
                await asyncio.sleep(0)
                held.settle(CALL)
        except BudgetExceeded:
            return False
        return True

    done = await asyncio.gather(*(call() for _ in range(30)))
    assert (sum(done), ledger.spent.llm_calls, ledger.held) == (7, 7, Spend())
