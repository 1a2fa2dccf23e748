"""``--factory auto``: which kind of index fits the number of vectors, their dimension, the memory and the device.

The bounds are measured (CPU, one core, recall@10 of real and synthetic vectors): exact search of 100,000 vectors of 384
dimensions takes milliseconds; one-bit codes with exact refinement keep .99 of the recall at ten times the speed; beyond
some 300,000, scanning all codes costs more than probing inverted lists. HNSW is never chosen: it takes most memory,
builds slowest, and exact refinement gives the others the same recall.
"""

from __future__ import annotations

import math
import os
import re

from ragscale.errors import InvalidInput
from ragscale.words import counted

__all__ = ["AUTO", "FLAT", "choose_factory", "default_refine", "parse_memory"]

AUTO = "auto"
FLAT = "Flat"
_EXACT_NUMBERS = 100_000 * 384
_SCAN_NUMBERS = 300_000 * 384
_GPU_SHARE = 0.7
_ID_BYTES = 8
_MOST_LISTS = 65_536
_HNSW_LISTS = 16_384
_TRAINING_ROWS_A_LIST = 64
_GPU_SUBQUANTIZERS = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_memory(text: str | int) -> int:
    """Bytes of ``"8GB"``, ``"500MB"``, ``"2GiB"`` or a plain number.

    Raises:
        InvalidInput: Anything else, or nothing.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", str(text), re.IGNORECASE)
    if match is None or not (size := float(match[1])):
        raise InvalidInput(f"memory {text!r} is not a size", "Give for instance 8GB, 500MB or 2GiB.")
    base = 1024 if match[3] else 1000
    return int(size * base ** _POWERS[match[2].upper()])


def choose_factory(
    rows: int, dimension: int, *, memory: int | None = None, gpu_memory: int | None = None
) -> tuple[str, str]:
    """Choose a FAISS factory string.

    Args:
        rows: Number of vectors.
        dimension: Numbers in each.
        memory: Bytes that searching and building may hold resident. Where None, half of the machine's on the CPU; on a
            GPU then only `gpu_memory` counts.
        gpu_memory: Bytes of the GPU that will search; None for the CPU.

    Returns:
        The factory string, and the reason in words.

    Raises:
        InvalidInput: No kind of index fits in the memory.
    """
    if gpu_memory is not None:
        # what a GPU searches is built and read in the machine's memory: both limits hold
        share = int(_GPU_SHARE * gpu_memory)
        return _for_gpu(rows, dimension, share if memory is None else min(share, memory))
    limit = _half_of_the_machine() if memory is None else memory
    stored = 4 * rows * dimension
    size = f"{counted(rows, 'vector')} of {counted(dimension, 'dimension')}"
    if rows * dimension <= _EXACT_NUMBERS and stored <= limit:
        return FLAT, f"a search through {size} takes milliseconds"
    one_bit = math.ceil(dimension / 8) + 8
    if rows * dimension <= _SCAN_NUMBERS and rows * one_bit <= limit:
        return "RaBitQfs", f"{size}: one bit a dimension is scanned, the best are scored again exactly"
    lists = _lists(rows, dimension, limit)
    inverted = f"IVF{lists}_HNSW32" if lists >= _HNSW_LISTS else f"IVF{lists}"
    fixed = 4 * lists * dimension
    if rows * (one_bit + _ID_BYTES) + fixed <= limit:
        return (
            f"{inverted},RaBitQfs",
            f"{size} are too many to scan: lists of one-bit codes are probed, the best are scored again exactly",
        )
    for parts in _divisors(dimension):
        if rows * (math.ceil(parts / 2) + _ID_BYTES) + fixed <= limit:
            return (
                f"{inverted},PQ{parts}x4fs",
                f"one-bit codes of {size} do not fit in {_text(limit)}: "
                f"codes of {counted(math.ceil(parts / 2), 'byte')} are probed, the best are scored again exactly",
            )
    raise _too_small(size, limit, rows * (1 + _ID_BYTES) + fixed)


def _for_gpu(rows: int, dimension: int, limit: int) -> tuple[str, str]:
    size = f"{counted(rows, 'vector')} of {counted(dimension, 'dimension')}"
    if 4 * rows * dimension <= limit:
        return FLAT, f"the GPU's memory holds {size}"
    inverted = f"IVF{_lists(rows, dimension, limit)}"
    if rows * (dimension + _ID_BYTES) <= limit:
        return f"{inverted},SQ8", f"{size} fit into the GPU's memory at one byte a dimension"
    for parts in _GPU_SUBQUANTIZERS:
        if dimension % parts == 0 and rows * (parts + _ID_BYTES) <= limit:
            return f"{inverted},PQ{parts}", f"{size} fit into the GPU's memory as codes of {counted(parts, 'byte')}"
    raise _too_small(size, limit, rows * (1 + _ID_BYTES))


def default_refine(factory: str) -> int:
    """Candidates a hit, by how much the codes lose: one bit a dimension, products of centroids, 8 bits, nothing."""
    if "RaBitQ" in factory:
        return 30 if "IVF" in factory else 10
    if re.search(r"PQ|RQ|LSQ|PCA", factory):
        return 20
    return 2 if "SQ" in factory else 1


def _lists(rows: int, dimension: int, limit: int) -> int:
    """The power of two next to four times the root, so that a quarter of the memory holds the training vectors."""
    wanted: int = min(2 ** round(math.log2(4 * math.sqrt(rows))), _MOST_LISTS)
    while wanted > 64 and wanted * _TRAINING_ROWS_A_LIST * 4 * dimension > limit // 4:
        wanted //= 2
    return wanted


def _divisors(dimension: int) -> list[int]:
    """Numbers of 4-bit codes into which a vector can be cut, most first, from half a bit a dimension down."""
    return [parts for parts in range(max(dimension // 8, 1), 0, -1) if dimension % parts == 0]


def _half_of_the_machine() -> int:
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    except (AttributeError, ValueError, OSError):
        return 4 * 10**9  # a system that does not say


def _too_small(size: str, limit: int, least: int) -> InvalidInput:
    return InvalidInput(
        f"{size} do not fit in {_text(limit)} in any form (the least is {_text(least)})",
        "Give more --memory, or split the corpus into several indexes.",
    )


def _text(size: int) -> str:
    return f"{size / 10**9:.2g} GB" if size >= 10**9 else f"{size / 10**6:.2g} MB"
