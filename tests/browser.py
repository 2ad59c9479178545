"""A headless Chromium, and the errors and requests of a page while it is open."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@dataclass
class Tab:
    """A page, with the errors on its console and every address that it requested."""

    page: Page
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def photograph(self, path: Path) -> Path:
        """Take a screenshot of the whole page."""
        self.page.screenshot(path=path, full_page=True)
        return path


def program() -> str:
    """Return the path of Chromium; without it the test is skipped."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


@contextmanager
def opened(address: str, *, dark: bool = False, size: tuple[int, int] = (1280, 900)) -> Iterator[Tab]:
    """Open an address in a new tab; requests that fail are among its errors."""
    executable = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(_QUIET))
        viewport = {"width": size[0], "height": size[1]}
        page = browser.new_page(viewport=viewport, color_scheme="dark" if dark else "light")
        tab = Tab(page)
        page.on("console", lambda message: tab.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: tab.errors.append(str(error)))
        page.on("request", lambda request: tab.asked.append(request.url))
        page.goto(address)
        yield tab
        browser.close()
