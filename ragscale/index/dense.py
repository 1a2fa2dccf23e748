"""Dense search: exact on the stored vectors, or through a FAISS index whose candidates are scored again exactly."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput, MissingDependency
from ragscale.index import exact
from ragscale.index.exact import Mask
from ragscale.index.fusion import Ranking
from ragscale.index.vectors import Vectors

__all__ = ["METRIC", "VECTORS_FILE", "DenseIndex", "DenseInfo", "build_dense", "check_factory", "require_faiss"]

VECTORS_FILE = "vectors.faiss"
METRIC = "inner_product"
FLAT = "Flat"
_ORIGIN = re.compile(r"^(Error in .* at \S+:\d+: )?(Error: )?")
_SLACK = 8
_ADD_ROWS = 65_536
_FEW_ROWS = 16_384
_SHARE = 32


@dataclass(frozen=True, slots=True)
class DenseInfo:
    """How vectors are searched, as the manifest records it."""

    factory: str
    """FAISS factory string, never ``"auto"``; ``"Flat"`` searches the stored vectors themselves."""
    rows: int
    """Rows, from the first on, that `VECTORS_FILE` covers; 0 for Flat. Later rows are searched exactly."""
    refine: int
    """Candidates a wanted hit that are scored again from the stored vectors; 1 for Flat."""
    settings: dict[str, int]
    """Search parameters of FAISS: ``nprobe`` or ``efSearch``; empty where there are none."""
    reason: str
    """Why this factory, in words."""


def require_faiss() -> None:
    """Raise a `MissingDependency` that names the extras unless a faiss is installed; imports nothing."""
    if importlib.util.find_spec("faiss") is None:
        raise _missing("not installed")


def _missing(reason: object) -> MissingDependency:
    return MissingDependency(
        f"dense retrieval needs faiss ({reason})",
        "Install one of the extras: pip install 'ragscale[cpu]', or pip install 'ragscale[gpu]' with an NVIDIA GPU.",
    )


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise _missing(error) from error
    if not hasattr(faiss, "index_factory"):  # what is left of two wheels after removing one
        raise _missing("its installation is broken: remove faiss-cpu and faiss-gpu first")
    return faiss


def check_factory(factory: str, dimension: int, passages: int) -> None:
    """Refuse a factory string that cannot work, before anything is embedded.

    Raises:
        InvalidInput: FAISS does not know it, or not for this dimension; it has more lists than there are passages; it
            stores vectors or row numbers that the index has already.
    """
    _empty(factory, dimension, passages)


def _empty(factory: str, dimension: int, passages: int) -> Any:
    """A new, untrained FAISS index."""
    faiss = _faiss()
    if re.search(r"IDMap|Refine|RFlat", factory):
        raise InvalidInput(
            f"factory {factory!r} stores row numbers or vectors a second time",
            "Leave out IDMap, Refine and RFlat: candidates are always scored again from the stored vectors.",
        )
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InvalidInput(
            f"factory {factory!r} is not one that FAISS can make for {dimension} dimensions ({_reason(error)})",
            "Use for instance Flat, HNSW32, SQ8 or IVF256,Flat.",
        ) from error
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is not None and ivf.nlist > passages:
        raise _untrainable(factory, passages, f"it has {ivf.nlist:,} lists")
    return index


def _untrainable(factory: str, passages: int, reason: str) -> InvalidInput:
    return InvalidInput(
        f"factory {factory!r} cannot be trained on {passages:,} passages ({reason})",
        "Choose a factory with fewer centroids, or Flat, which needs no training.",
    )


def build_dense(
    vectors: Vectors,
    path: Path,
    *,
    factory: str = FLAT,
    reason: str = "as asked for",
    progress: Callable[[int, int], None] | None = None,
) -> DenseInfo:
    """Train a FAISS index on a sample, fill it block by block and write it; nothing is written for Flat.

    Args:
        vectors: All stored vectors, deleted ones included.
        path: The file to write.
        factory: FAISS factory string.
        reason: Why this factory, for `DenseInfo`.
        progress: Called with the rows added and their number after each block.

    Raises:
        InvalidInput: As `check_factory`, or fewer vectors than the training needs.
        OSError: FAISS cannot write the file.
    """
    index = _empty(factory, vectors.dimension, len(vectors))
    if factory == FLAT:
        return DenseInfo(FLAT, 0, 1, {}, reason)
    faiss = _faiss()
    ivf = faiss.try_extract_index_ivf(index)
    if not index.is_trained:
        try:
            index.train(_sample(vectors, 0 if ivf is None else ivf.nlist))
        except RuntimeError as error:
            raise _untrainable(factory, len(vectors), _reason(error)) from error
    for first, block in vectors.blocks(_ADD_ROWS):
        index.add(block)
        if progress is not None:
            progress(first + len(block), len(vectors))
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(f"{path}: {_reason(error)}") from error
    return DenseInfo(factory, len(vectors), _refine(factory), _settings(faiss, index), reason)


def _sample(vectors: Vectors, lists: int) -> NDArray[np.float32]:
    """Evenly spaced rows, so that the same corpus trains the same index; 64 a list, where FAISS wants 39 to 256."""
    wanted = min(len(vectors), max(65_536, 64 * lists))
    return vectors.take(np.arange(wanted, dtype=np.int64) * len(vectors) // wanted)


def _refine(factory: str) -> int:
    """Candidates a hit by how much the codes lose: one bit a dimension, products of centroids, 8 bits, nothing."""
    if "RaBitQ" in factory:
        return 30 if "IVF" in factory else 10
    if re.search(r"PQ|RQ|LSQ|PCA", factory):
        return 20
    return 2 if "SQ" in factory else 1


def _settings(faiss: Any, index: Any) -> dict[str, int]:
    """A sixteenth of the lists: FAISS's own default, one list, misses most neighbours."""
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is not None:
        return {"nprobe": max(1, ivf.nlist // 16)}
    return {"efSearch": 128} if hasattr(faiss.downcast_index(index), "hnsw") else {}


class DenseIndex:
    """Stored vectors and the FAISS index over them, opened for searching; used by one thread, the broker's.

    The FAISS file is memory-mapped, except for the fast-scan kinds (``...fs``), whose small codes FAISS loads.

    Args:
        vectors: The stored vectors.
        info: How they are searched.
        accelerator: The FAISS file; None for Flat.
        deleted: One bool a row, True for rows that no search returns; None where nothing is deleted.

    Raises:
        IndexDamaged: FAISS cannot read the file.
        IndexMismatch: The file has another dimension or number of rows than `info` says.
    """

    def __init__(
        self, vectors: Vectors, info: DenseInfo, accelerator: Path | None, *, deleted: Mask | None = None
    ) -> None:
        faiss = _faiss()
        self.vectors = self._vectors = vectors
        """The stored vectors."""
        self._info = info
        self._live = None if deleted is None or not deleted.any() else ~deleted
        self._threads = faiss.omp_get_max_threads()
        self._index = None if accelerator is None else _read(faiss, accelerator, vectors.dimension, info.rows)
        self._selects = self._index is not None and self._takes_selectors()

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
        """
        if vectors.shape[1] != self._vectors.dimension:
            raise IndexMismatch(
                f"queries of {vectors.shape[1]} dimensions, the index has {self._vectors.dimension}",
                "Use the embedder that the index was built with.",
            )
        # one query on several threads takes a path twice as slow; the setting is per calling thread
        _faiss().omp_set_num_threads(1 if len(vectors) == 1 else self._threads)
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        mask = self._mask(allowed)
        live = len(self._vectors) if mask is None else int(np.count_nonzero(mask))
        k = min(k, live)
        if k == 0:
            return [[] for _ in queries]
        if self._index is None or self._is_small(live, k):
            return exact.search(self._vectors, queries, k, mask)
        found = exact.rank(self._vectors, queries, self._candidates(queries, k, mask, live), k)
        short = [query for query, ranking in enumerate(found) if len(ranking) < k]
        for query, ranking in zip(short, exact.search(self._vectors, queries[short], k, mask), strict=True):
            found[query] = ranking
        return found

    def _mask(self, allowed: Mask | None) -> Mask | None:
        if allowed is None or self._live is None:
            return self._live if allowed is None else allowed
        return allowed & self._live

    def _is_small(self, live: int, k: int) -> bool:
        """Whether exact search costs no more: few rows in question, or a good part of them wanted."""
        wanted = k * self._info.refine + _SLACK
        return live <= max(_FEW_ROWS, len(self._vectors) // _SHARE) or _SHARE * wanted >= self._info.rows

    def _candidates(self, queries: NDArray[np.float32], k: int, mask: Mask | None, live: int) -> NDArray[np.int64]:
        """Rows worth scoring, shape (n, m): of the FAISS index, and of the rows that it does not cover."""
        wanted = k * self._info.refine + _SLACK
        rows = self._accelerated(queries, wanted, mask, live)
        if self._info.rows == len(self._vectors):
            return rows
        later = exact.nearest(self._vectors, queries, k + _SLACK, mask, start=self._info.rows)
        return np.concatenate((rows, later), axis=1)

    def _accelerated(
        self, queries: NDArray[np.float32], wanted: int, mask: Mask | None, live: int
    ) -> NDArray[np.int64]:
        if mask is None:
            return self._find(queries, wanted)
        if self._selects:
            return self._find(queries, wanted, mask[: self._info.rows])
        # a kind without selectors: so many more candidates that as many are left, on average half as many again
        more = min(self._info.rows, 3 * wanted * len(self._vectors) // (2 * live))
        rows = self._find(queries, more)
        rows[~mask[rows]] = -1
        # a query that is left with fewer is searched exactly: with no candidates it comes back short
        if more < self._info.rows:
            rows[np.count_nonzero(rows >= 0, axis=1) < wanted] = -1
        return rows

    def _find(self, queries: NDArray[np.float32], count: int, mask: Mask | None = None) -> NDArray[np.int64]:
        faiss = _faiss()
        selector, bits = None, None
        if mask is not None:
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
        parameters = _parameters(faiss, self._index, self._info.settings, selector)
        _, rows = self._index.search(queries, count, params=parameters)  # type: ignore[union-attr]
        return np.asarray(rows, dtype=np.int64)

    def _takes_selectors(self) -> bool:
        """By trying: which kinds do differs from one FAISS to the next."""
        try:
            self._find(np.zeros((1, self._vectors.dimension), np.float32), 1, np.ones(self._info.rows, np.bool_))
        except RuntimeError:
            return False
        return True


def _read(faiss: Any, path: Path, dimension: int, rows: int) -> Any:
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise IndexDamaged(f"{path}: FAISS cannot read it ({_reason(error)})", "Build the index again.") from error
    if (index.d, index.ntotal) != (dimension, rows):
        raise IndexMismatch(
            f"{path}: {index.ntotal:,} vectors of {index.d} dimensions, the manifest says {rows:,} of {dimension}",
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


def _reason(error: RuntimeError) -> str:
    """A FAISS message without the C++ signature and source line before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _ORIGIN.sub("", lines[-1]).strip()
