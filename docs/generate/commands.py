"""The page of all commands, as their own --help has it."""

from __future__ import annotations

import importlib
import os

from neurotarget.cli import VERBS

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
    rows = [f"| [`{verb}`](#{verb}) | `{module}` | {words} |" for verb, (module, words) in VERBS.items()]
    return HEAD + "\n".join([*rows, "", *(section(verb, module) for verb, (module, _) in VERBS.items())])


def section(verb: str, module: str) -> str:
    """A command's heading and help."""
    command = importlib.import_module(f"neurotarget.{module}").main
    return f"## {verb}\n\n```text\n{command.parser().format_help()}```\n"
