"""Reads corpora into passages, one at a time, and says where each came from."""

from __future__ import annotations

from ragscale.corpus.folder import Chunking
from ragscale.corpus.read import read
from ragscale.corpus.record import Place, Record

__all__ = ["Chunking", "Place", "Record", "read"]
