"""`python -m hardware.place model.nir --chip loihi1`: does the network fit the chip, and what would make it fit?

Splits populations over cores, counts synapse memory, axons, delays and state under the chip's limits, and lists every
limit that is passed (docs/hardware_limits.md).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.hardware.chips import synapses
from neurotarget.hardware.chips.limits import Chip, load_chip
from neurotarget.hardware.chips.mesh import tile_of, traffic
from neurotarget.hardware.chips.placement import RESOURCES, Placement, place
from neurotarget.hardware.chips.populations import build
from neurotarget.hardware.chips.rules import RULES, check
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.schedule import schedule
from neurotarget.sim.trace import Trace

from neurotarget.cli import Command, Result
from neurotarget.errors import UserError
from neurotarget.files import check_output

STEPS = 100
ASSUMED_RATE = 0.1
REAL_BITS = 64


class PlaceError(UserError):
    """A placement that cannot be made from what was given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="NIR file")
    parser.add_argument("--chip", required=True, help="loihi1, loihi2, or a .toml file of the same form")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps an utterance (default {STEPS})")
    parser.add_argument("--weight-bits", type=int, default=8, help="bits a weight: 1 to 6 or 8 (default 8)")
    parser.add_argument("--input", help="data SPEC or .npz: takes spike rates and payloads from a run")
    parser.add_argument("--samples", type=int, default=8, help="samples of --input to run (default 8)")
    parser.add_argument("--dt", type=float, help="seconds a step, for a file that does not say (default 1e-4)")
    parser.add_argument("--picture", type=Path, help="write a picture of the chip to this .png")


def work(arguments: argparse.Namespace) -> Result:
    check_output(arguments.picture)
    chip = load_chip(arguments.chip)
    graph = load(arguments.model, arguments.dt)
    trace = None if arguments.input is None else _run(graph, arguments.input, arguments.samples)
    result = describe(graph, chip, arguments.steps, trace, arguments.weight_bits)
    if arguments.picture is not None:
        from neurotarget.hardware.page.chip_picture import save

        save(result, arguments.picture)
    return Result(result, words(result), result["fits"])


def _run(graph: Graph, spec: str, samples: int) -> Trace:
    from neurotarget.sim import reference
    from neurotarget.sim.inputs import open_input

    data = open_input(spec, graph, split="test", samples=samples)
    return reference.run(graph, data.frames, data.lengths)


def describe(
    graph: Graph, chip: Chip, steps: int = STEPS, trace: Trace | None = None, weight_bits: int = 8
) -> dict[str, Any]:
    """The placement as a dictionary, documented in docs/hardware_limits.md.

    Args:
        steps: of an utterance, when there is no trace.
        trace: a run, for spike rates, payloads of the input and steps.

    Raises:
        PlaceError: bits that no synapse has.
        GraphError: the graph cannot stream.
    """
    if weight_bits not in synapses.WEIGHT_BITS:
        raise PlaceError(f"--weight-bits {weight_bits}: {', '.join(map(str, synapses.WEIGHT_BITS))} are supported")
    if trace is not None:
        steps = trace.input.shape[1]
    network = build(graph, schedule(graph, steps), chip)
    payload = None if trace is None else payload_bits(trace.input)
    placement = place(network, chip, weight_bits, payload)
    spikes, rate = _spikes(placement, trace, steps)
    findings = check(placement)
    cores = [_core(placement, index) for index in range(len(placement.cores))]
    mesh = {key: int(chip.mesh[key].value) for key in ("tile_columns", "tile_rows", "tile_cores")}
    return {
        "format": 1,
        "chip": chip.title,
        "conditions": chip.conditions,
        "model": graph.source,
        "fits": not findings,
        "steps": steps,
        "weight_bits": weight_bits,
        "cores_needed": len(cores),
        "cores_of_chip": int(chip.limit("cores")),
        "compartments": sum(core["use"]["compartments"] for core in cores),
        "relay_neurons": sum(p.neurons for p in network.populations.values() if p.kind == "relay"),
        "synapses": sum(part.synapses for part in placement.parts),
        "memory_bits": sum(core["use"]["memory_bits"] for core in cores),
        "findings": [finding.as_dict() for finding in findings],
        "rules": [rule.name for rule in RULES if rule.limit in chip.limits],
        "cores": cores,
        "mesh": traffic(placement, spikes, rate).as_dict(),
        "grid": {
            "columns": mesh["tile_columns"],
            "rows": mesh["tile_rows"],
            "tile_cores": mesh["tile_cores"],
            "cores": mesh["tile_columns"] * mesh["tile_rows"] * mesh["tile_cores"],
        },
        "limits": [
            {"name": item.name, "value": item.value, "unit": item.unit, "source": item.source, "grade": item.grade}
            for item in chip.limits.values()
        ],
        "kind": "estimated",
    }


def payload_bits(values: np.ndarray) -> int:
    """Bits that the largest |input| needs: 1 for spikes, `REAL_BITS` for numbers that are not integers."""
    if not np.array_equal(values, np.rint(values)):
        return REAL_BITS
    return max(int(np.abs(values).max(initial=0)).bit_length(), 1)


def _spikes(placement: Placement, trace: Trace | None, steps: int) -> tuple[Mapping[str, float], str]:
    if trace is None:
        neurons = {name: p.neurons for name, p in placement.network.populations.items()}
        return {name: ASSUMED_RATE * steps * n for name, n in neurons.items()}, f"assumed, {ASSUMED_RATE} a step"
    samples = max(trace.samples, 1)
    return {name: float(array.sum()) / samples for name, array in trace.spikes.items()}, f"counted, {samples} samples"


def _core(placement: Placement, index: int) -> dict[str, Any]:
    core, chip = placement.cores[index], placement.chip
    use = core.use
    layers: dict[str, int] = {}
    for part in core.parts:
        for layer, bits in part.layers.items():
            layers[layer] = layers.get(layer, 0) + bits
    board, row, column = tile_of(chip, index)
    shares = {key: use[key] / chip.limit(key) for key in RESOURCES}
    return {
        "index": index,
        "tile": [board, row, column],
        "populations": list(dict.fromkeys(part.population for part in core.parts)),
        "neurons": {part.population: [part.start, part.stop] for part in core.parts},
        "layers_memory_bits": layers,
        "use": use,
        "shares": shares,
        "fullest": max(shares.values()),
    }


def sentence(result: Mapping[str, Any]) -> str:
    """The answer in one sentence."""
    cores = f"{result['cores_needed']} of {result['cores_of_chip']} cores"
    if result["fits"]:
        return f"Fits {result['chip']}: {cores}, {result['relay_neurons']} relay neurons."
    rules = ", ".join(dict.fromkeys(finding["rule"] for finding in result["findings"]))
    return f"Does not fit {result['chip']} ({rules}); it would take {cores}."


def words(result: Mapping[str, Any]) -> str:
    """The answer for a terminal."""
    lines = [sentence(result)]
    lines += [f"  {finding['rule']}: {finding['sentence']}" for finding in result["findings"]]
    lines.append("core  fullest  compartments  axons in  axons out  memory bits  populations")
    for core in result["cores"]:
        use = core["use"]
        numbers = f"{use['compartments']:>12}  {use['input_axons']:>8}  {use['output_axons']:>9}"
        lines.append(
            f"{core['index']:>4}  {100 * core['fullest']:>5.0f} %  {numbers}  {use['memory_bits']:>11}  "
            f"{', '.join(core['populations'])}"
        )
    mesh = result["mesh"]
    energy = "no energy a hop is published" if mesh["energy_uj"] is None else f"{mesh['energy_uj']:.3g} uJ (estimate)"
    lines.append(
        f"mesh: {mesh['messages']:.4g} messages an inference ({mesh['rate']}), "
        f"{mesh['mean_hops']:.2f} hops a message, {energy}"
    )
    return "\n".join(lines)


main = Command(
    door="hardware.place",
    description="Place a network on the cores of a chip: what fits, what does not, and what would make it fit.",
    example="runs/demo/ckpt.nir --chip loihi1 --picture chip.png",
    add_arguments=add_arguments,
    work=work,
)

if __name__ == "__main__":
    sys.exit(main())
