"""Continuations of any shape: never an exception, never more than one kind of reply, never an invented query.

100,000 of them by ``pytest tests/prompts/test_fuzz_turns.py -m slow``.
"""

from __future__ import annotations

import random
import time

import pytest

from ragscale.prompts import PROFILES, Reply, normalise
from ragscale.prompts.tags import turn
from ragscale.prompts.thoughts import spoken, versions

PIECES = [
    *("<think>", "</think>", "<search>", "</search>", "<answer>", "</answer>", "<information>", "</information>"),
    *(
        "<SEARCH>",
        "< search >",
        "</ answer>",
        "<thinking>",
        "<",
        ">",
        "</",
        "search",
        "<|im_end|>",
        "<search",
        "answer>",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        "\\",
        ",",
        ":",
        ";\n",
        "##",
        "\n",
        "```json",
        "\u201c",
        "\u201d",
        "**",
        "1. ",
        "24) ",
    ),
    *('{"queries": ["', '"]}', '{"answer": ', "true", "null", "none", "N/A", "and", "Query: ", "Answer: ", "1,000"),
    *("Jaws", "director", "C++", "C#", "\u0915\u0940", "\u0e02\u0e49\u0e32\u0e27", "e\u0301", "\ud83d", "\U0001f600"),
    *(
        "\u200d",
        "\x00",
        "\u2028",
        " ",
        "  ",
        ". ",
        "? ",
        "I use ",
        "was born in 1946",
        "Paris is the capital of France",
    ),
]


def grown(seed: int) -> str:
    """A text of tags, brackets and words of many scripts."""
    chance = random.Random(seed)
    return "".join(chance.choice(PIECES) + chance.choice(["", " "]) for _ in range(chance.randrange(40)))


def check(seed: int) -> None:
    text = grown(seed)
    for name, made in PROFILES.items():
        reply = made.turn("Who?", [], {}, most=3).read(text)
        if reply is not None:
            assert sum([bool(reply.queries), bool(reply.answer), reply.enough]) <= 1, (seed, name)
            assert len({normalise(query) for query in reply.queries}) == len(reply.queries), (seed, name)
            assert all(query.strip() == query and len(query.splitlines()) == 1 for query in reply.queries), (seed, name)
            reply.said.encode()
        made.last("Who?", [], {}).read(text)
    made = PROFILES["corag"]
    made.plan("Who?", [], []).read(text)
    made.read("Who?", []).read(text)
    made.answer("Who?", []).read(text)
    made.enough("Who?", []).read(text)
    made.judge("Who?", []).read(text)


def test_of_two_thousand_shapes_are_read() -> None:
    for seed in range(2000):
        check(seed)


@pytest.mark.slow
def test_of_a_hundred_thousand_shapes_are_read() -> None:
    for seed in range(100_000):
        check(seed)


def test_queries_are_what_stands_between_tags() -> None:
    """The query of a clean search outside thoughts is what was written, whatever surrounds it."""
    for seed in range(500):
        text = grown(seed).replace("<", "").replace(">", "")
        assert turn(f"<search> Jaws director </search> {text}", 3) == Reply(
            ["Jaws director"], said="<search> Jaws director </search>"
        )


TAGS = [
    "<think>",
    "</think>",
    "<think></think>",
    "<search>",
    "<search>a",
    "<search>a</search>",
    "<answer>",
    "<information>",
]
SIGNS = [
    "<search> and </search>",
    '"',
    "\u201c",
    "a,",
    "1. a\n",
    "**",
    "__",
    "answer:",
    "Query: ",
    "'",
    "{",
    "is ",
    "no ",
]


@pytest.mark.parametrize("part", TAGS + SIGNS)
def test_of_any_length_are_read_at_once(part: str) -> None:
    text = part * (40_000 // len(part))
    begun = time.process_time()
    for made in (PROFILES["generic"], PROFILES["rag-r1"]):
        for said in (text, f"<search> {text}", f"<answer> {text} </answer>", f'["{text}"]'):
            made.turn("Who?", [], {}).read(said)
            made.last("Who?", [], {}).read(said)
            made.read("Who?", []).read(said)
            spoken(said), versions(said)
    assert time.process_time() - begun < 6  # a square would be hours
