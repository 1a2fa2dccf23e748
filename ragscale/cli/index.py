"""``ragscale index build | verify`` and ``ragscale search``; other commands on indexes have their own files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragscale.cli import grow, info
from ragscale.cli.common import (
    LANGUAGE_HELP,
    AsJson,
    BackendOption,
    Device,
    Folder,
    HowOption,
    Mmr,
    Rerank,
    Source,
    Weight,
    Where,
    piped,
    print_json,
)
from ragscale.cli.info import dense_text, words_text
from ragscale.cli.progress import progress_bars
from ragscale.cli.reading import (
    ChunkBy,
    ChunkOverlap,
    ChunkRows,
    ChunkSize,
    ColumnNames,
    Corpora,
    KeepGoing,
    columns_of,
    problems_shown,
    show_left_out,
)
from ragscale.cli.terminal import plain
from ragscale.index.options import BuildEngine, Dtype, LexicalKind
from ragscale.words import counted

if TYPE_CHECKING:
    from ragscale.index import Searchable
    from ragscale.types import Hit

__all__ = ["app", "search"]

app = typer.Typer(help="Build, describe and check indexes.", no_args_is_help=True)

_SNIPPET = 300


@app.command()
def build(
    corpus: Corpora,
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="Folder of the new index.")],
    embedder: Annotated[
        str,
        typer.Option(
            help='"default" (all-MiniLM-L6-v2), a hub name, a model folder, endpoint:URL#MODEL, or "none" (BM25 alone).'
        ),
    ] = "default",
    factory: Annotated[
        str, typer.Option(help="FAISS factory string. Flat is exact; auto chooses, and is exact for small corpora.")
    ] = "auto",
    memory: Annotated[
        str | None, typer.Option(help="What auto may hold resident, as 8GB. Default: half of the machine's.")
    ] = None,
    lexical: Annotated[LexicalKind, typer.Option(help="Library of the BM25 index.")] = "bm25s",
    language: Annotated[str, typer.Option(metavar="NAME", help=LANGUAGE_HELP)] = "auto",
    chunk_by: ChunkBy = "characters",
    chunk_size: ChunkSize = None,
    chunk_overlap: ChunkOverlap = None,
    chunk_rows: ChunkRows = False,
    columns: ColumnNames = None,
    keep_going: KeepGoing = False,
    query_prompt: Annotated[
        str | None, typer.Option(help="Put before each query. Default: the embedder's own.")
    ] = None,
    document_prompt: Annotated[
        str | None, typer.Option(help="Put before each passage. Default: the embedder's own.")
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option(help="Passages are encoded in this; auto: bfloat16 where the processor has it.")
    ] = "auto",
    batch_size: Annotated[int, typer.Option(help="Passages encoded at once.")] = 64,
    engine: Annotated[
        BuildEngine, typer.Option(help="What reads and embeds: this process, or Ray (the cluster at RAY_ADDRESS).")
    ] = "local",
    backend: BackendOption = "torch",
    device: Device = None,
    description: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Subject of the corpus, for prompts that name it.", show_default=False),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace an index that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Index a corpus. Nothing stands at DIR until the index is complete. After a kill the same command goes on."""
    from ragscale.index import Index

    problems = problems_shown(keep_going)
    with (
        progress_bars() as progress,
        Index.build(
            corpus,
            out,
            embedder=embedder,
            factory=factory,
            memory=memory,
            lexical=lexical,
            language=language,
            chunk_by=chunk_by,
            chunk_size=chunk_size,
            chunk_overlap=chunk_overlap,
            chunk_rows=chunk_rows,
            columns=columns_of(columns),
            problems=problems,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            dtype=dtype,
            batch_size=batch_size,
            engine=engine,
            backend=backend,
            devices=device or (),
            description=description,
            force=force,
            progress=progress,
        ) as index,
    ):
        built = index.manifest
        summary = f"{out}: {counted(len(index), 'passage')}, searched by {index.how}"
        summary += f"\nwords: {words_text(index.manifest)}"
        if index.manifest.dense is not None:
            summary += f"\nvectors: {dense_text(index.manifest)}"
    show_left_out(problems)
    if as_json:
        print_json({**built.to_dict(), "skipped": problems.count})
    else:
        typer.echo(summary)


app.command()(info.info)


@app.command()
def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Compute the checksum of every file of an index again; says what helps where one is damaged."""
    from ragscale.index import verify as check

    manifest = check(folder)
    if as_json:
        print_json({"folder": str(folder), "files": len(manifest.files), "fingerprint": manifest.fingerprint})
    else:
        typer.echo(f"{folder}: {len(manifest.files)} files are as they were written")


app.command()(grow.add)
app.command()(grow.update)
app.command()(grow.remove)
app.command()(grow.describe)
app.command()(grow.compact)
app.command()(grow.repair)


def search(
    source: Source,
    queries: Annotated[
        list[str],
        typer.Argument(metavar="QUERY...", help="One or more; - reads them from standard input, a line each."),
    ],
    how: HowOption = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Hits a query.")] = 10,
    where: Where = None,
    weight: Weight = None,
    rerank: Rerank = None,
    mmr: Mmr = None,
    mmr_union: Annotated[bool, typer.Option("--mmr-union", help="With --mmr: over the hits of all queries.")] = False,
    depth: Annotated[int, typer.Option(help="Candidates that are fused, reranked and diversified.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Search an index.

    With --json, one query prints {"hits": [{"id", "title", "text", "score"}]}; several print
    {"queries": [{"query", "hits": [...]}]} in their order. A hit with metadata has it under "metadata".
    """
    from ragscale.index import Index

    queries = [one for query in queries for one in (_lines(piped(query)) if query == "-" else [query])]
    with Index.open(source) as index:
        found = index.search(
            queries,
            k=k,
            how=how,
            where=where,
            weight=weight,
            rerank=rerank,
            mmr=mmr,
            mmr_union=mmr_union,
            depth=depth,
        )
        if (how or index.how) == "bm25":
            _tell_wordless(queries, index)
    if not as_json:
        _show(queries, found)
    elif len(queries) == 1:
        print_json({"hits": [_row(hit) for hit in found[0]]})
    else:
        pairs = zip(queries, found, strict=True)
        print_json({"queries": [{"query": query, "hits": [_row(hit) for hit in hits]} for query, hits in pairs]})


def _lines(text: str) -> list[str]:
    """Lines that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def _tell_wordless(queries: list[str], index: Searchable) -> None:
    """Say of which queries BM25 reads nothing: their empty results would look like those of any other."""
    from ragscale.index import Index
    from ragscale.language.terms import NO_LANGUAGE, Terms

    terms = Terms(index.manifest.lexical["language"] if isinstance(index, Index) else NO_LANGUAGE)
    for query in queries:
        if not terms(query):
            reason = "a letter or a digit, and no stop word"
            typer.echo(f"{query!r} has no word that BM25 looks for: {reason}.", err=True)


def _row(hit: Hit) -> dict[str, Any]:
    passage = hit.passage
    row = {"id": passage.id, "title": passage.title, "text": passage.text, "score": hit.score}
    return {**row, "metadata": dict(passage.metadata)} if passage.metadata else row


def _show(queries: list[str], found: list[list[Hit]]) -> None:
    for query, hits in zip(queries, found, strict=True):
        if len(queries) > 1:
            typer.echo(f"# {query}")
        if not hits:
            typer.echo("no hits")
        for rank, hit in enumerate(hits, 1):
            text = plain(" ".join(hit.passage.text.split()))
            name = " ".join(hit.passage.id.split())  # one that has lines would forge hits
            title = " ".join(hit.passage.title.split()) or name
            typer.echo(plain(f"{rank}. {title} [{name}] {hit.score:.4f}"))
            typer.echo(f"   {text if len(text) <= _SNIPPET else text[:_SNIPPET] + '...'}")
