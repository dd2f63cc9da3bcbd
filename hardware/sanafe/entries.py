"""The input as neurons that fire: one per channel and number that arrives on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neurotarget.hardware.chips.populations import neuron_order
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.node import Node
from neurotarget.sim.trace import Trace

LARGEST_PAYLOADS = 16


@dataclass(frozen=True, eq=False)
class Entry:
    """What enters the chip at one input.

    Attributes:
        channel: int64 [neurons], the channel of each neuron, in the order of placement.
        payload: float64 [neurons], the number that it stands for; all 1 where `graded` says that there were too many.
        events: bool [samples, steps, neurons].
        graded: why no reader can be computed from it, in words; None where one can.
    """

    channel: np.ndarray
    payload: np.ndarray
    events: np.ndarray
    graded: str | None

    @property
    def unit(self) -> bool:
        """Whether it carries ones alone."""
        return self.graded is None and bool(np.all(self.payload == 1))

    def spread(
        self, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Links that start at channels, as links that start at neurons, each weight times its number."""
        by_channel = np.argsort(self.channel, kind="stable")
        first = np.searchsorted(self.channel[by_channel], rows)
        count = np.searchsorted(self.channel[by_channel], rows, side="right") - first
        link = np.repeat(np.arange(len(rows)), count)
        place = np.arange(len(link)) - np.repeat(np.cumsum(count) - count, count)
        neuron = by_channel[first[link] + place]
        return neuron, columns[link], weights[link] * self.payload[neuron]


def entry(graph: Graph, node: Node, trace: Trace) -> Entry:
    """What entered at an input, or a part of one, in a run."""
    values = _values(graph, node, trace)
    found = np.unique(values[values != 0])
    whole = np.array_equal(values, np.rint(values))
    if not whole or len(found) > LARGEST_PAYLOADS:
        graded = f"the input carries {'real numbers' if not whole else f'{len(found)} different numbers'}"
        channel = np.arange(values.shape[-1])
        return Entry(channel, np.ones(len(channel)), values != 0, graded)
    pairs = [(channel, number) for number in found for channel in np.flatnonzero((values == number).any(axis=(0, 1)))]
    channel = np.array([pair[0] for pair in pairs], np.int64)
    payload = np.array([pair[1] for pair in pairs], np.float64)
    return Entry(channel, payload, values[:, :, channel] == payload, None)


def _values(graph: Graph, node: Node, trace: Trace) -> np.ndarray:
    """float64 [samples, steps, channels], channels in the order of placement; integers in a quantised file."""
    whole = trace.input.reshape(*trace.input.shape[:2], -1).astype(np.float64)
    if graph.quantised:
        fixed = {key: float(np.asarray(value).item()) for key, value in graph.fixed[graph.input.name].items()}
        whole = np.clip(np.rint(whole / fixed["scale"]), fixed["minimum"], fixed["maximum"])
    start = int(node.parameters["start"]) if node.kind == "input_part" else 0
    return whole[:, :, start : start + node.neurons][:, :, neuron_order(node)]
