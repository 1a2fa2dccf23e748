"""BM25 in many scripts, and names that signs, letters or digits tell apart: the passage that is meant comes first.

Each passage that is meant stands after one that a search by code points would take for it, or find as well.
"""

# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from ragscale.index import Index

SCRIPTS = {
    "latin, composed otherwise": ("Beyoncé", "Beyoncito sang.", "Beyonce\u0301 sang."),
    "latin, german": ("Häuser", "Die Haut der Hand.", "Das alte Haus am See und sein Garten."),
    "greek": ("οδός", "Η θάλασσα.", "Η ΟΔΟΣ."),
    "cyrillic": ("города", "Гора высока.", "Казань \u2014 город."),
    "arabic": ("كتاب ٥", "كتاب 6", "كِتَاب 5"),
    "hebrew": ("צה\u05f4ל", "צה לי", "צה\"ל הוקם"),
    "devanagari": ("हिन्दी", "ह न द हिन्दु", "हिन्दी भारत की एक राजभाषा है\u0964"),
    "bengali": ("বাংলা", "বল বালি", "বাংলা একটি ভাষা\u0964"),
    "tamil": ("தமிழ்", "தம் மழை", "தமிழ் மொழி"),
    "thai": ("เสื้อ", "เสืออยู่ในป่า", "เขาซื้อเสื้อสีแดง"),
    "chinese": ("长江", "江西有一段长城\u3002", "中国的长江很长\u3002"),
    "japanese": ("デ\u30fcタ", "タ\u30fcデンは荷物です\u3002", "新しいデ\u30fcタベ\u30fcスです\u3002"),
    "korean": ("서울", "울서 지역이다", "서울은 대한민국의 수도이다"),
    "khmer": ("ភាសា", "សាភេ", "នេះជាភាសាខ្មែរ"),
}  # fmt: skip
NAMES = {
    "a digit": ("Article 5", "Article 8 is cited; Article 8 grants it.", "Article 5 grants the right to liberty."),
    "a letter": ("language C", "The language Ada is a language.", "C is a language."),
    "signs after a letter": ("C++", "C and C# are languages.", "C++ has templates."),
    "an ampersand": ("AT&T", "At T junctions, t is at the end.", "AT&T sells telephones."),
    "an exponent": ("km2", "A km is long.", "It covers 5 km\u00b2 of land."),
    "a formula": ("H2O", "O is H.", "H\u2082O is water."),
    "a ligature": ("finance office", "Fine offers.", "The \ufb01nance o\ufb03ce closed."),
    "a soft hyphen": ("Donaudampfschiff", "Die Donau, ein Schiff.", "Donau\u00addampf\u00adschiff"),
    "full width": ("1998", "1999", "\uff11\uff19\uff19\uff18\u5e74"),
    "full stops": ("USA", "Us, a and b.", "The U.S.A. is large."),
    "thousands": ("1,000 years", "1 year and 000 years", "1000 years"),
    "a line end within a word": ("黄河", "河水很黄。黄色的河马。", "中国第二长的河是黄\n河。"),
    "a stress": ("Москва", "Московит.", "Москва\u0301 стоит."),
    "letters of Persian": ("پاكي", "پاک", "پاکی"),
    "a trade mark": ("Lego", "Legolas", "Lego\u2122 bricks"),
    "a power": ("25 m\u00b2", "25 m", "A room of 25 m^2"),
    "a part of a name of code": ("max_size", "The max is 5.", "call set_max_size first"),
    "an ampersand with spaces": ("P&O", "P or O", "P & O ferries"),
    "thousands by a space": ("25,300", "25 and 300 and 25", "25 300 people"),
    "a percent sign": ("5%", "5 of them", "5 % of them"),
    "a currency": ("$5", "\u20ac5", "5 $"),
    "a consonant of Malayalam as it was written": ("അവന്\u200d", "അവള്\u200d ഇവിടെ.", "അവ\u0d7b ഇവിടെ."),
    "a prefix of Hebrew in a corpus of another language": ("ירושלים", "The town of Haifa", "The city בירושלים is old."),
    "an accent that nobody types": ("Sklodowska", "Sklodow", "Marie Skłodowska"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*SCRIPTS, *NAMES])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_passage_that_is_meant_comes_first(name: str, form: str, tmp_path: Path) -> None:
    query, other, meant = (SCRIPTS | NAMES)[name]
    language = {"latin, german": "german", "greek": "greek", "cyrillic": "russian", "arabic": "arabic"}.get(
        name, "english"
    )
    texts = {"other": other, "meant": unicodedata.normalize(form, meant)}
    rows = [json.dumps({"id": id, "text": text}) for id, text in texts.items()]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("\n".join(rows), encoding="utf-8")
    with Index.build([corpus], tmp_path / "index", embedder=None, language=language) as index:
        [hits] = index.search([query])
        assert hits[0].passage.id == "meant"
        assert len(hits) == 1 or hits[0].score > hits[1].score
