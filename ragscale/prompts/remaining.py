"""The remaining budget in words, for a model that plans with it: BATS (arXiv 2511.17006), BCAS (arXiv 2603.08877)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from ragscale.prompts.prompt import Prompt
from ragscale.words import counted

__all__ = ["with_budget"]

T = TypeVar("T")

# Least share that is left -> most queries at once (BATS's tiers), and what to do where one is asked at a time
_TIERS = (
    (0.7, 5, "Plenty is left: look widely."),
    (0.3, 3, "Look up what matters most."),
    (0.1, 1, "Little is left: look up only what the answer cannot do without."),
    (0.0, 0, "Almost nothing is left: look up nothing more if the answer can be told without."),
)


def with_budget(prompt: Prompt[T], amounts: Mapping[str, tuple[float, float]]) -> Prompt[T]:
    """`prompt` with the used and the remaining budget behind its last message, and advice by the share that remains.

    Behind the last message, so that the rest is the same in every turn and is read from the server's prefix cache.

    Args:
        prompt: Of a planner's turn.
        amounts: Used and remaining amount of each limited dimension, by its name in words; unchanged where there is
            none. Of a limit that a server passed nothing remains.
    """
    if not amounts:
        return prompt
    amounts = {name: (used, max(0.0, left)) for name, (used, left) in amounts.items()}
    digits = {"dollars": 6}
    told = "; ".join(
        f"{name}: {used:,.{digits.get(name, 0)}f} used, {left:,.{digits.get(name, 0)}f} left"
        for name, (used, left) in amounts.items()
    )
    share = min(left / (used + left) if used + left else 0.0 for used, left in amounts.values())
    most, advice = next((most, advice) for least, most, advice in _TIERS if share >= least)
    if prompt.queries > 1 and most > 1:
        advice = f"Look up {counted(min(most, prompt.queries), 'thing')} at once, those that matter most."
    *before, last = prompt.messages
    return replace(prompt, messages=[*before, {**last, "content": f"{last['content']}\nBudget: {told}. {advice}"}])
