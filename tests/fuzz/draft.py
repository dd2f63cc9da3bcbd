"""A random graph that grows node by node: bookkeeping, and NIR's primitives one by one.

Thresholds, weights and resistances are drawn by the usual size of what arrives, so that most layers fire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import nir
import numpy as np

WIDTHS = (1, 2, 3, 4, 6)
Shape = tuple[int, ...]


@dataclass
class Draft:
    """A graph that grows.

    Attributes:
        tidy: whether what does not reach the Output is dropped in the end.
        depth: of nested graphs.
        shapes, sizes: of what each node sends; a size is the usual magnitude, by which thresholds are chosen.
        firing: nodes that send spikes.
    """

    rng: np.random.Generator
    exact: bool
    dt: float
    quantisable: bool
    tidy: bool
    depth: int = 0
    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    firing: set[str] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)

    # ---- bookkeeping ----

    def add(
        self,
        node: nir.NIRNode,
        sources: tuple[str, ...],
        shape: Shape,
        size: float,
        fires: bool = False,
        name: str = "",
    ) -> str:
        """Adds a node under a name that says nothing, and its edges."""
        letter = str(self.rng.choice(list("abcxyz")))
        name = name or f"{letter}{'.k' if self.rng.random() < 0.1 else ''}{len(self.nodes)}"
        self.nodes[name], self.shapes[name], self.sizes[name] = node, shape, size
        self.edges += [(source, name) for source in dict.fromkeys(sources)]
        if fires:
            self.firing.add(name)
        self.kinds[str(node.metadata.get("op", type(node).__name__))] += 1
        return name

    def graph(self, metadata: dict[str, object]) -> nir.NIRGraph:
        return nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=metadata, type_check=False)

    def pick(self, good: Callable[[str], bool] = lambda name: True) -> str | None:
        """A node whose output may be read; later ones more often."""
        names = [name for name in self.nodes if good(name)]
        return names[-1 - int(len(names) * self.rng.random() ** 2)] if names else None

    def sources(self, good: Callable[[Shape], bool] = lambda shape: True) -> tuple[str, ...]:
        """One to three nodes of one shape, to be summed."""
        first = self.pick(lambda name: good(self.shapes[name]))
        if first is None:
            return ()
        names = [first]
        while self.rng.random() < 0.35 and len(names) < 3:
            names.append(str(self.pick(lambda name: self.shapes[name] == self.shapes[first])))
        return tuple(dict.fromkeys(names))

    def size(self, sources: tuple[str, ...]) -> float:
        return sum(self.sizes[name] for name in sources)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def numbers(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        """Weights: quarters up to 1 where all is exact, else normal; some of them zero."""
        drawn = self.rng.integers(-4, 5, shape) / 4 if self.exact else self.rng.normal(0, 1, shape) * scale
        return drawn * (self.rng.random(shape) < 0.8)

    def input_shape(self) -> Shape:
        kind = self.rng.choice(["vector", "vector", "image", "row"])
        if kind == "vector":
            return (int(self.rng.choice(WIDTHS)),)
        space = self.rng.integers(3, 6, 2 if kind == "image" else 1)
        return (int(self.rng.choice([1, 2, 4])), *(int(n) for n in space))

    # ---- nodes without state ----

    def close(self, several: bool = True) -> None:
        """The Output, fed by the last node or by two; a neuron before it if nothing fires yet."""
        if not self.firing:
            self.neuron()
        last = list(self.nodes)[-1]
        also = self.pick(lambda name: self.shapes[name] == self.shapes[last]) if several and self.chance(0.4) else last
        shape = {"output": np.array(self.shapes[last])}
        self.add(nir.Output(output_type=shape), (last, str(also)), self.shapes[last], 0)

    def linear(self) -> None:
        if sources := self.sources(lambda shape: len(shape) == 1):
            self.synapse(sources)

    def synapse(self, sources: tuple[str, ...], outputs: int = 0) -> str:
        inputs = self.shapes[sources[0]][0]
        outputs = outputs or int(self.rng.choice(WIDTHS))
        weight = self.numbers(outputs, inputs, scale=1.5 / np.sqrt(inputs))
        bias = self.numbers(outputs) * (self.size(sources) if not self.exact else 1)
        node = nir.Affine(weight=weight, bias=bias) if self.chance(0.5) else nir.Linear(weight=weight)
        return self.add(node, sources, (outputs,), self.size(sources))

    def scale(self) -> None:
        if sources := self.sources():
            shape = self.shapes[sources[0]]
            self.add(nir.Scale(scale=self.numbers(*shape)), sources, shape, self.size(sources))

    def delay(self) -> None:
        if sources := self.sources():
            self.delayed(sources)

    def delayed(self, sources: tuple[str, ...]) -> str:
        shape = self.shapes[sources[0]]
        steps = self.rng.integers(0, 4, shape) if self.chance(0.6) else np.full(shape, self.rng.integers(0, 6))
        return self.add(nir.Delay(delay=steps * self.dt), sources, shape, self.size(sources), self.all_fire(sources))

    def all_fire(self, sources: tuple[str, ...]) -> bool:
        return len(sources) == 1 and sources[0] in self.firing

    def flatten(self) -> None:
        if sources := self.sources(lambda shape: len(shape) > 1):
            shape = self.shapes[sources[0]]
            start, end = (0, -1) if self.chance(0.7) else (1, len(shape) - 1) if self.chance(0.5) else (0, 1)
            flat = np.empty(shape).reshape(*shape[:start], -1, *shape[end + 1 if end > 0 else len(shape) :]).shape
            node = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=start, end_dim=end)
            self.add(node, sources, flat, self.size(sources), self.all_fire(sources))

    def convolution(self) -> None:
        """Conv1d on rows, Conv2d on images; groups as NIR has them, or as zeros that the metadata name."""
        sources = self.sources(lambda shape: len(shape) in (2, 3))
        if not sources:
            return
        channels, *space = self.shapes[sources[0]]
        kernel = [int(self.rng.integers(1, min(3, size) + 1)) for size in space]
        groups = int(self.rng.choice([g for g in (1, 2, 4) if channels % g == 0]))
        outputs = groups * int(self.rng.integers(1, 3))
        stride = [int(self.rng.integers(1, 3)) for _ in space]
        dilation = [int(self.rng.integers(1, 3)) if k * 2 <= n else 1 for k, n in zip(kernel, space, strict=True)]
        spans = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        words = ["valid", "same"] if all(span % 2 == 0 for span in spans) else ["valid"]
        pads = [int(self.rng.integers(0, 2)) for _ in space]
        word = str(self.rng.choice(words)) if self.chance(0.3) else ""
        paddings = {"valid": [0] * len(space), "same": [span // 2 for span in spans]}.get(word, pads)
        rest = [size + 2 * p - span - 1 for size, p, span in zip(space, paddings, spans, strict=True)]
        if min(rest) < 0:
            return
        weight = self.numbers(outputs, channels // groups, *kernel, scale=1 / np.sqrt(np.prod(kernel) * channels))
        metadata = {}
        if groups > 1 and self.chance(0.5):
            whole = np.zeros((outputs, channels, *kernel))
            rows, columns = outputs // groups, channels // groups
            for g in range(groups):
                whole[g * rows : (g + 1) * rows, g * columns : (g + 1) * columns] = weight[g * rows : (g + 1) * rows]
            weight, groups, metadata = whole, 1, {"groups": groups}
        one = len(space) == 1
        node = (nir.Conv1d if one else nir.Conv2d)(
            input_shape=space[0] if one else tuple(space),
            weight=weight,
            stride=stride[0] if one else tuple(stride),
            padding=word or (pads[0] if one else tuple(pads)),
            dilation=dilation[0] if one else tuple(dilation),
            groups=groups,
            bias=self.numbers(outputs),
        )
        node.metadata = metadata
        shape = (outputs, *(r // s + 1 for r, s in zip(rest, stride, strict=True)))
        self.add(node, sources, shape, self.size(sources))

    def pool(self) -> None:
        if not (sources := self.sources(lambda shape: len(shape) == 3)):
            return
        channels, *space = self.shapes[sources[0]]
        kernel = [int(self.rng.integers(1, 3)) for _ in space]
        stride, padding = ([int(self.rng.integers(low, low + 2)) for _ in space] for low in (1, 0))
        rest = [size + 2 * p - k for size, p, k in zip(space, padding, kernel, strict=True)]
        if min(rest) >= 0:
            kind = nir.SumPool2d if self.chance(0.5) else nir.AvgPool2d
            node = kind(kernel_size=np.array(kernel), stride=np.array(stride), padding=np.array(padding))
            shape = (channels, *(r // s + 1 for r, s in zip(rest, stride, strict=True)))
            self.add(node, sources, shape, self.size(sources))

    # ---- neurons ----

    def neuron(self) -> None:
        if sources := self.sources():
            self.neurons(sources)

    def integrator(self) -> None:
        if sources := self.sources():
            self.neurons(sources, fires=False)

    def threshold_node(self) -> None:
        if sources := self.sources():
            shape = self.shapes[sources[0]]
            self.add(nir.Threshold(threshold=self.thresholds(shape, self.size(sources))), sources, shape, 0.5, True)

    def thresholds(self, shape: Shape, size: float) -> np.ndarray:
        """Near the usual size of what is compared with them, so that most layers fire; some zero or negative."""
        if self.exact:
            size = 2.0 ** np.rint(np.log2(max(size, 0.25)))
        choices = [0.25, 0.5, 1, 1.5] if self.quantisable or self.chance(0.9) else [0, -0.5, 0.5, 3]
        drawn = self.rng.choice(choices, () if self.quantisable or self.chance(0.5) else shape)
        return np.full(shape, drawn * max(size, 1e-3), np.float64)

    def taus(self, shape: Shape) -> np.ndarray:
        """Time constants in seconds: 1 to 3000 steps, one or two where all is exact."""
        if self.exact:
            steps = self.rng.integers(1, 3, shape)
        elif self.quantisable:
            steps = np.full(shape, self.rng.choice([2.0, 5.0, 10.0, 30.0, 200.0]))
        else:
            steps = self.rng.choice([1.0, 1.5, 2.0, 4.0, 10.0, 300.0, 3000.0], shape if self.chance(0.3) else ())
        return np.full(shape, steps) * self.dt

    def resets(self, shape: Shape, size: float, thresholds: np.ndarray) -> np.ndarray:
        """Potentials after a spike; below the threshold, and one for all, where integers have to follow."""
        if self.quantisable:
            return thresholds * self.rng.choice([-1.0, -0.5, 0.1])
        return self.numbers(*shape) * (1 if self.exact else size)

    def neurons(self, sources: tuple[str, ...], fires: bool = True) -> str:
        """One of NIR's neurons, its resistances such that a step of input is felt."""
        shape, size = self.shapes[sources[0]], self.size(sources)
        kind = str(self.rng.choice(["IF", "LIF", "LIF", "CubaLIF"] if fires else ["I", "LI", "CubaLI"]))
        tau, tau_syn = self.taus(shape), self.taus(shape)
        lively = not self.exact and self.chance(0.8)
        gain = self.rng.choice([0.5, 1.0, 2.0], () if self.quantisable else shape)
        node: dict[str, np.ndarray] = {}
        if kind in ("IF", "I"):
            node["r"] = np.full(shape, gain / self.dt * (1 if self.exact else 0.3))
        else:
            leak = self.numbers(*shape) * (size if not self.exact else 1) if self.chance(0.3) else np.zeros(shape)
            node["r"] = np.full(shape, gain) * (np.sqrt(tau / self.dt) if lively else 1)
            node |= {"v_leak": leak} | ({"tau": tau} if kind in ("LIF", "LI") else {"tau_mem": tau})
        if kind.startswith("Cuba"):
            node |= {"tau_syn": tau_syn, "w_in": np.full(shape, gain) * (tau_syn / self.dt if lively else 1)}
        if fires:
            node["v_threshold"] = self.thresholds(shape, size)
            node["v_reset"] = self.resets(shape, size, node["v_threshold"]) if self.chance(0.3) else np.zeros(shape)
        return self.add(getattr(nir, kind)(**node), sources, shape, 0.5 if fires else 2 * size, fires)


def pruned(draft: Draft, frames: np.ndarray) -> np.ndarray:
    """Drops what does not reach the Output, which nir's type check would give Outputs of its own; gives the input left.

    nir.NIRGraph(type_check=True), nir 1.0.8, adds a node `output_X` behind each node X that feeds nothing.
    """
    kept = {name for name, node in draft.nodes.items() if isinstance(node, nir.Output)}
    while more := {source for source, target in draft.edges if target in kept} - kept:
        kept |= more
    inputs = sorted(name for name, node in draft.nodes.items() if isinstance(node, nir.Input))
    draft.nodes = {name: node for name, node in draft.nodes.items() if name in kept}
    draft.edges = [edge for edge in draft.edges if edge[1] in kept]
    if len(inputs) == 1:
        return frames
    ends = np.cumsum([0, *(int(np.prod(draft.shapes[name])) for name in inputs)])
    parts = [frames[..., ends[i] : ends[i + 1]] for i, name in enumerate(inputs) if name in kept]
    left = [draft.shapes[name] for name in inputs if name in kept]
    return parts[0].reshape(*frames.shape[:2], *left[0]) if len(parts) == 1 else np.concatenate(parts, axis=-1)
