"""Gathers the pages of the site in one folder: docs/, README as the first page, and what is made from the code."""

from __future__ import annotations

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
}
FROM_THE_ROOT = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def relinked(text: str, source: Path) -> str:
    """A page's text with its links as they are on the site.

    A link from README into docs/ loses the folder. One to a file that is no page, such as a test, becomes its text.
    """

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found.group(1), found.group(2), found.group(3) or ""
        path = (source.parent / target).resolve()
        if not path.is_relative_to(ROOT / "docs"):
            made = FROM_THE_ROOT.get(path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else "")
            return f"[{words}]({made}{anchor})" if made and source.parent == ROOT else words
        return f"[{words}]({target.removeprefix('docs/') if source.parent == ROOT else target}{anchor})"

    return LINK.sub(link, text).replace("](docs/", "](")


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
    for name, page in FROM_THE_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        (folder / page).write_text(relinked(text, ROOT / name), encoding="utf-8")
    for page, make in MADE.items():
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
