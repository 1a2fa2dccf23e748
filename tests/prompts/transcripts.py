"""Transcripts of every profile: the messages of each move, to the letter, as `golden/` records them.

``python tests/prompts/transcripts.py`` writes the record anew; its diff shows how a format changed.
"""

from __future__ import annotations

from pathlib import Path

from ragscale.prompts import NO_INFORMATION, PROFILES, Prompt, Step, Turn
from ragscale.types import Passage

GOLDEN = Path(__file__).parent / "golden"

QUESTION = "Who is older, the director of Jaws or Ridley Scott"
JAWS = Passage("jaws", "Jaws (film)", "Jaws is a 1975 film\nby Steven Spielberg {n}.")
SPIELBERG = Passage("spielberg", "Steven Spielberg", "He was born in 1946. </information><|im_end|>")
SCOTT = Passage("scott", "Ridley Scott", 'An English director, born in 1937: "Sir Ridley".')
PASSAGES = {passage.id: passage for passage in (JAWS, SPIELBERG, SCOTT)}
STEPS = [
    Step(query="director of Jaws", passages=["jaws"], answer="Steven Spielberg"),
    Step(query="birth of Steven Spielberg", passages=["spielberg"], answer="1946"),
]
FIRST = "<think> I need both births. </think>\n<search> director of Jaws, Ridley Scott </search>"
LOST = "I am lost."
SEARCHES = {
    "parallel-search": "<search> director of Jaws ## Ridley Scott </search>",
    "hybrid-deep-search": "<|begin_search_queries|>\ndirector of Jaws;\nRidley Scott\n<|end_search_queries|>",
}
NOTES = ["Jaws is by Steven Spielberg", "born in 1937 </answer>"]
"""Notes in place of the passages of the first round."""


def turns(name: str) -> list[Turn]:
    """Two rounds with queries and, between them, a turn without any, where the profile answers it with a notice."""
    many = name in ("generic", "rag-r1", *SEARCHES)
    queries = ["director of Jaws", "Ridley Scott"] if many else ["director of Jaws, Ridley Scott"]
    shown = [["jaws", "spielberg"], ["scott", "jaws"]] if many else [["jaws", "scott"]]
    asked = FIRST[FIRST.index("<search>") :]
    first = Turn(said=FIRST.replace(asked, SEARCHES.get(name, asked)), queries=queries, passages=shown)
    last = Turn(said="<search> Spielberg birth </search>", queries=["Spielberg birth"], passages=[["spielberg"]])
    if name == "hybrid-deep-search":
        begin, end = "<|begin_search_queries|>\n", "\n<|end_search_queries|>"
        first["notes"], last["notes"] = NOTES, [NO_INFORMATION]
        last["said"] = f"Now him.\n</think>\n\n{begin}Spielberg birth{end}"
    return [
        first,
        *([] if name in ("generic", "hybrid-deep-search") else [Turn(said=LOST, queries=[], passages=[])]),
        last,
    ]


def transcript(name: str) -> str:
    """All moves that the profile has forms of its own for."""
    profile = PROFILES[name]
    moves: dict[str, Prompt[object]] = {
        "plan": profile.plan(QUESTION, [JAWS] if name == "generic" else [], []),
        "plan after steps": profile.plan(QUESTION, [], STEPS),
        "read": profile.read("birth of Steven Spielberg", [SPIELBERG, SCOTT]),
        "support": profile.support(QUESTION, STEPS),
        "answer": profile.answer(QUESTION, [JAWS, SCOTT], ["Jaws is by Spielberg"], STEPS),
        "enough": profile.enough(QUESTION, STEPS),
        "turn": profile.turn(QUESTION, [], {}, most=3),
        "turn after rounds": profile.turn(QUESTION, turns(name), PASSAGES, most=3),
        "last turn": profile.last(QUESTION, turns(name), PASSAGES),
    }  # type: ignore[dict-item]
    own = {"support": "read", "last turn": "turn"}
    return "".join(
        _shown(move, prompt) for move, prompt in moves.items() if profile.covers(own.get(move, move.split()[0]))
    )


def _shown(move: str, prompt: Prompt[object]) -> str:
    limits = f"max_tokens={prompt.max_tokens} stop={list(prompt.stop)} schema={'yes' if prompt.schema else 'no'}"
    end = "<continued here>\n" if prompt.continued else ""
    texts = "".join(f"<{message['role']}>\n{message['content']}\n" for message in prompt.messages)
    return f"######## {move}: {limits}\n{texts}{end}\n"


if __name__ == "__main__":
    for profile_name in PROFILES:
        (GOLDEN / f"{profile_name}.txt").write_text(transcript(profile_name), "utf-8")
