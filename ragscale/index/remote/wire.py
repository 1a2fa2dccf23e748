"""Wire format that an index server and its clients share: URLs, passages and hits as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ragscale.types import Hit, Passage

__all__ = ["hit_from_json", "hit_to_json", "is_url", "passage_from_json", "passage_to_json"]


def is_url(source: object) -> bool:
    """Whether a text is the URL of a served index and not a folder; the case of the scheme does not count."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def passage_to_json(passage: Passage) -> dict[str, Any]:
    """``{"id", "title", "text", "document", "metadata"}``."""
    return {
        "id": passage.id,
        "title": passage.title,
        "text": passage.text,
        "document": passage.document,
        "metadata": dict(passage.metadata),
    }


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """A passage with its ``"score"`` and its ranks, ``"dense"`` and ``"bm25"``."""
    return {**passage_to_json(hit.passage), "score": hit.score, "dense": hit.dense, "bm25": hit.bm25}


def passage_from_json(data: Mapping[str, Any]) -> Passage:
    """The inverse of `passage_to_json`, for data that `ragscale.index.remote.replies` has checked."""
    return Passage(data["id"], data["title"], data["text"], data["document"], dict(data["metadata"]))


def hit_from_json(data: Mapping[str, Any]) -> Hit:
    """The inverse of `hit_to_json`."""
    return Hit(passage_from_json(data), data["score"], data.get("dense"), data.get("bm25"))
