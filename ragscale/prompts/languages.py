"""Words that models put around a reply in other languages than English: labels, preambles, "no information"."""
# ruff: noqa: RUF001

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["ANSWERED", "ASKED", "OPENING", "says_no_information", "says_no_query"]

_SAYS = r"(?: (?:lautet|ist|est|es|é|è))?"
_NEXT = (
    r"(?:nächste[nrs]?|neue|weitere|prochaine|nouvelle|siguiente|próxima|nueva|nova|prossima|nuova|volgende|"
    r"следующий|новый|поисковый)"
)
_QUERY = (
    r"(?:(?:such|folge|unter|teil)?(?:anfrage|frage)|suche|suchbegriff|requête|recherche|consulta|búsqueda|pregunta|"
    r"pesquisa|busca|pergunta|ricerca|domanda|zoekopdracht|zoekvraag|vraag|запрос|вопрос)"
)
_QUERY_CJK = (
    r"(?:下一[个個步]?的?|次の|新しい|다음 )?"
    r"(?:查询|查詢|搜索词?|搜尋|检索|问题|問題|検索(?:クエリ)?|クエリ|質問|검색어?|쿼리|질문)"
)
ASKED = rf"(?:\b(?:{_NEXT} ){{0,2}}{_QUERY}(?: (?:suivante|siguiente|seguinte|successiva))?{_SAYS}|{_QUERY_CJK})"
"""Label of a sub-query: "Nächste Suchanfrage", "Prochaine requête"."""
OPENING = (
    r"(?:(?:natürlich|klar|gerne|hier|bien sûr|voici|claro|por supuesto|aquí|la siguiente|aqui|certo|certamente|ecco|"
    r"конечно|вот)\b|好的|当然|當然|以下|はい|네[,.!\s])"
)
"""Beginning of a sentence that leads to a sub-query."""
ANSWERED = (
    r"(?:(?:die|la|a) )?(?:(?:endgültige|kurze) )?(?:antwort|réponse|respuesta|resposta|risposta|antwoord|svar|"
    r"odpowiedź|cevap|ответ|答案|回答|答え|답변|الإجابة|الجواب|उत्तर)(?: (?:finale?|courte|corta|curta|breve))?"
    rf"{_SAYS}"
)
"""Label of an answer: "Antwort", "Réponse finale"."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# German, French, Spanish, Portuguese, Italian, Dutch and Russian in one, as a text is in one of them.
_NEGATIONS = _set(
    "kein keine keinen keiner keinerlei nicht nichts aucun aucune pas rien no ningún ninguna ninguno sin não nenhum "
    "nenhuma sem nessun nessuna nessuno non geen niet нет не"
)
_BETWEEN = _set(
    "a à al au ce ces ci d da dans das de dei del dem den der des di die diesem dit do dos du e é è el en er es est "
    "état été fue foi foram gab gegebenen gibt ha há hay het hierzu i il in is ist konnte konnten l la las le les lo "
    "los met n na ne nei nel no nos o on os over per pour qui relevant relevante relevantem relevanten relevanter "
    "relevantes rilevante rilevanti pertinente pertinentes pertinenti se si sind sobre son sono su sujet stata state "
    "stato the trovato to uit um um weitere weiteren wird wurde wurden y zu zijn dazu darüber "
    "eu ich ik io je yo я "
    "в во об о по этом этому это для было были быть"
)
_INFORMATION = _set(
    "sais sé sei so weet weiss weiß знаю "  # I do not know
    "angabe angaben antwort auskunft daten dokument dokumente dokumenten enthalten erwähnt gefunden genannt "
    "information informationen text texten verfügbar vorhanden bekannt "
    "donnée données informations réponse trouvé trouvée trouvées disponible disponibles mentionné mentionnée "
    "précisé document documents texte textes "
    "información datos respuesta encontró encontraron encontrada encontrado mencionado mencionada documento documentos "
    "informação informações dados resposta encontradas disponível encontrei "
    "informazione informazioni dati risposta trovata trovate disponibile disponibili menzionato documenti "
    "informatie gegevens gevonden beschikbaar vermeld genoemd documenten "
    "информации информация данных данные найдено найдена найдены указано указана упоминается упомянуто документах "
    "документе ответа соответствующей релевантной"
)
_QUERIES = _set(
    "anfrage anfragen frage fragen suche suchen suchanfrage suchanfragen nötig notwendig erforderlich mehr "
    "autre autres recherche recherches requête requêtes question questions nécessaire nécessaires supplémentaire "
    "más consulta consultas pregunta preguntas búsqueda búsquedas necesaria necesarias falta hace "
    "mais pesquisa pesquisas pergunta perguntas necessária necessárias "
    "altre altra ricerca ricerche domanda domande necessaria necessarie "
    "verdere zoekopdrachten vragen nodig больше дальнейших запросов вопросов требуется нужно"
)
_ALONE = _set(
    "keine keiner nichts aucun aucune rien ninguna ninguno nenhum nenhuma nessuna nessuno niente geen нет ничего "
    "无 無 没有 沒有 なし 없음"
)
_UNKNOWN = _set(
    "unbekannt inconnu inconnue desconocido desconocida desconhecido desconhecida sconosciuto sconosciuta onbekend "
    "неизвестно неизвестен неизвестна 未知 不明 不详 不詳 알수없음"
)
"""Words by which a text, in small letters, says that something is not known."""

_NO_INFORMATION = re.compile(
    r"(?:文[档件]中?|资料中?|資料中?|根据文[档件])?[,，]?"
    r"(?:没有|沒有|未能?|无|無|找不到|无法|並未|并未)(?:找到|提供|提及|提到|包含)?(?:任何|相关|相關|有关|有關|足够|的)*"
    r"(?:信息|资讯|資訊|资料|資料|内容|答案)"
    r"|(?:文書|資料|文献)?(?:には?|から)?(?:関連|該当)?(?:する)?(?:情報|記載|回答)(?:は|が)?"
    r"(?:何も)?(?:見つかりません(?:でした)?|ありません(?:でした)?|見つからない|ない|なし)"
    r"|(?:문서에)?(?:관련된?)?정보(?:를|가|는)?(?:찾을수없|없|찾지못했)(?:습니다|음|다|어요)?|알수없(?:습니다|음|다)"
    r"|(?:لاتوجد|لايوجد|لميتمالعثورعلى)(?:أي)?معلومات(?:ذاتصلة)?"
)
_NO_QUERY = re.compile(
    r"(?:无需|無需|不需要|没有|沒有)(?:更多|进一步|進一步|其他|再)?的?(?:查询|查詢|搜索|搜尋|信息|問題|问题)?"
    r"|(?:これ以上の)?(?:検索|質問|情報)は?(?:不要|必要ありません|ありません)(?:です)?|(?:더이상)?(?:검색|질문)(?:이|은)?필요없(?:음|습니다)"
)


def says_no_information(words: Sequence[str], text: str) -> bool:
    """Whether a text is nothing but "no relevant information found" in one of these languages.

    Args:
        words: Its words, folded.
        text: The same as written: "Unbekannt" may be a title, "unbekannt" is none.
    """
    whole = "".join(words)
    if whole in _UNKNOWN:
        return "".join(text.split()).strip(".\u3002") == whole
    return _says(words, _INFORMATION) or bool(_NO_INFORMATION.fullmatch(whole))


def says_no_query(words: Sequence[str]) -> bool:
    """Whether a "query" says that there is none in one of these languages."""
    whole = "".join(words)
    return whole in _ALONE or _says(words, _QUERIES) or bool(_NO_QUERY.fullmatch(whole))


def _says(words: Sequence[str], about: frozenset[str]) -> bool:
    said = set(words)
    return bool(said & _NEGATIONS and said & about) and said <= _NEGATIONS | _BETWEEN | about
