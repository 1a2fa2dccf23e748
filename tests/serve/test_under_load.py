"""The load test of `benchmarks/serve.py`, for seconds instead of a minute."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "serve.py"


@pytest.fixture
def bench() -> Any:
    """`benchmarks/serve.py`."""
    spec = importlib.util.spec_from_file_location("serve_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_reply_is_a_documented_one(bench: Any, folder: Path, tmp_path: Path) -> None:
    options = argparse.Namespace(index=folder, clients=16, seconds=3.0, k=5, how=None, queue=4)
    result = bench.measure(["who found gold", "tin mines", "camera lucida"], options, tmp_path)
    assert result["errors"] == []
    replies = result["replies"]
    for name in (
        "client: 200",
        "client: 429",
        "slow head: 408",
        "slow body: 408",
        "dead: left",
        "oversized: 413",
        "invalid: 400",
    ):
        assert replies[name] >= 1


async def test_answers_after_the_end_count_with_their_time(bench: Any) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 16):
            await asyncio.sleep(0.3)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with await asyncio.start_server(slow, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        options = argparse.Namespace(clients=2, seconds=0.1, k=5, how=None)
        duration, seconds, _ = await bench.load(host, port, ["gold"], options)
    assert len(seconds) == 2
    assert duration >= max(seconds) >= 0.3


def test_quantiles_of_few(bench: Any) -> None:
    assert [bench.quantile([0.5], percent) for percent in (50, 99)] == [500.0, 500.0]
    assert bench.quantile([0.1, 0.3], 50) == 200.0
    assert bench.quantile([], 99) is None
