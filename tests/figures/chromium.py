"""Headless Chromium for the tests of pages, and the screenshot of the interactive portrait in docs.

`python tests/figures/chromium.py docs/figures/interactive.png` makes that screenshot.
"""

from __future__ import annotations

import base64
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from superconsistency.figures.interactive import PortraitDefaults, write_portrait

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)

REQUIRED = "SUPERCONSISTENCY_REQUIRE_CHROMIUM"
"""Set to 1, this environment variable makes a missing browser a failure instead of a skip."""


def missing() -> str | None:
    """Why there is no browser to test in, or None."""
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: apt install chromium chromium-driver)"
    return None


@contextmanager
def browser(downloads: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium that keeps its console's messages and puts downloads in a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(shutil.which("chromedriver"), log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_script_timeout(20)
        yield driver
    finally:
        driver.quit()


def resize(driver: webdriver.Chrome, width: int, height: int, *, scale: float = 1.0) -> None:
    """Show the page in a window of a size in CSS pixels, narrow ones included."""
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def prefer(driver: webdriver.Chrome, scheme: str) -> None:
    """Ask for the light or the dark colours."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def console_messages(driver: webdriver.Chrome) -> list[dict[str, object]]:
    """What the page's console said since the last call."""
    messages: list[dict[str, object]] = driver.execute("getLog", {"type": "browser"})["value"]
    return messages


def screenshot(driver: webdriver.Chrome, path: Path) -> None:
    """The whole page as a PNG."""
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
    path.write_bytes(base64.b64decode(shot["data"]))


def photograph(path: Path, settings: Mapping[str, Any] | None = None) -> None:
    """A screenshot of the page as it opens, 1400 pixels wide, with some settings changed."""
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder)) as driver:
        page = Path(folder) / "portrait.html"
        write_portrait(page, PortraitDefaults(**(settings or {})))
        resize(driver, 1400, 860)
        prefer(driver, "light")
        driver.get(page.as_uri())
        screenshot(driver, path)


if __name__ == "__main__":
    photograph(Path(sys.argv[1]))
