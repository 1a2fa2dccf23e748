"""``auto``: what is chosen by number, dimension, memory and device, and that FAISS can make it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import faiss
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from ragscale.errors import InvalidInput
from ragscale.index.dense.auto import choose_factory, default_refine, parse_memory

GB = 10**9


@pytest.mark.parametrize(
    ("rows", "dimension", "memory", "factory"),
    [
        (1, 384, 8 * GB, "Flat"),
        (100_000, 384, 8 * GB, "Flat"),
        (100_000, 768, 8 * GB, "RaBitQfs"),
        (100_000, 384, GB // 10, "RaBitQfs"),
        (300_000, 384, 8 * GB, "RaBitQfs"),
        (1_000_000, 384, 8 * GB, "IVF4096,RaBitQfs"),
        (36_000_000, 384, 32 * GB, "IVF32768_HNSW32,RaBitQfs"),
        (36_000_000, 768, 3 * GB, "IVF2048,PQ96x4fs"),
        (36_000_000, 768, 2 * GB, "IVF2048,PQ64x4fs"),
        (100_000_000, 4, GB, "IVF32768_HNSW32,PQ1x4fs"),
    ],
)
def test_on_the_cpu(rows: int, dimension: int, memory: int, factory: str) -> None:
    found, reason = choose_factory(rows, dimension, memory=memory)
    assert found == factory
    assert f"{rows:,} vector{'s' * (rows > 1)} of {dimension} dimensions" in reason


@pytest.mark.parametrize(
    ("rows", "gpu_memory", "factory"),
    [
        (1_000_000, 16 * GB, "Flat"),
        (10_000_000, 16 * GB, "IVF16384,SQ8"),
        (36_000_000, 80 * GB, "Flat"),
        (36_000_000, 8 * GB, "IVF8192,PQ96"),
    ],
)
def test_on_a_gpu(rows: int, gpu_memory: int, factory: str) -> None:
    """Kinds that FAISS has on GPUs."""
    assert choose_factory(rows, 384, gpu_memory=gpu_memory)[0] == factory


@pytest.mark.parametrize(
    ("gpu_memory", "memory", "factory"),
    [
        (80 * GB, 60 * GB, "Flat"),
        (80 * GB, 20 * GB, "IVF32768,SQ8"),
        (80 * GB, 8 * GB, "IVF16384,PQ96"),
        (8 * GB, 80 * GB, "IVF8192,PQ96"),
    ],
)
def test_on_a_gpu_with_a_limit(gpu_memory: int, memory: int, factory: str) -> None:
    """The smaller of both."""
    assert choose_factory(36_000_000, 384, memory=memory, gpu_memory=gpu_memory)[0] == factory


def test_what_fits_in_no_form() -> None:
    with pytest.raises(InvalidInput, match="do not fit in 50 MB in any form") as caught:
        choose_factory(36_000_000, 768, memory=50_000_000)
    assert "--memory" in caught.value.remedy


def test_without_a_limit_half_of_the_machine_counts() -> None:
    assert choose_factory(1000, 384)[0] == "Flat"


@given(st.integers(1, 10**9), st.integers(1, 4096), st.integers(10**8, 10**12))
def test_faiss_knows_every_choice(rows: int, dimension: int, memory: int) -> None:
    try:
        factory, _ = choose_factory(rows, dimension, memory=memory)
    except InvalidInput:
        # a code of a byte and a row number, and the centroids, which get no more than this
        assert rows * 9 + max(memory / 256, 4 * 64 * dimension) > memory
        return
    if "HNSW" not in factory:  # the same with another way to find the lists; slow to make
        assert faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT).d == dimension


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_the_extras_ask_for_a_faiss_that_has_every_choice(extra: str) -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))["project"]
    listed = map(Requirement, project["optional-dependencies"][extra])
    [wanted] = [found.specifier for found in listed if found.name.startswith("faiss")]
    assert "1.12.0" not in wanted  # without RaBitQfs
    assert "1.13.0" in wanted


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * GB), ("500 MB", 500_000_000), ("2GiB", 2 << 30), ("1.5g", 1_500_000_000), (4096, 4096), ("7k", 7000)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "8 apples", "1e9", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a size"):
        parse_memory(text)


def test_codes_that_lose_more_are_refined_more() -> None:
    kinds = ["Flat", "HNSW32", "IVF64,Flat", "SQ8", "RaBitQfs", "IVF64,PQ8x4fs", "IVF64,RaBitQfs"]
    assert [default_refine(kind) for kind in kinds] == [1, 1, 1, 2, 10, 20, 30]
