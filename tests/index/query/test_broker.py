"""The broker: what goes in from many threads and loops comes out right, whoever it met on the way."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from ragscale.errors import BadDocument, InvalidInput, RagscaleError
from ragscale.index.query.broker import Broker


class Machine:
    """Doubles numbers; refuses negative ones; can be held in the middle of a batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.busy = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.threads.add(threading.get_ident())
        self.busy.set()
        assert self.go.wait(30)
        if any(number < 0 for number in batch):
            raise ValueError("negative")
        return [number * 2 for number in batch]

    def hold(self, broker: Broker[int, int]) -> None:
        """Let the worker start a batch of one (the number 0) and keep it there."""
        self.go.clear()
        self.busy.clear()
        broker.submit(0)
        assert self.busy.wait(30)


def test_what_waits_becomes_one_batch() -> None:
    machine = Machine()
    broker = Broker(machine)
    machine.hold(broker)
    futures = [broker.submit(number) for number in range(1, 65)]
    machine.go.set()
    assert [future.result(30) for future in futures] == [number * 2 for number in range(1, 65)]
    assert machine.batches == [[0], list(range(1, 65))]
    broker.close()


def test_batches_have_a_limit_of_work() -> None:
    """A request that does not fit waits for the next batch, and is counted as waiting; a single one may be more."""
    machine = Machine()
    broker = Broker(machine, work=lambda number: number, max_work=10)
    machine.hold(broker)
    futures = [broker.submit(number) for number in (3, 7, 1, 50, 4, 6, 1)]
    machine.busy.clear()
    machine.go.set()
    assert [future.result(30) for future in futures] == [6, 14, 2, 100, 8, 12, 2]
    assert machine.batches == [[0], [3, 7], [1], [50], [4, 6], [1]]
    assert broker.load == (0, 6, 8)
    machine.hold(broker)
    late = [broker.submit(number) for number in (9, 2)]
    machine.busy.clear()
    broker_waits = broker.load.waiting
    broker.close(0)
    machine.go.set()
    assert [future.result(30) for future in late] == [18, 4]  # what was handed in is finished, whatever held it up
    assert broker_waits == 2


def test_batches_have_a_limit() -> None:
    machine = Machine()
    broker = Broker(machine, max_batch=10)
    machine.hold(broker)
    futures = [broker.submit(number) for number in range(1, 26)]
    machine.go.set()
    assert [future.result(30) for future in futures] == [number * 2 for number in range(1, 26)]
    assert [len(batch) for batch in machine.batches] == [1, 10, 10, 5]
    broker.close()
    with pytest.raises(InvalidInput, match="max_batch 0"):
        Broker(machine, max_batch=0)


def test_many_threads_and_loops_share_one_worker() -> None:
    machine = Machine()
    broker = Broker(machine)

    async def ask(number: int) -> int:
        return await asyncio.wrap_future(broker.submit(number))

    async def ask_all(start: int) -> list[int]:
        return list(await asyncio.gather(*(ask(number) for number in range(start, start + 16))))

    def thread(start: int) -> list[int]:
        return (
            asyncio.run(ask_all(start)) if start % 32 else [broker.submit(n).result() for n in range(start, start + 16)]
        )

    starts = range(0, 64 * 16, 16)
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(thread, starts))
    assert found == [[number * 2 for number in range(start, start + 16)] for start in starts]
    assert len(machine.threads) == 1
    assert sum(len(batch) for batch in machine.batches) == 1024
    broker.close()


def test_one_bad_request_does_not_spoil_the_others() -> None:
    machine = Machine()
    broker = Broker(machine)
    machine.hold(broker)
    futures = [broker.submit(number) for number in (1, -2, 3)]
    machine.go.set()
    assert futures[0].result(30) == 2
    assert futures[2].result(30) == 6
    with pytest.raises(ValueError, match="negative"):
        futures[1].result(30)
    broker.close()


def test_an_error_in_the_place_of_a_result_is_raised_and_nothing_is_run_again() -> None:
    machine = Machine()
    error = BadDocument("corpus.jsonl, line 3", "blank", "Drop it.")  # its class takes more than the message
    broker: Broker[int, int] = Broker(lambda batch: [error if found > 2 else found for found in machine(batch)])
    machine.hold(broker)
    futures = [broker.submit(number) for number in (1, 2, 3)]
    machine.go.set()
    assert futures[0].result(30) == 2
    raised = [future.exception(30) for future in futures[1:]]
    assert [(type(e), str(e), vars(e)) for e in raised] == [(BadDocument, str(error), vars(error))] * 2
    assert len({id(e) for e in (error, *raised)}) == 3  # each thread raises one of its own
    assert machine.batches == [[0], [1, 2, 3]]
    broker.close()


def test_cancelled_requests_are_dropped() -> None:
    machine = Machine()
    broker = Broker(machine)
    machine.hold(broker)
    futures = [broker.submit(number) for number in (1, 2, 3)]
    assert futures[1].cancel()
    machine.go.set()
    assert [futures[0].result(30), futures[2].result(30)] == [2, 6]
    with pytest.raises(CancelledError):
        futures[1].result(30)
    assert machine.batches == [[0], [1, 3]]
    broker.close()


async def test_cancelling_a_task_cancels_its_request() -> None:
    machine = Machine()
    broker = Broker(machine)
    machine.hold(broker)

    async def ask(number: int) -> int:
        return await asyncio.wrap_future(broker.submit(number))

    tasks = [asyncio.create_task(ask(number)) for number in (1, 2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    machine.go.set()
    assert await tasks[1] == 4
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert machine.batches == [[0], [2]]
    broker.close()


def test_close_finishes_what_was_handed_in_and_refuses_more() -> None:
    machine = Machine()
    broker = Broker(machine)
    machine.hold(broker)
    futures = [broker.submit(number) for number in (1, 2)]
    closing = threading.Thread(target=broker.close)
    closing.start()
    while not broker._closed:
        time.sleep(0.001)
    with pytest.raises(InvalidInput, match="closed"):
        broker.submit(5)
    machine.go.set()
    closing.join(30)
    assert not closing.is_alive()
    assert [future.result(0) for future in futures] == [2, 4]
    broker.close()


def test_a_forked_child_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(Machine())
    assert broker.submit(1).result(30) == 2
    process = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    with pytest.raises(RagscaleError, match="forked"):
        broker.submit(1)
    monkeypatch.undo()
    broker.close()
