"""One index for many clients: a small HTTP server in front of `Index`; its client is `ragscale.RemoteIndex`."""

from __future__ import annotations

from ragscale.serve.limits import Limits
from ragscale.serve.server import read_token, serve

__all__ = ["Limits", "read_token", "serve"]
