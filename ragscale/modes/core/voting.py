"""Voting over the answers of several runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ragscale.language.answers import normal_answer
from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import Outcome, Update
from ragscale.prompts.wording import informative
from ragscale.types import Choice

__all__ = ["Weigh", "best", "decided", "majority", "plurality", "stopped"]

Weigh = Callable[[Outcome], float]
"""Weight of a vote, from 0 to 1."""

_ALL = "All inner runs stopped early"


def plurality(moves: Moves, outcomes: Sequence[Outcome], weigh: Weigh | None = None) -> Update:
    """The answer that most outcomes give, by its words in any language, as an update of the state; traced.

    With `weigh`, the answer whose outcomes have the largest sum of weights, in the words of the one that weighs most.
    Ties go to the answer with the higher mean score, then to that of more outcomes (where no score tells them apart),
    then to the earliest. An outcome without an answer, or one that says that it has no information, abstains. Where all
    abstain, the update has all that was found instead of a text.
    """
    votes = _tally(outcomes)
    texts = [outcome["text"] for outcome in outcomes]
    if not votes:
        moves.note("select", "no member has an answer", status="empty", input=texts)
        return {"found": [outcome["passages"] for outcome in outcomes]}
    totals = [_total(group, weigh) for group in votes]
    ahead = [group for group, total in zip(votes, totals, strict=True) if total == max(totals)]
    won = max(ahead, key=lambda group: (_mean_score(group), len(group)))
    winner = max(won, key=weigh) if weigh else won[0]
    same = {outcome["branch"]: group for group in votes for outcome in group}
    choices = [
        Choice(name, _total(group, weigh), "kept" if winner in group else "pruned")
        for name, group in ((outcome["branch"], same.get(outcome["branch"], [])) for outcome in outcomes)
    ]
    moves.note(
        "select", f"a tie of {len(ahead)} answers" if len(ahead) > 1 else "", status="kept", choices=choices,
        score=float(_total(won, weigh)), input=texts, output=winner["text"],
    )  # fmt: skip
    return {name: winner[name] for name in ("text", "citations", "chain", "known")}


def best(
    moves: Moves, outcomes: Sequence[Outcome], among: Sequence[Outcome] | None = None, *, input: list[str] | str = ""
) -> Outcome:
    """The outcome of the highest score; traced. Ties go to the earliest, and one without a score comes last.

    Args:
        moves: Of the node.
        outcomes: Those that the trace tells of.
        among: Those that are chosen from. Default: all.
        input: The choice's input, for the trace.
    """
    kept = max(among or outcomes, key=lambda one: float("-inf") if one["score"] is None else one["score"])
    choices = [Choice(one["branch"], one["score"], "kept" if one is kept else "pruned") for one in outcomes]
    moves.note("select", status="kept", choices=choices, score=kept["score"], output=kept["text"], input=input)
    return kept


def decided(outcomes: Sequence[Outcome], left: int, confidence: float, weigh: Weigh | None = None) -> str:
    """Reason in words why a vote is decided with `left` members to come, each of which weighs 1 at most; or empty.

    Either no other answer can overtake the leader any more, or it is the majority's with a posterior probability above
    `confidence`: the rule of Adaptive-Consistency (arXiv 2305.11860), of the two leading answers.
    """
    first, second, *_ = [*sorted((_total(group, weigh) for group in _tally(outcomes)), reverse=True), 0, 0]
    if first - second > left:
        return "no other answer can overtake"
    if first and (likely := majority(first, second)) > confidence:
        return f"the leading answer is the majority's with probability {likely:.3f}"
    return ""


def majority(first: float, second: float) -> float:
    """Probability that the leading answer of two is given more often than not, after so many votes for each.

    It is P(p > 1/2) under Beta(first + 1, second + 1), the posterior of a uniform prior: the regularised incomplete
    beta function I(1/2; second + 1, first + 1) by its series, which holds for sums of weights, too.
    """
    a, b = second + 1, first + 1
    term = math.exp(math.lgamma(a + b) - math.lgamma(a + 1) - math.lgamma(b) - (a + b) * math.log(2))
    total, number = 0.0, 0
    while term > total * 1e-16:
        total, term, number = total + term, term * (a + b + number) / (a + 1 + number) / 2, number + 1
    return min(1.0, total)


def stopped(outcomes: Sequence[Outcome]) -> Update:
    """Stop reason of a run all of whose inner runs were stopped: the first's, as an update of the state.

    Where one came to its own end, the whole was not cut short, and the update is empty.
    """
    if not all(outcome["stop"] for outcome in outcomes):
        return {}
    first = outcomes[0]
    words = first["reason"]
    if not words.startswith(_ALL):
        words = f"{_ALL}: {words}"
    return {"stop": first["stop"], "reason": words}


def _tally(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Outcomes by their answers, in the order in which these came."""
    votes: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if informative(outcome["text"]):
            votes.setdefault(normal_answer(outcome["text"]), []).append(outcome)
    return list(votes.values())


def _total(group: Sequence[Outcome], weigh: Weigh | None) -> float:
    return sum(map(weigh, group)) if weigh else len(group)


def _mean_score(outcomes: Sequence[Outcome]) -> float:
    scores = [outcome["score"] for outcome in outcomes if outcome["score"] is not None]
    return sum(scores) / len(scores) if scores else float("-inf")
