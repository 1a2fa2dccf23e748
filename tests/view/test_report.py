"""The report page as a file and in a real browser: everything of its value is shown, and nothing else is needed."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from browser import Browser
from pydantic import TypeAdapter
from reports import made_up
from runs import HOSTILE, shown

from ragscale.modes import Chain
from ragscale.view.report import Report, report_page

LARGE = (12, 1000)


@pytest.fixture(scope="module")
def page() -> str:
    """Of twelve cells and forty questions, with the traces of two runs of the first one."""
    trace = shown(Chain(steps=1)).to_dict()
    return report_page(made_up(), [(0, 0, trace), (0, 3, {**trace, "question": HOSTILE})])


def section(browser: Browser, name: str) -> str:
    [text] = browser.texts(f"#{name}")
    return " ".join(text.split())


def choose(browser: Browser, selector: str, value: str) -> None:
    browser.run(
        "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('change'))",
        selector, value,
    )  # fmt: skip


def press(browser: Browser, words: str) -> None:
    """Click the button that has these words."""
    browser.run(
        "[...document.querySelectorAll('button')].find((b) => b.innerText.includes(arguments[0])).click()", words
    )


def test_made_up_reports_are_of_the_schema() -> None:
    adapter = TypeAdapter(Report)
    for report in (made_up(), made_up(3, 2), made_up(4, 9, runs=2)):
        assert adapter.validate_python(report, strict=True) == report


def test_is_one_file_that_loads_nothing(page: str) -> None:
    assert re.findall(r"https?://[^\s\"']+", page) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"\b(src|href)\s*=\s*[\"']", page.split("<script>")[0])
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_shows_all_parts_in_their_order(browser: Browser, page: str) -> None:
    browser.open(page)
    report = made_up()
    assert browser.texts("section > h2") == [
        "The answer", "Score against cost", "At equal cost", "Does it depend on the problem?",
        "How runs ended, and what they cost", "What this run cannot say", "Every question",
    ]  # fmt: skip
    assert section(browser, "answer") == "The answer " + " ".join(report["answer"]).replace("`", "")
    assert browser.texts("#answer code") == ["chain", "parallel", "once"]
    assert browser.run("return document.querySelectorAll('.point').length") == 12
    assert browser.run("return document.querySelectorAll('.fit').length") == 1
    equal = section(browser, "equal")
    assert equal.count("compared with this one") == 4
    assert "undecided; about 90 more questions would tell" in equal
    assert "worse" in equal
    problem = section(browser, "problem")
    assert "Interaction: The order of the modes depends on the hops" in problem
    assert "The oracle: a bound, not a result" in problem
    assert "2 passages" in problem
    ends = section(browser, "ends")
    assert "no question was charged more than its limit" in ends
    assert "dominated by" in ends
    assert "charged 9,400,000 tokens" in ends
    assert "paid 4,100,000 tokens" in ends
    for text in report["limits"]:
        assert text in section(browser, "limits")
    assert "40 of 40 questions" in section(browser, "questions")


def test_a_link_to_a_section_shows_it(browser: Browser) -> None:
    html = report_page(made_up(cells=12, questions=1000))
    for mark in ("equal", "limits"):
        browser.open(html, mark=mark)
        assert browser.run("return document.getElementById(arguments[0]).getBoundingClientRect().top", mark) < 200
    browser.open(html, mark="%")
    assert "The answer" in browser.text()


def test_a_narrow_screen_has_charts_and_ends_that_can_be_read(browser: Browser, page: str) -> None:
    browser.open(page, width=400)
    assert browser.run("return document.querySelector('.chart svg').getBoundingClientRect().width") > 500
    assert browser.run("return document.documentElement.scrollWidth") <= 400
    tall = "return Math.max(...[...document.querySelectorAll('#ends tbody tr')].map((r) => r.offsetHeight))"
    assert browser.run(tall) < 80


def test_each_kind_of_cost_has_its_chart(browser: Browser, page: str) -> None:
    browser.open(page)
    for at, words in enumerate(
        ["tokens", "tokens one after another", "rounds one after another", "seconds one after another"]
    ):
        browser.click(".axes button", at)
        assert f"{words} a question" in browser.run("return document.querySelector('.chart').textContent")
        assert browser.run("return document.querySelectorAll('.point').length") == 12
    browser.run("document.querySelector('.point').focus()")
    assert "exact match" in browser.texts(".about")[0]
    browser.click(".families button", 2)
    assert browser.run("return document.querySelectorAll('.point.dim').length") == 10


def test_the_other_way_round_a_comparison_is_its_opposite(browser: Browser, page: str) -> None:
    report = made_up()
    level = report["equal"][0]["levels"][0]
    c = next(one for one in level["comparisons"] if one["verdict"] == "better")
    browser.open(page)
    choose(browser, ".equal select", str(c["second"]))
    text = " ".join(browser.texts(".equal tbody")[0].split())
    name = report["cells"][c["first"]]["key"]
    low = c["difference"]["low"]
    assert low is not None
    assert "better" in text.split(name)[1][:120]
    choose(browser, ".equal select", str(c["first"]))
    text = " ".join(browser.texts(".equal tbody")[0].split())
    after = text.split(report["cells"][c["second"]]["key"])[1]
    assert "worse" in after[:120]
    assert f"{-low:.2f}".replace("-0.", "\u2212.").replace("0.", ".") in after[:120]


def test_filters_and_means(browser: Browser, page: str) -> None:
    report = made_up()
    browser.open(page)
    told = "#questions [aria-live]"

    def scored(cell: int, question: int) -> float:
        value = report["cells"][cell]["runs"]["f1"][question]
        assert value is not None
        return value

    def means(questions: list[int]) -> list[str]:
        values = [sum(scored(c, i) for i in questions) / len(questions) for c in range(12)]
        return [f"{value:.2f}".replace("0.", ".") for value in values]

    every = list(range(40))
    assert browser.texts(".mean") == means(every)
    # once wrong, chain right: the button takes the baseline and the best cell
    best = max(range(12), key=lambda c: report["cells"][c]["score"]["value"] or 0)
    wanted = [i for i in every if scored(1, i) < 0.5 and scored(best, i) >= 0.8]
    browser.run(
        "[...document.querySelectorAll('.filters button')].find((b) => b.innerText.includes(' wrong, ')).click()"
    )
    assert browser.texts(told)[0].startswith(f"{len(wanted)} of 40 questions")
    assert browser.texts(".mean") == means(wanted)
    press(browser, "reset")
    assert browser.texts(told)[0].startswith("40 of 40")
    for label, value, keep in (
        ("ended", "failed", [i for i in every if any(c["runs"]["stop"][i] == "failed" for c in report["cells"])]),
        ("hops", "3", [i for i in every if report["questions"][i]["hops"] == 3]),
        ("type", "bridge", [i for i in every if report["questions"][i]["type"] == "bridge"]),
    ):
        labels = browser.run("return [...document.querySelectorAll('.filters label')].map((l) => l.firstChild.data)")
        choose(browser, f".filters label:nth-of-type({labels.index(label) + 1}) select", value)
        assert browser.texts(told)[0].startswith(f"{len(keep)} of 40"), label
        choose(browser, f".filters label:nth-of-type({labels.index(label) + 1}) select", "")
    browser.run("document.querySelector('[type=search]').focus()")
    browser.keys("case 17 ")
    browser.wait(f"return document.querySelector('{told}').innerText.startsWith('1 of 40')")
    assert "case 17 " in browser.texts(".line .q")[0]
    assert browser.run("return document.querySelectorAll('.line .cell').length") == 12


def test_a_click_opens_the_run(browser: Browser, page: str) -> None:
    browser.open(page)
    browser.click(".line .cell")
    browser.wait("return document.querySelector('dialog iframe')")
    browser.driver.switch_to.frame(browser.run("return document.querySelector('dialog iframe')"))
    browser.wait("return document.querySelector('.detail')")
    assert len(browser.texts(".all tbody tr")) == 5
    browser.driver.switch_to.default_content()
    browser.quiet()
    for _ in range(3):
        press(browser, "next question")
        browser.wait("return document.querySelector('dialog pre') || document.querySelector('dialog iframe')")
    browser.wait("return document.querySelector('dialog iframe')")  # the fourth question, whose texts are hostile
    press(browser, "close")
    assert not browser.run("return document.querySelector('dialog').open")
    browser.click(".line .cell", 1)
    browser.wait("return document.querySelector('dialog pre')")
    [command] = browser.texts("dialog pre")
    assert command == "ragscale trace 'runs/it'\\''s 0' --cell 'direct@tokens=8000' --question 'q0'"
    browser.quiet()


def test_the_last_click_is_shown_though_a_page_is_still_being_unpacked(browser: Browser, page: str) -> None:
    """It came up over the run that was opened after it, or after the dialog was closed."""
    browser.open(page)
    browser.run(
        "const soon = unzipped; window.unzipped = async (packed) => {"
        "const page = await soon(packed); await new Promise((done) => { window.unpacked = done; }); return page; }"
    )
    end = "window.unpacked(); delete window.unpacked; return new Promise((done) => setTimeout(done, 100))"

    browser.click(".line .cell")
    browser.wait("return Boolean(window.unpacked)")
    browser.click(".line .cell", 1)
    browser.wait("return document.querySelector('dialog pre')")
    browser.run(end)
    assert browser.run(
        "return Boolean(document.querySelector('dialog pre')) && !document.querySelector('dialog iframe')"
    )
    press(browser, "close")
    browser.click(".line .cell")
    browser.wait("return Boolean(window.unpacked)")
    press(browser, "close")
    browser.run(end)
    assert not browser.run("return document.querySelector('dialog').open || document.querySelector('dialog iframe')")


def test_traces_are_taken_up_to_a_size(browser: Browser) -> None:
    trace = shown(Chain(steps=1)).to_dict()
    report = made_up(3, 4)
    least, all_of_them = report_page(report), report_page(report, [(0, q, trace) for q in range(4)])
    one = (len(all_of_them) - len(least)) / 4
    two = report_page(report, [(0, q, trace) for q in range(4)], most=int(2.5 * one))
    assert len(two) == pytest.approx(len(least) + 2 * one, abs=20)


@pytest.mark.parametrize("width", [400, pytest.param(1280, marks=pytest.mark.slow)])
def test_hostile_texts_stay_texts(browser: Browser, width: int) -> None:
    page = report_page(made_up(3, 5, text=HOSTILE, runs=2))
    assert page.count("<script") == page.count("</script>") == 3
    browser.open(page, width=width)
    browser.click(".line .cell")
    browser.wait("return document.querySelector('dialog pre')")
    if width == 1280:
        browser.printed()
    browser.quiet()
    assert browser.run("return document.title") != "hacked"
    assert browser.run("return document.querySelectorAll('img, iframe').length") == 0
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert "\u202e" not in browser.text()
    assert "<script>document.title='hacked'</script>" in section(browser, "answer")


def test_two_runs_are_compared(browser: Browser) -> None:
    browser.open(report_page(made_up(4, 6, runs=2)))
    assert "A: direct@tokens=4000 against B: once@tokens=8000" in section(browser, "changes")
    assert "Run A" in section(browser, "ends")


def test_works_with_little(browser: Browser) -> None:
    report = made_up(1, 1)
    report |= {"charts": [], "equal": [], "answer": [], "limits": [], "stopped": [], "dropped": []}  # type: ignore[typeddict-item]
    report["problem"] = {"words": "", "strata": [], "recall_cells": [], "recall": [], "oracle": None}
    report["cells"][0]["runs"] = {name: [None] for name in report["cells"][0]["runs"]}  # type: ignore[assignment]
    report["baseline"] = None
    browser.open(report_page(report))
    assert "No answer can be given yet" in browser.text()
    assert browser.run("return document.querySelectorAll('.cell.none').length") == 1


@pytest.mark.slow
def test_light_and_dark_and_paper(browser: Browser, page: str) -> None:
    papers = []
    for dark in (False, True):
        browser.open(page, dark=dark)
        papers.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    light, dark_paper = (sum(map(int, paper[4:-1].split(","))) for paper in papers)
    assert light > 700 > 150 > dark_paper
    printed = " ".join(browser.printed().split())
    for words in ("With 4,000 tokens use chain", "rounds one after another a question", "The oracle", "case 39 "):
        assert words in printed
    assert "reset" not in printed


@pytest.mark.slow
def test_twelve_cells_by_a_thousand_questions(browser: Browser, record_property: Any) -> None:
    page = report_page(made_up(*LARGE))
    assert len(page.encode()) < 3_000_000
    started = time.perf_counter()
    browser.open(page)
    record_property("seconds to open", time.perf_counter() - started)
    told = "#questions [aria-live]"
    assert browser.texts(told) == ["1,000 of 1,000 questions."]
    drawn = "return document.querySelectorAll('.line').length"
    assert browser.run(drawn) < 60  # the rows in sight, whatever there is
    browser.run("document.querySelector('.grid-table').scrollTop = 700 * 54")
    browser.wait("return document.querySelector('.body').innerText.includes('case 703 ')")
    assert browser.run(drawn) < 60
    took = browser.run(
        "const s = document.querySelector('[type=search]'); const t = performance.now();"
        "s.value = 'case 99'; s.dispatchEvent(new Event('input'));"
        "return new Promise((done) => { const look = () =>"
        "document.querySelector(arguments[0]).innerText.startsWith('11 of')"
        " ? done(performance.now() - t) : requestAnimationFrame(look); look(); })",
        told,
    )
    record_property("milliseconds to search", took)
    printed = " ".join(browser.printed().split())
    assert "the first 150 of 11" not in printed
    assert "case 999 " in printed
    browser.quiet()


def test_its_data_are_the_report() -> None:
    report = made_up(3, 4)
    found = re.search(r'id="data" data-encoding="json">([^<]*)<', report_page(report))
    assert found
    assert json.loads(found[1]) == json.loads(json.dumps(report))
