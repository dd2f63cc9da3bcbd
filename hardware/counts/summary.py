"""Counts as a report shows them: means over the samples, totals, and where the verdict would flip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.energy.operations import EnergyFigure
from neurotarget.sim.graph.kinds import STATEFUL

PER_SAMPLE = (
    "events",
    "payload_sum",
    "synops",
    "acs",
    "macs",
    "unit_synops",
    "unary_synops",
    "dense_macs",
    "biases",
    "neuron_updates",
    "active_updates",
    "spikes",
    "messages",
)
STATIC = ("name", "kind", "neurons", "fan_in", "fan_out", "payload", "synapses", "parameters", "state")


def layer_row(layer: LayerCount) -> dict[str, Any]:
    """One layer of `report.json`: static figures, counts as means over the samples, spike rate."""
    row: dict[str, Any] = {key: getattr(layer, key) for key in STATIC}
    for key in PER_SAMPLE:
        value = getattr(layer, key)
        row[key] = None if value is None else value / max(layer.samples, 1)
    row["spike_rate"] = layer.spike_rate
    return row


def totals_row(counts: Sequence[LayerCount]) -> dict[str, Any]:
    """Sums over the layers, means over the samples.

    `density` is synops / dense_macs; `spike_rate` is spikes a neuron and step; `proxy_ops` is the power proxy of the
    Intel N-DNS challenge, SynOPS + 10 * NeuronOPS.
    """
    samples = max((layer.samples for layer in counts), default=1) or 1
    fields = ("events", "synops", "acs", "macs", "dense_macs", "biases", "neuron_updates", "active_updates", "messages")
    row: dict[str, Any] = {key: sum(getattr(layer, key) for layer in counts) / samples for key in fields}
    stateful = [layer for layer in counts if layer.kind in STATEFUL]
    spiking = [layer for layer in counts if layer.spikes is not None]
    row["neurons"] = sum(layer.neurons for layer in stateful)
    row["spikes"] = sum(layer.spikes or 0 for layer in spiking) / samples
    updates = sum(layer.neuron_updates for layer in spiking)
    row["spike_rate"] = row["spikes"] * samples / updates if updates else None
    row["synapses"] = sum(layer.synapses for layer in counts)
    row["parameters"] = sum(layer.parameters for layer in counts)
    row["state"] = sum(layer.state for layer in counts)
    row["density"] = row["synops"] / row["dense_macs"] if row["dense_macs"] else None
    row["synops_per_synapse"] = row["synops"] / row["synapses"] if row["synapses"] else None
    row["proxy_ops"] = row["synops"] + 10 * row["neuron_updates"]
    row["samples"] = samples
    row["steps_per_sample"] = max((layer.sample_steps for layer in counts), default=0) / samples
    return row


def break_even_activity(figure: EnergyFigure) -> float | None:
    """Factor on all event counts at which both networks take the same energy; None where it is not defined.

    Synapses and traffic scale with the events, neuron updates do not: a = (ann - neurons) / (synapses + traffic). A
    factor below 0 means that the neuron updates alone cost more than the whole other network.
    """
    if figure.ann_uj is None or figure.snn_synapses_uj is None:
        return None
    scaling = figure.snn_synapses_uj + (figure.snn_traffic_uj or 0.0)
    return (figure.ann_uj - (figure.snn_neurons_uj or 0.0)) / scaling if scaling else None


def energy_row(figure: EnergyFigure, spike_rate: float | None) -> dict[str, Any]:
    """One entry of `energy` in `report.json`, with the break-even spike rate."""
    row = figure.as_dict()
    factor = break_even_activity(figure)
    row["break_even_activity"] = factor
    # Steps that the spiking network may take for one pass of the dense one, at this spike rate.
    row["break_even_steps"] = figure.ratio
    row["break_even_spike_rate"] = None if factor is None or spike_rate is None else max(factor, 0.0) * spike_rate
    return row


def break_even_curves(energy: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Energy of the spiking network as a share of the dense one's: `label`, `boundary`, `fixed`, `scaling`.

    One curve for each table that prices both networks (so one for each price of an access), and Loihi 1 against the
    lowest and the highest GPU estimate (boundary `machines`).
    """
    pairs = [(row["title"], row, row["ann_uj"], row["boundary"]) for row in energy if row["ratio"] is not None]
    chip = next((row for row in energy if row["table"] == "loihi1-davies2018" and row["snn_uj"]), None)
    gpus = [row for row in energy if row["group"] == "GPU floor" and row["boundary"] == "operations" and row["ann_uj"]]
    gpus.sort(key=lambda row: float(row["ann_uj"]))
    if chip is not None and gpus:
        ends = (gpus[0], gpus[-1])
        pairs += [(f"Loihi 1 against {gpu['title']}", chip, gpu["ann_uj"], "machines") for gpu in ends]
    return [
        {
            "label": label,
            "boundary": boundary,
            "fixed": row["snn_neurons_uj"] / dense,
            "scaling": (row["snn_synapses_uj"] + row["snn_traffic_uj"]) / dense,
        }
        for label, row, dense, boundary in pairs
        if dense
    ]
