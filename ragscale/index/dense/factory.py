"""FAISS indexes by factory string: resolved, checked, built block by block and written."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import InvalidInput, MissingDependency
from ragscale.extras import pip_install
from ragscale.index.dense import gpu
from ragscale.index.dense.auto import AUTO, FLAT, choose_factory, default_refine
from ragscale.index.storage.manifest import DenseInfo
from ragscale.index.storage.vectors import Vectors
from ragscale.words import counted

__all__ = ["AS_ASKED", "build_dense", "check_factory", "load_faiss", "outgrown", "reason_of", "require_faiss"]

AS_ASKED = "as asked for"
"""The reason of a factory that was named."""
_ORIGIN = re.compile(r"^(Error in .* at \S+:\d+: )?(Error: )?")
_ADD_ROWS = 65_536
_LEAST = {"HNSW": 2, "NSG": 16}


def require_faiss() -> None:
    """Raise a `MissingDependency` that names the extras unless a faiss is installed; imports nothing."""
    if importlib.util.find_spec("faiss") is None:
        raise _missing("not installed")


def _missing(reason: object) -> MissingDependency:
    return MissingDependency(
        f"dense retrieval needs faiss ({reason})",
        f"Install one of the extras: {pip_install('cpu')}, or [gpu] instead of [cpu] with an NVIDIA GPU.",
    )


def load_faiss() -> Any:
    """The module faiss. Raises `MissingDependency` where it is absent or its installation is broken."""
    try:
        import faiss
    except ImportError as error:
        raise _missing(error) from error
    if not hasattr(faiss, "index_factory"):  # what is left of two wheels after removing one
        raise _missing("its installation is broken: remove faiss-cpu and faiss-gpu first")
    return faiss


def check_factory(factory: str, dimension: int, passages: int, *, memory: int | None = None) -> tuple[str, str]:
    """Resolve ``"auto"``, and refuse a factory string that cannot work, before anything is embedded.

    Args:
        factory: FAISS factory string, or ``"auto"``.
        dimension: Of the vectors.
        passages: Number of vectors.
        memory: For ``"auto"`` alone: bytes that searching and building may hold; see `choose_factory` where None.
            Where there are GPUs, auto reckons with the first one: how many will search is said when the index is
            opened.

    Returns:
        A factory string that FAISS knows, and why it is this one.

    Raises:
        InvalidInput: It is not text; FAISS does not know it, or not for this dimension; it has more lists than
            passages, or a number so small that FAISS would crash or hang; it stores vectors or row numbers that the
            index has already; nothing fits in `memory`, or it is given beside a factory that is named.
    """
    if not isinstance(factory, str):
        raise InvalidInput(f"factory {factory!r} is no text", "Give a FAISS factory string such as Flat, or auto.")
    load_faiss()
    reason = AS_ASKED
    if factory == AUTO:
        factory, reason = choose_factory(passages, dimension, memory=memory, gpu_memory=gpu.memory())
    elif memory is not None:
        raise InvalidInput(
            f"a memory limit of {memory:,} bytes beside the factory {factory!r}, which it cannot change",
            "Leave out one of the two: the limit bounds what the factory auto chooses.",
        )
    _empty(factory, dimension, passages)
    return factory, reason


def _empty(factory: str, dimension: int, passages: int) -> Any:
    """A new, untrained FAISS index."""
    faiss = load_faiss()
    if re.search(r"IDMap|Refine|RFlat", factory):
        raise InvalidInput(
            f"factory {factory!r} stores row numbers or vectors a second time",
            "Leave out IDMap, Refine and RFlat: candidates are always scored again from the stored vectors.",
        )
    _refuse_fatal(factory)
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, MemoryError) as error:
        raise InvalidInput(
            f"factory {factory!r} is not one that FAISS can make for {dimension} dimensions ({reason_of(error)})",
            "Use for instance Flat, HNSW32, SQ8 or IVF256,Flat.",
        ) from error
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is not None and ivf.nlist > passages:
        raise _untrainable(factory, passages, f"it has {ivf.nlist:,} lists")
    if "OPQ" in factory and passages < dimension:  # there FAISS may write where it must not
        raise _untrainable(factory, passages, f"OPQ needs {dimension:,}, the dimension")
    return index


def _refuse_fatal(factory: str) -> None:
    """Raise an `InvalidInput` for numbers that FAISS takes, and then kills the process or never ends.

    Found by trying every kind with small numbers: 0 of anything, and graphs with too few links. A subprocess with a
    time-out would not do: it cannot tell slow training from a hang.
    """
    for kind, number in re.findall(r"(HNSW|NSG)?(\d+)", factory):
        least = _LEAST.get(kind, 1)
        if float(number) < least:
            raise InvalidInput(
                f"factory {factory!r} has {kind}{number}, the least is {kind}{least}",
                "Use for instance Flat, HNSW32, SQ8 or IVF256,Flat.",
            )


def _untrainable(factory: str, passages: int, reason: str) -> InvalidInput:
    return InvalidInput(
        f"factory {factory!r} cannot be trained on {counted(passages, 'passage')} ({reason})",
        "Choose a factory with fewer centroids, or Flat, which needs no training.",
    )


@contextmanager
def _training(factory: str, passages: int) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        raise _untrainable(factory, passages, reason_of(error)) from error


def build_dense(vectors: Vectors, path: Path, *, factory: str = AUTO, memory: int | None = None) -> DenseInfo:
    """Train a FAISS index on a sample, fill it block by block and write it; nothing is written for Flat.

    Args:
        vectors: All stored vectors, deleted ones included.
        path: The file to write.
        factory: FAISS factory string, or ``"auto"``.
        memory: As for `check_factory`.

    Raises:
        InvalidInput: As `check_factory`, or fewer vectors than the training needs.
        OSError: FAISS cannot write the file.
    """
    factory, reason = check_factory(factory, vectors.dimension, len(vectors), memory=memory)
    if factory == FLAT:
        return DenseInfo(FLAT, 0, 1, {}, reason, memory)
    faiss, index = load_faiss(), _empty(factory, vectors.dimension, len(vectors))
    ivf = faiss.try_extract_index_ivf(index)
    if not index.is_trained:
        with _training(factory, len(vectors)):
            index.train(_sample(vectors, 0 if ivf is None else ivf.nlist))  # not kept beyond the training
    for _, block in vectors.blocks(_ADD_ROWS):
        with _training(factory, len(vectors)):  # some kinds want a number of vectors here
            index.add(block)
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(f"{path}: {reason_of(error)}") from error
    return DenseInfo(factory, len(vectors), default_refine(factory), _settings(faiss, index), reason, memory)


def _sample(vectors: Vectors, lists: int) -> NDArray[np.float32]:
    """Evenly spaced rows, so that the same corpus trains the same index; 64 a list, where FAISS wants 39 to 256."""
    wanted = min(len(vectors), max(65_536, 64 * lists))
    return vectors.take(np.arange(wanted, dtype=np.int64) * len(vectors) // wanted)


def _settings(faiss: Any, index: Any) -> dict[str, int]:
    """Search parameters of a new index: a sixteenth of the lists; FAISS's default of one misses most neighbours."""
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is not None:
        return {"nprobe": max(1, ivf.nlist // 16)}
    return {"efSearch": 128} if hasattr(faiss.downcast_index(index), "hnsw") else {}


def reason_of(error: Exception) -> str:
    """A FAISS message without the C++ signature and source line before it."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _ORIGIN.sub("", lines[-1]).strip()


def outgrown(info: DenseInfo, rows: int, dimension: int) -> str:
    """The factory that ``"auto"`` would choose now, where it chose another one for fewer vectors.

    Args:
        info: How the vectors are indexed.
        rows: Number of vectors now.
        dimension: Numbers in a vector.

    Returns:
        The other factory string; empty where `info` still fits, was named by the user, or no factory fits.
    """
    if info.reason == AS_ASKED:
        return ""
    try:
        found, _ = choose_factory(rows, dimension, memory=info.memory, gpu_memory=gpu.memory())
    except InvalidInput:
        return ""
    return "" if found == info.factory else found
