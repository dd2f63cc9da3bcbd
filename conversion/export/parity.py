"""Runs the PyTorch network and records what the simulators record, so that the two can be compared spike for spike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.export.network import ONE_FRAME, WAYS, Followed, follow
from neurotarget.model.training import checkpoint, registry
from neurotarget.sim.graph import Graph
from neurotarget.sim.parity import Compared, Parity, compare_part
from neurotarget.sim.trace import Trace, windowed
from spikingjelly.activation_based import base, neuron
from torch import nn
from torch.func import functional_call

BATCH = 64


def pytorch_trace(
    network: nn.Module | str | Path,
    frames: np.ndarray,
    lengths: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    precision: str = "float64",
) -> Trace:
    """Runs a network in evaluation mode on the CPU and records every spiking layer.

    The network is afterwards as it was: its parameters are copied into the precision asked for, and its modes, membrane
    potentials and hooks come back also when its run raises.

    Args:
        network: a network of `model/`, or the path of a checkpoint.
        frames: [samples, steps, *features].
        lengths: int64 [samples]; all steps when left out.
        precision: `float64` or `float32`.

    Raises:
        CheckpointError: the path is not a usable checkpoint.
    """
    module = checkpoint.load(network).model() if isinstance(network, (str, Path)) else network
    dtype = getattr(torch, precision)
    steps = frames.shape[1]
    lengths = np.full(len(frames), steps) if lengths is None else np.asarray(lengths)
    recorded: dict[str, list[np.ndarray]] = {}
    outputs: list[np.ndarray] = []

    def recorder(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            recorded.setdefault(name, []).append(output.detach().transpose(0, 1).to(torch.uint8).numpy())

        return hook

    with torch.no_grad(), contextlib.ExitStack() as stack:
        stack.enter_context(_undisturbed(module))
        for name, child in module.named_modules():
            if isinstance(child, neuron.BaseNode):
                stack.enter_context(child.register_forward_hook(recorder(name)))
        module.eval()
        values = {
            name: _converted(value, dtype) for name, value in (*module.named_parameters(), *module.named_buffers())
        }
        for start in range(0, len(frames), BATCH):
            rows = slice(start, start + BATCH)
            x = torch.from_numpy(np.array(frames[rows], dtype=np.float64)).to(dtype)
            output = _forward(module, values, x, torch.from_numpy(lengths[rows].copy()))
            outputs.append(output.transpose(0, 1).numpy())
    return Trace(
        spikes={name: windowed(np.concatenate(parts), lengths) for name, parts in recorded.items()},
        output=windowed(np.concatenate(outputs).astype(np.float64), lengths),
        input=windowed(np.asarray(frames), lengths),
        lengths=lengths.astype(np.int64),
        labels=labels,
        header={"backend": "pytorch", "precision": precision, "latency_steps": 0},
    )


@contextlib.contextmanager
def _undisturbed(network: nn.Module) -> Iterator[None]:
    """Training or evaluation, step mode and membrane potentials of a network are afterwards what they were."""
    modules = list(network.modules())
    training = [module.training for module in modules]
    memories = [(m._memories, dict(m._memories)) for m in modules if isinstance(m, base.MemoryModule)]
    try:
        yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            module.training = mode
        for now, before in memories:
            now.clear()
            now.update(before)


def _converted(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """On the CPU, and where it is a real number in that precision."""
    return value.to("cpu", dtype if value.is_floating_point() else value.dtype)


def _forward(
    module: nn.Module, values: dict[str, torch.Tensor], x: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Output [steps, samples, ...] of x [samples, steps, ...] with `values` in place of parameters and buffers."""
    output: torch.Tensor = functional_call(module, values, (x, lengths))
    return output


def against_reference(
    network: nn.Module, graph: Graph, trace: Trace, ways: tuple[str, ...] = WAYS, precision: str = "float64"
) -> Parity:
    """As `Against`, of all samples."""
    return Against(network, graph, ways, precision)(trace).parity(graph)


@dataclass(frozen=True, eq=False)
class Against:
    """A fold: a network in PyTorch against the reference simulator's run of its file, on the samples of that run.

    Attributes:
        ways: in which a network of anybody's may take its frames; those of `model/` have their own.
    """

    network: nn.Module
    graph: Graph
    ways: tuple[str, ...]
    precision: str

    def __call__(self, trace: Trace) -> Compared:
        """Raises UnsupportedModule: the network takes the samples in none of the ways."""
        if isinstance(self.network, registry.Network):
            own = pytorch_trace(self.network, trace.input, trace.lengths, precision=self.precision)
            return compare_part(self.graph, *_of_one_network(own, trace))
        one = trace.samples == 1  # an axis of size 1 does not tell steps from samples: it is taken twice
        whole = trace.rows([0, 0]) if one else trace
        followed = follow(self.network, whole.input, self.ways, getattr(torch, self.precision))
        own, ours = followed_trace(followed, whole)
        return compare_part(self.graph, *((own.rows([0]), ours.rows([0])) if one else (own, ours)))


def followed_trace(followed: Followed, ours: Trace) -> tuple[Trace, Trace]:
    """What a network computed while it was followed, and our run of it: both with the same read-out.

    Args:
        ours: the reference simulator's run of the converted network on the same frames.
    """
    if followed.way == ONE_FRAME and (ours.input.shape[1] != followed.steps or (ours.input != ours.input[:, :1]).any()):
        raise UnsupportedModule(
            f"the network shows one frame at each of its {followed.steps} steps; give frames of that many equal steps"
        )
    spikes = {}
    for name in ours.spikes:
        if (leaf := followed.leaves.get(name)) is None:
            continue  # said by `_of_one_network`
        sent = leaf.sent[0] if leaf.calls[0].step is None else torch.stack(leaf.sent[-followed.steps :])
        sent = sent if len(sent) == followed.steps else sent.unflatten(0, (followed.steps, -1))
        spikes[name] = windowed(sent.transpose(0, 1).to(torch.uint8).numpy(), ours.lengths)
    output = followed.tensor
    if followed.output.over_steps and ours.lengths.min() < followed.steps:
        raise UnsupportedModule("the network sums its steps and takes no lengths; give samples of the same length")
    if followed.output.over_steps:  # the network gives one value per sample, the mean or the sum over its steps
        ours = replace(ours, output=getattr(ours.output, followed.output.over_steps)(axis=1, keepdims=True))
        output = output[None]
    own = Trace(
        spikes=spikes,
        output=windowed(output.transpose(0, 1).numpy().astype(np.float64), ours.lengths),
        input=ours.input,
        lengths=ours.lengths,
        header={"backend": "pytorch", "precision": str(output.dtype).removeprefix("torch."), "latency_steps": 0},
    )
    return _of_one_network(own, ours)


def _of_one_network(own: Trace, ours: Trace) -> tuple[Trace, Trace]:
    """The traces of a network and of its file, whose layers have the same names and shapes.

    Raises:
        UnsupportedModule: it is another network's file.
    """
    pairs = {f"layer {name}": (own.spikes.get(name), spikes) for name, spikes in ours.spikes.items()}
    for name, (one, other) in {**pairs, "output": (own.output, ours.output)}.items():
        here, there = ("missing" if found is None else f"{[*found.shape[2:]]}" for found in (one, other))
        if here != there:
            raise UnsupportedModule(
                f"{name} is {here} in the network and {there} in the file; give the network that it was converted from"
            )
    return own, ours
