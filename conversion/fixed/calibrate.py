"""Chooses the integers of each group of synapses by what they do to the spikes.

For a group (units.py) the inputs are what the float network's neurons sent on the calibration samples, so each choice
is judged on its own, not on the errors before it. A candidate is a largest weight: everything above is clipped, and the
smaller it is, the finer are the steps. Weights are rounded so that what one loses the others make up for, where inputs
go together (rounding.py). The candidate whose integer spikes differ least from the float network's wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from neurotarget.conversion.fixed import rounding
from neurotarget.conversion.fixed.choice import Candidate, Choice, Integers, WrapAround
from neurotarget.conversion.fixed.dynamics import Dynamics, dynamics
from neurotarget.conversion.fixed.grading import grading
from neurotarget.conversion.fixed.units import MAKERS, Group, inputs_of
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import Node
from neurotarget.sim.reference.integer import INTEGER, INTEGER_OPERATIONS, integer_parameters
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS, STATE_LIMIT
from neurotarget.sim.reference.operations import Call, State, summed
from neurotarget.sim.trace import Trace, in_window, masked, partial_window

CLIP_RATIOS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25)  # largest weight kept, of the largest there is
SPARE = 4  # calibration peaks of u and v stay below 2^23 by this factor: other speech may be louder
FINEST = {"rotary": 16, "attention": 10}  # bits below the spike; one bit less for each that the states cannot hold
FINEST_SYNAPSE, COARSEST = 4, -16
DAMPING = 0.01  # share of the mean of the diagonal that is added to a correlation, as in GPTQ


class Calibration:
    """The calibration samples, and what the float network made of them."""

    def __init__(self, graph: Graph, trace: Trace) -> None:
        self.graph, self.trace = graph, trace
        steps = trace.input.shape[1]
        self.mask = partial_window(trace.lengths, steps)
        self.integers = Integers()
        self.values: dict[str, np.ndarray] = {}
        self.spreads: dict[str, np.ndarray] = {}
        self.rounded: dict[tuple[str, float], rounding.Rounded] = {}
        self.integers.fixed[graph.input.name] = grading(trace.input, in_window(trace.lengths, steps))
        self.integers.nodes[graph.input.name] = graph.input

    # ---- units -------------------------------------------------------------------------------------------------------

    def unit(self, name: str) -> float:
        """Float value of one integer step of what `name` sends."""
        if name in self.integers.unit:
            return self.integers.unit[name]
        node = self.graph.nodes[name]
        if node.kind in SPIKING:
            return 1.0
        if node.kind == "input":
            return float(self.integers.fixed[name]["scale"])
        if node.kind in STATEFUL:  # sends v, which is 64 times finer than its current
            return dynamics(node, self.graph).gain * self.unit(node.sources[0]) / (1 << ALIGN_BITS)
        if node.kind == "gate":
            return self.unit(node.roles["current"][0]) * self.unit(node.roles["gate"][0])
        share = np.prod(node.parameters["kernel_size"]) if node.kind == "avg_pool" else 1
        return self.unit(node.sources[0]) / float(share)

    # ---- integer values ----------------------------------------------------------------------------------------------

    def value(self, name: str) -> np.ndarray:
        """What `name` sends when its inputs are those of the float network: spikes as recorded, the rest integers."""
        if name not in self.values:
            node = self.graph.nodes[name]
            if node.kind in SPIKING:
                return self.trace.spikes[name]
            self.values[name] = self.apply(self.integer(name), self.integers.fixed.get(name, {}), self.values)[0]
        return self.values[name]

    def integer(self, name: str) -> Node:
        """The node with integer parameters; what only carries values stays, but that averages become sums."""
        if name in self.integers.nodes:
            return self.integers.nodes[name]
        node = self.graph.nodes[name]
        return replace(node, kind="sum_pool") if node.kind == "avg_pool" else node

    def total(
        self, node: Node, sources: tuple[str, ...], values: Mapping[str, np.ndarray] = MappingProxyType({})
    ) -> np.ndarray:
        """Sum of what `sources` send to `node`, from `values` where they are given; what loops back is a step late."""

        def present(source: str) -> np.ndarray:
            value = values[source] if source in values else self.value(source)
            if (source, node.name) not in self.graph.recurrent_edges:
                return value
            return np.concatenate([np.zeros_like(value[:, :1]), value[:, :-1]], axis=1)

        return summed((present(source) for source in sources), INTEGER)

    def apply(
        self, node: Node, fixed: Mapping[str, Any], values: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Output of one node, and the peaks of |u| and |v|, from `values` where they are given."""

        if node.kind == "input":
            gathered: Any = self.trace.input
        else:
            by_role = {role: self.total(node, sources, values) for role, sources in inputs_of(node).items()}
            gathered = by_role if node.roles else by_role[""]
        state: State = {}
        call = Call(node, integer_parameters(node, fixed), INTEGER, state, self.mask, {})
        out = INTEGER_OPERATIONS[node.kind](call, gathered)
        return masked(out, self.mask) if node.kind in SPIKING else out, state.get("peaks", np.zeros(2, INTEGER))

    # ---- one group ---------------------------------------------------------------------------------------------------

    def choose(self, group: Group) -> Choice:
        """Settles the integers of a group.

        Raises:
            WrapAround: no weight exponent keeps its neurons' states within 24 bits.
        """
        ratios = CLIP_RATIOS if self._weighted(group) and (group.neurons or group.outputs) else (1.0,)
        best = min((self._judged(group, ratio, compensate=True) for ratio in ratios), key=_merit)
        if self._weighted(group):
            best = min(best, self._judged(group, best[0].clip_ratio, compensate=False), key=_merit)
        choice, candidate = best
        self.spreads, self.rounded = {}, {}
        self.integers.nodes |= candidate.nodes
        self.integers.fixed |= candidate.fixed
        self.integers.unit |= dict.fromkeys(group.synapses, candidate.scale)
        self.integers.choices.append(choice)
        return choice

    def _weighted(self, group: Group) -> bool:
        return self.graph.nodes[group.synapses[0]].kind in SYNAPTIC

    def _judged(self, group: Group, ratio: float, compensate: bool) -> tuple[Choice, Candidate]:
        """The finest exponent whose states fit, and for it the better of two roundings of the threshold."""
        kind = self.graph.nodes[group.synapses[0]].kind
        finest = FINEST.get(kind, FINEST_SYNAPSE if group.neurons else 0)
        for exponent in range(finest, COARSEST - 1, -1):
            candidate = self._candidate(group, ratio, exponent, compensate, nearest=False)
            if not candidate.fits:
                continue
            choice = self._run(group, candidate)
            if self._reach(group, exponent, max(choice.peak_u, choice.peak_v)) >= STATE_LIMIT:
                continue
            if not self._weighted(group):
                return choice, candidate
            other = self._candidate(group, ratio, exponent, compensate, nearest=True)
            judged = self._run(group, other)
            return (judged, other) if judged.mismatched < choice.mismatched else (choice, candidate)
        raise WrapAround(
            f"layer {group.name}: u or v wraps around 24 bits whatever the weight exponent; its input is too large for "
            "its threshold"
        )

    def _reach(self, group: Group, exponent: int, peak: int) -> float:
        """How large u or v may become: the peak on the calibration samples with some to spare, or a proven bound.

        A rotary of spikes gives at most sqrt(2), and v at most that over the share of v that is lost each step. Slow
        pairs turn by so little that every bit of fraction counts at the threshold, so no bit is spared there.
        """
        node = self.graph.nodes[group.synapses[0]]
        spikes = len(node.sources) == 1 and self.graph.nodes[node.sources[0]].kind in SPIKING
        lost = [dynamics(self.graph.nodes[name], self.graph).lost_v for name in group.neurons]
        if node.kind != "rotary" or not spikes or min(lost, default=0) == 0:
            return float(peak * SPARE)
        return float(np.sqrt(2) * 2 ** (exponent + ALIGN_BITS) / min(lost))

    def _run(self, group: Group, candidate: Candidate) -> Choice:
        values: dict[str, np.ndarray] = {}
        peaks = np.zeros(2, INTEGER)
        mismatched, error = 0, 0.0
        for name in group.members:
            node = candidate.nodes[name] if name in candidate.nodes else self.integer(name)
            values[name], _ = self.apply(node, candidate.fixed.get(name, {}), values)
        for name in group.neurons:
            out, own = self.apply(candidate.nodes[name], candidate.fixed[name], values)
            peaks = np.maximum(peaks, own)
            if name in self.trace.spikes:
                mismatched += int(np.count_nonzero(out != self.trace.spikes[name]))
        if group.outputs:
            error = self._output_error(group, candidate, values)
        return Choice(
            group=group,
            scale=candidate.scale,
            weight_exp=candidate.weight_exp,
            clip_ratio=candidate.clip_ratio,
            weights=sum(r.weight.size for r in candidate.rounded),
            clipped=sum(r.clipped for r in candidate.rounded),
            zeroed=sum(r.zeroed for r in candidate.rounded),
            peak_u=int(peaks[0]),
            peak_v=int(peaks[1]),
            mismatched=mismatched,
            error=error,
        )

    def _output_error(self, group: Group, candidate: Candidate, values: Mapping[str, np.ndarray]) -> float:
        """Mean square difference of the network's output."""
        sources = self.graph.output.sources
        total = np.sum([values[s] for s in sources], axis=0) * candidate.scale * self._relative(sources[0])
        return float(np.mean((masked(total, self.mask) - self.trace.output) ** 2))

    # ---- candidates --------------------------------------------------------------------------------------------------

    def _candidate(self, group: Group, ratio: float, exponent: int, compensate: bool, nearest: bool) -> Candidate:
        """Integers of a group.

        Args:
            ratio: largest weight kept, as a share of the largest.
            exponent: weight exponent, or bits of fraction of a rotary.
            compensate: spread what a weight loses over the others, where the inputs are known to go together.
            nearest: round the threshold to the nearest integer instead of towards the file's rule.
        """
        real = {name: self._effective(name) for name in group.synapses if self.graph.nodes[name].kind in SYNAPTIC}
        steps = [np.abs(w).max(initial=0) / rounding.largest_weight(w) for w in real.values()]
        step = (max(steps) * ratio or 1.0) if steps else self._own_unit(group.synapses[0])
        scale = step / 2.0**exponent
        nodes: dict[str, Node] = {}
        fixed: dict[str, dict[str, Any]] = {}
        rounded, fits = [], True
        for name, weight in real.items():
            node = self.graph.nodes[name]
            rounded.append(self._rounded(name, weight / step, ratio, compensate))
            own = None if self._neurons_take_bias(node) else node.parameters.get("bias")
            bias = None if own is None else np.rint(own / scale).astype(np.int64)
            changed = {**node.parameters, "weight": rounded[-1].weight} | (
                {"bias": bias} if node.kind != "scale" else {}
            )
            if node.kind in ("conv1d", "conv2d") and bias is None:
                changed["bias"] = np.zeros(len(weight), np.int64)
            nodes[name] = replace(node, parameters=changed)
            fixed[name] = {"weight_exp": exponent, "scale": scale}
        if not real:
            nodes[group.synapses[0]], fixed[group.synapses[0]] = self._own_integers(group.synapses[0], exponent, scale)
        for name in group.neurons:
            node = self.graph.nodes[name]
            current = scale * self._relative(node.sources[0])
            found = self._neuron(node, current, nearest)
            fits = fits and found is not None
            if found is not None:
                nodes[name], fixed[name] = found
        return Candidate(scale, exponent, ratio, nodes, fixed, tuple(rounded), fits)

    def _rounded(self, name: str, weight: np.ndarray, ratio: float, compensate: bool) -> rounding.Rounded:
        """Rounded weights; kept, because a candidate of each exponent asks for the same."""
        node = self.graph.nodes[name]
        if not compensate or node.kind not in ("affine", "temporal_conv") or len(node.input_shape) != 1:
            return rounding.round_weights(weight)
        if name not in self.spreads:
            self.spreads[name] = rounding.error_spread(self._correlation(node))
        if (name, ratio) not in self.rounded:
            columns = np.moveaxis(weight, -1, 1).reshape(len(weight), -1) if weight.ndim == 3 else weight
            found = rounding.round_weights(columns, self.spreads[name])
            if weight.ndim == 3:
                taps = found.weight.reshape(len(weight), weight.shape[2], weight.shape[1])
                found = replace(found, weight=np.ascontiguousarray(np.moveaxis(taps, 1, 2)))
            self.rounded[name, ratio] = found
        return self.rounded[name, ratio]

    def _correlation(self, node: Node) -> np.ndarray:
        """X^T X of what a synapse receives inside the windows, a column an input (and tap), made definite."""
        received = self.total(node, node.sources)
        mask = in_window(self.trace.lengths, received.shape[1])
        if node.kind == "temporal_conv":
            taps, ahead = node.parameters["weight"].shape[-1], node.parameters["look_ahead"]
            padded = np.pad(received * mask[..., None], [(0, 0), (taps - 1 - ahead, ahead), (0, 0)])
            received = np.concatenate([padded[:, i : i + received.shape[1]] for i in range(taps)], axis=-1)
        rows = received[mask].astype(np.float64)
        correlation = rows.T @ rows
        damping = DAMPING * max(float(np.mean(np.diag(correlation))), 1e-9)
        return np.asarray(correlation + damping * np.eye(len(correlation)))

    def _effective(self, name: str) -> np.ndarray:
        """Real weights for inputs in integer steps."""
        node = self.graph.nodes[name]
        weight: np.ndarray = node.parameters["weight"] * self.unit(node.sources[0])
        return weight

    def _relative(self, name: str) -> float:
        """Unit of a member of a group as a multiple of the group's own."""
        node = self.graph.nodes[name]
        if node.kind in MAKERS:
            return 1.0
        if node.kind == "gate":
            return self._relative(node.roles["current"][0]) * self.unit(node.roles["gate"][0])
        share = np.prod(node.parameters["kernel_size"]) if node.kind == "avg_pool" else 1
        return self._relative(node.sources[0]) / float(share)

    def _own_unit(self, name: str) -> float:
        """Unit of an attention or rotary without exponent: products of spikes, times its scale."""
        node = self.graph.nodes[name]
        units = [self.unit(sources[0]) for sources in inputs_of(node).values()]
        return float(node.parameters["scale"]) * float(np.prod(units))

    def _own_integers(self, name: str, exponent: int, scale: float) -> tuple[Node, dict[str, Any]]:
        node = self.graph.nodes[name]
        changed = replace(node, parameters={**node.parameters, "scale": 2.0**exponent})
        if node.kind == "attention":
            return changed, {"weight_exp": exponent, "scale": scale}
        if exponent < 0:
            raise WrapAround(f"layer {name}: its input is too large for 24-bit states")
        return changed, {"fraction_bits": exponent, **rounding.oscillator(node.parameters["angle"]), "scale": scale}

    def _neurons_take_bias(self, node: Node) -> bool:
        """Whether all that reads a synapse is neurons, which then hold its bias at their finer scale."""
        readers = self.graph.targets(node.name)
        held = all(r.kind in STATEFUL and (node.name, r.name) not in self.graph.recurrent_edges for r in readers)
        return held and node.parameters.get("bias") is not None

    def _neuron(self, node: Node, unit: float, nearest: bool) -> tuple[Node, dict[str, Any]] | None:
        """Integers of a population whose current has this unit; nothing when they do not fit their widths."""
        real = dynamics(node, self.graph)
        value = self._bias(node, real) / unit * (1 << ALIGN_BITS)
        fixed: dict[str, Any] = {
            "du": rounding.decay(real.lost_u, 1),
            "dv": rounding.decay(real.lost_v, 0),
            "scale": unit,
        }
        if node.kind not in ("if", "integrator") and real.lost_v > 0:
            fixed["dv"] = max(fixed["dv"], 1)
        if np.abs(value).max(initial=0) > rounding.LARGEST_BIAS:
            return None
        fixed["bias_mant"], fixed["bias_exp"] = rounding.bias(value)
        parameters = dict(node.parameters)
        if node.kind in SPIKING:
            steps = real.threshold_current / unit
            vth = int(np.rint(steps)) if nearest else rounding.threshold(steps, real.reaches)
            if not 0 <= vth <= rounding.LARGEST_THRESHOLD:
                return None
            fixed["vth"] = vth
            parameters["v_threshold"] = np.full(node.output_shape, float(vth << ALIGN_BITS))
        return replace(node, parameters=parameters), fixed

    def _bias(self, node: Node, real: Dynamics) -> np.ndarray:
        """Bias of each neuron, [neurons], in units of the real current."""
        total = real.offset / real.gain
        for source in node.sources:
            driver = self.graph.nodes[source]
            if self._neurons_take_bias(driver):
                bias = driver.parameters["bias"]
                spatial = driver.kind in ("conv1d", "conv2d")
                shaped = bias.reshape(-1, *[1] * (len(driver.output_shape) - 1)) if spatial else bias
                total = total + np.broadcast_to(shaped, driver.output_shape).reshape(-1)
        return total


def _merit(judged: tuple[Choice, Candidate]) -> tuple[int, float]:
    return judged[0].mismatched, judged[0].error
