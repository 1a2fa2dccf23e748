"""html to Markdown by html-to-markdown, after a pass over its tree for what that would glue, drop or change."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import category

import html_to_markdown
from lxml import etree, html

from ragscale.corpus.equations import SLASHES, gap, lowered, on_one_line, raised
from ragscale.corpus.grids import Grids
from ragscale.corpus.numbering import numeral
from ragscale.corpus.wrapping import unwrapped
from ragscale.errors import BadDocument

__all__ = ["markdown_of", "parsed"]

_DEPTH = 1000
"""Most elements within each other: html-to-markdown leaves out what lies deeper than some more."""
_INDENT = 4 << 20
"""Most characters that lists and quotations put before the lines within them, in all."""
_ATTRIBUTES = 5000
"""Most attributes of an element: the parser compares each one with all others."""
_TAG = re.compile(r"""<[a-zA-Z](?:[^>"']+|"[^"]*"|'[^']*')*""")
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")

_NOT_TEXT = ["script", "style", "noscript", "template", "svg", "nav", "iframe", "button", "select", "dialog"]
_NOT_TEXT += ["annotation", "annotation-xml"]  # of equations: the same once more
_NOT_TEXT += ["input", "object", "video", "audio", "canvas"]
_BOXES = ("button", "select", "iframe", "svg", "input", "object", "video", "audio", "canvas")
"""Those that part the words beside them."""
_BOX = {True: "[x]", False: "[ ]"}
_OWN_FRAME = ("main", "article", "section", "aside", "blockquote", "figure", "details", "dialog", "fieldset")
"""Elements whose headers and footers are their own: who is cited, who signs."""
_OF_HEAD = ("title", "meta", "link", "base", "script", "style", "noscript", "template")
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_EMPHASIS = ["b", "strong", "i", "em", "code", "kbd", "var", "samp", "tt"]
_INLINE = [*_EMPHASIS, "span", "a", "font", "small", "big", "label", "abbr", "cite", "ins", "q", "sub", "sup"]
_INDENTING = ("blockquote", "li", "dd")
_RAISED = re.compile(r"vertical-align\s*:\s*(super|sub)\b", re.IGNORECASE)
_LAID_OUT = re.compile(r"display\s*:\s*(none|block|flex|grid|table|list-item)", re.IGNORECASE)
_ROLES = ("navigation", "search", "dialog", "alertdialog", "banner", "contentinfo")
"""Of parts that are navigation, boxes that open, or the page's header and footer, where no element says so."""
_NAMES = ("alt", "aria-label", "title")
"""Attributes that name a picture."""
_TEXTS = ".//text()[normalize-space() and not(ancestor::svg)]"
_CHROME = ("mw-editsection", "mw-jump-link", "mw-cite-backlink", "noprint", "linenos", "lineno", "line-numbers-rows")
"""Classes of what wikis and highlighters of code add to a text: links to edit it, numbers of lines."""
_CLASS = re.compile(r"[a-z]*\.([\w-]+)", re.IGNORECASE)
_TEXT_PICTURE = re.compile(r"\b(math|mwe-math|latex|tex|emoji|emoticon)", re.IGNORECASE)

_WAS = "data-was"
_IN_WORDS = "^_\u200c\u200d"
_MARK = re.compile(r"\[?(?:[0-9]{1,3}|[*\u2020\u2021])\]?")
_NEAR = 100
"""Most elements without text between two that stand side by side."""
_ESCAPED = re.compile(r"(?m)^([ \t]*(?:(?:-|\d+[.)]) )?)(\d*)\\([-+*.)])(?=[ \t])")
_DOUBLED = re.compile(r"(```[\s\S]*?```|`[^`\n]*`)|\\(\\(?=[!-/:-@\[-`{-~\n]|\Z))")
"""Code, or a backslash that was put before another."""
_UNSEEN = dict.fromkeys((0xAD, 0x2060, 0xFEFF))  # soft hyphens and joiners
_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)


def parsed(text: str, place: object) -> Any:
    """The tree of an html page, None where there is nothing in it.

    Raises:
        BadDocument: An element has too many attributes.
    """
    for tag in _TAG.finditer(text):
        if tag.end() - tag.start() > _ATTRIBUTES:
            count = len(_QUOTED.sub("", tag.group()).split()) - 1
            if count > _ATTRIBUTES:
                reason = f"an element of {count:,} attributes, the limit is {_ATTRIBUTES:,}"
                raise BadDocument(place, reason, "Save it in a simpler form, for instance as text.")
    parser = html.HTMLParser(huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        root = html.document_fromstring(text, parser=parser)
    except etree.ParserError:  # blank, or nothing but comments
        return None
    _open_body(root)
    return root


def markdown_of(root: Any, place: object, limit: int) -> str:
    """The text of a page as a person reads it: its ``<main>`` parts if it has any, else its body.

    Without navigation, scripts, hidden elements, links, pictures and, outside of articles, page headers and footers.
    Numbers stay what they are: ``10^6``, ``1990[2]`` (a note), ``21st``, ``3 1/2``, ``101_2``. Cells over several rows
    stand in each of them; see `Grids` for tables.

    Args:
        root: The page; it is changed.
        place: Where it is, for messages.
        limit: Most characters in its text.

    Raises:
        BadDocument: Its elements lie too deep, its tables or lines are too many, or the text is too long.
    """
    _refuse_deep(root, place)
    _raise_by_class(root)
    _write_drawn(root)
    _part(root)
    _leave_out(root)
    _unwrap(root)
    for link in root.iter("a"):
        if _is_mark(link):
            link.text = f"[{''.join(link.itertext()).strip().strip('[]')}]"
            del link[:]
    for element in reversed(list(root.iter("sup", "sub"))):  # those within others first
        _become_text(element, _script(element))
    for equation in list(root.iter("math")):
        line = on_one_line(equation)
        _become_text(equation, f"{gap(_before(equation), line)}{line}{gap(line, _after(equation))}")
    for picture in list(root.iter("img")):
        shows_text = _TEXT_PICTURE.search(picture.get("class") or "")
        _become_text(picture, (picture.get("alt") or " ") if shows_text else " ")
    for element in list(root.iter(*_EMPHASIS)):
        text = "".join(element.itertext())
        if _is_word(_before(element)[-1:] + text[:1]) or _is_word(text[-1:] + _after(element)[:1]):
            element.tag = "span"  # marks within a word would part it
    for ruby in list(root.iter("ruby")):
        _read_together(ruby)
    for summary in list(root.iter("summary")):
        if next(summary.iter(*_HEADINGS), None) is not None:
            summary.tag = "div"
    for items in list(root.iter("ol")):
        items.set("start", str(_whole(items.get("start"), 1)))
        if items.get("type") or items.get("reversed") is not None or items.xpath("./li[@value]"):
            _label(items)
    Grids(place, limit).lay_out(root)
    found = root.xpath("//main | //*[@role='main']")
    inner = {id(part) for part in found if any(above.tag == "main" for above in part.iterancestors())}
    bodies = [part for part in found if id(part) not in inner] or root.xpath("//body") or [root]
    text = "\n\n".join(filter(None, (_markdown(body) for body in bodies)))
    if len(text) > limit:
        reason = f"it becomes {len(text):,} characters of text, the limit is {limit:,}"
        raise BadDocument(place, reason, "Split the page into several files, or save it as text.")
    return text


def _markdown(body: Any) -> str:
    options = html_to_markdown.ConversionOptions(
        bullets="-",
        autolinks=False,
        extract_metadata=False,
        skip_images=True,
        compact_tables=True,
        expand_abbreviations=False,
        include_blockquote_citations=False,
        highlight_style="none",
        strip_tags=["a"],
        preprocessing=html_to_markdown.PreprocessingOptions(enabled=False),  # would drop forms, and what we keep
    )
    body.attrib.clear()  # a body may be hidden until a script shows it
    made = html_to_markdown.convert(html.tostring(body, encoding="unicode", with_tail=False), options)
    # a heading that is none stays escaped; the numbers of lists and clauses are read as they stand
    text = _ESCAPED.sub(r"\1\2\3", (made.content or "").translate(_UNSEEN))
    text = _DOUBLED.sub(lambda found: found[1] or found[2], text)
    return _BLANKS.sub("", text).strip()


def _refuse_deep(root: Any, place: object) -> None:
    depth = quoted = indent = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        step = 1 if event == "start" else -1
        depth += step
        if element.tag in _INDENTING:
            quoted += step
        if event == "start" and quoted:
            indent += 2 * quoted * (1 + (element.text or "").count("\n"))
        if depth > _DEPTH:
            reason = "its html elements lie too deep within each other"
            raise BadDocument(place, reason, "Save it in a simpler form, for instance as text.")
    if indent > _INDENT:
        reason = f"its lists and quotations indent lines by {indent:,} characters in all, the limit is {_INDENT:,}"
        raise BadDocument(place, reason, "Save it in a simpler form, for instance as text.")


def _open_body(root: Any) -> None:
    """Move what is shown out of the head: without ``<body>``, the parser leaves elements newer than it there."""
    head, body = root.find("head"), root.find("body")
    shown = [child for child in head if child.tag not in _OF_HEAD] if head is not None else []
    if not shown:
        return
    if body is None:
        body = etree.SubElement(root, "body")
    shown[-1].tail = (shown[-1].tail or "") + (body.text or "")
    body.text = None
    body[:0] = shown


def _leave_out(root: Any) -> None:
    for element in list(root.iter(*_NOT_TEXT)):
        if element.tag == "button" and any(above.tag in _HEADINGS for above in element.iterancestors()):
            element.tag = "span"  # opens what is below the heading
        if element.tag == "span" or (element.tag == "dialog" and element.get("open") is not None):
            continue
        if element.tag == "template" and element.get("shadowrootmode") is not None:
            element.tag = "div"  # shown in place of the element that holds it
            continue
        if element.tag in _BOXES:
            element.tail = f" {element.tail or ''}"
        element.drop_tree()
    titles = list(root.iter("h1"))
    for element in list(root.iter("header", "footer")):
        titled = len(titles) == 1 and element in titles[0].iterancestors("header")
        if not titled and not any(above.tag in _OWN_FRAME for above in element.iterancestors()):
            element.drop_tree()
    for element in root.xpath("//body//*[@role]"):
        framed = any(above.tag in ("main", "article", "section") for above in element.iterancestors())
        if element.get("role") in _ROLES[:-2] or (element.get("role") in _ROLES and not framed):
            element.drop_tree()
    for element in root.xpath("//body//*[@class]"):
        if not set(_CHROME).isdisjoint(element.get("class").split()):
            element.drop_tree()
    for element in dict.fromkeys([*_signs(root), *_drawn_again(root)]):
        element.drop_tree()
    for element in root.xpath("//body//*[@hidden] | //body//*[@style]"):
        found = _LAID_OUT.search(element.get("style") or "")
        if element.get("hidden") not in (None, "until-found") or (found and found[1].lower() == "none"):
            element.drop_tree()
        elif found and element.tag in _INLINE:
            element.tag = "div"
        elif element.tag in _INLINE and element.tag != "a":
            moved = _RAISED.search(element.get("style") or "")
            element.tag = {"super": "sup", "sub": "sub"}[moved[1].lower()] if moved else element.tag


def _write_drawn(root: Any) -> None:
    """Write as text what is drawn: equations in TeX, boxes to tick, pictures that are all of a cell of a table."""
    for equation in root.xpath("//script[starts-with(@type, 'math/tex')]"):
        before = equation.getprevious()
        drawn = before is not None and not before.tail and "MathJax" in (before.get("class") or "")
        if not drawn:
            equation.tag = "span"
    for box in root.xpath("//input[@type='checkbox']"):
        apart = _before(box)[-1:].isalnum(), not (box.tail or " ")[0].isspace()
        box.text = " " * apart[0] + _BOX[box.get("checked") is not None] + " " * apart[1]
        box.tag = "span"
    for element in root.iter("output", "progress", "meter"):
        element.tag = "span"
    for cell in root.iter("td", "th"):
        bare = len(cell) and not (cell.text or "").strip() and next(cell.iter("table"), None) is None
        if bare and not cell.xpath(_TEXTS):
            names = (part.text if part.tag == "title" else part.get(name) for part in cell.iter() for name in _NAMES)
            cell.text = next(filter(None, names), None)
    for element in root.iter("xmp", "listing", "plaintext"):
        element.tag = "pre"


def _part(root: Any) -> None:
    """Put a space behind labels, and between links side by side, which are drawn apart."""
    for element in root.iter("a", "label"):
        follows = element.getnext()
        if element.tail:
            glued = element.tag == "label" and element.tail[0].isalnum()
        else:
            glued = follows is not None and (element.tag == "label" or follows.tag == "a")
        if glued:
            element.tail = f" {element.tail or ''}"


def _signs(root: Any) -> list[Any]:
    """Links by which readers copy the address of a heading: those that say so, and signs within headings."""
    links = (link for heading in root.iter(*_HEADINGS) for link in heading.iter("a") if "#" in (link.get("href") or ""))
    signs = [link for link in links if not any(map(str.isalnum, "".join(link.itertext())))]
    return [*root.xpath("//a[contains(concat(' ', @class, ' '), ' headerlink ')]"), *signs]


def _drawn_again(root: Any) -> list[Any]:
    """Drawings of an equation that stands beside them, hidden from readers of screens: KaTeX and MathJax write both."""
    holding = set()
    for element in root.iter("math"):
        while element is not None and element not in holding:
            holding.add(element)
            element = element.getparent()
    hidden = root.xpath("//body//span[@aria-hidden='true'] | //body//nobr[@aria-hidden='true']")
    found = []
    for element in hidden:
        before, after = element.getprevious(), None if element.tail else element.getnext()
        if after in holding or (before in holding and not before.tail):
            found.append(element)
    return found


def _raise_by_class(root: Any) -> None:
    """Give raised and lowered text of a page's own style sheet, as Google Docs writes it, the style itself."""
    styles: dict[str, str] = {}
    for sheet in root.iter("style"):
        for rule in (sheet.text or "").split("}"):
            names, _, looks = rule.rpartition("{")
            moved = _RAISED.search(looks)
            classes = [_CLASS.fullmatch(name.strip()) for name in names.split(",")] if moved else []
            styles |= {found[1]: moved[0] for found in classes if found and moved}
    for element in root.xpath("//body//*[@class]") if styles else ():
        looks = [styles[name] for name in element.get("class").split() if name in styles]
        if looks:
            element.set("style", ";".join([element.get("style") or "", *looks]))


def _unwrap(root: Any) -> None:
    """Join the lines of the source in scripts without spaces, where it is not shown as it is written."""
    written = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        written += (element.tag == "pre") * (1 if event == "start" else -1)
        if not written and event == "start" and element.text:
            element.text = unwrapped(element.text)
        elif not written and event == "end" and element.tail:
            element.tail = unwrapped(element.tail)


def _become_text(element: Any, text: str) -> None:
    for child in list(element):
        element.remove(child)
    element.text = text
    element.set(_WAS, element.tag)
    element.tag = "span"


def _is_word(characters: str) -> bool:
    """Whether two characters are of one word; marks over and under letters, and joiners, belong to theirs."""
    return len(characters) == 2 and all(
        sign.isalnum() or sign in _IN_WORDS or category(sign)[0] == "M" for sign in characters
    )


def _script(element: Any) -> str:
    """Raised or lowered text as it is written on one line."""
    text, before, after = " ".join("".join(element.itertext()).split()), _before(element), _after(element)
    if not text:
        return text
    if element.tag == "sub":
        return lowered(before, text, after)
    if _is_note(element):
        return text if text.startswith("[") else f"[{text}]"
    follows = element.getnext()
    if (element.tail or "").strip() in SLASHES and follows is not None and follows.get(_WAS) == "sub":
        return f" {text}" if before[-1:].isdigit() else text  # a fraction
    return raised(before, text, after)


def _read_together(ruby: Any) -> None:
    """Put the readings of the parts of a word behind all of it, so that it stays one."""
    parts = [part for part in ruby if part.tag in ("rt", "rtc")]
    if len(parts) < 2:
        return
    reading = "".join("".join(part.itertext()) for part in parts)
    for part in [part for part in ruby if part.tag in ("rt", "rtc", "rp")]:
        part.drop_tree()
    base = "".join("".join(ruby.itertext()).split())
    _become_text(ruby, f"{base}({''.join(reading.split())})")


def _label(items: Any) -> None:
    """Write the labels of a list's items as text, where they are not one number after the other."""
    own = items.xpath("./li")
    step = -1 if items.get("reversed") is not None else 1
    number = len(own) if step < 0 and items.get("start") == "1" else _whole(items.get("start"), 1)
    for item in own:
        number = _whole(item.get("value"), number)
        first = item[0] if len(item) and not (item.text or "").strip() else None
        holder = first if first is not None and first.tag in ("p", "div", *_HEADINGS) else item
        holder.text = f"{numeral(number, items.get('type') or '1')}. {(holder.text or '').lstrip()}"
        number += step
    items.tag = "ul"


def _whole(text: str | None, otherwise: int) -> int:
    text = (text or "").strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else otherwise


def _is_note(raised: Any) -> bool:
    """Whether it is a mark that leads to a note on the same page."""
    around = raised.getparent()
    alone = around.tag == "a" and len(around) == 1 and not (around.text or raised.tail)
    links = [*raised.iter("a"), around] if alone else raised.iter("a")
    return any("#" in (link.get("href") or "") for link in links)


def _is_mark(link: Any) -> bool:
    """Whether a link that is not raised is the mark of a note: it says so, or is a number behind a word."""
    if not _MARK.fullmatch("".join(link.itertext()).strip()) or next(link.iter("sup"), None) is not None:
        return False
    if next(link.iterancestors("sup"), None) is not None:
        return False
    said = "noteref" in f"{link.get('role')} {link.get('epub:type')}"
    return said or ((link.get("href") or "").startswith("#") and _before(link)[-1:].isalnum())


def _before(element: Any) -> str:
    """The text right before an element within its block; empty where there is none, or where it is long ago."""
    for _ in range(_NEAR):
        beside = element.getprevious()
        if beside is None:
            above = element.getparent()
            if above is None or above.text or above.tag not in _INLINE:
                return (above.text or "") if above is not None else ""
            element = above
            continue
        if beside.tail:
            return str(beside.tail)
        while len(beside) and not beside[-1].tail:
            beside = beside[-1]
        text = str(beside[-1].tail if len(beside) else beside.text or "")
        if text:
            return text
        element = beside
    return ""


def _after(element: Any) -> str:
    """The beginning of the text right behind an element within its block; empty where there is none."""
    for _ in range(_NEAR):
        if element.tail:
            return str(element.tail)
        follows = element.getnext()
        if follows is not None:
            if follows.tag not in _INLINE:
                return ""
            text = next(filter(None, follows.itertext()), "")
            if text:
                return str(text)
            element = follows
            continue
        element = element.getparent()
        if element is None or element.tag not in _INLINE:
            return ""
    return ""
