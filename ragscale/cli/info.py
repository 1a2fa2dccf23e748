"""``ragscale index info``: description of an index, on this machine or behind a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ragscale.cli.common import AsJson, Source, print_json
from ragscale.cli.terminal import plain
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.index import Manifest

__all__ = ["dense_text", "info", "words_text"]


def info(source: Source, as_json: AsJson = False) -> None:
    """Say what an index was made with; of one that is served, what its server tells."""
    from ragscale.index import Manifest
    from ragscale.index.remote.wire import is_url

    if is_url(source):
        from ragscale.index.remote.index import RemoteIndex

        with RemoteIndex(source) as index:
            told, rows = index.about, _told(index.about)
    else:
        manifest = Manifest.read(Path(source))
        told, rows = manifest.to_dict(), _rows(manifest)
    if as_json:
        print_json(told)
        return
    for name, value in rows.items():
        typer.echo(f"{name:<12} {plain(value)}")


def _told(about: dict[str, Any]) -> dict[str, str]:
    return {
        "name": str(about.get("name", "")),
        "passages": f"{about['passages']:,}",
        **_described(about.get("description", "")),
        "searched by": f"{about['how']}",
        "rerankers": ", ".join(about.get("rerankers", ())) or "none",
        "ragscale": f"{about.get('ragscale')}",
        "fingerprint": f"{about['fingerprint']}",
    }


def _described(description: str) -> dict[str, str]:
    return {"description": description} if description else {}


def _rows(manifest: Manifest) -> dict[str, str]:
    from ragscale.corpus import Chunking

    embedder = manifest.embedder
    return {
        "passages": f"{manifest.passages:,}",
        **_described(manifest.description),
        "rows": f"{manifest.rows:,}, {manifest.rows - manifest.passages:,} of them deleted",
        "segments": ", ".join(f"{segment.name} ({counted(segment.rows, 'row')})" for segment in manifest.segments),
        "embedder": "none" if embedder is None else f"{embedder.name} ({embedder.revision}), {embedder.dtype}",
        "vectors": "none" if embedder is None else f"{embedder.dimension} dimensions, {manifest.metric}",
        "dense": dense_text(manifest),
        "lexical": "{kind}, {method}, k1 {k1}, b {b}, {terms:,} terms".format_map(manifest.lexical),
        "words": words_text(manifest),
        "chunking": str(Chunking(**manifest.chunking)),
        "size": f"{sum(file.size for file in manifest.files.values()) / 1e6:,.1f} MB in {len(manifest.files)} files",
        "generation": f"{manifest.generation}",
        "format": f"{manifest.format} (ragscale {manifest.ragscale})",
        "fingerprint": manifest.fingerprint,
    }


def words_text(manifest: Manifest) -> str:
    """Language of the words that BM25 looks for, and the reason for it."""
    from ragscale.language.terms import VERSION

    found = manifest.lexical
    if "words" not in found:
        return "cut by rules of English for all languages; `ragscale index reindex DIR --language auto` mends it"
    if found["words"] != VERSION:
        mends = f"`ragscale index reindex DIR --language {found['language']}` mends it"
        return f"{found['language']}, cut by rules {found['words']}, and today's are rules {VERSION}; {mends}"
    stemmer = "no stemmer" if found["stemmer"] is None else f"stemmer {found['stemmer']}"
    reason = f" (auto: {found['chosen']})" if found["chosen"] else ""
    return f"{found['language']}{reason}, {stemmer}, {counted(found['stopwords'], 'stop word')}"


def dense_text(manifest: Manifest) -> str:
    """Type of the vector index, and the reason for it."""
    found = manifest.dense
    if found is None:
        return "none"
    if not found.rows:
        return f"{found.factory}: every search is exact ({found.reason})"
    settings = "".join(f", {name} {value}" for name, value in found.settings.items())
    later = counted(manifest.rows - found.rows, "later row")
    return f"{found.factory}{settings}, refined {found.refine}x; {later} searched exactly ({found.reason})"
