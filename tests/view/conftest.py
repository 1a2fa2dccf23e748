"""A real browser for the pages: headless Chromium, driven by Selenium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Selenium's driver of a headless Chromium; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install 'ragscale[dev]'")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no Chromium with its driver: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture
def browser(chromium: Any, tmp_path: Path) -> Browser:
    """A tab that no test before has left anything in."""
    return Browser(chromium, tmp_path / "pages")
