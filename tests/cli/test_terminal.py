"""Output to a terminal: no character that steers it, turns the reading or hides; all scripts stay legible."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale.cli.common import print_json
from ragscale.cli.terminal import escaped, plain

TURNING = [chr(code) for code in [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]]
HIDING = [
    *("\u200b", "\u2060", "\ufeff", "\u00ad", "\u200e", "\u200f", "\u061c", "\u180e", "\u2063", "\u206c", "\u3164"),
    *("\ufff9", "\u115f", "\u034f", "\U000e0041", "\U000e0001", "\U000e0100", "\ufe0f", "\u200d", "\u200c"),
]
VARIANTS = ("\ufe0f", "\U000e0100")  # one may choose the shape of the character before it
LEGIBLE = [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
    "\u2764\ufe0f\u200d\U0001f525 \U0001f9d1\U0001f3fd\u200d\U0001f680 \U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland
    "1\ufe0f\u20e3 \u263a\ufe0e",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
    "\u0915\u094d\u200d\u0937 \u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Hindi, Sinhala
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627, caf\u00e9 \u65e5\u672c\U000e0100 \u182d\u180b",
    "tab\tand\nline",
]


@pytest.mark.parametrize("character", TURNING, ids=ascii)
def test_directions_of_writing_are_shown_as_what_they_are(character: str) -> None:
    assert plain(f"invoice{character}fdp.exe") == "invoice\ufffdfdp.exe"


@pytest.mark.parametrize("character", HIDING, ids=ascii)
def test_what_takes_no_room_is_left_out(character: str) -> None:
    assert plain(f"pass {character}{character}word") == "pass word"
    assert plain(character * 3) == ""
    assert plain(f"pass{character}{character}word") in ("password", f"pass{character}word")
    assert (character in plain(f"pass{character}word")) == (character in VARIANTS)


@pytest.mark.parametrize("text", LEGIBLE, ids=ascii)
def test_scripts_and_emoji_stay_as_they_are(text: str) -> None:
    assert plain(text) == text
    assert escaped(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


def test_joiners_that_join_nothing_are_left_out() -> None:
    assert plain("a\u200db \u200d\U0001f525 \U0001f525\u200d \u0645\u200c\u200c\u200c\u062e") == (
        "ab \U0001f525 \U0001f525 \u0645\u200c\u062e"
    )
    assert plain("x\ufe0f\ufe01\ufe02\U000e0101") == "x\ufe0f"
    assert plain("\U0001f525\U000e0067\U000e0062\U000e007f") == "\U0001f525"


def test_separators_of_lines_are_lines() -> None:
    assert plain("a\u2028b\u2029c\x85d") == "a\nb\nc\ufffdd"


ANY = st.text(st.characters() | st.sampled_from([*TURNING, *HIDING, "\x9b", "\x1b", "\x7f", "\u2028"]))


@given(ANY)
def test_nothing_that_steers_is_left(text: str) -> None:
    shown = plain(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t" for c in shown)
    assert not set(TURNING) & set(shown)
    assert plain(shown) == shown


@given(ANY)
def test_json_is_of_the_same_value(text: str) -> None:
    whole = json.dumps({text: [text, 1]}, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode()
    shown = escaped(whole)
    assert json.loads(shown) == json.loads(whole)
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c != "\n" for c in shown)
    assert not set(TURNING) & set(shown)


def test_printed_json(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "\x9b2J \x7f \x1b[0m \u202egnp.exe \u200b \U000e0041 \u2028 caf\u00e9 \U0001f525"}
    print_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert printed.splitlines()[1] == (
        '  "text": "\\u009b2J \\u007f \\u001b[0m \\u202egnp.exe \\u200b \\udb40\\udc41 \\u2028 caf\u00e9 \U0001f525"'
    )
