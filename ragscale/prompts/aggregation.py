"""Prompts that read several runs at once: the meta call of multi-chain reasoning, the aggregator of a mixture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ragscale.prompts.generic import closing
from ragscale.prompts.instructions import instruction
from ragscale.prompts.parse import ANSWER, ANSWER_SCHEMA, object_schema
from ragscale.prompts.profile import Profile
from ragscale.prompts.prompt import NO_INFORMATION, Closing, Prompt, Step
from ragscale.prompts.text import documents, listed, numbered_pairs, one_line
from ragscale.types import Passage

__all__ = ["META", "MIXTURE", "Notebook", "meta", "mixture", "numbered_answers", "proposed", "read_reasoned"]

_META = f"""Several people looked up {{corpus}} to answer the same question, each on their own. Compare what they \
found: parts of it are wrong, and what one of them missed another may have. Reply in JSON: {{"reason": "...", \
"answer": "..."}}: in one sentence the facts that settle it, then the short answer only (a name, a date, a number, a \
short phrase, yes or no). If all of it together does not tell, the answer is exactly: {NO_INFORMATION}"""

_MIXTURE = """Answer the question from the documents. Answers that others proposed may help; some may be wrong, so \
check each against the documents, and combine what is right. Reply in JSON: {"answer": "...", "documents": [...]}: the \
short answer only (a name, a date, a number, a short phrase, yes or no) and the numbers of the documents that tell."""

_REASONED = object_schema(reason={"type": "string", "maxLength": 400}, answer=ANSWER)


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
MIXTURE = instruction(
    "mixture", "answer", _MIXTURE, "{documents}\nProposed answers:\n{answers}\nQuestion: {question}", closing,
    cap="answer", needs=("question", "documents", "answers"), schema=ANSWER_SCHEMA,
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


def mixture(profile: Profile, question: str, docs: Sequence[Passage], answers: Sequence[str]) -> Prompt[Closing]:
    """Ask for the final answer from passages and the numbered answers of proposers.

    Args:
        profile: Makes the prompt.
        question: The user's question.
        docs: Passages, best first.
        answers: In the order of the proposers.
    """
    return profile.make(
        MIXTURE, question=one_line(question), documents=documents(docs), answers="\n".join(numbered_answers(answers))
    )


def numbered_answers(answers: Sequence[str]) -> list[str]:
    """The answers of proposers, a line each."""
    return listed(map(one_line, answers))


def proposed(answers: Sequence[str]) -> str:
    """The hint by which the proposers of the next layer see the answers of the one before."""
    return "\n".join(["Answers that others proposed; some may be wrong:", *numbered_answers(answers)])
