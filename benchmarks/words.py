"""Words of BM25: gold passages found with our terms and with bm25s's own, and the speed of both, in one run.

For each data set (a folder with corpus.jsonl and questions.jsonl): recall@10 and the share of questions with all gold
passages in the first 10, the paired difference and its interval of 95 %; then processor seconds to cut all passages.
bm25s's own are `bm25s.tokenize` with its English stop words and Snowball's stemmer.

    python benchmarks/words.py --data ../shared/data
    python benchmarks/words.py --data ../shared/data --sets musique --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bm25s
from Stemmer import Stemmer

from ragscale.language.terms import Terms
from ragscale.measure.questions import Question, load_questions
from ragscale.measure.statistics import compare
from ragscale.ranking import best_rows

SETS = "hotpotqa,2wikimultihopqa,musique"
K = 10
Cut = Callable[[Sequence[str]], list[list[str]]]


def main() -> None:
    """Measure each set, print its lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--sets", default=SETS, help=f"which (default: {SETS})")
    parser.add_argument("--language", default="english", help="of our terms (default: english)")
    parser.add_argument("--runs", type=int, default=3, help="runs of the clock; medians count (default: 3)")
    parser.add_argument("--json", action="store_true", help="a line a set")
    options = parser.parse_args()
    for name in options.sets.split(","):
        found = measured(options.data / name, options.language, options.runs)
        print(json.dumps({name: found}) if options.json else shown(name, found), flush=True)


def measured(folder: Path, language: str, runs: int) -> dict[str, Any]:
    """Figures of one data set."""
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    texts = [f"{row['title']}\n{row['text']}" for row in rows]
    questions = [question for question in load_questions(folder / "questions.jsonl") if question.supporting]
    cuts: dict[str, Cut] = {"bm25s": theirs, "ragscale": lambda texts: list(map(Terms(language), texts))}
    shares = {name: recalls(cut, [row["id"] for row in rows], texts, questions) for name, cut in cuts.items()}
    found: dict[str, Any] = {"questions": len(questions), "passages": len(texts)}
    for measure, of in (("recall", float), ("full_recall", lambda share: float(share == 1))):
        ours, other = ([of(share) for share in shares[name]] for name in ("ragscale", "bm25s"))
        change = compare(ours, other).difference
        found[measure] = {
            "bm25s": round(statistics.mean(other), 4),
            "ragscale": round(statistics.mean(ours), 4),
            "difference": [round(value, 4) for value in (change.value, change.low, change.high)],
        }
    taken: dict[str, list[float]] = {name: [] for name in cuts}
    for _ in range(runs):
        for name, cut in cuts.items():  # in turn: a busy machine slows both
            began = time.process_time()
            cut(texts)
            taken[name].append(time.process_time() - began)
    found["seconds"] = {name: round(statistics.median(values), 3) for name, values in taken.items()}
    return found


def theirs(texts: Sequence[str]) -> list[list[str]]:
    """Terms as bm25s makes them for English."""
    found: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords="english", stemmer=Stemmer("english"), return_ids=False, show_progress=False
    )
    return found


def recalls(cut: Cut, ids: Sequence[str], texts: Sequence[str], questions: Sequence[Question]) -> list[float]:
    """Share of the gold passages of each question among its first `K`."""
    numbers: dict[str, int] = {}
    rows = [[numbers.setdefault(term, len(numbers)) for term in terms] for terms in cut(texts)]
    model = bm25s.BM25(k1=1.5, b=0.75, method="lucene", backend="numpy")
    model.index((rows, numbers), create_empty_token=False, show_progress=False)
    found = []
    for question, terms in zip(questions, cut([question.question for question in questions]), strict=True):
        asked = model.get_tokens_ids(terms)
        first = {ids[row] for row, _ in best_rows(model.get_scores_from_ids(asked), K)} if asked else set()
        found.append(sum(gold in first for gold in question.supporting) / len(question.supporting))
    return found


def shown(name: str, found: dict[str, Any]) -> str:
    """One set for people."""
    lines = [f"{name}: {found['questions']:,} questions over {found['passages']:,} passages"]
    for measure in ("recall", "full_recall"):
        value, low, high = found[measure]["difference"]
        lines.append(
            f"  {measure + f'@{K}':<16} bm25s {found[measure]['bm25s']:.4f}  ragscale {found[measure]['ragscale']:.4f}"
            f"  difference {value:+.4f} [{low:+.4f}, {high:+.4f}]"
        )
    seconds = found["seconds"]
    lines.append(f"  processor time of ours to theirs {seconds['ragscale'] / seconds['bm25s']:.2f} ({seconds})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
