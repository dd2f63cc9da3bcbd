"""Other packages' counters on the same network and samples, beside ours: where they depart, and why.

SpikingJelly's op_counter, syops 0.0.5 and NeuroBench run themselves; nothing of them is imitated. syops imports names
that SpikingJelly 2.0 dropped: they are supplied while it is imported, in this process only, and no network here has
layers of those types.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from neurotarget.hardware.counts.layers import LayerCount, count
from neurotarget.sim.graph import Graph
from neurotarget.sim.trace import Trace

from neurotarget.errors import UserError

if TYPE_CHECKING:
    from neurotarget.conversion.export.torch_network import TorchNetwork

SAMPLES = 16  # each runs alone, three times over
DROPPED = ("MultiStepIFNode", "MultiStepLIFNode", "MultiStepParametricLIFNode")
INSTALL = "not installed; pip install --no-deps -r requirements-counters.txt"
Counted = Mapping[str, tuple[float, float]]  # layer -> ACs and MACs per sample

WHY_INTEGER = "the input is not spikes: this counter takes the whole layer as dense MACs, ours counts its events"
WHY_REAL = "the input holds numbers that are not integers: no event has the same price in both"
WHY_ZERO = "a layer of no exact type that this counter knows: counted as nothing"
WHY_MISSED = "not a layer with a hook of this counter: counted as nothing"
WHY_ATTENTION = (
    "this counter takes the products in PyTorch's order (causal: q k^T first), and coincidences only where both "
    "operands happen to be binary; ours counts the linear order q (k^T v)"
)
WHY_PADDING = "this counter counts products with padding, or in outputs beyond the ends; ours counts real synapses"
WHY_UTTERANCE = "spikes or not is decided there for each utterance, here for the run; or a weight is exactly zero"
WHY_RATE = "ACs are dense operations times the mean rate, with the bias"


class CounterMissing(UserError):
    """A package that cannot be run: the message is the reason."""


@dataclass(frozen=True)
class CounterRow:
    """One package's count of one layer beside ours, means over the samples.

    Attributes:
        layer: its name.
        counter: `op_counter`, `syops` or `NeuroBench`.
        acs, macs: per sample, as that package counts them.
        our_acs, our_macs: per sample, as in layers.
        equal: whether they are the same.
        why: the reason where they are not.
    """

    layer: str
    counter: str
    acs: float
    macs: float
    our_acs: float
    our_macs: float
    equal: bool
    why: str


@dataclass(frozen=True)
class CounterUnavailable:
    """A package that could not be run.

    Attributes:
        counter: its name.
        reason: why not.
    """

    counter: str
    reason: str


@dataclass(frozen=True)
class CounterComparison:
    """Other packages' counts beside ours.

    Attributes:
        samples: that were counted.
        rows: one per layer and package.
        unavailable: packages that could not be run.
    """

    samples: int
    rows: tuple[CounterRow, ...]
    unavailable: tuple[CounterUnavailable, ...]

    def by_counter(self) -> list[CounterSum]:
        """Each package's figures over all layers."""
        result = []
        for counter in dict.fromkeys(row.counter for row in self.rows):
            mine = [row for row in self.rows if row.counter == counter]
            result.append(
                CounterSum(
                    counter=counter,
                    acs=sum(row.acs for row in mine),
                    macs=sum(row.macs for row in mine),
                    our_acs=sum(row.our_acs for row in mine),
                    our_macs=sum(row.our_macs for row in mine),
                    layers=len(mine),
                    equal=sum(row.equal for row in mine),
                    reasons=dict(Counter(row.why for row in mine if not row.equal).most_common()),
                )
            )
        return result


@dataclass(frozen=True)
class CounterSum:
    """One package's figures over all layers: sums per sample, how many layers agree, and the reasons of the others.

    Attributes:
        reasons: reason -> layers that it covers, the most frequent first.
    """

    counter: str
    acs: float
    macs: float
    our_acs: float
    our_macs: float
    layers: int
    equal: int
    reasons: Mapping[str, int]


def compare_counters(network: TorchNetwork, graph: Graph, trace: Trace) -> CounterComparison:
    """Runs every counter on a network in PyTorch and on the first `SAMPLES` samples of the trace's input.

    Args:
        graph, trace: the same network and its reference run, for our own counts.
    """
    few = trace.rows(slice(SAMPLES))
    return compare_module(network, few, count(graph, few))


def compare_module(network: TorchNetwork, trace: Trace, counts: Sequence[LayerCount]) -> CounterComparison:
    """The same with our counts at hand, whose layers have the names of the network's."""
    import torch
    from neurotarget.conversion.export.network import following

    network = network.to("cpu", torch.float64)
    layers = [layer for layer in counts if layer.dense_macs and layer.kind not in ("gate", "rotary")]
    found, unavailable = {}, []
    with following(network.module, torch.float64):
        for name, counter in COUNTERS.items():
            try:
                found[name] = counter(network, trace)
            except CounterMissing as error:
                unavailable.append(CounterUnavailable(name, str(error)))
    rows = [_row(name, layer, counted) for layer in layers for name, counted in found.items()]
    return CounterComparison(trace.samples, tuple(rows), tuple(unavailable))


def _row(counter: str, layer: LayerCount, found: Counted) -> CounterRow:
    theirs = found.get(layer.name, (0.0, 0.0))
    ours = (layer.acs / layer.samples, layer.macs / layer.samples)
    equal = bool(np.allclose(theirs, ours, rtol=1e-12, atol=1e-6))
    why = "" if equal else _why(counter, layer, layer.name in found)
    return CounterRow(layer.name, counter, *theirs, *ours, equal, why)


def _why(counter: str, layer: LayerCount, known: bool) -> str:
    if not known:
        return WHY_MISSED if counter == "NeuroBench" else WHY_ZERO
    if layer.kind == "attention":
        return WHY_ATTENTION
    if counter == "NeuroBench":
        return WHY_PADDING if "conv" in layer.kind else WHY_UTTERANCE
    if layer.payload == "integer":
        return WHY_INTEGER
    if layer.payload == "real":
        return WHY_REAL
    return WHY_RATE if counter == "syops" else WHY_PADDING


# ---- the packages ----------------------------------------------------------------------------------------------------


def _forward(network: TorchNetwork, trace: Trace) -> None:
    """Forward passes over the trace's input, [samples, steps, features]."""
    import torch

    for frames, length in zip(trace.input, trace.lengths, strict=True):
        # Each utterance alone and at its own length: these packages would count padding.
        sample = torch.as_tensor(np.asarray(frames[None, :length], np.float64))
        with torch.no_grad():
            network(sample, torch.as_tensor([length]))


def op_counter(network: TorchNetwork, trace: Trace) -> Counted:
    """SpikingJelly's `op_counter`, at the level of PyTorch's dispatcher, by module."""
    from spikingjelly.activation_based.op_counter import ACCounter, DispatchCounterMode, MACCounter

    ac, mac = ACCounter(), MACCounter()
    with DispatchCounterMode([ac, mac]):
        _forward(network, trace)
    # Scopes are the class of the network and then the path of the module.
    totals = [
        {scope.partition(".")[2]: sum(by.values()) / trace.samples for scope, by in counter.get_counts().items()}
        for counter in (ac, mac)
    ]
    return {name: (totals[0].get(name, 0.0), totals[1].get(name, 0.0)) for name in {*totals[0], *totals[1]} if name}


def syops(network: TorchNetwork, trace: Trace) -> Counted:
    """syops 0.0.5, its own hooks; divided by samples, because its own batches are calls of the network."""
    engine = _import("syops.engine", _dropped_names)
    ops = importlib.import_module("syops.ops")
    counted = engine.add_syops_counting_methods(network.module)
    with contextlib.redirect_stdout(io.StringIO()):
        counted.start_syops_count(ost=io.StringIO(), verbose=False, ignore_list=[])
        _forward(network, trace)
        known = {
            name: tuple(float(child.__syops__[i]) / trace.samples for i in (1, 2))
            for name, child in counted.named_modules()
            if type(child) in ops.MODULES_MAPPING
        }
        counted.stop_syops_count()
    return {name: (acs, macs) for name, (acs, macs) in known.items()}


def neurobench(network: TorchNetwork, trace: Trace) -> Counted:
    """NeuroBench's `single_layer_MACs` on what its hooks would see: every layer of a type that it supports."""
    layers = _import("neurobench.metrics.utils.layers")
    blocks = importlib.import_module("neurobench.blocks.layer")
    received: dict[str, list[Any]] = {}

    def keep(name: str) -> Callable[[Any, Any], None]:
        return lambda _, inputs: received.setdefault(name, []).append(inputs[0])

    chosen = {
        name: child for name, child in network.module.named_modules() if isinstance(child, blocks.SUPPORTED_LAYERS)
    }
    hooks = [child.register_forward_pre_hook(keep(name)) for name, child in chosen.items()]
    try:
        _forward(network, trace)
    finally:
        for hook in hooks:
            hook.remove()
    found = {}
    for name, inputs in received.items():
        acs = macs = 0
        for values in inputs:
            operations, spiking = layers.single_layer_MACs(values, chosen[name])
            acs, macs = (acs + operations, macs) if spiking else (acs, macs + operations)
        found[name] = (acs / trace.samples, macs / trace.samples)
    return found


@contextlib.contextmanager
def _dropped_names() -> Iterator[None]:
    """SpikingJelly's neuron module with the names that syops imports; classes of nothing, removed again."""
    from spikingjelly.activation_based import neuron

    added = [name for name in DROPPED if not hasattr(neuron, name)]
    for name in added:
        setattr(neuron, name, type(name, (), {}))
    try:
        yield
    finally:
        for name in added:
            delattr(neuron, name)


def _import(name: str, around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext) -> Any:
    """A package of the extra `counters`.

    Raises:
        CounterMissing: it is not installed, or does not import.
    """
    try:
        with around():
            return importlib.import_module(name)
    except ImportError as error:
        missing = error.name or str(error)
        raise CounterMissing(
            INSTALL if missing.split(".")[0] == name.split(".")[0] else f"{INSTALL}: {error}"
        ) from None


COUNTERS: dict[str, Callable[[TorchNetwork, Trace], Counted]] = {
    "op_counter": op_counter,
    "syops": syops,
    "NeuroBench": neurobench,
}
