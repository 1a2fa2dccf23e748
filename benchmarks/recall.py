"""Retrieval quality: the share of questions for which all gold passages are among the first 5, 10, 20 hits.

For each data set (a folder with corpus.jsonl and questions.jsonl) an index is opened, or built with the default
embedder where there is none, and every kind of search is measured on the same questions. Prints a Markdown table;
`--out` also writes it into a page, between the two comments that mark its place.

    python benchmarks/recall.py --data ../shared/data --indexes indexes --rerank MODEL --out docs/retrieval.md
    python benchmarks/recall.py --data ../shared/data --limit 40 --passages 400     # a trial of half a minute

Without a cross-encoder (`--rerank`, a hub name or a folder) the row of it is left out; `reranker.py` makes one, which
wants `--held-out`.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragscale.index import Index, SearchOptions
from ragscale.measure.questions import Question, load_questions

SETS = {"hotpotqa": "HotpotQA", "2wikimultihopqa": "2WikiMultihopQA", "musique": "MuSiQue"}
CUTS = (5, 10, 20)
MARKS = ("<!-- recall table -->", "<!-- end of recall table -->")
BATCH = 256

Shares = dict[int, float]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--indexes", type=Path, default=Path("indexes"), help="folder of the indexes")
    parser.add_argument("--sets", default=",".join(SETS), help=f"which (default: {','.join(SETS)})")
    parser.add_argument("--weights", default="0.3,0.5,0.7", help="shares of dense scores in weighted fusion")
    parser.add_argument("--rerank", action="append", default=[], metavar="MODEL", help="a cross-encoder; repeatable")
    parser.add_argument("--depth", type=int, default=50, help="candidates that are fused (default: 50)")
    parser.add_argument("--rerank-depth", type=int, default=20, help="candidates that are reranked (default: 20)")
    parser.add_argument("--held-out", action="store_true", help="only questions that reranker.py does not train on")
    parser.add_argument("--limit", type=int, help="the first questions of each set only")
    parser.add_argument("--passages", type=int, help="a trial: index about so many passages, in a temporary folder")
    parser.add_argument("--out", type=Path, help="page to write the table into")
    options = parser.parse_args()

    names = options.sets.split(",")
    table: dict[str, dict[str, Shares]] = {}
    sizes: list[str] = []
    for name in names:
        every = load_questions(options.data / name / "questions.jsonl")
        questions = halves(every)[1] if options.held_out else [q for q in every if q.supporting]
        questions = questions[: options.limit]
        with opened(options, name, questions) as index:
            kind = "held-out questions" if options.held_out else "questions"
            sizes.append(f"{SETS.get(name, name)}: {len(questions):,} {kind} over {len(index):,} passages")
            for row, search in kinds(options).items():
                table.setdefault(row, {})[name] = recall(index, questions, search)
                print(f"{name}: {row} {table[row][name]}", flush=True)
    text = markdown(table, names) + "\n\n" + "; ".join(sizes) + ".\n"
    print(f"\n{text}")
    if options.out:
        write(options.out, text)


def kinds(options: argparse.Namespace) -> dict[str, tuple[str, SearchOptions]]:
    """Every row of the table: how, and with which options."""
    depth: SearchOptions = {"depth": options.depth}
    rows: dict[str, tuple[str, SearchOptions]] = {
        "dense": ("dense", {}),
        "BM25": ("bm25", {}),
        "hybrid, reciprocal rank fusion": ("hybrid", depth),
    }
    for weight in options.weights.split(","):
        rows[f"hybrid, weight {weight}"] = ("hybrid", {**depth, "weight": float(weight)})
    for model in options.rerank:
        name = f"hybrid + rerank of {options.rerank_depth} ({Path(model).name})"
        rows[name] = ("hybrid", {"depth": options.rerank_depth, "rerank": model})
    return rows


def halves(questions: list[Question]) -> tuple[list[Question], list[Question]]:
    """Every second question that names its gold passages, for `reranker.py` to train on, and those held out."""
    named = [question for question in questions if question.supporting]
    return named[::2], named[1::2]


def recall(index: Index, questions: list[Question], kind: tuple[str, SearchOptions]) -> Shares:
    """Share of questions whose gold passages are all among the first hits."""
    how, search_options = kind
    complete = dict.fromkeys(CUTS, 0)
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        found = index.search([q.question for q in batch], max(CUTS), how, **search_options)  # type: ignore[arg-type]
        for question, hits in zip(batch, found, strict=True):
            ids = [hit.passage.id for hit in hits]
            for cut in CUTS:
                complete[cut] += set(question.supporting) <= set(ids[:cut])
    return {cut: count / len(questions) for cut, count in complete.items()}


@contextmanager
def opened(options: argparse.Namespace, name: str, questions: list[Question]) -> Iterator[Index]:
    """The index of a data set, built where it is missing."""
    corpus = options.data / name / "corpus.jsonl"
    with tempfile.TemporaryDirectory() as work:
        folder = options.indexes / name
        if options.passages:
            corpus, folder = part(corpus, questions, options.passages, Path(work)), Path(work, "index")
        with Index.open(folder) if folder.is_dir() else Index.build([corpus], folder) as index:
            yield index


def part(corpus: Path, questions: list[Question], size: int, folder: Path) -> Path:
    """The gold passages of the questions, and others up to a number."""
    gold = {identity for question in questions for identity in question.supporting}
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["id"] in gold]
    others = [line for line in lines if json.loads(line)["id"] not in gold]
    kept += others[: max(0, size - len(kept))]
    out = folder / "part.jsonl"
    out.write_text("".join(kept), encoding="utf-8")
    return out


def markdown(table: dict[str, dict[str, Shares]], names: list[str]) -> str:
    """The table: a row a kind of search, three columns a data set, the best of each column in bold."""
    columns = [(name, cut) for name in names for cut in CUTS]
    best = {column: max(row[column[0]][column[1]] for row in table.values()) for column in columns}
    lines = [
        "| search | " + " | ".join(f"{SETS.get(name, name)} @{cut}" for name, cut in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for row, found in table.items():
        cells = [f"{found[name][cut]:.3f}".lstrip("0") for name, cut in columns]
        marked = [
            f"**{cell}**" if found[c[0]][c[1]] == best[c] else cell for cell, c in zip(cells, columns, strict=True)
        ]
        lines.append(f"| {row} | " + " | ".join(marked) + " |")
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the table between the marks of a page; a page without them is replaced."""
    marked = f"{MARKS[0]}\n{text}{MARKS[1]}"
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    between = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), re.DOTALL)
    new = between.sub(lambda _: marked, old) if between.search(old) else f"{marked}\n"
    page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
