"""BM25 beside the vectors: bm25s's postings on disk (fast, memory-mapped), or rank-bm25 (the reference)."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import InvalidInput
from ragscale.index.lexical.postings import K1, B, live_rows, merged_vocabulary
from ragscale.index.options import LexicalKind
from ragscale.index.storage.damage import damaged, reading
from ragscale.language.terms import VERSION, Terms, stemmer_of, stopwords_of
from ragscale.ranking import Mask, Ranking, best_rows

__all__ = ["KINDS", "Lexical", "TermCounter", "open_lexical", "settings"]

KINDS: tuple[LexicalKind, ...] = ("bm25s", "rank-bm25")
_PATIENCE = 20_000_000
"""Rows that numpy scores, over all queries, before numba is imported: about the second that the import takes."""
_log = logging.getLogger(__name__)


class Lexical(Protocol):
    """A lexical index; not safe from several threads, its owner is the broker."""

    def search(self, queries: Sequence[str], k: int, *, allowed: Mask | None = None) -> list[Ranking]:
        """The k best rows of each query with a score above 0, equal scores in row order.

        Args:
            queries: Plain text.
            k: Rows a query; fewer come back where fewer match.
            allowed: One bool a row, False for rows that must not be returned; None for all.
        """
        ...


def settings(kind: LexicalKind, language: str, chosen: str = "") -> dict[str, Any]:
    """Settings of the lexical index, for the manifest.

    Args:
        kind: Which library.
        language: See `ragscale.language.terms.Terms`.
        chosen: Reason for the language, where it was told from the corpus.
    """
    method = "lucene" if kind == "bm25s" else "okapi"
    cut = {"language": language, "stemmer": stemmer_of(language), "stopwords": len(stopwords_of(language))}
    return {"kind": kind, "method": method, "k1": K1, "b": B, "words": VERSION, **cut, "chosen": chosen, "terms": 0}


class TermCounter:
    """Counts the terms of texts for a segment; its vocabulary grows in order of appearance.

    Args:
        language: See `ragscale.language.terms.Terms`.
    """

    def __init__(self, language: str) -> None:
        self._terms = Terms(language)
        self._numbers: dict[str, int] = {}

    def count(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int32], list[str]]:
        """Count the terms of some more texts.

        Returns:
            (term number, count) pairs of one text after the other, shape (m, 2), terms of a text in order of
            appearance; the number of pairs of each text; the terms that are new, in the order of their numbers.
        """
        known = len(self._numbers)
        flat: list[int] = []
        lengths = []
        for text in texts:
            counts = Counter(self._terms(text))
            lengths.append(len(counts))
            for term, count in counts.items():
                flat += (self._numbers.setdefault(term, len(self._numbers)), count)
        new = list(self._numbers)[known:]
        return np.array(flat, dtype=np.int32).reshape(-1, 2), np.array(lengths, dtype=np.int32), new


def open_lexical(
    folder: Path,
    kind: LexicalKind,
    terms: int,
    language: str,
    *,
    segments: Sequence[Path] = (),
    deleted: Mask | None = None,
    rows: int | None = None,
) -> Lexical:
    """Open a lexical index.

    Args:
        folder: What `build_postings` wrote, for ``"bm25s"``.
        kind: Which library.
        terms: Number of terms of live rows; with 0 (nothing but stop words) nothing is ever found.
        language: Of the terms; see `ragscale.language.terms.Terms`.
        segments: The segments' folders; ``"rank-bm25"`` counts their terms anew.
        deleted: One bool a row, for ``"rank-bm25"``; the postings of ``"bm25s"`` have live rows only.
        rows: Of the index, deleted ones included; None where it is not known.

    Raises:
        IndexDamaged: The files are not what was written. Postings are looked at as they are first used.
        InvalidInput: An unknown kind.
    """
    if kind not in KINDS:
        raise InvalidInput(f"unknown lexical index {kind!r}", f"Choose one of: {', '.join(KINDS)}.")
    if terms == 0:
        return _Nothing()
    cut = Terms(language)
    return _Bm25s(folder, terms, cut, rows) if kind == "bm25s" else _RankBm25(segments, cut, deleted)


class _Nothing:
    def search(self, queries: Sequence[str], k: int, *, allowed: Mask | None = None) -> list[Ranking]:
        return [[] for _ in queries]


class _Bm25s:
    """The Lucene variant, whose term weights are above 0 however frequent the term; the files are those of bm25s.

    They are read without bm25s, which imports SciPy and numba for a search that needs neither.
    """

    def __init__(self, folder: Path, terms: int, cut: Terms, rows: int | None) -> None:
        self._folder, self._cut = folder, cut
        with reading(folder):
            self._numbers: dict[str, int] = json.loads((folder / "vocab.index.json").read_text(encoding="utf-8"))
            documents = json.loads((folder / "params.index.json").read_text(encoding="utf-8"))["num_docs"]
            data, indices, indptr = (
                np.asarray(np.load(folder / f"{name}.csc.index.npy", mmap_mode="r", allow_pickle=False))
                for name in ("data", "indices", "indptr")
            )
            fits = [array.ndim for array in (data, indices, indptr)] == [1, 1, 1]
            fits = fits and [array.dtype.str for array in (data, indices, indptr)] == ["<f4", "<i4", "<i8"]
            fits = fits and len(data) == len(indices) and len(indptr) == terms + 1
            fits = fits and indptr[0] == 0 and indptr[-1] == len(data) and bool((np.diff(indptr) >= 0).all())
            numbers = self._numbers.values()
            fits = fits and len(numbers) == terms and 0 <= min(numbers) <= max(numbers) < terms
            if not fits or (rows is not None and documents != rows):
                raise damaged(folder, "its files do not fit each other")
        self._postings = (data, indices, indptr)
        self._scores = np.zeros(documents, dtype=np.float32)
        self._kernel: Any = None
        self._patience: int | None = _PATIENCE
        self._whole: set[int] = set()

    def search(self, queries: Sequence[str], k: int, *, allowed: Mask | None = None) -> list[Ranking]:
        terms = [[self._numbers[term] for term in self._cut(query) if term in self._numbers] for query in queries]
        self._check(terms)
        if not self._compiled(len(queries)):
            return [self._slowly(numbers, k, allowed) for numbers in terms]
        k = min(k, len(self._scores))
        rows, values = np.empty((len(terms), k), dtype=np.int64), np.empty((len(terms), k), dtype=np.float32)
        found = np.empty(len(terms), dtype=np.int64)
        flat = np.array([number for numbers in terms for number in numbers], dtype=np.int64)
        ends = np.cumsum([len(numbers) for numbers in terms], dtype=np.int64)
        mask = np.empty(0, dtype=np.bool_) if allowed is None else np.ascontiguousarray(allowed)
        self._kernel(flat, ends, *self._postings, mask, self._scores, rows, values, found)
        return [
            list(zip(rows[query, :count].tolist(), values[query, :count].tolist(), strict=True))
            for query, count in enumerate(found)
        ]

    def _check(self, terms: list[list[int]]) -> None:
        """Rows of the postings of some terms, where they are new: the kernel writes wherever they say."""
        _, indices, indptr = self._postings
        for term in {term for numbers in terms for term in numbers} - self._whole:
            rows = indices[indptr[term] : indptr[term + 1]]
            if len(rows) and not 0 <= rows.min() <= rows.max() < len(self._scores):
                raise damaged(self._folder, f"row {rows.min()} or {rows.max()} of {len(self._scores)}")
            self._whole.add(term)

    def _compiled(self, queries: int) -> bool:
        """Whether the compiled search is at hand; it is loaded once numpy has looked at so much that it would pay."""
        if self._patience is not None:
            self._patience -= queries * len(self._scores)
            if self._patience <= 0:
                self._kernel, self._patience = _kernel(), None
        return self._kernel is not None

    def _slowly(self, terms: list[int], k: int, allowed: Mask | None) -> Ranking:
        if not terms:
            return []
        data, indices, indptr = self._postings
        scores = np.zeros_like(self._scores)
        for term in terms:  # one after the other, as the kernel adds them
            rows = slice(indptr[term], indptr[term + 1])
            scores[indices[rows]] += data[rows]
        return best_rows(_masked(scores, allowed), k)


def _kernel() -> Any:
    """The compiled search, or None where numba is not installed: numpy then needs some thirty times as long."""
    try:
        from ragscale.index.lexical.kernel import search
    except ImportError as error:
        _log.info("BM25 runs on numpy: numba cannot be imported (%s); pip install numba", error)
        return None
    return search


class _RankBm25:
    """The Okapi variant of rank-bm25, counted anew from the stored terms: for comparison, not for size."""

    def __init__(self, segments: Sequence[Path], cut: Terms, deleted: Mask | None) -> None:
        import rank_bm25

        self._cut = cut
        vocabulary, numbers = merged_vocabulary(segments)
        self._numbers = {term: number for number, term in enumerate(vocabulary)}
        documents: list[list[int]] = []
        rows: list[int] = []
        for row, pairs in live_rows(segments, numbers, deleted):
            rows.append(row)
            documents.append([number for number, count in pairs for _ in range(count)])
        self._rows = np.array(rows, dtype=np.int64)
        self._model = rank_bm25.BM25Okapi(documents, k1=K1, b=B)

    def search(self, queries: Sequence[str], k: int, *, allowed: Mask | None = None) -> list[Ranking]:
        mask = None if allowed is None else allowed[self._rows]
        found = []
        for tokens in map(self._cut, queries):
            scores = self._model.get_scores([self._numbers[token] for token in tokens if token in self._numbers])
            ranking = best_rows(_masked(np.asarray(scores), mask), k)
            found.append([(int(self._rows[place]), score) for place, score in ranking])
        return found


def _masked(scores: NDArray[np.floating], allowed: Mask | None) -> NDArray[np.floating]:
    return scores if allowed is None else np.where(allowed, scores, 0)
