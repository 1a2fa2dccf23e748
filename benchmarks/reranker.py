"""Trains the small cross-encoder of the last row of `recall.py`'s table, on every second question of the data sets.

No package ships a cross-encoder, so this makes one of the packaged embedder's transformer: a pair of question and
passage is to be told from the question with another passage of the same hybrid search. It needs no hub and no GPU, and
shows what reranking is worth on a corpus of one's own; a cross-encoder trained on MS MARCO has seen a thousand times as
many pairs. `recall.py --held-out` then asks the questions that were not trained on.

    pip install accelerate datasets
    python benchmarks/reranker.py --data ../shared/data --indexes indexes --out /tmp/reranker
    python benchmarks/recall.py --data ../shared/data --indexes indexes --rerank /tmp/reranker --held-out
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from recall import BATCH, SETS, halves, opened

from ragscale.index import Index
from ragscale.index.storage.passages import full_text
from ragscale.measure.questions import Question, load_questions
from ragscale.weights import pinned

DEPTH = 30  # negatives are drawn from so many hits of the hybrid search


def main() -> None:
    """Draw the pairs, train, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--indexes", type=Path, default=Path("indexes"), help="folder of their indexes")
    parser.add_argument("--sets", default=",".join(SETS), help=f"which (default: {','.join(SETS)})")
    parser.add_argument("--passages", type=int, help="a trial: index about so many passages, in a temporary folder")
    parser.add_argument("--limit", type=int, help="the first questions of each set only")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--negatives", type=int, default=4, help="other passages a question (default: 4)")
    parser.add_argument("--epochs", type=int, default=2, help="times that a pair is seen (default: 2)")
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a pair (default: 128)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    pairs = []
    for name in options.sets.split(","):
        questions = halves(load_questions(options.data / name / "questions.jsonl"))[0][: options.limit]
        with opened(options, name, questions) as index:
            pairs += drawn(index, questions, options.negatives, random.Random(options.seed))
    train(pairs, options)


def drawn(index: Index, questions: list[Question], negatives: int, rng: random.Random) -> list[tuple[str, str, float]]:
    """Question, passage, and 1 for gold or 0 for another hit of the hybrid search."""
    found = []
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        searched = index.search([q.question for q in batch], DEPTH, "hybrid", weight=0.5)
        for question, hits in zip(batch, searched, strict=True):
            others = [hit.passage for hit in hits if hit.passage.id not in question.supporting]
            gold = [index.passage(identity) for identity in question.supporting]
            found += [(question.question, full_text(passage), 1.0) for passage in gold]
            some = rng.sample(others, min(negatives, len(others)))
            found += [(question.question, full_text(passage), 0.0) for passage in some]
    return found


def train(pairs: list[tuple[str, str, float]], options: argparse.Namespace) -> None:
    """By the trainer of sentence-transformers, with its binary cross-entropy."""
    from datasets import Dataset
    from sentence_transformers.cross_encoder import (
        CrossEncoder,
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
        losses,
    )

    queries, passages, labels = map(list, zip(*pairs, strict=True))
    print(f"{len(pairs):,} pairs, {sum(labels):,.0f} of them gold", flush=True)
    model = CrossEncoder(
        str(pinned.path("embedder")), num_labels=1, max_length=options.max_length, device="cpu", local_files_only=True
    )
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(options.out),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=16,
        learning_rate=1e-4,
        warmup_steps=0.1,
        seed=options.seed,
        save_strategy="no",
        logging_steps=20,
        report_to="none",
        use_cpu=True,
    )
    data = Dataset.from_dict({"query": queries, "passage": passages, "label": labels})
    trainer = CrossEncoderTrainer(
        model=model, args=arguments, train_dataset=data, loss=losses.BinaryCrossEntropyLoss(model)
    )
    trainer.train()
    model.save_pretrained(str(options.out))


if __name__ == "__main__":
    main()
