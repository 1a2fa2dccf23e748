"""Question files and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragscale.errors import InvalidInput
from ragscale.measure.questions import Question, load_questions, questions_hash

GOOD = '{"id": "q1", "question": "Who?", "answers": ["Curie", "Curie"], "supporting": ["p1"], "type": "bridge"}'


def write(path: Path, *lines: str | bytes) -> Path:
    file = path / "questions.jsonl"
    file.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return file


def test_reads_what_it_needs_and_ignores_the_rest(tmp_path: Path) -> None:
    file = write(
        tmp_path, "\ufeff" + GOOD, "", '{"id": "q2", "question": "Où?", "answers": ["Été"], "supporting": null}'
    )
    assert load_questions(file) == [Question("q1", "Who?", ("Curie",), ("p1",)), Question("q2", "Où?", ("Été",))]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON"),
        (b"[1]", "a list, not an object"),
        (b"\xff{}", "invalid UTF-8 at byte 0"),
        (b'{"question": "Who?", "answers": ["x"]}', "id is None"),
        (b'{"id": 7, "question": "Who?", "answers": ["x"]}', "id is 7"),
        (b'{"id": "q2", "question": " ", "answers": ["x"]}', "question is ' '"),
        (b'{"id": "q2", "question": "Who?"}', "answers is None"),
        (b'{"id": "q2", "question": "Who?", "answers": "x"}', "answers is 'x'"),
        (b'{"id": "q2", "question": "Who?", "answers": []}', "answers is empty"),
        (b'{"id": "q2", "question": "Who?", "answers": ["x", 1]}', r"answers is \['x', 1\]"),
        (b'{"id": "q2", "question": "Who?", "answers": ["x"], "supporting": "p"}', "supporting is 'p'"),
        (GOOD.encode(), "id 'q1' is that of line 1"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path: Path, line: bytes, problem: str) -> None:
    file = write(tmp_path, GOOD, "", line)
    with pytest.raises(InvalidInput, match=rf"questions\.jsonl:3: {problem}"):
        load_questions(file)


def test_an_absent_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.jsonl: cannot be read"):
        load_questions(tmp_path / "absent.jsonl")
    with pytest.raises(InvalidInput, match="no questions"):
        load_questions(write(tmp_path, "", "  "))


def test_the_hash_tells_questions_apart_and_nothing_else() -> None:
    one = Question("a", "Who?", ("x",), ("p",))
    assert questions_hash([one]) == questions_hash([Question("a", "Who?", ("x",), ("p",))])
    others = [
        Question("b", "Who?", ("x",), ("p",)),
        Question("a", "Why?", ("x",), ("p",)),
        Question("a", "Who?", ("y",), ("p",)),
        Question("a", "Who?", ("x",), ("q",)),
    ]
    assert len({questions_hash([q]) for q in [one, *others]}) == 5
    assert questions_hash([one, others[0]]) != questions_hash([others[0], one])
