"""Neurons as Lava's LIF has them: one decay, one threshold, one gain a population, reset to zero or by subtraction.

NIR's Euler step (sim/reference/kernels.py) is `v = v (1 - a) + a (v_leak + r I)` with a = dt / tau; with a current also
`u = u (1 - b) + b w_in I` with b = dt / tau_syn. Lava's is `u = u (1 - du) + I; v = v (1 - dv) + u + bias`. So the gain
g = a r b w_in goes into weights or threshold, and a v_leak becomes a bias.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from neurotarget.conversion.fixed import rounding
from neurotarget.sim.graph import Graph, dialect
from neurotarget.sim.graph.kinds import SPIKING, STATEFUL
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference.integer_kernels import DECAY_BITS

POTENTIALS = frozenset({"v_leak", "v_initial"})  # parameters that scale as v does
ROWS_ARE_NEURONS = frozenset({"affine", "scale", "temporal_conv", "depthwise_conv"})


@dataclass(frozen=True)
class Dynamics:
    """One population.

    Attributes:
        lost_u, lost_v: share of u and v that is lost each step, as the registers have it; 1 where there is no u.
        gain: what a unit of current adds to v.
        offset: what v gains each step by itself, [neurons].
        theta: threshold in units of v; infinite for neurons that do not fire.
        reaches: it fires at theta too.
    """

    lost_u: float
    lost_v: float
    gain: float
    offset: np.ndarray
    theta: float
    reaches: bool

    @property
    def threshold_current(self) -> float:
        """The threshold in units of the input current."""
        return self.theta / self.gain


def _per_neuron(node: Node, graph: Graph) -> dict[str, np.ndarray]:
    """The numbers of `Dynamics`, [neurons] each; the real shares as `real_u` and `real_v`."""
    p = {key: np.broadcast_to(value, node.output_shape).reshape(-1) for key, value in node.parameters.items()}
    ones = np.ones(node.neurons)
    real_u = graph.dt / p["tau_syn"] if "tau_syn" in p else ones
    leaks = {"tau", "tau_mem"} & set(p)
    real_v = graph.dt / p[leaks.pop()] if leaks else 0 * ones
    lost_u, lost_v = (rounding.decay(real) / (1 << DECAY_BITS) for real in (real_u, real_v))
    gain = (lost_v if lost_v else graph.dt) * p["r"]
    if "tau_syn" in p:
        gain = gain * lost_u * p["w_in"]
    found = {
        "real_u": real_u,
        "real_v": real_v,
        "lost_u": lost_u * ones,
        "lost_v": lost_v * ones,
        "gain": gain,
        "offset": lost_v * p.get("v_leak", 0 * ones),
        "theta": p.get("v_threshold", np.inf * ones),
    }
    if node.kind in SPIKING and graph.rule == dialect.RULE_REACHES:
        found["theta"] = np.nextafter(found["theta"], np.inf)
    return found


def decay_errors(graph: Graph) -> dict[str, float]:
    """Largest relative error of what u or v loses each step: of dt / tau as a multiple of 1 / 4096.

    By neurons, but that a Threshold has no time constant.
    """
    errors = {}
    for node in graph.of_kind(*STATEFUL - {"threshold"}):
        found = _per_neuron(node, graph)
        errors[node.name] = max(
            float(np.abs(found[f"lost_{state}"] / found[f"real_{state}"] - 1).max())
            for state in "uv"
            if found[f"real_{state}"].all()
        )
    return errors


def dynamics(node: Node, graph: Graph) -> Dynamics:
    """The numbers of a population that `make_uniform` has been through."""
    found: dict[str, Any] = _per_neuron(node, graph)
    single = {key: float(found[key][0]) for key in ("lost_u", "lost_v", "gain", "theta")}
    return Dynamics(**single, offset=found["offset"], reaches=graph.rule == dialect.RULE_REACHES)


def make_uniform(graph: Graph) -> Graph:
    """Moves differences of gain and threshold between the neurons of a population into the weights before it.

    Only v / theta decides over a spike, so row j of the weights may carry what is particular to neuron j.

    Raises:
        GraphError: a neuron that Lava's fixed-point LIF cannot be.
    """
    nodes = dict(graph.nodes)
    for node in graph.of_kind(*STATEFUL):
        _refuse(node, graph)
        found = _per_neuron(node, graph)
        drive = found["gain"] / (found["theta"] if node.kind in SPIKING else 1)
        if np.ptp(drive) <= 1e-9 * np.abs(drive).max() and np.ptp(node.parameters.get("v_threshold", [0])) == 0:
            continue
        factor = drive / drive[0]
        for source in node.sources:
            driver, readers = nodes[source], graph.targets(source)
            if driver.kind not in ROWS_ARE_NEURONS or len(readers) > 1 or len(driver.output_shape) != 1:
                raise GraphError(
                    f"node {node.name}: its neurons differ in gain or threshold; Lava has one of each, and "
                    f"{source} ({driver.kind}) cannot take the difference over because it is no matrix of its own"
                )
            changed = dict(driver.parameters)
            for key in ("weight", "bias"):
                if (value := changed.get(key)) is not None:
                    changed[key] = value * factor.reshape(-1, *[1] * (value.ndim - 1))
            nodes[source] = replace(driver, parameters=changed)
        p = {key: np.broadcast_to(value, node.output_shape) for key, value in node.parameters.items()}
        changed = {key: np.full(p[key].shape, p[key].flat[0]) for key in p if key not in POTENTIALS}
        relative = found["theta"][0] / found["theta"] if node.kind in SPIKING else np.ones(node.neurons)
        changed |= {key: p[key] * relative.reshape(p[key].shape) for key in POTENTIALS & p.keys()}
        nodes[node.name] = replace(node, parameters=changed)
    return replace(graph, nodes=nodes)


def _refuse(node: Node, graph: Graph) -> None:
    found = _per_neuron(node, graph)
    for key in ("real_u", "real_v"):
        if np.ptp(found[key]) > 2.0**-13:
            raise GraphError(f"node {node.name}: its neurons differ in time constant; Lava has one per population")
    if found["real_v"].max() * 4096 > 4095.5:
        raise GraphError(f"node {node.name}: a membrane that forgets all in one step (tau = dt) is not one of Lava's")
    if found["theta"].min() <= 0:
        raise GraphError(f"node {node.name}: a threshold at or below its reset (0 for most) is not one of Lava's")
    if found["gain"].min() <= 0:
        raise GraphError(f"node {node.name}: r and w_in must be positive to fold into the weights")
