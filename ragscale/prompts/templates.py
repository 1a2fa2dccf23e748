"""Template files: a user's own prompt texts in TOML, which replace those of a profile."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ragscale.arguments import nearest
from ragscale.errors import InvalidInput
from ragscale.paths import expanded
from ragscale.prompts.instructions import INSTRUCTIONS, PLACEHOLDER

__all__ = ["Sections", "load", "published", "without_effect"]

Sections = Mapping[str, Mapping[str, str]]
"""Texts by section and key."""

# section -> key -> placeholders: those that must be there | those that may be
_KEYS: dict[str, dict[str, str]] = {
    "profile": {"task": "", "corpus": ""},
    "plan": {
        "system": "| corpus task",
        "user": "question | task past corpus documents",
        "past_item": "query answer | n n0",
        "past_empty": "",
        "document": "text | title n n0",
    },
    "read": {
        "system": "| corpus task",
        "user": "query documents | corpus task",
        "document": "text | title n n0",
        "order": "",
    },
    "support": {"pair": "query answer | n n0"},
    "answer": {
        "system": "| corpus task",
        "user": "question | task past documents notes corpus",
        "document": "text | title n n0",
        "order": "",
        "past_item": "query answer | n n0",
        "past_empty": "",
    },
    "turn": {
        "system": "| corpus task n",
        "user": "question | n corpus task",
        "information": "results |",
        "document": "text | title n n0",
        "results": "",
        "final": "",
        "invalid": "",
    },
    "enough": {"system": "| corpus task", "user": "question past | task corpus"},
}
_CHOICES = {"order": ("best first", "best last"), "results": ("json", "lines")}

_SHOWN_BY = {
    "task": "task", "document": "documents", "order": "documents", "past_item": "past", "past_empty": "past",
}  # fmt: skip
"""Placeholders that show what a key says."""
_SHARING = dict.fromkeys(("past_item", "past_empty"), ("answer", "enough"))
"""Sections that take such a key from [plan] where they have none of their own."""

# SHA-256[:16] of the published constant with its expressions in braces, as in the authors' source
_EXPRESSIONS = {
    "plan": {"past": "past or 'Nothing yet'", "task": "task_desc", "question": "query"},
    "read": {"documents": "context.strip()", "query": "subquery"},
    "answer": {
        "documents": "context.strip()", "past": "past or 'Nothing yet'", "task": "task_desc", "question": "query",
    },
    "turn": {},
}  # fmt: skip
_PUBLISHED = {
    "52f940f6284c13c6": "CoRAG", "38ea55afba3dc3ce": "CoRAG", "727465b4482a6738": "CoRAG",
    "9fa7294e85568559": "RAG-R1, several queries", "325187b4e28848fc": "Search-R1 and RAG-R1, one query",
}  # fmt: skip


def load(path: str | Path) -> Sections:
    """Read and check a template file; remembered until the file changes.

    Raises:
        InvalidInput: The file cannot be read, is no TOML, or a section, a key, a placeholder or a value is not one of
            those that docs/prompts.md lists; the message names file, key and remedy.
    """
    try:
        path = expanded(path)
        changed = path.stat()
        return _load(path, changed.st_mtime_ns, changed.st_size)
    except InvalidInput:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # also of a NUL in the name, and of an unknown user's home
        why = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{path}: the prompt file cannot be read ({why})", "Give a TOML file.") from error


@functools.lru_cache(maxsize=16)
def _load(path: Path, changed: int, size: int) -> Sections:
    try:
        found = tomllib.loads(path.read_text("utf-8-sig"))  # editors write a byte order mark
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: byte {error.start} is not UTF-8", "Save the file as UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput(
            f"{path} is not TOML: {error}", "Write sections such as [plan], each with keys = texts."
        ) from error
    made = {}
    known = _known_keys()
    for section, values in found.items():
        _known(path, "section", section, known)
        if not isinstance(values, dict):
            raise InvalidInput(f"{path}: {section} is a {type(values).__name__}", f"Make it a section: [{section}].")
        for key, value in values.items():
            _known(path, f"[{section}] key", key, known[section])
            _check(path, section, key, value, known[section][key])
        if "user" in known[section] and "user" not in values:
            raise InvalidInput(f"{path}: [{section}] has no key user", "Give the text of the user message.")
        made[section] = MappingProxyType(dict(values))
    return MappingProxyType(made)


def _known(path: Path, kind: str, name: str, names: Mapping[str, Any]) -> None:
    if name not in names:
        raise InvalidInput(f"{path}: {kind} {name!r} is unknown", f"{nearest(name, names)}Known: {', '.join(names)}.")


def _known_keys() -> dict[str, dict[str, str]]:
    """`_KEYS`, with those of every `Instruction`."""
    made = dict(_KEYS)
    for section, told in INSTRUCTIONS.items():
        allowed = " ".join(sorted(told.placeholders))
        made[section] = {"system": f"| {allowed}", "user": f"{' '.join(told.needs)} | {allowed}"}
    return made


def _check(path: Path, section: str, key: str, value: Any, placeholders: str) -> None:
    place = f"{path}: [{section}] {key}"
    if not isinstance(value, str):
        raise InvalidInput(f"{place} is a {type(value).__name__}", "Give a string in quotation marks.")
    if key in _CHOICES and value not in _CHOICES[key]:
        raise InvalidInput(f"{place} is {value!r}", f"Use {' or '.join(map(repr, _CHOICES[key]))}.")
    needed, _, others = placeholders.partition("|")
    required, allowed = needed.split(), list(dict.fromkeys([*needed.split(), *others.split()]))
    for name in PLACEHOLDER.findall(value):
        if name not in allowed:
            known = ", ".join(f"{{{one}}}" for one in allowed) or "none"
            raise InvalidInput(f"{place} has the unknown placeholder {{{name}}}", f"Known here: {known}.")
    missing = [name for name in required if f"{{{name}}}" not in value]
    if missing:
        raise InvalidInput(f"{place} has no {{{missing[0]}}}", f"Put {{{missing[0]}}} where it belongs.")


def without_effect(given: Sections, texts: Sections) -> str:
    """The first key of a file that nothing of a profile shows, in words; empty where all have an effect.

    Args:
        given: The file's sections.
        texts: Those of the profile with the file's in place of its own.
    """

    def shown(placeholder: str, names: Iterable[str]) -> bool:
        """Whether one of these sections has it in its messages."""
        places = [texts.get(name, {}) for name in names]
        return any(f"{{{placeholder}}}" in keys.get("system", "") + keys.get("user", "") for keys in places)

    if "support" in given and "read" not in texts:
        return "[support] pair, as there is no [read]"
    for section, keys in given.items():
        for key in _SHOWN_BY.keys() & keys.keys() if section != "turn" else ():
            shared = {"profile": [*texts], "plan": ["plan", *_SHARING.get(key, ())]}  # what they say, others may show
            if not shown(_SHOWN_BY[key], shared.get(section, [section])):
                return f"[{section}] {key}, as no text has {{{_SHOWN_BY[key]}}}"
    return ""


def published(section: str, text: str) -> str:
    """The paper whose published text a section's ``user`` is, word for word; empty if it is none that we know."""
    names = _EXPRESSIONS.get(section)
    if names is None:
        return ""
    source = PLACEHOLDER.sub(lambda match: f"{{{names.get(match[1], match[1])}}}", text)
    return _PUBLISHED.get(hashlib.sha256(source.encode()).hexdigest()[:16], "")
