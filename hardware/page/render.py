"""`report.html`: one file that shows everything in `report.json` to a person, without a network."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from neurotarget.hardware.energy.break_even import break_even_curves
from neurotarget.hardware.page import bars, chip_picture, plots, text
from neurotarget.hardware.page.contents import Report
from neurotarget.hardware.page.limits import fullest
from neurotarget.hardware.page.origin import Made
from neurotarget.hardware.page.paper import usual_line
from neurotarget.hardware.page.raster import strips
from neurotarget.hardware.verdict.words import words_of
from neurotarget.sim.trace import Trace

from neurotarget import figures

TEMPLATES = Path(__file__).with_name("templates")
SCRIPT = TEMPLATES / "script.js"
SECTIONS = {
    "verdict": "Verdict",
    "claims": "Claims",
    "dense": "Against the dense network",
    "energy": "Energy by price",
    "networks": "Beside other networks",
    "twin": "Against a quantised twin",
    "trained_twin": "Against a trained twin",
    "layers": "Where it goes, by layer",
    "spikes": "Spikes",
    "integers": "In integers",
    "chips": "On a chip",
    "simulated": "On a simulated chip",
    "parity": "The same everywhere?",
    "counters": "Other counters",
    "measured": "PyTorch, measured",
    "published": "What others published",
    "method": "How to read this",
    "glossary": "Glossary",
    "sources": "Sources",
    "environment": "How it was made",
}
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
    "explained": text.explained,
    "linked": text.linked,
    "grouped": text.grouped,
    "breakable": text.breakable,
    "anchor": text.anchor,
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
        "bars": bars,
        "break_even_curves": break_even_curves,
        "chip_picture": chip_picture.picture,
        "fullest": fullest,
        "glossary": text.GLOSSARY,
        "plots": plots,
        "usual_line": usual_line,
    }
    return environment


def render_page(report: Report, trace: Trace, made: Made) -> str:
    """The page as text.

    Args:
        trace: the reference run; its first sample is the raster.
        made: by which command, and when.
    """
    templates = page_templates()
    words = words_of(report.input.spec, trace.input.ndim)
    known = {"report": report, "words": words, "made": made, "quote": text.quote(report, words)}
    known |= {"strips": list(strips(trace)), "steps": int(trace.lengths[0]), "sources": sources(report)}
    sections = [
        (name, title, Markup(text.unbroken(section)))
        for name, title in SECTIONS.items()
        if (section := templates.get_template(f"{name}.html.j2").render(known).strip())
    ]
    script = SCRIPT.read_text()
    page = templates.get_template("page.html.j2")
    return page.render(known, sections=sections, script=Markup(script), script_hash=script_hash(script))


def script_hash(script: str) -> str:
    """What the page's policy names the one script by that may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def sources(report: Report) -> list[str]:
    """What prices and published figures rest on, each once, in the order of the page; [1] is the first."""
    shown = sorted(report.energy, key=lambda row: (row.ratio is None, row.snn_uj is None))
    prices, published = ([row.source for row in rows] for rows in (shown, report.published))
    return list(dict.fromkeys([*prices, *published, report.twin.source]))
