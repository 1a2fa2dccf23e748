"""A server under load beside the raw search, with clients that misbehave at the same time.

*raw*: `Index.search` in this process, as many queries at once as there are clients. *served*: that many clients of
``ragscale serve``, each on a connection of its own, one query a request, the next one when the answer is there. All the
while others send heads and bodies by the byte, close before the answer, send a body that is too large, and send what is
no JSON. Every reply is counted; one that docs/serving.md does not name is an error, and the exit code is 1.

    python benchmarks/serve.py --index INDEX --questions QUESTIONS.jsonl --clients 64 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ragscale.index import Index

SHIPPED = Path(__file__).parents[1] / "corpora" / "elements"
LIMITS = {"head_seconds": 5, "body_seconds": 5, "body": 1 << 20}
ALLOWED = {
    "client": {"200", "429"},
    "slow head": {"408"},
    "slow body": {"408"},
    "dead": {"left"},
    "oversized": {"413"},
    "invalid": {"400"},
}
"""The replies that each kind of client may get."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, help="an index (default: the shipped corpus, indexed anew)")
    parser.add_argument(
        "--questions", type=Path, default=SHIPPED / "questions.jsonl", help='jsonl file with "question" in each row'
    )
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load; the raw search gets a tenth of them")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--how", help="kind of search (default: the index's own)")
    parser.add_argument("--queue", type=int, default=8192, help="the server's queue; below --clients there are 429s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with options.questions.open(encoding="utf-8") as lines:
        questions = [json.loads(line)["question"] for line in lines]
    with tempfile.TemporaryDirectory() as work:
        if options.index is None:
            options.index = Path(work) / "index"
            Index.build([SHIPPED / "passages.jsonl"], options.index).close()
        result = measure(questions, options, Path(work))
    print(json.dumps(result) if options.json else "\n".join(f"{name:28} {value}" for name, value in result.items()))
    raise SystemExit(1 if result["errors"] else 0)


def measure(questions: list[str], options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Both ways, as a table by name; `errors` lists every reply that is not documented."""
    raw = raw_search(questions, options)
    with served(options, work / "server.log") as (host, port, process):
        duration, seconds, counts = asyncio.run(load(host, port, questions, options))
        process.send_signal(signal.SIGTERM)
        ended = process.wait(60)
    errors = [f"{kind}: {reply} x {n}" for (kind, reply), n in counts.items() if reply not in ALLOWED[kind]]
    if ended:
        errors.append(f"the server ended with {ended}")
    if not seconds:
        errors.append("no search was answered")
    served_queries_s = len(seconds) / duration
    return {
        "clients": options.clients,
        "raw_queries_s": round(options.clients * len(raw) / sum(raw)),
        "raw_batch_p50_ms": quantile(raw, 50),
        "raw_batch_p99_ms": quantile(raw, 99),
        "served_queries_s": round(served_queries_s),
        "served_p50_ms": quantile(seconds, 50),
        "served_p99_ms": quantile(seconds, 99),
        "served_speed_of_raw": round(served_queries_s / (options.clients * len(raw) / sum(raw)), 3),
        "replies": {f"{kind}: {reply}": n for (kind, reply), n in sorted(counts.items())},
        "errors": errors,
    }


def quantile(seconds: list[float], percent: int) -> float | None:
    """In milliseconds; None of nothing."""
    return round(1000 * float(np.percentile(seconds, percent)), 1) if seconds else None


def raw_search(questions: list[str], options: argparse.Namespace) -> list[float]:
    """Seconds of each batch."""
    seconds: list[float] = []
    with Index.open(options.index) as index:
        index.search(questions[:1], options.k, options.how)  # models loaded, pages read
        end = time.perf_counter() + options.seconds / 10
        while not seconds or time.perf_counter() < end:
            start = len(seconds) * options.clients
            batch = [questions[(start + i) % len(questions)] for i in range(options.clients)]
            began = time.perf_counter()
            index.search(batch, options.k, options.how)
            seconds.append(time.perf_counter() - began)
    return seconds


@contextlib.contextmanager
def served(options: argparse.Namespace, log: Path) -> Iterator[tuple[str, int, subprocess.Popen[bytes]]]:
    """The index behind ``ragscale serve`` in a process of its own."""
    limits = [f"{name}={value}" for name, value in {**LIMITS, "queue": options.queue, "queries": 1}.items()]
    words = [word for limit in limits for word in ("--limit", limit)]
    command = [sys.executable, "-c", "from ragscale.cli import app; app()", "serve", str(options.index), "--port", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, *words], stderr=file)
    try:
        while " at http" not in (told := log.read_text()):
            if process.poll() is not None:
                raise SystemExit(told)
            time.sleep(0.05)
        host, _, port = told.strip().rpartition("//")[2].rpartition(":")
        yield host, int(port), process
    finally:
        process.kill()
        process.wait()


async def load(
    host: str, port: int, questions: list[str], options: argparse.Namespace
) -> tuple[float, list[float], Counter[tuple[str, str]]]:
    """Seconds until the last answer, those of every answered request, and how often each kind of client got each reply.

    What was asked before the end is waited for, so the first of them may be more than ``options.seconds``.
    """
    counts: Counter[tuple[str, str]] = Counter()
    seconds: list[float] = []
    start = time.perf_counter()
    last, end = start, start + options.seconds

    async def client(number: int) -> None:
        nonlocal last
        for turn in range(sys.maxsize):
            connection = await Connection.open(host, port)
            while time.perf_counter() < end:
                body = {"queries": [questions[(number + turn) % len(questions)]], "k": options.k, "how": options.how}
                began = time.perf_counter()
                reply = await connection.ask(message(json.dumps(body).encode()))
                counts["client", reply] += 1
                turn += options.clients
                if reply == "200":
                    last = time.perf_counter()
                    seconds.append(last - began)
                elif reply == "429":
                    await asyncio.sleep(0.05)
                else:
                    break
            connection.close()
            if time.perf_counter() >= end:
                return

    async def adversary(kind: str, act: Callable[[Connection], Awaitable[str]]) -> None:
        while time.perf_counter() < end:
            connection = await Connection.open(host, port)
            counts[kind, await act(connection)] += 1
            connection.close()
            await asyncio.sleep(0.05)

    kinds = {"slow head": slow_head, "slow body": slow_body, "dead": dead, "oversized": oversized, "invalid": invalid}
    adversaries = [adversary(kind, act) for kind, act in kinds.items()]
    await asyncio.gather(*(client(number) for number in range(options.clients)), *adversaries)
    return max(last - start, options.seconds), seconds, counts


class Connection:
    """HTTP at the level of bytes: a library would not misbehave, and costs more than what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port, limit=1 << 24))

    async def ask(self, data: bytes) -> str:
        """Send all of it; the status that comes, or what came instead."""
        try:
            self.writer.write(data)
            await self.writer.drain()
            return await self.status()
        except OSError as error:
            return type(error).__name__

    async def drip(self, data: bytes) -> str:
        """Send a byte at a time until a reply comes."""
        reply = asyncio.ensure_future(self.status())
        for at in range(len(data)):
            if reply.done():
                break
            self.writer.write(data[at : at + 1])
            await asyncio.sleep(0.2)
        return await reply

    async def status(self) -> str:
        """Read a reply to its end."""
        try:
            async with asyncio.timeout(120):
                head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
                await self.reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
            return head.split()[1].decode()
        except (OSError, EOFError, TimeoutError) as error:
            return type(error).__name__

    def close(self) -> None:
        """Close."""
        self.writer.close()


def message(body: bytes, *, path: str = "/v1/search") -> bytes:
    """A request."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


GOOD = message(b'{"queries": ["gold"], "topk": 1}', path="/retrieve")


async def slow_head(connection: Connection) -> str:
    """Its head takes too long."""
    return await connection.drip(GOOD)


async def slow_body(connection: Connection) -> str:
    """Its body takes too long."""
    connection.writer.write(GOOD[:-30])
    return await connection.drip(GOOD[-30:-1])


async def dead(connection: Connection) -> str:
    """Leaves before the answer."""
    connection.writer.write(GOOD)
    with contextlib.suppress(OSError):
        await connection.writer.drain()
    return "left"


async def oversized(connection: Connection) -> str:
    """Sends twice what is allowed."""
    return await connection.ask(message(b" " * (2 << 20)))


async def invalid(connection: Connection) -> str:
    """Sends what is no JSON."""
    return await connection.ask(message(b'{"queries": ["gold"'))


if __name__ == "__main__":
    main()
