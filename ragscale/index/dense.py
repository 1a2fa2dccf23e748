"""The FAISS index: building it by factory string, and searching it in batches."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import IndexDamaged, IndexMismatch, InvalidInput, MissingDependency
from ragscale.index.fusion import Ranking

__all__ = ["METRIC", "VECTORS_FILE", "DenseIndex", "build_dense", "check_factory", "require_faiss"]

VECTORS_FILE = "vectors.faiss"
METRIC = "inner_product"
_ORIGIN = re.compile(r"^(Error in .* at \S+:\d+: )?(Error: )?")
_SLACK = 8
_DECIMALS = 6


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


def check_factory(factory: str, dimension: int, passages: int) -> Any:
    """A new, empty FAISS index.

    Raises:
        InvalidInput: FAISS does not know the factory string, or not for this dimension, or it has more lists than there
            are passages; known before anything is embedded.
    """
    faiss = _faiss()
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


def build_dense(index: Any, factory: str, vectors: Iterator[NDArray[np.float32]], sample: NDArray[np.float32]) -> None:
    """Train and fill an index.

    Args:
        index: Of `check_factory`.
        factory: Its factory string, for messages.
        vectors: All vectors in row order, some at a time, shape (n, dimension) each.
        sample: Vectors to train with, where the index has to be trained.

    Raises:
        InvalidInput: Fewer vectors than the index needs for its training.
    """
    if not index.is_trained:
        try:
            index.train(sample)
        except RuntimeError as error:
            raise _untrainable(factory, len(sample), _reason(error)) from error
    for slab in vectors:
        index.add(slab)
    _probe(index)


def _probe(index: Any) -> None:
    """Let an inverted file search a sixteenth of its lists: FAISS's own default, one list, misses most neighbours."""
    ivf = _faiss().try_extract_index_ivf(index)
    if ivf is not None:
        ivf.nprobe = max(1, ivf.nlist // 16)


def write_dense(index: Any, path: Path) -> None:
    """Store an index. Raises ``OSError`` where FAISS cannot write all of it."""
    try:
        _faiss().write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(f"{path}: {_reason(error)}") from error


class DenseIndex:
    """A stored FAISS index, on the GPU where there is one; a GPU index must have one owner, which is the broker.

    Args:
        folder: The index folder.
        dimension: Of the vectors, as the manifest has it.
        passages: Number of vectors, as the manifest has it.
    """

    def __init__(self, folder: Path, *, dimension: int, passages: int) -> None:
        faiss = _faiss()
        path = folder / VECTORS_FILE
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise IndexDamaged(f"{path}: FAISS cannot read it ({_reason(error)})", "Build the index again.") from error
        if (index.d, index.ntotal) != (dimension, passages):
            raise IndexMismatch(
                f"{path}: {index.ntotal:,} vectors of {index.d} dimensions, "
                f"the manifest says {passages:,} of {dimension}",
                "Build the index again.",
            )
        # FAISS uses BLAS from 128,000 / d queries on by default; the gain is there from a handful (6.5x at 64)
        faiss.cvar.distance_compute_blas_threshold = 4 * dimension
        self._threads = faiss.omp_get_max_threads()
        self._index = _on_gpu(faiss, index)
        self._dimension = dimension

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Stored vectors."""
        found: NDArray[np.float32] = self._index.reconstruct_batch(rows)
        return found

    def search(
        self, vectors: NDArray[np.float32], k: int, *, allowed: NDArray[np.bool_] | None = None
    ) -> list[Ranking]:
        """The k nearest rows of each vector, best first.

        Scores are rounded to 6 decimals and equal ones are in row order: what FAISS computes for a query changes in
        the seventh decimal with the size of the batch.

        Raises:
            IndexMismatch: The vectors have another dimension.
            InvalidInput: More results than this kind of index can give.
        """
        faiss = _faiss()
        if vectors.shape[1] != self._dimension:
            raise IndexMismatch(
                f"queries of {vectors.shape[1]} dimensions, the index has {self._dimension}",
                "Use the embedder that the index was built with.",
            )
        # one query on several threads takes a path twice as slow; the setting is per calling thread
        faiss.omp_set_num_threads(1 if len(vectors) == 1 else self._threads)
        # a few more than asked for, so that ties at the end of the list are cut by row order
        wanted = min(k + _SLACK, self._index.ntotal)
        try:
            sel = None if allowed is None else faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.flatnonzero(allowed)))
            scores, rows = self._index.search(np.ascontiguousarray(vectors, dtype=np.float32), wanted, params=sel)
        except RuntimeError as error:  # on a GPU FAISS finds at most 2,048
            raise InvalidInput(f"FAISS cannot find {wanted:,} passages ({_reason(error)})", "Lower k.") from error
        scores = np.round(scores.astype(np.float64), _DECIMALS)
        return [_ranking(rows[i], scores[i])[:k] for i in range(len(vectors))]


def _ranking(rows: NDArray[np.int64], scores: NDArray[np.float64]) -> Ranking:
    found = rows >= 0  # FAISS fills up with -1, which Python would read as the last passage
    rows, scores = rows[found], scores[found]
    return [(int(rows[i]), float(scores[i])) for i in np.lexsort((rows, -scores))]


def _on_gpu(faiss: Any, index: Any) -> Any:
    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        return index
    try:
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    except RuntimeError:
        return index  # a kind that has no GPU version (HNSW, refinement), or no room for it: the CPU searches it


def _reason(error: RuntimeError) -> str:
    """A FAISS message without the C++ signature and source line before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _ORIGIN.sub("", lines[-1]).strip()
