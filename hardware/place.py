"""`python -m hardware.place model.nir --chip loihi1`: does the network fit the chip, and what would make it fit?

Splits populations over cores, counts synapse memory, axons, delays and state under the chip's limits, and lists every
limit that is passed (docs/hardware_limits.md).
"""

from __future__ import annotations

import sys

from neurotarget.hardware.commands import place as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
from pathlib import Path

from neurotarget.hardware.chips.fit import Fit, fit
from neurotarget.hardware.chips.limits import load_chip
from neurotarget.hardware.commands import STEPS
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.observed import Observed, observe
from neurotarget.sim.trace import Trace

from neurotarget.cli import Result
from neurotarget.files import check_output
from neurotarget.terminal import results


def place(
    network: str | Path | Graph,
    chip: str = "loihi1",
    *,
    trace: Trace | None = None,
    steps: int = STEPS,
    weight_bits: int = 8,
) -> Fit:
    """Places a network on the cores of a chip.

    >>> fit = neurotarget.place("network.nir", "loihi1")
    >>> fit.fits, fit.cores_needed
    (True, 1)

    Args:
        network: path of a NIR file, or a graph.
        chip: `loihi1`, `loihi2`, or the path of a `.toml` file of the same form.
        trace: a run of the network, for spike rates, payloads and the number of steps.
        steps: of an utterance, where there is no trace.
        weight_bits: of each weight, 1 to 6 or 8.

    Raises:
        ChipError, GraphError: no such chip, or the network cannot stream.
    """
    run = None if trace is None else observe(trace)
    return fit(load(network), load_chip(chip), steps, run, weight_bits)


def work(arguments: argparse.Namespace) -> Result:
    check_output(arguments.picture)
    chip = load_chip(arguments.chip)
    graph = load(arguments.model, arguments.dt, arguments.reset)
    run = None if arguments.input is None else _run(graph, arguments.input, arguments.samples)
    result = fit(graph, chip, arguments.steps, run, arguments.weight_bits)
    if arguments.picture is not None:
        from neurotarget.hardware.page.chip_picture import save

        save(result, arguments.picture)
    return Result(dataclasses.asdict(result), words(result), result.fits, graph.notes)


def _run(graph: Graph, spec: str, samples: int) -> Observed:
    from neurotarget.sim import reference
    from neurotarget.sim.inputs import open_input

    data = open_input(spec, graph, split="test", samples=samples)
    return reference.folded(graph, data.frames, data.lengths, None, [observe])[0]


def words(result: Fit) -> str:
    """The answer for a terminal: the cores, the traffic between them, what does not fit, and whether the whole does."""
    header = ("core", "fullest, %", "compartments", "axons in", "axons out", "memory, bits", "populations")
    rows: list[tuple[str, ...]] = [header]
    for core in result.cores:
        use = [str(core.use[key]) for key in ("compartments", "input_axons", "output_axons", "memory_bits")]
        rows.append((str(core.index), f"{100 * core.fullest:.0f}", *use, ", ".join(core.populations)))
    mesh = result.mesh
    energy = "no energy per hop is published" if mesh.energy_uj is None else f"{mesh.energy_uj:.3g} uJ (estimate)"
    traffic = (
        f"mesh: {mesh.messages:.4g} messages per inference ({mesh.rate_source}), "
        f"{mesh.mean_hops:.2f} hops per message, {energy}"
    )
    findings = [f"{finding.rule}: {finding.sentence}" for finding in result.findings]
    return results(rows, [traffic, *findings], result.sentence, texts=0, last_is_text=True)
