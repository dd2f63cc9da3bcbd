"""Where marks and bars lie on the page, in per cent of their track: HTML draws them, sharp at every width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from neurotarget.hardware.counts.summary import Layer
from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.hardware.energy.memory import MemoryLayer

from neurotarget.figures import rounded


@dataclass(frozen=True)
class Decades:
    """A logarithmic axis over whole powers of ten, `10**first` to `10**last`."""

    first: int
    last: int

    @classmethod
    def around(cls, values: Iterable[float | None]) -> Decades:
        """The shortest axis that holds all values above 0."""
        exponents = [math.log10(value) for value in values if value]
        first = math.floor(min(exponents, default=0.0))
        return cls(first, max(math.ceil(max(exponents, default=1.0)), first + 1))

    @classmethod
    def of(cls, figures: Iterable[EnergyFigure]) -> Decades:
        """The axis of both networks' energies in microjoule."""
        return cls.around(value for figure in figures for value in (figure.snn_uj, figure.ann_uj))

    @property
    def count(self) -> int:
        return self.last - self.first

    @property
    def ends(self) -> str:
        """Both ends in figures."""
        return f"{rounded(10.0**self.first)} to {rounded(10.0**self.last)}"

    def at(self, value: float) -> float:
        """Where a value lies, in per cent."""
        return 100 * (math.log10(value) - self.first) / self.count


@dataclass(frozen=True)
class Bar:
    """A part of a bar.

    Attributes:
        kind: CSS class, which has its colour.
        left, width: in per cent of the track.
        text: its name and value, for whoever points at it.
    """

    kind: str
    left: float
    width: float
    text: str


@dataclass(frozen=True)
class Fall:
    """A layer of a waterfall; its bar starts where that of the layer before ends."""

    layer: MemoryLayer
    share: float
    bars: tuple[Bar, ...]


def waterfall(layers: Sequence[MemoryLayer], most_uj: float) -> Iterator[Fall]:
    """One row for each layer that takes any energy.

    Args:
        most_uj: at the end of the track, so that pictures of several prices can be compared.
    """
    total, start = sum(layer.total_uj for layer in layers), 0.0
    for layer in layers:
        if layer.total_uj <= 0:
            continue
        bars = []
        for kind, name, energy_uj in (
            ("accesses", "accesses", layer.accesses_uj),
            ("updates", "neuron updates", layer.neurons_uj),
            ("operations", "operations and addresses", layer.operations_uj + layer.addressing_uj),
        ):
            width = 100 * energy_uj / most_uj
            bars.append(Bar(kind, start, width, f"{name}: {rounded(energy_uj)} µJ"))
            start += width
        yield Fall(layer, layer.total_uj / total, tuple(bars))


def operations(layer: Layer, most: float) -> tuple[Bar, ...]:
    """Additions and multiplications of a layer over the pale bar of the same layer computed densely."""
    scale = 100 / (most or 1.0)
    return (
        Bar("without-sparsity", 0.0, scale * layer.dense_macs, f"dense MACs: {rounded(layer.dense_macs)}"),
        Bar("accesses", 0.0, scale * layer.acs, f"ACs: {rounded(layer.acs)}"),
        Bar("updates", scale * layer.acs, scale * layer.macs, f"MACs: {rounded(layer.macs)}"),
    )
