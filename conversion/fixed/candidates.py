"""The integers of one group of synapses and of the neurons that read it, for one way to choose them.

A current counts in one unit a group. Each synapse has a weight exponent of its own, so that a small current keeps the
bits of its weights beside a large one: a weight is `integer * 2^weight_exp` units. A bias stands where it means the
float: at the current of current-based neurons, at the potential, 64 times finer, of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from neurotarget.conversion.fixed import rounding
from neurotarget.conversion.fixed.choice import Candidate, Setting, WrapAround
from neurotarget.conversion.fixed.dynamics import Dynamics
from neurotarget.conversion.fixed.replay import Replay
from neurotarget.conversion.fixed.scales import Scales
from neurotarget.conversion.fixed.units import KEEPING, Group
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL, SYNAPTIC
from neurotarget.sim.graph.node import Node
from neurotarget.sim.reference.integer import WIDTHS
from neurotarget.sim.reference.integer_kernels import ALIGN_BITS, DECAY_BITS, STATE_LIMIT
from neurotarget.sim.trace import in_window

FINEST = {"rotary": 16, "attention": 10}  # bits below the spike; one bit less for each that the states cannot hold
FINEST_SYNAPSE = 4
STEPS_WANTED = 256  # in the smallest current and the smallest threshold
LARGEST_SUM = 2**30  # of a synapse before its shift, on the calibration samples: Lava has 31 bits
LARGEST_VALUE = 2**20  # of a sum that another synapse multiplies
CLIPPED_BITS = 2  # by which the largest weights of a synapse beside a larger one may be clipped
DAMPING = 0.01  # share of the mean of the diagonal that is added to a correlation, as in GPTQ


class Candidates:
    """Integers for one group.

    Args:
        real: values of the float network.
        replay: integer values of what is settled.
    """

    def __init__(self, graph: Graph, group: Group, scales: Scales, real: Replay, replay: Replay) -> None:
        self.graph, self.group, self.scales, self.real, self.replay = graph, group, scales, real, replay
        self.weights = {
            name: scales.effective_weight(name) for name in group.synapses if graph.nodes[name].kind in SYNAPTIC
        }
        self.finest_step = {
            name: float(np.abs(w).max(initial=0)) / rounding.largest_weight(w) for name, w in self.weights.items()
        }
        self.peaks = {name: real.largest(name) for name in group.synapses}
        self.anchor = self._anchor()
        self.spreads: dict[str, np.ndarray] = {}
        self.errors: dict[tuple[str, float], float] = {}
        self.rounded: dict[tuple[str, float, bool], rounding.Rounded] = {}

    def _anchor(self) -> float:
        """Unit of the group at exponent 0: the step of the largest weights; of biases or thresholds without weights."""
        if not self.weights:
            return self.scales.own_unit(self.group.synapses[0])
        if step := max(self.finest_step.values()):
            return step
        biases = [self.graph.nodes[name].parameters.get("bias") for name in self.weights]
        largest = max((float(np.abs(bias).max(initial=0)) for bias in biases if bias is not None), default=0.0)
        return (largest or min(self._thresholds(), default=1.0)) / rounding.LARGEST_ONE_SIGN

    def _thresholds(self) -> list[float]:
        """Thresholds of the neurons that read the group, in units of the real current."""
        spiking = [name for name in self.group.neurons if self.graph.nodes[name].kind in SPIKING]
        return [self.scales.dynamics[name].threshold_current for name in spiking]

    @property
    def finest(self) -> int:
        """The exponent to try first: fine enough for what is small, and not too fine for 32 bits."""
        kind = self.graph.nodes[self.group.synapses[0]].kind
        wanted = FINEST.get(kind, FINEST_SYNAPSE if self.group.neurons else 0)
        smallest = min((size for size in (*self.peaks.values(), *self._thresholds()) if size > 0), default=self.anchor)
        if self.weights:
            wanted = max(wanted, math.ceil(math.log2(STEPS_WANTED * self.anchor / smallest)))
        if (largest := sum(self.peaks.values())) and not self.group.neurons:
            wanted = min(wanted, math.floor(math.log2(self._largest_value * self.anchor / largest)))
        return min(wanted, WIDTHS["weight_exp"][1])

    @property
    def _largest_value(self) -> int:
        """What a sum may reach: less where a synapse multiplies it again than where the output reads it."""
        readers = {reader.kind for name in self.group.members for reader in self.graph.targets(name)}
        kinds = {self.graph.nodes[name].kind for name in self.group.members}
        return LARGEST_SUM if readers <= {"output", *(kinds & KEEPING)} else LARGEST_VALUE

    def build(self, setting: Setting) -> Candidate:
        """Integers of the group and its neurons."""
        scale = self.anchor * (setting.ratio if self.weights else 1.0) / 2.0**setting.exponent
        nodes: dict[str, Node] = {}
        fixed: dict[str, dict[str, Any]] = {}
        rounded, fits = [], True
        left: dict[str, np.ndarray] = {}  # of the biases, for the neurons
        for name in self.weights:
            exponent = self._exponent(name, scale, setting)
            rounded.append(self._rounded(name, scale * 2.0**exponent, setting.compensate))
            nodes[name], left[name] = self._synapse(self.graph.nodes[name], rounded[-1].weight, scale)
            fixed[name] = {"weight_exp": exponent, "scale": scale}
        if not self.weights:
            name, fits = self.group.synapses[0], setting.exponent >= WIDTHS["weight_exp"][0]
            nodes[name], fixed[name] = self._own_integers(name, setting.exponent, scale)
        for name in self.group.neurons:
            node = self.graph.nodes[name]
            found = self._neuron(node, scale * self.scales.relative(node.sources[0]), setting.nearest, left)
            fits = fits and found is not None
            if found is not None:
                nodes[name], fixed[name] = found
        return Candidate(scale, setting, nodes, fixed, tuple(rounded), left, fits)

    # ---- synapses ----------------------------------------------------------------------------------------------------

    def _exponent(self, name: str, scale: float, setting: Setting) -> int:
        """The weight exponent at which 8 bits hold the weights best and 32 bits their sums.

        The largest weights are clipped at the ratio that spikes judge; the others, in the same unit, where their own
        squared error is the smallest.
        """
        if not self.finest_step[name]:
            return 0
        largest = self.finest_step[name] == self.anchor
        held = math.ceil(math.log2(self.finest_step[name] * (setting.ratio if largest else 1.0) / scale) - 1e-9)
        if not largest:
            held = min(range(held, held - CLIPPED_BITS - 1, -1), key=lambda bits: self._error(name, scale * 2.0**bits))
        if setting.shortened or self._single_spikes(name):
            held = max(held, 0)
        if self.peaks[name]:
            held = max(held, math.ceil(math.log2(self.peaks[name] / scale / LARGEST_SUM)))
        low, high = WIDTHS["weight_exp"]
        return min(max(held, low), high)

    def _single_spikes(self, name: str) -> bool:
        """Whether each sum is one weight or nothing: a floor would only round it to the wrong side."""
        node = self.graph.nodes[name]
        return node.kind == "scale" and len(node.sources) == 1 and self.graph.nodes[node.sources[0]].kind in SPIKING

    def _error(self, name: str, step: float) -> float:
        """Squared error of the weights of a synapse in steps of this size."""
        if (name, step) not in self.errors:
            found = rounding.round_weights(self.weights[name] / step)
            self.errors[name, step] = float(np.sum(np.square(found.weight * step - self.weights[name])))
        return self.errors[name, step]

    def _synapse(self, node: Node, weight: np.ndarray, scale: float) -> tuple[Node, np.ndarray]:
        """The synapse with integer weights, and what of its bias is left for the neurons, in real units."""
        changed = {**node.parameters, "weight": weight}
        bias = node.parameters.get("bias")
        if bias is None:
            return replace(node, parameters=changed), np.zeros(1)
        kept = np.rint(bias / scale).astype(np.int64)
        held = neurons_hold_bias(self.graph, node)
        if held and not any(reader.kind.startswith("cuba") for reader in self.graph.targets(node.name)):
            kept = np.zeros_like(kept)
        changed["bias"] = kept if kept.any() or node.kind in ("conv1d", "conv2d") else None
        return replace(node, parameters=changed), (bias - kept * scale if held else np.zeros(1))

    def _rounded(self, name: str, step: float, compensate: bool) -> rounding.Rounded:
        """Rounded weights; kept, because candidates of several exponents ask for the same."""
        node, weight = self.graph.nodes[name], self.weights[name] / step
        compensate = compensate and node.kind in ("affine", "temporal_conv") and len(node.input_shape) == 1
        if (name, step, compensate) in self.rounded:
            return self.rounded[name, step, compensate]
        if not compensate:
            found = rounding.round_weights(weight)
        else:
            if name not in self.spreads:
                self.spreads[name] = rounding.error_spread(correlation(node, self.replay))
            columns = np.moveaxis(weight, -1, 1).reshape(len(weight), -1) if weight.ndim == 3 else weight
            found = rounding.round_weights(columns, self.spreads[name])
            if weight.ndim == 3:
                taps = found.weight.reshape(len(weight), weight.shape[2], weight.shape[1])
                found = replace(found, weight=np.ascontiguousarray(np.moveaxis(taps, 1, 2)))
        self.rounded[name, step, compensate] = found
        return found

    def _own_integers(self, name: str, exponent: int, scale: float) -> tuple[Node, dict[str, Any]]:
        node = self.graph.nodes[name]
        changed = replace(node, parameters={**node.parameters, "scale": 2.0**exponent})
        if node.kind == "attention":
            return changed, {"weight_exp": exponent, "scale": scale}
        if exponent < 0:
            raise WrapAround(f"layer {name}: its input is too large for 24-bit states")
        return changed, {"fraction_bits": exponent, **rounding.oscillator(node.parameters["angle"]), "scale": scale}

    # ---- neurons -----------------------------------------------------------------------------------------------------

    def _neuron(
        self, node: Node, unit: float, nearest: bool, left: Mapping[str, np.ndarray]
    ) -> tuple[Node, dict[str, Any]] | None:
        """Integers of a population whose current has this unit; nothing when they do not fit their widths."""
        real = self.scales.dynamics[node.name]
        value = self._bias(node, real, left) / unit * (1 << ALIGN_BITS)
        unity = 1 << DECAY_BITS
        fixed: dict[str, Any] = {"du": round(real.lost_u * unity) - 1, "dv": round(real.lost_v * unity), "scale": unit}
        if np.abs(value).max(initial=0) > rounding.LARGEST_BIAS:
            return None
        fixed["bias_mant"], fixed["bias_exp"] = rounding.bias(value)
        parameters = dict(node.parameters)
        if "v_initial" in parameters:
            start = np.rint(parameters["v_initial"] * ((1 << ALIGN_BITS) / (unit * real.gain)))
            if np.abs(start).max(initial=0) >= STATE_LIMIT:
                return None
            parameters["v_initial"] = start
        if node.kind in SPIKING:
            steps = real.threshold_current / unit
            if steps > rounding.LARGEST_THRESHOLD + 1:
                return None
            vth = int(np.rint(steps)) if nearest else rounding.threshold(steps, real.reaches)
            if not 0 <= vth <= rounding.LARGEST_THRESHOLD:
                return None
            fixed["vth"] = vth
            parameters["v_threshold"] = np.full(node.output_shape, float(vth << ALIGN_BITS))
        return replace(node, parameters=parameters), fixed

    def _bias(self, node: Node, real: Dynamics, left: Mapping[str, np.ndarray]) -> np.ndarray:
        """What v gains each step by itself, [neurons], in units of the real current.

        What a synapse keeps of its bias is a whole number of steps. The rest, at most half a step, a current-based
        neuron gets at v as large as u would make it in its steady state.
        """
        total = real.offset / real.gain
        for source in node.sources:
            if np.any(left.get(source, 0)):
                driver, rest = self.graph.nodes[source], left[source] / real.lost_u
                spatial = driver.kind in ("conv1d", "conv2d")
                shaped = rest.reshape(-1, *[1] * (len(driver.output_shape) - 1)) if spatial else rest
                total = total + np.broadcast_to(shaped, driver.output_shape).reshape(-1)
        return total


def neurons_hold_bias(graph: Graph, node: Node) -> bool:
    """Whether only neurons read a synapse; they then hold its bias, or the rest of it, at their finer scale."""
    readers = graph.targets(node.name)
    return all(r.kind in STATEFUL and (node.name, r.name) not in graph.recurrent_edges for r in readers)


def correlation(node: Node, replay: Replay) -> np.ndarray:
    """X^T X of what a synapse receives inside the windows, a column an input (and tap), made definite."""
    received = replay.received(node)
    mask = in_window(replay.trace.lengths, received.shape[1])
    if node.kind == "temporal_conv":
        taps, ahead = node.parameters["weight"].shape[-1], node.parameters["look_ahead"]
        padded = np.pad(received * mask[..., None], [(0, 0), (taps - 1 - ahead, ahead), (0, 0)])
        received = np.concatenate([padded[:, i : i + received.shape[1]] for i in range(taps)], axis=-1)
    rows = received[mask].astype(np.float64)
    squares = rows.T @ rows
    damping = DAMPING * max(float(np.mean(np.diag(squares))), 1e-9)
    return np.asarray(squares + damping * np.eye(len(squares)))
