"""Files of the packaged models: pinned by hash, fetched into the user's cache, checked before they are loaded."""

from ragscale.weights import threads as _threads  # noqa: F401  before anything imports torch
