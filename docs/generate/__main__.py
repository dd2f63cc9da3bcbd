"""Gathers the pages of the site in one folder: docs/, README and its like, and what is made from the code."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from docs.generate import api, commands, tables

ROOT = Path(__file__).parents[2]
MADE = {
    "reference/commands.md": commands.page,
    "reference/api.md": api.page,
    "reference/prices.md": tables.prices,
    "reference/chips.md": tables.chips,
    "reference/report_words.md": tables.report_words,
}
# Pages that stand outside docs/ in the checkout.
OUTSIDE = {
    "README.md": "index.md",
    "examples/README.md": "examples.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def place(path: Path) -> str | None:
    """Where a file of the checkout stands on the site, None for one that does not."""
    if path.is_relative_to(ROOT / "docs"):
        return path.relative_to(ROOT / "docs").as_posix()
    path = path / "README.md" if path.is_dir() else path
    return OUTSIDE.get(path.relative_to(ROOT).as_posix()) if path.is_relative_to(ROOT) else None


def relinked(text: str, source: Path) -> str:
    """A page's text with its links as they are on the site; one to a file that is no page becomes its words."""
    here = place(source)
    assert here is not None

    def link(found: re.Match[str]) -> str:
        picture, words, target, anchor = found.groups(default="")
        there = place((source.parent / target).resolve())
        if there is None:
            return words
        return f"{picture}[{words}]({os.path.relpath(there, os.path.dirname(here) or '.')}{anchor})"

    return LINK.sub(link, text)


def generate(folder: Path) -> None:
    """Writes every page into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted((ROOT / "docs").rglob("*")):
        copy = folder / path.relative_to(ROOT / "docs")
        if path.suffix in (".png", ".svg", ".css"):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        elif path.suffix == ".md":
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(relinked(path.read_text(encoding="utf-8"), path), encoding="utf-8")
    for name, page in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        (folder / page).write_text(relinked(text, ROOT / name), encoding="utf-8")
    for page, make in MADE.items():
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
