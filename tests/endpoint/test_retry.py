"""Retries: the failures that lead to another attempt, and the wait before it."""

from __future__ import annotations

import pytest

from ragscale.endpoint.retry import attempts
from ragscale.endpoint.transport import ThrottledError
from ragscale.errors import EndpointError, InvalidInput, ModelError
from ragscale.types import Spend


async def run(errors: list[Exception], **settings: object) -> tuple[list[float], int]:
    """The waits and the number of calls until one succeeds."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    calls = 0
    async for attempt in attempts(sleep=sleep, **settings):  # type: ignore[arg-type]
        with attempt:
            calls += 1
            if errors:
                raise errors.pop(0)
    return waits, calls


def busy() -> ModelError:
    return ModelError("busy", retryable=True)


async def test_waits_grow_up_to_the_cap_and_vary_by_half() -> None:
    waits, calls = await run([busy() for _ in range(7)], max_attempts=8)
    assert calls == 8
    for wait, most in zip(waits, (0.5, 1, 2, 4, 8, 8, 8), strict=True):
        assert most / 2 <= wait <= most


async def test_waits_repeat_under_a_seed() -> None:
    runs = [(await run([busy(), busy()], seed=seed))[0] for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(5.0, 5, 5), (None, 0.25, 0.5), (3600.0, 60, 60), (0.0, 0.25, 0.5)]
)
async def test_a_server_that_names_a_wait_gets_it_up_to_a_minute(
    asked: float | None, least: float, most: float
) -> None:
    waits, _ = await run([ThrottledError("slow down", retry_after=asked, spend=Spend(llm_calls=1))])
    assert least <= waits[0] <= most


async def test_the_last_error_is_raised_as_it_was() -> None:
    errors = [busy() for _ in range(4)]
    last = errors[-1]
    with pytest.raises(ModelError) as caught:
        await run(errors)
    assert caught.value is last


def at(found: int) -> ModelError:
    error = busy()
    error.found = found
    return error


@pytest.mark.parametrize(
    ("found", "calls"),
    [
        ([1, 2, 3, 4, 5, 6, 7], 8),
        ([0, 0, 0, 1, 1, 1, 1], 7),
        ([3, 3, 3, 3, 4], 4),
        ([5, 3, 4, 5, 6], 4),  # less than was known counts for nothing
        ([0, 0, 0, 5, 5, 5, 6, 6, 6], 10),
    ],
)
async def test_attempts_that_find_out_more_count_anew(found: list[int], calls: int) -> None:
    errors: list[Exception] = [at(number) for number in found]
    if calls > len(found):
        assert (await run(errors))[1] == calls
    else:
        with pytest.raises(ModelError):
            await run(errors)
        assert len(found) - len(errors) == calls


async def test_waits_begin_anew_with_the_count() -> None:
    waits, _ = await run([at(0), at(0), at(1), at(1)])
    for wait, most in zip(waits, (0.5, 1, 0.5, 1), strict=True):
        assert most / 2 <= wait <= most


@pytest.mark.parametrize("error", [ModelError("final"), EndpointError("gone"), ValueError("ours"), KeyboardInterrupt()])
async def test_other_errors_are_raised_at_once(error: Exception) -> None:
    with pytest.raises(type(error)):
        await run([error, busy()])


async def test_at_least_one_attempt() -> None:
    with pytest.raises(InvalidInput, match="max_attempts=0"):
        attempts(max_attempts=0)
