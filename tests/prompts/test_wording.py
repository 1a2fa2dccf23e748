"""Phrases that mean nothing, and names that only sound like them."""

from __future__ import annotations

import pytest

from ragscale.prompts import NO_INFORMATION, parse
from ragscale.prompts.wording import informative, says_none, states


@pytest.mark.parametrize(
    "text",
    [
        "Freedom of Information Foundation",
        "Information Foundry Inc.",
        "Unknown",
        "Nothing",
        "None",
        "Unknown Pleasures",
        "No Country for Old Men",
        "No Answer",
        "Not I",
        "Nothing but the Truth",
        "Found in Translation",
        "The Great Unknown",
        "No information wants to be free, a slogan",
        "no",
        "No.",
        "No, he was not.",
        "Yes, it is",
        "Na",
        "Nil by Mouth",
        "Ministry of Information, found in 1939",
        "No Results, a band",
        "Based on a True Story",
        "From Here to Eternity",
        "I Don't Know How She Does It",
        "He is not mentioned in the Bible",
        "Air support was not provided.",
        "The director is Steven Spielberg; his birth is not mentioned",
        "It is not known before 1945",
        "It is not possible to determine the height; about 3 m",
        "There is no mention of him, but Ridley Scott directed it",
        "There is no information about his birth, but he was born in 1946.",
        "No relevant information found. The director is Steven Spielberg.",
        "The documents do not mention the film, but its director is Steven Spielberg.",
        "I do not know the date, but it was 1946.",
        "I don't know the day; it was in May.",
        "Not sure; probably Steven Spielberg",
        "I'm not sure, maybe Paris",
        "Unclear Physics",
        "The Unknown Soldier",
        "Unable to swim, he drowned in 1822",
        "Unbekannt",
        "Non",
        "Nein",
        "Pas de deux",
        "Ne me quitte pas",
        "Io non ho paura",
        "Nessun dorma",
        "Sin City",
        "Bundesministerium f\u00fcr Information",
        "Keine Informationen vor 1945, dann Berlin",
        "\u4fe1\u606f\u5b66\u9662",
        "0",
        "\u221e",
    ],
)
def test_answers_that_sound_like_nothing_are_kept(text: str) -> None:
    assert informative(text)
    assert parse.sub_answer(text) == text


@pytest.mark.parametrize(
    "text",
    [
        NO_INFORMATION,
        "No relevant information found.",
        "No relevant information was found",
        "NO RELEVANT INFORMATION FOUND",
        "No relevant information",
        "No information is available on the height of the dam.",
        "There is no information about his father in the documents.",
        "Yes relevant information found",
        "N/A",
        "n.a.",
        "Not found",
        "Not Found",
        "not mentioned in the provided documents",
        "The documents do not mention the director.",
        "The provided passages don't contain this information",
        "None of the documents tell.",
        "Information not available",
        "Not specified",
        "I do not know",
        "I do not have enough information to answer.",
        "There isn\u2019t any information.",
        "There's no information",
        "I am unable to determine the director.",
        "There is no mention of the director.",
        "No mention of Jaws in the documents",
        "The director of Jaws is not mentioned in the provided documents.",
        "Her birth was not specified in the passages.",
        "The director is unknown.",
        "It is unclear from the documents who directed it.",
        "Based on the provided documents, it is not possible to determine the director.",
        "The question cannot be answered based on the given documents.",
        "Neither document mentions it.",
        "It does not say.",
        "The passage provides no information about it",
        "The text contains no mention of Steven Spielberg",
        "The director is not named in the documents.",
        "His birth was not listed in either passage",
        "No, the information is not available",
        "The documents do not mention the director. Therefore, I cannot answer.",
        "There is no information about Spielberg in Document 1. Document 2 is about Jaws.",
        "I do not have enough information to answer. Please provide more context.",
        "The documents do not mention the director, but they do mention the producer.",
        "No relevant information found. None of the passages mention Steven Spielberg.",
        "I do not know. The question asks about Jaws.",
        "Unclear",
        "Not applicable",
        "I could not find it",
        "I'm not sure",
        "No results found",
        "Unanswerable",
        "Can't determine",
        "Unfortunately, based on the provided documents, there is no information about him.",
        "unknown",
        "none",
        "nothing.",
        "I have no information on that.",
        "I have no idea",
        "I'm afraid there is no information about this.",
        "After reviewing the documents, no relevant information was found.",
        "Nothing in the documents mentions this.",
        "Keine relevanten Informationen gefunden.",
        "Aucune information pertinente trouv\u00e9e.",
        "No se encontr\u00f3 informaci\u00f3n relevante.",
        "Nenhuma informa\u00e7\u00e3o relevante encontrada",
        "Nessuna informazione rilevante trovata",
        "Geen relevante informatie gevonden",
        "\u041d\u0435\u0442 \u0438\u043d\u0444\u043e\u0440\u043c\u0430\u0446\u0438\u0438",
        "\u672a\u627e\u5230\u76f8\u5173\u4fe1\u606f",
        "\u95a2\u9023\u60c5\u5831\u306f\u898b\u3064\u304b\u308a\u307e\u305b\u3093\u3067\u3057\u305f\u3002",
        "\uad00\ub828 \uc815\ubcf4\ub97c \ucc3e\uc744 \uc218 \uc5c6\uc2b5\ub2c8\ub2e4",
        "\u0644\u0627 \u062a\u0648\u062c\u062f \u0645\u0639\u0644\u0648\u0645\u0627\u062a",
        "unbekannt",
        "Ich wei\u00df es nicht.",
        "Je ne sais pas",
        "No lo s\u00e9",
        "N\u00e3o sei",
        "Non lo so",
        "\u042f \u043d\u0435 \u0437\u043d\u0430\u044e",
        "",
        "  ?! ",
    ],
)
def test_no_information_in_any_words_is_none(text: str) -> None:
    assert not informative(text)
    assert parse.sub_answer(text) == NO_INFORMATION


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "None.",
        "NONE",
        "nothing",
        "N/A",
        "null",
        "-",
        "\u2014",
        "[]",
        "No further questions needed.",
        "no more queries",
        "Nothing is missing",
        "nothing else to look up",
        "No additional searches are required.",
        "There is nothing left to search",
        "I have enough information.",
        "We have enough information",
        "The question is answered",
        "I don't need more information",
        "done",
        "END",
        "Sufficient information",
        "The search is complete.",
        "not applicable",
        "keine",
        "Keine weiteren Fragen n\u00f6tig.",
        "Aucune autre recherche n\u00e9cessaire",
        "\u65e0",
        "\u65e0\u9700\u66f4\u591a\u67e5\u8be2",
        "\u306a\u3057",
        "\u041d\u0435\u0442",
    ],
)
def test_none_in_any_spelling_is_no_query(text: str) -> None:
    assert says_none(text)
    for said in (f'{{"queries": ["{text}"]}}', f'["{text}"]'):
        reply = parse.turn(said, 3)
        assert reply is not None
        assert (reply.enough, reply.queries) == (True, [])


@pytest.mark.parametrize(
    "text",
    [
        "None Shall Pass",
        "Nothing Compares 2 U",
        "No Doubt singer",
        "nil by mouth director",
        "Don",
        "unknown",
        "C++",
        "Nada",
        "Non-stop",
        "Nessuno mi pu\u00f2 giudicare",
        "End of Days",
    ],
)
def test_queries_that_sound_like_none_are_queries(text: str) -> None:
    assert not says_none(text)
    reply = parse.turn(f'{{"queries": ["{text}"]}}', 3)
    assert reply is not None
    assert reply.queries == [text]


@pytest.mark.parametrize(
    "text",
    [
        "Spielberg was born in 1946",
        "Paris is the capital of France.",
        "The director of Jaws is Steven Spielberg",
        "The answer is Paris",
        "Answer: 1937",
        "Ridley Scott is older than Steven Spielberg",
        "Kubrick died in 1999",
        "He died in 1999",
        "Ridley Scott is older",
        "Arthur's Magazine was started first",
        "Berlin has 3.6 million inhabitants in 2019",
        "So the answer is 1937",
    ],
)
def test_a_planner_that_answers_has_enough(text: str) -> None:
    assert states(text)
    for said in (f'{{"queries": ["{text}"]}}', text):
        reply = parse.turn(said, 1)
        assert reply is not None
        assert (reply.enough, reply.queries) == (True, [])
        assert text.rstrip(".").split()[-1] in reply.known


def test_a_clause_of_what_is_known_is_no_query_in_any_language() -> None:
    known = "Alien \u00e9 de Ridley Scott, Spielberg nasceu em 1946"
    assert states("Spielberg nasceu em 1946", known)
    assert not states("Ridley Scott", known)


@pytest.mark.parametrize(
    "text",
    [
        "Who was born in 1946?",
        "Is Paris the capital of France?",
        "Steven Spielberg was born in which city in Ohio",
        "Jaws was released before or after Alien",
        "Albert Einstein was born in which year, 1879 or 1880",
        "The Hobbit is based on which book by J. R. R. Tolkien",
        "Ridley Scott is older or younger than Spielberg",
        "He was born in which city",
        "Jaws was released when",
        "Life is Beautiful director",
        "Year Jaws was released in the US",
        "The year Jaws was released in the US",
        "city Ridley Scott was born in",
        "Band that was formed in 1996 in London",
        "Jaws was directed by",
        "Coldplay singer",
        "The Was (Not Was) album of 1988",
        "There Will Be Blood director",
        "This Is Spinal Tap",
        "God is Dead Nietzsche",
        "That '70s Show cast",
        "The Has Been album",
    ],
)
def test_queries_with_a_verb_are_queries(text: str) -> None:
    assert not states(text)
    reply = parse.turn(f'{{"queries": ["{text}"]}}', 1)
    assert reply is not None
    assert reply.queries == [text]
