"""Voting over the answers of several runs."""

from __future__ import annotations

from collections.abc import Sequence

from ragscale.modes.core.moves import Moves
from ragscale.modes.core.state import Outcome, Update
from ragscale.prompts.wording import informative
from ragscale.text import normalise_answer
from ragscale.types import Choice

__all__ = ["plurality", "stopped"]

_ALL = "All inner runs stopped early, each on its share of the limits"


def plurality(moves: Moves, outcomes: Sequence[Outcome]) -> Update:
    """The answer that most outcomes give, after SQuAD's normalisation, as an update of the state; traced.

    Ties go to the answer with the higher mean score, then to the earliest. An outcome without an answer, or one that
    says that it has no information, abstains. Where all abstain, the update has all that was found instead of a text.
    """
    votes: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if informative(outcome["text"]):
            votes.setdefault(normalise_answer(outcome["text"]), []).append(outcome)
    texts = [outcome["text"] for outcome in outcomes]
    if not votes:
        moves.note("select", "no member has an answer", status="empty", input=texts)
        return {"found": [outcome["passages"] for outcome in outcomes]}
    most = max(map(len, votes.values()))
    ahead = [same for same in votes.values() if len(same) == most]
    winner = max(ahead, key=_mean_score)[0]
    same = {outcome["branch"]: group for group in votes.values() for outcome in group}
    choices = [
        Choice(name, len(group), "kept" if winner in group else "pruned")
        for name, group in ((outcome["branch"], same.get(outcome["branch"], [])) for outcome in outcomes)
    ]
    moves.note(
        "select", f"a tie of {len(ahead)} answers" if len(ahead) > 1 else "", status="kept", choices=choices,
        score=float(most), input=texts, output=winner["text"],
    )  # fmt: skip
    return {name: winner[name] for name in ("text", "citations", "chain", "known")}


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


def _mean_score(outcomes: Sequence[Outcome]) -> float:
    scores = [outcome["score"] for outcome in outcomes if outcome["score"] is not None]
    return sum(scores) / len(scores) if scores else float("-inf")
