"""Headless Chromium, where there is one."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # The page must need no network: every name resolves to nothing.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def find_browser() -> str | None:
    """Path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def dump_dom(page: Path, width: int, dark: bool = False) -> str:
    """The document after its scripts ran."""
    return _run(page, width, dark, "--dump-dom", "--virtual-time-budget=5000")


def screenshot(page: Path, target: Path, width: int, dark: bool = False) -> None:
    _run(page, width, dark, f"--screenshot={target}")


def _run(page: Path, width: int, dark: bool, *arguments: str) -> str:
    browser = find_browser()
    assert browser is not None
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *QUIET, f"--user-data-dir={profile}", f"--window-size={width},1600"]
        command.append(f"--blink-settings=preferredColorScheme={0 if dark else 1}")
        done = subprocess.run(
            [*command, *arguments, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
    return done.stdout
