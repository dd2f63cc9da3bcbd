"""One step of each kind of node, on arrays that were laid out before: [*shape], no samples, no steps.

A builder takes the place of a node (`Site`) and gives the function of a step, which reads the site's inputs and writes
its `out`. `STEP_OPERATIONS` has those whose form over whole utterances needs other steps (convolutions over time,
rotary position, attention) and those that most networks spend their time in; every other kind is run by the reference
simulator's own function, given one step (`stepwise`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from neurotarget.sim.graph.kinds import SPIKING
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference import integer_kernels, kernels, sums
from neurotarget.sim.reference.engine import Prepared
from neurotarget.sim.reference.integer import (
    INTEGER,
    ROTARY_BITS,
    refuse_current,
    refuse_too_large,
    shifted,
)
from neurotarget.sim.reference.operations import Call, Parameters
from neurotarget.sim.resets import RESET_ZERO, RESETS

Step = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Site:
    """The place of a node in a stream.

    Attributes:
        node, prepared: of the network.
        inputs: role -> what arrives, [*shape]; the role is empty where a node has none.
        out: what the node sends, [*shape].
        resets: what has to be done at the start of an utterance; builders add to it.
    """

    node: Node
    prepared: Prepared
    inputs: Mapping[str, np.ndarray]
    out: np.ndarray
    resets: list[Callable[[], None]]

    @property
    def parameters(self) -> Parameters:
        return self.prepared.parameters[self.node.name]

    @property
    def integers(self) -> bool:
        return self.prepared.dtype == INTEGER

    @property
    def of_spikes(self) -> bool:
        """Whether nothing but spikes arrives."""
        return all(self.prepared.graph.nodes[name].kind in SPIKING for name in self.node.sources)

    def state(self, shape: tuple[int, ...], start: object = 0) -> np.ndarray:
        """An array that lasts, set to `start` where an utterance starts."""
        values = np.zeros(shape, self.prepared.dtype)

        def reset() -> None:
            values[...] = start

        self.resets.append(reset)
        return values


def stepwise(site: Site) -> Step:
    """The reference simulator's function, on one sample and one step."""
    call = Call(site.node, site.parameters, site.prepared.dtype, {}, None, {})
    operation, out = site.prepared.operations[site.node.kind], site.out
    arriving = {role: array[None, None] for role, array in site.inputs.items()}
    given = arriving if site.node.roles else arriving[""]
    site.resets.append(call.state.clear)

    def step(number: int) -> None:
        out[...] = operation(call, given)[0, 0]

    return step


def spiking(site: Site) -> Step:
    """LIF and IF in floating point, by the reference's kernel."""
    p, n = site.parameters, site.node.neurons
    if site.integers:
        return integer_neuron(site)
    reset = RESETS.index(site.node.reset or RESET_ZERO)
    v = site.state((1, n), p.get("v_initial", 0))
    current, spikes = site.inputs[""].reshape(1, 1, n), site.out.reshape(1, 1, n)
    constants, unobserved = p["constants"], np.empty((0, 0, 0))

    def step(number: int) -> None:
        kernels.lif(current, constants, reset, v, spikes, unobserved)

    return step


def integer_neuron(site: Site) -> Step:
    """Lava's fixed-point neurons, by the reference's kernel; LI, I and CubaLI send v."""
    p, n, fires = site.parameters, site.node.neurons, site.node.kind in SPIKING
    u, v = site.state((1, n)), site.state((1, n), p["v_initial"])
    current, out = site.inputs[""].reshape(1, 1, n), site.out.reshape(1, 1, n)
    nothing, unobserved = np.empty((0, 0, 0), INTEGER), np.empty((0, 0, 0, 2), INTEGER)
    sent = (out, nothing) if fires else (nothing, out)
    constants = [p[key] for key in ("keep_u", "keep_v", "bias", "threshold")]
    peaks = np.zeros((1, 2), INTEGER)

    def step(number: int) -> None:
        largest = integer_kernels.neuron(current, *constants, fires, p["reset"], u, v, *sent, unobserved, peaks)
        refuse_current(largest, site.node.name)

    return step


def affine(site: Site) -> Step:
    if site.inputs[""].ndim > 1:
        return stepwise(site)
    return _weighed(site, site.inputs[""])


def _weighed(site: Site, x: np.ndarray) -> Step:
    """The reference's sum of weights, of one row; of integers shifted before the bias."""
    p, out = site.parameters, site.out
    bias, row, by_input, total = p.get("bias"), x[None], p["by_input"], out[None]
    if not site.integers:
        return lambda number: sums.weighted(row, by_input, total)
    shift, exponent = (np.left_shift if p["weight_exp"] > 0 else np.right_shift), abs(p["weight_exp"])
    if binary := site.of_spikes:  # then the number of sources is the largest that arrives
        refuse_too_large(np.array([len(site.node.sources)]), p["reach"], site.node.name)

    def step(number: int) -> None:
        if not binary:
            refuse_too_large(x, p["reach"], site.node.name)
        sums.weighted(row, by_input, total)
        shift(out, exponent, out=out)
        if bias is not None:
            np.add(out, bias, out=out)

    return step


def _past(site: Site) -> tuple[np.ndarray, Step]:
    """The inputs of a convolution over time, [taps, inputs], the oldest first, and the function that takes in one."""
    x = site.inputs[""]
    past = site.state((site.parameters["weight"].shape[-1], len(x)))

    def arrive(number: int) -> None:
        past[:-1] = past[1:]
        past[-1] = x

    return past, arrive


def temporal_conv(site: Site) -> Step:
    past, arrive = _past(site)
    weigh = _weighed(site, past.reshape(-1))

    def step(number: int) -> None:
        arrive(number)
        weigh(number)

    return step


def depthwise_conv(site: Site) -> Step:
    p, out = site.parameters, site.out
    past, arrive = _past(site)
    weight, bias = p["by_input"][: len(past), : len(out)], 0 if p["bias"] is None else p["bias"]

    def step(number: int) -> None:
        arrive(number)
        np.add.reduce(weight * past, axis=0, out=out)  # the oldest first, as the reference adds
        out[...] = (shifted(out, p["weight_exp"]) if site.integers else out) + bias

    return step


def rotary(site: Site) -> Step:
    """Pair i turned by step * angle[i], as the reference takes cos and sin; of integers by an oscillator a pair."""
    p, out, x = site.parameters, site.out, site.inputs[""]
    if site.integers:
        return _integer_rotary(site)
    angle, scale = p["angle"], p["scale"]

    def step(number: int) -> None:
        turn = number * angle
        cos, sin = np.cos(turn), np.sin(turn)
        even, odd = x[0::2], x[1::2]
        out[0::2] = even * cos - odd * sin
        out[1::2] = even * sin + odd * cos
        np.multiply(out, scale, out=out)

    return step


def _integer_rotary(site: Site) -> Step:
    p, out, x = site.parameters, site.out, site.inputs[""]
    c, s = site.state(p["cos"].shape, 1 << ROTARY_BITS), site.state(p["sin"].shape)
    drop = ROTARY_BITS - p["fraction_bits"]

    def step(number: int) -> None:
        even, odd = x[0::2], x[1::2]
        out[0::2] = (even * c - odd * s) >> drop
        out[1::2] = (even * s + odd * c) >> drop
        turned = (c * p["cos"] - s * p["sin"]) >> ROTARY_BITS, (c * p["sin"] + s * p["cos"]) >> ROTARY_BITS
        c[...], s[...] = turned

    return step


def attention(site: Site) -> Step:
    """Adds k^T v to a state a head [d_head, d_head], then sends q times it: Katharopoulos et al. 2020, equation 20.

    Arxiv 2006.16236, without their feature maps and normaliser.
    """
    p, out = site.parameters, site.out
    heads, width = p["heads"], len(out)
    if site.integers and not site.of_spikes:
        raise GraphError(
            f"node {site.node.name}: attention over integers that are no spikes may overflow in a stream without end; "
            "run whole utterances with sim.run"
        )
    state = site.state((heads, width // heads, width // heads))
    query = site.inputs["query"].reshape(heads, 1, -1)
    key, value = site.inputs["key"].reshape(heads, -1, 1), site.inputs["value"].reshape(heads, 1, -1)
    read = out.reshape(heads, 1, -1)

    def step(number: int) -> None:
        np.add(state, key * value, out=state)
        np.matmul(query, state, out=read)
        out[...] = shifted(out, p["weight_exp"]) if site.integers else out * p["scale"]

    return step


def gate(site: Site) -> Step:
    current, opening, out = site.inputs["current"], site.inputs["gate"], site.out

    def step(number: int) -> None:
        np.multiply(current, opening, out=out)

    return step


STEP_OPERATIONS: dict[str, Callable[[Site], Step]] = {
    "affine": affine,
    "lif": spiking,
    "if": spiking,
    "temporal_conv": temporal_conv,
    "depthwise_conv": depthwise_conv,
    "rotary": rotary,
    "attention": attention,
    "gate": gate,
}
