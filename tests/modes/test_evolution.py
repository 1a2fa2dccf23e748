"""Runs that are tried again, searched from both ends, and bred: counts by hand, and what each hands on."""

from __future__ import annotations

import functools
import json
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conformance import check
from doubles import QUESTION, StubIndex, Together, counts, instead, move_of, run, scripted, section_of

from ragscale.answer import Answer
from ragscale.budget import Budget
from ragscale.llm.scripted import ScriptedCall
from ragscale.modes import BestOfN, Bidirectional, Chain, Evolve, Mode, Once, Parallel, Retry, Vote
from ragscale.modes.core.costs import Costs
from ragscale.modes.search.population import drawn
from ragscale.prompts import INSTRUCTIONS
from ragscale.prompts.backward import CANDIDATES
from ragscale.prompts.confidence import CONFIDENCE, SUMMARY
from ragscale.prompts.evolution import ELITES, EVALUATE, REFINE
from ragscale.types import Event

ODD = [
    "", " ", "null", "[]", "{}", "[" * 4000, '{"a":' * 2000, "true", '"', "-1", "1e400", "NaN", "9" * 6000, "101",
    '{"confidence": null}', '{"confidence": true}', '{"confidence": [1]}', '{"confidence": "high"}', '{"queries": 7}',
    '{"answers": {"a": 1}}', '{"keep": "all"}', '{"picked": [1e9, null, "x"]}', "caf\ud83d", "<think>", "word " * 3000,
]  # fmt: skip


replying = functools.partial(instead, section_of)


def counted(mode: Mode, **options: Any) -> tuple[Answer, tuple[int, int, int]]:
    """A run without limits, and its calls, retrievals and rounds."""
    answer, ledger = run(mode, **options)
    check(answer, ledger, Budget())
    return answer, counts(answer)


def in_full(mode: Mode) -> tuple[int, int, int]:
    """The same by `Mode.cost`."""
    full = mode.cost(Costs())[1]
    return full.llm_calls, full.queries, full.rounds


def prompts(calls: list[ScriptedCall]) -> list[str]:
    """User messages of the calls."""
    return [call.messages[-1]["content"] for call in calls]


@pytest.mark.parametrize("text", ODD)
def test_readers_take_any_text(text: str) -> None:
    """Malformed is None; nothing raises."""
    for section in ("confidence", "summary", "candidates", "backward", "verify", "refine", "evaluate", "elites"):
        INSTRUCTIONS[section].read(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"confidence": 85}', 85.0), ('{"confidence": 0}', 0.0), ('```json\n{"confidence": "70%"}\n```', 70.0),
        ("I am 90 percent sure.", 90.0), ("95", 95.0), ("<think>10 or 20</think>60", 60.0), ("between 10 and 20", None),
        ("120", None), ('{"confidence": -5}', None), ("high", None),
    ],
)  # fmt: skip
def test_a_confidence_is_read(text: str, said: float | None) -> None:
    assert CONFIDENCE.read(text) == said


def test_a_summary_that_says_nothing_is_none() -> None:
    assert SUMMARY.read("No relevant information found") is None
    assert SUMMARY.read("Jaws is by Spielberg.\nHis birth is missing.") == "Jaws is by Spielberg. His birth is missing."


@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        (Retry(), (42, 19, 19)),  # 3 (2 L + 1 + 1), and the look at the question
        (Retry(of=Chain(steps=2, question_k=0), carry="exclude"), (18, 6, 6)),
        (Retry(of=Chain(steps=2, question_k=0), carry="summary"), (18 + 2, 6, 6)),
        (Retry(of=Vote(of=Once(), n=3), tries=2), (2 * (3 + 1), 1, 1)),
        (Retry(of=Once(), tries=1), (1, 1, 1)),  # one answer is compared with none
    ],
    ids=str,
)
def test_retry_costs_as_the_formula_says(mode: Mode, counts: tuple[int, int, int]) -> None:
    """A model that is never sure."""
    assert counted(mode)[1] == counts
    if mode != Retry(of=Once(), tries=1):
        assert in_full(mode) == counts


def confidences(*said: int) -> Any:
    """A script that is as sure of each answer in turn."""
    left = iter(said)
    return replying(confidence=lambda call: {"confidence": next(left)})


@pytest.mark.parametrize(
    ("said", "runs", "kept"),
    [([80], 1, "0"), ([79, 100], 2, "1"), ([10, 60, 30], 3, "1"), ([40, 40, 40], 3, "0")],
)
def test_retry_ends_at_the_first_sure_answer_else_the_surest_is_taken(said: list[int], runs: int, kept: str) -> None:
    answer, (calls, _, _) = counted(Retry(of=Once()), llm=scripted(confidences(*said)))
    [select] = [event for event in answer.trace if event.move == "select"]
    assert calls == 2 * runs
    assert [choice.score for choice in select.choices] == said
    assert [choice.branch for choice in select.choices if choice.status == "kept"] == [kept]
    assert answer.text in next(str(e.output) for e in answer.trace if (e.branch, e.move) == (kept, "answer"))


def tried(carry: Any, of: Mode, **replies: Any) -> list[list[str]]:
    """The prompts of each try's planning and answering, by try."""
    llm = scripted(replying(**replies))
    answer, _ = counted(Retry(of=of, carry=carry), llm=llm)
    made = iter(prompts(llm.calls))
    found: dict[str, list[str]] = {}
    for event in answer.trace:
        for _ in range(event.spend.llm_calls):
            prompt = next(made)
            if event.move in ("plan", "answer"):
                found.setdefault(event.branch.partition(".")[0], []).append(prompt)
    return list(found.values())


@pytest.mark.parametrize("of", [Chain(steps=1), Parallel(rounds=1), Once(), BestOfN(of=Chain(steps=1), n=1)], ids=str)
def test_retry_hands_on_what_it_says(of: Mode) -> None:
    """Below the question of every planning and closing move of the next tries, however deep, and in no other's."""
    hint = "Answers that earlier attempts gave and that are probably wrong: "
    first, second, third = tried("exclude", of)
    assert not any("earlier" in prompt for prompt in first)
    assert all(f"{QUESTION}\n{hint}answer w" in prompt for prompt in second + third)
    assert all(prompt.split(hint)[1].split("\n")[0].count("; answer w") == 1 for prompt in third)

    first, second, third = tried("summary", of, summary="Jaws is by Spielberg.\nNot sure.")
    assert not any("earlier" in prompt for prompt in first)
    assert all("It noted: Jaws is by Spielberg. Not sure." in prompt for prompt in second + third)

    assert not any("earlier" in prompt for prompts in tried("none", of) for prompt in prompts)


def test_a_summary_builds_on_the_one_before_and_one_that_fails_loses_nothing() -> None:
    said = iter(["first note", "N/A"])
    llm = scripted(replying(summary=lambda call: next(said)))
    counted(Retry(of=Chain(steps=1), carry="summary"), llm=llm)
    first, second = prompts([call for call in llm.calls if section_of(call) == "summary"])
    assert "Known before: nothing" in first
    assert "Known before: first note" in second
    assert "It noted: first note" in prompts(llm.calls)[-2]  # the closing answer of the third try


def test_what_is_handed_on_is_said_in_published_layouts_too() -> None:
    llm = scripted()
    run(Retry(of=Chain.preset("corag-paper", steps=1), tries=2, carry="exclude"), llm=llm)
    assert sum("probably wrong" in prompt for prompt in prompts(llm.calls)) == 2  # a plan and an answer
    llm = scripted()
    run(Retry(of=Parallel.preset("rag-r1-paper", rounds=1), tries=2, carry="exclude"), llm=llm)
    assert sum("probably wrong" in call.messages[0]["content"] for call in llm.calls) == 2


def test_no_answer_is_no_confidence_and_no_call() -> None:
    texts = iter(["", "No relevant information found", "Oslo"])

    def script(messages: Any, call: ScriptedCall) -> Any:
        return json.dumps({"confidence": 99} if section_of(call) else {"answer": next(texts), "documents": [1]})

    answer, (calls, _, _) = counted(Retry(of=Once()), llm=scripted(script))
    assert (answer.text, calls) == ("Oslo", 4)
    assert [event.status for event in answer.trace if event.move == "score"] == ["empty", "empty", ""]


def scored(answer: Answer) -> list[Event]:
    return [event for event in answer.trace if event.move == "score"]


@pytest.mark.parametrize("tokens", [1_000, 2_000, 4_000, 6_000])
def test_a_try_that_is_the_only_one_does_what_its_mode_would(tokens: int) -> None:
    """And pays for no check of an answer that is compared with none."""
    budget, index = Budget(tokens=tokens), StubIndex(words=100)
    alone, _ = run(Chain(steps=6), index=index, budget=budget)
    answer, _ = run(Retry(), index=index, budget=budget)
    assert [event.move for event in answer.trace if event.move != "select"] == [event.move for event in alone.trace]


def test_more_tokens_pay_for_more_tries_each_in_full() -> None:
    lengths = []
    for tokens in (10_000, 20_000, 40_000):
        answer, _ = run(Retry(), index=StubIndex(words=100), budget=Budget(tokens=tokens))
        reads = [event.branch for event in answer.trace if event.move == "read"]
        lengths.append([reads.count(str(n)) for n in range(3)])
    assert [length[0] for length in lengths] == [6, 6, 6]
    assert lengths[-1] == [6, 6, 6]
    assert lengths == sorted(lengths)


NAMES = ["Ann", "Bob", "the bob.", "Cy", "N/A", "Dee"]
BOTH = Bidirectional(of=Chain(steps=3, question_k=0))


def proposing(*answers: str, **replies: Any) -> Any:
    return scripted(replying(candidates={"answers": answers}, **replies))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"answers": ["Ann", "ann", "Bob"]}', ["Ann", "Bob"]), ('["A", 7, true, null, {"a": 1}]', ["A", "7", "yes"]),
        ('{"candidates": ["Ann", "Bob"]}', ["Ann", "Bob"]), ('{"answer": ["Ann"], "why": ["x"]}', ["Ann"]),
        ('{"answers": "Ann"}', ["Ann"]), ('{"answers": ["N/A", ""]}', None), ("Ann", None), ("[]", None),
    ],
)  # fmt: skip
def test_candidates_are_read(text: str, said: list[str] | None) -> None:
    assert CANDIDATES.read(text) == said


@pytest.mark.parametrize(
    ("ahead", "n", "back"),
    [(3, 3, 1), (2, 1, 2), (1, 4, 3)],
)
def test_bidirectional_costs_as_the_formula_says(ahead: int, n: int, back: int) -> None:
    """C = 2 L_f + 1 + n 2 L_b + 1, R = L_f + n L_b, S = max(L_f, L_b): the call that proposes is no round."""
    mode = Bidirectional(of=Chain(steps=ahead, question_k=0), candidates=n, checks=back)
    answer, counts = counted(mode, llm=proposing(*NAMES))
    assert counts == (2 * ahead + 1 + n * 2 * back + 1, ahead + n * back, max(ahead, back))
    assert in_full(mode) == counts
    assert answer.spend.serial.llm_calls == 1 + 2 * max(ahead, back) + 1
    assert counted(Bidirectional(), llm=proposing(*NAMES))[1] == (14, 7, 4) == in_full(Bidirectional())


def test_both_directions_run_in_one_superstep() -> None:
    """Each first call of a direction waits until all of them wait: one after another would time out."""
    together = Together(4)
    llm = scripted(
        replying(candidates={"answers": NAMES}), sleep=together,
        delay=lambda call: float(move_of(call) == "plan" and "Looked up so far:\n1." not in call.messages[-1]["content"]
                                 and section_of(call) != "candidates"),
    )  # fmt: skip
    answer, _ = run(Bidirectional(of=Chain(steps=1, question_k=0)), llm=llm)
    assert (together.failed, llm.most_running, answer.stop_reason) == (0, 4, "answered")


def test_the_merged_prompt_has_both_directions_and_each_candidate_its_own() -> None:
    llm = proposing(*NAMES)
    answer, _ = run(BOTH, llm=llm)
    last = llm.calls[-1]
    assert section_of(last) == "verify"
    text = last.messages[-1]["content"]
    pairs = {e.branch: [] for e in answer.trace if e.move == "read"}
    for event in answer.trace:
        if event.move == "read":
            pairs[event.branch].append(f"{event.input} -> {event.output}")
    assert {branch: len(lines) for branch, lines in pairs.items()} == {
        "forward": 3, "backward.0": 1, "backward.1": 1, "backward.2": 1,
    }  # fmt: skip
    blocks = text.split("Looked up for ")
    assert all(line in blocks[1] for line in pairs["forward"])
    for n, name in enumerate(["Ann", "Bob", "Cy"]):
        assert blocks[n + 2].startswith(f"the candidate {name}:")
        assert pairs[f"backward.{n}"][0] in blocks[n + 2]
    assert text.endswith(f"Question: {QUESTION}")


def test_a_check_is_of_its_candidate_and_ends_where_nothing_is_left_to_look_up() -> None:
    llm = proposing("Ann", "Bob", backward=lambda call: {"queries": [] if "Ann" in str(call.messages) else ["b"]})
    _, counts = counted(Bidirectional(of=Chain(steps=1, question_k=0), checks=3), llm=llm)
    # forward 2, candidates, Ann asks nothing, Bob asks once and repeats himself, verify
    assert counts == (2 + 1 + 1 + 3 + 1, 2, 1)
    assert all(("Ann" in text) != ("Bob" in text) for text in prompts(llm.calls) if "Candidate answer:" in text)


@pytest.mark.parametrize("reply", ["", "none", '{"answers": []}'])
def test_without_candidates_it_is_the_forward_direction(reply: str) -> None:
    llm = scripted(replying(candidates=reply))
    _, counts = counted(BOTH, llm=llm)
    assert counts == (2 * 3 + 1 + 1, 3, 3)
    assert move_of(llm.calls[-1]) == "answer"
    assert section_of(llm.calls[-1]) == ""


def test_a_small_budget_has_fewer_candidates_and_each_is_checked_to_its_end() -> None:
    found = []
    for tokens in (2_000, 5_000, 6_000, 8_000):
        answer, ledger = run(
            Bidirectional(), llm=proposing(*NAMES), index=StubIndex(words=100), budget=Budget(tokens=tokens)
        )  # fmt: skip
        check(answer, ledger, Budget(tokens=tokens))
        reads = [event.branch for event in answer.trace if event.move == "read"]
        found.append(sum(branch.startswith("backward") for branch in reads))
        assert reads.count("forward") >= (2 if found[-1] else 1)
        assert found[-1] == sum(e.branch.startswith("backward") and e.move == "plan" for e in answer.trace)
    assert (found[0], found[1], found[-1]) == (0, 1, 3)
    assert found == sorted(found)


SMALL = Evolve(generations=2, islands=2, conversations=2, turns=2, queries=1, question_k=0)


def births(answer: Answer) -> list[tuple[int, ...]]:
    """Generation, island, conversation and turn of each candidate that was evaluated, in the order of the trace."""
    names = [event.branch.split(".") for event in answer.trace if event.move == "answer" and event.branch]
    return [(*map(int, name), 0)[:4] for name in names]


def migrations(answer: Answer) -> list[str]:
    """Births by generation and island, and what happened between them, in order."""
    found: list[str] = []
    for event in answer.trace:
        said = event.note if event.move == "select" else ".".join(event.branch.split(".")[:2])
        if said and said not in found[-1:]:
            found.append(said)
    return found


def evaluated(rate: Callable[[int], int], **replies: Any) -> Any:
    """A model whose evaluation number n rates the support of its own answer so."""
    numbers = iter(range(10_000))

    def evaluate(call: ScriptedCall) -> Any:
        n = next(numbers)
        return {"found": [f"fact {n}"], "missing": f"gap {n}", "answer": f"answer {n}", "documents": [1],
                "support": rate(n)}  # fmt: skip

    return scripted(replying(evaluate=evaluate, **replies))


@pytest.mark.parametrize(
    ("text", "keep", "queries"),
    [
        ('{"critique": "x", "keep": [2, 2, 1, 0, -1, "3", true], "queries": ["a b", "A B"]}', [2, 1, 3], ["a b"]),
        ('{"keep": [], "queries": []}', [], []), ('["a b"]', None, ["a b"]), ('{"keep": [1]}', [1], []),
        ('{"keep": "all", "queries": ["x y"]}', None, ["x y"]),
    ],
)  # fmt: skip
def test_a_refinement_is_read(text: str, keep: list[int] | None, queries: list[str]) -> None:
    assert REFINE.read(text) == (keep, queries)


def test_a_verdict_is_read() -> None:
    said = EVALUATE.read('{"found": ["a", "N/A"], "missing": "b\\nc", "answer": "Ann", "documents": [2], "support": 7}')
    assert said
    assert (said.answer, said.numbers, said.missing, said.support) == ("Ann", [2], "b c", 7.0)
    assert said.found == ["a", "No relevant information found"]
    for support in ("11", "-1", "true", '"high"', "null"):
        said = EVALUATE.read(f'{{"answer": "Ann", "support": {support}}}')
        assert said
        assert said.support == 0.0
    assert EVALUATE.read('{"answer": "", "support": 9}') is None


@pytest.mark.parametrize(
    ("text", "said"), [('{"picked": [2, 9, 2]}', [2, 9]), ("[3, 1]", None), ('{"picked": []}', None), ("2 and 3", None)]
)
def test_a_pick_is_read(text: str, said: list[int] | None) -> None:
    assert ELITES.read(text) == said


def test_evolve_costs_as_the_formula_says() -> None:
    """Two calls a candidate, the initial ones among them; islands take turns, conversations run side by side."""
    answer, counts = counted(SMALL)
    assert len(births(answer)) == len(set(births(answer))) == 16
    assert counts == (32, 16, 8) == in_full(SMALL)
    assert answer.spend.serial.llm_calls == 8 * 2
    assert counted(Evolve())[1] == (48, 49, 13) == in_full(Evolve())


def test_the_paper_is_a_preset() -> None:
    """10 x 4 x 5 x 4 = 800 candidates, the initial ones among them; 3 resets of a call each."""
    paper = Evolve.preset("mind-evolution-paper")
    assert in_full(paper)[0] == 2 * 800 + 3
    assert (paper.parents, paper.emigrants, paper.elites, paper.refill, paper.retries) == (5, 5, 15, 5, 5)


def test_critic_and_author_are_one_reply_that_sees_the_parents_and_the_feedback() -> None:
    llm = evaluated(lambda n: n % 10)
    counted(Evolve(generations=1, islands=1, conversations=1, turns=2, question_k=0, queries=1), llm=llm)
    assert [section_of(call) for call in llm.calls] == ["", "evaluate", "refine", "evaluate"]
    shown = llm.calls[2].messages[-1]["content"]
    assert "Plan 1, supported 0 of 10:\n1. query about " in shown
    assert " -> fact 0\nAnswer: answer 0\nMissing: gap 0" in shown
    assert "gold" not in "".join(prompts(llm.calls))


def test_the_first_draft_and_evaluations_are_greedy_all_else_is_sampled() -> None:
    llm = evaluated(lambda n: 1)
    run(SMALL, llm=llm)
    hot = [call.temperature for call in llm.calls if section_of(call) != "evaluate"]
    assert (hot[0], set(hot[1:])) == (0.0, {0.7})
    assert {call.temperature for call in llm.calls if section_of(call) == "evaluate"} == {0.0}


def test_a_child_keeps_steps_of_two_parents_and_only_new_queries_are_retrieved() -> None:
    """Recombination costs nothing but the new step."""

    def keep(call: ScriptedCall) -> Any:
        both = "Plan 2" in call.messages[-1]["content"]
        return {"critique": "x", "keep": [1, 2, 99] if both else [1], "queries": [f"new {call.seed}"]}

    index = StubIndex()
    llm = evaluated(lambda n: 1, refine=keep)
    mode = Evolve(generations=3, islands=1, turns=1, question_k=0, queries=1, conversations=3)
    counted(mode, llm=llm, index=index)
    assert [len(batch) for batch in index.searches] == [1] * 9
    steps = [
        text.split("Steps:\n")[1].split("\nQuestion")[0].split("\n") for text in prompts(llm.calls) if "Steps:" in text
    ]
    assert any(len(lines) == 3 and "new" in lines[2] for lines in steps)  # two parents' steps and a new one


def test_p0_is_a_sixth_and_parents_are_drawn_by_fitness() -> None:
    draws = [drawn(random.Random(n), [0.0, 5.0, 9.0], 2, 1.0) for n in range(6_000)]
    numbers = Counter(map(len, draws))
    assert numbers[0] / 6_000 == pytest.approx(1 / 6, abs=0.02)
    assert numbers[1] / 6_000 == pytest.approx(5 / 12, abs=0.02)
    firsts = Counter(draw[0] for draw in draws if draw)
    assert firsts[2] / firsts[1] == pytest.approx(math.e**4, rel=0.5)
    assert all(len(set(draw)) == len(draw) for draw in draws)
    assert [drawn(random.Random(n), [], 5, 1.0) for n in range(50)] == [[]] * 50
    assert max(len(drawn(random.Random(n), [1.0] * 9, 5, 1.0)) for n in range(200)) == 5
    drawn(random.Random(0), [0.0, 10.0], 2, 0.01)  # a softmax that is nearly a maximum does not overflow


def test_parents_are_drawn_anew_by_every_seed_and_the_same_by_each() -> None:
    """The second generation: the conversations that draft, and the parents of the others."""
    mode = Evolve(generations=2, islands=1, conversations=12, turns=1, question_k=0, queries=1)
    seen = []
    for seed in (0, 0, 1, 2):
        llm = evaluated(lambda n: n % 9)
        run(mode, llm=llm, seed=seed)
        later = llm.calls[24:]
        seen.append([section_of(call) or "draft" for call in later if section_of(call) != "evaluate"])
    assert seen[0] == seen[1]
    assert len({str(kinds) for kinds in seen}) == 3
    drafts = sum(kinds.count("draft") for kinds in seen[1:])
    assert 2 <= drafts <= 11  # 36 conversations, 6 expected


def test_emigrants_leave_after_each_island_s_turn_for_the_next_one() -> None:
    """Cyclic; so the second island has those of the first before its own conversations begin."""
    llm = evaluated(lambda n: n % 9)
    answer, _ = counted(Evolve(generations=2, islands=3, turns=1, question_k=0, queries=1), llm=llm)
    assert migrations(answer) == [
        "0.0", "island 0 -> island 1", "0.1", "island 1 -> island 2", "0.2", "island 2 -> island 0",
        "1.0", "island 0 -> island 1", "1.1", "island 1 -> island 2", "1.2", "island 2 -> island 0",
    ]  # fmt: skip
    gone = [[choice.branch for choice in e.choices] for e in answer.trace if "->" in e.note]
    assert gone[0] == ["0.0.1", "0.0.0"]  # the fittest first
    assert gone[1] == ["0.1.1", "0.1.0"]
    alone, _ = counted(Evolve(generations=2, islands=3, turns=1, emigrants=0, question_k=0, queries=1))
    assert not any("->" in event.note for event in alone.trace)


@pytest.mark.parametrize("at", [0, 1, 2, 5])
def test_it_stops_at_once_when_the_evaluator_is_satisfied(at: int) -> None:
    """After the turn under way: conversations are side by side. The answer is that one's own."""
    llm = evaluated(lambda n: 10 if n == at else 3)
    answer, (calls, _, _) = counted(SMALL, llm=llm)
    assert calls == 2 * (at // 2 + 1) * 2
    assert answer.text == f"answer {at}"
    assert answer.stop_reason == "answered"


def test_the_fittest_answer_wins_and_one_that_says_nothing_has_no_fitness() -> None:
    supports = [9, 2, 7, 7]
    numbers = iter(range(99))

    def evaluate(call: ScriptedCall) -> Any:
        n = next(numbers)
        return {"answer": "unknown" if n == 0 else f"answer {n}", "documents": [1], "support": supports[n]}

    mode = Evolve(generations=1, islands=1, conversations=4, turns=1, question_k=0, queries=1)
    answer, _ = counted(mode, llm=scripted(replying(evaluate=evaluate)))
    assert answer.text == "answer 2"
    [select] = [event for event in answer.trace if event.choices]
    assert [(choice.branch, choice.score) for choice in select.choices] == [("0.0.2", 7), ("0.0.3", 7), ("0.0.1", 2)]


def test_duplicates_and_children_that_are_their_parents_join_no_island() -> None:
    """The same plan with the same answer counts once; a child that keeps all and asks nothing is not evaluated."""
    llm = scripted(replying(refine={"critique": "fine", "keep": [1], "queries": []}))
    mode = Evolve(generations=1, islands=1, conversations=1, turns=3, question_k=0, queries=1)
    answer, (calls, queries, _) = counted(mode, llm=llm)
    assert (calls, queries, len(births(answer))) == (2 + 2 * 2, 1, 1)  # each further turn tries twice
    assert [event.status for event in answer.trace].count("repeat") == 4

    same = replying(evaluate={"answer": "Ann", "documents": [1], "support": 5})
    llm = scripted(lambda messages, call: '["one query"]' if not section_of(call) else same(messages, call))
    mode = Evolve(generations=1, islands=2, conversations=2, turns=1, question_k=0, queries=1)
    answer, _ = counted(mode, llm=llm)
    assert len(births(answer)) == 4
    assert [len(event.choices) for event in answer.trace if "->" in event.note] == [1]  # island 1 finds its own again


@pytest.mark.parametrize("reply", [{"picked": [3, 1]}, "nonsense"])
def test_the_worst_islands_are_refilled_with_elites_that_a_call_picks(reply: Any) -> None:
    """Every generation here, but not after the last; a reply that cannot be read leaves the fittest."""
    mode = Evolve(generations=3, islands=2, conversations=2, turns=1, reset=1, emigrants=0, question_k=0, queries=1)
    llm = evaluated(lambda n: n % 8, elites=reply)
    answer, (calls, _, _) = counted(mode, llm=llm)
    assert calls == 2 * 12 + 2 == in_full(mode)[0]
    resets = [event for event in answer.trace if event.note.startswith("refill")]
    assert [event.note for event in resets] == ["refill island 0", "refill island 0"]
    kept = [choice.branch for choice in resets[0].choices if choice.status == "kept"]
    assert [choice.branch for choice in resets[0].choices] == ["0.1.1", "0.1.0", "0.0.1", "0.0.0"]
    assert kept == (["0.1.1", "0.0.1"] if reply != "nonsense" else ["0.1.1", "0.1.0"])
    shown = next(text for text, call in zip(prompts(llm.calls), llm.calls, strict=True) if section_of(call) == "elites")
    assert shown.count(" of 10)") == 4


def test_a_malformed_reply_is_tried_again_and_charged() -> None:
    replies = iter(["", {"answer": "Ann", "documents": [1], "support": 3}])
    mode = Evolve(generations=1, islands=1, conversations=1, turns=1, question_k=0, queries=1)
    answer, (calls, queries, _) = counted(mode, llm=scripted(replying(evaluate=lambda call: next(replies))))
    assert (answer.text, calls, queries) == ("Ann", 3, 1)
    llm = scripted(replying(evaluate="", refine=""))
    answer, (calls, _, _) = counted(Evolve(generations=2, islands=1, conversations=1, question_k=0, queries=1), llm=llm)
    assert answer.stop_reason == "answered"  # the closing answer, from what was found
    assert calls == 4 * 3 + 1


def test_a_small_budget_has_one_island_and_more_tokens_more_candidates() -> None:
    sizes = []
    for tokens in (1_000, 4_000, 8_000, 16_000, 40_000):
        budget = Budget(tokens=tokens)
        answer, ledger = run(Evolve(), index=StubIndex(words=100), budget=budget)
        check(answer, ledger, budget)
        sizes.append((len({birth[1] for birth in births(answer)}), len(births(answer))))
    assert sizes == sorted(sizes)
    assert sizes[0][1] == 0
    assert sizes[1][0] == 1
    assert sizes[1][1] >= 2
    assert sizes[-1] == (2, 24)
