"""A NIR file in Lava's fixed-point integers: `python -m conversion.quantize model.nir --calibrate INPUT`.

The weights, thresholds and biases of each layer are chosen so that its integer spikes are nearest to the float
network's on the calibration samples. The result is run again from its own file, exactly, before it appears; it does not
where a layer fell silent or its rate left its band, unless that is accepted.
"""

from __future__ import annotations

import sys

from neurotarget.conversion.commands import quantize as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import nir
import numpy as np
from neurotarget.conversion.fixed.calibrate import Calibration
from neurotarget.conversion.fixed.choice import Choice
from neurotarget.conversion.fixed.departure import Departing, Departure
from neurotarget.conversion.fixed.dynamics import decay_errors, make_uniform
from neurotarget.conversion.fixed.emit_fixed import emit_fixed
from neurotarget.conversion.fixed.resets import resets_to_zero
from neurotarget.conversion.fixed.thresholds import thresholds_as_lif
from neurotarget.conversion.fixed.units import give_every_neuron_a_synapse, groups, refuse_loops_without_spikes
from neurotarget.conversion.fixed.verdict import ACCEPT, rate_faults, refuse_lost_currents, refuse_slow_constants
from neurotarget.sim import reference, run
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.graph.nir_file import to_bytes
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.inputs import Input, as_input, open_input
from neurotarget.sim.reference.integer_kernels import STATE_LIMIT
from neurotarget.sim.trace import Trace, unreadable
from tqdm import tqdm

from neurotarget.cli import Result, complain
from neurotarget.errors import CheckFailed
from neurotarget.files import check_output, write_bytes
from neurotarget.terminal import results

AT_ONCE = 16  # samples that are compared together: the spikes of both networks are then held
LARGEST_VALUES = 2**28  # of all nodes at all steps of the calibration samples; about 2 bytes each were measured
# What happens to the float network before its groups of synapses are rounded, in order.
STEPS = [refuse_loops_without_spikes, thresholds_as_lif, resets_to_zero, give_every_neuron_a_synapse, make_uniform]


@dataclasses.dataclass(frozen=True)
class Report:
    """What quantisation did.

    Attributes:
        layers: one mapping a group of synapses; docs/fixed_point.md names the keys.
        spikes: of the float network on the calibration samples.
        mismatched: (node, step, neuron) places whose spikes differ from start to end.
        first_divergence: the first layer in the order of the network that differs anywhere; its first place.
        accuracy: of the float and of the integer network on the calibration samples, where they are labelled.
        faults: a sentence for each layer that fell silent or whose rate left its band.
        refusal: why no file was written, or nothing.
    """

    samples: int
    steps: int
    layers: list[dict[str, Any]]
    spikes: int
    mismatched: int
    first_divergence: dict[str, Any] | None
    accuracy: tuple[float, float] | None
    overflow: dict[str, list[str]]
    faults: list[str]
    refusal: str | None = None


def quantize(
    graph: Graph,
    frames: np.ndarray,
    lengths: np.ndarray | None = None,
    progress: bool = False,
    accept: bool = False,
) -> tuple[nir.NIRGraph, list[Choice], Trace]:
    """The integer network of a float one.

    Args:
        graph: checked float network.
        frames: calibration samples [samples, steps, *features].
        lengths: int64 [samples]; all steps when left out.
        accept: take time constants and currents that the integers do not resolve.

    Returns:
        The NIR graph, what was chosen for each group, and the float network's trace.

    Raises:
        GraphError: quantised already, or a node that Lava's fixed-point arithmetic cannot express; unless accepted,
            a time constant or a current that it does not resolve.
        WrapAround: a layer's states do not fit 24 bits.
    """
    if graph.quantised:
        raise GraphError(f"{graph.source}: already quantised; pass the float file that it was made from")
    # In this process: workers would keep what they had while the integers are chosen.
    trace = reference.run(graph, frames, lengths, processes=1)
    errors = decay_errors(graph)
    for step in STEPS:
        graph = step(graph)
    if not accept:
        refuse_slow_constants(errors)
    calibration = Calibration(graph, trace)
    for group in tqdm(groups(graph), desc="layers", unit="layer", disable=None if progress else True):
        calibration.choose(group)
    integers = calibration.integers
    integers.choices = [choice.with_decay_errors(errors) for choice in integers.choices]
    if not accept:
        refuse_lost_currents(integers.choices)
    integers.fixed[graph.output.name] = {"scale": calibration.scales.unit(graph.output.sources[0])}
    whole = dataclasses.replace(graph, nodes={name: calibration.settled.integer(name) for name in graph.nodes})
    return emit_fixed(whole, integers.fixed), integers.choices, trace


def report(choices: list[Choice], departure: Departure) -> Report:
    """What quantisation did, of the float run and the integer run of the same samples."""
    before, after = departure.before, departure.after
    both = None if before.accuracy is None or after.accuracy is None else (before.accuracy, after.accuracy)
    return Report(
        samples=before.samples,
        steps=before.sample_steps,
        layers=[_row(choice, departure) for choice in choices],
        spikes=sum(before.fired.spikes.values()),
        mismatched=sum(departure.mismatched.values()),
        first_divergence=departure.first_divergence,
        accuracy=both,
        overflow={key: list(after.header[key]) for key in ("wrapped_u", "clipped_v")},
        faults=rate_faults(before.fired, after.fired),
    )


def _row(choice: Choice, departure: Departure) -> dict[str, Any]:
    neurons = [name for name in choice.group.neurons if name in departure.mismatched]
    before, after = departure.before.fired, departure.after.fired
    places = sum(before.places[name] for name in neurons)
    mismatched = sum(departure.mismatched[name] for name in neurons)
    real, whole = (sum(fired.spikes[name] for name in neurons) for fired in (before, after))
    return {
        "layer": choice.group.name,
        "synapses": list(choice.group.synapses),
        "scale": choice.scale,
        "weight_exp": max(choice.exponents.values()),
        "weight_exps": choice.exponents,
        "clip_ratio": choice.clip_ratio,
        "weights": choice.weights,
        "clipped": choice.clipped,
        "zeroed": choice.zeroed,
        "headroom_u_bits": _headroom(choice.peak_u),
        "headroom_v_bits": _headroom(choice.peak_v),
        "decay_error": choice.decay_error,
        "lost": choice.lost,
        "spikes": real,
        "rate": whole / real if real else None,
        "mismatched_alone": choice.mismatched,
        "mismatched": mismatched,
        "disagreement": mismatched / places if places else None,
    }


def _headroom(peak: int) -> float | None:
    """Bits between the largest magnitude seen and 2^23."""
    return round(math.log2(STATE_LIMIT / peak), 2) if peak else None


def quantize_to(
    network: str | Path | Graph,
    frames: Any,
    path: str | Path,
    *,
    lengths: Any = None,
    labels: Any = None,
    accept: bool = False,
) -> Graph:
    """Writes a network in integers, chosen so that they differ least from the float network on these samples.

    >>> integers = neurotarget.quantize("network.nir", frames, "network.q.nir")
    >>> integers.quantised
    True

    Args:
        network: path of a NIR file in floating point, or a graph.
        frames: calibration samples [samples, steps, ...], an array or a tensor.
        path: file to write.
        lengths, labels: whole numbers [samples].
        accept: write it whatever its rates, time constants and lost currents.

    Returns:
        The graph of the file written.

    Raises:
        GraphError, InputError: the network has no fixed-point form, or the samples do not fit it.
        CheckFailed: the integers are not the network that they were made of; nothing is written.
    """
    if not isinstance(network, Graph):
        _refuse_own_source(Path(network), Path(path))
    check_output(path)
    result, graph = _write(load(network), Path(path), as_input(frames, lengths, labels), False, accept)
    if result.refusal:
        raise CheckFailed(f"{path}: {result.refusal}")
    return graph


def _refuse_own_source(source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        raise GraphError(f"{target}: the quantised file would replace the float one; name another")


def quantize_file(
    source: Path | Graph,
    target: Path,
    data: Input,
    dt: float | None = None,
    reset: str | None = None,
    progress: bool = False,
    accept: bool = False,
) -> Report:
    """Writes `target` from the float file, or its graph; it appears unless its own run, from its bytes, refuses it.

    Args:
        accept: write it whatever its rates, time constants and lost currents.

    Raises:
        GraphError, WrapAround: see `quantize`.
    """
    graph = load(source, dt, reset)
    run.print_notes(graph)  # the file written will not leave it open
    if data.labels is not None and (reason := unreadable(np.empty((0, 0, *graph.output.output_shape)))):
        complain(f"note: {reason}")
    return _write(graph, target, data, progress, accept)[0]


def calibrating(graph: Graph, data: Input) -> Input:
    """The samples on which integers are chosen: all whose values in the network are `LARGEST_VALUES` at most."""
    values = sum(node.neurons for node in graph.nodes.values()) * max(data.frames.shape[1], 1)  # the run refuses none
    samples = max(LARGEST_VALUES // values, 1)
    if samples >= len(data.lengths):
        return data
    return data.rows(np.linspace(0, len(data.lengths) - 1, samples).round().astype(int))


def _write(graph: Graph, target: Path, data: Input, progress: bool, accept: bool) -> tuple[Report, Graph]:
    few = calibrating(graph, data)
    if len(few.lengths) < len(data.lengths):
        complain(
            f"note: the integers are chosen on {len(few.lengths)} of the {len(data.lengths)} samples, evenly spaced, "
            "as all values of the network on all of them would not fit the memory; compared are all"
        )
    network, choices = quantize(graph, few.frames, few.lengths, progress, accept)[:2]  # all spikes of the float run go
    content = to_bytes(network)
    integers = load(target, content=content)
    departing = Departing(graph, reference.Again(integers))
    [departure] = reference.folded(graph, data.frames, data.lengths, data.labels, [departing], batch=AT_ONCE)
    result = report(choices, departure)
    refusal = None
    if wrapped := result.overflow["wrapped_u"]:
        refusal = f"u wraps around in {', '.join(wrapped)}: nothing written"
    elif result.faults and not accept:
        refusal = f"{'; '.join(result.faults)}: nothing written; {ACCEPT}"
    if refusal is None:
        write_bytes(target, content)
    return dataclasses.replace(result, refusal=refusal), integers


# ---- command line ----------------------------------------------------------------------------------------------------


def work(arguments: argparse.Namespace) -> Result:
    target = arguments.output or arguments.model.with_suffix(".q.nir")
    _refuse_own_source(arguments.model, target)
    check_output(target)
    graph = load(arguments.model, arguments.dt, arguments.reset)
    data = open_input(arguments.calibrate, graph, arguments.split, arguments.samples)
    with reference.sharing(arguments.workers, arguments.scheduler):
        result = quantize_file(
            graph, target, data, arguments.dt, arguments.reset, progress=True, accept=arguments.accept
        )
    figures = {"file": str(target), **dataclasses.asdict(result)}
    if result.refusal:
        text = as_text(result, "nothing written")
        return Result(figures | {"file": None}, text, holds=False, notes=[result.refusal])
    return Result(figures, as_text(result, f"{target}: written"), notes=result.faults)


COLUMNS = (
    "layer",
    "scale",
    "exp",
    "kept",
    "clipped",
    "zeroed",
    "lost",
    "decay",
    "u bits",
    "v bits",
    "rate",
    "alone",
    "disagree",
)


def as_text(result: Report, verdict: str) -> str:
    """A table, a line per layer, the whole network below it, and the verdict."""
    rows = [COLUMNS]
    for layer in result.layers:
        rows.append(
            (
                layer["layer"],
                f"{layer['scale']:.3g}",
                " ".join(map(str, layer["weight_exps"].values())),
                f"{layer['clip_ratio']:.2f}",
                str(layer["clipped"]),
                str(layer["zeroed"]),
                f"{max(layer['lost'].values(), default=0.0):.1%}",
                f"{layer['decay_error']:.1%}",
                "-" if layer["headroom_u_bits"] is None else f"{layer['headroom_u_bits']:.1f}",
                "-" if layer["headroom_v_bits"] is None else f"{layer['headroom_v_bits']:.1f}",
                "-" if layer["rate"] is None else f"{layer['rate']:.3f}",
                str(layer["mismatched_alone"]),
                "-" if layer["disagreement"] is None else f"{layer['disagreement']:.3%}",
            )
        )
    lines = [
        f"{result.samples} samples, {result.steps} steps: {result.spikes} spikes in float, "
        f"{result.mismatched} places differ in integers"
    ]
    if (first := result.first_divergence) is not None:
        lines.append(
            f"first divergence: layer {first['layer']}, step {first['step']}, neuron {first['neuron']} (sample "
            f"{first['sample']}): {first['values'][0]} in float, {first['values'][1]} in integers"
        )
    if result.overflow["clipped_v"]:
        lines.append(f"note: v was clipped at 24 bits in {', '.join(result.overflow['clipped_v'])}")
    if result.accuracy is not None:
        lines.append(f"accuracy {result.accuracy[0]:.4f} in float, {result.accuracy[1]:.4f} in integers")
    return results(rows, lines, verdict)
