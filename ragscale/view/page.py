"""The trace page: a run of one question as one HTML file, which needs no network and nothing beside itself."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import tempfile
import warnings
import webbrowser
from collections.abc import Mapping
from functools import cache
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Any

from ragscale.errors import InvalidInput
from ragscale.text import encodable
from ragscale.types import Event, Spend
from ragscale.view.life import in_notebook

__all__ = ["PageWarning", "compressed", "document", "lean", "read_trace", "save", "show", "source", "trace_page"]

PLAIN_BYTES = 200_000
"""Longest data that stand in a page as they are; longer ones are compressed."""
_FRESH = Event("plan", "").to_dict()
_NOTHING = {**Spend().to_dict(), "usd": None}  # as `Spend.from_dict` reads what is left out
_KINDS: dict[type, str] = {str: "text", dict: "object", list: "list"}
_SHAPES: dict[type, tuple[str, ...]] = {
    str: ("question", "answer", "mode", "model", "stop_reason", "reason", "caveat", "started", "version"),
    dict: ("index", "limits", "spend", "passages", "prompts", "gold"),
    list: ("citations",),
}
_BLOCK = re.compile(r'<script type="application/json" id="data" data-encoding="(json|gzip)">([^<]*)</script>')


class PageWarning(UserWarning):
    """A page that no browser shows; the warning names its file."""


def trace_page(data: Mapping[str, Any]) -> str:
    """The page of a run.

    Args:
        data: As `Answer.to_dict` gives it; keys may be absent, and the page then says that they were not recorded.
            ``"gold"`` may hold the right ``answers``, ids of the ``supporting`` passages, ``em``, ``f1`` and
            ``gold_recall``.
    """
    title = f"{str(data.get('question', ''))[:80]} · {data.get('mode', '')}"
    return document("page", title, lean(data))


def document(name: str, title: str, data: Any, *, inside: str = "", more: Mapping[str, Any] | None = None) -> str:
    """A page made of the files ``base`` and `name` (``.css``, ``.js``) and of its data.

    Its scripts and styles are allowed by their hashes, and nothing else is: no network, no script in an attribute.

    Args:
        name: Of the files.
        title: Of the window.
        data: A JSON value.
        inside: Name of the page that it opens in a frame, whose script and style are allowed, too.
        more: Further data, a JSON value an element's id.
    """
    script, style = source(name)
    allowed = [(script, style), *([source(inside)] if inside else [])]
    scripts = " ".join(_mark(text) for text, _ in allowed)
    styles = " ".join(_mark(text) for _, text in allowed)
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    blocks = "".join(_block(id, value) for id, value in {"data": data, **(more or {})}.items())
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(encodable(title))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{blocks}"
        "<noscript><p>This page needs JavaScript, all of which is in this file.</p></noscript>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _block(id: str, data: Any) -> str:
    """A JSON value as an element that runs nothing."""
    text = encodable(json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    encoding = "json"
    if len(text.encode()) > PLAIN_BYTES:
        encoding, text = "gzip", compressed(text)
    return _element(id, encoding, text)


def _element(id: str, encoding: str, text: str) -> str:
    """The element of a text that is JSON, or JSON compressed. "<", which would end it, stands in texts only."""
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script type="application/json" id="{id}" data-encoding="{encoding}">{text}</script>\n'


@cache
def source(name: str) -> tuple[str, str]:
    """Script and style of a page."""
    folder = resources.files("ragscale.view")
    script, style = (
        "\n".join((folder / f"{part}.{kind}").read_text("utf-8") for part in ("base", name)) for kind in ("js", "css")
    )
    return script, style


def compressed(text: str) -> str:
    """A text compressed by gzip, in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def read_trace(path: str | Path) -> dict[str, Any]:
    """The data of a run from a file: JSON that ``ragscale ask --json`` printed, or a page that was saved.

    Raises:
        InvalidInput: The file cannot be read, or holds neither.
    """
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: cannot be read ({error})", "Check the path.") from error
    try:
        if found := _BLOCK.search(text):
            text = found[2] if found[1] == "json" else gzip.decompress(base64.b64decode(found[2])).decode()
        data = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, OSError, EOFError, RecursionError) as error:
        raise InvalidInput(f"{path}: neither JSON nor a saved page ({error})", _REMEDY) from error
    events = data.get("trace") if isinstance(data, dict) else None
    if not isinstance(events, list) or not all(isinstance(event, dict) and "move" in event for event in events):
        raise InvalidInput(f"{path}: no run with its trace", _REMEDY)
    if odd := _misshapen(data):
        raise InvalidInput(f"{path}: {odd}", _REMEDY)
    return dict(data)


def _finite(number: str) -> float | None:
    """A number of JSON; None where it is too large for one."""
    return value if isfinite(value := float(number)) else None


def _misshapen(data: Mapping[str, Any]) -> str:
    """A value that no page can show, in words; empty where there is none. What is absent or null can be."""
    for kind, names in _SHAPES.items():
        for name in names:
            if not isinstance(data.get(name), kind | None):
                return f"{name} is no {_KINDS[kind]}"
    for at, event in enumerate(data["trace"]):
        if not isinstance(event.get("spend"), dict | None):
            return f"spend of move {at + 1} is no {_KINDS[dict]}"
        hits = event.get("hits") or []
        if not isinstance(hits, list) or not all(isinstance(found, list) for found in hits):
            return f"hits of move {at + 1} are no lists of hits"
    return ""


_REMEDY = "Give what `ragscale ask --json` printed, or a page that Answer.save wrote."


def save(page: str, path: str | Path) -> Path:
    """Write a page to a file. Raises `InvalidInput` where it cannot be written."""
    try:
        Path(path).write_text(page, "utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written ({error.strerror})", "Give another path.") from error
    return Path(path)


def show(page: str) -> None:
    """Show a page: in a frame below the cell of a notebook, else in the browser, from a temporary file.

    Where no browser can be opened, as over SSH or in a container, a `PageWarning` says which file it is.
    """
    if in_notebook():
        from IPython.display import display

        frame = (
            '<iframe sandbox="allow-scripts allow-downloads allow-modals" style="width:100%;height:46em;border:0" '
            f'srcdoc="{html.escape(page)}"></iframe>'
        )
        display({"text/html": frame, "text/plain": "a page"}, raw=True)  # type: ignore[no-untyped-call]
        return
    with tempfile.NamedTemporaryFile("w", suffix=".html", prefix="ragscale-", delete=False, encoding="utf-8") as file:
        file.write(page)
    if not webbrowser.open(Path(file.name).as_uri()):
        warnings.warn(f"No browser opens here. The page is {file.name}", PageWarning, stacklevel=3)


def lean(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data without what the page knows: default values of events, titles of hits whose passage is there."""
    passages = data.get("passages") or {}
    events = []
    for event in data.get("trace") or []:
        spend = event.get("spend") or {}
        lean = {key: value for key, value in event.items() if key == "move" or _FRESH.get(key, event) != value}
        lean["spend"] = {key: value for key, value in spend.items() if _NOTHING.get(key) != value}
        if lean.get("hits"):
            lean["hits"] = [[_untitled(hit, passages) for hit in hits] for hits in lean["hits"]]
        events.append(lean)
    return {**data, "trace": events}


def _untitled(hit: Any, passages: Mapping[str, Any]) -> Any:
    if isinstance(hit, list | tuple) and len(hit) > 2 and hit[0] in passages:
        return [hit[0], "", *hit[2:]]
    return hit


def _mark(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
