"""A PyTorch network as a NIR file, checked against PyTorch: `python -m conversion.to_nir ckpt.pt`.

The file is opened again and run; it stays only if every spike and every output equals PyTorch's in double precision.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nir
import numpy as np
import torch
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.export.emit import emit
from neurotarget.conversion.export.fold import fold_batch_norm, fold_loop_bias, fold_parts, fold_time_constant
from neurotarget.conversion.export.network import Followed, draft_followed, follow
from neurotarget.conversion.export.parity import followed_trace, pytorch_trace
from neurotarget.model.training import checkpoint, registry
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.graph.kinds import SYNAPTIC
from neurotarget.sim.graph.nir_file import to_bytes
from neurotarget.sim.parity import Parity, compare
from neurotarget.sim.trace import windowed
from torch import nn

from neurotarget.cli import Command, Result, complain
from neurotarget.data import DataError, open_dataset
from neurotarget.files import check_output, write_bytes

# What happens to the draft between PyTorch's modules and NIR's nodes, in order.
STEPS = [fold_batch_norm, fold_parts, fold_loop_bias, fold_time_constant]

SAME_WEIGHT = 1e-6  # of the largest weight: a file may hold float32
RANDOM_SAMPLES, RANDOM_STEPS, REAL_SAMPLES = 4, 50, 16
PROBE_SAMPLES, PROBE_STEPS = 2, 6  # what a network is followed on where its user gives no frames


def to_nir(network: nn.Module, input_shape: tuple[int, ...], dt: float = dialect.DEFAULT_DT_SECONDS) -> nir.NIRGraph:
    """The NIR graph of a network: PyTorch's and SpikingJelly's layers in any forward pass.

    The forward pass is followed on random frames (export/follow.py); the network stays as it is.

    Args:
        input_shape: of one step of one sample, e.g. `(140,)` or `(2, 34, 34)`.
        dt: seconds per step.

    Raises:
        UnsupportedModule: something that cannot be converted exactly, or weights that are not finite.
    """
    frames = np.random.default_rng(0).poisson(0.5, (PROBE_SAMPLES, PROBE_STEPS, *input_shape)).astype(np.float64)
    return _converted(network, frames, dt)[0]


def _converted(network: nn.Module, frames: np.ndarray, dt: float) -> tuple[nir.NIRGraph, Followed]:
    for name, parameter in network.state_dict().items():
        if isinstance(parameter, torch.Tensor) and not bool(torch.isfinite(parameter).all()):
            raise UnsupportedModule(f"parameter {name} holds NaN or infinite values; train again")
    followed = follow(network, frames)
    draft = draft_followed(followed, frames.shape[2:])
    for step in STEPS:
        step(draft)
    ours = isinstance(network, registry.Network)
    return emit(draft, dt, dialect.READOUT_SOFTMAX_SUM if ours else dialect.READOUT_SUM), followed


def at_least_two(samples: np.ndarray) -> np.ndarray:
    """One sample is taken twice: an axis of size 1 does not tell steps from samples."""
    return np.repeat(samples, 2, axis=0) if len(samples) == 1 else samples


def write(graph: nir.NIRGraph, path: str | Path) -> Graph:
    """Writes a graph once its file has passed NIR's own checks and ours."""
    content = to_bytes(graph)
    checked = load(path, content=content)
    write_bytes(path, content)
    return checked


def check(network: nn.Module, graph: Graph, frames: np.ndarray, lengths: np.ndarray | None = None) -> Parity:
    """PyTorch against the reference simulator in double precision on [samples, steps, *features].

    The network is afterwards as it was. One that takes no lengths is given zeros beyond them.
    """
    lengths = reference.checked_lengths(graph, frames, lengths)
    if isinstance(network, registry.Network):
        own = pytorch_trace(network, frames, lengths)
        return compare(graph, own, reference.run(graph, frames, lengths))
    frames, lengths = at_least_two(windowed(frames, lengths)), at_least_two(lengths)
    return compare(graph, *followed_trace(follow(network, frames), reference.run(graph, frames, lengths)))


def require_same_network(graph: Graph, path: Path) -> None:
    """Refuses a checkpoint of another network than the file's, before work goes into comparing the two.

    Names and shapes of the spiking layers have to agree, and in floating point the weights of every synapse; the
    weights of a quantised file are others than those of what it was made of.

    Raises:
        CheckpointError: names what differs first; or the checkpoint cannot be used.
    """
    loaded = checkpoint.load(path)
    own = load(to_nir(loaded.model(), (loaded.config.features,), loaded.step_seconds))

    def other(found: str) -> checkpoint.CheckpointError:
        return checkpoint.CheckpointError(
            f"{path}: not the checkpoint of {graph.source}: {found}; give the one that it was converted from"
        )

    shapes, wanted = ({node.name: node.output_shape for node in either.spiking} for either in (own, graph))
    for name in [*wanted, *shapes]:
        if shapes.get(name) != wanted.get(name):
            here, there = (found.get(name, "missing") for found in (shapes, wanted))
            raise other(f"spiking layer {name} is {here} in it and {there} in the file")
    for node in () if graph.quantised else graph.of_kind(*SYNAPTIC):
        weight = own.nodes[node.name].parameters.get("weight") if node.name in own.nodes else None
        if weight is None or weight.shape != node.parameters["weight"].shape:
            raise other(f"it has no synapse {node.name} with weights of shape {node.parameters['weight'].shape}")
        difference = float(np.abs(weight - node.parameters["weight"]).max(initial=0))
        if difference > SAME_WEIGHT * max(1.0, float(np.abs(weight).max(initial=0))):
            raise other(f"weights of {node.name} differ by up to {difference:.3g}")


def random_frames(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random counts [samples, steps, *shape] as float64, and random lengths."""
    rng = np.random.default_rng(seed)
    frames = rng.poisson(0.5, (RANDOM_SAMPLES, RANDOM_STEPS, *shape)).astype(np.float64)
    return frames, rng.integers(RANDOM_STEPS // 2, RANDOM_STEPS + 1, RANDOM_SAMPLES)


def convert_checkpoint(source: Path, target: Path) -> list[tuple[str, Parity]]:
    """Writes `target` from a checkpoint and compares it with PyTorch on random input and on its own data.

    Returns:
        What was compared, and how it came out; nothing is written unless all of it holds.
    """
    loaded = checkpoint.load(source)
    network = loaded.model()
    written = to_nir(network, (loaded.config.features,), loaded.step_seconds)
    written.metadata |= dialect.data_metadata(loaded.classes, loaded.standardisation)
    content = to_bytes(written)
    graph = load(target, content=content)
    checks = [("random input", check(network, graph, *random_frames((loaded.config.features,))))]
    try:
        part = open_dataset(loaded.data, loaded.standardisation).split("test")
    except DataError as error:
        complain(f"note: no check on real input: {error}")
    else:
        rows = np.linspace(0, len(part.labels) - 1, min(REAL_SAMPLES, len(part.labels))).round().astype(int)
        checks.append((loaded.data, check(network, graph, part.frames[rows], part.lengths[rows])))
    if all(parity.holds for _, parity in checks):
        write_bytes(target, content)
    return checks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="file written by model.train")
    parser.add_argument("-o", "--output", type=Path, help="NIR file to write (default: beside the checkpoint)")


def work(arguments: argparse.Namespace) -> Result:
    target = arguments.output or arguments.checkpoint.with_suffix(".nir")
    check_output(target)
    checks = convert_checkpoint(arguments.checkpoint, target)
    lines = []
    for name, parity in checks:
        lines.append(
            f"{name}: {parity.sides}, {parity.samples} samples, {parity.steps} steps, {parity.spikes} spikes, "
            f"{parity.mismatched} mismatched ({parity.near_threshold} near threshold), outputs within "
            f"{parity.output_difference:.3g}"
        )
        if parity.first_divergence:
            lines.append(f"  first divergence: {parity.first_divergence}")
    held = all(parity.holds for _, parity in checks)
    lines.append(f"{target}: written" if held else "parity does not hold: nothing written")
    figures = {"file": str(target), "parity": [{"input": name, **parity.as_dict()} for name, parity in checks]}
    return Result(figures, "\n".join(lines), held)


main = Command(
    door="conversion.to_nir",
    description="Write a checkpoint as a NIR file and prove that it computes the same spikes.",
    example="runs/demo/ckpt.pt -o runs/demo/ckpt.nir",
    add_arguments=add_arguments,
    work=work,
    interrupted="interrupted: nothing written",
)

if __name__ == "__main__":
    sys.exit(main())
