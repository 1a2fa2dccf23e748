"""Answers as HTML: complete, a tree by branch, and safe against hostile text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ragscale.answer import Answer, AnswerSpend
from ragscale.types import Choice, Event, Passage, Spend, TracedHit
from ragscale.view.trace import Branch, branches, cost, line, remark

TOTAL = Spend(4, 1200, 60, 300, 3, 15, 2, 8.0)
SERIAL = Spend(2, 700, 40, 0, 1, 5, 1, 5.0)
TRACE = [
    Event("plan", "", output=["first", "second"], spend=Spend(1, 300, 20, 0, 0, 0, 0, 1.0)),
    Event(
        "retrieve",
        "0.0",
        input=["first"],
        passages=["p1", "p2"],
        spend=Spend(queries=1, passages=2, rounds=1),
        hits=[[TracedHit("p1", "One", 0.5), TracedHit("p2", "", None)]],
    ),
    Event("score", "0.0.1", input="first", score=-1.25),
    Event("retrieve", "0.1", input=["second"], note="no hits for ['second']"),
    Event("read", "0.0", input="first", output="a sub-answer"),
    Event("answer", "", output="Warsaw", passages=["p1"]),
]
ANSWER = Answer(
    text="Warsaw", citations=["p1"], mode="tree", stop_reason="answered", spend=AnswerSpend(TOTAL, SERIAL), trace=TRACE,
    question="Where?", passages={"p1": Passage("p1", "Warsaw", "The capital of Poland.")}, limits={"tokens": 4000},
)  # fmt: skip
HOSTILE = "</div></details><script>alert(1)</script><img src=x onerror='alert(2)' style=\"x\">&lt;{{7*7}}"


class _Page(HTMLParser):
    """Elements, text, and whether tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page(answer: Answer) -> _Page:
    parsed = _Page(answer._repr_html_())
    assert parsed.open == []
    return parsed


def test_shows_the_answer_its_passages_its_spends_and_its_trace() -> None:
    text = page(ANSWER).text
    parts = (
        "Where?",
        "Warsaw",
        "tree · answered",
        "[p1]",
        "The capital of Poland.",
        "1,260 / 740 limit 4,000",
        "8.0 / 5.0",
        "Trace (6 moves)",
        "no hits for ['second']",
        "-1.250",
        "300 + 20 tokens, 1.0 s",
    )
    for part in parts:
        assert part in text


def test_bars_are_as_long_as_their_share_of_the_limit_or_of_the_total() -> None:
    widths = re.findall(r"width:([\d.]+)%", ANSWER._repr_html_())
    expected = [1260 / 4000, 740 / 4000, 1, 2 / 4, 1, 1 / 3, 1, 1 / 2, 1, 5 / 8]
    assert [float(width) for width in widths if width != "100"] == pytest.approx([100 * w for w in expected], abs=0.05)


@pytest.mark.parametrize("where", ["question", "answer", "reason", "caveat", "mode", "passage", "trace"])
def test_hostile_text_stays_text(where: str) -> None:
    answers = {
        "question": replace(ANSWER, question=HOSTILE),
        "answer": replace(ANSWER, text=HOSTILE),
        "reason": replace(ANSWER, reason=HOSTILE, stop_reason=HOSTILE),
        "caveat": replace(ANSWER, caveat=HOSTILE),
        "mode": replace(ANSWER, mode=HOSTILE),
        "passage": replace(ANSWER, citations=[HOSTILE], passages={HOSTILE: Passage(HOSTILE, HOSTILE, HOSTILE)}),
        "trace": replace(ANSWER, trace=[
            Event("read", HOSTILE, input=HOSTILE, output=[HOSTILE], note=HOSTILE, score=1.0),
            Event(
                "retrieve", HOSTILE, input=[HOSTILE], passages=[HOSTILE], hits=[[TracedHit(HOSTILE, HOSTILE, 1.0)]]
            ),
            Event("select", HOSTILE, choices=[Choice(HOSTILE, 1.0, "kept")]),
        ]),
    }  # fmt: skip
    parsed = page(answers[where])
    assert set(parsed.tags) <= {"div", "span", "b", "details", "summary"}
    assert {name for name, _ in parsed.attributes} == {"style"}
    assert "alert" not in " ".join(value or "" for _, value in parsed.attributes)
    assert "<script>alert(1)</script>" in parsed.text


def test_an_empty_answer_says_why() -> None:
    nothing = AnswerSpend(Spend(), Spend())
    empty = Answer("", [], "once", "budget:tokens", nothing, [], reason="tokens: 9 would be spent, the limit is 1.")
    text = page(empty).text
    assert "no answer" in text
    assert "⚠ tokens: 9 would be spent" in text
    assert "Trace" not in text
    assert "Passages cited" not in text


def test_an_answer_says_what_its_limit_rests_on() -> None:
    assert "⚠" not in page(ANSWER).text
    text = page(replace(ANSWER, caveat="9 of 90 tokens are an estimate.", reason="tokens: the limit is 90.")).text
    assert "⚠ tokens: the limit is 90.⚠ 9 of 90 tokens are an estimate." in text


def test_the_tree_of_branches() -> None:
    root = branches(TRACE)
    first, second = (item for item in root.items if isinstance(item, Branch))
    assert [item.move if isinstance(item, Event) else item.name for item in root.items] == [
        "plan", "0.0", "0.1", "answer",
    ]  # fmt: skip
    assert [item.move if isinstance(item, Event) else item.name for item in first.items] == [
        "retrieve",
        "0.0.1",
        "read",
    ]
    assert [event.move for event in first.events()] == ["retrieve", "score", "read"]
    assert second.items == [TRACE[3]]
    assert branches([]) == Branch("")


def test_a_line_and_a_cost() -> None:
    assert line(TRACE[0]) == "first | second"
    assert line(TRACE[1]) == "first → 2 passages: One; p2"
    assert line(TRACE[2]) == "first → -1.250"
    assert line(Event("read", "", input="a\nb", output="c")) == "a b → c"
    assert remark(TRACE[1]) == ""
    assert remark(Event("plan", "", status="repeat", note="discarded")) == "asks only what was asked before; discarded"
    choices = [Choice("0.1", -1.0, "pruned"), Choice("0.2", None, "kept")]
    assert remark(Event("select", "", status="kept", choices=choices)) == "kept 0.2 of 2"
    assert cost(Spend()) == ""
    assert cost(Spend(1, 40, 30, reasoning_tokens=20)) == "40 + 30 (20 thought) tokens"
    assert cost(Spend(2, 1000, 50, 10, 2, 9, 1, 1.25)) == "1,000 (10 cached) + 50 tokens, 2 queries, 1.2 s"
