"""Searching on GPUs: the index as stored for the CPU is put on one card, or on several as shards or replicas.

FAISS says little when there is no GPU: its own call for all of them then returns an empty index. So nothing here is
called unless `count` is above 0. An index on a GPU is not safe from several threads; `DenseIndex` has one owner.
"""

from __future__ import annotations

import logging
from typing import Any

from ragscale.index.options import Gpus
from ragscale.index.storage.vectors import Vectors

__all__ = ["MOST_RESULTS", "clone", "count", "flat", "memory", "set_parameters"]

MOST_RESULTS = 2048
"""Most results a query, and most lists probed, that FAISS has on a GPU."""

_BLOCK = 262_144
_log = logging.getLogger(__name__)


def count(faiss: Any) -> int:
    """Number of GPUs that this faiss can use; 0 with the CPU build."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def memory() -> int | None:
    """Bytes of the first GPU, which searches unless several are asked for; None where there is none."""
    import faiss

    if not count(faiss):
        return None
    import torch  # takes seconds, which nobody should wait for where there is no GPU

    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None


def flat(faiss: Any, vectors: Vectors, gpus: Gpus | None) -> Any:
    """An exact index on the GPUs, filled block by block; None where there is no room for it."""
    cards = list(range(count(faiss) if gpus else 1))
    bounds = [len(vectors) * part // len(cards) for part in range(len(cards) + 1)]
    try:
        if len(cards) == 1:
            return _filled(faiss, 0, vectors, 0, len(vectors))
        if gpus == "replicate":
            parts = [_filled(faiss, card, vectors, 0, len(vectors)) for card in cards]
            index = faiss.IndexReplicas(vectors.dimension, True)
            for part in parts:
                index.add_replica(part)
        else:
            parts = [_filled(faiss, card, vectors, bounds[card], bounds[card + 1]) for card in cards]
            index = faiss.IndexShards(vectors.dimension, True, True)  # threaded, rows numbered on from part to part
            for part in parts:
                index.add_shard(part)
        index.parts = parts  # FAISS holds pointers only
        return index
    except RuntimeError as error:
        return _refused("Flat", error)


def _filled(faiss: Any, card: int, vectors: Vectors, start: int, stop: int) -> Any:
    configuration = faiss.GpuIndexFlatConfig()
    configuration.device = card
    index = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), vectors.dimension, configuration)
    for first, block in vectors.blocks(_BLOCK, start):
        if first >= stop:
            break
        index.add(block[: stop - first])
    return index


def clone(faiss: Any, index: Any, settings: dict[str, int], gpus: Gpus | None) -> Any:
    """An index as it was read, on the GPUs; None where FAISS has this kind on the CPU only, or there is no room."""
    cards = count(faiss) if gpus else 1
    try:
        if cards == 1:
            found = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
        else:
            options = faiss.GpuMultipleClonerOptions()
            options.shard = gpus == "shard"
            resources = [faiss.StandardGpuResources() for _ in range(cards)]
            found = faiss.index_cpu_to_gpu_multiple_py(resources, index, options, list(range(cards)))
        set_parameters(faiss, found, settings)
        return found
    except RuntimeError as error:
        return _refused(type(index).__name__, error)


def set_parameters(faiss: Any, index: Any, settings: dict[str, int]) -> None:
    """Set ``nprobe`` of an index on GPUs: replicas take no parameters with a search."""
    if "nprobe" in settings:
        faiss.GpuParameterSpace().set_index_parameter(index, "nprobe", min(settings["nprobe"], MOST_RESULTS))


def _refused(kind: str, error: RuntimeError) -> None:
    reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
    _log.warning("%s is searched on the CPU: FAISS does not put it on the GPU (%s)", kind, reason)
