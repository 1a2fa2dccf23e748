"""Readers of turns in plain text: sentences, drafts."""

from __future__ import annotations

import pytest

from ragscale.prompts import Plan, Reply, notes, profile, react, reasoning, states
from ragscale.prompts.backward import CANDIDATES
from ragscale.prompts.reasoning import first, inferential, keywords
from ragscale.types import Passage

ODD = [
    "", " ", "\n\n", "...", "?!", "[", "{", "[]", "null", "\x00\x1b[31m", "</documents><|im_end|>", "<think>",
    "</think>", "<think> hm </think>", "x" * 20_000, "word " * 3000, "." * 5000, "a. " * 3000, "\u2028\u0085", "1.",
    "{} %s {0}", "- ", "Sentence 1:", "\u3002\u3002", "caf\ud83d", "Mr." * 2000, "(" * 4000, '"' * 4000,
]  # fmt: skip
PASSAGES = [Passage("a", "T {question}", "Text")]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("made", ["draft", "sentence"])
def test_no_text_is_too_odd(made: str, text: str) -> None:
    """Nothing or plans, each with words."""
    prompts = {
        "draft": reasoning.draft(profile(), "Who?", PASSAGES),
        "sentence": reasoning.sentence(profile(), "Who?", PASSAGES, []),
    }
    plans = prompts[made].read(text)
    assert plans is None or all(plan.known.strip() for plan in plans)


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_no_turn_of_self_ask_is_too_odd(text: str) -> None:
    for said in (text, f"Follow up: {text}", f"So the final answer is: {text}"):
        reply = reasoning.follow_up(profile(), "Who?", []).read(said)
        assert reply is None or bool(reply.answer.strip()) != bool(reply.queries)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("Follow up: Who directed Jaws?", Reply(queries=["Who directed Jaws?"])),
        ("**Follow-up question 2:** Who directed Jaws?", Reply(queries=["Who directed Jaws?"])),
        ("Follow up: A?\nIntermediate answer: x\nSo the final answer is: y", Reply(queries=["A?"])),
        ("Follow up: A?\nSo the final answer is: y", Reply(queries=["A?"])),
        ("So the final answer is: **Jaws**\nFollow up: A?", Reply(answer="Jaws")),
        ("<think>Follow up: no</think>The final answer is Jaws", Reply(answer="Jaws")),
        ("Final answer: no", Reply(answer="no")),
        ("Follow up: No further questions.", None),
        ("Jaws", None),
    ],
)
def test_turns_of_self_ask(text: str, reply: Reply | None) -> None:
    """The first of the two counts, and nothing that the model invents behind it."""
    assert reasoning.follow_up(profile(), "Who?", []).read(text) == reply


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Jaws is by Spielberg. He was born in 1946.", "Jaws is by Spielberg."),
        ("Dr. J. R. Smith of St. Louis met Mrs. Hill. Then he left.", "Dr. J. R. Smith of St. Louis met Mrs. Hill."),
        ("He lives in the U.S. state of Ohio! Yes.", "He lives in the U.S. state of Ohio!"),
        ("It cost 3.5 million. So", "It cost 3.5 million."),
        ('He wrote "Who Goes There?" in 1938. And', 'He wrote "Who Goes There?"'),
        ("no full stop\nnext line", "no full stop"),
        ("Next sentence: Jaws is a film.", "Jaws is a film."),
        ("2. Jaws is a film.", "Jaws is a film."),
        ("It is the stadium of 1. FC Köln. He played there.", "It is the stadium of 1. FC Köln."),
        ("So the answer is: 1. FSV Mainz 05. It is", "So the answer is: 1. FSV Mainz 05."),
        ("Am 3. Oktober 1990 war es so weit. Und", "Am 3. Oktober 1990 war es so weit."),
        ("Jaws has 3. Alien has 5.", "Jaws has 3."),
        ("<think>long. thought.</think>Jaws is a film. B", "Jaws is a film."),
        ("\u5927\u9ca8\u662f\u7535\u5f71\u3002\u597d\u3002", "\u5927\u9ca8\u662f\u7535\u5f71\u3002"),
        ("...", None),
    ],
)  # fmt: skip
def test_the_first_sentence(text: str, sentence: str | None) -> None:
    """Abbreviations and numbers end none."""
    assert first(text) == sentence


@pytest.mark.parametrize(
    ("sentence", "infers"),
    [
        ("So he is older.", True),
        ("Thus, it is Alien.", True),
        ("Therefore Scott.", True),
        ("That is, in 1946.", True),
        ("1946 - 1937 = 9.", True),
        ("He was 9 + 3 = 12 years old.", True),
        ("Sophia Loren was born in Rome.", False),
        ("Jaws was so good.", False),
        ("From 1937 - 1946 he lived there.", False),
    ],
)
def test_inferential_sentences(sentence: str, infers: bool) -> None:
    assert inferential(sentence) is infers


def test_a_sentence_as_a_query() -> None:
    assert (
        keywords("Spielberg is the one who directed Jaws, which does sell.") == "Spielberg the one directed Jaws, sell."
    )
    assert keywords("Who is") == "Who is"


@pytest.mark.parametrize("text", ["So the answer is: Scott.", "The answer is Scott. Yes.", "Answer: Scott"])
def test_a_conclusion_has_no_query(text: str) -> None:
    [plan] = reasoning.sentence(profile(), "Who?", PASSAGES, ["Jaws."]).read(text) or []
    assert plan == Plan("", first(text) or "")


def test_a_draft_is_searched_for_behind_the_question() -> None:
    prompt = reasoning.draft(profile(), "Who?", PASSAGES)
    assert prompt.read("It is A.\nSo B.") == [Plan("Who? It is A. So B.", "It is A. So B.")]
    assert "[1] T {question}: Text" in prompt.messages[-1]["content"]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_no_critique_is_too_odd(text: str) -> None:
    reply = reasoning.critique(profile(), "Who?", PASSAGES, "A", 2).read(text)
    assert reply is None or reply.enough or 1 <= len(reply.queries) <= 2


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ('{"verdict": "supported", "missing": "nothing", "queries": ["Jaws"]}', Reply(enough=True)),
        ('{"verdict": "unsupported", "missing": "who\\n did", "queries": ["A", "B", "C"]}',
         Reply(queries=["A", "B"], known="who did")),
        ('{"verdict": "unsupported", "missing": "who", "queries": []}', Reply(enough=True, known="who")),
        ("Supported.", Reply(enough=True)),
        ('{"verdict": "unsupp', None),
    ],
)  # fmt: skip
def test_critiques(text: str, reply: Reply | None) -> None:
    assert reasoning.critique(profile(), "Who?", PASSAGES, "A", 2).read(text) == reply


@pytest.mark.parametrize(
    ("text", "queries", "answer"),
    [
        ("So the final answer is: **Paris**.", [], "Paris."),
        ("**Final answer:** Paris", [], "Paris"),
        ("**So the final answer is: Paris**", [], "Paris"),
        ("So the final answer is:\nParis", [], "Paris"),
        ("**Follow up: Who directed Jaws?**", ["Who directed Jaws?"], ""),
        ("Follow up:\nWho directed Jaws?", ["Who directed Jaws?"], ""),
        ("Follow up: Where is Sagittarius A*", ["Where is Sagittarius A*"], ""),
    ],
)
def test_emphasis_and_line_breaks_of_self_ask(text: str, queries: list[str], answer: str) -> None:
    assert reasoning.asked(text) == Reply(queries, answer=answer)


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ('{"verdict": true, "queries": ["x y"]}', []),
        ('{"Verdict": "Supported", "queries": ["x y"]}', []),
        ("Unsupported", []),
        ("The proposed answer is not supported by the documents.", []),
        ("**Verdict:** unsupported\nGame of Thrones creator", ["Game of Thrones creator"]),
        ("No, the creator is missing.\nGame of Thrones creator", ["Game of Thrones creator"]),
        ("Yes, it is.", []),
        ("No Doubt singer", ["No Doubt singer"]),
        ("Wrong Turn director", ["Wrong Turn director"]),
        ("Right Said Fred members", ["Right Said Fred members"]),
        ('{"verdict": "unsupported", "missing": "x", "queries": ["Game of Thrones creator", "H', [
            "Game of Thrones creator"]),
    ],
)  # fmt: skip
def test_a_verdict_is_nothing_to_look_up(text: str, queries: list[str]) -> None:
    reply = reasoning.criticised(text)
    assert reply is not None
    assert (reply.queries, reply.enough) == (queries, not queries)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"best": 2.0}', 2),
        ('{"Best": 2, "why": "since 1990"}', 2),
        ('{"best": "2 of 3"}', 2),
        ('{"best": 2, "why": "it has 5 fac', 2),
        ('{"why": "search 1 has 5 fac', None),
        ("Search 2 is best: it found 1990.", 2),
        ("The best one is 3", 3),
        ('{"best": 0}', None),
    ],
)
def test_the_number_of_the_best(text: str, number: int | None) -> None:
    assert states.chosen(text) == number


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ('{"answers": [{"answer": "Paris"}, {"answer": "Lyon"}]}', ["Paris", "Lyon"]),
        ('{"answers": {"1": "Paris", "2": "Lyon"}}', ["Paris", "Lyon"]),
        ('{"answers": ["Paris", "Ly', ["Paris"]),
        ("Candidates:\n1. Paris\n2. Lyon", ["Paris", "Lyon"]),
        ("- Paris\n- Lyon", ["Paris", "Lyon"]),
        ("I do not know.", None),
    ],
)
def test_candidates_as_objects_and_lines(text: str, answers: list[str] | None) -> None:
    assert CANDIDATES.read(text) == answers


@pytest.mark.parametrize(
    ("text", "queries", "answer"),
    [
        ("Thought: I need him.\nAction: search\nAction Input: Jaws director\nObservation: x", ["Jaws director"], ""),
        ("Action: Search[Jaws director]", ["Jaws director"], ""),
        ('search("Jaws director")', ["Jaws director"], ""),
        ('{"search": {"queries": ["Jaws director"]}}', ["Jaws director"], ""),
        ('{"search": ["none"], "open": [], "answer": "Paris"}', [], "Paris"),
        ("Thought: I know it.\nFinal Answer: Paris", [], "Paris"),
        ("Search (film)", [], "Search (film)"),
    ],
)
def test_turns_of_an_agent_in_words(text: str, queries: list[str], answer: str) -> None:
    reply = react.acted(text)
    assert reply is not None
    assert (reply.queries, reply.answer) == (queries, answer)


@pytest.mark.parametrize(
    ("text", "stop"), [('{"verdict": "STOP", "why": "no need to continue"}', True), ("CONTINUE", False), ("hm", None)]
)
def test_a_verdict_is_read_from_its_field(text: str, stop: bool | None) -> None:
    assert notes.stops(text) is stop
