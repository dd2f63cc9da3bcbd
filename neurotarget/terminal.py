"""Results for people: tables with aligned columns everywhere, colours where standard output is a terminal.

Elsewhere a result is plain text, which stays comparable line by line. `NO_COLOR` and `TERM=dumb` keep a terminal plain.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

NUMBER = r"(?<![\w.])[-+]?\d[\d\u202f]*(\.\d+)?(e[-+]?\d+)?(?![\w.]*\w)"
GOOD = ("works", "holds", "identical", "equal", "Fits", "favourable", "written")
BAD = ("missing", "fails", "NOT equal", "Does not fit", "unfavourable", "refused")
OPEN = ("open", "undecided", "depends", "not tested", "unknown")


def aligned(rows: Sequence[Sequence[str]], texts: int = 1, last_is_text: bool = False) -> list[str]:
    """Lines of a table, columns two blanks apart.

    Args:
        rows: the header, with units, and the others; as many cells each.
        texts: leading columns of words, flush left; the rest are numbers, flush right.
        last_is_text: the last column holds words too.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = [place < texts or (last_is_text and place == len(widths) - 1) for place in range(len(widths))]
    sides = [str.ljust if words else str.rjust for words in left]
    cells = [[side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]


def shown(text: str, holds: bool) -> str:
    """A result as standard output takes it: on a terminal figures and answers stand out, and so does the last line.

    Args:
        holds: false where a check failed.
    """
    if not sys.stdout.isatty():
        return text
    # Only here: elsewhere nothing is coloured, and it takes a tenth of a second.
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    *above, last = text.split("\n")
    body = Text("".join(f"{line}\n" for line in above))
    body.highlight_regex(NUMBER, "cyan")
    for words, style in ((GOOD, "green"), (BAD, "red"), (OPEN, "yellow")):
        body.highlight_regex(rf"(?<!\w)({'|'.join(words)})(?!\w)", style)
    with console.capture() as captured:
        console.print(body, end="")
        console.print(Text(last, "bold green" if holds else "bold red"), end="")
    return captured.get()
