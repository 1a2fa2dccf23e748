"""Words: docstrings name the thing in its standard term, then say what it does, and no two classes share a name.

No docstring begins with "What", "Where" or "How".
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("ragscale", "tests", "benchmarks", "graphs", "examples")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
_FOG = re.compile(r"(What|Where|Which|Who|How)(ever)?\b")


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


def homonyms(modules: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names of public classes at the top level of more than one module, and those modules, from (name, source)."""
    found = defaultdict(list)
    for module, source in modules:
        for name in {item.name for item in ast.parse(source).body if isinstance(item, ast.ClassDef)}:
            found[name].append(module)
    return {name: places for name, places in found.items() if len(places) > 1 and not name.startswith("_")}


def test_public_classes_have_names_of_their_own() -> None:
    package = sorted((ROOT / "ragscale").rglob("*.py"))
    assert homonyms((str(path.relative_to(ROOT)), path.read_text("utf-8")) for path in package) == {}


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("class Run: ...", "class Run(dict): ...", ["Run"]),
        ("class Run: ...\nclass Tree: ...", "x = 1\nclass Tree: ...", ["Tree"]),
        ("class Run: ...", "class Runs: ...", []),
        ("class _Run: ...", "class _Run: ...", []),
        ("class Run: ...", "class Tree:\n    class Run: ...", []),
        ("class Run: ...", "from a import Run", []),
    ],
)
def test_homonyms_are_public_classes_at_the_top_level(first: str, second: str, shared: list[str]) -> None:
    assert homonyms([("a", first), ("b", second)]) == {name: ["a", "b"] for name in shared}
