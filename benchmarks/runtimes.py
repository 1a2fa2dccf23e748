"""Runtimes of a GGUF model in this process, in one run: reading, writing and scoring, and their ratios.

*read*: one prompt of about so many tokens that begins like no other, and one token of reply. *write 1*, *4*, *8*: so
many requests at once with short prompts, each going on to its limit; their prompts' time is in the figure. *score*: a
given text behind a prompt of its own. All in tokens a second: those of the prompt for *read*, of the replies for
*write*, of both for *score*, as each runtime charges them. Runtimes take turns, in the other order each time, on the
same prompts; medians with the least and the most of n, and the ratio to the first one, paired by turn.

    python benchmarks/runtimes.py --runtimes embedded,openvino --repeats 5
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ragscale.llm import LLM, load
from ragscale.types import Message

TEXT = (
    "river council harbour painter of the in lens treaty bridge and valley engine with archive to comet orchard signal "
    "by quartz senate lantern for glacier organ novel from copper canal on tower museum at rail island a that market"
)
WORDS = TEXT.split()
PACKAGES = {"embedded": "xllamacpp", "openvino": "openvino-genai"}
ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 500}
"""Schema of a reply that goes on to its limit."""

Rates = dict[str, dict[str, list[float]]]
"""Tokens a second by measure and runtime, turn by turn."""


def prompt(seed: str, tokens: int) -> list[Message]:
    """About so many tokens of words drawn by a seed, which stands first, so that no cache has the beginning."""
    drawn = random.Random(seed)
    text = " ".join(drawn.choice(WORDS) for _ in range(max(1, int(tokens * 0.85))))
    return [{"role": "system", "content": f"{seed}: {text}"}, {"role": "user", "content": "List numbers, on and on."}]


async def read(model: LLM, seed: str, tokens: int) -> float:
    """Tokens a second of one prompt."""
    started = time.perf_counter()
    done = await model.generate(prompt(seed, tokens), max_tokens=1)
    return done.usage.prompt_tokens / (time.perf_counter() - started)


async def write(model: LLM, seed: str, at_once: int, tokens: int) -> float:
    """Tokens a second of several replies together."""
    asked = [prompt(f"{seed} {each}", 20) for each in range(at_once)]
    started = time.perf_counter()
    done = await asyncio.gather(*(model.generate(one, max_tokens=tokens, schema=ENDLESS) for one in asked))
    return sum(one.usage.completion_tokens for one in done) / (time.perf_counter() - started)


async def score(model: LLM, seed: str, tokens: int) -> float:
    """Tokens a second of one scored text behind its prompt."""
    started = time.perf_counter()
    usage = (
        await model.score(prompt(seed, tokens), "The bridge stands in the valley, and the council built it.")
    ).usage
    return (usage.prompt_tokens + usage.completion_tokens) / (time.perf_counter() - started)


async def measure(specs: dict[str, str], options: argparse.Namespace) -> Rates:
    """Each measure of each runtime, in turns."""
    models = {name: load(spec) for name, spec in specs.items()}
    measures: dict[str, Callable[[LLM, str], Awaitable[float]]] = {
        f"read {options.tokens}": lambda model, seed: read(model, seed, options.tokens)
    }
    for at_once in options.together:
        measures[f"write {at_once}"] = lambda model, seed, at_once=at_once: write(model, seed, at_once, options.write)
    measures["score"] = lambda model, seed: score(model, seed, options.tokens // 2)
    rates: Rates = defaultdict(lambda: defaultdict(list))
    try:
        scores = {name: (await model.capabilities()).scoring for name, model in models.items()}
        for turn in range(-1, options.repeats):  # the first one warms up
            names = list(models) if turn % 2 else list(models)[::-1]
            for measure, run in measures.items():
                for name in names:
                    if measure != "score" or scores[name]:
                        rate = await run(models[name], f"{turn} {measure}")
                        if turn >= 0:
                            rates[measure][name].append(rate)
    finally:
        for model in models.values():
            await model.aclose()
    return rates


def spread(values: list[float]) -> dict[str, float | int]:
    """Median, least, most and number of values."""
    return {
        "median": round(statistics.median(values), 2),
        "least": round(min(values), 2),
        "most": round(max(values), 2),
        "n": len(values),
    }


def summary(rates: Rates, names: list[str]) -> dict[str, Any]:
    """Spreads of each measure and runtime, and of the ratio to the first one."""
    rows: dict[str, Any] = {}
    for measure, by_name in rates.items():
        rows[measure] = {name: spread(by_name[name]) if by_name[name] else None for name in names}
        for name in names[1:]:
            pairs = [ours / theirs for ours, theirs in zip(by_name[name], by_name[names[0]], strict=False)]
            rows[measure][f"{name} / {names[0]}"] = spread(pairs) if pairs else None
    return rows


def cpu() -> str:
    """Name of the processor, with the number of its cores."""
    import os

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    vnni = any(line.startswith("flags") and "avx512_vnni" in line for line in lines)
    return f"{model or platform.processor()}, {os.cpu_count()} cores{', AVX-512 VNNI' if vnni else ''}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtimes", default="embedded,openvino", help="comma-separated; the first is the peer")
    parser.add_argument("--file", default="", help="a GGUF file (default: the packaged weights)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each (default: 5)")
    parser.add_argument("--tokens", type=int, default=1000, help="of the prompt that is read (default: 1000)")
    parser.add_argument("--write", type=int, default=64, help="tokens of each reply (default: 64)")
    parser.add_argument("--together", default="1,4,8", help="replies at once (default: 1,4,8)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.together = [int(number) for number in options.together.split(",")]
    names = options.runtimes.split(",")
    specs = {name: f"{name}:{options.file}" if options.file else name for name in names}
    rows = summary(asyncio.run(measure(specs, options)), names)
    versions = {name: f"{PACKAGES[name]} {version(PACKAGES[name])}" for name in names if name in PACKAGES}
    if options.json:
        print(json.dumps({"cpu": cpu(), "versions": versions, "tokens a second": rows}, indent=2))
        return
    print(f"{cpu()}; {', '.join(versions.values())}; tokens a second")
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    print(f"{'':12}" + "".join(f"{column:>30}" for column in columns))
    for measure_, row in rows.items():
        cells = [row[column] for column in columns]
        shown = [f"{c['median']} ({c['least']}-{c['most']}, n={c['n']})" if c else "cannot" for c in cells]
        print(f"{measure_:12}" + "".join(f"{text:>30}" for text in shown))


if __name__ == "__main__":
    main()
