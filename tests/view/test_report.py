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

from ragscale.measure.questions import LEFT_OUT
from ragscale.modes import Chain
from ragscale.view.report import Report, report_page

LARGE = (12, 1000)
MINUS = "\u2212"


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


def test_the_bar_above_a_run_keeps_the_keyboard(browser: Browser, page: str) -> None:
    """The focus was lost at each question, and Escape did nothing within a run."""
    browser.open(page)
    browser.click(".line .cell")
    browser.wait("return document.querySelector('dialog iframe')")
    assert browser.texts("dialog button[aria-disabled=true]") == ["← question before"]
    browser.run("[...document.querySelectorAll('dialog button')].find((b) => b.innerText.includes('next')).focus()")
    for _ in range(3):
        browser.keys("\ue007")
        browser.wait("return document.querySelector('dialog pre') || document.querySelector('dialog iframe')")
    assert browser.run("return document.activeElement.innerText").startswith("next question")
    browser.wait("return document.querySelector('dialog iframe')")  # the fourth question
    browser.driver.switch_to.frame(browser.run("return document.querySelector('dialog iframe')"))
    browser.wait("return document.querySelector('.detail')")
    browser.run("document.querySelector('.box').focus()")
    browser.keys("\ue00c")
    browser.driver.switch_to.default_content()
    browser.wait("return !document.querySelector('dialog').open")


def test_a_run_is_printed_by_its_own_button(browser: Browser, page: str) -> None:
    """The print of a report lay below a part of the run that was open above it."""
    browser.open(page)
    browser.click(".line .cell")
    frame = browser.wait("return document.querySelector('dialog iframe')")
    browser.driver.switch_to.frame(frame)
    browser.wait("return document.querySelector('.detail')")
    browser.run("window.print = () => { window.printed = true; }")
    browser.driver.switch_to.default_content()
    press(browser, "print")
    browser.driver.switch_to.frame(frame)
    browser.wait("return window.printed")
    browser.driver.switch_to.default_content()
    browser.on_paper()
    assert browser.run("return document.querySelector('dialog').getClientRects().length") == 0
    browser.open(page)
    browser.click(".line .cell", 1)
    browser.wait("return document.querySelector('dialog pre')")
    assert "print" not in browser.texts("dialog button:not([hidden])")


def test_every_answer_is_reached_with_the_keyboard(browser: Browser) -> None:
    """The Tab key came to the eleventh question: the next one was drawn anew, and the focus lost."""
    browser.open(report_page(made_up(3, 300)))
    browser.run("document.querySelector('.line .cell').focus()")
    here = (
        "const e = document.activeElement, r = e.getBoundingClientRect(), g = document.querySelector('.grid-table'),"
        " top = g.getBoundingClientRect().top + document.querySelector('.grid-head').offsetHeight;"
        "return [e.dataset.row, e.dataset.column, r.top >= top - 1 && r.bottom <= g.getBoundingClientRect().bottom + 1]"
    )
    for key, times, place in (
        ("\ue015", 40, ["40", "0", True]),  # down
        ("\ue014", 5, ["40", "2", True]),  # right
        ("\ue013", 10, ["30", "2", True]),  # up
        ("\ue011", 1, ["30", "0", True]),  # home
        ("\ue010", 1, ["30", "2", True]),  # end
    ):
        browser.keys(*[key] * times)
        assert browser.run(here) == place
    browser.keys(*["\ue00f"] * 40)  # page down
    assert browser.run(here) == ["299", "2", True]
    browser.run("document.querySelector('.grid-table').scrollTop = 0")  # with the wheel
    browser.wait("return document.querySelector('.body').innerText.includes('case 3 ')")
    assert browser.run("return document.activeElement.dataset.row") == "299"
    assert browser.run("return document.querySelectorAll('.grid-table .cell[tabindex=\"0\"]').length") == 1
    browser.keys("\ue013", "\ue007")
    browser.wait("return document.querySelector('dialog').open")
    assert "--question 'q298'" in browser.texts("dialog pre")[0]
    browser.quiet()


LONG = "vote(of=chain(plan_k=3, early=False, steps=3, repeats=2, temperature=0.9), n=3, temperature=0.{})"


@pytest.mark.parametrize("ends", [["7@tokens=4000", "7@tokens=8000", "65@tokens=4000", "65@tokens=8000"]])
def test_cells_whose_names_begin_alike_are_told_apart(browser: Browser, ends: list[str]) -> None:
    """Names were cut behind 60 characters, so that four columns had one heading."""
    report = made_up(4, 6)
    for cell, end in zip(report["cells"], ends, strict=True):
        cell["family"] = cell["mode"] = LONG.format(end.partition("@")[0])
        cell["key"] = f"{cell['mode']}@{end.partition('@')[2]}"
    report["baseline"] = min(range(4), key=lambda c: report["cells"][c]["score"]["value"] or 0)
    browser.open(report_page(report))
    for where, wanted in (
        (".grid-head button", 4), (".families button", 2), (".equal .level:first-of-type option", 2),
        (".filters label:nth-last-of-type(2) option", 5), (".filters label:last-of-type option", 6),
    ):  # fmt: skip
        words = browser.texts(where)
        assert len({*words}) >= wanted, where
    [button] = [words for words in browser.texts(".filters button") if " wrong, " in words]
    wrong, right = button.removesuffix(" right").split(" wrong, ")
    assert wrong != right
    browser.on_paper()
    assert len({*browser.texts(".printed.table th")}) == 5


def test_one_mode_at_two_budgets_is_not_named_wrong_and_right(browser: Browser) -> None:
    report = made_up(2, 6)
    report["baseline"] = min(range(2), key=lambda c: report["cells"][c]["score"]["value"] or 0)
    browser.open(report_page(report))
    [button] = [words for words in browser.texts(".filters button") if " wrong, " in words]
    keys = [report["cells"][c]["key"] for c in (report["baseline"], 1 - report["baseline"])]
    assert button == f"{keys[0]} wrong, {keys[1]} right"


@pytest.mark.parametrize(
    ("axis", "costs"),
    [("tokens", [98.0]), ("tokens", [98.0, 98.4]), ("seconds", [0.004, 0.09]), ("seconds", [0.0004, 0.011, 3.0]),
     ("rounds", [0.0]), ("rounds", [1.0, 1.0])],
)  # fmt: skip
def test_the_marks_of_an_axis_differ(browser: Browser, axis: Any, costs: list[float]) -> None:
    """Of a single cost all marks read 98, and of short runs two read 0.01 s."""
    report = made_up(len(costs), 6)
    for cell, cost in zip(report["cells"], costs, strict=True):
        cell["cost"][axis] = {"value": cost, "low": cost, "high": cost, "n": 6}
    report["charts"] = [
        chart | {"curves": []}
        for chart in report["charts"]
        if chart["axis"] == axis  # type: ignore[typeddict-item]
    ]
    browser.open(report_page(report))
    marks = browser.run(
        "return [...document.querySelectorAll('.chart .tick[text-anchor=middle]')].map((t) => t.textContent)"
    )
    assert len(marks) >= 3
    assert len({*marks}) == len(marks)
    assert "0 s" not in marks


def test_cells_that_coincide_have_one_label_and_are_all_told(browser: Browser) -> None:
    report = made_up(2, 6)
    first, second = report["cells"]
    second["score"], second["cost"] = first["score"], first["cost"]
    for chart in report["charts"]:
        for point in chart["points"]:
            point["front"], point["share"] = True, 0.83
    browser.open(report_page(report))
    assert browser.run("return [...document.querySelectorAll('.chart .label')].map((t) => t.textContent)") == [
        "direct 83 %"
    ]
    browser.run("document.querySelector('.point').focus()")
    assert first["key"] in browser.texts(".about")[0]
    assert second["key"] in browser.texts(".about")[0]


@pytest.mark.parametrize("cells", [2, 4, 12])
def test_tables_show_their_last_columns(browser: Browser, cells: int) -> None:
    """At 900 pixels verdicts and what was paid were cut off, and on paper words were broken within."""
    browser.open(report_page(made_up(cells, 40)), width=900)
    beyond = (
        "return [...document.querySelectorAll('.level .scroll, #ends .scroll')]"
        ".filter((e) => e.scrollWidth > e.clientWidth).length"
    )
    assert browser.run(beyond) == 0
    browser.on_paper()
    broken = (
        "return [...document.querySelectorAll('.figures th, .figures .verdict')].filter((e) => {"
        " const r = document.createRange(); r.selectNodeContents(e);"
        " const lines = new Set([...r.getClientRects()].map((x) => Math.round(x.top)));"
        " return lines.size > e.textContent.split(' ').length; }).map((e) => e.textContent)"
    )
    assert browser.run(broken) == []
    assert browser.run("return document.documentElement.scrollWidth") <= 718


def test_a_failed_run_without_its_moves_says_why(browser: Browser) -> None:
    report = made_up(2, 3)
    runs = report["cells"][0]["runs"]
    runs["stop"][0], runs["answer"][0] = "failed", ""
    runs["reason"] = ["the endpoint replied 503. Wait.", None, None]
    browser.open(report_page(report))
    browser.click(".line .cell")
    browser.wait("return document.querySelector('dialog pre')")
    assert "the endpoint replied 503. Wait." in browser.texts("dialog .command")[0]
    assert browser.run("return document.querySelector('.line .cell').getAttribute('aria-label')").endswith("· failed")


def test_questions_without_texts_are_told_by_their_ids(browser: Browser) -> None:
    """All rows of a published report were the same."""
    report = made_up(2, 4)
    for question in report["questions"]:
        question |= {"question": LEFT_OUT, "gold": []}
    browser.open(report_page(report))
    assert browser.texts(".line .q .text") == ["q0", "q1", "q2", "q3"]
    assert all(words[0].isdigit() for words in browser.texts(".line .tags"))


def test_more_families_than_colours(browser: Browser) -> None:
    report = made_up(24, 6)
    for at, cell in enumerate(report["cells"]):
        cell["family"] = f"mode-{at}"
    browser.open(report_page(report))
    colours = browser.run(
        "return [...document.querySelectorAll('.families .dot')].map((e) => getComputedStyle(e).backgroundColor)"
    )
    assert len({*colours}) == 24


def test_differences_that_round_to_nothing_have_no_sign(browser: Browser) -> None:
    browser.open(report_page(made_up(1, 1)))
    assert browser.run("return [-0.001, 0.001, 0, -0.006, 0.5, -1].map(signed)") == [
        ".00", ".00", ".00", f"{MINUS}.01", "+.50", f"{MINUS}1.00",
    ]  # fmt: skip


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
