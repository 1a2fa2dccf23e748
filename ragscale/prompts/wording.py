"""Phrases that mean nothing: "none" for a query, "no information" for a sub-answer; and statements, which ask nothing.

Told by the whole of a text, never by a word in it: "Freedom of Information Foundation" and "None Shall Pass" are names.
The words are English; those of other languages are in `ragscale.prompts.languages`.
"""

from __future__ import annotations

import re
import unicodedata

from ragscale.prompts.languages import says_no_information, says_no_query
from ragscale.prompts.repeats import normalise

__all__ = ["informative", "says_none", "states"]


def _set(words: str, separator: str | None = None) -> frozenset[str]:
    return frozenset(words.split(separator))


# A text of these words alone, one of the first among them, says that there is nothing.
_NEGATIONS = _set("no not none nothing nil null empty cannot unable unknown unanswerable insufficient neither")
_ABOUT_INFORMATION = _set(
    "a about any anything applicable are as at available based be been can contain contains could data details "
    "determine determined did do does document documents enough evidence exact exactly explicitly for found from "
    "further give given here "
    "i in information is it info known mention mentioned n of on or other passage passages possible provide "
    "provided query question relevant result results sure specific specifically specified stated such t tell text "
    "that the there these they this to useful was were with yes answer answered"
)
_ABOUT_QUERIES = _set(
    "a additional all already and answer answered any are at been don t else enough everything follow followup for "
    "further have i information is it known left look looked lookup missing more n necessary need needed needs new "
    "of other queries query question questions remaining required search searched searches searching sub subqueries "
    "subquery that the there thing this to up we"
)
_DONE = _set(
    "done|finished|finish|complete|stop|end|enough|enough information|sufficient information|i have enough information|"
    "all known|everything is known|all information is known|all information is available|all information available|"
    "all information found|we have all the information|i have all the information|the search is complete|"
    "the answer is known|not applicable|n a",
    "|",
)
_SIGNS = frozenset({"", "-", "--", "---", "\u2013", "\u2014", "[]", "{}", "()", '""', "''"})

_WITHOUT = re.compile(
    r"^(?:there (?:is|are|was|were|s) )?(?:no|not enough|insufficient) "
    r"(?:(?:relevant|specific|further|such|useful|explicit|direct) )*information"
    r"(?: (?:is|was|are|were|that|which|about|on|regarding|in|found|available|given|provided|of|to)\b|$)"
    r"|^(?:yes|any) relevant information (?:was )?found$"
    r"|^(?:(?:none of )?(?:the|these|this|given|provided) )*"
    r"(?:documents?|passages?|texts?|context|information|sources?) (?:provided |given |above )?"
    r"(?:(?:do|does|did|don|doesn) ?(?:not|t) "
    r"(?:mention|contain|provide|specify|tell|state|say|give|include|answer|explicitly|have|help)\b"
    r"|(?:provides?|provided|contains?|contained|gives?|gave|has|have|had|offers?|includes?) no "
    r"(?:\w+ )?(?:information|mention|details?|data|answer)\b)"
    r"|^(?:none of the|neither(?: of the)?) (?:documents?|passages?|texts?) \w+"
    r"|^i (?:do not|don t|could not|couldn t|cannot|can t) (?:know|find|tell|determine|answer)\b"
    r"|^i have no (?:idea|(?:relevant )?information)\b"
    r"|^(?:after (?:reviewing|reading|checking) (?:all )?(?:of )?the (?:documents?|passages?|texts?) )no (?:relevant )?"
    r"information (?:is|was)\b"
    r"|^(?:nothing|none) in (?:the|these|any of the) (?:documents?|passages?|texts?) \w+"
    r"|^(?:i|we|there) (?:do not|don t|did not|didn t|isn t|aren t) (?:have )?"
    r"(?:(?:enough|any|sufficient|the|relevant) )+(?:information|data|details|evidence|context)\b"
    r"|^(?:i am |i m )?(?:unable|not able) to (?:answer|determine|find|say|tell|identify|provide|confirm)\b"
    r"|^(?:(?:it|this|that) )?(?:does not|doesn t) (?:say|tell|mention|specify|state)$"
)
_PRELUDE = re.compile(
    r"^(?:(?:sorry|unfortunately|i m sorry|i am sorry|i m afraid|i am afraid|but|as|however) )*"
    r"(?:(?:based on|according to|from|in) (?:the |these |this |given |provided )*"
    r"(?:documents?|passages?|context|texts?|information)(?: provided| given| above)? )?"
)
_UNSURE = re.compile(
    r"^(?:i (?:m|am) )?(?:not sure|unsure)\b|^can(?: ?no)? ?t (?:determine|tell|say|answer)\b|^can t be \w+"
)
_IN_DOCUMENTS = (
    r"(?: (?:anywhere )?(?:in|by|from) (?:any of |either of )?(?:the|these|this|any|either) (?:\w+ ){0,2}"
    r"(?:documents?|passages?|texts?|context|information|sources?|articles?))"
)
_NOT_TOLD = r"not (?:\w+ly )?(?:mentioned|specified|stated|provided|given|told)"
# A sentence of one clause on what the documents do not tell. With a second one it may tell something.
_UNTOLD = re.compile(
    rf"(?:[^,;:.!?]{{1,160}} (?:is|are) {_NOT_TOLD}{_IN_DOCUMENTS}?"
    rf"|[^,;:.!?]{{1,160}} (?:was|were) {_NOT_TOLD}{_IN_DOCUMENTS}"  # "Air support was not provided" may be a fact
    r"|(?:[^,;:.!?]{1,80} )?(?:[Ii]nformation|[Aa]nswer|[Dd]ata|[Dd]etails) (?:is|are|was|were) not (?:\w+ )?available"
    rf"|[^,;:.!?]{{1,160}} (?:is|are|was|were) not (?:\w+ )?(?:named|listed|identified|found|available|discussed|given|"
    rf"included|described|disclosed|answered){_IN_DOCUMENTS}"
    rf"|[^,;:.!?]{{1,160}} (?:is|are|remains?) (?:unknown|unclear|unspecified|not known){_IN_DOCUMENTS}?"
    r"|(?:[Tt]here (?:is|are|was|were) )?[Nn]o mention of [^,;:.!?]{1,160}"
    r"|[Ii]t (?:is|was|remains) (?:unclear|not clear)(?: [^,;:.!?]{1,160})?"
    r"|[Ii]t (?:is|was) (?:not possible|impossible) to (?:answer|determine|find|say|tell|identify)[^,;:.!?]{0,160})\W*"
)
_TURNS = re.compile(r"\b(?:but|although|though|however|while|whereas|and|until|before|after)\b")
# Where a denial ends: what follows may tell something, unless it goes on about the documents or the question.
_CLAUSE = re.compile(
    r"[.!?]\s+|;\s*|,?\s+\b(?:but|however|although|though|yet)\b[\s,]*|,\s*(?=(?:maybe|perhaps|probably|possibly|likely)\b)",
    re.IGNORECASE,
)
_OF_DOCUMENTS = re.compile(
    r"\b(?:documents?|passages?|texts?|context|information|sources?|articles?|questions?|quer(?:y|ies))\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\d|(?<=\s)[^\W\d_a-z]\w")
_YES_NO = re.compile(r"\W*(?:yes|no)\s*[,.;:!\u2013\u2014-]", re.IGNORECASE)
_LOWER = _set(
    "none nothing unknown null nil na NA NULL NONE undefined unanswerable Unanswerable unclear Unclear undetermined "
    "Undetermined unspecified Unspecified"
)
_CAPITAL = _set("applicable found information available mentioned specified provided known documents passages")

_AROUND = re.compile(r"^[\W_]+|[\W_]+$")

_VERB = re.compile(r"\b(?:is|was|are|were|died|has been|had been|has|had)\s+(?=\S)")
_SAID = re.compile(
    r"(?i:(?:so,? |therefore,? |thus,? |hence,? )?(?:the )?(?:final |short |correct )?answer(?: is\b|:)|"
    r"(?:yes|no)[,.:;]\s)|"
    r"(?:[Ii]t|[Hh]e|[Ss]he|[Tt]hey) (?:is|was|are|were|died|has|had)\s+\S"
)
_OPEN = re.compile(  # a question that is written without its mark: "Spielberg was born in which city"
    r"\b(?:which|what|whom|whose|how (?:many|much|old|long)|or)\b|\b(?:who|when|where|why|how)\W*$", re.IGNORECASE
)
_COMPARED = re.compile(r"(?:\w+er(?: than .*)?|(?:\w+ )?(?:first|earlier|later)(?: .*)?)$")
_ASKED_FOR = _set(
    "age album band book city country date dates day film game month movie name names novel number people person place "
    "places series show song title titles year years"
)
_NO_STATEMENT = _ASKED_FOR | _set(
    "who whom whose what when where which why how is was are were did does do has have can find search list"
)
_RELATIVE = _set("that which who whom whose where when if whether what how why and or")


def says_none(query: str) -> bool:
    """Whether a "query" says that there is none: ``none``, ``N/A``, ``No further questions needed.``"""
    words = _words(query)
    if not words:
        return query.strip() in _SIGNS
    if " ".join(words) in _DONE or says_no_query(words):
        return True
    if not set(words) <= _ABOUT_QUERIES | _NEGATIONS - {"unknown"}:
        return False
    sentence = words[0] in _NEGATIONS or words[0] in ("there", "i", "we", "the", "all", "everything")
    return sentence and bool({*_NEGATIONS, "don", "enough", "answered"} & set(words))


def states(query: str, known: str = "") -> bool:
    """Whether a "query" states a fact: a clause of what is `known`, or a subject with a verb and a name or number."""
    if query.endswith(("?", "\uff1f")):
        return False
    said = normalise(query)
    if len(said.split()) > 3:
        clauses = [normalise(clause) for clause in re.split(r"[,;.\n]| and ", known)]
        if said in (normalise(known), *clauses):
            return True
    if _OPEN.search(query):
        return False
    if _SAID.match(query):
        return True
    verb = _VERB.search(query)
    if verb is None or not (query[:1].isupper() or query[:1].isdigit()):
        return False
    before, behind = query[: verb.start()].split(), query[verb.end() :].rstrip(".")
    if not before or before[0].casefold().rstrip(",") in _NO_STATEMENT or _RELATIVE & {w.casefold() for w in before}:
        return False  # "Year in which Jaws was released"
    if before[0].casefold() == "the" and (len(before) < 2 or before[1] in _ASKED_FOR):
        return False  # "The year Jaws was released in the US"
    # "Life is Beautiful" is a title; "Paris is the capital of France", "The director of Jaws is Steven Spielberg"
    sentence = behind[:1].islower() or behind[:1].isdigit() or any(word[:1].islower() for word in before)
    if behind.startswith("to "):
        return False  # "The next step is to find ..."
    if _COMPARED.match(behind):
        return True
    named = re.search(r"\d" if verb[0].startswith("ha") else r"\d|(?<!\w)[^\W\d_a-z]\w", behind)
    return sentence and named is not None and not behind.endswith((" by", " in", " of", " at", " on", " to", " from"))


def informative(text: str) -> bool:
    """Whether a sub-answer says anything.

    Small models vary the sentence that they were told: "No relevant information was found", "Yes relevant information
    found", "N/A". An answer that contains such words or is a name of one ("Unknown", "Nothing", "None", films all)
    says something, and so does a denial that goes on with a name or a number: "I do not know the day, but it was in
    1946".
    """
    text = unicodedata.normalize("NFKC", text)  # full-width letters and punctuation
    words = _words(text)
    if not words:
        return bool(normalise(text))
    if len(words) == 1:
        # "None" and "Unknown" may be titles, "Na" is sodium; in one case they are a model's word for nothing
        return _AROUND.sub("", text) not in _LOWER and not says_no_information(words, text)
    titled = all(word[:1].isupper() for word in text.split()) and not _CAPITAL & set(words)
    if titled and len(words) > 3 and not text.isupper():
        return True  # "I Don't Know How She Does It", a film
    said = " ".join(words)
    told = _PRELUDE.sub("", said)
    if said == "n a" or says_no_information(words, text):
        return False
    if any(_WITHOUT.match(part) or _UNSURE.match(part) for part in (said, told)):
        return any(map(_tells, _CLAUSE.split(text)[1:]))
    yes_no = _YES_NO.match(text)
    if yes_no and _denies(text[yes_no.end() :].strip()):
        return False
    head, _, rest = text.partition(",")
    clause = text if _PRELUDE.sub("", f"{' '.join(_words(head))} ") else rest
    if _denies(clause.strip()):
        return False
    if yes_no or not _NEGATIONS & set(words) or not set(words) <= _ABOUT_INFORMATION | _NEGATIONS:
        return True
    return titled  # "No Answer", an album; but "Not Found", "No Relevant Information"


def _denies(clause: str) -> bool:
    return bool(_UNTOLD.fullmatch(clause)) and not _TURNS.search(clause)


def _tells(clause: str) -> bool:
    """Whether a clause behind a denial has a fact: a name or a number, and nothing of the documents."""
    begun = clause[:1].lower() + clause[1:] if " " in clause else clause  # a sentence begins with a capital, too
    return bool(_NAMED.search(f" {begun}")) and not _OF_DOCUMENTS.search(clause) and informative(clause)


def _words(text: str) -> list[str]:
    parted = text.replace(".", " ")  # "n.a." is "n a", as "n/a" is
    return re.sub(r"[^\w ]", " ", normalise(parted)).split()
