"""Prompts that read several runs at once: the meta call of multi-chain reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ragscale.prompts.generic import closing
from ragscale.prompts.instructions import instruction
from ragscale.prompts.prompt import NO_INFORMATION, Closing, Prompt, Step
from ragscale.prompts.text import documents, numbered_pairs, one_line
from ragscale.types import Passage

if TYPE_CHECKING:
    from ragscale.prompts.profile import Profile

__all__ = ["META", "Notebook", "meta", "read_reasoned"]

_META = f"""Several people looked up {{corpus}} to answer the same question, each on their own. Compare what they \
found: parts of it are wrong, and what one of them missed another may have. Reply in JSON: {{"reason": "...", \
"answer": "..."}}: in one sentence the facts that settle it, then the short answer only (a name, a date, a number, a \
short phrase, yes or no). If all of it together does not tell, the answer is exactly: {NO_INFORMATION}"""

_REASONED: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string", "maxLength": 400}, "answer": {"type": "string", "maxLength": 400}},
    "required": ["reason", "answer"],
    "additionalProperties": False,
}


class Notebook(NamedTuple):
    """Work of one run, as the meta call reads it."""

    steps: Sequence[Step]
    notes: Sequence[str] = ()
    answer: str = ""


def read_reasoned(text: str) -> Closing | None:
    """An answer that follows its reason; None where there is none, as in a reply that ends within the reason."""
    said = text.casefold()
    if '"reason"' in said and '"answer"' not in said:
        return None
    return closing(text)


META = instruction(
    "meta", "answer", _META, "{documents}{chains}\nQuestion: {question}", read_reasoned, cap=256, least=48,
    needs=("question", "chains"), schema=_REASONED,
)  # fmt: skip


def meta(profile: Profile, question: str, chains: Sequence[Notebook], docs: Sequence[Passage] = ()) -> Prompt[Closing]:
    """Ask for the answer from the pairs of several chains, in their order.

    Args:
        profile: Makes the prompt.
        question: The user's question.
        chains: A notebook each.
        docs: Passages, best first; may be none.
    """
    lines: list[str] = []
    for number, chain in enumerate(chains, 1):
        lines += [f"Chain {number}:", *numbered_pairs(chain.steps)]
        lines += [f"Note: {one_line(note)}" for note in chain.notes]
        lines += [f"Answer: {one_line(chain.answer)}"] * bool(chain.answer)
    shown = f"{documents(docs)}\n" if docs else ""
    return profile.make(META, question=one_line(question), chains="\n".join(lines), documents=shown)
