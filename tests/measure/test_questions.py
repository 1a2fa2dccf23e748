"""Question files and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragscale.errors import InvalidInput
from ragscale.measure.questions import Question, load_questions, shuffled

GOOD = '{"id": "q1", "question": "Who?", "answers": ["Curie", "Curie"], "supporting": ["p1"], "type": "bridge", "x": 1}'


def write(path: Path, *lines: str | bytes) -> Path:
    file = path / "questions.jsonl"
    file.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
    return file


def test_reads_what_it_needs_and_ignores_the_rest(tmp_path: Path) -> None:
    file = write(
        tmp_path, "\ufeff" + GOOD, "", '{"id": "q2", "question": "Où?", "answers": ["Été"], "supporting": null}'
    )
    assert load_questions(file) == [
        Question("q1", "Who?", ("Curie",), ("p1",), "bridge"),
        Question("q2", "Où?", ("Été",)),
    ]


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


def test_what_else_is_known_is_read(tmp_path: Path) -> None:
    more = '"hops": 2, "breadth": 1, "cluster": "d1"'
    [question] = load_questions(write(tmp_path, f"{GOOD[:-1]}, {more}}}"))
    assert (question.type, question.hops, question.breadth, question.cluster) == ("bridge", 2, 1, "d1")
    for bad, problem in (
        ('"hops": "2"', "hops is '2', not a whole number"),
        ('"cluster": 5', "cluster is 5, not a text"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            load_questions(write(tmp_path, f"{GOOD[:-1]}, {bad}}}"))


def test_the_order_depends_on_the_ids_alone() -> None:
    questions = [Question(f"q{i}", "Who?", ("x",)) for i in range(200)]
    order = shuffled(questions)
    assert shuffled(questions[::-1]) == order != questions
    # a part of them keeps its order, and any first part is spread over all
    assert shuffled(questions[:100]) == [question for question in order if question in questions[:100]]
    assert 20 < sum(question in questions[:100] for question in order[:80]) < 60
