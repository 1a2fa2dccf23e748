"""The trace page as a file: self-contained, small, safe, and its data can be read back."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import webbrowser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doubles import StubIndex, ask, run, scripted, virtually
from runs import HOSTILE, MODES, shown
from test_trace import ANSWER
from typer.testing import CliRunner

from ragscale.cli import app
from ragscale.errors import InvalidInput
from ragscale.modes import Chain, Tree
from ragscale.types import Event
from ragscale.view.page import PageWarning, read_trace, trace_page
from ragscale.view.sent import Sent


def data_of(page: str, tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "page.html"
    path.write_text(page, "utf-8")
    return read_trace(path)


def test_is_one_file_that_loads_nothing() -> None:
    page = trace_page(ANSWER.to_dict())
    assert not re.search(r"\b(src|href)\s*=\s*[\"']", page.split("<script>")[0])
    assert re.findall(r"https?://[^\s\"']+", page) == ["http://www.w3.org/2000/svg"]  # a name, nothing is fetched
    assert "@import" not in page
    assert "url(" not in page.replace("url(#hatch)", "")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy[1]
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        [text] = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert rules[name] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_hostile_text_cannot_leave_the_data() -> None:
    page = trace_page({"question": HOSTILE, "answer": "\ud800", "trace": [{"move": HOSTILE, "output": HOSTILE}]})
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<img" not in page
    assert "&lt;/script&gt;&lt;script&gt;document.title" in page  # in the title
    page.encode()


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_its_data_are_those_of_the_run(mode: Any, tmp_path: Path) -> None:
    answer = shown(mode)
    data = data_of(trace_page(answer.to_dict()), tmp_path)
    for event, kept in zip(answer.trace, data["trace"], strict=True):
        back = Event.from_dict({"move": event.move, "branch": event.branch, **kept})
        titles = {hit.id: hit.title for hits in event.hits for hit in hits}
        hits = [[hit._replace(title=hit.title or titles[hit.id]) for hit in found] for found in back.hits]
        assert {**back.to_dict(), "hits": [[list(hit) for hit in found] for found in hits]} == event.to_dict()
        if event.prompt:
            assert Sent.from_dict(data["prompts"])[event.prompt] == answer.prompts[event.prompt]
    rest = answer.to_dict()
    assert {key: data[key] for key in rest if key != "trace"} == {key: rest[key] for key in rest if key != "trace"}


def test_two_hundred_moves_fit_into_300_kb() -> None:
    answer, _ = run(Tree(), index=StubIndex(words=90, size=300), llm=scripted())
    assert len(answer.trace) > 200
    assert len(answer.retrieved) > 100
    assert len(trace_page(answer.to_dict()).encode()) < 300_000


def test_a_prompt_that_is_kept_is_the_one_that_was_sent() -> None:
    llm = scripted()
    answer, _ = run(Chain(steps=3), llm=llm)
    sent = {
        hashlib.sha256(json.dumps(call.messages).encode()).hexdigest()[:12]: list(call.messages) for call in llm.calls
    }
    asked = [event.prompt for event in answer.trace if event.prompt]
    assert len(asked) == 7
    assert dict(answer.prompts) == {digest: sent[digest] for digest in asked}
    retrieved = {id for event in answer.trace for id in event.passages}
    assert set(answer.retrieved) == retrieved
    assert set(answer.to_dict()["passages"]) == retrieved
    assert isinstance(answer.prompts, Sent)
    lines = answer.prompts.to_dict()["lines"]
    assert len(set(lines)) == len(lines)


def test_nothing_is_kept_where_nobody_looks() -> None:
    answer, _ = virtually(lambda: ask(Chain(steps=1), keep_texts=False))
    assert dict(answer.prompts) == {}
    assert answer.retrieved == {}


def test_messages_of_a_conversation_with_tools_come_back() -> None:
    sent = Sent()
    messages = [
        {"role": "assistant", "content": "a\n\nb", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
    ]
    sent.keep("x", messages)
    sent.keep("x", [])
    assert Sent.from_dict(json.loads(json.dumps(sent.to_dict()))) == {"x": messages}


def test_save_and_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ANSWER.save(tmp_path / "a.html", gold="Warsaw")
    assert read_trace(path)["gold"] == {"answers": ["Warsaw"]}
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))
    ANSWER.show()
    [url] = opened
    assert url.startswith("file://")
    page = Path(url.removeprefix("file://"))
    assert read_trace(page)["answer"] == "Warsaw"
    page.unlink()
    with pytest.raises(InvalidInput, match="cannot be written"):
        ANSWER.save(tmp_path / "none" / "a.html")


def test_show_without_a_browser_says_which_file_the_page_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    with pytest.warns(PageWarning, match=r"No browser opens here\. The page is .*ragscale-.*\.html$") as told:
        ANSWER.show()
    page = Path(str(told[0].message).rpartition(" ")[2])
    assert read_trace(page)["answer"] == "Warsaw"
    page.unlink()


def test_show_in_a_notebook_is_a_frame_below_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython
    import IPython.display

    shown_: list[Any] = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", lambda shown, raw: shown_.append(shown["text/html"]))
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail("a browser was opened"))
    ANSWER.show()
    [frame] = shown_
    assert frame.startswith('<iframe sandbox="allow-scripts')
    [page] = re.findall(r'srcdoc="([^"]*)"', frame)
    assert html.unescape(page) == trace_page(ANSWER.to_dict())


def test_the_command_makes_a_page_of_json_and_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ANSWER.to_dict()))
    for file, out in (("a.json", "a.html"), ("a.html", "b.html")):
        result = CliRunner().invoke(app, ["trace", str(tmp_path / file), "--out", str(tmp_path / out)])
        assert result.exit_code == 0, result.output
    assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text() == trace_page(ANSWER.to_dict())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"trace": 3}', '{"trace": [3]}', "<html></html>", '{"trace": [{}]}']
)
def test_another_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    result = CliRunner().invoke(app, ["trace", str(tmp_path / "a.json"), "-o", str(tmp_path / "a.html")])
    assert result.exit_code == 1
    assert "Give what `ragscale ask --json` printed" in " ".join(result.stderr.split())
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mode": {}}, "mode is no text"), ({"stop_reason": True}, "stop_reason is no text"),
        ({"passages": ["p1"]}, "passages is no object"), ({"citations": "p1"}, "citations is no list"),
        ({"trace": [{"move": "plan", "spend": [1]}]}, "spend of move 1 is no object"),
        ({"trace": [{"move": "plan"}, {"move": "retrieve", "hits": 0.5}]}, "hits of move 2 are no lists of hits"),
    ],
)  # fmt: skip
def test_a_run_of_another_shape_is_refused_by_name(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ANSWER.to_dict() | change))
    result = CliRunner().invoke(app, ["trace", str(tmp_path / "a.json"), "-o", str(tmp_path / "a.html")])
    assert result.exit_code == 1
    assert told in " ".join(result.stderr.split())


def test_numbers_that_are_none_are_not_recorded(tmp_path: Path) -> None:
    """NaN, which other programs write, and numbers beyond a double's."""
    text = json.dumps({"trace": [{"move": "score", "score": "S", "spend": {"seconds": "T"}}]})
    (tmp_path / "a.json").write_text(text.replace('"S"', "NaN").replace('"T"', "1e999"))
    assert read_trace(tmp_path / "a.json") == {"trace": [{"move": "score", "score": None, "spend": {"seconds": None}}]}
    trace_page(read_trace(tmp_path / "a.json"))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_trace(tmp_path / "none.json")
