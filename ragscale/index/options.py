"""Options: the keywords of searching, building, adding and updating, and the choices that some of them have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, get_args

if TYPE_CHECKING:
    from ragscale.corpus import By, Columns, Problems

__all__ = [
    "DESCRIPTION_LENGTH",
    "HOWS",
    "AddOptions",
    "Backend",
    "BuildEngine",
    "BuildOptions",
    "Dtype",
    "Gpus",
    "How",
    "LexicalKind",
    "Progress",
    "QueryBackend",
    "SearchOptions",
    "UpdateOptions",
    "WriteOptions",
]

DESCRIPTION_LENGTH = 1000
"""Most characters of a description of a corpus."""
How = Literal["hybrid", "dense", "bm25"]
"""Kinds of search."""
HOWS: tuple[How, ...] = get_args(How)
LexicalKind = Literal["bm25s", "rank-bm25"]
"""Libraries of the lexical index."""
Dtype = Literal["auto", "float32", "bfloat16"]
"""Number formats in which passages are encoded."""
Backend = Literal["torch", "openvino", "onnx"]
"""Libraries that compute vectors; see `ragscale.index.encoders.backends`."""
QueryBackend = Literal["auto", "torch", "openvino", "onnx"]
"""Libraries that compute vectors of queries: auto is NumPy for a plain BERT on a machine without a GPU, which starts at
once and keeps up with torch for some queries at a time; else torch. See `ragscale.index.encoders.bert`."""
BuildEngine = Literal["local", "ray"]
"""Places where passages are read and embedded: this process, or Ray; see `ragscale.index.write.ray`."""
Gpus = Literal["shard", "replicate"]
"""Ways in which several GPUs share an index: a part each (more vectors), or a copy each (more queries a second)."""
Progress = Callable[[str, int, int], None]
"""Called with the stage (``"read"``, ``"bm25"``, ``"embed"``), passages done and in all (0: not known yet).

First as a stage begins, with what an earlier process had done of it: 0, or more where it was killed.
"""


class SearchOptions(TypedDict, total=False):
    """Keywords of `Index.search`, all optional."""

    weight: float | None
    """Fusion of a hybrid search's two rankings: None for reciprocal rank fusion, which looks at ranks alone; a number
    from 0 to 1 for weighted fusion of the scores, of which dense search has this share and BM25 the rest; see
    `ragscale.ranking`. None by default."""
    depth: int
    """Candidates a query that are fused, reranked and diversified, 50 by default; never fewer than k."""
    where: str | None
    """Filter on metadata, as in ``year >= 1990 and lang = "en"``; see `ragscale.index.query.filters`. Only passages
    that match are searched. None by default."""
    rerank: str | Path | None
    """Cross-encoder that orders the `depth` best candidates: the folder of a sentence-transformers model or a hub name.
    The score of a hit is then its raw output. None by default."""
    mmr: float | None
    """Maximal marginal relevance: from 1 (the order stays) down to 0 (hits unlike each other above all). The hits are
    picked from the `depth` best; they keep their scores, so these no longer fall. Needs vectors. None by default."""
    mmr_union: bool
    """Whether `mmr` also keeps the hits of one query unlike those of the other queries of the same call. False by
    default."""


class WriteOptions(TypedDict, total=False):
    """Keywords of every write that reads a corpus, all optional."""

    columns: Columns | None
    """Roles of the columns of tables; id, title, text and document by default."""
    problems: Problems | None
    """Give ``Problems(keep_going=True)`` to skip bad documents instead of stopping; it holds what was left out
    afterwards. None by default."""
    batch_size: int
    """Passages encoded at once, 64 by default."""
    backend: Backend
    """Library that computes the vectors: ``"torch"`` (the default), ``"openvino"`` or ``"onnx"``; the last two on the
    CPU. An index does not record it, so give it to each write."""
    devices: Sequence[str]
    """Devices of worker processes that share the encoding, such as ``["cuda:0", "cuda:1"]`` or ``["cpu", "cpu"]``; by
    default this process does it all. A script that gives some needs the usual ``if __name__ == "__main__"``."""
    segment_rows: int
    """Most rows of a segment, 1,048,576 by default."""
    progress: Progress | None
    """Called with stage, passages done and passages in all. None by default."""


class AddOptions(WriteOptions, total=False):
    """Keywords of `Index.add`, all optional."""

    embedder: str | Path | None
    """Folder or name of the index's embedder on this machine, if not its recorded name. None by default."""


class UpdateOptions(AddOptions, total=False):
    """Keywords of `Index.update`, all optional."""

    prune: bool
    """Whether documents that are not in the corpora are removed. False by default."""


class BuildOptions(WriteOptions, total=False):
    """Keywords of `Index.build`, all optional."""

    embedder: str | Path | None
    """``"default"`` (all-MiniLM-L6-v2, the default), a hub name, the folder of a local sentence-transformers model,
    ``"endpoint:URL#MODEL"`` (any that speaks the OpenAI dialect), or None or ``"none"`` for a lexical-only index, which
    needs neither torch nor faiss."""
    factory: str
    """FAISS factory string; ``"Flat"`` is exact, ``"auto"`` (the default) chooses by number of passages, dimension,
    memory and device, and is exact for small corpora."""
    memory: str | int | None
    """Memory that searching may hold resident, for ``"auto"``: ``"8GB"`` or bytes; by default half of the machine's."""
    lexical: LexicalKind
    """``"bm25s"`` (the default), or ``"rank-bm25"``, the slow reference."""
    language: str
    """Language of the corpus, for stemmer and stop words of BM25: a name or a code (``"german"``, ``"de"``), ``"none"``
    for words as they stand, or ``"auto"`` (the default), which tells it from a sample. Kept in the manifest."""
    chunk_by: By
    """Places where documents are cut: by ``"characters"`` (the default), ``"tokens"`` (of the embedder),
    ``"sentences"`` or ``"headings"``."""
    chunk_size: int | None
    """Most characters (tokens) in a chunk; by default 1,000 (250)."""
    chunk_overlap: int | None
    """Characters (tokens) that neighbouring chunks share at most; by default a tenth of the size."""
    chunk_rows: bool
    """Cut the texts of rows too. False by default."""
    query_prompt: str | None
    """Put before each query when it is embedded; by default the model's own."""
    document_prompt: str | None
    """Put before each passage when it is embedded; by default the model's own."""
    dtype: Dtype
    """Number format in which passages are encoded: ``"auto"`` (the default: bfloat16 where the processor has
    instructions for it), ``"float32"`` or ``"bfloat16"``."""
    engine: BuildEngine
    """``"local"`` (the default), or ``"ray"`` to read and embed on Ray; docs/corpora.md says what a cluster needs."""
    description: str
    """Subject of the corpus in a sentence or two, for prompts that name it; at most 1,000 characters. Kept in the
    manifest and part of the fingerprint; empty by default."""
    force: bool
    """Replace an index that is at `out`. False by default."""
