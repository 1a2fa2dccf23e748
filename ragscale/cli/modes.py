"""``ragscale modes``: the modes, their parameters, and drawings of their graphs."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ragscale.cli.common import AsJson, print_json

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Graph

    from ragscale.modes import Mode

__all__ = ["describe", "draw", "modes"]


def modes(
    names: Annotated[
        str | None, typer.Argument(metavar="[NAMES]", help="Show the parameters of these, comma-separated.")
    ] = None,
    as_json: AsJson = False,
    drawings: Annotated[
        Path | None,
        typer.Option("--draw", metavar="DIR", help="Write a mermaid drawing of every mode to DIR/<mode>.mmd instead."),
    ] = None,
) -> None:
    """List the modes, those of other packages included: what each does, from where, at which cost, and when it pays.

    Calls, queries and rounds are those of a run of full length with the defaults; rounds follow one another, and calls
    "in a row" are those of the critical path. With NAMES: the parameters of those modes.

    --json prints {"modes": [{"name", "summary", "source", "pays", "calls", "queries", "rounds", "serial_calls",
    "parameters": [{"name", "type", "default", "help"}]}]}.
    """
    from ragscale.modes import registered
    from ragscale.modes.spec import parse_list

    known = registered() if names is None else {mode.name: type(mode) for mode in parse_list(names)}
    if drawings is not None:
        drawings.mkdir(parents=True, exist_ok=True)
        for name, cls in known.items():
            path = drawings / f"{name}.mmd"
            path.write_text(draw(cls()), encoding="utf-8")
            typer.echo(path)
        return
    described = [describe(cls) for cls in known.values()]
    if as_json:
        print_json({"modes": described})
    elif names is None:
        _table(described)
    else:
        _show(described)


def describe(cls: type[Mode]) -> dict[str, Any]:
    """A mode for people: what it does, from where, at which cost; the parameters with types, defaults, docstrings."""
    from ragscale.modes.core import Cost, Costs
    from ragscale.modes.core.mode import type_name

    hints, docs = get_type_hints(cls), _field_docs(cls)
    full = Cost.of(cls().cost(Costs())[1])
    return {
        "name": cls.name,
        "summary": _plain((inspect.getdoc(cls) or "").partition("\n")[0]),
        "source": cls.source,
        "pays": cls.pays,
        "calls": full.llm_calls,
        "queries": full.queries,
        "rounds": full.rounds,
        "serial_calls": full.serial_calls,
        "parameters": [
            {
                "name": field.name,
                "type": type_name(hints[field.name]),
                "default": _default(field),
                "help": _plain(docs.get(field.name, "")),
            }
            for field in fields(cls)
        ],
    }


def draw(mode: Mode) -> str:
    """The mode's graph in mermaid's language, with the graphs of modes that run inside it."""
    return _distinct(mode.graph().compile(name=mode.name).get_graph(xray=True)).draw_mermaid()


def _distinct(graph: Graph) -> Graph:
    """The graph with no part of an id twice: mermaid, and LangChain's writer of it, know a subgraph by the last part.

    Ids are paths, as in ``member:member:plan``; labels stay.
    """
    from langchain_core.runnables.graph import Graph

    parts: dict[str, str] = {}

    def named(path: str) -> str:
        outer, colon, own = path.rpartition(":")
        before = named(outer) if colon else ""
        if path not in parts:
            names = (own, *(f"{own}_{number}" for number in range(2, len(parts) + 3)))
            parts[path] = next(name for name in names if name not in parts.values())
        return f"{before}{colon}{parts[path]}"

    for id in sorted(graph.nodes, key=lambda id: id.count(":")):  # the outer ones keep their names
        named(id)
    nodes = {named(id): node._replace(id=named(id)) for id, node in graph.nodes.items()}
    edges = [edge._replace(source=named(edge.source), target=named(edge.target)) for edge in graph.edges]
    return Graph(nodes=nodes, edges=edges)


def _plain(doc: str) -> str:
    return " ".join(doc.replace("``", "").split())


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        from ragscale.modes import Mode
        from ragscale.modes.spec import label

        made = field.default_factory()
        return label(made) if isinstance(made, Mode) else made
    return None if field.default is MISSING else field.default


def _field_docs(cls: type) -> dict[str, str]:
    """The strings that stand below the fields of a class and of its bases, which Python itself throws away."""
    return {name: doc for base in reversed(cls.__mro__) for name, doc in _own_docs(base).items()}


@functools.cache
def _own_docs(cls: type) -> dict[str, str]:
    """Those of the class itself."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}  # built in, or without its source
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: doc.value.value
        for field, doc in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr)
        and isinstance(doc.value, ast.Constant)
        and isinstance(doc.value.value, str)
    }


def _table(described: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.text import Text

    from ragscale.view.columns import Column, FittedTable

    columns = [
        Column("", kind="label"), Column("does; when it pays", kind="words", least=28), Column("calls"),
        Column("in a row", 1), Column("queries", 3), Column("rounds", 2),
    ]  # fmt: skip
    rows: list[list[str | Text]] = []
    for mode in described:
        words = Text(mode["summary"])
        if mode["source"]:
            words.append(f" {mode['source']}.", style="dim")
        if mode["pays"]:
            words.append(f" Pays {mode['pays']}.", style="italic")
        numbers = [f"{mode[name]:,}" for name in ("calls", "serial_calls", "queries", "rounds")]
        rows.append([Text(mode["name"], "bold"), words, *numbers])
    console = Console()
    console.print(FittedTable(columns, rows))
    console.print("Parameters: ragscale modes NAME. At a budget: ragscale plan NAME --tokens 4000.", style="dim")


def _show(described: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for mode in described:
        console.print(Text.assemble((mode["name"], "bold"), f"  {mode['summary']}"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for parameter in mode["parameters"]:
            value = f"{parameter['type']} = {parameter['default']!r}"
            table.add_row("", Text(parameter["name"], style="cyan"), Text(value), Text(parameter["help"]))
        console.print(table)
        console.print()
