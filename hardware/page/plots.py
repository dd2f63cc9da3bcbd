"""Plots as PNG data URIs, each in a light and a dark version. Without pyplot: no global figure, no window."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from neurotarget.hardware.counts.summary import Layer
from neurotarget.hardware.energy.beside import NetworkRow
from neurotarget.hardware.energy.break_even import Curve
from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.hardware.energy.judgement import ClaimRow, JudgedClaim
from neurotarget.hardware.energy.memory import MemoryLayer

from neurotarget.figures import prefixed

DPI = 144


@dataclass(frozen=True)
class Theme:
    """Colours of a plot; the page's style sheet has the same."""

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    spiking: str
    multiply: str
    dense: str


LIGHT = Theme("light", "#ffffff", "#1f2733", "#5b6675", "#e3e7ec", "#0f766e", "#b45309", "#cfd6df")
DARK = Theme("dark", "#171b21", "#e4e8ee", "#9aa5b4", "#2c333d", "#2dd4bf", "#f59e0b", "#3d4754")
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class Picture:
    """One plot: a data URI for each theme, and the text that stands for it."""

    light: str
    dark: str
    alt: str
    width: int
    height: int


def _figure(theme: Theme, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor(theme.paper)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.grid)
    axes.tick_params(colors=theme.faint, labelsize=8, length=0)
    axes.xaxis.label.set_color(theme.faint)
    axes.xaxis.label.set_fontsize(8.5)
    axes.grid(axis="x", color=theme.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def picture(draw: Callable[[Axes, Theme], None], alt: str, width: float, height: float) -> Picture:
    """A plot in both themes; `draw` gets the axes and the theme, width and height are inches."""

    def themed(theme: Theme) -> str:
        return _uri(png(lambda axes: draw(axes, theme), width, height, theme))

    light, dark = (themed(theme) for theme in THEMES)
    return Picture(light, dark, alt, round(width * 96), round(height * 96))


def _uri(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


def png(draw: Callable[[Axes], None], width: float, height: float, theme: Theme = LIGHT) -> bytes:
    """One plot as a PNG file's content."""
    with matplotlib.rc_context({"font.family": "sans-serif", "svg.fonttype": "none"}):
        figure, axes = _figure(theme, width, height)
        draw(axes)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", facecolor=theme.paper)
    return stream.getvalue()


def _legend(axes: Axes, theme: Theme) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=4,
        frameon=False,
        fontsize=8,
        labelcolor=theme.ink,
        borderpad=0.2,
    )


def operations(layers: Sequence[Layer]) -> Picture:
    """Synaptic operations of each layer, additions and multiplications apart, before the layer computed densely."""
    shown = [layer for layer in layers if layer.dense_macs or layer.synops]
    height = 1.1 + 0.27 * max(len(shown), 1)

    def draw(axes: Axes, theme: Theme) -> None:
        rows = np.arange(len(shown))
        acs, macs, dense = (
            np.array([getattr(layer, key) for layer in shown], float) for key in ("acs", "macs", "dense_macs")
        )
        axes.barh(rows, dense, height=0.78, color=theme.dense, label="dense MACs, not spiking")
        axes.barh(rows, acs, height=0.42, color=theme.spiking, label="AC: add a weight")
        axes.barh(rows, macs, left=acs, height=0.42, color=theme.multiply, label="MAC: multiply and add")
        axes.set_yticks(rows, [layer.name for layer in shown])
        axes.tick_params(axis="y", labelcolor=theme.ink)
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.xaxis.set_major_formatter(lambda value, _: prefixed(value))
        axes.set_xlabel("operations per sample (counted)")
        _legend(axes, theme)

    return picture(draw, "Operations of each layer beside the dense MACs of the same layer", 8.6, height)


def raster(spikes: Mapping[str, np.ndarray], length: int) -> Picture:
    """Every spike of one utterance: spiking -> [steps, *neurons]."""
    flat = {name: array[:length].reshape(length, -1) for name, array in spikes.items()}
    total = sum(array.shape[1] for array in flat.values())
    height = float(np.clip(1.2 + 0.32 * len(flat), 3.0, 9.0))

    def draw(axes: Axes, theme: Theme) -> None:
        start, ticks = 0, []
        for index, array in enumerate(flat.values()):
            # An image and not dots: where rows are finer than pixels, shade shows how many of them spike.
            colour = theme.spiking if index % 2 == 0 else theme.multiply
            axes.imshow(
                array.T != 0,
                cmap=ListedColormap([theme.paper, colour]),
                vmin=0,
                vmax=1,
                aspect="auto",
                extent=(-0.5, length - 0.5, start + array.shape[1], start),
                interpolation_stage="rgba",
            )
            ticks.append(start + array.shape[1] / 2)
            start += array.shape[1]
            axes.axhline(start, color=theme.grid, linewidth=0.6)
        axes.set_yticks(ticks, list(flat))
        axes.tick_params(axis="y", labelcolor=theme.ink, labelsize=7)
        axes.set_xlim(-0.5, max(length - 0.5, 0.5))
        axes.set_ylim(max(total, 1), 0)
        axes.grid(visible=False)
        axes.set_xlabel("step of the utterance")

    return picture(draw, f"Spikes of {total} neurons over {length} steps of one utterance", 8.6, height)


def energy(figures: Sequence[EnergyFigure]) -> Picture:
    """Energy per inference by table, spiking and not, on a logarithmic axis."""
    shown = [row for row in figures if row.snn_uj or row.ann_uj]

    def draw(axes: Axes, theme: Theme) -> None:
        for row, figure in enumerate(shown):
            if figure.snn_uj and figure.ann_uj:
                ends = sorted((figure.snn_uj, figure.ann_uj))
                axes.plot(ends, [row, row], color=theme.dense, linewidth=3, solid_capstyle="round", zorder=2)
        for energies, colour, marker, label in (
            ([figure.ann_uj for figure in shown], theme.multiply, "D", "not spiking, dense"),
            ([figure.snn_uj for figure in shown], theme.spiking, "o", "spiking"),
        ):
            points = np.array([(uj, row) for row, uj in enumerate(energies) if uj]).reshape(-1, 2)
            axes.scatter(points[:, 0], points[:, 1], color=colour, marker=marker, s=34, label=label, zorder=3)
        if shown:  # a logarithmic axis without a point cannot be drawn
            axes.set_xscale("log")
        names = [f"{figure.title} (does not fit)" if figure.reservation else figure.title for figure in shown]
        axes.set_yticks(range(len(shown)), names)
        axes.tick_params(axis="y", labelcolor=theme.ink)
        for row in range(1, len(shown)):
            if shown[row].group != shown[row - 1].group:
                axes.axhline(row - 0.5, color=theme.grid, linewidth=0.9)
        axes.invert_yaxis()
        axes.margins(y=0.03)
        axes.set_xlabel("microjoule per inference (estimated, logarithmic)")
        _legend(axes, theme)

    alt = "Energy per inference under each price table, spiking network and dense network"
    return picture(draw, alt, 8.6, 1.1 + 0.29 * max(len(shown), 1))


def networks(rows: Sequence[NetworkRow]) -> Picture:
    """Energy per inference of several networks by table, a mark per network, on a logarithmic axis."""
    files = [Path(row.model) for row in rows]
    one_folder = len({file.parent for file in files}) == 1
    names = [f"{n} {file.stem if one_folder else file.parent.name}" for n, file in enumerate(files, 1)]
    titles = list(dict.fromkeys(figure.title for row in rows for figure in row.energy if figure.snn_uj))

    def draw(axes: Axes, theme: Theme) -> None:
        for index, (row, name) in enumerate(zip(rows, names, strict=True)):
            points = [(figure.snn_uj, titles.index(figure.title)) for figure in row.energy if figure.snn_uj]
            colour = (theme.spiking, theme.multiply, theme.faint)[index % 3]
            x, y = np.array(points).reshape(-1, 2).T
            axes.scatter(x, y, color=colour, marker="oDs^vP"[index % 6], s=34, label=name, zorder=3)
        if titles:
            axes.set_xscale("log")
        axes.set_yticks(range(len(titles)), titles)
        axes.tick_params(axis="y", labelcolor=theme.ink)
        axes.invert_yaxis()
        axes.margins(y=0.03)
        axes.set_xlabel("microjoule per inference (estimated, logarithmic)")
        _legend(axes, theme)

    return picture(draw, f"Energy of {', '.join(names)} under each price table", 8.6, 1.2 + 0.29 * max(len(titles), 1))


def break_even(curves: Sequence[Curve], spike_rate: float) -> Picture:
    """Energy of the spiking network as a share of the dense one's, over the mean spike rate, both logarithmic."""
    styles = ("-", "--", "-.", ":")

    def draw(axes: Axes, theme: Theme) -> None:
        rates = spike_rate * np.logspace(-1.5, 2.5, 200)
        rates = rates[rates <= 1]
        axes.axhspan(1, 1e6, color=theme.grid, alpha=0.45, linewidth=0)
        axes.axhline(1, color=theme.faint, linewidth=1)
        axes.axvline(spike_rate, color=theme.faint, linewidth=1, linestyle=(0, (2, 3)))
        top, bottom = 2.0, 0.5
        for index, curve in enumerate(curves):
            share = curve.fixed + curve.scaling * rates / spike_rate
            colour = {"machines": theme.multiply, "memory": theme.ink}.get(curve.boundary, theme.spiking)
            axes.plot(rates, share, color=colour, linestyle=styles[index % 4], linewidth=1.7, label=curve.label)
            now = curve.fixed + curve.scaling
            axes.plot([spike_rate], [now], marker="o", color=colour, markersize=4.5)
            top, bottom = max(top, float(share.max())), min(bottom, float(share.min()))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom / 1.5, top * 1.5)
        axes.grid(axis="y", color=theme.grid, linewidth=0.7)
        axes.set_xlabel("mean spike rate, spikes per neuron and step (dotted: this run)")
        axes.set_ylabel("spiking / dense energy", color=theme.faint, fontsize=8.5)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=8, labelcolor=theme.ink)

    return picture(draw, "Energy of the spiking network relative to the dense one over the spike rate", 8.6, 4.6)


def waterfall(layers: Sequence[MemoryLayer], most_uj: float) -> Picture:
    """Energy of each layer, from where the one before ends, split into accesses, neurons and operations.

    Args:
        most_uj: where the axis ends, so that pictures of several prices can be compared.
    """
    shown = [layer for layer in layers if layer.total_uj > 0]

    def draw(axes: Axes, theme: Theme) -> None:
        start = np.concatenate([[0.0], np.cumsum([layer.total_uj for layer in shown])])
        left = start[:-1].copy()
        rows = np.arange(len(shown))
        operations = [layer.operations_uj + layer.addressing_uj for layer in shown]
        for label, values, colour in (
            ("accesses", [layer.accesses_uj for layer in shown], theme.spiking),
            ("neuron updates", [layer.neurons_uj for layer in shown], theme.multiply),
            ("operations and addresses", operations, theme.faint),
        ):
            axes.barh(rows, values, left=left, height=0.62, color=colour, label=label)
            left += values
        for row in rows[:-1]:
            axes.plot([start[row + 1]] * 2, [row - 0.31, row + 1.31], color=theme.grid, linewidth=0.8, zorder=1)
        axes.set_yticks(rows, [layer.name for layer in shown])
        axes.tick_params(axis="y", labelcolor=theme.ink)
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.set_xlim(0, 1.02 * most_uj)
        axes.set_xlabel("microjoule per inference (estimated)")
        _legend(axes, theme)

    return picture(draw, "Energy with memory included, layer after layer", 8.6, 1.1 + 0.21 * max(len(shown), 1))


CURVES = 8


def claim(judged: JudgedClaim) -> Picture:
    """What a claim compares, over the spike rate of its subject, one curve per price table; the line is the claim."""
    rate = judged.spike_rate or 0.0
    rows = [row for row in judged.rows if row.scaling > 0]
    rates = np.minimum(rate * np.logspace(-1.5, 2, 160), 1.0)

    def value(row: ClaimRow) -> np.ndarray:
        found: np.ndarray = row.fixed + row.scaling * rates / rate
        return found

    label = "mean spike rate, spikes per neuron and step (dotted: this run)"
    return _claimed(judged, rows, rates, rate, value, label)


def claim_steps(judged: JudgedClaim) -> Picture:
    """The same over the number of steps of the subject, where the other side does not grow with them."""
    now = judged.steps
    rows = [row for row in judged.rows if row.break_even_steps]
    steps = now * np.logspace(-1.5, 1.5, 80)

    def value(row: ClaimRow) -> np.ndarray:
        found: np.ndarray = (row.value or 0.0) * steps / now
        return found

    return _claimed(judged, rows, steps, now, value, "steps of an utterance (dotted: this run)")


def _claimed(
    judged: JudgedClaim,
    rows: Sequence[ClaimRow],
    at: np.ndarray,
    now: float,
    value: Callable[[ClaimRow], np.ndarray],
    label: str,
) -> Picture:
    def draw(axes: Axes, theme: Theme) -> None:
        for index, row in enumerate(rows[:CURVES]):  # estimates: each has a value
            colour = theme.spiking if row.answer == "holds" else theme.multiply
            style = ("-", "--", "-.", ":")[index % 4]
            axes.plot(at, value(row), color=colour, linestyle=style, linewidth=1.5, label=row.table)
            axes.plot([now], [row.value or 0.0], marker="o", color=colour, markersize=4.5)
        axes.axhline(judged.value, color=theme.ink, linewidth=1)
        axes.axvline(now, color=theme.faint, linewidth=1, linestyle=(0, (2, 3)))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(label)
        unit = "microjoule" if judged.unit == "uJ" else "ratio"
        axes.set_ylabel(f"{unit} (line: claimed)", color=theme.faint, fontsize=8.5)
        above = (0, 1.0)
        axes.legend(loc="lower left", bbox_to_anchor=above, ncols=3, frameon=False, fontsize=7.5, labelcolor=theme.ink)

    return picture(draw, f"The claim {judged.name}: {label}", 8.6, 3.6)
