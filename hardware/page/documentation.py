"""The tables of docs/report.md, made from the dataclasses: `python -m hardware.page.documentation docs/report.md`.

What stands between the two marks in the file is replaced.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from neurotarget.hardware.page.contents import Report

from neurotarget.files import write_text

WIDTH = 120  # of a line of the documents
START, END = "<!-- made by hardware.page.documentation -->\n", "<!-- end of what is made -->\n"
WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}


def report_tables() -> str:
    """A section per dataclass in `Report`, in the order in which they appear: what it is, and a table of its fields."""
    return "\n".join(_section(key, kind) for key, kind in _reached("report.json", Report, set()))


def renewed(text: str) -> str:
    """A text with its tables made anew.

    Raises:
        ValueError: it lacks one of the two marks.
    """
    before, _, rest = text.partition(START)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"no text between {START.strip()!r} and {END.strip()!r}")
    return f"{before}{START}\n{report_tables()}\n{END}{after}"


def attributes(kind: type) -> dict[tuple[str, ...], str]:
    """Names of fields and what they hold, from the `Attributes` of a docstring.

    Raises:
        ValueError: they are not the fields of the class, each once.
    """
    found: dict[tuple[str, ...], str] = {}
    listed = inspect.getdoc(kind).partition("\nAttributes:\n")[2]  # type: ignore[union-attr]
    for entry in re.split(r"\n(?=    \w)", f"\n{listed}")[1:]:
        names, _, text = entry.partition(":")
        found[tuple(names.strip().split(", "))] = " ".join(text.split()).removesuffix(".")
    names = [name for group in found for name in group]
    fields = [field.name for field in dataclasses.fields(kind)]
    if sorted(names) != sorted(fields):
        raise ValueError(f"{kind.__name__} documents {names}, and has {fields}")
    return found


def _reached(key: str, kind: type, known: set[type]) -> Iterator[tuple[str, type]]:
    if kind in known:
        return
    known.add(kind)
    yield key, kind
    for name, hint in typing.get_type_hints(kind).items():
        for inner in _dataclasses_in(hint):
            yield from _reached(name if kind is Report else f"{key}.{name}", inner, known)


def _dataclasses_in(hint: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(hint):
        yield typing.cast(type, hint)
    for inner in typing.get_args(hint):
        yield from _dataclasses_in(inner)


def _section(key: str, kind: type) -> str:
    hints = typing.get_type_hints(kind)
    about = " ".join(inspect.getdoc(kind).partition("\nAttributes:\n")[0].split())  # type: ignore[union-attr]
    about = textwrap.fill(about, WIDTH, break_long_words=False, break_on_hyphens=False)
    lines = [f"### {key}: {kind.__name__}", "", about, "", "| key | type | holds |", "|---|---|---|"]
    for names, text in attributes(kind).items():
        keys = ", ".join(f"`{name}`" for name in names)
        type_words = "; ".join(dict.fromkeys(_words(hints[name]) for name in names))
        lines.append(f"| {keys} | {type_words} | {text.replace('|', chr(92) + '|')} |")
    return "\n".join([*lines, ""])


def _words(hint: Any) -> str:
    """A type as JSON has it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return " or ".join(dict.fromkeys(_words(one) for one in inner if one is not int or float not in inner))
    if origin is tuple:
        return f"list of {_words(inner[0])}"
    if origin is Mapping:
        return f"object of {_words(inner[1])}"
    if origin is typing.Literal:
        return str(inner[0]).lower()
    return WORDS.get(hint, hint.__name__)


def main(arguments: list[str]) -> int:
    """Renews the tables of a file."""
    (path,) = arguments
    write_text(path, renewed(Path(path).read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
