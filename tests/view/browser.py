"""A real browser: headless Chromium, driven by Selenium."""

from __future__ import annotations

import base64
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any


class Browser:
    """One tab: opens pages, looks at them, prints them. Every complaint of the browser fails the test.

    Args:
        driver: Of Selenium.
        folder: For the pages.
    """

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver, self._folder = driver, folder

    def open(self, html: str, *, width: int = 1280, dark: bool = False, mark: str = "") -> None:
        """Open a page at this width, under a light or dark theme, at ``#mark``; waits until it is drawn."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [scheme]})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self._folder.mkdir(exist_ok=True)
        path = self._folder / "page.html"
        path.write_text(html, "utf-8")
        self.driver.get("about:blank")
        self.driver.get(path.as_uri() + (f"#{mark}" if mark else ""))
        self.wait("return document.querySelector('main')")
        self.quiet()

    def wait(self, script: str, seconds: float = 20) -> Any:
        """The value of a script, once it is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds, poll_frequency=0.02).until(lambda d: d.execute_script(script))

    def run(self, script: str, *args: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *args)

    def texts(self, selector: str) -> list[str]:
        """Visible texts of the elements."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector
        )
        return found

    def text(self) -> str:
        """Visible text of the page."""
        return str(self.run("return document.querySelector('main').innerText"))

    def click(self, selector: str, at: int = 0) -> None:
        """Click an element."""
        self.run(
            "document.querySelectorAll(arguments[0])[arguments[1]]"
            ".dispatchEvent(new MouseEvent('click', {bubbles: true}))",
            selector,
            at,
        )

    def keys(self, *keys: str) -> None:
        """Press keys, on whatever has the focus."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def printed(self) -> str:
        """Text of the page as PDF."""
        from pypdf import PdfReader

        data = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
        return "\n".join(page.extract_text() for page in PdfReader(BytesIO(base64.b64decode(data))).pages)

    def on_paper(self, width: int = 718) -> None:
        """Lay the page out as it is printed, on a sheet so wide: A4 by default."""
        self.run("dispatchEvent(new Event('beforeprint'))")
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def quiet(self) -> None:
        """The browser has complained about nothing."""
        assert [entry["message"] for entry in self.driver.get_log("browser")] == []


def found() -> tuple[str, str] | None:
    """Paths of Chromium and of its driver; None where one is absent."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def started() -> Any:
    """Selenium's driver of a Chromium that was started."""
    from selenium import webdriver

    paths = found()
    assert paths
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(paths[1]))
