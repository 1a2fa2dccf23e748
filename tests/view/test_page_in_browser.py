"""The trace page in a real browser: what it shows of real runs, by mouse, by keyboard, in print and in a notebook."""

from __future__ import annotations

import csv
import html
import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from browser import Browser
from runs import HOSTILE, MODES, failing, hostile, shown
from test_trace import ANSWER

from ragscale.budget import Budget
from ragscale.errors import BudgetExceeded
from ragscale.modes import Chain
from ragscale.types import Passage, Spend, TracedHit
from ragscale.view.page import trace_page

HEAD = ".head"
MINUS = "\u2212"
WIDE_AND_NARROW = pytest.mark.parametrize("width", [400, pytest.param(1280, marks=pytest.mark.slow)])


@WIDE_AND_NARROW
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_shows_every_move_of_every_mode(browser: Browser, mode: Any, width: int) -> None:
    answer = shown(mode, Budget(tokens=40_000, rounds=20))
    browser.open(trace_page(answer.to_dict()), width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert len(browser.texts(".fall .bar")) == len(browser.texts(".all tbody tr")) == len(answer.trace)
    assert browser.texts(".answer") == [answer.text]
    rounds = answer.spend.serial.rounds
    assert browser.texts(".verdict")[0].startswith(f"Answered after {rounds} rounds; ")
    left = round(100 * (1 - answer.spend.total.tokens / 40_000))
    assert f"{left} % of the tokens and {round(100 * (1 - rounds / 20))} % of the rounds left." in browser.text()
    # the kept path leads from the first step to the end, and the clock's longest path is as long as the run
    kept = browser.texts(".box.kept")
    assert len(kept) >= 3
    assert "question" in kept[0]
    serial = browser.run(
        "return [...document.querySelectorAll('.fall .crit')].reduce((s, e) => s + e.getBoundingClientRect().width, 0)"
        " / document.querySelector('.fall svg').getBoundingClientRect().width"
    )
    assert 0.6 < serial <= 1
    browser.quiet()


def test_a_selection_says_why_and_folds_what_it_left(browser: Browser) -> None:
    answer = shown(MODES["tree"])
    at = next(n for n, event in enumerate(answer.trace, 1) if event.move == "select")
    browser.open(trace_page(answer.to_dict()), mark=f"move-{at}")
    choices = answer.trace[at - 1].choices
    [kept] = [choice for choice in choices if choice.status == "kept"]
    [left] = [choice for choice in choices if choice.status != "kept"]
    assert kept.score is not None
    assert left.score is not None
    minus = f"kept {kept.branch}: {kept.score:.2f} against {left.score:.2f}".replace("-", MINUS)
    assert f"{minus} (lower: less likely that nothing is known)" in browser.texts(".detail")[0]
    boxes = len(browser.texts(".box"))
    browser.run("[...document.querySelectorAll('.tools button')].find((b) => b.innerText.includes('fold')).click()")
    stubs = browser.texts(".stub")
    assert stubs
    assert all(f"more, best {MINUS}" in text for text in stubs)
    assert len(browser.texts(".box")) < boxes
    for _ in range(len(stubs)):
        browser.click(".stub")
    assert len(browser.texts(".box")) == boxes


def test_the_selected_move_in_four_tabs(browser: Browser) -> None:
    answer = shown(Chain(steps=2))
    trace = list(answer.trace)
    trace[1] = replace(trace[1], spend=replace(trace[1].spend, cached_tokens=trace[1].spend.prompt_tokens // 2))
    browser.open(trace_page(replace(answer, trace=trace).to_dict()), mark="move-3")
    detail = ".detail"
    hits = browser.texts(".hits li")
    assert len(hits) == 5
    assert all("new" in hit or "seen in move 1" in hit for hit in hits)
    browser.click(".hits .title")
    assert "word3" in browser.texts(".hits li")[0]
    browser.keys("\ue012")  # arrow left: to the plan before
    assert "move 2 of" in browser.texts(detail)[0]
    assert answer.trace[1].plan[0] in browser.texts(".fields")[0]
    assert browser.run("return location.hash") == "#move-2"
    browser.click("[role=tab]", 1)
    prompt = answer.prompts[answer.trace[1].prompt]
    assert [text.split("\n", 1)[1] for text in browser.texts(".message")] == [m["content"] for m in prompt]
    shaded = "".join(browser.texts(".cachedpart"))
    assert len(shaded) == pytest.approx(sum(len(m["content"]) for m in prompt) / 2, rel=0.1)
    browser.click("[role=tab]", 2)
    assert browser.texts(".message") == [str(answer.trace[1].output)]
    browser.click("[role=tab]", 3)
    spend = answer.trace[1].spend
    assert f"Reserved {answer.trace[1].reserved} tokens for all attempts, settled at {spend.tokens}" in browser.text()


def test_keyboard_search_and_problems(browser: Browser) -> None:
    answer = shown(MODES["chain"], script=failing, budget=Budget(tokens=20_000))
    browser.open(trace_page(answer.to_dict()))
    assert browser.texts(".verdict")[0].startswith("Failed after 2 rounds.")
    assert "1 move out of the ordinary" in browser.texts(HEAD)[0]
    assert "failed" in browser.texts(".badges")
    browser.keys("\ue011")  # home
    assert "move 1 of" in browser.texts(".detail")[0]
    browser.keys("/", "query about")
    assert browser.run("return document.activeElement.type") == "search"
    found = sum("query about" in str(event.to_dict()) for event in answer.trace)
    assert browser.texts(".tools [aria-live]") == [f"{found} moves"]
    assert browser.run("return document.querySelectorAll('.box.dim').length") > 0
    browser.run(
        "const box = document.querySelector('[type=search]'); box.value = ''; box.dispatchEvent(new Event('input'))"
    )
    browser.click(".tools button")
    lit = browser.texts(".box:not(.dim)")
    assert len(lit) == 1
    assert "failed" in lit[0]


def test_what_the_budget_lacked(browser: Browser) -> None:
    answer = shown(Chain(), Budget(tokens=2_000))
    assert answer.stop_reason == "budget:tokens"
    browser.open(trace_page(answer.to_dict()))
    assert "Stopped by tokens after" in browser.texts(".verdict")[0]
    assert "would have needed" in browser.texts(".verdict")[0]


@pytest.mark.parametrize(
    ("stopped", "words"),
    [
        (BudgetExceeded("tokens", 4000, 4836), "Stopped by tokens after 1 round: would have needed 836 more."),
        (BudgetExceeded("tokens", 4000, 1200, branch="2.0", share=1000, fewer="n"),
         "Stopped by tokens after 1 round: would have needed 200 more."),
        (BudgetExceeded("usd", 0.001, 0.00125, total=True),
         "Stopped by dollars after 1 round: would have needed $0.00025 more."),
        (BudgetExceeded("seconds", 2, 3.5, closing=True),
         "Stopped by seconds after 1 round: would have needed 1.50 s more."),
    ],
)  # fmt: skip
def test_how_much_a_limit_lacked_in_words(browser: Browser, stopped: BudgetExceeded, words: str) -> None:
    answer = replace(ANSWER, stop_reason=f"budget:{stopped.dimension}", reason=str(stopped))
    browser.open(trace_page(answer.to_dict()))
    assert browser.texts(".verdict")[0].startswith(words)


def test_what_was_lost_with_a_killed_process_counts_against_limits(browser: Browser) -> None:
    spend = replace(ANSWER.spend, lost=Spend(llm_calls=1, prompt_tokens=700, completion_tokens=40))
    browser.open(trace_page(replace(ANSWER, spend=spend).to_dict()))
    assert ANSWER.spend.total.tokens == 1260
    assert "; 50 % of the tokens left." in browser.texts(".verdict")[0]
    cost = " ".join(browser.texts(".budget")[0].split())
    assert "2,000 (740) of 4,000" in cost
    assert "740 tokens beside these were lost with a process that was killed" in cost


def test_evidence_is_marked(browser: Browser) -> None:
    text = "Warsaw lies on the Vistula. The capital of Poland is Warsaw. It is large."
    answer = replace(
        ANSWER, question="Which city is the capital of Poland?", passages={"p1": Passage("p1", "City", text)}
    )
    browser.open(
        trace_page(
            replace(answer).to_dict() | {"gold": {"answers": ["Warsaw"], "em": 1, "f1": 1.0, "supporting": ["p1"]}}
        )
    )
    assert browser.texts(".cite mark") == ["Warsaw", "Warsaw"]
    assert [text.strip() for text in browser.texts(".cite u")] == ["The capital of Poland is Warsaw."]
    assert "gold" in browser.texts(".cite")[0]
    assert "EM 1" in browser.texts(".gold")[0]
    # hovering a passage, or going to it with the Tab key, lights each step that retrieved or cited it
    for look in ("dispatchEvent(new MouseEvent('mouseenter'))", "querySelector('button').focus()"):
        browser.run("document.querySelectorAll('.glow').forEach((e) => e.classList.remove('glow'))")
        browser.run(f"document.querySelector('.cite').{look}")
        lit = browser.run("return [...document.querySelectorAll('.fall .bar.glow')].map((b) => b.dataset.move)")
        assert sorted(lit) == ["2", "6"]


@pytest.mark.parametrize(
    ("text", "answer", "marked", "underlined"),
    [
        ("波兰位于中欧。华沙是波兰的首都。她发现了钋。", "华沙", ["华沙"], "华沙是波兰的首都。"),
        ("ここは欧州。首都はワルシャワ\uff01大きい。", "ワルシャワ", ["ワルシャワ"], "首都はワルシャワ\uff01"),
        ("بولندا دولة. ولدت في وارسو؟ نعم.", "وارسو", ["وارسو"], "ولدت في وارسو؟"),
        ("पोलैंड एक देश है। वारसॉ राजधानी है। बड़ा।", "वारसॉ", ["वारसॉ"], "वारसॉ राजधानी है।"),
        ("...and he left. . . . The city is Warsaw!!! ?? Yes", "Warsaw", ["Warsaw"], "The city is Warsaw!!!"),
        ('In Łódź in 3.5 B.C. Dr. Żak (b. 1900) said: "So." So.', "1900", ["1900"], 'Żak (b. 1900) said: "So."'),
        ("?! . . .", "Warsaw", [], ""),
    ],
)  # fmt: skip
def test_evidence_is_whole_and_marked_in_any_language(
    browser: Browser, text: str, answer: str, marked: list[str], underlined: str
) -> None:
    """Signs that end no sentence were left out, and of languages without spaces nothing was marked."""
    shown_ = replace(ANSWER, question="?", text=answer, passages={"p1": Passage("p1", "City", text)})
    browser.open(trace_page(shown_.to_dict()))
    assert browser.run("return document.querySelector('.cite .passage').textContent") == text
    assert browser.texts(".cite mark") == marked
    assert underlined in " ".join(browser.texts(".cite u"))
    assert len(browser.texts(".cite u")) == bool(underlined)


@pytest.mark.parametrize("text", ["איזו עיר היא הבירה?", "ما هي عاصمة البلد؟!", "Warsaw, the capital?"])
def test_each_text_runs_in_the_direction_of_its_script(browser: Browser, text: str) -> None:
    answer = replace(ANSWER, question=text, text=text, passages={"p1": Passage("p1", text, text)})
    trace = [replace(event, input=[text], output=text, plan=[text]) for event in ANSWER.trace]
    browser.open(trace_page(replace(answer, trace=trace).to_dict()))
    ends = browser.run(
        "return ['.question', '.answer', '.cite .passage', '.box .asked', '.box.on .said'].map((where) => {"
        " const walker = document.createTreeWalker(document.querySelector(where), NodeFilter.SHOW_TEXT), letters = [];"
        " for (let n; (n = walker.nextNode());) for (let i = 0; "
        " i < n.length && !n.parentElement.closest('.tag'); i++) {"
        "  const r = document.createRange(); r.setStart(n, i); r.setEnd(n, i + 1);"
        "  const at = r.getBoundingClientRect(); if (n.data[i].trim()) letters.push([at.left, at.top]); }"
        " const line = letters.filter(([, top]) => Math.abs(top - letters[0][1]) < 3);"
        " return line.at(-1)[0] > line[0][0]; })"
    )
    assert ends == [text.isascii()] * 5


@WIDE_AND_NARROW
def test_hostile_texts_stay_texts(browser: Browser, width: int) -> None:
    answer = shown(Chain(steps=2), script=hostile, question=HOSTILE)
    hurt = {HOSTILE: Passage(HOSTILE, HOSTILE, HOSTILE)}
    answer = replace(answer, citations=[HOSTILE], passages=hurt, model=HOSTILE, reason=HOSTILE)
    browser.open(trace_page(answer.to_dict() | {"gold": {"answers": [HOSTILE]}}), width=width)
    for at in range(4):
        browser.click("[role=tab]", at)
    browser.quiet()
    assert browser.run("return document.title") != "hacked"
    assert browser.run("return document.querySelectorAll('img, iframe, script:not([type])').length") == 1
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert "<script>document.title='hacked'</script>" in browser.texts(".question")[0]
    assert "U+202E" in browser.texts(".question")[0]
    assert "\u202e" not in browser.text()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"trace": [{"move": "plan"}]},
        {"trace": None, "spend": None, "citations": ["a"], "limits": {"tokens": 5}},
        {
            "trace": [
                {"move": "retrieve", "hits": [[["a", "", None]]], "parent": "no"},
                {"move": "what", "branch": "x.y", "id": "q", "parent": "q"},
                {"move": "constructor", "status": "toString", "prompt": "constructor", "passages": ["valueOf"]},
            ]
        },
    ],
    ids=["nothing", "a move", "nulls", "oddities"],
)
def test_works_with_less(browser: Browser, data: dict[str, Any]) -> None:
    browser.open(trace_page(data))
    assert "(question not recorded)" in browser.text()
    for _ in data.get("trace") or []:
        for at in range(4):
            browser.click("[role=tab]", at)
        browser.keys("\ue012")
    browser.quiet()


def test_follows_light_and_dark(browser: Browser) -> None:
    colours = []
    for dark in (False, True):
        browser.open(trace_page(ANSWER.to_dict()), dark=dark)
        script = (
            "return [document.body, document.querySelector('.answer')].map((e) => getComputedStyle(e)[arguments[0]])"
        )
        colours.append((browser.run(script, "backgroundColor")[0], browser.run(script, "color")[1]))
    browser.click("[aria-label='Light or dark']")
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == colours[0][0]
    (paper, ink), (dark_paper, dark_ink) = [[sum(map(int, c[4:-1].split(","))) for c in pair] for pair in colours]
    assert paper > 700 > 150 > ink
    assert dark_paper < 150 < 600 < dark_ink


def test_prints_with_all_moves(browser: Browser) -> None:
    answer = shown(Chain(steps=2))
    browser.open(trace_page(answer.to_dict()))
    printed = " ".join(browser.printed().split())
    assert answer.text in printed
    for event in answer.trace:
        if event.move == "read":
            assert str(event.output) in printed
    assert "Export" not in printed


def test_dark_pages_print_dark_on_white(browser: Browser) -> None:
    """Paper is light, whatever was chosen: letters were white on white."""
    browser.open(trace_page(ANSWER.to_dict()))
    browser.click("[aria-label='Light or dark']")
    browser.on_paper()
    script = (
        "return [...document.querySelectorAll('.answer, .card p, .facts dd')].map((e) => getComputedStyle(e).color)"
    )
    letters = browser.run(script)
    assert len(letters) > 3
    assert all(sum(map(int, colour[4:-1].split(","))) < 300 for colour in letters)


@pytest.mark.parametrize("mode", [Chain(steps=14), MODES["vote"], MODES["mcts"]], ids=["long", "vote", "mcts"])
def test_tree_and_timeline_fit_a_sheet(browser: Browser, mode: Any) -> None:
    browser.open(trace_page(shown(mode).to_dict()), width=1600)
    browser.on_paper()
    right = (
        "return Math.max(...[...document.querySelectorAll(arguments[0])].map((e) => e.getBoundingClientRect().right))"
    )
    for drawn in (".box", ".fall svg", ".all table"):
        assert browser.run(right, drawn) <= 718
    assert browser.run("return document.querySelector('[role=tab]').getClientRects().length") == 0


def test_a_link_to_a_move_shows_it(browser: Browser) -> None:
    page = trace_page(shown(Chain(steps=14)).to_dict())
    inside = (
        "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return r.top < innerHeight && r.bottom > 0 && r.left < innerWidth && r.right > 0"
    )
    for width in (400, 1280):
        browser.open(page, width=width, mark="move-30")
        assert "move 30 of" in browser.texts(".detail")[0]
        assert browser.run(inside, ".detail")
    assert browser.run(inside, ".box.on")


def test_exports(browser: Browser) -> None:
    answer = shown(MODES["vote"])
    browser.open(trace_page(answer.to_dict()))
    browser.run(
        "window.made = {}; URL.createObjectURL = (blob) => { window.last = blob; return 'about:blank'; };"
        "HTMLAnchorElement.prototype.click = function () { window.made[this.download] = window.last; }"
    )
    for at, label in enumerate(browser.texts("footer button")):
        if not label.startswith("PNG"):
            browser.click("footer button", at)
    texts = browser.run(
        "return Promise.all(Object.entries(window.made).map(async ([n, b]) => [n.split('-').at(-1), await b.text()]))"
    )
    made = {name.rpartition(".")[2] if not name.endswith(".svg") else name: text for name, text in texts}
    assert json.loads(made["json"])["question"] == answer.question
    rows = list(csv.reader(made["csv"].splitlines()))
    assert [row[0] for row in rows[1:]] == [str(n) for n in range(1, len(answer.trace) + 1)]
    assert made["mmd"].startswith("flowchart LR\n")
    assert "==>" in made["mmd"]
    drawn = ElementTree.fromstring(made["timeline.svg"])
    assert len(drawn.findall(".//{*}g")) == len(answer.trace)
    tree = ElementTree.fromstring(made["tree.svg"])
    boxes = browser.texts(".box, .stub")
    assert len(tree.findall("{*}path")) == browser.run("return document.querySelectorAll('.edges .edge').length")
    meters = browser.run("return document.querySelectorAll('.meter i').length")
    assert len(tree.findall("{*}rect")) == 1 + len(boxes) + meters
    # what no box cuts off is in the drawing: names, branches, costs, rounds; and of the others how they begin
    words = "".join("".join(line.itertext()) for line in tree.findall("{*}text"))
    whole = browser.texts(".box .tag, .box .costs, .round, .stub")
    begun = [text[:12] for text in browser.texts(".box .said")]
    assert {word for text in [*whole, *begun] for word in text.split() if word not in words} == set()
    width, height = (float(tree.get(name, "0")) for name in ("width", "height"))
    assert all(0 <= float(line.get("x", "-1")) < width for line in tree.findall("{*}text"))
    assert all(0 < float(line.get("y", "-1")) < height for line in tree.findall("{*}text"))


@pytest.mark.parametrize("dark", [False, True])
def test_pictures_as_png_are_the_drawings(browser: Browser, dark: bool) -> None:
    browser.open(trace_page(shown(Chain(steps=2)).to_dict()), dark=dark)
    browser.run(
        "window.made = {};"
        "URL.createObjectURL = (blob) => { window.last = blob; return 'about:blank'; };"
        "HTMLAnchorElement.prototype.click = function () {"
        " createImageBitmap(window.last).then((found) => { window.made[this.download.split('-').at(-1)] = found; }); }"
    )
    sizes = {}
    for name in ("tree", "timeline"):
        [at] = [at for at, label in enumerate(browser.texts("footer button")) if label == f"PNG of the {name}"]
        browser.click("footer button", at)
        sizes[name] = browser.wait(f"const p = window.made['{name}.png']; return p && [p.width, p.height]")
        corner, colours = browser.run(
            "const p = window.made[arguments[0]], c = document.createElement('canvas');"
            "c.width = p.width; c.height = p.height; const pen = c.getContext('2d'); pen.drawImage(p, 0, 0);"
            "const d = pen.getImageData(0, 0, c.width, c.height).data, seen = new Set();"
            "for (let i = 0; i < d.length; i += 4) seen.add(d.slice(i, i + 3).join());"
            "return [[...d.slice(0, 4)], seen.size]",
            f"{name}.png",
        )
        assert corner[3] == 255
        assert (sum(corner[:3]) < 3 * 128) == dark
        assert colours > 20  # lines, boxes and smoothed letters, not a blank sheet
    width, height = browser.run(
        "const s = document.querySelector('.fall svg'); return [s.getAttribute('width'), s.getAttribute('height')]"
    )
    assert sizes["timeline"] == [round(2 * float(width)), round(2 * float(height))]
    browser.quiet()


def test_works_in_the_frame_of_a_notebook(browser: Browser) -> None:
    answer = shown(Chain(steps=1))
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(trace_page(answer.to_dict()))}"></iframe>'
    browser.open(f"<!doctype html><main>{frame}</main>")
    browser.driver.switch_to.frame(0)
    browser.wait("return document.querySelector('.answer')")
    assert browser.texts(".answer") == [answer.text]
    browser.click(".box")
    assert "move 1 of" in browser.texts(".detail")[0]
    assert "link" not in browser.texts(".detail button")  # there is no address to be copied
    browser.driver.switch_to.default_content()
    browser.quiet()


def test_hits_tell_their_ranks(browser: Browser) -> None:
    hits = [[TracedHit("p1", "One", 0.5, 2, 5), TracedHit("p2", "Two", 0.25, None, 1)]]
    browser.open(trace_page(replace(ANSWER, trace=[replace(ANSWER.trace[1], hits=hits)]).to_dict()), mark="move-1")
    first, second = browser.texts(".hits li")
    assert "dense 2, BM25 5" in first
    assert "cited" in first
    assert "BM25 1" in second
    assert "dense" not in second


def test_money_where_the_price_is_known(browser: Browser) -> None:
    data = ANSWER.to_dict()
    for spend in data["spend"].values():
        spend["usd"] = 0.0123
    browser.open(trace_page(data))
    assert "$0.012" in browser.texts(".budget")[0]
