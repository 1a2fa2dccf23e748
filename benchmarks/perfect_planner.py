"""Breadth against depth for a planner that makes no mistake: real searches and real ledgers on a grid world.

The planner knows how each question is put together. It asks for as many open facts as the mode lets it, one or several
at a time, fills in a name only once it has looked for it, and notes what the passages that it is shown tell. The
closing answer is right where each fact is in a passage or a note of its prompt. So what differs between the cells is
the shape of the mode and its budget, and nothing else: a bound for any model. Tokens are words here.

    python benchmarks/perfect_planner.py [--depth 1,2,4] [--breadth 1,2,4] [--questions 12] [--tokens 1k,2k,4k,8k]
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ragscale as rs
from ragscale.cli.common import amounts
from ragscale.llm.scripted import ScriptedCall, ScriptedLLM
from ragscale.types import Message

MODES = ("once", "chain(steps=16)", "parallel(rounds=8, max_queries=4)")


class Planner:
    """The script of a model that plans without a mistake.

    Args:
        world: Its questions and passages.
    """

    def __init__(self, world: rs.worlds.World) -> None:
        self._rows: list[Mapping[str, Any]] = sorted(world.questions, key=lambda row: -len(row["question"]))
        self._texts = {passage["id"]: passage["text"] for passage in world.passages}

    def __call__(self, messages: Sequence[Message], call: ScriptedCall) -> str:
        """The reply to a prompt, whose last line that begins with a question of the world says which it is about."""
        prompt = messages[-1]["content"]
        if "Query: " in prompt:
            return self._read(prompt)
        row = next(row for row in self._rows if f"Question: {row['question']}" in prompt)
        asks = (call.schema or {}).get("properties", {}).get("queries")
        if asks is None:
            told = all(self._shown(step, prompt) or _said(step) in prompt for step in row["decomposition"])
            return json.dumps({"answer": row["answers"][0] if told else "not found", "documents": []})
        asked = prompt[prompt.index(row["question"]) + len(row["question"]) :]
        steps = [_filled(row, number) for number in range(len(row["decomposition"]))]
        needs = [_needs(row, number) for number in range(len(steps))]
        ready = (step for step, need in zip(steps, needs, strict=True) if need is None or steps[need] in asked)
        queries = dict.fromkeys(step for step in ready if step not in asked)
        told = (step for step in row["decomposition"] if self._shown(step, prompt))
        pairs = (step for n, step in enumerate(row["decomposition"]) if f"{steps[n]} -> {_said(step)}" in asked)
        notes = dict.fromkeys(_said(step) for step in (*told, *pairs))
        return json.dumps({"known": "; ".join(notes), "missing": "", "queries": list(queries)[: asks["maxItems"]]})

    def _shown(self, step: Mapping[str, Any], prompt: str) -> bool:
        """Whether a prompt has the passage of a step, or its beginning."""
        return self._texts[step["passage"]][:60] in prompt

    def _read(self, prompt: str) -> str:
        query = prompt.rpartition("Query: ")[2].strip()
        for row in self._rows:
            for number, step in enumerate(row["decomposition"]):
                if _filled(row, number) == query and self._shown(step, prompt):
                    return _said(step)
        return "No relevant information found"


def _said(step: Mapping[str, Any]) -> str:
    """The answer of a step; one of several names is a list."""
    answer = step["answer"]
    return answer if isinstance(answer, str) else ", ".join(answer)


def _needs(row: Mapping[str, Any], number: int) -> int | None:
    """The step whose answer a step needs."""
    found = re.search(r"#(\d+)", row["decomposition"][number]["question"])
    return int(found[1]) - 1 if found else None


def _filled(row: Mapping[str, Any], number: int) -> str:
    """The sub-query of a step, with the name that it needs."""
    steps, needs = row["decomposition"], _needs(row, number)
    question = str(steps[number]["question"])
    return question if needs is None else question.replace(f"#{needs + 1}", _said(steps[needs]))


def main() -> None:
    """Run the grid and print, by depth and breadth, each mode's F1, tokens and rounds at each budget."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--depth", default="1,2,4")
    parser.add_argument("--breadth", default="1,2,4")
    parser.add_argument("--questions", type=int, default=12, help="a cell")
    parser.add_argument("--tokens", default="1000,2000,4000,8000")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    depth, breadth, tokens = (tuple(amounts(name, getattr(given, name))) for name in ("depth", "breadth", "tokens"))
    world = rs.worlds.make(depth=depth, breadth=breadth, questions=given.questions, seed=given.seed)
    with tempfile.TemporaryDirectory() as folder:
        world.save(Path(folder) / "world")
        rs.Index.build([Path(folder) / "world/corpus.jsonl"], Path(folder) / "index", embedder=None).close()
        agent = rs.Agent(Path(folder) / "index", ScriptedLLM(Planner(world), context_window=64_000))
        run = rs.sweep(
            agent, Path(folder) / "world/questions.jsonl", list(MODES), Path(folder) / "run",
            budgets=[rs.Budget(tokens=limit) for limit in tokens], health=False,
        )  # fmt: skip
        rows = run.rows().to_pandas()
    rows["limit"] = rows["budget"].map(lambda text: json.loads(text)["tokens"])
    if rows["failed"].any():
        raise SystemExit(f"{rows['failed'].sum()} of {len(rows)} runs failed: {rows[rows['failed']]['reason'].iloc[0]}")
    rows["mode"] = rows["mode"].str.partition("(")[0]
    cells = ["hops", "breadth"]
    print(f"Share of right answers, {given.questions} questions a cell, by tokens and mode:")
    print(rows.pivot_table(index=cells, columns=["limit", "mode"], values="em").round(2).to_string())
    costs = rows[rows["em"] == 1].pivot_table(index=cells, columns="mode", values=["total_tokens", "serial_rounds"])
    print("\nMeans of the right answers:")
    print(costs.round(1).to_string())


if __name__ == "__main__":
    main()
