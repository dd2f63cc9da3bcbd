"""Plots as SVG in the colours of the page's style sheet, so that one drawing serves light, dark and paper.

Matplotlib draws with the colours of `INKS`; in the SVG each becomes the CSS variable of its name.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from neurotarget.hardware.energy.beside import NetworkRow
from neurotarget.hardware.energy.break_even import Curve
from neurotarget.hardware.energy.judgement import ClaimRow, JudgedClaim
from neurotarget.hardware.page.reading import reading

DPI = 144


@dataclass(frozen=True)
class Inks:
    """Colours of a plot by their role; `--role` in style.css, whose light values these are."""

    paper: str
    ink: str
    faint: str
    line: str
    spiking: str
    dense: str


INKS = Inks("#ffffff", "#1f2733", "#5b6675", "#e3e7ec", "#0f766e", "#b45309")


@dataclass(frozen=True)
class Picture:
    """One plot, the text that stands for it, and the values of its curves for whoever points at them, if any."""

    svg: Markup
    alt: str
    reading: str = ""


def picture(draw: Callable[[Axes], None], alt: str, width: float, height: float, now: float | None = None) -> Picture:
    """A plot for the page.

    Args:
        draw: puts it on the axes.
        alt: text that stands for it.
        width, height: inches.
        now: where this run lies along curves whose values can be read.
    """
    content, axes = _drawn(draw, width, height, "svg", alt)
    text = content.decode()
    text = text[text.index("<svg") :].replace("xlink:href", "href")
    # Matplotlib's rules would hold for the whole page, and its names of groups stand in every picture.
    text = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<g id=\"[^\"]*\"", "<g", text)
    text = re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r"<svg \1>", text, count=1)
    for name, colour in vars(INKS).items():
        text = text.replace(colour, f"var(--{name})")
    return Picture(Markup(text), alt, "" if now is None else reading(axes, width, height, now))


def png(draw: Callable[[Axes], None], width: float, height: float) -> bytes:
    """One plot as a PNG file's content."""
    return _drawn(draw, width, height, "png", "")[0]


def _drawn(draw: Callable[[Axes], None], width: float, height: float, form: str, salt: str) -> tuple[bytes, Axes]:
    # Without pyplot: no global figure, no window. Names of layers and files may hold a dollar sign.
    with matplotlib.rc_context(
        {"font.family": "sans-serif", "svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False}
    ):
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor=INKS.paper, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_facecolor(INKS.paper)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(INKS.line)
        axes.tick_params(colors=INKS.faint, labelsize=8, length=0)
        axes.xaxis.label.set_color(INKS.faint)
        axes.xaxis.label.set_fontsize(8.5)
        axes.grid(axis="x", color=INKS.line, linewidth=0.7)
        axes.set_axisbelow(True)
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":  # powers in plain figures: what Matplotlib writes is mathematics
                axis.set_major_formatter(lambda value, _: f"{value:g}")
                axis.set_minor_formatter(NullFormatter())
        stream = io.BytesIO()
        figure.savefig(stream, format=form, facecolor=INKS.paper, metadata={"Date": None} if form == "svg" else None)
    return stream.getvalue(), axes


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4,
        frameon=False,
        fontsize=8,
        labelcolor=INKS.ink,
        borderpad=0.2,
    )


def networks(rows: Sequence[NetworkRow]) -> Picture:
    """Energy per inference of several networks by table, a mark per network, on a logarithmic axis."""
    files = [Path(row.model) for row in rows]
    one_folder = len({file.parent for file in files}) == 1
    names = [f"{n} {file.stem if one_folder else file.parent.name}" for n, file in enumerate(files, 1)]
    titles = list(dict.fromkeys(figure.title for row in rows for figure in row.energy if figure.snn_uj))

    def draw(axes: Axes) -> None:
        for index, (row, name) in enumerate(zip(rows, names, strict=True)):
            points = [(figure.snn_uj, titles.index(figure.title)) for figure in row.energy if figure.snn_uj]
            colour = (INKS.spiking, INKS.dense, INKS.faint)[index % 3]
            x, y = np.array(points).reshape(-1, 2).T
            axes.scatter(x, y, color=colour, marker="oDs^vP"[index % 6], s=34, label=name, zorder=3)
        if titles:
            axes.set_xscale("log")
        axes.set_yticks(range(len(titles)), titles)
        axes.tick_params(axis="y", labelcolor=INKS.ink)
        axes.invert_yaxis()
        axes.margins(y=0.03)
        axes.set_xlabel("microjoule per inference (estimated, logarithmic)")
        _legend(axes)

    return picture(draw, f"Energy of {', '.join(names)} under each price table", 8.6, 1.2 + 0.29 * max(len(titles), 1))


def break_even(curves: Sequence[Curve], spike_rate: float) -> Picture:
    """Energy of the spiking network as a share of the dense one's, over the mean spike rate, both logarithmic."""
    styles = ("-", "--", "-.", ":")

    def draw(axes: Axes) -> None:
        rates = np.unique(np.minimum(spike_rate * np.logspace(-1.5, 2.5, 81), 1.0))  # this run's is one of them
        axes.axhspan(1, 1e6, color=INKS.line, alpha=0.45, linewidth=0)
        axes.axhline(1, color=INKS.faint, linewidth=1)
        axes.axvline(spike_rate, color=INKS.faint, linewidth=1, linestyle=(0, (2, 3)))
        top, bottom = 2.0, 0.5
        for index, curve in enumerate(curves):
            share = curve.fixed + curve.scaling * rates / spike_rate
            colour = {"machines": INKS.dense, "memory": INKS.ink}.get(curve.boundary, INKS.spiking)
            axes.plot(rates, share, color=colour, linestyle=styles[index % 4], linewidth=1.7, label=curve.label)
            now = curve.fixed + curve.scaling
            axes.plot([spike_rate], [now], marker="o", color=colour, markersize=4.5)
            top, bottom = max(top, float(share.max())), min(bottom, float(share.min()))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom / 1.5, top * 1.5)
        axes.grid(axis="y", color=INKS.line, linewidth=0.7)
        axes.set_xlabel("mean spike rate, spikes per neuron and step (dotted: this run)")
        axes.set_ylabel("spiking / dense energy", color=INKS.faint, fontsize=8.5)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=8, labelcolor=INKS.ink)

    alt = "Energy of the spiking network relative to the dense one over the spike rate"
    return picture(draw, alt, 8.6, 4.6, spike_rate)


CURVES = 8


def claim(judged: JudgedClaim) -> Picture:
    """What a claim compares, over the spike rate of its subject, one curve per price table; the line is the claim."""
    rate = judged.spike_rate or 0.0
    rows = [row for row in judged.rows if row.scaling > 0]
    rates = np.unique(np.minimum(rate * np.logspace(-1.5, 2, 71), 1.0))

    def value(row: ClaimRow) -> np.ndarray:
        found: np.ndarray = row.fixed + row.scaling * rates / rate
        return found

    label = "mean spike rate, spikes per neuron and step (dotted: this run)"
    return _claimed(judged, rows, rates, rate, value, label)


def claim_steps(judged: JudgedClaim, sample: str) -> Picture:
    """The same over the number of steps of the subject, where the other side does not grow with them.

    Args:
        sample: what has the steps.
    """
    now = judged.steps
    rows = [row for row in judged.rows if row.break_even_steps]
    steps = now * np.logspace(-1.5, 1.5, 61)

    def value(row: ClaimRow) -> np.ndarray:
        found: np.ndarray = (row.value or 0.0) * steps / now
        return found

    return _claimed(judged, rows, steps, now, value, f"steps per {sample} (dotted: this run)")


def _claimed(
    judged: JudgedClaim,
    rows: Sequence[ClaimRow],
    at: np.ndarray,
    now: float,
    value: Callable[[ClaimRow], np.ndarray],
    label: str,
) -> Picture:
    def draw(axes: Axes) -> None:
        for index, row in enumerate(rows[:CURVES]):  # estimates: each has a value
            colour = INKS.spiking if row.answer == "holds" else INKS.dense
            style = ("-", "--", "-.", ":")[index % 4]
            axes.plot(at, value(row), color=colour, linestyle=style, linewidth=1.5, label=row.table)
            axes.plot([now], [row.value or 0.0], marker="o", color=colour, markersize=4.5)
        axes.axhline(judged.value, color=INKS.ink, linewidth=1)
        axes.axvline(now, color=INKS.faint, linewidth=1, linestyle=(0, (2, 3)))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(label)
        unit = "microjoule" if judged.unit == "uJ" else "ratio"
        axes.set_ylabel(f"{unit} (line: claimed)", color=INKS.faint, fontsize=8.5)
        above = (0, 1.0)
        axes.legend(loc="lower left", bbox_to_anchor=above, ncols=3, frameon=False, fontsize=7.5, labelcolor=INKS.ink)

    return picture(draw, f"The claim {judged.name}: {label}", 8.6, 3.6, now)
