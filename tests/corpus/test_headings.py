"""Headings as CommonMark has them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ragscale.corpus.headings import headings, sections

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
    assert [path for path, _ in found[1:]] == [
        "A",
        "Under line",
        "Under line > B [link](x) *em*",
        "Under line > B [link](x) *em* > C",
    ]
    assert found[2][1] == "\n> # quoted\n\n- # in a list\n\n"
    assert found[3][1].strip() == ""  # its heading is in the path of the next
    assert found[4][1] == "C"  # nothing else holds it


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abc"), st.booleans()), max_size=8))
def test_paths_hold_the_headings_above(outline: list[tuple[int, str, bool]]) -> None:
    text = "".join(f"{'#' * level} {name}\n" + ("body\n" if body else "") for level, name, body in outline)
    paths = [path.split(" > ") for path, _ in sections(text)][1:]
    assert [path[-1] for path in paths] == [name for _, name, _ in outline]
    for at, (level, _, _) in enumerate(outline):
        above: list[str] = []
        lowest = level
        for other, name, _ in reversed(outline[:at]):
            if other < lowest:
                above.insert(0, name)
                lowest = other
        assert paths[at][:-1] == above
