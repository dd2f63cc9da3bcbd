"""The commands that README, the change log and docs/ show: in blocks of code and within a sentence."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START = re.compile(r"(?:\w+=\S* )*(?:\.venv/bin/)?(?:python3? -m|neurotarget|make|torchrun|pip install)(?: |$)")
ASSIGNMENT = re.compile(r"\w+=")
# What a line of usage leaves open, in capitals: whatever the parser takes there.
OPEN = {"N": "3", "INTEGER": "3"}


@dataclass(frozen=True)
class Documented:
    """A command as a page shows it.

    Attributes:
        page: the file, from the root of the checkout.
        text: in one line.
    """

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """What a shell would run; of a line of usage with every option, and the first of alternatives."""
        usage = re.sub(r"(?<=\s)\.\.\.(?=[\s\]]|$)", "", self.text)
        usage = re.sub(r"(?<=\s)\[(?=[-A-Za-z])|(?<=[\w.)>])\]+(?=\s|$|\])|\s\]", " ", usage)
        words = [word.split("|")[0] if "=" not in word else word for word in shlex.split(usage, comments=True)]
        while ASSIGNMENT.match(words[0]):
            words = words[1:]
        return [OPEN.get(word, word) for word in words]


def sources() -> list[Path]:
    """Every page that is written by hand."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def documented() -> list[Documented]:
    """Every command of every page, each once a page."""
    found = [
        Documented(path.relative_to(ROOT).as_posix(), text)
        for path in sources()
        for text in commands(path.read_text(encoding="utf-8"))
    ]
    return list(dict.fromkeys(found))


def commands(page: str) -> Iterator[str]:
    """The commands of a page, each in one line."""
    code, prose = parted(page)
    for line in code:
        if START.match(line):
            yield line
    for found in re.findall(r"`([^`]+)`", " ".join(prose)):
        text = " ".join(found.split())
        if START.match(text) and len(text.split()) > 1:
            yield text


def parted(page: str) -> tuple[list[str], list[str]]:
    """Lines of code, those that go on joined, and lines of prose; blocks of another language are neither."""
    code: list[str] = []
    prose: list[str] = []
    fence, shell, goes_on = False, False, False
    for line in page.splitlines():
        text = line.strip()
        if text.startswith("```"):
            fence, shell, goes_on = not fence, text in ("```", "```bash"), False
        elif fence and not shell:
            continue
        elif fence or line.startswith("    "):
            if goes_on or (code and text.startswith("[") and START.match(code[-1])):
                code[-1] = f"{code[-1]} {text.removesuffix(chr(92)).strip()}"
            else:
                code.append(text.removesuffix("\\").strip())
            goes_on = text.endswith("\\")
        else:
            prose.append(line)
    return code, prose
