"""Folders of embedders and rerankers: found on disk or fetched from the hub, safetensors only; vectors of length 1."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ragscale.errors import InvalidInput, MissingDependency, ModelError, ModelFileError
from ragscale.paths import expanded
from ragscale.weights import pinned

__all__ = ["PREFIX", "device", "drawn_weights", "is_endpoint", "load", "locate", "units"]

PREFIX = "endpoint:"
"""Begins the name of an embedder that is an endpoint."""
LOCAL = "sha256:"
# pickled weights and exports of other frameworks are never fetched
_NOT_FETCHED = ["*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.ot", "*.onnx", "onnx/*", "openvino/*", "*.pkl"]

_WEIGHTS = ".safetensors"
_DECIDING = (_WEIGHTS, ".json", ".txt", ".model", ".vocab", ".codes")
"""Suffixes of weights, of configurations, and of what tokenizers are made of."""
_ABOUT = (pinned.NOTES_FILE, "data_config.json", "generation_config.json", "requirements.txt")
_ABOUT_PREFIXES = ("LICENSE", "NOTICE", "README", "train", "eval", "all_results")
"""Suffixes of files about the model, its licence and its training."""

_SHOWN = 60  # characters of a text in a message

Model = TypeVar("Model")


def is_endpoint(name: str | Path) -> bool:
    """Whether an embedder's name is that of an endpoint."""
    return str(name).startswith(PREFIX)


def locate(name: str, recorded: str | None = None, *, role: str, remedy: str = "Check the path.") -> tuple[Path, str]:
    """Folder and revision of a model.

    Args:
        name: The folder of a local model, or a hub name.
        recorded: The revision wanted: a hub model is fetched at that commit.
        role: Role of the model, for messages.
        remedy: Remedy where a folder is missing.

    Returns:
        The folder, and the commit of a hub model or ``sha256:...`` of what decides the output of a local one: weights,
        configuration, modules, tokenizer.

    Raises:
        InvalidInput: The name is neither a folder nor a hub name.
        ModelFileError: No such folder, no safetensors weights, damaged, or the hub did not deliver.
    """
    folder = expanded(name)
    if folder.is_dir():
        return folder, _content_hash(folder)
    if folder.is_absolute() or name.startswith((".", "~")) or (recorded or "").startswith(LOCAL):
        raise ModelFileError(f"{role} {name}: no such model folder", remedy)
    return _fetch(name, recorded, role)


def _fetch(name: str, commit: str | None, role: str) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        fetched = Path(snapshot_download(name, revision=commit, ignore_patterns=_NOT_FETCHED))
    except HFValidationError as error:
        raise InvalidInput(
            f"{role} {name!r} is neither a folder nor a hub name ({error})", "Check the name."
        ) from error
    except Exception as error:  # the hub client raises errors of several HTTP libraries
        raise ModelFileError(
            f"{role} {name!r}: no such folder, and the hub did not deliver it ({type(error).__name__}: {error})",
            "Check the name and the network, or give the folder of a local model.",
        ) from error
    return fetched, fetched.name


def _content_hash(folder: Path) -> str:
    """SHA-256 of names and contents of all files that may decide what a model computes, its weights among them.

    Stray folders, other frameworks' weights, and files about the model do not count.
    """
    digests = {}
    for part in _module_folders(folder):
        for path in filter(_decides, part.iterdir()):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    if not any(name.endswith(_WEIGHTS) for name in digests):
        raise ModelFileError(f"{folder}: no {_WEIGHTS} weights", "Pickled weights are not read: convert the model.")
    return LOCAL + hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


def _decides(path: Path) -> bool:
    if path.name in _ABOUT or path.name.startswith(_ABOUT_PREFIXES) or not path.is_file():
        return False
    # a module without weights in safetensors has them there
    pickled = path.suffix == ".bin" and not any(path.parent.glob(f"*{_WEIGHTS}"))
    return pickled or path.suffix in _DECIDING


def _module_folders(folder: Path) -> list[Path]:
    """Folders with the files of a model's modules; its own folder is always one of them."""
    found = [folder]
    named = folder / "modules.json"
    try:
        if named.is_file():
            modules = json.loads(named.read_text(encoding="utf-8"))
            found += [_inner(folder, module["path"]) for module in modules]
        for part in list(found):
            named = part / "router_config.json"
            if named.is_file():  # of a module that is made of others
                found += [_inner(part, name) for name in json.loads(named.read_text(encoding="utf-8"))["types"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelFileError(f"{named}: damaged ({error})", "Fetch the model again.") from error
    return [part for part in dict.fromkeys(found) if part.is_dir()]


def _inner(folder: Path, name: str) -> Path:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise ValueError(f"{name!r} leads out of the folder")
    return folder / name


def load(folder: Path, role: str, make: Callable[..., Model]) -> Model:
    """Load a sentence-transformers class from a folder, without network, pickle or progress bar.

    Raises:
        ModelFileError: The files cannot be loaded.
        MissingDependency: A package that they need is not installed.
    """
    with _quiet():
        try:
            return make(str(folder), local_files_only=True, model_kwargs={"use_safetensors": True}, device=device())
        except ImportError as error:
            raise MissingDependency(f"{folder}: the {role} needs a package more ({error})", "Install it.") from error
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelFileError(
                f"{folder}: the {role} cannot be loaded ({error})", "Check or fetch it again."
            ) from error


def drawn_weights(model: Any) -> list[str]:
    """Names of weights that a loaded transformers model drew at random, since its files lack them."""
    from safetensors import safe_open

    held: set[str] = set()
    for path in Path(model.name_or_path).glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            held.update(file.keys())
    if held.issuperset(model.state_dict()):
        return []
    # tied, or under other names, or missing: only transformers knows, and it reports this only while loading
    with _quiet():
        _, told = type(model).from_pretrained(
            model.name_or_path,
            config=model.config,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    return sorted(told["missing_keys"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the library's own progress bar, which would tear ours."""
    from transformers.utils import logging

    control: Any = logging  # untyped
    shown = control.is_progress_bar_enabled()
    control.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            control.enable_progress_bar()


def units(vectors: ArrayLike, texts: Sequence[str]) -> NDArray[np.float32]:
    """The vectors of some texts, each brought to length 1 in float32.

    Raises:
        ModelError: A vector is zero or not finite, so it has no direction.
    """
    found = np.ascontiguousarray(vectors, dtype=np.float32)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
    bad = np.flatnonzero(~((lengths > 0) & np.isfinite(lengths)))
    if len(bad):
        text = texts[bad[0]]
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        raise ModelError(
            f"the vector of {shown!r} has length {lengths[bad[0], 0]:g}, so it has no direction",
            "Check the embedding model or its server; if it is this text alone, leave it out.",
        )
    found /= lengths
    return found


def device() -> str:
    """``"cuda"`` where PyTorch sees a GPU, else ``"cpu"``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
