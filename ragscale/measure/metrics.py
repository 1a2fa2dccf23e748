"""Exact match and F1: the published scripts' arithmetic over normalised words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ragscale.language.answers import Normalisation, normal_answer
from ragscale.types import Event

__all__ = ["exact_match", "f1", "overlap", "retrieved"]

_CLOSED = frozenset({"yes", "no", "noanswer"})


def exact_match(answer: str, gold: Sequence[str], normalisation: Normalisation = "unicode") -> float:
    """1.0 if the answer equals one of the gold answers after normalisation; an empty answer never does."""
    said = normal_answer(answer, normalisation)
    return float(bool(answer.strip()) and said in {normal_answer(text, normalisation) for text in gold})


def f1(answer: str, gold: Sequence[str], normalisation: Normalisation = "unicode") -> float:
    """The best token F1 over the gold answers.

    As in HotpotQA's script, an answer to a yes/no question gets all or nothing: where one side is ``yes``, ``no`` or
    ``noanswer`` and the other differs, the value is 0.
    """
    return max((_f1(answer, text, normalisation) for text in gold), default=0.0)


def _f1(answer: str, gold: str, normalisation: Normalisation) -> float:
    said, wanted = normal_answer(answer, normalisation), normal_answer(gold, normalisation)
    if said == wanted:
        return float(bool(answer.strip()))
    if said in _CLOSED or wanted in _CLOSED:
        return 0.0
    said_tokens, wanted_tokens = said.split(), wanted.split()
    return overlap((Counter(said_tokens) & Counter(wanted_tokens)).total(), len(said_tokens), len(wanted_tokens))


def overlap(common: int, said: int, wanted: int) -> float:
    """F1 of two collections by the numbers of their items, and of those that they have in common."""
    if not common:
        return 0.0
    precision, recall = common / said, common / wanted
    return 2 * precision * recall / (precision + recall)


def retrieved(trace: Iterable[Event]) -> list[str]:
    """Ids of all passages that a run's searches returned, on every branch, in the order of the trace."""
    return list(dict.fromkeys(id for event in trace if event.move == "retrieve" for id in event.passages))
