"""Other networks beside the one that is reported, counted and priced in the same way: a row per network.

A delay network, a student with fewer steps or another backbone is judged against what it would replace. Each runs on
its own input, because fewer steps are other frames of the same utterances.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurotarget.hardware.energy.judgement import PricedRun


@dataclass(frozen=True)
class NetworkEnergy:
    """Energy of a network per inference under one price table.

    Attributes:
        table, title, boundary: of the price.
        snn_uj: of the spiking network.
        kind: `estimated`.
        grade: of the prices.
    """

    table: str
    title: str
    boundary: str
    snn_uj: float
    kind: str
    grade: str


@dataclass(frozen=True)
class NetworkRow:
    """One network, the report's own first; there are none without `--beside`.

    Attributes:
        model, input: NIR file and what it ran on.
        accuracy: share of samples classified right; `null` without labels.
        samples, steps_per_sample, neurons, parameters, synops, acs, macs, dense_macs: as in totals.
        neuron_updates, messages, spike_rate: as in totals.
        energy: under each table that prices a spiking network.
    """

    model: str
    input: str
    accuracy: float | None
    samples: int
    steps_per_sample: float
    neurons: int
    parameters: int
    synops: float
    acs: float
    macs: float
    dense_macs: float
    neuron_updates: float
    messages: float
    spike_rate: float | None
    energy: tuple[NetworkEnergy, ...]


def network_row(model: Path, spec: str, run: PricedRun) -> NetworkRow:
    """The row of a network that ran on an input."""
    totals = run.totals
    return NetworkRow(
        model=str(model),
        input=spec,
        accuracy=run.accuracy,
        samples=totals.samples,
        steps_per_sample=totals.steps_per_sample,
        neurons=totals.neurons,
        parameters=totals.parameters,
        synops=totals.synops,
        acs=totals.acs,
        macs=totals.macs,
        dense_macs=totals.dense_macs,
        neuron_updates=totals.neuron_updates,
        messages=totals.messages,
        spike_rate=totals.spike_rate,
        energy=tuple(
            NetworkEnergy(row.table, row.title, row.boundary, row.snn_uj, row.kind, row.grade)
            for row in run.energy
            if row.snn_uj is not None
        ),
    )
