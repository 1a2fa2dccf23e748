"""Writes every file that lists the modes: the drawings here, ``langgraph.json``, ``docs/modes.md``, README's table.

``make graphs`` runs it after a mode was added, wired otherwise or given a parameter; `tests/graphs` fails until then.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from ragscale.cli.modes import describe, draw
from ragscale.modes import Mode, built_in
from ragscale.words import counted

__all__ = ["files", "variable"]

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
_HEAD = (
    "# Modes\n\n<!-- Made by `make graphs` from the modes' docstrings and fields: edit those. -->\n\n"
    "Every mode of ragscale with its parameters, as `ragscale modes` lists them. A mode is named as in\n"
    '`--mode "chain(steps=3)"`, or made as in `rs.modes.Chain(steps=3)`.\n'
)
_MARKS = ("<!-- modes: made by `make graphs` -->\n", "<!-- /modes -->\n")


def files() -> dict[str, str]:
    """The text of every generated file, by its path from the top level."""
    modes = built_in()
    drawings = {name: draw(cls()) for name, cls in modes.items()}
    told = {name: describe(cls) for name, cls in modes.items()}
    sections = [_section(cls, told[name], drawings[name]) for name, cls in modes.items()]
    return {
        **{f"graphs/{name}.mmd": drawing for name, drawing in drawings.items()},
        "langgraph.json": _deployment(list(modes)),
        "docs/modes.md": "\n".join([_HEAD, *sections]),
        "README.md": _between(README, _table(told)),
    }


def variable(name: str) -> str:
    """The variable of `graphs/modes.py` that holds a mode's graph: ``best-of-n`` is ``best_of_n`` there."""
    return re.sub(r"\W", "_", name)


def _deployment(names: list[str]) -> str:
    settings = {
        "dependencies": [".", "faiss-cpu", "xllamacpp"],
        "graphs": {name: f"./graphs/modes.py:{variable(name)}" for name in names},
        "python_version": "3.11",
    }
    text = json.dumps(settings, indent=2)
    return re.sub(r"\[\s+(.*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text, flags=re.DOTALL) + "\n"


def _between(path: Path, made: str) -> str:
    """The text of a file with what stands between `_MARKS` replaced."""
    before, _, rest = path.read_text("utf-8").partition(_MARKS[0])
    return f"{before}{_MARKS[0]}{made}{_MARKS[1]}{rest.partition(_MARKS[1])[2]}"


def _table(modes: dict[str, dict[str, Any]]) -> str:
    columns = ("mode", "what it does", "source", "calls", "in a row", "queries", "rounds", "pays")
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    rows = []
    for name, told in modes.items():
        numbers = " | ".join(f"{told[number]:,}" for number in ("calls", "serial_calls", "queries", "rounds"))
        summary = _cell(told["summary"]).rstrip(".")
        rows.append(f"| `{name}` | {summary} | {told['source']} | {numbers} | {_cell(told['pays'])} |\n")
    return head + "".join(rows)


def _section(cls: type[Mode], told: dict[str, Any], drawing: str) -> str:
    about = (inspect.getdoc(cls) or "").partition("\nRaises:")[0].replace("``", "`").strip()
    rows = [
        f"| `{parameter['name']}` | {parameter['type']} | `{parameter['default']!r}` | {_cell(parameter['help'])} |"
        for parameter in told["parameters"]
    ]
    table = "\n".join(["| parameter | type | default | meaning |", "|---|---|---|---|", *rows])
    lines = [
        f"Source: {told['source']}." if told["source"] else "",
        f"Pays {told['pays']}." if told["pays"] else "",
        f"In full, at the defaults: {counted(told['calls'], 'model call')}, {told['serial_calls']:,} in a row; "
        f"{counted(told['queries'], 'query')} in {counted(told['rounds'], 'round')}.",
    ]
    shown = f"```mermaid\n{drawing.strip()}\n```"
    return f"## `{cls.name}`\n\n{about}\n\n{' '.join(filter(None, lines))}\n\n{shown}\n\n{table}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write what has changed, and delete the drawings of modes that are gone."""
    made = files()
    for name, text in made.items():
        path = ROOT / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(name)
    for path in (ROOT / "graphs").glob("*.mmd"):
        if f"graphs/{path.name}" not in made:
            path.unlink()
            print(f"graphs/{path.name} deleted")


if __name__ == "__main__":
    main()
