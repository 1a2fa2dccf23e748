"""The report of runs whose truth is known: its words, verdicts, groups and limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from madeup import HOW, Made, questions, write
from pydantic import TypeAdapter
from smallworld import MakeAgent

import ragscale as rs
from ragscale.errors import InvalidInput
from ragscale.measure import Question, Store
from ragscale.measure.questions import LEFT_OUT
from ragscale.measure.racing import Drop
from ragscale.measure.report import phrases
from ragscale.view.report import Report, report_page

TOKENS = {"tokens": 4000}


def noisy(rate: float, number: int, seed: int = 0) -> list[float]:
    """Scores of 0 and 1, of which a share is 1."""
    return [float(value) for value in np.random.default_rng(seed).random(number) < rate]


def text(report: Report) -> str:
    return "\n".join(report["answer"])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """200 questions, half of one hop: `chain` is right at all, `once` at those of one hop, `parallel` at a fifth."""
    asked = questions(200, hops=[1, 2], gold=2)
    once = [1.0 if question.hops == 1 else 0.0 for question in asked]
    cells = [
        Made("once", once, 1000, budget=TOKENS, recall=0.5),
        Made("chain", [1.0] * 200, 4000, budget=TOKENS, recall=1.0),
        Made("parallel", noisy(0.2, 200), 3000, 1000, budget=TOKENS, recall=0.5),
    ]
    return write(tmp_path_factory.mktemp("large") / "run", asked, cells).report()


def test_the_answer_says_what_to_use_and_where_less_will_do(large: Report) -> None:
    first, strata, serial = large["answer"]
    assert first.startswith("With 4,000 tokens use `chain`: 1.00 [.98, 1.00]; better than `once` by .50 [.43, .57].")
    assert first.endswith(" Better than `parallel`.")
    assert strata == "With 1 hop `once` is equivalent to `chain` and costs 25 % of its tokens."
    assert serial.startswith(
        "At equal serial cost: at about 1,000 tokens one after another use `once`: .50 [.43, .57]; "
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (0, " has the same scores on all 40 questions: at most 7 % of further questions like these would get different "
            "ones (95 % certain)."),
        (1, " has .88 [.74, .95], which is not shown to be worse."),
        (20, ""),
    ],
)  # fmt: skip
def test_a_level_by_what_was_spent_names_what_is_cheaper_and_may_be_as_good(
    wrong: int, told: str, tmp_path: Path
) -> None:
    right = [1.0] * 36 + [0.0] * 4
    once = [0.0] * wrong + right[wrong:]
    cells = [
        Made("once", once, 400, budget=TOKENS), Made("iter-retgen", right, 1000, budget=TOKENS),
        Made("chain", right, 1100, budget=TOKENS),
    ]  # fmt: skip
    serial = write(tmp_path / "run", questions(40), cells).report()["answer"][-1]
    assert serial.startswith("At equal serial cost: at about 1,000 to 1,100 tokens one after another ")
    cheaper = " At 40 % of its tokens one after another `once`"
    assert serial.endswith(f"{cheaper}{told}") if told else cheaper not in serial


def test_the_figures_of_a_large_run(large: Report) -> None:
    (level,) = large["equal"][0]["levels"]
    keys = [cell["key"] for cell in large["cells"]]
    assert [keys[cell] for cell in level["cells"]] == ["chain@tokens=4000", "once@tokens=4000", "parallel@tokens=4000"]
    assert (level["label"], len(level["comparisons"])) == ("up to 4,000 tokens", 3)
    assert {one["verdict"] for one in level["comparisons"]} == {"better"}
    assert [table["axis"] for table in large["equal"]] == ["tokens", "serial_tokens"]
    assert [[keys[at] for at in one["cells"]] for one in large["equal"][1]["levels"]] == [
        ["once@tokens=4000", "parallel@tokens=4000"]
    ]
    assert "grouped by what they cost on average, each at most 1.5 times" in large["equal"][1]["note"]
    assert large["equal"][0]["note"] == ""
    (hops,) = large["problem"]["strata"]
    assert [(one["label"], one["n"], one["best"]) for one in hops["strata"]] == [
        ("1 hop", 100, None),
        ("2 hops", 100, 1),
    ]
    assert hops["interaction"] is not None
    assert (hops["interaction"]["p"] or 1) < 0.001
    assert "depend on the hops (p < .001). For each hop `chain` gains 1.00 " in hops["interaction"]["words"]
    assert large["problem"]["words"].startswith(
        "At equal cost (up to 4,000 tokens). The differences between the modes depend on hops (p < .001). The rule "
    )
    (recall,) = large["problem"]["recall"]
    of = dict(zip([keys[at] for at in large["problem"]["recall_cells"]], recall["rates"], strict=True))
    assert (recall["gold"], recall["n"]) == (2, 200)
    assert {key: rate and rate["value"] for key, rate in of.items()} == {
        "once@tokens=4000": 0.0, "chain@tokens=4000": 1.0, "parallel@tokens=4000": 0.0
    }  # fmt: skip
    oracle = large["problem"]["oracle"]
    assert oracle is not None
    assert (oracle["score"]["value"], oracle["best"]) == (1.0, 1)
    assert oracle["cost"]["tokens"] == pytest.approx(2500, abs=200)  # once or parallel where they are right
    assert [(point["front"], point["share"]) for point in large["charts"][0]["points"]] == [
        (True, 1.0), (True, 1.0), (False, 0.0)
    ]  # fmt: skip
    assert large["stopped"][1]["answered_tokens"] == 4000
    assert large["stopped"][1]["charged"] == {"tokens": 800_000.0, "seconds": 400.0, "usd": None, "llm_calls": 400.0}
    assert [one["overruns"] for one in large["stopped"]] == [0, 0, 0]


def test_it_is_json_of_its_schema_and_makes_a_page(large: Report) -> None:
    TypeAdapter(Report).validate_python(large, strict=True)
    again = json.loads(json.dumps(large, allow_nan=False))
    assert again == large
    assert report_page(again).startswith("<!doctype html>")


@pytest.mark.parametrize("number", [1, 2, 7])
def test_few_questions_give_no_advice(number: int, tmp_path: Path) -> None:
    cells = [Made("once", [0.0] * number, budget=TOKENS), Made("chain", [1.0] * number, budget=TOKENS)]
    report = write(tmp_path / "run", questions(number), cells).report()
    asked = "1 question" if number == 1 else f"{number} questions"
    assert report["answer"][0].startswith(
        f"With 4,000 tokens {asked} cannot tell which mode to use: at least 8 are needed. The highest mean "
        "has `chain`, 1.00 ["
    )
    assert " use `" not in text(report)
    assert report["limits"][0].startswith(f"{asked}: too few to tell modes apart")


def test_few_documents_give_no_advice_and_are_what_is_told(tmp_path: Path) -> None:
    cells = [Made("once", [0.0, 1.0] * 6, budget=TOKENS), Made("chain", [1.0] * 12, budget=TOKENS)]
    report = write(tmp_path / "run", questions(12, of=4), cells).report()
    assert report["answer"][0].startswith(
        "With 4,000 tokens 12 questions of 3 documents cannot tell which mode to use: at least 8 documents are needed. "
    )


@pytest.mark.parametrize("mode", ["auto(policy={path!r})", "vote(of=auto(policy={path!r}), n=3)", "auto", "once(k=3)"])
def test_whose_questions_a_policy_was_fitted_on_is_not_known(mode: str, tmp_path: Path) -> None:
    """A sweep of it over the questions of its fit would score what its trees have seen."""
    path = str(Path(__file__).parents[1] / "modes" / "policy.json")
    cells = [Made("once", noisy(0.5, 20)), Made(mode.format(path=path), noisy(0.6, 20, 1))]
    limits = "\n".join(write(tmp_path / "run", questions(20), cells).report()["limits"])
    assert ("was fitted on these questions is not recorded" in limits) == ("policy=" in mode)


def test_levels_go_by_their_limits_whatever_their_cells_use_of_them(tmp_path: Path) -> None:
    """A mode that uses little of the larger budget, and is not there at the smaller one."""
    small, large = {"tokens": 1000}, {"tokens": 2000}
    cells = [
        Made("chain", noisy(0.3, 40), 900, budget=small), Made("chain", noisy(0.9, 40), 1800, budget=large),
        Made("once(k=1)", noisy(0.3, 40, 1), 200, budget=large),
    ]  # fmt: skip
    report = write(tmp_path / "run", questions(40), cells).report()
    assert [answer[:18] for answer in report["answer"][:2]] == ["With 1,000 tokens ", "With 2,000 tokens "]
    assert report["answer"][2].startswith("More budget: 2,000 tokens instead of 1,000: +")


def test_runs_of_different_seeds_have_the_advice_of_the_later_one(tmp_path: Path) -> None:
    before, after = (
        write(tmp_path / name, questions(12), [Made("once", [1.0] * 12, budget=TOKENS, seed=seed)])
        for name, seed in (("a", 0), ("b", 1))
    )
    assert before.report(after)["answer"] == [
        "The runs have no cell in common: `once@tokens=4000` against `once@tokens=4000,seed=1`.",
        "In `b`, with 4,000 tokens (seed 1) `once` scores 1.00 [.76, 1.00] (12 questions). There is nothing at this "
        "cost to compare it with.",
    ]


def test_what_is_undecided_says_how_many_would_tell(tmp_path: Path) -> None:
    once, chain = [1.0] * 5 + [0.0] * 7, [0.0] * 2 + [1.0] * 6 + [0.0] * 4
    report = write(
        tmp_path / "run", questions(12), [Made("once", once, budget=TOKENS), Made("chain", chain, budget=TOKENS)]
    ).report()
    (comparison,) = report["equal"][0]["levels"][0]["comparisons"]
    assert comparison["verdict"] == "undecided"
    assert comparison["needed"] is not None
    assert comparison["needed"] > 100
    assert report["answer"][0].startswith(
        "With 4,000 tokens no mode is shown to be better than the others (12 questions). The highest mean has `chain`, "
        ".50 ["
    )
    assert "; ahead of `once` by .08 [" in report["answer"][0]
    assert report["answer"][0].endswith(" more questions would tell.")


@pytest.mark.parametrize(("tokens", "told"), [((1_000, 400), "40 % of its tokens `once`"), ((1_000, 600), "")])
def test_a_mode_at_half_the_cost_that_is_not_shown_to_be_worse_is_named(
    tokens: tuple[int, int], told: str, tmp_path: Path
) -> None:
    chain, once = [0.0] * 2 + [1.0] * 6 + [0.0] * 4, [1.0] * 5 + [0.0] * 7
    cells = [
        Made("chain", chain, tokens[0], budget=TOKENS), Made("once", once, tokens[1], budget=TOKENS),
        Made("direct", [1.0] * 4 + [0.0] * 8, tokens[1], budget=TOKENS),
    ]  # fmt: skip
    words = write(tmp_path / "run", questions(12), cells).report()["answer"][0]
    end = f" At {told} has .42 [.19, .68], which is not shown to be worse." if told else ""
    assert words.endswith(f"more questions would tell. Undecided against `direct`.{end}")


def test_equal_modes_are_a_tie_and_the_cheaper_one_is_enough(tmp_path: Path) -> None:
    scores = noisy(0.5, 300)
    cells = [Made("once", scores, 1000, budget=TOKENS), Made("chain", scores, 4000, budget=TOKENS)]
    report = write(tmp_path / "run", questions(300), cells).report()
    assert report["answer"][0].startswith("With 4,000 tokens use `once`: ")
    assert "; equivalent to `chain`: the same scores on all 300 questions: at most 1.0 %" in report["answer"][0]
    tie = write(
        tmp_path / "tie", questions(20),
        [Made("once", [1.0, 0.0] * 10, budget=TOKENS), Made("chain", [0.0, 1.0] * 10, budget=TOKENS)],
    ).report()  # fmt: skip
    assert "The highest mean has `once`, .50 [.30, .70]; `chain` has the same mean (a difference of .00 [" in text(tie)


def test_a_dearer_best_mode_gives_way_to_an_equivalent_one(tmp_path: Path) -> None:
    scores = noisy(0.5, 600)
    cells = [
        Made("once", scores, 1000, budget=TOKENS),
        Made(
            "chain",
            [max(score, float(at == scores.index(0.0))) for at, score in enumerate(scores)],
            4000,
            budget=TOKENS,
        ),
    ]
    report = write(tmp_path / "run", questions(600), cells).report()
    assert report["answer"][0].startswith("With 4,000 tokens use `once`: ")
    assert "equivalent to `chain`, which has the highest mean (" in report["answer"][0]
    assert report["answer"][0].endswith(", at 25 % of its tokens.")


@pytest.mark.parametrize(("tokens", "used"), [(3960, "chain"), (3620, "chain"), (3580, "once"), (4400, "chain")])
def test_an_equivalent_mode_is_used_where_it_saves_a_tenth(tokens: int, used: str, tmp_path: Path) -> None:
    best = noisy(0.5, 400)
    other = [0.0 if at == best.index(1.0) else score for at, score in enumerate(best)]
    cells = [Made("once", other, tokens, budget={"tokens": 8000}), Made("chain", best, 4000, budget={"tokens": 8000})]
    report = write(tmp_path / "run", questions(400), cells).report()
    assert report["answer"][0].startswith(f"With 8,000 tokens use `{used}`: ")
    assert "equivalent to `" in report["answer"][0]


def test_one_cell_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    report = write(tmp_path / "run", questions(12), [Made("once", noisy(0.5, 12), budget=TOKENS)]).report()
    assert report["answer"] == [
        "With 4,000 tokens `once` scores .33 [.14, .61] (12 questions). There is nothing at this cost to compare it "
        "with."
    ]
    assert (report["equal"], report["problem"]["oracle"], report["problem"]["strata"]) == ([], None, [])


def test_all_failed_is_no_result(tmp_path: Path) -> None:
    cells = [Made(mode, [0.0] * 12, budget=TOKENS, stop="failed") for mode in ("once", "chain")]
    report = write(tmp_path / "run", questions(12), cells).report()
    assert report["answer"] == [
        "Nothing is measured: all 24 runs failed. The most frequent reason (24 of them): ModelError: the endpoint is "
        "gone. The same sweep tries them again."
    ]
    assert report["stopped"][0]["answered_tokens"] is None
    assert any(limit.startswith("Failed questions score 0 and are charged") for limit in report["limits"])
    half = write(
        tmp_path / "half", questions(12), [Made("once", noisy(0.5, 12), budget=TOKENS), cells[1]]
    ).report()  # fmt: skip
    assert half["answer"] == [
        "With 4,000 tokens `once` scores .33 [.14, .61] (12 questions). There is nothing at this cost to compare it "
        "with.",
        "Every question failed in `chain@tokens=4000`: nothing is compared with that.",
    ]
    assert [point["front"] for point in half["charts"][0]["points"]] == [True, False]
    zero = write(
        tmp_path / "zero", questions(12), [Made(mode, [0.0] * 12, budget=TOKENS) for mode in ("once", "chain")]
    ).report()  # fmt: skip
    assert zero["answer"][0] == "With 4,000 tokens no answer of `once` and `chain` scores above 0 (12 questions)."


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        (30, ["Failed, and counted as 0: `chain@tokens=4000` 30 of 60 questions. The same sweep tries them again; "]),
        (3, ["Failed, and counted as 0: `chain@tokens=4000` 3 of 60 questions. The same sweep tries them again; "]),
        (2, []),  # below one in twenty
    ],
)
def test_failures_that_move_a_score_are_told_where_modes_are_compared(
    failed: int, told: list[str], tmp_path: Path
) -> None:
    cells = [Made("once", noisy(0.4, 60), budget=TOKENS), Made("chain", [1.0] * 60, budget=TOKENS)]
    run = write(tmp_path / "run", questions(60), cells)
    path = Store(run.folder).path("chain@tokens=4000")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[:failed]:
        row |= {"em": 0.0, "f1": 0.0, "stop_reason": "failed", "reason": "ModelError: 503"}
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    report = run.report()
    found = [words for words in report["answer"] if "ailed" in words]
    assert len(found) == len(told)
    assert "reason" not in report["cells"][0]["runs"]
    for one, reason in ((report, "ModelError: 503"), (run.report(texts=False), LEFT_OUT)):
        reasons = one["cells"][1]["runs"]["reason"]
        assert sorted(filter(None, reasons)) == [reason] * failed
        assert reasons.count(None) == 60 - failed
    assert all(words.startswith(start) for words, start in zip(found, told, strict=True))


def test_a_cell_that_failed_does_not_decide_between_the_others(tmp_path: Path) -> None:
    cells = [Made("once", noisy(0.4, 40), budget=TOKENS), Made("chain", noisy(0.5, 40, 1), budget=TOKENS)]
    ended = Made("tree", [0.0] * 40, 100, budget=TOKENS, stop="failed")
    without = write(tmp_path / "without", questions(40), cells).report()
    report = write(tmp_path / "with", questions(40), [*cells, ended]).report()
    assert report["answer"][0] == without["answer"][0]
    assert "no mode is shown to be better" in report["answer"][0]
    assert report["equal"][0]["levels"] == without["equal"][0]["levels"]


def test_modes_without_limits_are_compared_across_their_costs(tmp_path: Path) -> None:
    cells = [Made("once", [0.0] * 45 + [1.0] * 15, 600), Made("chain", [0.0] * 10 + [1.0] * 50, 4000)]
    report = write(tmp_path / "run", questions(60), cells).report()
    (more,) = [words for words in report["answer"] if words.startswith("More budget: ")]
    assert more.startswith("More budget: `chain` at about 4,000 tokens instead of `once` at about 600 tokens: +.58 [.4")
    assert ", better, " in more


@pytest.mark.parametrize(
    ("limits", "start", "step"),
    [
        ((0.05, 1.25), "With 0.05 seconds ", "1.25 seconds instead of 0.05: "),
        ((0.5, 33.5), "With 0.5 seconds ", "33.5 seconds instead of 0.5: "),
        ((2.0, 1200.0), "With 2 seconds ", "1,200 seconds instead of 2: "),
    ],
)
def test_limits_are_told_as_they_were_given(limits: tuple[float, float], start: str, step: str, tmp_path: Path) -> None:
    cells = [Made("once", noisy(0.5, 20, at), budget={"seconds": one}) for at, one in enumerate(limits)]
    report = write(tmp_path / "run", questions(20), cells).report()
    assert report["answer"][0].startswith(start)
    assert f"More budget: {step}" in text(report)


def test_a_cell_that_scores_nothing_is_no_saving(tmp_path: Path) -> None:
    cells = [Made("direct", [0.0] * 8, 100, budget=TOKENS), Made("once", [1.0] + [0.0] * 7, 1000, budget=TOKENS)]
    assert "which is not shown to be worse" not in text(write(tmp_path / "run", questions(8), cells).report())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.125, ".13"), (0.375, ".38"), (0.625, ".63"), (-0.125, "-.13"), (0.145, ".14"), (1.0, "1.00"),
        (-0.001, ".00"), (10.0, "10.00"), (-10.5, "-10.50"), (100.0, "100.00"), (-0.5, "-.50"),
    ],
)  # fmt: skip
def test_halves_are_rounded_as_the_page_rounds_them(value: float, told: str) -> None:
    assert phrases.score(value) == told


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.0, "0 %"), (0.0003, "0.03 %"), (0.0049, "0.5 %"), (0.00994, "1.0 %"), (0.26, "26 %"), (1.0, "100 %")],
)
def test_shares_are_told_by_their_first_digits(share: float, told: str) -> None:
    assert phrases.percent(share) == told


def test_larger_budgets_and_fits(tmp_path: Path) -> None:
    asked = questions(100)
    cells = []
    for tokens, rate in ((1000, 0.2), (2000, 0.4), (4000, 0.6), (8000, 0.8)):
        scores = [1.0] * int(100 * rate) + [0.0] * (100 - int(100 * rate))
        cells.append(Made("chain", scores, tokens, budget={"tokens": tokens}))
        cells.append(Made("once", [0.0] * 95 + [1.0] * 5, 900, budget={"tokens": tokens}))
    report = write(tmp_path / "run", asked, cells).report()
    assert [answer.partition(":")[0] for answer in report["answer"][:4]] == [
        f"With {tokens} tokens use `chain`" for tokens in ("1,000", "2,000", "4,000", "8,000")
    ]
    more = next(answer for answer in report["answer"] if answer.startswith("More budget: "))
    assert more.startswith("More budget: 2,000 tokens instead of 1,000: +.20 [.1")
    assert more.count(", better") == 3
    chart = report["charts"][0]
    (curve,) = chart["curves"]
    assert (curve["family"], curve["points"], curve["low"], curve["high"]) == ("chain", 4, 1000, 8000)
    assert curve["a"] * np.log(4000 + curve["b"]) + curve["c"] == pytest.approx(0.6, abs=0.01)
    assert curve["a_low"] < curve["a"] < curve["a_high"]
    assert chart["note"] == "No fit for `once`: it takes four different costs."
    serial = report["equal"][1]
    assert "Left out, as they did the same as at a smaller budget: `once@tokens=2000`, " in serial["note"]
    keys = [cell["key"] for cell in report["cells"]]
    assert not [one for one in serial["levels"] if len({keys[at].partition("@")[0] for at in one["cells"]}) < 2]


def test_cells_with_other_questions_are_compared_on_the_common_ones(tmp_path: Path) -> None:
    cells = [
        Made("once", noisy(0.5, 30), budget=TOKENS),
        Made("chain", noisy(0.7, 25, 1), budget=TOKENS),
        Made("parallel", noisy(0.7, 3, 2), budget=TOKENS),
        Made("tree", [], budget=TOKENS),
    ]
    report = write(tmp_path / "run", questions(30), cells).report()
    assert [cell["score"]["n"] for cell in report["cells"]] == [25, 25, 3]
    assert len(report["questions"]) == 30
    assert sum(answer is not None for answer in report["cells"][0]["runs"]["answer"]) == 30
    assert {
        (one["first"], one["second"]): one["difference"]["n"] for one in report["equal"][0]["levels"][0]["comparisons"]
    }[min((1, 0), (0, 1), key=lambda pair: report["equal"][0]["levels"][0]["cells"].index(pair[0]))] == 25
    limits = "\n".join(report["limits"])
    assert "The figures are of 25 questions. Left out, as not all cells have been asked: 5 questions, " in limits
    assert "Asked far fewer questions, or others: `parallel@tokens=4000`." in limits
    assert "Not begun yet: `tree@tokens=4000`." in limits
    assert report["charts"][0]["points"][2] == {"cell": 2, "front": False, "share": None}


def test_two_runs_of_the_same_questions(tmp_path: Path) -> None:
    asked = questions(100)
    before = [Made("once", noisy(0.5, 100), budget=TOKENS), Made("chain", [0.0] * 100, 2000, budget=TOKENS)]
    after = [Made("once", noisy(0.5, 100), budget=TOKENS), Made("chain", [1.0] * 80 + [0.0] * 20, 3000, budget=TOKENS)]
    first = write(tmp_path / "first", asked, before)
    second = write(tmp_path / "second", [*asked[:90], *questions(110)[100:]], after, {**HOW, "llm": "other"})
    report = first.report(second)
    assert [run["name"] for run in report["runs"]] == ["first", "second"]
    assert len(report["questions"]) == 90
    changes = {report["cells"][one["comparison"]["first"]]["key"]: one for one in report["changes"]}
    chain = changes["chain@tokens=4000"]
    assert (chain["comparison"]["verdict"], chain["comparison"]["difference"]["n"]) == ("better", 90)
    assert chain["cost"]["tokens"]["value"] == 1000
    assert changes["once@tokens=4000"]["comparison"]["verdict"] == "equivalent"
    assert report["answer"][0] == (
        "`second` against `first`, on 90 questions of both: of 2 cells 1 is better, none is worse; 1 the same. "
        "Verdicts are corrected for 2 comparisons, intervals are not."
    )
    assert report["answer"][1] == (
        "Better: `chain@tokens=4000` +.89 [.81, .96], better, another score on 80 of 90 questions, 1,000 more tokens a "
        "question."
    )
    assert report["answer"][2].startswith("The same: `once@tokens=4000` has the same answers on all 90 questions")
    assert report["answer"][3].startswith("In `second`, with 4,000 tokens use `chain`: ")
    assert "The runs differ in llm: a change may come of that." in report["limits"]
    with pytest.raises(InvalidInput, match="have no question in common"):
        first.report(write(tmp_path / "third", questions(120)[110:], [Made("once", [1.0] * 10)]))
    other = [Question(id="q0000", question="Another?", answers=("x",))]
    with pytest.raises(InvalidInput, match=r"question 'q0000' is another one in .*first"):
        first.report(write(tmp_path / "fourth", other, [Made("once", [1.0])]))


def test_limits_of_two_runs_name_the_run_of_each_cell(tmp_path: Path) -> None:
    """A key alone would name two cells, and the failures of one would hide those of the other."""
    cut = Made("chain", [0.0] * 10, budget=TOKENS, stop="budget:tokens")
    failed = Made("once", [0.0] * 10, stop="failed")
    runs = [write(tmp_path / name, questions(10), [cut, failed, Made("direct", [1.0] * 10)]) for name in ("a", "b")]
    report = runs[0].report(runs[1])
    limits = "\n".join(report["limits"])
    assert "tries them again: `a: once` 10 and `b: once` 10." in limits
    assert "half of the questions of `a: chain@tokens=4000` and `b: chain@tokens=4000`: a larger budget" in limits
    assert "Every question failed in `a: once` and `b: once`: " in text(report)
    alone = runs[0].report()
    assert "half of the questions of `chain@tokens=4000`: a larger budget" in "\n".join(alone["limits"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([0] * 10, ", at the same tokens."),
        ([300, -300] * 5, ", at the same mean of tokens."),
        ([300, 100] * 5, ", 200 more tokens a question [125, 275]."),
        ([-300, -100] * 5, ", 200 fewer tokens a question [125, 275]."),
    ],
)
def test_tokens_of_two_runs_are_the_same_only_where_they_do_not_vary(
    changes: list[int], told: str, tmp_path: Path
) -> None:
    before, after = (write(tmp_path / name, questions(10), [Made("once", scores)]) for name, scores in (
        ("a", [0.5] * 10), ("b", [0.5] * 9 + [1.0])
    ))  # fmt: skip
    path = Store(after.folder).path("once")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row, more in zip(rows, changes, strict=True):
        row["spend"]["total"]["prompt_tokens"] += more
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert before.report(after)["answer"][1].endswith(f"another score on 1 of 10 questions{told}")


def mixed(base: Path) -> tuple[rs.Run, rs.Run]:
    """Two runs of 60 questions: one cell is better, two are worse, one open, one stays, one is new, one gone."""
    asked = questions(60)
    half, zero, one = [0.0, 1.0] * 30, [0.0] * 60, [1.0] * 60
    open_ = [1.0 - value if at % 12 in (0, 3, 6) else value for at, value in enumerate(half)]
    scores = {
        "once": (half, half), "chain": (zero, one), "parallel": (one, zero), "ircot": (one, half),
        "revise": (half, open_),
    }  # fmt: skip
    paid = {
        "once": (600, 600),
        "chain": (2000, 3000),
        "parallel": (3000, 2500),
        "ircot": (900, 900),
        "revise": (900, 950),
    }
    runs = [
        [Made(mode, two[run], paid[mode][run], budget=TOKENS) for mode, two in scores.items()]
        + [Made(("direct", "self-ask")[run], half, budget=TOKENS)]
        for run in (0, 1)
    ]
    return write(base / "a", asked, runs[0]), write(base / "b", asked, runs[1])


def test_a_mixed_change_is_told_by_its_verdicts(tmp_path: Path) -> None:
    before, after = mixed(tmp_path)
    words = before.report(after)["answer"]
    assert words[0] == (
        "`b` against `a`, on 60 questions of both: a mixed change: of 5 cells 1 is better, 2 are worse; 1 undecided, 1 "
        "the same. Verdicts are corrected for 5 comparisons, intervals are not."
    )
    assert [one.partition(":")[0] for one in words[1:6]] == [
        "Better", "Worse", "Undecided, which does not show that nothing changed", "The same",
        "Not compared, in `a` alone",
    ]  # fmt: skip
    assert words[1].startswith("Better: `chain@tokens=4000` +1.00 [.")
    assert words[1].endswith("better, another score on 60 of 60 questions, 1,000 more tokens a question.")
    assert "`parallel@tokens=4000` -1.00 [-1.00, -." in words[2]
    assert "500 fewer tokens a question" in words[2]
    assert "`ircot@tokens=4000` -.50 [" in words[2]
    assert "`revise@tokens=4000` " in words[3]
    assert "undecided" in words[3]
    assert words[5] == "Not compared, in `a` alone: `direct@tokens=4000`; in `b` alone: `self-ask@tokens=4000`."


def test_only_worse_and_only_undecided_changes(tmp_path: Path) -> None:
    asked = questions(60)
    half = [0.0, 1.0] * 30
    cells = {"a": half, "b": [1 - value if at < 20 else value for at, value in enumerate(half)], "c": [0.0] * 60}
    runs = {name: write(tmp_path / name, asked, [Made("once", scores)]) for name, scores in cells.items()}
    assert runs["a"].report(runs["b"])["answer"][0] == (
        "`b` against `a`, on 60 questions of both: none of 1 cell is shown to be better or worse; 1 undecided."
    )
    assert runs["a"].report(runs["c"])["answer"][0] == (
        "`c` against `a`, on 60 questions of both: of 1 cell 1 is worse, none is better."
    )


def test_seeds_are_compared_apart(tmp_path: Path) -> None:
    cells = [
        Made(mode, noisy(rate, 60, seed), budget=TOKENS, seed=seed)
        for seed in (0, 7)
        for mode, rate in (("once", 0.2), ("vote", 0.8))
    ]
    report = write(tmp_path / "run", questions(60), cells).report()
    assert [level["label"] for level in report["equal"][0]["levels"]] == [
        "up to 4,000 tokens, seed 0", "up to 4,000 tokens, seed 7"
    ]  # fmt: skip
    assert report["answer"][0].startswith("With 4,000 tokens (seed 0) use `vote`: ")
    assert any(answer.startswith("`vote` with other seeds: ") for answer in report["answer"])
    assert "2 seeds: modes are compared within a seed; the spread is in the table of cells." in report["limits"]


@pytest.mark.parametrize(
    ("budget", "start", "axes"),
    [
        ({"rounds": 2}, "With 2 rounds use `chain`: ", ["tokens", "serial_tokens", "rounds"]),
        ({"serial_tokens": 2000}, "With 2,000 tokens one after another use `chain`: ", ["tokens", "serial_tokens"]),
        ({"seconds": 30.0}, "With 30 seconds use `chain`: ", ["tokens", "serial_tokens", "seconds"]),
        ({}, "At about 1,000 tokens use `chain`: ", ["tokens", "serial_tokens"]),
    ],
)
def test_limits_of_every_kind(budget: dict[str, float], start: str, axes: list[str], tmp_path: Path) -> None:
    cells = [Made("once", noisy(0.2, 60), budget=budget), Made("chain", noisy(0.8, 60, 1), budget=budget)]
    report = write(tmp_path / "run", questions(60), cells).report()
    assert report["answer"][0].startswith(start)
    assert [table["axis"] for table in report["equal"]] == axes


def test_what_a_run_cannot_say(tmp_path: Path) -> None:
    cells = [
        Made("once", noisy(0.5, 40), 5000, budget=TOKENS, code="one"),
        Made("chain", noisy(0.5, 40, 3), budget=TOKENS, code="one+own", stop="budget:tokens"),
    ]
    run = write(tmp_path / "run", questions(40, of=4), cells)
    report = run.report(tuned_on_these=True)
    limits = "\n".join(report["limits"])
    assert "40 questions of 10 documents: too few to tell modes apart that differ by less than about ." in limits
    assert "The prompts were tuned on these questions" in limits
    assert "Whether prompts" not in limits
    assert "Whether prompts or parameters were chosen by these questions is not recorded" in "\n".join(
        run.report()["limits"]
    )
    assert "No source documents are known" not in limits
    assert "One model (`scripted`)" in limits
    assert "Limits ended more than half of the questions of `chain@tokens=4000`" in limits
    assert "Charged more than a limit: 40 questions. Please report it." in limits
    assert report["stopped"][0]["overruns"] == 40
    assert "changed during the run" not in limits
    assert [pair["name"] for pair in report["runs"][0]["codes"]] == ["one"]
    mixed = write(tmp_path / "mixed", questions(40), [cells[0], Made("chain", noisy(0.5, 40), code="two+own")]).report()
    assert "The source of modes or prompts changed during the run: its rows are not comparable." in mixed["limits"]
    assert [pair["name"] for pair in mixed["runs"][0]["codes"]] == ["one", "two+own"]


def test_texts_can_be_left_out(tmp_path: Path) -> None:
    run = write(tmp_path / "run", questions(10), [Made("once", noisy(0.5, 10)), Made("chain", noisy(0.5, 8))])
    report = run.report(texts=False)
    told = json.dumps(report)
    for secret in ("Who was number", "answer 3", "answer of"):
        assert secret not in told
        assert secret in json.dumps(run.report())
    assert report["cells"][1]["runs"]["answer"][-2:] == [None, None]


def test_dropped_cells_are_told(tmp_path: Path) -> None:
    cells = [Made("once", [0.0] * 40, budget=TOKENS), Made("chain", [1.0] * 40, budget=TOKENS)]
    drop = Drop("once@tokens=4000", "chain@tokens=4000", 1, 16, 1.0, 0.4, 1000.0, 1000.0)
    report = write(tmp_path / "run", questions(40), cells, drops=[drop]).report()
    assert [(one["cell"], one["by"], one["after"]) for one in report["dropped"]] == [(0, 1, 16)]
    assert report["dropped"][0]["words"] == (
        "`chain@tokens=4000` was better by 1.00 (at least .40, however often one looks) for 1,000 instead of 1,000 "
        "tokens. It has been asked 40 questions all the same."
    )
    cut = [Made("once", [0.0] * 16, budget=TOKENS), cells[1]]
    raced = write(tmp_path / "raced", questions(40), cut, drops=[drop])
    assert raced.report()["dropped"][0]["words"].endswith(" instead of 1,000 tokens.")


def dropped(after: int) -> Drop:
    return Drop("tree@tokens=4000", "chain@tokens=4000", 1, after, 0.9, 0.3, 3000.0, 1000.0)


@pytest.mark.parametrize(("after", "number"), [(16, 17), (16, 32), (32, 50), (64, 100)])
def test_a_cell_that_a_race_dropped_does_not_cut_the_figures_of_the_others(
    after: int, number: int, tmp_path: Path
) -> None:
    """It has half of the questions or more, and the highest mean: its questions were the easy ones."""
    cells = [
        Made("once", noisy(0.3, number), budget=TOKENS), Made("chain", [1.0] * after + [0.0] * (number - after), 2000,
        budget=TOKENS), Made("tree", [0.9] * after, 3000, budget=TOKENS),
    ]  # fmt: skip
    report = write(tmp_path / "run", questions(number), cells, drops=[dropped(after)]).report()
    assert [cell["score"]["n"] for cell in report["cells"]] == [number, number, after]
    assert "`chain`, " in report["answer"][0] or "use `chain`: " in report["answer"][0]
    assert "of `tree`" not in report["answer"][0]
    [level] = report["equal"][0]["levels"]
    assert level["reference"] == 1
    assert [(one["after"], one["cell"]) for one in report["dropped"]] == [(after, 2)]
    assert "Asked far fewer questions, or others: `tree@tokens=4000`." in "\n".join(report["limits"])


@pytest.mark.parametrize("few", [1, 3, 16])
def test_a_cell_that_has_just_begun_does_not_decide(few: int, tmp_path: Path) -> None:
    chain = [0.0, *noisy(0.7, 199, 1)]
    cells = [Made("once", noisy(0.3, 200), budget=TOKENS), Made("chain", chain, 2000, budget=TOKENS)]
    without = write(tmp_path / "without", questions(200), cells).report()
    report = write(
        tmp_path / "with", questions(200), [*cells, Made("tree", [1.0] * few, 3000, budget=TOKENS)]
    ).report()  # fmt: skip
    assert without["answer"][0].startswith("With 4,000 tokens use `chain`: ")
    asked = "1 question" if few == 1 else f"{few} questions"
    if few < 16:
        assert report["answer"][0] == f"{without['answer'][0]} Undecided against `tree` (on {asked})."
    else:
        start = "With 4,000 tokens the highest mean of those that were asked all questions has `chain`, "
        assert report["answer"][0].startswith(start)
        assert report["answer"][0].endswith(" Worse than `tree` (on 16 questions).")
    serial = "At equal serial cost: at about 2,000 to 3,000 tokens one after another `chain` scores "
    assert report["answer"][1].startswith(serial)
    way, end = ("behind", ", undecided") if few < 16 else ("worse than", ".")
    assert f"; {way} `tree` by {phrases.score(1 - np.mean(chain[:few]))} [" in report["answer"][1]
    assert f"] on the {asked} of both{end}" in report["answer"][1]
    assert report["problem"]["oracle"] == without["problem"]["oracle"]


def test_a_mode_whose_rivals_were_all_dropped_is_the_one_to_use(tmp_path: Path) -> None:
    cells = [Made("chain", [1.0] * 40, budget=TOKENS), Made("tree", [0.0] * 16, 3000, budget=TOKENS)]
    report = write(tmp_path / "run", questions(40), cells, drops=[dropped(16)]).report()
    assert report["answer"][0] == (
        "With 4,000 tokens use `chain`: 1.00 [.91, 1.00]; better than `tree` by 1.00 [.59, 1.00] on the 16 questions "
        "of both."
    )


@pytest.mark.parametrize("seeds", [(0, 0), (0, 7)], ids=["a level", "a seed"])
def test_what_has_just_begun_leaves_the_rest_of_the_report(seeds: tuple[int, int], tmp_path: Path) -> None:
    """A level, or the first seed, of five questions, all of them right: nothing was left to group by hops."""
    budgets = ({"tokens": 8000}, TOKENS) if seeds[0] == seeds[1] else (TOKENS, TOKENS)
    cells = [
        Made(mode, scores, cost, budget=budget, seed=seed)
        for budget, seed, of in zip(budgets, seeds, ([[1.0] * 5] * 2, [noisy(0.2, 100), noisy(0.8, 100)]), strict=True)
        for mode, cost, scores in zip(("once", "chain"), (1000, 2000), of, strict=True)
    ]
    report = write(tmp_path / "run", questions(100, hops=[1, 2]), cells).report()
    [hops] = report["problem"]["strata"]
    assert (hops["cells"], [one["n"] for one in hops["strata"]]) == ([2, 3], [50, 50])
    assert any(answer.startswith("With 4,000 tokens") and " use `chain`: ." in answer for answer in report["answer"])


def test_modes_are_told_apart_by_hops_where_the_best_one_has_no_rival(tmp_path: Path) -> None:
    cells = [
        Made("once", noisy(0.4, 40), 600), Made("chain", noisy(0.5, 40, 1), 3000), Made("parallel", noisy(0.5, 40, 2),
        2500), Made("tree", [1.0] * 40, 9000),
    ]  # fmt: skip
    report = write(tmp_path / "run", questions(40, hops=[1, 2]), cells).report()
    [hops] = report["problem"]["strata"]
    assert sorted(hops["cells"]) == [1, 2]
    assert report["problem"]["words"].startswith("At equal cost (about 2,500 to 3,000 tokens). ")


def test_two_runs_of_which_one_cell_has_other_questions(tmp_path: Path) -> None:
    first = write(tmp_path / "a", questions(60)[::-1], [Made("once", [0.5] * 60), Made("chain", [1.0] * 10)])
    second = write(tmp_path / "b", questions(40), [Made("once", [0.5] * 40), Made("chain", [1.0] * 40)])
    report = first.report(second)
    assert [cell["key"] for cell in report["cells"]] == ["once", "once", "chain"]
    assert "Not asked any of the questions of both runs: `a: chain`." in report["limits"]
    assert "ailed" not in text(report)
    assert "alone" not in text(report)  # both runs have it


def test_two_runs_with_limits_of_different_kinds(tmp_path: Path) -> None:
    """Of dollars in the first; the second has no limits, and no price."""
    runs = [
        write(tmp_path / str(usd), questions(30), [
            Made(mode, noisy(rate, 30), budget={} if usd is None else {"usd": 0.01}, usd=usd)
            for mode, rate in (("once", 0.2), ("chain", 0.9))
        ])
        for usd in (0.001, None)
    ]  # fmt: skip
    assert "In `None`, at about 1,000 tokens use `chain`: " in text(runs[0].report(runs[1]))
    assert "In `0.001`, with $0.010 use `chain`: " in text(runs[1].report(runs[0]))


def test_a_limit_of_dollars_where_the_cost_of_a_cell_is_not_known(tmp_path: Path) -> None:
    cells = [
        Made("once", noisy(0.2, 30), budget={"usd": 0.01}, usd=0.001),
        Made("chain", noisy(0.9, 30), budget={"usd": 0.01}),
    ]  # fmt: skip
    report = write(tmp_path / "run", questions(30, hops=[1, 2]), cells).report()
    assert report["answer"][0].startswith("With $0.010 use `chain`: ")
    assert len(report["problem"]["strata"]) == 1


@pytest.mark.parametrize("of", [0, 1])
def test_drops_are_those_of_the_run_that_raced(of: int, tmp_path: Path) -> None:
    raced = [Made("chain", [1.0] * 40, budget=TOKENS), Made("tree", [0.0] * 16, budget=TOKENS)]
    whole = [Made("chain", [1.0] * 40, budget=TOKENS), Made("tree", [0.0] * 40, budget=TOKENS)]
    runs = [
        write(tmp_path / f"{at}", questions(40), raced if at == of else whole, drops=[dropped(16)] if at == of else [])
        for at in (0, 1)
    ]
    report = runs[0].report(runs[1])
    [drop] = report["dropped"]
    cell = report["cells"][drop["cell"]]
    assert (cell["run"], cell["mode"], drop["after"]) == (of, "tree", 16)
    assert "all the same" not in drop["words"]


@pytest.mark.parametrize(
    ("level", "told", "errors"), [(0.95, "95 %", 2.802), (0.999, "99.9 %", 4.132), (0.8, "80 %", 2.123)]
)
def test_what_the_questions_cannot_tell_goes_by_the_level(
    level: float, told: str, errors: float, tmp_path: Path
) -> None:
    cells = [Made("once", [0.0, 1.0, 1.0, 0.0] * 50), Made("chain", [0.0, 1.0, 0.0, 1.0] * 50)]
    report = write(tmp_path / "run", questions(90), [replace(one, scores=one.scores[:90]) for one in cells]).report(
        level=level
    )
    deviation = float(np.std([a - b for a, b in zip(*(one.scores[:90] for one in cells), strict=True)], ddof=1))
    least = phrases.score(errors * deviation / 90**0.5)
    assert report["limits"][0] == f"90 questions: too few to tell modes apart that differ by less than about {least}."
    assert f"The intervals ({told}) are about other questions of this kind" in "\n".join(report["limits"])


@pytest.mark.parametrize("dear", [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.1, 0.3]])
def test_means_that_differ_in_their_last_bit_are_the_same(dear: list[float], tmp_path: Path) -> None:
    """0.1 + 0.2 + 0.3 is 0.6000000000000001 in one order and 0.6 in another: the cheaper mode goes before."""
    cells = [Made("chain", dear * 3, 3000, budget=TOKENS), Made("once", [0.3, 0.2, 0.1] * 3, 1000, budget=TOKENS)]
    cells += [Made("direct", [0.1, 0.2, 0.3] * 3, 1000, budget=TOKENS)]
    report = write(tmp_path / "run", questions(9), cells).report()
    assert "The highest mean has `once`, .20 [" in report["answer"][0]
    assert [point["front"] for point in report["charts"][0]["points"]] == [False, True, True]


@pytest.mark.parametrize(("number", "part"), [(5, "one in 5"), (9, "one in 9"), (10, "a tenth"), (40, "a tenth")])
def test_parts_of_the_cross_validation_are_told(number: int, part: str, tmp_path: Path) -> None:
    cells = [Made("once", noisy(0.5, number)), Made("chain", noisy(0.5, number, 1))]
    words = write(tmp_path / "run", questions(number), cells).report()["problem"]["words"]
    assert f"; without {part} of the questions it chooses the same for " in words


@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ({}, "new", "The runs differ in code: a change may come of that."),
        ({}, "c0de+own", "The runs differ in code: a change may come of that."),
        ({"llm": "other"}, "c0de", "The runs differ in llm: a change may come of that."),
        (
            {"llm": "other", "how": "dense"}, "new",
            "The runs differ in llm, how and code: a change has more than one possible cause.",
        ),
    ],
)  # fmt: skip
def test_what_two_runs_differ_in(how: dict[str, str], code: str, told: str, tmp_path: Path) -> None:
    before = write(tmp_path / "a", questions(10), [Made("once", [0.5] * 10)])
    after = write(tmp_path / "b", questions(10), [Made("once", [0.5] * 10, code=code)], {**HOW, **how})
    assert [limit for limit in before.report(after)["limits"] if "differ in" in limit] == [told]
    assert "differ in" not in "\n".join(before.report(before)["limits"])


def test_more_groups_than_are_shown_are_told(tmp_path: Path) -> None:
    asked = [
        replace(one, type=f"kind {at % 14}", supporting=tuple(f"p{n}" for n in range(1 + at % 15)))
        for at, one in enumerate(questions(60, hops=[1, 2]))
    ]
    cells = [Made("once", noisy(0.5, 60), recall=1.0), Made("chain", noisy(0.5, 60, 1), recall=0.5)]
    problem = write(tmp_path / "run", asked, cells).report()["problem"]
    assert [one["by"] for one in problem["strata"]] == ["hops"]
    assert problem["words"].endswith(" Not by type (14 values): groups are shown of up to 12 values.")
    assert [one["gold"] for one in problem["recall"]] == [*range(1, 16)]


@pytest.mark.parametrize(("limit", "spent", "over"), [(0.3, 0.1 + 0.2, 0), (0.0003, 3 * 0.0001, 0), (0.3, 0.30001, 10)])
def test_sums_of_dollars_that_round_are_no_overrun(limit: float, spent: float, over: int, tmp_path: Path) -> None:
    cells = [Made("once", [1.0] * 10, budget={"usd": limit}, usd=spent)]
    [ends] = write(tmp_path / "run", questions(10), cells).report()["stopped"]
    assert ends["overruns"] == over


@pytest.mark.parametrize("options", [{"margin": -0.1}, {"margin": float("nan")}, {"level": 1.0}])
def test_numbers_out_of_range(options: dict[str, Any], tmp_path: Path) -> None:
    run = write(tmp_path / "run", questions(2), [Made("once", [1.0, 0.0])])
    with pytest.raises(InvalidInput, match="Give a margin from 0 to 1"):
        run.report(**options)
    with pytest.raises(InvalidInput, match="no finished question"):
        write(tmp_path / "empty", questions(2), [Made("once", [])]).report()


def test_a_sweep_from_end_to_end(make_agent: MakeAgent, questions: list[Question], tmp_path: Path) -> None:
    budgets = [rs.Budget(tokens=tokens) for tokens in (1000, 4000)]
    run = rs.sweep(make_agent(), questions, ["once", "chain(steps=1)"], tmp_path / "run", budgets=budgets)
    assert isinstance(run, rs.Run)
    report = rs.Run(tmp_path / "run").report()
    TypeAdapter(Report).validate_python(report, strict=True)
    assert len(report["cells"]) == 4
    assert report["answer"][0].startswith("With 1,000 tokens 3 questions cannot tell which mode to use")
    charged, paid = report["runs"][0]["charged"], report["runs"][0]["paid"]
    assert (charged["tokens"] or 0) > (paid["tokens"] or 0) > 0, "the same calls are paid once"
    assert [one["overruns"] for one in report["stopped"]] == [0, 0, 0, 0]
    assert len(report["runs"][0]["codes"]) == 1


@pytest.mark.slow
def test_equal_modes_are_seldom_called_better(tmp_path: Path) -> None:
    """200 runs of four equal modes: the best is chosen by the data, and yet no verdict says so in more than 5 %.

    The same for the groups of one property. Both bounds leave three standard errors of 200 runs.
    """
    asked = questions(40, hops=[1, 2])
    source = np.random.default_rng(5)
    claimed = {"level": 0, "hops": 0}
    for number in range(200):
        hard = source.random(40)
        cells = [
            Made(mode, [float(one) for one in hard + source.normal(0, 0.3, 40) < 0.5], budget=TOKENS)
            for mode in ("once", "chain", "parallel", "tree")
        ]
        report = write(tmp_path / str(number), asked, cells).report()
        verdicts = {one["verdict"] for one in report["equal"][0]["levels"][0]["comparisons"]}
        claimed["level"] += bool(verdicts & {"better", "worse"})
        words = "".join(one["words"] for one in report["problem"]["strata"][0]["strata"])
        claimed["hops"] += "is better than" in words or "is the best" in words
    print(claimed)
    assert max(claimed.values()) / 200 <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5


def alike(base: Path, number: int, changed: int = 0, text: str = "") -> tuple[rs.Run, rs.Run]:
    """Two runs of the same cells: the same scores, but for the first `changed` questions, where chain loses a tenth."""
    scores = [1.0, 0.5, 0.0, 0.25] * (number // 4)
    lost = [score - 0.1 if at < changed else score for at, score in enumerate([1.0] * number)]
    before = [Made("once", scores, budget=TOKENS), Made("chain", [1.0] * number, budget=TOKENS)]
    after = [Made("once", scores, budget=TOKENS), Made("chain", lost, budget=TOKENS, text=text)]
    asked = questions(number)
    return write(base / "a", asked, before), write(base / "b", asked, after)


def test_runs_with_the_same_answers_are_said_to_be_the_same(tmp_path: Path) -> None:
    before, after = alike(tmp_path, 40)
    report = before.report(after)
    assert report["answer"][0] == (
        "`b` against `a`, on 40 questions of both: none of 2 cells is shown to be better or worse; 2 the same. "
        "Verdicts are corrected for 2 comparisons, intervals are not."
    )
    assert report["answer"][1] == (
        "The same: all 2 cells have the same answers on all 40 questions: at most 7 % of further questions like these "
        "would get different ones (95 % certain)."
    )
    assert [(one["comparison"]["same"], one["comparison"]["differ"]) for one in report["changes"]] == [
        ("answers", 0)
    ] * 2  # fmt: skip
    assert "more questions would tell" not in report["answer"][0]


def test_cells_that_are_the_same_on_different_questions_are_told_apart(tmp_path: Path) -> None:
    """One of them was dropped by a race after 16."""
    cells = [Made("chain", [1.0] * 40, budget=TOKENS), Made("tree", [0.0] * 40, 3000, budget=TOKENS)]
    raced = [cells[0], replace(cells[1], scores=[0.0] * 16)]
    runs = [write(tmp_path / str(len(drops)), questions(40), of, drops=drops)
            for of, drops in ((cells, []), (raced, [dropped(16)]))]  # fmt: skip
    words = text(runs[0].report(runs[1]))
    assert "`chain@tokens=4000` has the same answers on all 40 questions: at most 7 %" in words
    assert "`tree@tokens=4000` has the same answers on all 16 questions: at most 17 %" in words


def test_runs_with_the_same_scores_and_other_answers(tmp_path: Path) -> None:
    before, after = alike(tmp_path, 8, text="other words")
    words = text(before.report(after))
    assert "`once@tokens=4000` has the same answers on all 8 questions: at most 31 % of further" in words
    assert "`chain@tokens=4000` has the same scores on all 8 questions: at most 31 % of further" in words
    published = [run.keep(tmp_path / f"{run.folder.name}-kept", texts=False) for run in (before, after)]
    for one, other in (published, (before, published[1]), (published[0], after)):
        changes = one.report(other)["changes"]
        assert [change["comparison"]["same"] for change in changes] == ["answers", "scores"]


@pytest.mark.parametrize("changed", [1, 2])
def test_runs_that_are_nearly_the_same_say_on_how_many_questions_they_differ(changed: int, tmp_path: Path) -> None:
    before, after = alike(tmp_path, 40, changed)
    words = before.report(after)["answer"]
    assert "`once@tokens=4000` has the same answers on all 40 questions" in "".join(words)
    [told] = [one for one in words if "`chain@tokens=4000` .00 [-.0" in one]
    assert told.endswith(f", another score on {changed} of 40 questions, at the same tokens.")
    [_, change] = before.report(after)["changes"]
    assert (change["comparison"]["same"], change["comparison"]["differ"]) == (None, changed)


def test_modes_with_the_same_scores_are_not_said_to_need_more_questions(tmp_path: Path) -> None:
    scores = noisy(0.5, 20)
    cells = [Made(mode, scores, budget=TOKENS) for mode in ("once", "chain", "parallel")]
    report = write(tmp_path / "run", questions(20), cells).report()
    [first, *_] = report["answer"]
    assert "; `chain` has the same scores on all 20 questions: at most 14 % of further" in first
    assert first.endswith(" The same scores as `parallel`.")
    [level] = report["equal"][0]["levels"]
    assert {one["same"] for one in level["comparisons"]} == {"scores"}


def test_few_questions_that_hardly_differ_tell_no_more_than_their_interval(tmp_path: Path) -> None:
    once = [0.5 + 0.01 * (at % 3) for at in range(12)]
    cells = [Made("once", once, budget=TOKENS), Made("chain", [0.6] * 12, budget=TOKENS)]
    limits = "\n".join(write(tmp_path / "run", questions(12), cells).report()["limits"])
    assert "12 questions: too few to tell modes apart that differ by less than about .36." in limits


def test_many_modes_and_few_questions_can_show_nothing_and_that_is_said(tmp_path: Path) -> None:
    modes = [f"once(k={k})" for k in range(1, 26)]
    said = "No difference can be shown among 300 comparisons by fewer than 14 questions (or documents)"
    for number, expected in ((13, True), (14, False)):
        cells = [Made(mode, [float(mode == modes[0])] * number, budget=TOKENS) for mode in modes]
        report = write(tmp_path / f"{number}", questions(number), cells).report()
        assert any(limit.startswith(said) for limit in report["limits"]) == expected
        [level, *_] = report["equal"][0]["levels"]
        verdicts = {one["verdict"] for one in level["comparisons"] if 0 in (one["first"], one["second"])}
        assert verdicts == ({"undecided"} if expected else {"better"})


def test_gold_passages_that_the_index_lacks_are_not_counted(tmp_path: Path) -> None:
    asked = questions(4, gold=3)
    cells = [Made(mode, [1.0, 0.0, 1.0, 0.0], recall=1.0, known=2) for mode in ("once", "chain")]
    [recall] = write(tmp_path / "run", asked, cells).report()["problem"]["recall"]
    assert (recall["gold"], recall["n"]) == (2, 4)


def test_a_report_and_means_are_short_where_they_are_shown(tmp_path: Path) -> None:
    run = write(tmp_path / "run", questions(4), [Made(mode, [1.0, 0.0, 1.0, 0.0]) for mode in ("once", "chain")])
    report, means = run.report(), run.reports()
    assert repr(report) == "\n".join(["Report of run", *report["answer"]])
    shown = report._repr_html_()  # type: ignore[attr-defined]
    assert "<p>" in shown
    assert "chain" in shown.partition("<pre")[2]
    assert json.loads(json.dumps(report)) == report
    assert repr(means) == "{" + ", ".join(f"{key!r}: F1 0.50 of 4" for key in run.cells) + "}"
    table = means._repr_html_()  # type: ignore[attr-defined]
    assert "chain" in table
    assert "white-space:pre;overflow-x:auto" in table  # a notebook's own style wraps the lines of a <pre>
    assert write(tmp_path / "none", questions(1), [Made("once", [])]).reports() == {}
