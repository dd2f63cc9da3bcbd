"""The Chromium of this machine under Playwright, where both are there; the one that Playwright brings is not used."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def find_browser() -> str | None:
    """Path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def missing() -> str:
    """What keeps a page from being opened; empty where nothing does."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed (extra 'dev')"
    return "" if find_browser() else "no Chromium on PATH"


needed = pytest.mark.skipif(bool(missing()), reason=missing())


@contextlib.contextmanager
def opened() -> Iterator[Any]:
    """A browser for which no name resolves: a page must need no network."""
    from playwright.sync_api import sync_playwright

    rules = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=rules)
        yield browser
        browser.close()


def show(browser: Any, page: Path, width: int, dark: bool = False) -> Any:
    """The page in a window of so many pixels; what its script complains of is an error here."""
    shown = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", bypass_csp=True
    )
    complaints: list[str] = []
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.goto(page.as_uri())
    assert not complaints
    return shown
