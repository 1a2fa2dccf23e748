"""Language of a corpus: most of a sample decides, and what cannot be told is said."""

# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones

from __future__ import annotations

import pytest

from ragscale.language.detect import detected

SAMPLES = {
    "english": "The river rises in the hills of the north and flows through four towns before it reaches the sea.",
    "german": "Der Fluss entspringt in den Bergen des Nordens und fliesst durch vier Orte, bevor er das Meer erreicht.",
    "french": "La rivière prend sa source dans les collines du nord et traverse quatre villes avant de gagner la mer.",
    "russian": "Река берёт начало на "
    "севере и течёт через "
    "четыре города к морю.",
    "chinese": "这条河发源于北方的山中\uff0c流经四个城"
    "市后入海\u3002",
}  # fmt: skip


@pytest.mark.parametrize("language", SAMPLES)
def test_the_language_of_most_texts(language: str) -> None:
    choice = detected([SAMPLES[language]] * 8)
    assert choice == (language, "100% of a sample")


def test_a_stemmer_leaves_other_scripts_alone() -> None:
    assert detected([SAMPLES["english"] * 3, SAMPLES["chinese"] * 8] * 4).language == "english"


def test_a_mixture_has_none() -> None:
    choice = detected([SAMPLES["english"] * 3, SAMPLES["german"] * 3, SAMPLES["french"] * 3])
    assert choice.language == "none"
    assert "no language has most of a sample" in choice.reason


def test_a_language_without_stemmer_is_named() -> None:
    text = "Річка починається в горах і тече через чотири міста."
    assert detected([text] * 8) == ("none", "100% of a sample is in 'uk', which has no stemmer here")


@pytest.mark.parametrize(
    "text",
    [
        "| Metal | Found | By |\n| --- | --- | --- |\n| Rhodium | 1804 | Wollaston |\n| Osmium | 1803 | Tennant |\n",
        "200 g flour, 2 eggs, 100 g butter, 1 tsp salt. Mix, bake 20 min at 180 C. ",
        "William Wollaston, Smithson Tennant, Carl Scheele, Marie Curie, Pierre Curie, Lise Meitner, ",
        "def run(a, b): return [x for x in zip(a, b) if x] ",
    ],
    ids=["a table", "a recipe", "names", "code"],
)
def test_what_is_in_no_language_is_taken_for_english(text: str) -> None:
    """Each was surely Norwegian, Welsh or Latin: a guess of little probability was believed."""
    assert detected([text * 6]) == ("english", "no language is sure")
    assert detected([text * 6, SAMPLES["german"] * 3]).language == "german"


@pytest.mark.parametrize("texts", [[], ["river"], ["1 2 3"] * 3])
def test_too_little_is_taken_for_english(texts: list[str]) -> None:
    assert detected(texts) == ("english", "too little text to tell")
