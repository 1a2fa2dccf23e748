"""The golden record: what ragscale does, to the letter, so that a change that should change nothing is seen to.

``python tests/golden/record.py`` writes it anew. A commit that does so says why behaviour changed; the diff shows how.

Recorded are the traces of modes under a scripted model at several budgets (a line an event), the manifest of the
shipped corpus' BM25 index with the checksum of every file, and the help of every command.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "modes"))

from doubles import run  # noqa: E402
from test_conformance import VARIANTS  # noqa: E402
from typer.main import get_command  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from ragscale.budget import Budget  # noqa: E402
from ragscale.cli import app  # noqa: E402
from ragscale.index import Index  # noqa: E402
from ragscale.modes import Mode  # noqa: E402
from ragscale.types import Event  # noqa: E402

BUDGETS = {
    "no limit": Budget(),
    **{f"{tokens} tokens": Budget(tokens=tokens) for tokens in (1000, 4000, 16_000)},
    "9 queries": Budget(queries=9),
}


def traces(mode: Mode) -> str:
    """The runs of a mode: a heading a budget, a line an event, a line for the end."""
    blocks = []
    for name, budget in BUDGETS.items():
        answer, _ = run(mode, budget=budget)
        total, serial = answer.spend.total, answer.spend.serial
        lines = [f"## {name}", *map(_line, answer.trace)]
        lines.append(f"{answer.stop_reason}: {answer.text!r} from {', '.join(answer.citations)}")
        for spend, which in ((total, "total"), (serial, "serial")):
            lines.append(
                f"{which}: {spend.llm_calls} calls, {spend.prompt_tokens} + {spend.completion_tokens} tokens, "
                f"{spend.queries} queries, {spend.rounds} rounds, {spend.passages} passages"
            )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _line(event: Event) -> str:
    spend = event.spend
    said = zlib.crc32(json.dumps([event.input, event.output, event.passages, event.score]).encode())
    cost = f"{spend.llm_calls}c {spend.prompt_tokens}+{spend.completion_tokens}t {spend.queries}q"
    kept = ", ".join(choice.branch for choice in event.choices if choice.status == "kept")
    parts = [event.branch or "-", event.move, cost, f"{said:08x}", event.status, kept, event.note]
    return " ".join(filter(None, parts))


def index() -> str:
    """The manifest of the shipped corpus' BM25 index: format, checksums, fingerprint."""
    corpus = HERE.parents[1] / "corpora" / "elements" / "passages.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        Index.build([corpus], Path(folder) / "index", embedder=None).close()
        manifest = json.loads((Path(folder) / "index" / "manifest.json").read_text())
        with Index.open(Path(folder) / "index") as built:
            manifest["fingerprint"] = built.fingerprint
    return json.dumps(manifest, indent=1) + "\n"


def helps() -> str:
    """The help of every command."""

    def pages(command: object, words: list[str]) -> Iterator[str]:
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"})
        yield "\n".join(line.rstrip() for line in shown.output.splitlines())
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            yield from pages(inner, [*words, name])

    return "\n".join(pages(get_command(app), [])) + "\n"


def parts() -> dict[str, object]:
    """Every file of the record and the function that makes it."""
    modes = {f"{name}.txt": (lambda mode=mode: traces(mode)) for name, mode in VARIANTS.items()}
    return {**modes, "index.json": index, "help.txt": helps}


if __name__ == "__main__":
    for name, make in parts().items():
        (HERE / name).write_text(make(), encoding="utf-8")  # type: ignore[operator]
