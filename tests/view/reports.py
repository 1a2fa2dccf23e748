"""A report of made-up runs, of any size, with every part that a page can show."""

from __future__ import annotations

import math
import random
from typing import Any

from ragscale.view.report import CellData, ComparisonData, EstimateData, Report

ANSWER = (
    "With 4,000 tokens use `chain`: .70 [.58, .80]; better than `parallel` by .06 [-.02, .15], undecided, about 90 "
    "more questions would tell."
)
_MODES = {"direct": 0.30, "once": 0.48, "chain": 0.64, "parallel": 0.60, "vote(of=chain)": 0.67, "tree": 0.66}
_SHARE = {"direct": 0.05, "once": 0.15, "chain": 0.6, "parallel": 0.5, "vote(of=chain)": 0.98, "tree": 0.98}
_SERIAL = {"vote(of=chain)": 0.25, "tree": 0.3}


def estimate(values: list[float], level: float = 1.96) -> EstimateData:
    n = len(values)
    mean = sum(values) / n
    error = level * math.sqrt(sum((v - mean) ** 2 for v in values) / max(1, n - 1) / n)
    return EstimateData(value=mean, low=mean - error, high=mean + error, n=n)


def made_up(cells: int = 12, questions: int = 40, *, text: str = "", runs: int = 1) -> Report:
    """A report of so many cells (two budgets of each mode) and questions; `text` stands in all that is from outside."""
    source = random.Random(7)
    asked = [
        {
            "id": f"q{i}{text}",
            "question": f"{text}Which of the two towns of case {i} was founded first, and who wrote of it?",
            "gold": [text + f"Town {i}", f"the town of {i}"],
            "type": source.choice(["bridge", "comparison"]),
            "hops": 1 + i % 3,
            "breadth": 1 + i % 2,
        }
        for i in range(questions)
    ]
    shown: list[CellData] = [_cell(at, asked, source, text, runs) for at in range(cells)]
    everything = list(range(cells))

    def compare(first: int, second: int) -> ComparisonData:
        one, other = (shown[c]["runs"]["f1"] for c in (first, second))
        difference = estimate([a - b for a, b in zip(one, other, strict=True)])  # type: ignore[operator]
        low, high = difference["low"] or 0, difference["high"] or 0
        verdict: Any = (
            "better" if low > 0 else "worse" if high < 0 else "equivalent" if high - low < 0.1 else "undecided"
        )
        needed = 90 if verdict == "undecided" else None
        return ComparisonData(
            first=first,
            second=second,
            difference=difference,
            p=0.04,
            verdict=verdict,
            needed=needed,
            differ=sum(a != b for a, b in zip(one, other, strict=True)),
            same=None,
        )

    best = max(everything, key=lambda c: shown[c]["score"]["value"] or 0)
    order = sorted(everything, key=lambda c: -(shown[c]["score"]["value"] or 0))

    def by(key: str) -> Any:
        groups = sorted({q[key] for q in asked})  # type: ignore[type-var]
        strata = []
        for group in groups:
            mine = [i for i, q in enumerate(asked) if q[key] == group]
            scores = [estimate([shown[c]["runs"]["f1"][i] or 0 for i in mine]) for c in everything]
            strata.append(
                {
                    "label": f"{group} {key}",
                    "n": len(mine),
                    "scores": scores,
                    "best": max(everything, key=lambda c: scores[c]["value"] or 0),
                    "words": "",
                }
            )
        words = f"The order of the modes depends on the {key}: `chain` gains .11 a hop over `once`."
        return {
            "by": key,
            "cells": everything,
            "strata": strata,
            "interaction": {"test": "mixed model, mode x " + key, "p": 0.012, "words": words},
        }

    def chart(axis: Any) -> Any:
        points, top = [], -1.0
        for c in sorted(everything, key=lambda c: shown[c]["cost"][axis]["value"] or 0):
            front = (shown[c]["score"]["value"] or 0) > top
            top = max(top, shown[c]["score"]["value"] or 0)
            points.append({"cell": c, "front": front, "share": 0.83 if front else 0.07})
        costs = [shown[c]["cost"][axis]["value"] or 0 for c in everything]
        curves = (
            [
                {
                    "family": "chain",
                    "a": 0.05,
                    "a_low": 0.02,
                    "a_high": 0.09,
                    "b": 1.0,
                    "c": 0.2,
                    "low": min(costs),
                    "high": max(costs),
                    "points": 5,
                }
            ]
            if axis == "tokens"
            else []
        )
        return {
            "axis": axis,
            "points": points,
            "curves": curves,
            "note": text + "Two budgets a family: no curve is fitted to fewer than three.",
        }

    spent = {"tokens": 9_400_000.0, "seconds": 18_400.0, "usd": None, "llm_calls": 31_000.0}
    return {
        "version": 1,
        "title": text + "elements, 12 cells",
        "made": "2026-11-29T07:00:00.000+00:00",
        "ragscale": "0.1.0",
        "score": "F1",
        "level": 0.95,
        "runs": [
            {
                "name": "AB"[r],
                "path": f"runs/it's {r}{text}",
                "questions": questions,
                "rows": cells * questions,
                "charged": spent,
                "paid": {**spent, "tokens": 4_100_000.0},
                "settings": [
                    {"name": "model", "value": text + "Qwen3-0.6B"},
                    {"name": "index", "value": "indexes/demo, hybrid"},
                ],
                "codes": [{"name": "a1b2c3", "value": "all cells"}],
            }
            for r in range(runs)
        ],
        "answer": [
            text + ANSWER,
            "With questions of one hop `once` is equivalent and costs a quarter.",
        ],
        "cells": shown,
        "baseline": min(1, cells - 1),
        "charts": [chart(axis) for axis in ("tokens", "serial_tokens", "rounds", "seconds")],
        "equal": [
            {
                "axis": axis,
                "margin": 0.05,
                "method": "Paired BCa bootstrap by document, permutation test, Holm.",
                "note": "",
                "levels": [
                    {
                        "label": f"up to {tokens} tokens",
                        "cells": mine,
                        "reference": mine[0],
                        "comparisons": [compare(a, b) for at, a in enumerate(mine) for b in mine[at + 1 :]],
                    }
                    for tokens, rest in (("4,000", 0), ("8,000", 1))
                    if (mine := [c for c in order if c % 2 == rest])
                ],
            }
            for axis in ("tokens", "serial_tokens")
        ],
        "problem": {
            "words": text + "Yes: `chain` gains with the hops, `parallel` with the breadth.",
            "strata": [by("hops"), by("type"), by("breadth")],
            "recall_cells": everything,
            "recall": [
                {"gold": g, "n": questions // 3, "rates": [shown[c]["recall"] for c in everything]} for g in (1, 2, 4)
            ],
            "oracle": {
                "score": EstimateData(value=0.81, low=0.74, high=0.87, n=questions),
                "cost": {"tokens": 2100.0, "usd": None},
                "best": best,
                "picks": [{"name": "once", "value": "48 %"}, {"name": "chain", "value": "31 %"}],
                "words": "It costs 53 % of `chain`.",
            },
        },
        "stopped": [
            {
                "cell": c,
                "n": questions,
                "stops": {s: shown[c]["runs"]["stop"].count(s) for s in sorted({*shown[c]["runs"]["stop"]} - {None})},  # type: ignore[type-var]
                "overruns": 0,
                "answered_tokens": 2310.0,
                "answered_usd": None,
                "charged": spent,
                "paid": spent,
            }
            for c in everything
        ],
        "dropped": [{"cell": cells - 1, "after": 16, "by": best, "words": text + "Worse by at least .1 at more cost."}],
        "changes": [{"comparison": compare(0, cells - 1), "cost": {"tokens": estimate([1.0, -3.0])}}]
        if runs > 1
        else [],
        "limits": [
            text + "Forty questions: differences below .1 are not seen.",
            "One model.",
            "The prompts were tuned on other questions.",
        ],
        "questions": asked,
    }  # type: ignore[return-value]


def _cell(at: int, asked: list[dict[str, Any]], source: random.Random, text: str, runs: int) -> CellData:
    mode = list(_MODES)[at // 2 % len(_MODES)]
    limit = (4000, 8000)[at % 2]
    f1, tokens, stop, answer = [], [], [], []
    for i, q in enumerate(asked):
        right = source.random() < _MODES[mode] + 0.03 * (at % 2) - 0.06 * (q["hops"] - 2)
        f1.append(1.0 if right else source.choice([0.0, 0.0, 0.4]))
        tokens.append(float(round(limit * _SHARE[mode] * source.uniform(0.6, 1.0))))
        stop.append(source.choices(["answered", "budget:tokens", "failed"], [90, 8, 2])[0])
        answer.append(text + (f"Town {i}" if right else source.choice(["", "Rome", "the other town, and nobody"])))
    serial = [t * _SERIAL.get(mode, 1.0) for t in tokens]
    return {
        "key": f"{mode}@tokens={limit}",
        "mode": mode,
        "family": mode,
        "budget": {"tokens": limit},
        "seed": 0,
        "run": at % runs,
        "score": estimate(f1),
        "em": estimate([float(f == 1) for f in f1]),
        "recall": estimate([float(source.random() < _MODES[mode]) for _ in asked]),
        "cost": {
            "tokens": estimate(tokens),
            "serial_tokens": estimate(serial),
            "rounds": estimate([t / 900 for t in serial]),
            "seconds": estimate([t / 150 for t in serial]),
        },
        "runs": {
            "answer": answer,
            "f1": f1,
            "em": [float(f == 1) for f in f1],
            "stop": stop,
            "tokens": tokens,
            "serial_tokens": serial,
            "rounds": [round(t / 900) for t in serial],
            "seconds": [t / 150 for t in serial],
        },
    }  # type: ignore[typeddict-item]
