"""Embedders: sentence-transformers models by name or folder, the packaged MiniLM by default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ragscale.errors import IndexMismatch, InvalidInput, MissingDependency
from ragscale.index.manifest import EmbedderInfo
from ragscale.index.models import device, load, locate
from ragscale.llm import weights

__all__ = ["DEFAULT", "DEFAULT_NAME", "Dtype", "Embedder", "canonical_name"]

DEFAULT = "default"
DEFAULT_NAME = "sentence-transformers/all-MiniLM-L6-v2"
Dtype = Literal["auto", "float32", "bfloat16"]

_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


def canonical_name(name: str | Path) -> str:
    """The name that the manifest records: hub names stay, the default model's aliases become its hub name."""
    text = str(name)
    return DEFAULT_NAME if text in (DEFAULT, DEFAULT_NAME, DEFAULT_NAME.rpartition("/")[2]) else text


class Embedder:
    """A loaded sentence-transformers model; not safe from several threads, its owner is the broker or a build.

    Queries and documents differ by prompt, and by number format: documents may be encoded in bfloat16 (twice as fast
    where the processor has the instructions, the stored vectors never change afterwards), queries are always encoded in
    float32, so that what a query is batched with moves its vector by 1e-7 and not by 1e-2.
    """

    def __init__(self, model: Any, info: EmbedderInfo) -> None:
        self._model = model
        self.info = info

    @classmethod
    def for_documents(
        cls,
        name: str | Path = DEFAULT,
        *,
        dtype: Dtype = "auto",
        query_prompt: str | None = None,
        document_prompt: str | None = None,
    ) -> Embedder:
        """Load a model to encode passages with.

        Args:
            name: ``"default"``, a hub name or the folder of a local model.
            dtype: ``"auto"`` is bfloat16 where the processor has instructions for it, else float32.
            query_prompt: Put before queries; the model's own where None.
            document_prompt: Put before passages; the model's own where None.

        Raises:
            ModelFileError: The model cannot be loaded or fetched.
            MissingDependency: sentence-transformers is not installed.
        """
        folder, revision = _locate(canonical_name(name), None)
        model = _load(folder)
        chosen = _dtype(dtype)
        # measured before the cast, in case a model refuses short inputs in half precision
        dimension = int(_encode(model.encode, ["dimension"], prompt="", batch_size=1).shape[1])
        if chosen == "bfloat16":
            import torch

            model.to(dtype=torch.bfloat16)
        info = EmbedderInfo(
            name=canonical_name(name),
            revision=revision,
            dtype=chosen,
            dimension=dimension,
            max_tokens=int(model.max_seq_length or 0),
            query_prompt=_prompt(model, _QUERY_PROMPTS) if query_prompt is None else query_prompt,
            document_prompt=_prompt(model, _DOCUMENT_PROMPTS) if document_prompt is None else document_prompt,
        )
        return cls(model, info)

    @classmethod
    def for_queries(cls, info: EmbedderInfo, *, source: str | Path | None = None) -> Embedder:
        """Load the model of an index, in float32, to encode queries with.

        Args:
            info: What the index was built with.
            source: Where the same model lies on this machine, if not under its recorded name.

        Raises:
            IndexMismatch: The model found has other weights.
        """
        folder, revision = _locate(canonical_name(source or info.name), info.revision)
        if revision != info.revision:
            raise IndexMismatch(
                f"the index was built with {info.name} at {info.revision}, found {revision} in {folder.name}",
                "Restore that model, or build the index again with this one.",
            )
        return cls(_load(folder), info)

    def encode_queries(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension)."""
        return _encode(self._model.encode_query, texts, prompt=self.info.query_prompt, batch_size=batch_size)

    def encode_documents(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Vectors of length 1, shape (len(texts), dimension); batches are formed by length, results in given order."""
        return _encode(self._model.encode_document, texts, prompt=self.info.document_prompt, batch_size=batch_size)


def _encode(call: Any, texts: Sequence[str], *, prompt: str, batch_size: int) -> NDArray[np.float32]:
    vectors = call(list(texts), prompt=prompt, batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True)
    found = np.ascontiguousarray(vectors, dtype=np.float32)
    # here and not in the model: a bfloat16 norm is off by up to 1e-2
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return found


def _locate(name: str, recorded: str | None) -> tuple[Path, str]:
    return locate(
        str(weights.path("embedder")) if name == DEFAULT_NAME else name,
        recorded,
        role="embedder",
        remedy="Check the path, or say where the model is now: Index.open(DIR, embedder=FOLDER).",
    )


def _load(folder: Path) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingDependency(f"sentence-transformers cannot be imported ({error})", "Reinstall ragscale.") from error
    return load(folder, "embedder", SentenceTransformer)


def _dtype(wanted: Dtype) -> str:
    import torch

    if wanted in ("float32", "bfloat16"):
        return wanted
    if wanted != "auto":
        raise InvalidInput(f"unknown dtype {wanted!r}", "Choose one of: auto, float32, bfloat16.")
    if device() == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # private, and the only name torch has for it: absent on other processors and maybe in later versions
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bfloat16" if probe() else "float32"


def _prompt(model: Any, names: Sequence[str]) -> str:
    return next((model.prompts[name] for name in names if name in model.prompts), "")
