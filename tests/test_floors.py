"""Imports point down the floors of docs/architecture.md, also those inside functions; no pickle, no print."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "ragscale"
FLOORS = {
    "background": 1, "types": 1, "errors": 1, "words": 1, "text": 1, "endpoint": 1, "weights": 1, "view": 1,
    "answer": 1,
    "budget": 2, "corpus": 2, "llm": 2, "prompts": 2,
    "index": 3,
    "modes": 4,
    "agent": 5, "serve": 5,
    "eval": 6,
    "cli": 7, "__main__": 7,
}  # fmt: skip
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part(name: str) -> str:
    """``"ragscale.llm.base"`` -> ``"llm"``."""
    return name.split(".")[1]


def imported(tree: ast.AST) -> list[tuple[str, int]]:
    """Names under ragscale that a module imports, with their lines."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names if alias.name.startswith("ragscale.")]
        elif isinstance(node, ast.ImportFrom) and node.module == "ragscale":
            found += [(f"ragscale.{alias.name}", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ragscale."):
            found.append((str(node.module), node.lineno))
    return found


def test_every_part_has_a_floor() -> None:
    assert {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name, line in imported(ast.parse(path.read_text("utf-8"))):
        if part(name).startswith("__"):  # the package's version
            continue
        assert part(name) in FLOORS, f"{path}:{line} imports {name}"
        assert FLOORS[part(name)] <= FLOORS[own], f"{path}:{line} imports {name}, which is above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_and_no_print(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {"pickle", "dill", "cloudpickle", "joblib"} & {name.split(".")[0] for name in names}, path
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}:{node.lineno} imports relatively"
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        assert called != "print", f"{path}:{node.lineno}"


def test_a_climbing_import_is_noticed() -> None:
    found = imported(ast.parse("def f():\n    from ragscale.agent import Agent\n    import ragscale.cli.ask\n"))
    assert [part(name) for name, _ in found] == ["agent", "cli"]
