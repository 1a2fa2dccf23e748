"""Features of a run of ``once``: numbers by which a policy decides whether to go on, and which cost nothing more.

The same function makes them of a stored trace, when a policy is fitted, and of a run, when it is used.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from ragscale.language.answers import normal_answer
from ragscale.language.words import words
from ragscale.prompts.wording import informative
from ragscale.types import TracedHit

__all__ = ["FEATURES", "features"]

FEATURES: dict[str, str] = {
    "words": "words of the question",
    "names": "names in the question: runs of capitalised words, the first word left out",
    "numbers": "words of the question with a digit",
    "hits": "hits of the question",
    "lead": "score of the best hit less that of the second, as a share of it",
    "spread": "score of the best hit less that of the last, as a share of it",
    "agreement": "share of the hits that dense search and BM25 both found",
    "order": "whether both have the best hit first",
    "covered": "share of the words of those names that titles of hits have",
    "answered": "whether the answer says anything",
    "length": "words of the answer",
    "echo": "share of the answer's words that the question has",
    "cited": "place of the best cited passage among the hits, from 1; 0 where none is cited",
    "logprob": "mean log-probability of the answer's tokens; 0 where the run did not ask for it",
}
"""Features by name, in the order of a policy's numbers."""

_WORD = re.compile(r"\w[\w'\u2019.-]*\w|\w")


def features(
    question: str, answer: str, citations: Sequence[str], events: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """The features of a run of ``once``; finite numbers.

    Args:
        question: In natural language.
        answer: Its answer.
        citations: Ids of the passages that the answer rests on.
        events: Its trace, as of `Event.to_dict`.
    """
    parts = words(question)
    names = _names(_WORD.findall(unicodedata.normalize("NFKC", question)))
    found: Sequence[Sequence[Any]] = next((event["hits"][0] for event in events if event["hits"]), [])
    hits = [TracedHit(*hit) for hit in found]
    scores = [hit.score for hit in hits if hit.score is not None]
    titles = {word for hit in hits for word in normal_answer(hit.title).split()}
    named = [word for name in names for word in normal_answer(name).split()]
    said, asked = normal_answer(answer).split(), set(normal_answer(question).split())
    places = [place for place, hit in enumerate(hits, 1) if hit.id in set(citations)]
    sure = [event["score"] for event in events if event["move"] == "answer" and event["score"] is not None]
    values = {
        "words": len(parts),
        "names": len(names),
        "numbers": sum(any(char.isdigit() for char in word) for word in parts),
        "hits": len(hits),
        "lead": _drop(scores[:2]),
        "spread": _drop(scores),
        "agreement": _share([hit.dense is not None and hit.bm25 is not None for hit in hits]),
        "order": bool(hits) and hits[0].dense == hits[0].bm25 == 1,
        "covered": _share([word in titles for word in named]),
        "answered": informative(answer),
        "length": len(said),
        "echo": _share([word in asked for word in said]),
        "cited": min(places, default=0),
        "logprob": sure[-1] if sure else 0.0,
    }
    return {name: float(values[name]) for name in FEATURES}


def _names(words: Sequence[str]) -> list[str]:
    """Runs of capitalised words behind the first word, which is capitalised in any case."""
    runs, before = list[str](), False
    for word in words[1:]:
        capital = word[0].isupper()
        if capital and before:
            runs[-1] += f" {word}"
        elif capital:
            runs.append(word)
        before = capital
    return runs


def _drop(scores: Sequence[float]) -> float:
    """Fall from the first score to the last, as a share of the first; 0 where there is none, at most 10 either way."""
    if len(scores) < 2 or not scores[0]:
        return 0.0
    return max(-10.0, min(10.0, (scores[0] - scores[-1]) / abs(scores[0])))


def _share(truths: Sequence[bool]) -> float:
    return sum(truths) / len(truths) if truths else 0.0
