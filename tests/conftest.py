"""Makes the test doubles of `tests/modes`, `tests/eval` and `tests/llm` importable from every test folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

for folder in ("modes", "eval", "llm"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
pytest.register_assert_rewrite("conformance", "doubles")
settings.register_profile("ragscale", deadline=None)  # a busy machine is no failure
settings.load_profile("ragscale")
