"""Random NIR graphs with their input, each from one seed.

In half of the graphs all numbers are dyadic (halves and quarters, time constants of one or two steps) and few enough
steps run that float64 rounds nowhere: two simulators must then agree in every bit. The other half takes any floats and
extreme parameters.

A loop is entered at one node, because only then do the documents say which edge closes it (plain.closing_edges). A
look-ahead never feeds the delayed taps of a convolution over time, whose reading is being changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import nir
import numpy as np

from tests.fuzz.engine import extension
from tests.fuzz.plain import Ambiguous, closing_edges

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
WIDTHS = (1, 2, 3, 4, 6)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One graph and what runs on it.

    Attributes:
        frames: [samples, steps, *features], in one of `DTYPES`.
        lengths: int64 [samples], or None for all steps.
        exact: whether float64 should round nowhere.
        in_file: whether it should be written and read, not passed in memory.
        kinds: how many nodes of each kind the graph holds.
    """

    seed: int
    graph: nir.NIRGraph
    frames: np.ndarray
    lengths: np.ndarray | None
    exact: bool
    in_file: bool
    kinds: Counter[str]


def case(seed: int, dtypes: tuple[str, ...] = DTYPES, quantisable: bool = False) -> Case:
    """The graph of a seed.

    Args:
        dtypes: of the input.
        quantisable: leave out what conversion.quantize refuses by name.
    """
    rng = np.random.default_rng(seed)
    exact = bool(rng.random() < 0.5) and not quantisable
    dt = 2.0**-10 if exact else float(rng.choice([1e-4, 1e-3, 0.01]))
    dtype = str(rng.choice(dtypes))
    in_file = bool(rng.random() < 0.1)
    draft = Draft(rng, exact, dt, quantisable, tidy=quantisable or in_file)
    shapes = [draft.input_shape() for _ in range(rng.choice([1, 1, 1, 2, 3]))]
    steps = int(rng.integers(100, 200) if quantisable else rng.integers(1, 9 if exact else 25))
    samples = int(rng.integers(1, 4))
    features = shapes[0] if len(shapes) == 1 else (sum(int(np.prod(shape)) for shape in shapes),)
    frames, size = input_frames(rng, exact, dtype, (samples, steps, *features), quantisable)
    for shape in shapes:
        draft.add(nir.Input(input_type={"input": np.array(shape)}), (), shape, size=size)
    for _ in range(int(rng.integers(1, 9))):
        draft.grow()
    draft.close()
    if draft.tidy:
        frames = pruned(draft, frames)
    metadata: dict[str, object] = {"dt": dt} if dt != 1e-4 or rng.random() < 0.5 else {}
    if rng.random() < 0.3 and not quantisable:
        metadata["rule"] = ">="
        reach(draft.nodes)
    lengths = rng.integers(0, steps + 1, samples) if rng.random() < 0.4 else None
    return Case(seed, draft.graph(metadata), frames, lengths, exact, in_file, draft.kinds)


def input_frames(
    rng: np.random.Generator, exact: bool, dtype: str, shape: Shape, quantisable: bool
) -> tuple[np.ndarray, float]:
    """Spikes, small numbers, or numbers to the ends of the type, and their usual size."""
    mode = rng.choice(["spikes", "small", "small" if quantisable else "ends"])
    if mode == "spikes" or dtype == "bool":
        return (rng.random(shape) < 0.4).astype(dtype), 0.5
    kind = np.dtype(dtype)
    if mode == "ends" and kind.kind in "ui":
        ends = np.iinfo(kind)
        top = min(int(ends.max), 2**40) if rng.random() < 0.8 or not exact else int(ends.max)
        bottom = max(int(ends.min), -top)
        return rng.integers(bottom, top, shape, endpoint=True, dtype=kind), top / 2
    if mode == "ends":
        top = {"float16": 2048.0, "float32": 2.0**24, "float64": 2.0**30}[dtype]
        return np.rint(rng.uniform(-top, top, shape)).astype(kind), top / 2
    if kind.kind in "ui":
        return rng.integers(-4 if kind.kind == "i" else 0, 5, shape).astype(kind), 2.0
    numbers = rng.integers(-8, 9, shape) / 4 if exact else rng.normal(0, 1, shape)
    return numbers.astype(kind), 1.0


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


def reach(nodes: dict[str, nir.NIRNode]) -> None:
    """Rule >=: the file holds the number below each threshold."""
    for node in nodes.values():
        for key in ("v_threshold", "threshold"):
            if hasattr(node, key):
                setattr(node, key, np.nextafter(getattr(node, key), -np.inf))
        if isinstance(node, nir.NIRGraph):
            reach(node.nodes)


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

    # ---- growing ----

    def grow(self) -> None:
        """Adds a random operation on what is there; one that does not fit is left out."""
        table = [*SIMPLE, *([] if self.depth > 1 else ["nested"]), *([] if self.depth else ROLES), "loop", "taps"]
        if self.quantisable:
            table = [kind for kind in table if kind != "threshold_node"]
        getattr(self, str(self.rng.choice(table)))()

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
            reset = self.chance(0.3) and not self.quantisable
            node["v_threshold"] = self.thresholds(shape, size)
            node["v_reset"] = self.numbers(*shape) * (1 if self.exact else size) if reset else np.zeros(shape)
        return self.add(getattr(nir, kind)(**node), sources, shape, 0.5 if fires else 2 * size, fires)

    # ---- extension operations ----

    def operation(self, op: str, sources: tuple[str, ...], size: float, **metadata: object) -> None:
        width = self.shapes[sources[0]][0]
        self.add(extension(op, width, metadata), sources, (width,), size, op == "look_ahead" and self.all_fire(sources))

    def look_ahead(self) -> None:
        if sources := self.sources(lambda shape: len(shape) == 1):
            self.operation("look_ahead", sources, self.size(sources), steps=int(self.rng.integers(0, 5)))

    def gate(self) -> None:
        gate = self.pick(lambda name: name in self.firing and len(self.shapes[name]) == 1)
        if gate is not None:
            current = str(self.pick(lambda name: self.shapes[name] == self.shapes[gate]))
            self.operation("gate", (current, gate), self.sizes[current], current=current, gate=gate)

    def rotary(self) -> None:
        sources = self.sources(lambda shape: len(shape) == 1 and shape[0] % 2 == 0)
        if sources and not self.exact:  # sines round
            angle = self.rng.uniform(-3, 3, self.shapes[sources[0]][0] // 2)
            self.operation("rotary", sources, self.size(sources), angle=angle, scale=float(self.rng.normal()))

    def attention(self) -> None:
        """Of anything with anything, once or several times the same."""
        first = self.pick(lambda name: len(self.shapes[name]) == 1)
        if first is None:
            return
        roles = {key: str(self.pick(lambda n: self.shapes[n] == self.shapes[first])) for key in ("key", "value")}
        roles["query"] = first
        heads = int(self.rng.choice([h for h in (1, 2, 3) if self.shapes[first][0] % h == 0]))
        factor = float(self.rng.choice([0.5, 1.0, 0.25]))
        size = float(np.prod([self.sizes[name] for name in roles.values()]))
        self.operation(
            "attention", tuple(roles.values()), size, **roles, heads=heads, scale=factor, causal=self.chance(0.5)
        )

    # ---- structures ----

    def taps(self) -> None:
        """A causal convolution over time as the files spell it: delayed linear maps that feed one reader."""
        source = self.pick(lambda n: len(self.shapes[n]) == 1 and self.nodes[n].metadata.get("op") != "look_ahead")
        if source is None:
            return
        (width,), layer = self.shapes[source], f"c{len(self.nodes)}"
        outputs = int(self.rng.choice(WIDTHS))
        taps = []
        for i, steps in enumerate(self.rng.choice(5, int(self.rng.integers(1, 4)), replace=False)):
            delay = nir.Delay(delay=np.full(width, steps * self.dt))
            before = self.add(delay, (source,), (width,), 0, name=f"{layer}.delay{i}") if steps else source
            weight = self.numbers(outputs, width)
            node = nir.Affine(weight=weight, bias=self.numbers(outputs)) if not i else nir.Linear(weight=weight)
            taps.append(self.add(node, (before,), (outputs,), self.sizes[source], name=f"{layer}.tap{i}"))
        self.neurons(tuple(taps))

    def nested(self) -> None:
        """A graph within the graph."""
        if sources := self.sources():
            self.inner(sources, int(self.rng.integers(0, 4)))

    def inner(self, sources: tuple[str, ...], operations: int) -> str:
        draft = Draft(self.rng, self.exact, self.dt, self.quantisable, self.tidy, self.depth + 1)
        shape, size = self.shapes[sources[0]], self.size(sources)
        entry = draft.add(nir.Input(input_type={"input": np.array(shape)}), (), shape, size, self.all_fire(sources))
        if operations == 0:
            draft.neurons((entry,))
        for _ in range(operations):
            draft.grow()
        draft.close(several=operations > 0)  # inside a loop a short cut past the neuron would be a loop without one
        if self.tidy:
            pruned(draft, np.zeros((0, *shape)))
        last = list(draft.nodes)[-1]
        self.kinds.update({f"nested {kind}": count for kind, count in draft.kinds.items()})
        feeds = tuple(source for source, target in draft.edges if target == last)
        fires = len(feeds) == 1 and feeds[0] in draft.firing
        return self.add(draft.graph({}), sources, draft.shapes[last], draft.size(feeds), fires)

    def loop(self) -> None:
        """A chain that feeds itself: entered at its first node, with loops within and short cuts."""
        sources = self.sources()
        if not sources:
            return
        shape = self.shapes[sources[0]]
        stateful: list[bool] = []
        chain: list[str] = []
        for i in range(int(self.rng.integers(1, 5))):
            feeds = sources if i == 0 else (chain[-1],)
            kind = str(self.rng.choice(["neuron", "neuron", "leaky", "scale", "delay", "nested", "synapse"]))
            if kind == "neuron" or (kind == "synapse" and len(shape) > 1):
                chain.append(self.neurons(feeds))
            elif kind == "leaky":
                chain.append(self.neurons(feeds, fires=False))
            elif kind == "nested":
                chain.append(self.inner(feeds, 0))
            elif kind == "synapse":
                chain.append(self.synapse(feeds, shape[0]))
            elif kind == "scale":
                chain.append(self.add(nir.Scale(scale=self.numbers(*shape)), feeds, shape, self.size(feeds)))
            else:
                chain.append(self.delayed(feeds))
            stateful.append(kind in ("neuron", "leaky", "nested") or (kind == "synapse" and len(shape) > 1))
        if not any(stateful):
            chain.append(self.neurons((chain[-1],)))
            stateful.append(True)
        self.edges.append((chain[-1], chain[0]))
        self.kinds["self loop" if len(chain) == 1 else "loop"] += 1
        for _ in range(int(self.rng.integers(0, 3))):
            i, j = (int(n) for n in self.rng.integers(0, len(chain), 2))
            edge = (chain[i], chain[j])
            if edge not in self.edges and (i < j or any(stateful[j : i + 1])) and self.one_reading(edge, chain):
                self.edges.append(edge)
                self.kinds["short cut" if i < j else "loop within"] += 1

    def one_reading(self, edge: tuple[str, str], chain: list[str]) -> bool:
        """Whether each loop of a chain is entered at one node with this edge too."""
        inside = {(source, target) for source, target in self.edges if target in chain}
        try:
            closing_edges(inside | {edge})
        except Ambiguous:
            return False
        return True


SIMPLE = [
    "linear",
    "linear",
    "scale",
    "delay",
    "flatten",
    "convolution",
    "convolution",
    "pool",
    "neuron",
    "neuron",
    "neuron",
    "integrator",
    "threshold_node",
    "look_ahead",
    "rotary",
]
ROLES = ["gate", "attention"]
