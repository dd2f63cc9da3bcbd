"""The page of all commands, as their own --help has it."""

from __future__ import annotations

import os

from neurotarget.cli import VERBS, command

HEAD = """# Commands

Each command is there twice: `neurotarget VERB`, and `python -m MODULE`. In a checkout the module has its short name
(`python -m sim.run`), elsewhere its full one (`python -m neurotarget.sim.run`). Exit codes: 0 good, 1 a check failed,
2 wrong input or usage, 130 interrupted. This page is what each command's `--help` prints.

| verb | module | what it does |
|---|---|---|
"""


def page() -> str:
    """The page."""
    os.environ["COLUMNS"] = "100"  # argparse's width
    rows = [f"| [`{verb}`](#{verb}) | `{command(verb).door}` | {words} |" for verb, (_, words) in VERBS.items()]
    return HEAD + "\n".join([*rows, "", *(section(verb) for verb in VERBS)])


def section(verb: str) -> str:
    """A command's heading and help."""
    return f"## {verb}\n\n```text\n{command(verb).parser().format_help()}```\n"
