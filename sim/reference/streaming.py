"""A causal network run as its input comes: step by step, in constant memory, without waiting for anything.

Everything that lasts from step to step lies in arrays whose sizes are those of the network (step_operations.py): no
step costs more than another, however long the stream. What is computed is the reference simulator's: its neurons are
called with one step at a time, and what the simulator does over whole utterances is written in the form that needs the
past only. In integers the two are equal bit for bit, and in floating point (double precision) too, as both add in the
same order (sums.py); attention alone adds in another, and is equal where its sums are exact, as those of spikes are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numba
import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import OVER_TIME
from neurotarget.sim.graph.node import GraphError, Node
from neurotarget.sim.reference.engine import prepare
from neurotarget.sim.reference.step_operations import STEP_OPERATIONS, Site, stepwise


class Stream:
    """One stream through a causal network.

    >>> stream = Stream(load("network.nir"))
    >>> output = stream.push(frames)  # [steps, *outputs], as many steps as frames came

    Attributes:
        graph: the network.
        step: steps since the start of the stream or the last `reset`.
        values: node -> what it sent in the last step, [*shape], float64, or int64 of a quantised network; spikes are 0
            or 1. The arrays are overwritten by the next step.
    """

    def __init__(self, graph: Graph) -> None:
        """Lays out the arrays of the network.

        Raises:
            GraphError: a layer looks ahead or waits for the end of an utterance, or the graph cannot be run.
        """
        refuse_what_waits(graph)
        self.graph, self.step = graph, 0
        self._prepared = prepare(graph)
        self._frame = np.zeros(graph.input.output_shape)
        nodes = [graph.nodes[name] for component in graph.components for name in component]
        ends = np.cumsum([node.neurons for node in nodes])
        self._all = np.zeros(ends[-1], self._prepared.dtype)
        parts = zip(nodes, np.split(self._all, ends[:-1]), strict=True)
        self.values = {node.name: part.reshape(node.output_shape) for node, part in parts}
        self.values[graph.output.name] = np.zeros(graph.output.output_shape)  # in its unit, of integers too
        self._resets: list[Callable[[], None]] = []
        self._steps = [step for node in nodes for step in self._laid_out(node)]
        self.reset()

    def reset(self) -> None:
        """Starts the next utterance afresh."""
        self.step = 0
        for values in self.values.values():
            values[...] = 0  # what a loop reads at its first step
        for reset in self._resets:
            reset()

    def push(self, frames: np.ndarray) -> np.ndarray:
        """The outputs, float64 [steps, *outputs], of frames [steps, *features] that follow those pushed before.

        Raises:
            GraphError: frames of another shape, or a number that overflows.
        """
        frames = np.asarray(frames)
        if frames.shape[1:] != self._frame.shape:
            raise GraphError(
                f"frames of shape {frames.shape}; {self.graph.source} takes [steps, "
                f"{', '.join(map(str, self._frame.shape))}]"
            )
        out = np.empty((len(frames), *self.graph.output.output_shape))
        threads = numba.get_num_threads()
        numba.set_num_threads(1)  # to start a second one takes longer than a step of a layer
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # found below, and said by name
                for frame, sent in zip(frames, out, strict=True):
                    np.copyto(self._frame, frame)
                    for step in self._steps:
                        step(self.step)
                    sent[...] = self.values[self.graph.output.name]
                    if not np.isfinite(self._all.sum()):
                        self._refuse_overflow()
                    self.step += 1
        finally:
            numba.set_num_threads(threads)
        return out

    def _laid_out(self, node: Node) -> Iterator[Callable[[int], None]]:
        """What has to be done for a node in each step, in this order."""
        roles = node.roles or {"": node.sources}
        inputs = {}
        for role, sources in roles.items():
            arrays = [self.values[source] for source in sources] or [self._frame]
            inputs[role] = arrays[0]
            if len(arrays) > 1:
                inputs[role] = total = np.zeros(arrays[0].shape, self._prepared.dtype)
                yield from (_sum(total, *arrays[:2]), *(_sum(total, total, array) for array in arrays[2:]))
        site = Site(node, self._prepared, inputs, self.values[node.name], self._resets)
        yield STEP_OPERATIONS.get(node.kind, stepwise)(site)

    def _refuse_overflow(self) -> None:
        for name, values in self.values.items():
            if not np.isfinite(values).all():
                node = self.graph.nodes[name]
                raise GraphError(
                    f"node {name} ({node.kind}): its values overflow float64 in step {self.step}; make its "
                    "weights or its input smaller"
                )


def _sum(out: np.ndarray, first: np.ndarray, second: np.ndarray) -> Callable[[int], None]:
    return lambda step: np.add(first, second, out=out)


def look_ahead(node: Node) -> int | None:
    """Steps after the present that a node needs to answer for it; None for all to the end of the utterance."""
    if node.kind == "attention" and not node.parameters["causal"]:
        return None
    key = "look_ahead" if node.kind in OVER_TIME else "steps" if node.kind == "look_ahead" else ""
    return int(node.parameters[key]) if key else 0


def refuse_what_waits(graph: Graph) -> None:
    """Raises GraphError for a network that cannot answer each step when it comes: which layer waits, and how long."""
    waiting = {name: ahead for name, node in graph.nodes.items() if (ahead := look_ahead(node)) != 0}
    if not waiting:
        return
    name, ahead = next(iter(waiting.items()))
    milliseconds = "" if graph.dt_is_default or ahead is None else f" ({1000 * graph.dt * ahead:g} ms)"
    steps = f"{ahead} step{'' if ahead == 1 else 's'}"
    waits = "waits for the end of the utterance" if ahead is None else f"looks {steps}{milliseconds} ahead"
    others = f", and {len(waiting) - 1} other layers too" if len(waiting) > 1 else ""
    raise GraphError(
        f"node {name} ({graph.nodes[name].kind}) {waits}{others}: {graph.source} cannot answer each step as it comes; "
        "train it with model.causal = true, or run whole utterances with sim.run"
    )
