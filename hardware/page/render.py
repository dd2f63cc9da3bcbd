"""`report.html`: one file that shows everything in `report.json` to a person, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from neurotarget.hardware.energy.break_even import break_even_curves
from neurotarget.hardware.energy.verdict import number
from neurotarget.hardware.page import chip_picture, plots
from neurotarget.hardware.page.contents import Report
from neurotarget.sim.trace import Trace

TEMPLATES = Path(__file__).with_name("templates")
SECTIONS = (
    "verdict",
    "claims",
    "energy",
    "networks",
    "twin",
    "layers",
    "waterfall",
    "counters",
    "chips",
    "raster",
    "parity",
    "measured",
    "published",
    "method",
    "environment",
)
BOUNDARIES = {
    "operations": "Operations only",
    "memory": "Memory included",
    "machines": "Chip against GPU",
    "measured": "Measured",
}


def percent(share: float | None) -> str:
    """A share in per cent, three significant digits; a dash for None."""
    return "–" if share is None else f"{100 * share:.3g} %"


def reachable(spike_rate: float | None) -> str:
    """A spike rate at which an answer flips; above one spike per neuron and step there is none."""
    return "none" if (spike_rate or 0) > 1 else percent(spike_rate)


def accuracy(share: float | None) -> str:
    """A share of samples in per cent; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f} %"


def span(values: Sequence[float]) -> str:
    """Lowest to highest; one number where they are written alike, a dash where there is none."""
    if not values:
        return "–"
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


FILTERS = {
    "number": number,
    "percent": percent,
    "reachable": reachable,
    "accuracy": accuracy,
    "span": span,
    "si": plots.si,
}


def page_templates() -> Environment:
    """The page's templates: whatever they are given is escaped, and a name that does not exist is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals |= {
        "boundaries": BOUNDARIES,
        "break_even_curves": break_even_curves,
        "chip_picture": chip_picture.picture,
        "plots": plots,
    }
    return environment


def render_page(report: Report, trace: Trace) -> str:
    """The page as text.

    Args:
        trace: the reference run; its first sample is the raster.
    """
    steps = int(trace.lengths[0])
    spikes = {name: array[0] for name, array in trace.spikes.items()}
    count = sum(int(array[:steps].sum()) for array in spikes.values())
    raster = {"spikes": spikes, "steps": steps, "count": count}
    return page_templates().get_template("page.html.j2").render(report=report, raster=raster, sections=SECTIONS)
