"""A real browser for the pages: headless Chromium, driven by Selenium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, found, started


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Selenium's driver of a headless Chromium; skips where there is none."""
    pytest.importorskip("selenium", reason="no selenium: pip install '.[dev]'")
    if not found():
        pytest.skip("no Chromium with its driver: apt install chromium chromium-driver")
    opened = started()
    yield opened
    opened.quit()


@pytest.fixture
def browser(chromium: Any, tmp_path: Path) -> Browser:
    """A tab that no test before has left anything in."""
    return Browser(chromium, tmp_path / "pages")
