"""The page of the Python API: the public names of neurotarget/__init__.py with their signatures and docstrings."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator

import neurotarget

HEAD = """# Python API

`import neurotarget` offers these names; type checkers know them too. Shapes are `[samples, steps, ...]` unless a
docstring says otherwise. Wrong input raises `UserError`, a check that fails `CheckFailed`; both are one sentence.
"""
SECTIONS = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Raises": "Raises",
    "Warns": "Warns",
    "Yields": "Yields",
}


def page() -> str:
    """The page."""
    sections = [line for name in neurotarget.PUBLIC for line in section(name, getattr(neurotarget, name))]
    return "\n".join([HEAD, *sections, ""])


def section(name: str, thing: object) -> Iterator[str]:
    """A public name: its signature, its docstring, and of a class the public members that have one."""
    yield f"## {name}\n"
    yield from described(f"neurotarget.{name}", thing)
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            value = getattr(value, "__func__", value)  # of a class method
            if not member.startswith("_") and inspect.getdoc(value) and documented_here(value):
                yield f"### {name}.{member}\n"
                yield from described(member, value)


def documented_here(value: object) -> bool:
    """Whether a member of a class is a function or a property of ours, and no value of a library's class."""
    return inspect.isfunction(value) or isinstance(value, property | functools.cached_property)


def described(name: str, thing: object) -> Iterator[str]:
    """A signature and a docstring as Markdown."""
    exception = inspect.isclass(thing) and issubclass(thing, Exception)
    if callable(thing) and not exception:
        yield f"```python\n{name}{signature(thing)}\n```\n"
    yield f"{markdown(inspect.getdoc(thing) or '')}\n"


def markdown(docstring: str) -> str:
    """A docstring as Markdown: its sections become lists, its examples code."""
    docstring = re.sub(r"^>>> .*(\n.+)*", "```pycon\n\\g<0>\n```", docstring, flags=re.MULTILINE)
    before, *parts = re.split(rf"^({'|'.join(SECTIONS)}):\n", docstring, flags=re.MULTILINE)
    lines = [before]
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        lines.append(f"**{SECTIONS[heading]}**\n")
        for entry in re.split(r"\n(?=    \S)", body.rstrip()):
            name, colon, words = " ".join(entry.split()).partition(": ")
            known = colon and re.fullmatch(r"[\w, .*]+", name)
            lines.append(f"- `{name}`: {words}" if known else f"- {name}{colon}{words}")
        lines.append("")
    return "\n".join(lines)


def signature(thing: object) -> str:
    """An argument per line where one line would be long."""
    found = inspect.signature(thing)  # type: ignore[arg-type]
    line = str(found)
    if len(line) <= 80:
        return line
    arguments, star = [], False
    for argument in found.parameters.values():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            arguments.append("    *,")
            star = True
        arguments.append(f"    {argument},")
    end = line.rpartition(") -> ")[2]
    return "\n".join(["(", *arguments, f") -> {end}" if ") -> " in line else ")"])
