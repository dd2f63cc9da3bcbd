"""`report.html`: one file that shows everything in `report.json` to a person, without a network."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from neurotarget.hardware.energy.break_even import break_even_curves
from neurotarget.hardware.page import chip_picture, plots
from neurotarget.hardware.page.contents import Report
from neurotarget.hardware.page.paper import usual_line
from neurotarget.sim.trace import Trace

from neurotarget import figures

TEMPLATES = Path(__file__).with_name("templates")
SECTIONS = (
    "verdict",
    "claims",
    "dense",
    "energy",
    "uncertainty",
    "networks",
    "twin",
    "trained_twin",
    "layers",
    "waterfall",
    "counters",
    "chips",
    "simulated",
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


def reachable(spike_rate: float | None) -> str:
    """A spike rate at which an answer flips; above one spike per neuron and step there is none."""
    return "none" if (spike_rate or 0) > 1 else figures.percent(spike_rate)


def accuracy(share: float | None) -> str:
    """A share of samples in per cent; a dash for None."""
    return figures.NONE if share is None else f"{100 * share:.1f} %"


def sentence(clause: str) -> str:
    """A clause with a capital and a full stop; nothing else of it changes, as `capitalize` would."""
    return f"{clause[:1].upper()}{clause[1:]}."


FILTERS = {
    "sentence": sentence,
    "rounded": figures.rounded,
    "percent": figures.percent,
    "reachable": reachable,
    "accuracy": accuracy,
    "interval": figures.interval,
    "prefixed": figures.prefixed,
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
        "usual_line": usual_line,
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
