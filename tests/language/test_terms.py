"""Terms: stop words and stemmers by language, letters in pairs, and the same terms however often a text comes."""

# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from Stemmer import Stemmer, algorithms

from ragscale.errors import InvalidInput
from ragscale.language import terms as module
from ragscale.language.terms import AUTO, CODES, NO_LANGUAGE, Terms, known_language, stemmer_of, stopwords_of


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("english", "The Runner was RUNNING to a cat's house!", ["runner", "run", "cat", "hous"]),
        ("english", "Article 5 of C and C++, -5", ["articl", "5", "c", "c++", "5"]),
        ("english", "Beyoncé Skłodowska", ["beyonc", "sklodowska"]),
        ("english", "Beyonce Sklodowska", ["beyonc", "sklodowska"]),
        ("none", "The Runner was RUNNING", ["the", "runner", "was", "running"]),
        ("german", "Die Häuser der Stadt", ["haus", "stadt"]),
        ("french", "l\u2019eau de la rivière", ["eau", "rivi"]),
        ("italian", "dell'acqua", ["acqua"]),
        ("turkish", "ISPARTA Isparta ısparta", ["ıspar", "ispar"] * 3),
        ("russian", "реки и река", ["рек"] * 2),
        ("chinese", "长江", ["长", "江", "长江"]),
        ("english", "हिन्दी", ["हिंदी"]),  # marks of other scripts stay
        ("english", "set_max_size", ["set_max_s", "set", "max", "size", "setmaxs"]),
        ("english", "Q & A by P&O", ["q&a", "q", "a", "qa", "p&o", "p", "o", "po"]),
        ("english", "25 300 km", ["25", "300", "25300", "km"]),
        ("english", "7 % of $20", ["7", "7%", "20", "20$"]),
        ("chinese", "黄\n河", ["黄", "河", "黄河"]),
        ("persian", "كتابها کتابها", ["کتاب"] * 2),
    ],
)  # fmt: skip
def test_terms_of(language: str, text: str, expected: list[str]) -> None:
    assert Terms(language)(text) == expected


@pytest.mark.parametrize(
    ("language", "passage", "query"),
    [
        ("english", "He co-operated", "cooperated"),
        ("english", "an email", "e-mail"),
        ("english", "health\u2010care", "healthcare"),
        ("english", "node.js, Vue.js", "nodejs vuejs"),
        ("english", "a Ph.D. thesis", "PhD"),
        ("english", "O\u2019Brien", "OBrien"),
        ("english", "O\u2019Brien", "Brien"),
        ("english", "O\u00b4Brien and O`Hara", "O'Brien O'Hara"),
        ("english", "Qur\u02bcan, Hawai\u02bbi", "Quran Hawaii"),
        ("english", "Yamoussoukro, Côte d'Ivoire", "ivoire"),
        ("english", "AB-1234", "AB1234"),
        ("english", "AB1234", "AB-1234"),
        ("english", "978-3-16-148410-0", "9783161484100"),
        ("english", "RTX3090, MP3", "RTX 3090 mp 3"),
        ("english", "5kg at 50Hz or 100km/h", "5 kg 50 Hz 100 km"),
        ("english", "802.11ac, v2.0.1, Python3.10", "802.11 2.0.1 python 3.10"),
        ("english", "the 1990s, 21st century", "1990 21 century"),
        ("english", "J. R. R. Tolkien", "JRR Tolkien"),
        ("english", "#ClimateChange", "climate change"),
        ("english", "getUserName()", "user name get_user_name"),
        ("english", "AT&T", "ATT"),
        ("english", "TNF-α", "TNF-alpha"),
        ("english", "1'234'567 or 1.234.567 or 12,34,567", "1234567"),
        ("english", "Þór", "Thor"),
        ("french", "élève Noël œuvre", "eleve noel oeuvre"),
        ("swedish", "Göteborg Ångström", "Goteborg Angstrom"),
        ("hungarian", "Győr", "Gyor"),
        ("turkish", "Istanbul", "istanbul"),
        ("romanian", "Timișoara", "Timisoara"),
        ("greek", "Ὀδυσσεύς", "Οδυσσευς"),
        ("none", "Việt Nam Nguyễn", "Viet Nam Nguyen"),
        ("none", "ΑΘΗΝΑ", "Αθήνα"),
        ("none", "הספר וירושלים ושבירושלים", "ספר ירושלים"),
        ("none", "أحمد مستشفى", "احمد مستشفي"),
        ("arabic", "والكتاب مستشفى", "كتاب مستشفي"),
        ("none", "हिन्दी चाँद", "हिंदी चांद"),
    ],
)  # fmt: skip
def test_what_is_written_in_another_way_is_found(language: str, passage: str, query: str) -> None:
    terms = Terms(language)
    for word in query.split():
        assert set(terms(word)) & set(terms(passage)), word


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("english", "the dog's C++ 5", ["dog", "c++", "5"]),  # nothing more where nothing is written otherwise
        ("english", "JavaScript McCartney", ["javascript", "mccartney"]),
        ("english", "1998-2004", ["1998", "2004", "19982004"]),
        ("english", "end.Sentence 3.14", ["end", "sentenc", "endsent", "3.14"]),
        ("english", "jane.roe@mail.example.com", ["jane", "roe", "mail", "exampl", "com"]),
        ("french", "l'école", ["écol", "ecol"]),
        ("none", "מלך", ["מלך"]),
        ("english", "J. R. R. Tolkien", ["j", "r", "r", "jrr", "tolkien"]),
        ("greek", "α", ["α"]),
    ],
)  # fmt: skip
def test_further_terms(language: str, text: str, expected: list[str]) -> None:
    assert Terms(language)(text) == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("english", "What does vitamin A do?", ["what", "doe", "vitamin", "a", "do"]),
        ("english", "which foods have vitamin a", ["which", "food", "have", "vitamin", "a"]),
        ("english", "vitamins a, b and c", ["vitamin", "a", "b", "c"]),
        ("english", "Vitamin A\nVitamin A is rare. A lack of it", ["vitamin", "a", "vitamin", "a", "rare", "lack"]),
        ("english", "Hepatitis\nA liver disease", ["hepat", "liver", "diseas"]),
        ("english", "hepatitis B, plan B", ["hepat", "b", "plan", "b"]),
        ("english", "type 2, group A", ["type", "2", "group", "a"]),
        ("english", "X-ray, A-level, A*, C++, the U.S.", [
            "x", "ray", "xray", "a", "level", "alevel", "a*", "c++", "us",
        ]),
        ("english", "the IT department", ["it", "depart"]),
        ("english", "information technology (IT), I.T.", ["inform", "technolog", "it", "it"]),
        ("english", "an AND gate or the OR gate", ["and", "gate", "or", "gate"]),
        ("english", "Indianapolis, IN 46201", ["indianapoli", "in", "46201"]),
        ("english", "vitamin A's use and A. Smith's", ["vitamin", "a", "use", "a", "smith"]),
        ("english", 'A cat. A dog: "A man" (a plan)', ["cat", "dog", "man", "plan"]),
        ("english", "THE MAKING OF A KING", ["make", "king"]),
        ("english", "Drive A Crooked Road", ["drive", "crook", "road"]),
        ("english", "HEPATITIS A", ["hepat", "a"]),
        ("english", "state-of-the-art, and/or", ["state", "art", "stateoftheart"]),
        ("english", "It is. No, not the one", ["one"]),
        ("russian", "витамин С и витамин А", ["витамин", "с", "витамин", "а"]),
        ("italian", "vitamina E e vino", ["vitamin", "e", "vin"]),
        ("none", "THE vitamin A", ["the", "vitamin", "a"]),
    ],
)  # fmt: skip
def test_a_stop_word_that_is_a_name_stays(language: str, text: str, expected: list[str]) -> None:
    assert Terms(language)(text) == expected


def test_each_language_has_its_stemmer_or_needs_none() -> None:
    stemmed = {stemmer_of(language) for language in CODES.values()} - {None}
    assert stemmed <= set(algorithms())
    assert {stemmer_of(name) for name in ("chinese", "japanese", "korean", "thai", NO_LANGUAGE)} == {None}
    for language in stemmed:
        assert isinstance(Stemmer(language).stemWord("x"), str)
    assert {"and", "the"} <= stopwords_of("english")
    assert not stopwords_of(NO_LANGUAGE) | stopwords_of("korean") | stopwords_of("finnish")


def test_languages_are_known_by_name_and_code() -> None:
    assert [known_language(name) for name in ("de", "German", AUTO, NO_LANGUAGE, "zh")] == [
        "german", "german", AUTO, NO_LANGUAGE, "chinese",
    ]  # fmt: skip
    for wrong in ("klingon", "", 5):
        with pytest.raises(InvalidInput, match=r"has no stemmer.*Choose auto, none"):
            known_language(wrong)  # type: ignore[arg-type]


@given(st.lists(st.text()))
def test_memory_changes_nothing(texts: list[str]) -> None:
    several, size = Terms("english"), module._MEMORY
    try:
        module._MEMORY = 2
        for text in texts:
            assert several(text) == Terms("english")(text) == several(text)
    finally:
        module._MEMORY = size


@pytest.mark.parametrize(
    "text",
    ["a" * 300_000, "A" * 300_000, "b-" * 50_000, "a-" * 50_000, "b'" * 50_000, "\u6c5f" * 100_000, "b-b." * 20_000],
)
def test_a_long_chunk_takes_no_longer_than_its_length(text: str) -> None:
    """Patterns begin at words: from each letter on, one such chunk would take minutes, beyond the time of a test."""
    assert Terms("english")(text)
