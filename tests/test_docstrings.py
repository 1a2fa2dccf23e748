"""Docstrings name the thing in its standard term, then say what it does: none begins with "What" or "Where"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "ragscale").rglob("*.py"), *(ROOT / "graphs").glob("*.py")])
_FOG = re.compile(r"(What|Whatever|Where|Wherever|Whoever)\b")


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring: of the module, its classes and functions, and below assignments."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        owners: list[ast.AST] = [node, *body]
        for owner, item in zip(owners, body, strict=False):
            documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            if not isinstance(owner, ast.Assign | ast.AnnAssign) and not (
                owner is node and isinstance(node, documented)
            ):
                continue
            if (
                isinstance(item, ast.Expr)
                and isinstance(item.value, ast.Constant)
                and isinstance(item.value.value, str)
            ):
                yield item.lineno, item.value.value.strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_name_the_thing(path: Path) -> None:
    found = [f"{path}:{line}: {text}" for line, text in docstrings(path.read_text("utf-8")) if _FOG.match(text)]
    assert found == []


def test_every_kind_of_docstring_is_read() -> None:
    source = (
        '"module"\nX = 1\n"x"\nclass A:\n    "class"\n    y: int = 0\n    "y"\n    def f(self):\n        "method"\n'
    )
    source += '        self.z = 1\n        "z"\n        if self:\n            "no docstring"\nasync def g():\n    "g"\n'
    assert [text for _, text in sorted(docstrings(source))] == ["module", "x", "class", "y", "method", "z", "g"]
