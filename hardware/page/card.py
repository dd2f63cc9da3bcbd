"""Files beside the page: the model card in Markdown, the layers as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from neurotarget.hardware.page.contents import Report
from neurotarget.hardware.page.render import FILTERS, TEMPLATES


def layers_csv(report: Report) -> str:
    """A line per layer, columns as in `report.json`; empty where a layer has no such thing.

    And a column for each price of an access: the layer's energy with memory included, named by its table.
    """
    stream = io.StringIO()
    energy: dict[str, dict[str, float]] = {}
    for row in report.memory_layers:
        energy.setdefault(row.name, {})[f"{row.table}_uj"] = row.total_uj
    lines = [dataclasses.asdict(layer) | energy.get(layer.name, {}) for layer in report.layers]
    writer = csv.DictWriter(stream, fieldnames=list(lines[0]) if lines else ["name"])
    writer.writeheader()
    for line in lines:
        # A name that starts like a formula must stay a name in a spreadsheet.
        name = line["name"]
        writer.writerow({**line, "name": f"'{name}" if name[:1] in "=+-@" else name})
    return stream.getvalue()


def render_card(report: Report) -> str:
    """The model card: what the network is, what was measured and on what, what it costs, and what is not known."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        finalize=_escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= FILTERS
    return templates.get_template("card.md.j2").render(report=report)


def _escaped(value: object) -> object:
    """Text that Markdown cannot take for markup or a table's end."""
    if not isinstance(value, str):
        return value
    for mark in ("\\", "|", "<", ">", "`", "*", "_", "[", "]"):
        value = value.replace(mark, "\\" + mark)
    return value.replace("\n", " ")
