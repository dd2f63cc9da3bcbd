"""A PyTorch network as a NIR file, checked against PyTorch: `python -m conversion.to_nir ckpt.pt`.

The file is opened again and run; it stays only if every spike and every output equals PyTorch's in double precision,
and something fired: silence proves nothing.
"""

from __future__ import annotations

import sys

from neurotarget.conversion.commands import to_nir as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from neurotarget.conversion.commands import REAL_SAMPLES
from neurotarget.conversion.export.belonging import difference
from neurotarget.conversion.export.draft import UnsupportedModule
from neurotarget.conversion.export.emit import emit
from neurotarget.conversion.export.factory import NetworkError, make_network
from neurotarget.conversion.export.fold import (
    fold_batch_norm,
    fold_loop_bias,
    fold_parts,
    fold_time_constant,
    settle_time_constants,
)
from neurotarget.conversion.export.network import Followed, draft_followed, follow
from neurotarget.conversion.export.parity import against_reference, followed_trace, pytorch_trace
from neurotarget.model.training import checkpoint, registry
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.graph.nir_file import to_bytes
from neurotarget.sim.inputs import Input, as_input, open_input
from neurotarget.sim.parity import DIFFERS, HOLDS, NOT_TESTED, Parity, compare
from neurotarget.sim.trace import windowed
from torch import nn

from neurotarget import kinds
from neurotarget.cli import Result, UsageError, complain
from neurotarget.data import DataError, open_dataset
from neurotarget.errors import CheckFailed
from neurotarget.files import check_output, write_bytes
from neurotarget.terminal import results

# What happens to the draft between PyTorch's modules and NIR's nodes, in order.
STEPS = [fold_batch_norm, fold_parts, fold_loop_bias, fold_time_constant]

# How a network of model/ reads a class, as its file says it: a mean is largest where the sum is.
READOUTS = {
    "softmax_sum": dialect.READOUT_SOFTMAX_SUM,
    "mean": dialect.READOUT_SUM,
    "spike_count": dialect.READOUT_SUM,
    "max": dialect.READOUT_MAX,
}

RANDOM_SAMPLES, RANDOM_STEPS = 4, 50
RANDOM_MEANS = (0.5, 4.0, 32.0, 256.0)  # of the counts, tried in this order until something fires
PROBE_SAMPLES, PROBE_STEPS = 2, 6  # what a network is followed on where its user gives no frames


def to_nir(network: nn.Module, input_shape: tuple[int, ...], dt: float = dialect.DEFAULT_DT_SECONDS) -> nir.NIRGraph:
    """The NIR graph of a network: layers of PyTorch, SpikingJelly, snnTorch and Norse in any forward pass.

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
        if not isinstance(parameter, torch.Tensor):
            continue
        if nn.parameter.is_lazy(parameter):
            raise UnsupportedModule(f"parameter {name} has no shape yet: run the lazy network once on frames, train it")
        if parameter.is_complex():
            raise UnsupportedModule(f"parameter {name} holds complex numbers; neurons have real ones")
        if parameter.is_meta:
            raise UnsupportedModule(f"parameter {name} is on the meta device, where it has no values; load weights")
        if not bool(torch.isfinite(parameter).all()):
            raise UnsupportedModule(f"parameter {name} holds NaN or infinite values; train again")
    followed = follow(network, frames)
    draft = draft_followed(followed, frames.shape[2:])
    followed.notes += draft.notes
    settle_time_constants(draft, dt)
    for step in STEPS:
        step(draft)
    readout = READOUTS[network.config.readout] if isinstance(network, registry.Network) else dialect.READOUT_SUM
    return emit(draft, dt, readout), followed


@dataclass(frozen=True)
class Converted:
    """A network's file, not written yet.

    Attributes:
        content: of the file.
        graph: that it holds.
        parity: the network against the reference simulator's run of the file, on the frames that it was followed on.
        notes: sentences for the user about what was assumed and what was not tested.
    """

    content: bytes
    graph: Graph
    parity: Parity
    notes: tuple[str, ...]


def export(
    network: nn.Module, frames: Any, path: str | Path, *, dt: float = dialect.DEFAULT_DT_SECONDS, lengths: Any = None
) -> Graph:
    """Writes a network as a NIR file once the file is known to compute the network's own spikes.

    The network's forward pass is followed on the frames, the file's content is run by the reference simulator, and
    every spike and output has to be equal in double precision. The network keeps its type, mode, device and state.

    >>> from spikingjelly.activation_based import layer, neuron
    >>> network = torch.nn.Sequential(
    ...     layer.Linear(16, 32, step_mode="m"), neuron.LIFNode(step_mode="m"),
    ...     layer.Linear(32, 4, step_mode="m"), neuron.LIFNode(v_threshold=0.1, step_mode="m"),
    ... )
    >>> frames = torch.rand(8, 40, 16) * 4  # 8 samples of 40 steps
    >>> graph = neurotarget.export(network, frames, "network.nir", dt=1e-3)
    >>> graph.dt, list(graph.nodes)
    (0.001, ['input', '0', '1', '2', '3', 'output'])

    Args:
        network: its layers are of PyTorch, of SpikingJelly or of another framework that has rules here.
        frames: [samples, steps, ...], an array or a tensor; those that it was tested with, or the like.
        path: file to write.
        dt: seconds per step.
        lengths: whole numbers [samples], steps of each sample; all steps when left out.

    Returns:
        The graph of the file written.

    Raises:
        UnsupportedModule, InputError: a layer or the frames cannot be used.
        CheckFailed: a spike or an output differs, or no neuron fires on these frames, so that nothing was tested.
        Nothing is written in either case.

    Warns:
        UserWarning: layers that never fire on these frames, whose equality was not tested; and what was assumed.
    """
    check_output(path)
    made = convert_network(network, as_input(frames, lengths), Path(path), dt)
    for note in made.notes:
        warnings.warn(note, stacklevel=2)
    if not made.parity.holds:
        raise CheckFailed(f"{path}: not written: {made.parity.sides}: {failure(made.parity)}")
    write_bytes(path, made.content)
    return made.graph


def convert_network(
    network: nn.Module, data: Input, target: Path, dt: float, metadata: Mapping[str, Any] | None = None
) -> Converted:
    """The content of a network's file, and how it compares with the network on the data.

    Args:
        target: of the file, for messages.
        metadata: of the graph, beside those that say how it computes.

    Raises:
        UnsupportedModule: the network cannot be converted.
        CheckFailed: no neuron fires.
    """
    if not isinstance(network, nn.Module):
        if isinstance(network, type) and issubclass(network, nn.Module):
            raise UnsupportedModule(f"the network is the class {network.__name__}; make one: {network.__name__}()")
        raise UnsupportedModule(f"the network is a {type(network).__name__}; a torch.nn.Module is expected")
    frames, lengths = at_least_two(windowed(data.frames, data.lengths)), at_least_two(data.lengths)
    written, followed = _converted(network, frames, dt)
    written.metadata |= dict(metadata or {})
    content = to_bytes(written)
    graph = load(target, content=content)
    ours = reference.run(graph, frames, lengths)
    if isinstance(network, registry.Network):
        own = pytorch_trace(network, frames, lengths)
    else:
        own, ours = followed_trace(followed, ours)
    parity = compare(graph, own, ours)
    where = f"on these frames, {len(data.frames)} samples of {data.frames.shape[1]} steps"
    if parity.outcome == NOT_TESTED:
        raise CheckFailed(
            f"{target}: not written: {parity.untested} {where}, so equality proves nothing; give frames on which the "
            "network is active: its own data, more steps or larger values"
        )
    never = parity.activity.never_fire
    said = [f"{', '.join(never)}: never fires {where}; its equality was not tested"] if never else []
    return Converted(content, graph, parity, (*followed.notes, *graph.notes, *said))


def failure(parity: Parity) -> str:
    """What differs, in a clause."""
    if parity.first_divergence is None:
        return f"no spike differs, but outputs do by up to {parity.output_difference:.3g}"
    return f"{parity.mismatched} spikes differ of {parity.spikes}; first divergence: {parity.first_divergence}"


def at_least_two(samples: np.ndarray) -> np.ndarray:
    """One sample is taken twice: an axis of size 1 does not tell steps from samples."""
    return np.repeat(samples, 2, axis=0) if len(samples) == 1 else samples


def write(graph: nir.NIRGraph, path: str | Path) -> Graph:
    """Writes a graph once its file has passed NIR's own checks and ours."""
    content = to_bytes(graph)
    checked = load(path, content=content)
    write_bytes(path, content)
    return checked


def check(network: nn.Module, graph: Graph | str | Path, frames: Any, lengths: Any = None) -> Parity:
    """A network against the reference simulator's run of its file, in double precision.

    >>> parity = neurotarget.check(network, "network.nir", frames)
    >>> parity.holds, parity.mismatched
    (True, 0)

    Args:
        network: afterwards as it was; one that takes no lengths is given zeros beyond them.
        graph: of its file, or the path.
        frames: [samples, steps, ...], an array or a tensor.
        lengths: whole numbers [samples], steps of each sample; all steps when left out.

    Raises:
        UnsupportedModule, InputError, GraphError: the network, the frames or the file cannot be used.
    """
    graph, data = load(graph), as_input(frames, lengths)
    return against_reference(network, graph, reference.run(graph, data.frames, data.lengths))


def require_same_network(graph: Graph, path: Path) -> None:
    """Refuses a checkpoint of another network than the file's, before work goes into comparing the two.

    Raises:
        CheckpointError: names what differs first; or the checkpoint cannot be used.
    """
    loaded = checkpoint.load_spiking(path)
    own = load(to_nir(loaded.model(), (loaded.config.features,), loaded.step_seconds))
    if found := difference(own, graph):
        raise checkpoint.CheckpointError(
            f"{path}: not the checkpoint of {graph.source}: {found}; give the one that it was converted from"
        )


def require_own_network(graph: Graph, network: nn.Module, name: str, frames: np.ndarray) -> None:
    """The same of a network of the user's own, on a few frames [samples, steps, ...].

    Raises:
        NetworkError: names what differs first.
        UnsupportedModule: it cannot be converted.
    """
    if found := difference(load(_converted(network, frames[[0, -1]], graph.dt)[0]), graph):
        raise NetworkError(
            f"{name}: not the network of {graph.source}: {found}; give the one that it was converted from, its "
            "weights too"
        )


def random_frames(
    shape: tuple[int, ...], seed: int = 0, mean: float = RANDOM_MEANS[0]
) -> tuple[np.ndarray, np.ndarray]:
    """Random counts [samples, steps, *shape] of a Poisson distribution of that mean as float64, and random lengths."""
    rng = np.random.default_rng(seed)
    frames = rng.poisson(mean, (RANDOM_SAMPLES, RANDOM_STEPS, *shape)).astype(np.float64)
    return frames, rng.integers(RANDOM_STEPS // 2, RANDOM_STEPS + 1, RANDOM_SAMPLES)


def check_on_random(network: nn.Module, graph: Graph, shape: tuple[int, ...]) -> tuple[str, Parity]:
    """PyTorch against the reference on random counts, raised until something fires; the text names them."""
    for mean in RANDOM_MEANS:
        parity = check(network, graph, *random_frames(shape, mean=mean))
        if parity.outcome != NOT_TESTED:
            break
    return "random input" + (f" of mean {mean:g}" if mean > RANDOM_MEANS[0] else ""), parity


def proven(checks: Sequence[tuple[str, Parity]]) -> bool:
    """Whether no comparison found a difference, and something fired in one of them."""
    outcomes = {parity.outcome for _, parity in checks}
    return HOLDS in outcomes and DIFFERS not in outcomes


def convert_checkpoint(source: Path, target: Path) -> list[tuple[str, Parity]]:
    """Writes `target` from a checkpoint and compares it with PyTorch on random input and on its own data.

    Returns:
        What was compared, and how it came out; nothing is written unless that is `proven`.
    """
    loaded = checkpoint.load_spiking(source)
    network = loaded.model()
    written = to_nir(network, (loaded.config.features,), loaded.step_seconds)
    written.metadata |= dialect.data_metadata(loaded.classes, loaded.standardisation)
    content = to_bytes(written)
    graph = load(target, content=content)
    checks = [check_on_random(network, graph, (loaded.config.features,))]
    try:
        part = open_dataset(loaded.data, loaded.standardisation).split("test")
    except DataError as error:
        complain(f"note: no check on real input: {error}")
    else:
        rows = np.linspace(0, len(part.labels) - 1, min(REAL_SAMPLES, len(part.labels))).round().astype(int)
        checks.append((loaded.data, check(network, graph, part.frames[rows], part.lengths[rows])))
    if proven(checks):
        write_bytes(target, content)
    return checks


def convert_own(name: str, weights: Path | None, data: Input, target: Path, dt: float | None) -> Converted:
    """The same for a network of the user's own, on its own data; written where its parity holds.

    Args:
        name, weights: see `factory.make_network`.
        dt: seconds per step, of data that do not say; 1e-4 when left out.

    Raises:
        NetworkError, CheckpointError, UnsupportedModule: the network cannot be made or converted.
        CheckFailed: no neuron fires.
    """
    if data.step_seconds and dt not in (None, data.step_seconds):
        raise UsageError(f"--dt {dt:g}: {data.spec} has steps of {data.step_seconds:g} s; leave --dt out")
    network = make_network(name, weights)
    metadata = dialect.data_metadata(data.classes, data.standardisation)
    made = convert_network(network, data, target, data.step_seconds or dt or dialect.DEFAULT_DT_SECONDS, metadata)
    if made.parity.holds:
        write_bytes(target, made.content)
    return made


def _check_target(target: Path, *sources: Path | None) -> None:
    same = target.resolve() in [source.resolve() for source in sources if source is not None]
    if same and kinds.kind_of(target) is not kinds.NIR:  # a NIR file is nothing to convert, and refused as such
        raise UsageError(f"{target}: would replace what it is made from; name another file with -o")
    check_output(target)


def work(arguments: argparse.Namespace) -> Result:
    if (arguments.checkpoint is None) == (arguments.network is None):
        raise UsageError("one of a checkpoint and --network is expected")
    for option in ("weights", "frames", "dt") if arguments.network is None else ():
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option} goes with --network; a checkpoint holds its own")
    notes: tuple[str, ...] = ()
    if arguments.network is None:
        target = arguments.output or arguments.checkpoint.with_suffix(".nir")
        _check_target(target, arguments.checkpoint)
        checks = convert_checkpoint(arguments.checkpoint, target)
    else:
        if arguments.frames is None or arguments.output is None:
            raise UsageError("--network wants --frames INPUT, on which it is compared, and -o FILE.nir")
        target = arguments.output
        _check_target(target, arguments.weights, Path(arguments.frames))
        data = open_input(arguments.frames, None, arguments.split, arguments.samples)
        made = convert_own(arguments.network, arguments.weights, data, target, arguments.dt)
        checks, notes = [(arguments.frames, made.parity)], made.notes
    counted = ("samples", "steps", "spikes", "mismatched", "near threshold", "outputs within")
    rows: list[tuple[str, ...]] = [("input", "sides", "parity", *counted)]
    lines = []
    for name, parity in checks:
        counts = (parity.samples, parity.steps, parity.spikes, parity.mismatched, parity.near_threshold)
        within = f"{parity.output_difference:.3g}"
        rows.append((name, parity.sides, parity.outcome, *map(str, counts), within))
        if parity.outcome == NOT_TESTED:
            lines.append(f"{name}: {parity.untested}")
        if parity.first_divergence:
            lines.append(f"{name}: first divergence: {parity.first_divergence}")
        lines += [f"{name}: {gap}" for gap in parity.gaps()]
    if held := proven(checks):
        verdict = f"{target}: written"
    elif any(parity.outcome == DIFFERS for _, parity in checks):
        verdict = "parity does not hold: nothing written"
    else:
        verdict = "silence proves nothing: nothing written; train on, or lower the thresholds"
    figures = {"file": str(target), "parity": [{"input": name, **parity.as_dict()} for name, parity in checks]}
    return Result(figures, results(rows, lines, verdict, texts=3), held, notes)
