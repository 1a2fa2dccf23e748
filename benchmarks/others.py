"""Waiting time of other clients while one asks for as much as it may.

A server of the shipped corpus, with a year to each passage, gets one request at a time that is as heavy as the limits
allow: 1,000 queries of 3,900 characters, or 980 searches with a filter of 3,900 characters each. Beside it another
client sends a short search after the other, and a third one asks for ``/health``. The longest wait of each is printed,
first with nobody beside them.

    python benchmarks/others.py
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ragscale.index import Index

SHIPPED = Path(__file__).parents[1] / "corpora" / "elements" / "passages.jsonl"
QUERIES, CHARACTERS, FILTERS = 1_000, 3_900, 980


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="default", help='"none" for BM25 alone')
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        words = index(Path(work), options.embedder)
        with served(Path(work)) as url:
            results = {name: beside(url, request) for name, request in heavy(words).items()}
    print(json.dumps(results) if options.json else "\n".join(f"{name:24} {row}" for name, row in results.items()))


def index(work: Path, embedder: str) -> list[str]:
    """Build it; the words of its passages."""
    rows = [json.loads(line) for line in SHIPPED.read_text("utf-8").splitlines()]
    with (work / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            file.write(json.dumps({**row, "year": 1700 + number}) + "\n")
    Index.build([work / "corpus.jsonl"], work / "index", embedder=embedder).close()
    return " ".join(row["text"] for row in rows).split()


def heavy(words: list[str]) -> dict[str, tuple[str, Any] | None]:
    """The requests by name: a path and a body, or None for nothing at all."""

    def text(number: int) -> str:
        start = number * 17 % len(words)
        return " ".join((words[start:] + words)[:1500])[:CHARACTERS]

    def condition(number: int) -> str:
        parts = iter(f"year = {1000 + number + i}" for i in range(9999))
        made = next(parts)
        while len(made) < CHARACTERS - 20:
            made += f" or {next(parts)}"
        return made

    queries = [text(number) for number in range(QUERIES)]
    filtered = [{"queries": [words[i]], "k": 1, "where": condition(i)} for i in range(FILTERS)]
    return {
        "nothing": None,
        "long queries, /retrieve": ("/retrieve", {"queries": queries, "topk": 3}),
        "long queries, /v1/search": ("/v1/search", {"queries": queries, "k": 3}),
        "long filters, /v1/batch": ("/v1/batch", {"searches": filtered}),
    }


@contextlib.contextmanager
def served(work: Path) -> Iterator[str]:
    """The index behind ``ragscale serve`` in a process of its own; its URL."""
    run = "from ragscale.cli import app; app()"
    command = [sys.executable, "-c", run, "serve", str(work / "index"), "--port", "0", "--limit", "search_seconds=600"]
    log = work / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file)
    try:
        while " at http" not in (told := log.read_text()):
            if process.poll() is not None:
                raise SystemExit(told)
            time.sleep(0.05)
        yield told.strip().rpartition(" ")[2]
    finally:
        process.kill()
        process.wait()


def beside(url: str, request: tuple[str, Any] | None) -> dict[str, Any]:
    """The waits of others while a request is worked on; for three seconds where there is none."""
    over = threading.Event()
    waits: dict[str, list[float]] = {"search": [], "health": []}

    def repeat(name: str, send: Callable[[httpx.Client], httpx.Response]) -> None:
        with httpx.Client(base_url=url, timeout=600) as client:
            while not over.is_set():
                began = time.perf_counter()
                send(client).raise_for_status()
                waits[name].append(time.perf_counter() - began)
                time.sleep(0.05)

    def search(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/search", json={"queries": ["who discovered rhodium"], "k": 3})

    others = [
        threading.Thread(target=repeat, args=("search", search)),
        threading.Thread(target=repeat, args=("health", lambda client: client.get("/health"))),
    ]
    for other in others:
        other.start()
    time.sleep(0.5)
    began = time.perf_counter()
    if request is None:
        time.sleep(3)
    else:
        path, body = request
        httpx.post(url + path, json=body, timeout=600).raise_for_status()
    seconds = time.perf_counter() - began
    over.set()
    for other in others:
        other.join()
    row: dict[str, Any] = {"request_s": round(seconds, 1)}
    for name, waited in waits.items():
        row |= {f"{name}_p50_s": round(float(np.median(waited)), 3), f"{name}_max_s": round(max(waited), 2)}
    return row


if __name__ == "__main__":
    main()
