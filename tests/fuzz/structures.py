"""What a random graph has beyond NIR's primitives: extension operations, loops, nested graphs, taps over time."""

from __future__ import annotations

from dataclasses import dataclass

import nir
import numpy as np

from tests.fuzz.draft import WIDTHS, Draft, pruned
from tests.fuzz.engine import extension
from tests.fuzz.loops import Ambiguous, closing_edges

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


@dataclass
class Network(Draft):
    """A graph that grows by any operation."""

    def grow(self) -> None:
        """Adds a random operation on what is there; one that does not fit is left out."""
        table = [*SIMPLE, *([] if self.depth > 1 else ["nested"]), *([] if self.depth else ROLES), "loop", "taps"]
        getattr(self, str(self.rng.choice(table)))()

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
        draft = Network(self.rng, self.exact, self.dt, self.quantisable, self.tidy, self.depth + 1)
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
