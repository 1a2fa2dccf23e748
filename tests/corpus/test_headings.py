"""Headings as CommonMark has them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragscale.corpus.headings import headings, sections, stated_title, unmarked

TEXT = """---
title: not a heading
---
# A #

    # code

Under
line
====

> # quoted

- # in a list

## B [link](x) *em*
### C
"""


def test_which_lines_are_headings() -> None:
    assert [(h.level, h.text) for h in headings(TEXT)] == [
        (1, "A"),
        (1, "Under line"),
        (2, "B [link](x) *em*"),
        (3, "C"),
    ]


def test_sections_lose_nothing_but_headings() -> None:
    found = list(sections(TEXT))
    assert found[0] == ("", "---\ntitle: not a heading\n---\n")
    assert [path for path, _ in found[1:]] == ["A", "Under line"]
    # the heading of B is in the path of C, that of C nowhere else
    assert found[2][1] == "\n> # quoted\n\n- # in a list\n\n### C\n\n"


def test_a_heading_is_no_section_of_its_own() -> None:
    found = list(sections("# A\n## B\n## C\n\ntext\n# D\n# E\n"))
    assert found == [("", ""), ("A > C", "## B\n\ntext\n\n# D\n\n# E\n\n")]
    assert list(sections("# A\n")) == [("", "\n\n# A\n\n")]


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abc"), st.booleans()), max_size=8))
def test_paths_hold_the_headings_above(outline: list[tuple[int, str, bool]]) -> None:
    text = "".join(f"{'#' * level} {name}\n" + ("body\n" if body else "") for level, name, body in outline)
    paths = [path.split(" > ") for path, _ in sections(text)][1:]
    filled = [at for at, (_, _, body) in enumerate(outline) if body]
    assert [path[-1] for path in paths] == [outline[at][1] for at in filled]
    for path, at in zip(paths, filled, strict=True):
        above: list[str] = []
        lowest = outline[at][0]
        for other, name, _ in reversed(outline[:at]):
            if other < lowest:
                above.insert(0, name)
                lowest = other
        assert path[:-1] == above


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("**Oslo** and ***Bergen***", "Oslo and Bergen"),
        ("`**kwargs` of `f`", "**kwargs of f"),
        ("[![b](c.svg)](http://d/e_(f)) Pumps", "b Pumps"),
        ('<a name="x"></a>Use {#use}', "Use"),
        ("**\u4e2d\u6587**\u6807\u9898", "\u4e2d\u6587\u6807\u9898"),
        ("5 * 3 * 2, f(*args), List<String>, __init__.py, a [b]", None),
        ("**", None),
    ],
)
def test_the_words_of_a_heading(heading: str, words: str | None) -> None:
    assert unmarked(heading) == (heading if words is None else words)
    assert next(iter(sections(f"# {heading}\n\ntext\n")))[0] == ""
    assert [path for path, _ in sections(f"# {heading}\n\ntext\n")][1:] == [unmarked(heading)]


@pytest.mark.parametrize(
    ("matter", "title"),
    [
        ('---\ntags: [a]\ntitle: "My: title"\n---\n# Head\n', "My: title"),
        ("---\ntitle: It's so\n...\ntext\n", "It's so"),
        ("+++\n# comment\ntitle = 'Pumps'\n+++\ntext\n", "Pumps"),
        ("---\ntitle: >\n  folded\n---\n", ""),
        ("---\nsubtitle: x\n---\n", ""),
        ("text\n\n---\ntitle: x\n---\n", ""),
    ],
)
def test_titles_in_front_matter(matter: str, title: str) -> None:
    assert stated_title(matter) == title
    assert all(heading.text == "Head" for heading in headings(matter) if not matter.startswith("text"))


@pytest.mark.parametrize("text", ["# " + "`" * 100_000 + "\n", f"---\ntitle: a{' ' * 200_000}b\n---\n"])
def test_of_any_length_are_read_at_once(text: str) -> None:
    begun = time.process_time()
    stated_title(text)
    list(sections(text))
    assert time.process_time() - begun < 6  # a square would be minutes
