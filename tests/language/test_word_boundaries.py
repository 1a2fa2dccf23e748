"""Words: boundaries, normal form, and names that their signs tell apart, in many scripts."""

# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones

from __future__ import annotations

import sys
import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from ragscale.language import words as module
from ragscale.language.words import amounts, closed, folded, grouped, pairs, runs, spelling, valued, words

WORD, SPELT = (module._compiled(pattern) for pattern in (module._WORD, module._SPELT))
texts = st.text() | st.text(
    alphabet="aAbé .,-'&+#*_/19½²⁻\u0301\u00ad\u200b長江서울กำ\u0e49\u05d4\"()½İı\n%$♯♭Άάΐς\u0308"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Article 5 grants C", ["article", "5", "grants", "c"]),
        ("AT&T's R&B, Barnes&Noble, Q&A", ["at&t's", "r&b", "barnes", "noble", "q&a"]),
        ("C++, C#/F# and A* (C++11)", ["c++", "c#", "f#", "and", "a*", "c++", "11"]),
        ("*bold* a+b #tag 18+", ["bold", "a", "b", "tag", "18"]),
        ("U.S.A. J.K.Rowling end.Next node.js e.g.", ["usa", "jk", "rowling", "end", "next", "node", "js", "eg"]),
        ("1,000 1,2 3.5 .5 -5 (-5) -.5", ["1000", "1,2", "3.5", "0.5", "-5", "-5", "-0.5"]),
        ("1998-2004 1998\u20132004 (555)-1234 x=-5 --5", ["1998", "2004"] * 2 + ["555", "1234", "x", "-5", "5"]),
        ("km\u00b2 H\u2082O CO\u2082 Ⅳ", ["km2", "h2o", "co2", "iv"]),
        ("10\u2076 10\u207b\u2076 1\u00bd 1998\u00b9 106", ["10", "6", "10", "-6", "1", "1", "2", "1998", "1", "106"]),
        ("Côte d\u2019Ivoire O'Neill rock'n'roll 'tis", ["côte", "d'ivoire", "o'neill", "rock'n'roll", "tis"]),
        ("_emphasis_ snake_case __", ["emphasis", "snake_case"]),
        ("The \ufb01nance o\ufb03ce, \uff21\uff22", ["the", "finance", "office", "ab"]),
        ("Donau\u00addampf zero\u200bwidth", ["donaudampf", "zerowidth"]),
        ("Straße İstanbul Σίσυφος", ["strasse", "istanbul", "σίσυφοσ"]),
        ("צה\u05f4ל צה\"ל", ["צה\"ל"] * 2),
        ("٣\u066b٥ ๒๕ १२", ["3.5", "25", "12"]),
        ("l\u00b7l ŀl", ["l\u00b7l", "l\u00b7l"]),
        ("हिन्दी हिंदी भारत चाँद", ["हिंदी", "हिंदी", "भारत", "चांद"]),
        ("1'234 1.234.567 1.234.567,5 1,23,456 5'11 3.141 10.20.30.40", [
            "1234", "1234567", "1234567.5", "123456", "5", "11", "3.141", "10.20.30.40",
        ]),
        ("O`Brien O\u00b4Brien `code` A.A*", ["o'brien", "o'brien", "code", "aa"]),
        ("أحمد إسلام مستشفى آب", ["احمد", "اسلام", "مستشفي", "آب"]),
        ("长江\u3002中国", ["长", "江", "中", "国"]),
        ("デ\u30fcタ１番", ["デ", "\u30fc", "タ", "1", "番"]),
        ("서울은", ["서", "울", "은"]),
        ("เสื้อ", ["เ", "สื้", "อ"]),
        ("!!! ... \u2014 * & %", []),
        ("25 m\u00b2 m^2 m2 m^{2} m\u207b\u00b9 m^-1", ["25", *["m2"] * 4, *["m", "1"] * 2]),
        ("Lyon\u00b3 Lyon^3 2\u00b3 2^3 C\u2086H\u2081\u2082 NaHCO\u2083",
          [*["lyon", "3"] * 2, *["2", "3"] * 2, "c6h12", "nahco3"]),
        ("Lego\u2122 Delta\u2120 Lego\u00ae \u211612 \u2461Close \u24b7side", [
            "lego", "delta", "lego", "no", "12", "2", "close", "b", "side",
        ]),
        ("Москва\u0301 йод ёж ќ", ["москва", "йод", "ёж", "ќ"]),
        ("אַבָּא مُحَمَّد مـحمد", ["אבא", "محمد", "محمد"]),
        ("پاکی پاكي ہ", ["پاكي", "پاكي", "ه"]),
    ],
)  # fmt: skip
def test_words_of(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_signs_by_which_names_differ_are_words_of_a_spelling() -> None:
    assert spelling(".NET 5% $100 C# R&B ...what x/y") == [
        ".net",
        "5",
        "%",
        "$",
        "100",
        "c#",
        "r&b",
        "what",
        "x",
        "/",
        "y",
    ]


def test_letters_of_scripts_without_spaces_stand_together_in_runs_and_alone_in_words() -> None:
    assert runs("长江 1998年") == ["长江", "1998", "年"]
    assert pairs("长江大") == ["长", "江", "大", "长江", "江大"]


def test_white_space_within_a_word_is_closed() -> None:
    assert runs(closed("\u9ec4\n\u6cb3 \u0e01\r\n\u0e32")) == ["\u9ec4\u6cb3", "\u0e01\u0e32"]
    assert runs(closed("\u9ec4\n\n\u6cb3\na\n\u6cb3 \u9ec4")) == ["\u9ec4", "\u6cb3", "a", "\u6cb3", "\u9ec4"]
    assert closed("Q & A, P & O, Marks & Spencer, 7 % and 7 \u20ac, 7 $10 notes") == (
        "Q&A, P&O, Marks & Spencer, 7% and 7\u20ac, 7 $10 notes"
    )
    assert [grouped(f"of 25{space}300 km") for space in " \u00a0\u202f"] == ["of 25300 km"] * 3
    assert grouped("in 2010 300 of 12 34 1.5 300", parts=True) == "in 2010 300 of 12 34 1.5 300"
    assert grouped("J. R. R. Tolkien of J.R.R. and I. am") == "J.R.R. Tolkien of J.R.R. and I. am"
    assert grouped("J. R. Tolkien", parts=True) == "J. R. J.R. Tolkien"
    assert grouped("1 234 567 of 7 800", parts=True) == "1 234 567 1234567 of 7 800 7800"


def test_signs_that_make_another_value_stay() -> None:
    assert [valued(text) for text in ("\u00a37", "7 \u00a3", "7%", "B-", "AB- or AB+", "B-side", "x --")] == [
        ["7", "\u00a3"], ["7", "\u00a3"], ["7", "%"], ["b-"], ["ab-", "or", "ab+"], ["b", "side"], ["x"],
    ]  # fmt: skip
    assert amounts("from $7,500 to 8.5%, -3 % or \uff04\uff12") == ["7500$", "8.5%", "3%", "2$"]
    assert amounts("7 dollars, % and $") == []


@given(texts)
def test_composition_does_not_matter(text: str) -> None:
    composed, parted = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert words(composed) == words(parted)
    assert spelling(composed) == spelling(parted)


@given(texts)
def test_words_give_themselves_again(text: str) -> None:
    for cut in (words, spelling):
        once = cut(text)
        assert cut(" ".join(once)) == once
        assert all(word and not any(char.isspace() for char in word) for word in once)
    assert all(regex.search(r"[\p{L}\p{N}]", word) for word in words(text))  # which knows more letters than Python


@given(texts)
def test_the_normal_form_is_its_own(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert folded(folded(text).upper()) == folded(text.upper().lower().upper()) or not text.isascii()


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_short_ways_of_ascii_are_the_same_way(text: str) -> None:
    """A text of ASCII alone is not folded by Unicode's tables, and most of its words are not searched for."""
    long = [word for chunk in text.split() for word in map(module._plain, WORD.findall(folded(chunk)))]
    assert runs(text) == long
    spelt = [word for chunk in text.split() for word in map(module._plain, SPELT.findall(folded(chunk)))]
    assert spelling(text) == spelt
    beside = text + " é"
    assert words(beside) == [*words(text), "é"]
    assert folded(f"{text}é")[:-1] == folded(text)


_PLAIN = st.text(
    alphabet=st.characters(categories=["L", "Nd", "Zs", "Po", "Ps"], exclude_characters="&@%#.,:'\u2019*_")
)


@given(_PLAIN)
def test_boundaries_are_those_of_unicode_but_for_what_is_tailored(text: str) -> None:
    """Against the library's own UAX 29, for scripts with spaces and no tailored sign."""
    text = folded(text)
    if regex.search(r"[\p{Ideographic}\p{Hangul}\p{Hiragana}\p{Katakana}\p{LB=SA}\p{M}\"\p{Sk}\u00b7\u05f4]", text):
        return
    parted = regex.split(r"(?V1w)\b", text)
    theirs = [part for part in parted if regex.search(r"[\p{L}\p{N}]", part)]
    assert "".join(words(text)) == "".join(theirs)
    assert set(theirs) >= {word for word in words(text) if word.isalpha()} or not text.isascii()


def test_every_letter_and_digit_is_of_a_word() -> None:
    """But apostrophes, marks that Unicode counts as letters, and Arabic vowels that it draws as letters."""
    every = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "LN"]
    lost = [char for char in every if not WORD.search(folded(char))]
    assert len(every) > 130_000
    kept = {unicodedata.category(char)[0] for lone in lost for char in folded(lone)}
    assert kept <= set("MPZ")
    assert len([lone for lone in lost if not unicodedata.name(lone).startswith("ARABIC")]) < 10
    assert {folded(lone) for lone in lost if unicodedata.name(lone).startswith("ARABIC")} <= {"", " "}
