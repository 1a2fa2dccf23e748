"""BM25 beside the vectors: bm25s (fast, memory-mapped) or rank-bm25 (the reference)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ragscale.errors import IndexDamaged, InvalidInput
from ragscale.index.fusion import Ranking, best_rows

__all__ = ["KINDS", "Lexical", "LexicalKind", "build_lexical", "open_lexical", "settings", "tokenize"]

LexicalKind = Literal["bm25s", "rank-bm25"]
KINDS: tuple[LexicalKind, ...] = ("bm25s", "rank-bm25")
FOLDER = "bm25"
_TOKENS_FILE = "tokens.arrow"
_K1, _B = 1.5, 0.75
_STOPWORDS = "english"
_STEMMER = "english"


class Lexical(Protocol):
    """A lexical index; not safe from several threads (one stemmer), its owner is the broker."""

    def search(self, queries: Sequence[str], k: int, *, allowed: Any = None) -> list[Ranking]:
        """The k best rows with a score above 0."""
        ...


def settings(kind: LexicalKind, terms: int) -> dict[str, Any]:
    """What the manifest records."""
    method = "lucene" if kind == "bm25s" else "okapi"
    common = {"k1": _K1, "b": _B, "stopwords": _STOPWORDS, "stemmer": _STEMMER}
    return {"kind": kind, "method": method, **common, "terms": terms}


def tokenize(texts: Sequence[str]) -> list[list[str]]:
    """Stems of each text: lower-cased words of two or more characters, English stop words left out."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer(_STEMMER)
    found: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords=_STOPWORDS, stemmer=stemmer, return_ids=False, show_progress=False
    )
    return found


def build_lexical(folder: Path, kind: LexicalKind, slabs: Iterator[list[str]]) -> int:
    """Write a lexical index under ``folder/bm25``.

    Args:
        folder: The index folder.
        kind: Which library.
        slabs: All texts in row order, some at a time.

    Returns:
        The number of distinct terms; with 0 (nothing but stop words) nothing can ever be found.
    """
    if kind not in KINDS:
        raise InvalidInput(f"unknown lexical index {kind!r}", f"Choose one of: {', '.join(KINDS)}.")
    target = folder / FOLDER
    target.mkdir()
    return _build_bm25s(target, slabs) if kind == "bm25s" else _write_tokens(target, slabs)


def open_lexical(folder: Path, kind: LexicalKind, terms: int) -> Lexical:
    """Open what `build_lexical` wrote."""
    if terms == 0:
        return _Nothing()
    return _Bm25s(folder / FOLDER) if kind == "bm25s" else _RankBm25(folder / FOLDER)


class _Nothing:
    def search(self, queries: Sequence[str], k: int, *, allowed: Any = None) -> list[Ranking]:
        return [[] for _ in queries]


def _build_bm25s(target: Path, slabs: Iterator[list[str]]) -> int:
    import bm25s

    # ids in order of appearance: bm25s numbers its own vocabulary by the order of a set, which differs run by run
    vocabulary: dict[str, int] = {}
    rows: list[list[int]] = []
    for texts in slabs:
        rows.extend([vocabulary.setdefault(token, len(vocabulary)) for token in tokens] for tokens in tokenize(texts))
    if vocabulary:
        model = bm25s.BM25(k1=_K1, b=_B, method="lucene", backend="numpy")
        model.index((rows, vocabulary), create_empty_token=False, show_progress=False)
        model.save(target, show_progress=False)
    return len(vocabulary)


class _Bm25s:
    """The Lucene variant, whose term weights are above 0 however frequent the term."""

    def __init__(self, folder: Path) -> None:
        import bm25s

        self._model = bm25s.BM25.load(folder, mmap=True, show_progress=False, backend="numpy")

    def search(self, queries: Sequence[str], k: int, *, allowed: Any = None) -> list[Ranking]:
        found = []
        for tokens in tokenize(queries):
            ids = self._model.get_tokens_ids(tokens)
            scores = self._model.get_scores_from_ids(ids) if ids else np.zeros(0)
            found.append(best_rows(scores if allowed is None or not ids else scores * allowed, k))
        return found


def _write_tokens(target: Path, slabs: Iterator[list[str]]) -> int:
    import pyarrow as pa

    terms: set[str] = set()
    schema = pa.schema([("tokens", pa.large_list(pa.large_string()))])
    with pa.ipc.new_file(str(target / _TOKENS_FILE), schema) as writer:
        for texts in slabs:
            tokens = tokenize(texts)
            terms.update(*tokens)
            writer.write_batch(pa.record_batch([tokens], schema=schema))
    return len(terms)


class _RankBm25:
    """The Okapi variant of rank-bm25, counted anew from the stored tokens: for comparison, not for size."""

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa
        import rank_bm25

        with pa.memory_map(str(folder / _TOKENS_FILE)) as source:
            tokens = pa.ipc.open_file(source).read_all().column("tokens").to_pylist()
        if not tokens:
            raise IndexDamaged(f"{folder / _TOKENS_FILE}: no rows", "Build the index again.")
        self._model = rank_bm25.BM25Okapi(tokens, k1=_K1, b=_B)

    def search(self, queries: Sequence[str], k: int, *, allowed: Any = None) -> list[Ranking]:
        return [best_rows(np.asarray(self._model.get_scores(tokens)) * (1 if allowed is None else allowed), k) for tokens in tokenize(queries)]
