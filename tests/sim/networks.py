"""Small networks with random weights, built by hand as NIR graphs."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
from neurotarget.sim.graph import Graph, dialect, load

DT = 1e-4
THETA = np.nextafter(1.0, -np.inf)  # the file's side of `v >= 1`


class Network:
    """A NIR graph under construction; `add` returns the name, so that calls nest."""

    def __init__(self, features: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: dict[str, Any] = {"input": nir.Input(np.array([features]))}
        self.edges: list[tuple[str, str]] = []

    def add(self, name: str, node: Any, *sources: str) -> str:
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def weights(self, *shape: int, gain: float = 3.0) -> np.ndarray:
        inputs = int(np.prod(shape[1:])) or 1
        return self.random.normal(0.3, 1.0, shape) * gain / np.sqrt(inputs)

    def affine(self, name: str, outputs: int, inputs: int, *sources: str, bias: bool = True) -> str:
        weight = self.weights(outputs, inputs)
        node = nir.Affine(weight, self.random.normal(0.2, 0.5, outputs)) if bias else nir.Linear(weight)
        return self.add(name, node, *sources)

    def lif(self, name: str, neurons: int, *sources: str, tau_steps: float = 2.0) -> str:
        one = np.ones(neurons)
        return self.add(name, nir.LIF(tau_steps * DT * one, one, 0 * one, THETA * one, 0 * one), *sources)

    def layer(self, name: str, outputs: int, inputs: int, *sources: str) -> str:
        return self.lif(f"{name}.lif", outputs, self.affine(f"{name}.linear", outputs, inputs, *sources))

    def operation(self, name: str, op: str, features: int, *sources: str, **metadata: Any) -> str:
        return self.add(name, dialect.extension(op, features, metadata), *sources)

    def temporal(self, name: str, outputs: int, source: str, taps: int, look_ahead: int, depthwise: bool) -> list[str]:
        """Taps of a convolution over time in standard NIR, as conversion writes them; returns what feeds the next."""
        inputs = self.width(source)
        weight = self.weights(outputs, taps) if depthwise else self.weights(outputs, inputs, taps)
        ends = []
        for steps in range(taps):
            tap, origin, ahead = weight[..., taps - 1 - steps], source, look_ahead - steps
            if ahead > 0:
                origin = self.operation(f"{name}.ahead{ahead}", "look_ahead", inputs, source, steps=ahead)
            elif ahead:
                origin = self.add(f"{name}.delay{-ahead}", nir.Delay(np.full(inputs, -ahead * DT)), source)
            if not steps:
                matrix = np.diag(tap) if depthwise else tap
                node: Any = nir.Affine(matrix, self.random.normal(0.2, 0.5, outputs))
            else:
                node = nir.Scale(tap) if depthwise else nir.Linear(tap)
            ends.append(self.add(f"{name}.tap{steps}", node, origin))
        return ends

    def width(self, name: str) -> int:
        node = self.nodes[name]
        kind = type(node).__name__
        return int(node.v_threshold.size if kind == "LIF" else node.input_type["input"][0])

    def finish(self, *sources: str, outputs: int) -> Graph:
        return load(self.to_nir(*sources, outputs=outputs))

    def to_nir(self, *sources: str, outputs: int) -> nir.NIRGraph:
        self.add("output", nir.Output(np.array([outputs])), *sources)
        metadata = {"dialect": dialect.DIALECT, "dt": DT, "rule": ">="}
        return nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=metadata)


def chain(features: int = 4, neurons: int = 6, outputs: int = 3, seed: int = 0, tau_steps: float = 2.0) -> Graph:
    """Two layers, the second with a residual path around it, and a linear readout."""
    net = Network(features, seed)
    first = net.lif("first", neurons, net.affine("a", neurons, features, "input"), tau_steps=tau_steps)
    second = net.lif("second", neurons, net.affine("b", neurons, neurons, first), tau_steps=tau_steps)
    return net.finish(net.affine("readout", outputs, neurons, first, second, bias=False), outputs=outputs)


def spike_scr(
    features: int = 5, width: int = 8, classes: int = 3, causal: bool = False, seed: int = 1, taps: int = 5
) -> Graph:
    """SpikeSCR in small, every operation of it: one block of embedding, attention, feed-forward, gated convolution."""
    net = Network(features, seed)
    x = net.lif("embed.lif", width, *net.temporal("embed", width, "input", 3, 0 if causal else 1, depthwise=False))
    angle = np.tile([1.0, 0.01], width // 4)
    roles = {}
    for role in ("query", "key", "value"):
        spikes = net.layer(role, width, width, x)
        if role != "value":
            turned = net.operation(f"{role}.rotary", "rotary", width, spikes, angle=angle, scale=1.0)
            spikes = net.lif(f"{role}.turned", width, net.add(f"{role}.gain", nir.Scale(np.full(width, 2.0)), turned))
        roles[role] = spikes
    attended = net.operation(
        "attention", "attention", width, *roles.values(), heads=2, scale=0.4, causal=causal, **roles
    )
    a = net.layer("project", width, width, net.lif("attention.lif", width, attended))
    hidden = net.layer("mlp.up", 2 * width, width, x, a)
    m = net.layer("mlp.down", width, 2 * width, hidden)
    spikes = net.layer("conv.in", width, width, x, a, m)
    convolved = net.temporal("conv.depth", width, spikes, taps, 0 if causal else taps // 2, depthwise=True)
    spikes = net.lif("conv.depth.lif", width, *convolved)
    current = net.affine("conv.current", width, width, spikes)
    gate = net.layer("conv.gate", width, width, spikes)
    product = net.operation("conv.product", "gate", width, current, gate, current=current, gate=gate)
    c = net.layer("conv.out", width, width, net.lif("conv.product.lif", width, product))
    current = net.affine("head.current", width, width, x, a, m, c)
    gate = net.layer("head.gate", width, width, x, a, m, c)
    product = net.operation("head.product", "gate", width, current, gate, current=current, gate=gate)
    spikes = net.lif("head.lif", width, product)
    return net.finish(net.affine("head.logits", classes, width, spikes, bias=False), outputs=classes)


def spikes(samples: int, steps: int, features: int, seed: int = 0, largest: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, largest + 1, (samples, steps, features))
