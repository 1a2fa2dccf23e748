"""Dense search: exact on the stored vectors, or through a FAISS index whose candidates are scored again exactly."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import IndexMismatch, RagscaleError
from ragscale.index.dense import exact, gpu
from ragscale.index.dense.auto import FLAT
from ragscale.index.dense.exact import SLACK
from ragscale.index.dense.factory import load_faiss, reason_of
from ragscale.index.options import Gpus
from ragscale.index.storage.checksums import check_file
from ragscale.index.storage.damage import damaged
from ragscale.index.storage.layout import VECTORS_FILE
from ragscale.index.storage.manifest import DenseInfo
from ragscale.index.storage.snapshot import Snapshot
from ragscale.index.storage.vectors import Vectors
from ragscale.ranking import Mask, Ranking
from ragscale.words import counted

__all__ = ["METRIC", "DenseIndex", "open_dense"]

METRIC = "inner_product"
_FEW_ROWS = 16_384
_SHARE = 32


class DenseIndex:
    """Stored vectors and the FAISS index over them, opened for searching.

    Where FAISS has GPUs, the index is put there, if it is of a kind that can be; it then belongs to the thread that
    searches first, which in an `Index` is the broker's. On the CPU the FAISS file is memory-mapped, except for the
    fast-scan kinds (``...fs``), whose small codes FAISS loads.

    Args:
        vectors: The stored vectors.
        info: How they are searched.
        accelerator: The FAISS file; None for Flat.
        deleted: One bool a row, True for rows that no search returns; None where nothing is deleted.
        gpus: How several GPUs share the index: ``"shard"`` or ``"replicate"``; None for the first GPU alone.

    Raises:
        IndexDamaged: FAISS cannot read the file.
        IndexMismatch: The file has another dimension or number of rows than `info` says.
    """

    def __init__(
        self,
        vectors: Vectors,
        info: DenseInfo,
        accelerator: Path | None,
        *,
        deleted: Mask | None = None,
        gpus: Gpus | None = None,
    ) -> None:
        faiss = load_faiss()
        self.vectors = vectors
        """The stored vectors."""
        self._info = info
        self._live = None if deleted is None or not deleted.any() else ~deleted
        self._index: Any = None if accelerator is None else _read(faiss, accelerator, vectors.dimension, info.rows)
        self._on_gpu = False
        if gpu.count(faiss):
            self._to_gpu(faiss, gpus)
        self._covered = self._index.ntotal if self._index is not None else 0
        self._selects = self._index is not None and self._takes_selectors()
        self._owner: int | None = None
        self._measured = False

    def _to_gpu(self, faiss: Any, gpus: Gpus | None) -> None:
        if self._index is None:
            found = gpu.flat(faiss, self.vectors, gpus)
        else:
            found = gpu.clone(faiss, self._index, self._info.settings, gpus)
        if found is not None:
            self._index, self._on_gpu = found, True

    def tuned(self, refine: int, settings: dict[str, int]) -> DenseIndex:
        """This index with other search parameters, to measure them; on a GPU both have them then.

        It searches through FAISS however few the rows are, where `self` would search them exactly: the parameters are
        kept when the index grows.
        """
        found = copy.copy(self)
        found._info = replace(self._info, refine=refine, settings=settings)
        found._measured = True
        if self._on_gpu:
            gpu.set_parameters(load_faiss(), self._index, settings)
        return found

    def search(self, vectors: NDArray[np.float32], k: int, *, allowed: Mask | None = None) -> list[Ranking]:
        """The k nearest rows of each vector, best first.

        Scores are inner products with the stored vectors, rounded to 6 decimals; equal ones are in row order. Each
        ranking has k rows, or all that may be returned where those are fewer: what an approximate index cannot give
        is found by exact search.

        Args:
            vectors: Queries, shape (n, dimension).
            k: Rows a query.
            allowed: One bool a row, False for rows that must not be returned; None for all. Deleted rows never are.

        Raises:
            IndexMismatch: The vectors have another dimension.
            RagscaleError: The index is on a GPU and another thread has searched it.
        """
        self._check_owner()
        if vectors.shape[1] != self.vectors.dimension:
            raise IndexMismatch(
                f"queries of {vectors.shape[1]} dimensions, the index has {self.vectors.dimension}",
                "Use the embedder that the index was built with.",
            )
        with _threads_for(len(vectors)):
            return self._search(np.ascontiguousarray(vectors, dtype=np.float32), k, allowed)

    def _search(self, queries: NDArray[np.float32], k: int, allowed: Mask | None) -> list[Ranking]:
        mask = self._mask(allowed)
        live = len(self.vectors) if mask is None else int(np.count_nonzero(mask))
        k = min(k, live)
        if k == 0:
            return [[] for _ in queries]
        if self._index is None or self._is_small(live, k):
            return exact.search(self.vectors, queries, k, mask)
        rows, short = self._candidates(queries, k, mask, live)
        found = exact.rank(self.vectors, queries, rows, k + SLACK)
        again = [query for query, ranking in enumerate(found) if short[query] or self._may_be_tied(ranking, k, live)]
        for query, ranking in zip(again, exact.search(self.vectors, queries[again], k, mask), strict=True):
            found[query] = ranking
        return [ranking[:k] for ranking in found]

    def _check_owner(self) -> None:
        if not self._on_gpu:
            return
        self._owner = self._owner or threading.get_ident()
        if self._owner != threading.get_ident():
            raise RagscaleError(
                "an index on a GPU was searched from a second thread", "Search through `Index`, whose broker owns it."
            )

    def _may_be_tied(self, ranking: Ranking, k: int, live: int) -> bool:
        """Whether a tie in a flat index may go on beyond the last."""
        return self._info.factory == FLAT and k < len(ranking) < live and ranking[-1][1] == ranking[k - 1][1]

    def _mask(self, allowed: Mask | None) -> Mask | None:
        if allowed is None or self._live is None:
            return self._live if allowed is None else allowed
        return allowed & self._live

    def _is_small(self, live: int, k: int) -> bool:
        """Whether exact search costs no more: few rows are searched, or a good part of them is wanted."""
        if self._measured:
            return False
        wanted = k * self._info.refine + SLACK
        return live <= max(_FEW_ROWS, len(self.vectors) // _SHARE) or _SHARE * wanted >= self._covered

    def _candidates(
        self, queries: NDArray[np.float32], k: int, mask: Mask | None, live: int
    ) -> tuple[NDArray[np.int64], Mask]:
        """Rows worth scoring, shape (n, m): of the FAISS index, and of the rows that it does not cover.

        With them, the queries for which FAISS gave too few, so that exact search must decide.
        """
        rows = self._accelerated(queries, k * self._info.refine + SLACK, mask, live)
        covered = self._covered if mask is None else int(np.count_nonzero(mask[: self._covered]))
        # by what FAISS gave alone: later rows would make up the number, but not be the nearest
        short = np.count_nonzero(rows >= 0, axis=1) < min(k, covered)
        if self._covered < len(self.vectors):
            later = exact.nearest(self.vectors, queries, k + SLACK, mask, start=self._covered)
            rows = np.concatenate((rows, later), axis=1)
        return rows, short

    def _accelerated(
        self, queries: NDArray[np.float32], wanted: int, mask: Mask | None, live: int
    ) -> NDArray[np.int64]:
        if mask is None:
            return self._find(queries, wanted)
        if self._selects:
            return self._find(queries, wanted, mask[: self._covered])
        # a kind without selectors: so many more candidates that as many are left, on average half as many again
        more = min(self._covered, 3 * wanted * len(self.vectors) // (2 * live))
        rows = self._find(queries, more)
        rows[~mask[rows]] = -1
        # a query that is left with fewer is searched exactly: it gets no candidates
        if more < self._covered:
            rows[np.count_nonzero(rows >= 0, axis=1) < wanted] = -1
        return rows

    def _find(self, queries: NDArray[np.float32], count: int, mask: Mask | None = None) -> NDArray[np.int64]:
        if self._on_gpu:  # parameters were set when it was put there; beyond the limit exact search steps in
            if count > gpu.MOST_RESULTS:
                return np.full((len(queries), 1), -1, dtype=np.int64)
            return np.asarray(self._index.search(queries, count)[1], dtype=np.int64)
        faiss, selector = load_faiss(), None
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
        parameters = _parameters(faiss, self._index, self._info.settings, selector)
        return np.asarray(self._index.search(queries, count, params=parameters)[1], dtype=np.int64)

    def _takes_selectors(self) -> bool:
        """Whether the index takes row selectors. Tried, since releases of FAISS differ; on a GPU none does."""
        if self._on_gpu:
            return False
        try:
            self._find(np.zeros((1, self.vectors.dimension), np.float32), 1, np.ones(self._covered, np.bool_))
        except RuntimeError:
            return False
        return True


@contextmanager
def _threads_for(queries: int) -> Iterator[None]:
    """FAISS is twice as slow on one query with several threads: use one, then restore the calling thread's number."""
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    if queries == 1:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def open_dense(snapshot: Snapshot, *, gpus: Gpus | None = None) -> DenseIndex:
    """Open the vectors of a commit that has some.

    Args:
        snapshot: The commit.
        gpus: How several GPUs share them; see `DenseIndex`.

    Raises:
        IndexDamaged: A file is missing, cut short or changed.
        IndexMismatch: Another index was put in its place.
    """
    info = snapshot.manifest.dense
    assert info is not None  # a request for it is refused otherwise

    def opened() -> DenseIndex:
        accelerator = snapshot.generation / VECTORS_FILE if info.rows else None
        if accelerator is not None:  # FAISS follows every number in the file
            check_file(snapshot.folder, snapshot.manifest, accelerator)
        return DenseIndex(snapshot.vectors(), info, accelerator, deleted=snapshot.deleted(), gpus=gpus)

    return snapshot.guarded(opened)


def _read(faiss: Any, path: Path, dimension: int, rows: int) -> Any:
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise damaged(path, f"FAISS cannot read it: {reason_of(error)}") from error
    if (index.d, index.ntotal) != (dimension, rows):
        raise IndexMismatch(
            f"{path}: {counted(index.ntotal, 'vector')} of {counted(index.d, 'dimension')}, "
            f"the manifest says {rows:,} of {dimension}",
            "Build the index again.",
        )
    return index


def _parameters(faiss: Any, index: Any, settings: dict[str, int], selector: Any) -> Any:
    """Search parameters of the class that this kind of index wants; None where it wants none."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(faiss, index.index, settings, selector)
        return None if inner is None else faiss.SearchParametersPreTransform(index_params=inner)
    chosen = {} if selector is None else {"sel": selector}
    if faiss.try_extract_index_ivf(index) is not None:
        return faiss.SearchParametersIVF(nprobe=settings["nprobe"], **chosen)
    if hasattr(index, "hnsw"):
        return faiss.SearchParametersHNSW(efSearch=settings["efSearch"], **chosen)
    return faiss.SearchParameters(**chosen) if chosen else None
