"""Checks of the corpus ``corpora/elements``: its format, every gold chain, and that multi-hop questions are multi-hop.

Each check is a function that returns a list of problems. The tests apply the checks to the shipped files, where the
list has to be empty, and to deliberately damaged copies of them, where it must not be.
"""

from __future__ import annotations

import copy
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).resolve().parents[2] / "corpora" / "elements"
MIN_WORDS, MAX_WORDS = 40, 110
TYPES = ("single", "bridge", "comparison", "intersection")
RULES = {"comparison": {"min", "max", "same"}, "intersection": {"intersection"}}
REFERENCE = re.compile(r"#(\d+)(?:&#(\d+))?")
SYMBOLS = re.findall(
    "[A-Z][a-z]?",
    "HHeLiBeBCNOFNeNaMgAlSiPSClArKCaScTiVCrMnFeCoNiCuZnGaGeAsSeBrKrRbSrYZrNbMoTc"
    "RuRhPdAgCdInSnSbTeIXeCsBaLaCePrNdPmSmEuGdTbDyHoErTmYbLuHfTaWReOsIrPtAuHgTlPbBi"
    "PoAtRnFrRaAcThPaUNpPuAmCmBkCfEsFmMdNoLrRfDbSgBhHsMtDsRgCnNhFlMcLvTsOg",
)

Passage = dict[str, str]
Question = dict[str, Any]


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def normalise(text: str) -> str:
    """Fold case and accents and reduce everything that is neither letter nor digit to single spaces."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(char for char in folded if not unicodedata.combining(char))
    return " ".join("".join(char if char.isalnum() else " " for char in kept).split())


def mentions(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text as whole words."""
    return f" {normalise(phrase)} " in f" {normalise(text)} "


def whole(passage: Passage) -> str:
    return f"{passage['title']} . {passage['text']}"


def as_list(answer: str | list[str]) -> list[str]:
    return [answer] if isinstance(answer, str) else list(answer)


def common(left: str | list[str], right: str | list[str]) -> list[str]:
    """The members of the left answer list that also stand in the right one."""
    return [name for name in as_list(left) if normalise(name) in {normalise(other) for other in as_list(right)}]


def resolve(first: str, second: str | None, answers: list[str | list[str]]) -> list[str]:
    """The answers that "#n" (or "#n&#m": what the lists n and m have in common) stands for."""
    left = answers[int(first) - 1]
    return as_list(left) if second is None else common(left, answers[int(second) - 1])


def expand(text: str, answers: list[str | list[str]]) -> str:
    return REFERENCE.sub(lambda match: " / ".join(resolve(match[1], match[2], answers)), text)


def step_answers(question: Question) -> list[str | list[str]]:
    return [step["answer"] for step in question["decomposition"]]


def derive(question: Question) -> str:
    """Compute the final answer from the step answers by the rule of the question."""
    answers = step_answers(question)
    if question["type"] in ("single", "bridge"):
        (final,) = as_list(answers[-1])
        return final
    compared = [answers[number - 1] for number in question["compare"]]
    if question["type"] == "intersection":
        (shared,) = common(*compared)
        if len(answers) == 2:
            return shared
        (final,) = as_list(answers[-1])
        return final
    values = [value for answer in compared for value in as_list(answer)]
    if len(values) != len(question["entities"]):
        raise ValueError("there must be one compared step for each entity")
    if question["rule"] == "same":
        return "yes" if len({normalise(value) for value in values}) == 1 else "no"
    numbers = [int(value) for value in values]
    best = min(numbers) if question["rule"] == "min" else max(numbers)
    (winner,) = [entity for entity, number in zip(question["entities"], numbers, strict=True) if number == best]
    return expand(winner, answers)


# ------------------------------------------------------------------------------------------------------------- checks


def check_passages(passages: list[Passage]) -> list[str]:
    problems = []
    for name, count in Counter(passage.get("id", "") for passage in passages).items():
        if count > 1:
            problems.append(f"id {name} occurs {count} times")
    for title, count in Counter(normalise(passage.get("title", "")) for passage in passages).items():
        if count > 1:
            problems.append(f"title {title!r} occurs {count} times")
    for passage in passages:
        label = passage.get("id", "?")
        if set(passage) != {"id", "title", "text"}:
            problems.append(f"{label}: keys {sorted(passage)}")
            continue
        if not re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", label):
            problems.append(f"{label}: not a slug")
        if not passage["title"].strip() or not passage["text"].strip():
            problems.append(f"{label}: empty title or text")
        if passage["text"] != " ".join(passage["text"].split()):
            problems.append(f"{label}: stray white space")
        if not MIN_WORDS <= len(passage["text"].split()) <= MAX_WORDS:
            problems.append(f"{label}: {len(passage['text'].split())} words")
        if not mentions(passage["text"], passage["title"].split(" (")[0].split(",")[0]):
            problems.append(f"{label}: the text does not name its subject")
    return problems


def check_elements(passages: list[Passage]) -> list[str]:
    """Every element has one passage, which states its atomic number and its symbol correctly."""
    found: dict[int, str] = {}
    problems = []
    for passage in passages:
        if passage["id"].startswith("element-"):
            number = re.search(r"atomic number (\d+)", passage["text"])
            symbol = re.search(r"symbol ([A-Z][a-z]?)\b", passage["text"])
            if number is None or symbol is None:
                problems.append(f"{passage['id']}: no atomic number or no symbol")
            else:
                found[int(number[1])] = symbol[1]
    wanted = dict(enumerate(SYMBOLS, start=1))
    problems += [f"element {number}: {found.get(number)}" for number in wanted if found.get(number) != wanted[number]]
    problems += [f"element {number} does not exist" for number in found if number not in wanted]
    return problems


def check_form(question: Question, passages: dict[str, Passage]) -> list[str]:
    problems = []
    kind, steps = question["type"], question["decomposition"]
    required = {"id", "question", "answers", "type", "hops", "anchors", "supporting", "decomposition"}
    required |= {"rule", "compare"} if kind in RULES else set()
    required |= {"entities"} if kind == "comparison" else set()
    if set(question) != required:
        problems.append(f"keys {sorted(set(question) ^ required)}")
    if kind not in TYPES or (kind in RULES and question.get("rule") not in RULES[kind]):
        problems.append("unknown type or rule")
    if not question["question"].strip().endswith("?"):
        problems.append("the question does not end with a question mark")
    if not question["answers"] or any(not isinstance(a, str) or not a.strip() for a in question["answers"]):
        problems.append("empty answers")
    if not 1 <= question["hops"] <= 4 or question["hops"] != len(steps):
        problems.append("hops differ from the number of steps")
    if (kind == "single") != (question["hops"] == 1):
        problems.append("exactly the single questions have one hop")
    if question["supporting"] != list(dict.fromkeys(step["passage"] for step in steps)):
        problems.append("supporting differs from the passages of the decomposition")
    if len(question["supporting"]) != question["hops"]:
        problems.append("two steps share a passage")
    problems += [f"unknown passage {name}" for name in question["supporting"] if name not in passages]
    return problems


def check_steps(question: Question, passages: dict[str, Passage]) -> list[str]:
    """Every step answer stands in its gold passage, and that passage is linked to the answers the step refers to."""
    problems = []
    answers = step_answers(question)
    used: set[int] = set()
    for number, step in enumerate(question["decomposition"], start=1):
        if set(step) != {"question", "answer", "passage"} or not step["question"].strip() or not step["answer"]:
            problems.append(f"step {number}: malformed")
            continue
        passage = passages[step["passage"]]
        for answer in as_list(step["answer"]):
            if not mentions(passage["text"], answer):
                problems.append(f"step {number}: {answer!r} does not stand in {step['passage']}")
            if mentions(expand(step["question"], answers[: number - 1] + [""] * 9), answer):
                problems.append(f"step {number}: the sub-question gives its answer away")
        if isinstance(step["answer"], list) and question["type"] != "intersection":
            problems.append(f"step {number}: a list outside an intersection question")
        for first, second in REFERENCE.findall(step["question"]):
            targets = [int(first)] + ([int(second)] if second else [])
            if any(not 1 <= target < number for target in targets):
                problems.append(f"step {number}: refers to a step that is not earlier")
                continue
            used.update(targets)
            names = resolve(first, second or None, answers)
            if len(names) != 1:
                problems.append(f"step {number}: the reference stands for {names}")
            for name in names:
                if not mentions(whole(passage), name):
                    problems.append(f"step {number}: {step['passage']} does not mention {name!r}")
    used.update(question.get("compare", []))
    used.update(int(n) for entity in question.get("entities", []) for n, _ in REFERENCE.findall(entity))
    loose = set(range(1, len(answers))) - used
    if loose:
        problems.append(f"steps {sorted(loose)} are not used by anything")
    return problems


def check_answer(question: Question, passages: dict[str, Passage]) -> list[str]:
    """The final answer follows from the steps by the rule."""
    try:
        derived = derive(question)
    except (ValueError, IndexError, TypeError) as error:
        return [f"no answer follows from the steps: {error}"]
    if normalise(derived) != normalise(question["answers"][0]):
        return [f"the steps give {derived!r}, not {question['answers'][0]!r}"]
    return []


def check_wording(question: Question, passages: dict[str, Passage]) -> list[str]:
    """The question names its anchors and neither its answer nor any bridging answer."""
    problems = []
    text = question["question"]
    supporting = [whole(passages[name]) for name in question["supporting"]]
    if not question["anchors"]:
        problems.append("no anchors")
    for anchor in question["anchors"]:
        if not mentions(text, anchor):
            problems.append(f"the anchor {anchor!r} does not stand in the question")
        if not any(mentions(passage, anchor) for passage in supporting):
            problems.append(f"no supporting passage mentions the anchor {anchor!r}")
    for step in question["decomposition"]:
        for answer in as_list(step["answer"]):
            if mentions(text, answer):
                problems.append(f"the question contains the step answer {answer!r}")
    named = [entity for entity in question.get("entities", []) if "#" not in entity]
    for entity in named:
        if not mentions(text, entity):
            problems.append(f"the compared {entity!r} is not named in the question")
    # "Which is older, A or B?" has to name its answer; nothing else may.
    if question["answers"][0] not in ["yes", "no", *named]:
        problems += [f"the question contains its answer {a!r}" for a in question["answers"] if mentions(text, a)]
    return problems


def check_multi_hop(question: Question, passages: dict[str, Passage]) -> list[str]:
    """No single passage of the whole corpus joins what the question names to what the answer rests on."""
    if question["hops"] == 1:
        return []
    answers = step_answers(question)
    if question["type"] == "comparison":
        needed = [expand(entity, answers) for entity in question["entities"]]
        needed += [value for number in question["compare"] for value in as_list(answers[number - 1])]
        accept = [needed + question["anchors"]]
    else:
        accept = [[*question["anchors"], answer] for answer in question["answers"]]
    problems = []
    for name, passage in passages.items():
        text = whole(passage)
        if any(all(mentions(text, phrase) for phrase in phrases) for phrases in accept):
            problems.append(f"{name} alone answers the question")
    if question["type"] == "bridge":
        for name in question["supporting"][:-1]:
            if mentions(whole(passages[name]), question["answers"][0]):
                problems.append(f"the answer stands already in {name}")
    return problems


QUESTION_CHECKS = (check_form, check_steps, check_answer, check_wording, check_multi_hop)


def check_question(question: Question, passages: dict[str, Passage]) -> list[str]:
    problems = check_form(question, passages)
    if not problems:
        for check in QUESTION_CHECKS[1:]:
            problems += check(question, passages)
    return problems


# -------------------------------------------------------------------------------------------------- the shipped files

PASSAGES: list[Passage] = read_jsonl(CORPUS / "passages.jsonl")
QUESTIONS: list[Question] = read_jsonl(CORPUS / "questions.jsonl")
BY_ID = {passage["id"]: passage for passage in PASSAGES}


def test_passages() -> None:
    assert len(PASSAGES) >= 300
    assert check_passages(PASSAGES) == []


def test_elements() -> None:
    assert check_elements(PASSAGES) == []


def test_question_set() -> None:
    assert len(QUESTIONS) >= 60
    assert len({question["id"] for question in QUESTIONS}) == len(QUESTIONS)
    assert len({normalise(question["question"]) for question in QUESTIONS}) == len(QUESTIONS)
    kinds = Counter(question["type"] for question in QUESTIONS)
    hops = Counter(question["hops"] for question in QUESTIONS)
    assert set(kinds) == set(TYPES)
    assert set(hops) == {1, 2, 3, 4}
    assert min(*kinds.values(), *hops.values()) >= 8
    yes_no = Counter(question["answers"][0] for question in QUESTIONS if question.get("rule") == "same")
    assert set(yes_no) == {"yes", "no"}


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: str(question["id"]))
@pytest.mark.parametrize("check", QUESTION_CHECKS, ids=lambda check: str(check.__name__))
def test_question(check: Callable[[Question, dict[str, Passage]], list[str]], question: Question) -> None:
    assert check(question, BY_ID) == []


def test_readme_counts() -> None:
    readme = (CORPUS / "README.md").read_text(encoding="utf-8")
    assert f"{len(PASSAGES)} passages" in readme
    assert f"{len(QUESTIONS)} questions" in readme
    for prefix, count in Counter(passage["id"].split("-")[0] for passage in PASSAGES).items():
        assert f"| `{prefix}-` | {count} |" in readme
    table = Counter((question["type"], question["hops"]) for question in QUESTIONS)
    for kind in TYPES:
        cells = " | ".join(str(table[kind, hop] or "\N{EN DASH}") for hop in (1, 2, 3, 4))
        assert f"| {kind} | {cells} |" in readme


# ---------------------------------------------------------------------------------- the checks notice damaged entries


def by_id(name: str) -> Question:
    (question,) = [copy.deepcopy(question) for question in QUESTIONS if question["id"] == name]
    return question


def change(name: str, path: tuple[str | int, ...], value: Any) -> Question:
    question = by_id(name)
    target: Any = question
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return question


BRIDGE, COMPARISON = "bridge3-uranium-hanover", "comparison4-germanium-scandium"
INTERSECTION, SAME = "intersection3-technetium-astatine", "comparison2-meitner-hahn"

DAMAGED = {
    "wrong final answer": change(BRIDGE, ("answers",), ["Bath"]),
    "step answer not in its passage": change(BRIDGE, ("decomposition", 1, "answer"), "Johann Gottfried Galle"),
    "step with another passage": change(BRIDGE, ("decomposition", 2, "passage"), "person-clyde-tombaugh"),
    "reference to a later step": change(BRIDGE, ("decomposition", 1, "question"), "Who discovered #3?"),
    "reference to nothing": change(BRIDGE, ("decomposition", 1, "question"), "Who discovered it?"),
    "supporting is short": change(BRIDGE, ("supporting",), ["element-uranium", "body-uranus"]),
    "wrong hops": change(BRIDGE, ("hops",), 2),
    "unknown passage": change(BRIDGE, ("supporting", 0), "element-unobtainium"),
    "bridging answer in the question": change(
        BRIDGE, ("question",), "In which city was the discoverer of Uranus, which gave uranium its name, born?"
    ),
    "answer in the question": change(BRIDGE, ("question",), "Who from Hanover found the planet of uranium?"),
    "anchor not in the question": change(BRIDGE, ("anchors",), ["plutonium"]),
    "maximum for minimum": change(COMPARISON, ("rule",), "max"),
    "another compared value": change(COMPARISON, ("decomposition", 1, "answer"), "1904"),
    "other entity": change(COMPARISON, ("entities",), ["#3", "#1"]),
    "unknown rule": change(COMPARISON, ("rule",), "median"),
    "yes for no": change(SAME, ("answers",), ["yes"]),
    "empty intersection": change(INTERSECTION, ("decomposition", 0, "answer"), ["Carlo Perrier"]),
    "intersection of two": change(
        INTERSECTION, ("decomposition", 0, "answer"), ["Emilio Segrè", "Ernest Lawrence", "Dale Corson"]
    ),
    "no hop at all": change("bridge2-palladium-body", ("answers", 0), "Pallas"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_questions_are_noticed(name: str) -> None:
    assert check_question(DAMAGED[name], BY_ID) != []


def test_a_passage_that_gives_a_chain_away_is_noticed() -> None:
    leak = {"id": "topic-leak", "title": "Leak", "text": "Uranium recalls a planet seen by a man from Hanover."}
    assert check_question(by_id(BRIDGE), BY_ID) == []
    assert check_multi_hop(by_id(BRIDGE), {**BY_ID, "topic-leak": leak}) == ["topic-leak alone answers the question"]
    both = {**leak, "text": "Germanium: Clemens Winkler, 1838. Scandium: Lars Fredrik Nilson, 1840."}
    assert check_multi_hop(by_id(COMPARISON), {**BY_ID, "topic-leak": both}) != []


@pytest.mark.parametrize(
    "damage",
    [
        {"id": PASSAGES[1]["id"]},
        {"id": "Not A Slug"},
        {"title": PASSAGES[1]["title"]},
        {"text": ""},
        {"text": "too short"},
        {"text": PASSAGES[0]["text"] * 3},
        {"text": PASSAGES[1]["text"]},
        {"note": "one key too many"},
    ],
    ids=lambda damage: next(f"{key}={value[:12]}" for key, value in damage.items()),
)
def test_damaged_passages_are_noticed(damage: Passage) -> None:
    assert check_passages([{**PASSAGES[0], **damage}, *PASSAGES[1:]]) != []


@pytest.mark.parametrize(("old", "new"), [("atomic number 1,", "atomic number 3,"), ("symbol H ", "symbol Hy ")])
def test_damaged_elements_are_noticed(old: str, new: str) -> None:
    assert old in PASSAGES[0]["text"]
    assert check_elements([{**PASSAGES[0], "text": PASSAGES[0]["text"].replace(old, new)}, *PASSAGES[1:]]) != []


def test_normalisation() -> None:
    assert mentions("At Väversunda, in Östergötland.", "vaversunda")
    assert mentions("the Hall\N{EN DASH}Héroult process", "Hall-Heroult process")
    assert not mentions("Darmstadtium", "Darmstadt")
    assert expand("Was #1&#2 born in #3?", [["a", "b"], ["b", "c"], "d"]) == "Was b born in d?"
