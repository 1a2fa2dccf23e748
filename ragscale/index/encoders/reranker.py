"""Cross-encoders: a model that reads query and passage together and orders candidates better than either alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ragscale.errors import InvalidInput, MissingDependency
from ragscale.index.encoders.loading import drawn_weights, load, locate

__all__ = ["Reranker"]

_DECIMALS = 5


class Reranker:
    """A loaded sentence-transformers `CrossEncoder`; not safe from several threads, its owner is the broker.

    Runs in float32, so that a pair's score hardly depends on its batch.

    Args:
        name: The folder of a local model, or a hub name. Only safetensors weights are read.

    Raises:
        InvalidInput: The model is not a cross-encoder: it gives more than one score a pair, or its files lack weights.
        ModelFileError: It cannot be loaded or fetched.
        MissingDependency: sentence-transformers is not installed.
    """

    def __init__(self, name: str | Path) -> None:
        try:
            from sentence_transformers import CrossEncoder
        except ImportError as error:
            raise MissingDependency(
                f"sentence-transformers cannot be imported ({error})", "Reinstall ragscale."
            ) from error
        folder, self.revision = locate(str(name), role="reranker")
        """Of the weights: see `locate`."""
        self._model: Any = load(folder, "reranker", CrossEncoder)
        if self._model.num_labels != 1:
            raise InvalidInput(
                f"reranker {name} gives {self._model.num_labels} scores a pair", "Use a cross-encoder with one."
            )
        drawn = [] if self._model.model is None else drawn_weights(self._model.model)
        if drawn:
            names = ", ".join(drawn[:3]) + (f" and {len(drawn) - 3} more" if len(drawn) > 3 else "")
            raise InvalidInput(
                f"reranker {name} has no weights for {names}: it would score at random",
                "Use a cross-encoder, such as cross-encoder/ms-marco-MiniLM-L6-v2; embedders cannot rerank.",
            )

    def scores(self, pairs: Sequence[tuple[str, str]], *, batch_size: int = 32) -> list[float]:
        """Score of each pair of query and passage: the model's raw output, higher is better.

        Rounded to 5 decimals, as what the model computes for a pair changes in the seventh digit with its batch.

        Args:
            pairs: (query, passage text) pairs; the model's batches are formed by length.
            batch_size: Pairs in one of them.
        """
        import torch

        if not pairs:
            return []
        # no sigmoid: it rounds the best ones to the same 1.0
        found = self._model.predict(
            list(pairs), batch_size=batch_size, show_progress_bar=False, activation_fn=torch.nn.Identity()
        )
        rounded: list[float] = np.round(np.asarray(found, dtype=np.float64).reshape(-1), _DECIMALS).tolist()
        return rounded
