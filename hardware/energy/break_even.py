"""Where the answer flips: the energy of the spiking network relative to the dense one, over its spike rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurotarget.hardware.energy.figure import EnergyFigure, dense_on_gpu


@dataclass(frozen=True)
class Curve:
    """Energy of the spiking network as a share of the dense one's: `fixed + scaling * rate / present rate`."""

    label: str
    boundary: str
    fixed: float
    scaling: float


def break_even_curves(figures: Sequence[EnergyFigure]) -> list[Curve]:
    """One curve for each table that prices both networks (so one for each price of an access), and Loihi 1 against the
    lowest and the highest GPU estimate (boundary `machines`)."""
    curves = [_curve(row.title, row, row.ann_uj, row.boundary) for row in figures if row.ratio is not None]
    chip = next((row for row in figures if row.table == "loihi1-davies2018" and row.snn_uj), None)
    gpus = sorted((row for row in dense_on_gpu(figures) if row.ann_uj), key=lambda row: row.ann_uj or 0.0)
    if chip is not None and gpus:
        curves += [_curve(f"Loihi 1 against {gpu.title}", chip, gpu.ann_uj, "machines") for gpu in (gpus[0], gpus[-1])]
    return curves


def _curve(label: str, row: EnergyFigure, dense_uj: float | None, boundary: str) -> Curve:
    synapses, neurons, traffic = row.snn_synapses_uj, row.snn_neurons_uj, row.snn_traffic_uj
    assert dense_uj and synapses is not None and neurons is not None and traffic is not None
    return Curve(label, boundary, neurons / dense_uj, (synapses + traffic) / dense_uj)
