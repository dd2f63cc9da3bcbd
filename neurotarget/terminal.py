"""Results for people: tables with aligned columns everywhere, colours where standard output is a terminal.

Elsewhere a result is plain text, which stays comparable line by line. `NO_COLOR` and `TERM=dumb` keep a terminal plain.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

NUMBER = r"(?<![\w.])[-+]?\d[\d\u202f]*(\.\d+)?(e[-+]?\d+)?(?![\w.]*\w)"
GOOD = ("works", "holds", "identical", "equal", "Fits", "favourable", "written")
BAD = ("missing", "fails", "NOT equal", "Does not fit", "unfavourable", "refused", "nothing written", "No saving")
OPEN = ("open", "undecided", "depends", "not tested", "unknown", "nothing fired")

TONES = {  # of answers, each less favourable than the one before
    style: rf"(?<!\w)({'|'.join(words)})(?!\w)" for style, words in (("green", GOOD), ("yellow", OPEN), ("red", BAD))
}


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


def results(
    rows: Sequence[Sequence[str]], sentences: Iterable[str], verdict: str, texts: int = 1, last_is_text: bool = False
) -> str:
    """What a command prints: a table with units in its header, what no table holds, and one line of verdict last.

    Args:
        rows, texts, last_is_text: see `aligned`; a header without a row below it is left out.
        sentences: one a line.
    """
    table = aligned(rows, texts, last_is_text) if len(rows) > 1 else []
    return "\n".join([*table, *sentences, verdict])


def shown(text: str, holds: bool) -> str:
    """A result as standard output takes it: on a terminal figures and answers stand out, and so does the last line,
    in the colour of the least favourable word in it.

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
    for style, pattern in TONES.items():
        body.highlight_regex(pattern, style)
    with console.capture() as captured:
        console.print(body, end="")
        console.print(Text(last, f"bold {_tone(last) if holds else 'red'}"), end="")
    return captured.get()


def _tone(line: str) -> str:
    """The colour of the least favourable word of a line; green without one."""
    return ["green", *(style for style, pattern in TONES.items() if re.search(pattern, line))][-1]
