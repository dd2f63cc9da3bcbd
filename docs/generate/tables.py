"""The pages of prices, chip limits and words of the report, made from the TOML files that the commands read."""

from __future__ import annotations

from neurotarget.hardware.chips.limits import Chip, load_chip, shipped
from neurotarget.hardware.energy.prices import SHIPPED, PriceTable, load_table
from neurotarget.hardware.page.text import GLOSSARY

PRICES_HEAD = """# Prices

Every price table that ships, in picojoule per event, made from `hardware/energy/prices/*.toml`. What each event is and
which tables may be compared stands in [energy.md](../energy.md); how to add one in
[a recipe](../design/add_a_price.md).
"""
CHIPS_HEAD = """# Chip limits

Every limit of the chips that ship, made from `hardware/chips/*.toml`. How a network is placed under them stands in
[hardware_limits.md](../hardware_limits.md); how to describe another chip in [a recipe](../design/add_a_chip.md).
"""
WORDS_HEAD = """# Words of the report

What stands in heads of tables, tiles and sentences of `report.html`, as the page explains it when a word is pointed at.
Other words are in the [glossary](../glossary.md).
"""


def prices() -> str:
    """The page of prices: a section per group, a table of its prices, and the words of each."""
    groups: dict[str, list[PriceTable]] = {}
    for path in sorted(SHIPPED.glob("*.toml")):
        table = load_table(path)
        groups.setdefault(table.group, []).append(table)
    return "\n".join([PRICES_HEAD, *(_group(name, tables) for name, tables in groups.items())])


def _group(name: str, tables: list[PriceTable]) -> str:
    events = list(dict.fromkeys(event for table in tables for event in table.prices_pj))
    lines = [f"## {name}\n", *_head("table", "node", "precision", *(f"`{event}`" for event in events))]
    for table in tables:
        costs = [f"{table.prices_pj[event]:g}" if event in table.prices_pj else "" for event in events]
        lines.append(_row(f"`{table.name}`", table.node, table.precision, *costs))
    lines.append("")
    for table in tables:
        checked = f" Checked: {table.checked}" if table.checked else ""
        points = ", ".join(f"{energy:g} at {size:g} bytes" for size, energy in table.access_pj)
        access = f" Access to memory, pJ: {points}." if points else ""
        lines.append(f"- **`{table.name}`**: {table.title} ({table.grade}). {table.conditions}{access}")
        lines.append(f"  Source: {table.source}.{checked}")
    return "\n".join([*lines, ""])


def chips() -> str:
    """The page of chips: a section per chip, a table of its limits."""
    return "\n".join([CHIPS_HEAD, *(_chip(load_chip(name)) for name in shipped())])


def _chip(chip: Chip) -> str:
    lines = [f"## {chip.title}\n\n`--chip {chip.name}`. {chip.conditions}\n"]
    lines += _head("figure", "value", "unit", "grade", "source")
    for limits in (chip.limits, chip.sizes, chip.mesh):
        for name, limit in limits.items():
            lines.append(_row(f"`{name}`", str(limit.value), limit.unit, limit.grade, limit.source))
    return "\n".join([*lines, ""])


def report_words() -> str:
    """The page of the words that a report explains."""
    rows = [_row(term, meaning) for term, meaning in sorted(GLOSSARY.items(), key=lambda item: item[0].lower())]
    return "\n".join([WORDS_HEAD, *_head("word", "means"), *rows, ""])


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*["---"] * len(cells))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
