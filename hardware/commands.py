"""The commands of this package as they are called: `--help` needs none of the libraries that take long to import.

The doors beside this file do the work, and are imported when there is some.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from neurotarget.sim.commands import add_reading_arguments, add_workers_arguments

from neurotarget.cli import Command, Later, add_network_arguments

STEPS = 100  # of an utterance, where no input says it
SAMPLES = 200  # that a report counts
MOST_SAMPLES = 32  # that are measured
MINUTES = 6.0  # with two trainings and a row that compiles at the end, `make gpu` takes less than ten


# ---- report ----------------------------------------------------------------------------------------------------------


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="NIR file")
    parser.add_argument("--input", required=True, help="data SPEC, or an .npz with `input` [samples, steps, features]")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report; made if missing")
    parser.add_argument(
        "--checkpoint", type=Path, help="the ckpt.pt of the model: adds PyTorch parity and the GPU path"
    )
    add_network_arguments(parser)
    parser.add_argument(
        "--quantized",
        type=Path,
        help="the model's quantised file, to compare its answers; MODEL.q.nir beside MODEL.nir is found by itself",
    )
    parser.add_argument(
        "--latex", action="store_true", help="write report.tex, tables for a paper, and report.bib, the prices' sources"
    )
    parser.add_argument("--samples", type=int, default=SAMPLES, help=f"samples to count (default {SAMPLES})")
    add_workers_arguments(parser)
    parser.add_argument(
        "--lava-samples", type=int, default=3, help="samples to run in Lava too; 0 leaves it out (default 3)"
    )
    parser.add_argument(
        "--chip-simulator",
        choices=["sanafe"],
        help="simulate the placed network on Loihi 1, step by step, in SANA-FE (docs/chip_simulator.md)",
    )
    parser.add_argument("--chip-samples", type=int, default=3, help="samples to run in the chip simulator (default 3)")
    parser.add_argument(
        "--prices",
        type=Path,
        action="append",
        default=[],
        help="a further price table, or <device>.json of hardware.measure; may be repeated",
    )
    parser.add_argument("--claims", type=Path, help="a TOML file of energy claims to judge; configs/ has examples")
    parser.add_argument(
        "--beside",
        type=Later("hardware.report:beside"),
        action="append",
        default=[],
        metavar="MODEL.nir[=INPUT]",
        help="another network to count and price beside this one, on --input or its own; may be repeated",
    )
    parser.add_argument("--twin", type=Path, help="checkpoint of the trained twin (model.twin=true), on the same input")
    parser.add_argument(
        "--compare-counters",
        action="store_true",
        help="run SpikingJelly's op_counter, syops and NeuroBench on that network too (requirements-counters.txt)",
    )
    add_reading_arguments(parser)


report: Command = Command(
    door="hardware.report",
    description="Count, compare and price one network on one input; writes report.json and report.html.",
    example="runs/demo/ckpt.nir --input synth --checkpoint runs/demo/ckpt.pt --out report",
    add_arguments=add_report_arguments,
    work=Later("hardware.report:work"),
    interrupted="interrupted: nothing written",
)


# ---- place -----------------------------------------------------------------------------------------------------------


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="NIR file")
    parser.add_argument("--chip", required=True, help="loihi1, loihi2, or a .toml file of the same form")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps per utterance (default {STEPS})")
    parser.add_argument("--weight-bits", type=int, default=8, help="bits per weight: 1 to 6 or 8 (default 8)")
    parser.add_argument("--input", help="data SPEC or .npz: takes spike rates and payloads from a run")
    parser.add_argument("--samples", type=int, default=8, help="samples of --input to run (default 8)")
    add_reading_arguments(parser)
    parser.add_argument("--picture", type=Path, help="write a picture of the chip to this .png")


place: Command = Command(
    door="hardware.place",
    description="Place a network on the cores of a chip: what fits, what does not, and what would make it fit.",
    example="runs/demo/ckpt.nir --chip loihi1 --picture chip.png",
    add_arguments=add_place_arguments,
    work=Later("hardware.place:work"),
)


# ---- measure ---------------------------------------------------------------------------------------------------------


def add_measure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, nargs="+", help="files written by model.train: a network, its twin")
    parser.add_argument("--out", type=Path, required=True, help="folder for <device>.json; made if missing")
    parser.add_argument("--data", help="data SPEC; by default the one that the first checkpoint was trained on")
    parser.add_argument(
        "--samples", type=int, default=MOST_SAMPLES, help=f"test samples to measure, at most (default {MOST_SAMPLES})"
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"no row begins later than this (default {MINUTES:g})"
    )


measure: Command = Command(
    door="hardware.measure",
    description="Measure networks on this machine's GPU or processor: energy, latency, throughput.",
    example="runs/gpu/spiking/ckpt.pt runs/gpu/twin/ckpt.pt --out docs/measured",
    add_arguments=add_measure_arguments,
    work=Later("hardware.measure:work"),
    interrupted="interrupted: nothing written",
)


# ---- validate --------------------------------------------------------------------------------------------------------


def add_validate_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes none but `--json`."""


validate: Command = Command(
    door="hardware.validate",
    description="Hold the price tables against published measurements, and fit a model per class of device.",
    example="--json",
    add_arguments=add_validate_arguments,
    work=Later("hardware.validate:work"),
)


# ---- ablation --------------------------------------------------------------------------------------------------------


def add_ablation_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="folder that model.ablation filled")
    parser.add_argument("--samples", type=int, default=200, help="test utterances to count (default 200)")
    add_workers_arguments(parser)


ablation: Command = Command(
    door="hardware.ablation",
    description="Count and price the networks of an ablation: a table and a plot beside their accuracy.",
    example="runs/ablation_synth",
    add_arguments=add_ablation_arguments,
    work=Later("hardware.ablation:work"),
    interrupted="interrupted; the networks counted so far are kept, the same command goes on",
)


# ---- doctor ----------------------------------------------------------------------------------------------------------


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes none but `--json`."""


doctor: Command = Command(
    door="hardware.doctor",
    description="Say what works on this machine, and the command that gets the rest.",
    example="--json",
    add_arguments=add_doctor_arguments,
    work=Later("hardware.doctor:work"),
)
