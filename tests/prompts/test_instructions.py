"""Instructions: prompts that a strategy brings along, and a template file's texts in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragscale.errors import InvalidInput
from ragscale.prompts import INSTRUCTIONS, instruction, profile
from ragscale.prompts.generic import COLLECTION
from ragscale.prompts.instructions import PLACEHOLDER, Instruction

ROOT = Path(__file__).parents[2]


@pytest.fixture
def told() -> Iterator[Instruction[str]]:
    """An instruction of a third party."""
    yield instruction(
        "guess", "plan", "Guess from {corpus}.", "{question}\n{hint}", str.strip, cap="plan",
        schema={"type": "string"},
    )  # fmt: skip
    del INSTRUCTIONS["guess"]


def test_values_are_filled_in_once(told: Instruction[str]) -> None:
    """Braces of a value stay text, and the corpus is described."""
    prompt = profile(about="legal cases", plan_tokens=50).make(told, question="Who is {hint}?", hint="{corpus}")
    assert [message["content"] for message in prompt.messages] == [
        "Guess from legal cases.", "Who is {hint}?\n{corpus}",
    ]  # fmt: skip
    assert (prompt.move, prompt.max_tokens, prompt.read(" x "), prompt.schema) == ("plan", 50, "x", {"type": "string"})


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ('[guess]\nuser = "Q: {question}"', ["Q: Who?"]),
        (
            '[guess]\nsystem = "Of {corpus}: {hint}"\nuser = "{question}"',
            ["Of {corpus}: none", "Who?"],
        ),
    ],
)
def test_a_template_file_replaces_its_texts(
    text: str, messages: list[str], told: Instruction[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    prompt = profile(file=path).make(told, question="Who?", hint="none")
    assert [message["content"] for message in prompt.messages] == [m.replace("{corpus}", COLLECTION) for m in messages]
    assert prompt.schema is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[guess]\nuser = "{question} {past}"', "unknown placeholder {past}"),
        ('[guess]\nuser = "{hint}"', "has no {question}"),
        ('[guess]\nsystem = "Guess."', "has no key user"),
        ('[guess]\nuser = "{question}"\norder = "best last"', "key 'order' is unknown"),
        ('[gues]\nuser = "{question}"', "Did you mean 'guess'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(text: str, said: str, told: Instruction[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as error:
        profile(file=path)
    assert said in str(error.value)


def test_a_section_has_one_owner(told: Instruction[str]) -> None:
    with pytest.raises(ValueError, match="twice"):
        instruction("guess", "plan", "", "{question}", str)


@pytest.mark.parametrize("section", INSTRUCTIONS)
def test_every_section_can_be_replaced_as_documented(section: str) -> None:
    """Its own user message is one that a file may have, and docs/prompts.md names the section."""
    told = INSTRUCTIONS[section]
    assert {*told.needs} <= {*PLACEHOLDER.findall(told.user)}
    assert f"`[{section}]`" in (ROOT / "docs/prompts.md").read_text("utf-8")
