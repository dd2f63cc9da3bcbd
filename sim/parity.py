"""The comparison of two runs of one network, spike for spike.

Quantised networks: every integer is equal, spikes and outputs, and with `--states` u and v; nothing is forgiven.
The rule for float paths, in double precision: outputs agree to 1e-9 and no spike differs at any node, step or neuron.
Where one differs, the first divergence is named. A tie is a neuron whose potential lies within 1e-7 of its threshold:
there the order of a sum may decide. A tie that flips is counted as one, and so is everything that follows from it in
that sample, but nothing else is forgiven.

Equality proves nothing about silence: where nothing fires on either side the two are not tested, whatever is equal, and
so is each node that never fires.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from neurotarget.sim import reference
from neurotarget.sim.activity import Activity, Fired, activity
from neurotarget.sim.graph import Graph, dialect
from neurotarget.sim.trace import Trace, TraceError

TIE = 1e-7
OUTPUT_TOLERANCE = 1e-9

# What a comparison says of its two sides.
HOLDS, DIFFERS, NOT_TESTED = "holds", "differs", "not tested"


@dataclasses.dataclass(frozen=True)
class Divergence:
    """Where two runs first part: the earliest step of a sample, and the first node in the order of the network."""

    sample: int
    node: str
    step: int
    neuron: int
    values: tuple[int, int]
    distance: float  # |v - theta| of the first side's network at that point, in double precision

    def __str__(self) -> str:
        a, b = self.values
        return (
            f"sample {self.sample}, node {self.node}, step {self.step}, neuron {self.neuron}: {a} against {b}, "
            f"|v - theta| = {self.distance:.3g}"
        )


@dataclasses.dataclass(frozen=True)
class Parity:
    """Outcome of a comparison.

    Attributes:
        sides: what was compared with what.
        samples, steps: compared samples and the steps of their windows.
        spikes: spikes of the first side.
        mismatched: (node, step, neuron) places whose spikes differ.
        near_threshold: those of them in samples whose first divergence is a tie.
        output_difference: largest absolute difference of the outputs in samples without a mismatch.
        first_divergence: of the first sample that differs, ties included.
        exact: integers, where outputs must be equal and no tie exists.
        untested: why equality would prove nothing: nothing fired, or nothing can fire and every output is 0; None where
            something fired, or gave an output without being able to fire.
        activity: of both sides: what never fires on either was not tested.
        states, states_mismatched: numbers u and v that were compared; those that differ.
        first_state: the first of these, in the order of the network.
    """

    sides: str
    samples: int
    steps: int
    spikes: int
    mismatched: int
    near_threshold: int
    output_difference: float
    first_divergence: Divergence | None
    exact: bool
    untested: str | None
    activity: Activity
    states: int = 0
    states_mismatched: int = 0
    first_state: str | None = None

    @property
    def outcome(self) -> str:
        """`holds`, `differs`, or `not tested` where nothing differs and nothing could."""
        tolerance = 0.0 if self.exact else OUTPUT_TOLERANCE
        spikes_hold = self.mismatched == self.near_threshold and not self.states_mismatched
        if not spikes_hold or self.output_difference > tolerance:
            return DIFFERS
        return NOT_TESTED if self.untested else HOLDS

    @property
    def holds(self) -> bool:
        """Whether the two are the same network, as far as anything fired."""
        return self.outcome == HOLDS

    def gaps(self) -> Iterator[str]:
        """Sentences that name the nodes about which the outcome says nothing, or little."""
        return self.activity.sentences("not tested there, because they never fire")

    def as_dict(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        return values | {
            **values.pop("activity"),
            "first_divergence": str(self.first_divergence) if self.first_divergence else None,
            "outcome": self.outcome,
            "holds": self.holds,
        }


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a comparison found on some samples; of two parts of a run, the sum is what it found on both.

    Attributes:
        fired: of the first and of the second side.
        output: whether any output of either side is not 0.
        Others as of `Parity`.
    """

    sides: str
    samples: int
    steps: int
    mismatched: int
    near_threshold: int
    output_difference: float
    first_divergence: Divergence | None
    fired: tuple[Fired, Fired]
    output: bool

    def __add__(self, other: Compared) -> Compared:
        later = other.first_divergence
        if later is not None:
            later = dataclasses.replace(later, sample=later.sample + self.samples)
        return Compared(
            sides=self.sides,
            samples=self.samples + other.samples,
            steps=self.steps + other.steps,
            mismatched=self.mismatched + other.mismatched,
            near_threshold=self.near_threshold + other.near_threshold,
            output_difference=max(self.output_difference, other.output_difference),
            first_divergence=self.first_divergence or later,
            fired=(self.fired[0] + other.fired[0], self.fired[1] + other.fired[1]),
            output=self.output or other.output,
        )

    def parity(self, graph: Graph) -> Parity:
        """The outcome over all samples."""
        fired = activity(graph, *self.fired)
        untested = "nothing fired" if fired.silent else None
        if not self.fired[0].spikes and not self.output:
            untested = "nothing can fire, and every output is 0"
        return Parity(
            sides=self.sides,
            samples=self.samples,
            steps=self.steps,
            spikes=sum(self.fired[0].spikes.values()),
            mismatched=self.mismatched,
            near_threshold=self.near_threshold,
            output_difference=self.output_difference,
            first_divergence=self.first_divergence,
            exact=graph.quantised,
            untested=untested,
            activity=fired,
        )


def compare(graph: Graph, a: Trace, b: Trace, nodes: Collection[str] | None = None) -> Parity:
    """Compares two runs of `graph` on the same samples.

    Args:
        nodes: spiking nodes to compare; all when left out.

    Raises:
        TraceError: the runs hold other samples, lengths or nodes.
    """
    return compare_part(graph, a, b, nodes).parity(graph)


def compare_part(graph: Graph, a: Trace, b: Trace, nodes: Collection[str] | None = None) -> Compared:
    """As `compare`, of a part of the samples."""
    sides = " against ".join(f"{t.header.get('backend', '?')} {t.header.get('precision', '')}".strip() for t in (a, b))
    names = [node.name for node in graph.spiking if nodes is None or node.name in nodes]
    for trace in (a, b):
        if missing := [name for name in names if name not in trace.spikes]:
            raise TraceError(f"{sides}: no spikes of {', '.join(missing)}; both sides must record every spiking node")
    if a.input.shape != b.input.shape or not np.array_equal(a.lengths, b.lengths):
        raise TraceError(f"{sides}: the two runs hold different samples ({a.input.shape}, {b.input.shape})")
    mismatched = near_threshold = 0
    difference, first = 0.0, None
    for sample in range(a.samples):
        differs = {name: a.spikes[name][sample] != b.spikes[name][sample] for name in names}
        count = sum(int(d.sum()) for d in differs.values())
        if not count:
            outputs = a.output[sample], b.output[sample]
            difference = max(difference, float(np.abs(outputs[0] - outputs[1]).max(initial=0.0)))
            continue
        divergence = _first(graph, a, b, sample, differs)
        mismatched += count
        # Of integers, v may equal theta: no order of a sum can move it, so nothing is a tie.
        near_threshold += count if divergence.distance < TIE and not graph.quantised else 0
        first = first or divergence
    one, other = (dataclasses.replace(side, spikes={name: side.spikes[name] for name in names}) for side in (a, b))
    return Compared(
        sides=sides,
        samples=a.samples,
        steps=a.sample_steps,
        mismatched=mismatched,
        near_threshold=near_threshold,
        output_difference=difference,
        first_divergence=first,
        fired=(Fired.of(one), Fired.of(other)),
        output=bool(a.output.any() or b.output.any()),
    )


def _first(graph: Graph, a: Trace, b: Trace, sample: int, differs: dict[str, np.ndarray]) -> Divergence:
    """The node whose spikes part first in the order of computation, at its first step.

    Nodes run in order over whole utterances, so the first differing node has equal inputs on both sides.
    """
    name = next(name for name, d in differs.items() if d.any())
    component = next(c for c in graph.components if name in c)
    if len(component) > 1:  # inside a loop the earliest step comes first
        candidates = [n for n in component if n in differs and differs[n].any()]
        name = min(candidates, key=lambda n: int(np.argmax(differs[n].reshape(len(differs[n]), -1).any(axis=1))))
    place = np.argwhere(differs[name])[0]
    v = reference.potentials(graph, a.input[sample : sample + 1], a.lengths[sample : sample + 1], [name])[name][0]
    neuron = tuple(place[1:])
    parameters = graph.nodes[name].parameters
    threshold = parameters.get("v_threshold", parameters.get("threshold"))
    if graph.rule == dialect.RULE_REACHES:
        threshold = np.nextafter(threshold, np.inf)
    distance = abs(float(v[tuple(place)]) - float(np.broadcast_to(threshold, v.shape[1:])[neuron]))
    values = int(a.spikes[name][sample][tuple(place)]), int(b.spikes[name][sample][tuple(place)])
    flat = int(np.ravel_multi_index(neuron, v.shape[1:]))
    return Divergence(sample, name, int(place[0]), flat, values, distance)


States = Mapping[str, tuple[np.ndarray, np.ndarray]]


def compare_states(parity: Parity, graph: Graph, a: States, b: States) -> Parity:
    """Adds the comparison of u and v before the reset, [samples, steps, *neurons] each by neuron, to a parity."""
    compared = mismatched = 0
    first = None
    for name in (name for name in graph.nodes if name in a):
        for what, x, y in zip(("u", "v"), a[name], b[name], strict=True):
            places = np.argwhere(x != y)
            compared, mismatched = compared + parity.steps * graph.nodes[name].neurons, mismatched + len(places)
            if len(places) and first is None:
                place = tuple(places[0])
                neuron = int(np.ravel_multi_index(place[2:], x.shape[2:]))
                first = (
                    f"sample {place[0]}, node {name}, step {place[1]}, neuron {neuron}: "
                    f"{what} = {x[place]} against {y[place]}"
                )
    return dataclasses.replace(parity, states=compared, states_mismatched=mismatched, first_state=first)
