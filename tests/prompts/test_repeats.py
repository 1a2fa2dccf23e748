"""Repeated sub-queries: the same in another spelling, and names that differ by a sign or a mark."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale.prompts import fresh, normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C++ designer", "C# designer"),
        ("C++ designer", "C designer"),
        ("F# history", "F history"),
        (".NET founder", "net founder"),
        ("A* search", "A search"),
        ("Blood type A- share", "Blood type A share"),
        ("C\u266f minor", "C minor"),
        ("R&B singer", "RB singer"),
        ("-5 degrees", "5 degrees"),
        ("$100 bill", "100 bill"),
        ("5% rule", "5 rule"),
        ("\u0915\u093f", "\u0915\u0940"),  # Hindi ki, kii
        ("\u092e\u0928", "\u092e\u0941\u0928\u093f"),
        ("\u0e02\u0e49\u0e32\u0e27", "\u0e02\u0e32\u0e27"),  # Thai rice, white
        ("\u0e44\u0e21\u0e48", "\u0e44\u0e21\u0e49"),
        ("\u0b95\u0bbf", "\u0b95\u0bc0"),  # Tamil
        ("resume", "r\u00e9sum\u00e9"),
        ("\u0439", "\u0438"),
    ],
)
def test_names_that_differ_by_a_sign_or_a_mark_are_no_repeats(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jaws director", "JAWS Director?"),
        ("the \u201cJaws\u201d director", 'the "Jaws" director'),
        ("*Jaws* director", "Jaws director"),
        ("Beyonc\u00e9 birth", "Beyonce\u0301 birth"),
        ("\ufb01lm cast", "film cast"),
        ("\uff23\uff0b\uff0b", "C++"),
        ("\u06a9\u062a\u0627\u0628\u200c\u0647\u0627", "\u06a9\u062a\u0627\u0628\u0647\u0627"),  # a joiner nobody sees
        ("soft\u00adhyphen", "softhyphen"),
        ("Stra\u00dfe", "STRASSE"),
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03cc\u03c2"),  # Greek capitals have no accents
        ("C\u266f minor", "C# minor"),
        ("\uac00", "\u1100\u1161"),  # Hangul, composed and not
        ("... what now", "what now!"),
    ],
)
def test_other_spellings_are_repeats(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_exactly_the_same_is_another_measure() -> None:
    assert normalise("Jaws director", "exact") != normalise("JAWS Director", "exact")
    assert normalise(" a?", "exact") == " a?"


@given(st.text())
def test_composition_and_a_second_pass_change_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(unicodedata.normalize("NFC", text))


def test_queries_that_were_asked_before_are_left_out() -> None:
    """Their order and wording stay, and equal ones among the new, which one batch may search for."""
    queries = ["Paris, France", "Lyon", "paris france", "Nice", "nice"]
    assert fresh(queries, ["PARIS FRANCE", "Rome"]) == ["Lyon", "Nice", "nice"]
    assert fresh(queries, ["Nice"], "exact") == ["Paris, France", "Lyon", "paris france", "nice"]
