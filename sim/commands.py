"""The commands of this package as they are called: `--help` needs none of the libraries that take long to import.

The doors beside this file do the work, and are imported when there is some.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from neurotarget.sim import lava
from neurotarget.sim.resets import RESETS

from neurotarget.cli import Command, Later

BACKENDS = ("reference", "lava")
TWO_BACKENDS, COMPARED_SAMPLES = "reference,lava", 3  # of a comparison, by default


def add_input_arguments(parser: argparse.ArgumentParser, required: bool = True, samples: str = "all") -> None:
    """The arguments that every command on a NIR file shares; `samples` says how many are run by default."""
    parser.add_argument("model", type=Path, help="NIR file")
    parser.add_argument(
        "--input", required=required, help="data SPEC, or an .npz with `input` [samples, steps, features]"
    )
    parser.add_argument("--split", default="test", help="split of a data SPEC (default test)")
    parser.add_argument("--samples", type=int, help=f"samples to run (default {samples})")
    parser.add_argument("--precision", default="float64", choices=("float64", "float32"), help="of the reference")
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """What `load` is told of a file that leaves it open."""
    parser.add_argument("--dt", type=float, help="seconds per step, for a file that does not say (default 1e-4)")
    parser.add_argument(
        "--reset",
        choices=RESETS,
        help="how neurons reset, for a file that does not say (default zero, NIR's; snnTorch's is subtract)",
    )


def worker_count(text: str) -> int:
    """At least 1; else argparse.ArgumentTypeError."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 is expected")
    return int(text)


def add_workers_arguments(parser: argparse.ArgumentParser) -> None:
    one = parser.add_mutually_exclusive_group()
    one.add_argument(
        "--workers",
        type=worker_count,
        help="processes that share the samples of the reference, the same numbers for any (default one per core, where "
        "the run is long enough)",
    )
    one.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a scheduler of dask.distributed, whose workers share the samples instead "
        "(docs/guide/several_machines.md)",
    )


def add_lava_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lava",
        default=lava.PLAIN,
        choices=lava.BUILDS,
        help="how the back end lava builds the network: a Process a node, or one that hosts all (default plain)",
    )


# ---- run -------------------------------------------------------------------------------------------------------------


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    parser.add_argument("--backend", default="reference", choices=BACKENDS)
    add_lava_argument(parser)
    parser.add_argument("--trace", type=Path, help="write the spikes of every node to this .npz")
    add_workers_arguments(parser)


run: Command = Command(
    door="sim.run",
    description="Run a NIR file on the reference simulator or on Lava.",
    example="runs/demo/ckpt.nir --input synth --samples 100 --trace trace.npz",
    add_arguments=add_run_arguments,
    work=Later("sim.run:work"),
)


# ---- compare ---------------------------------------------------------------------------------------------------------


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser, required=False, samples=f"{COMPARED_SAMPLES}; all with --against")
    parser.add_argument("--backends", help=f"two of reference, lava, separated by a comma (default {TWO_BACKENDS})")
    add_lava_argument(parser)
    parser.add_argument(
        "--against",
        type=Path,
        metavar="spikes.npz",
        help="compare with an .npz of `input` and spikes/NODE, recorded elsewhere",
    )
    parser.add_argument("--states", action="store_true", help="compare u and v too, step by step (quantised files)")


compare: Command = Command(
    door="sim.compare",
    description="Run one network on two back ends and compare every spike.",
    example="runs/demo/ckpt.nir --input synth --backends reference,lava --samples 3",
    add_arguments=add_compare_arguments,
    work=Later("sim.compare:work"),
)


# ---- stream ----------------------------------------------------------------------------------------------------------

FRAMES, SOUND = "-", "wav:"  # --input: frames as text on standard input; a WAV file, or `wav:-`


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="NIR file of a causal network")
    parser.add_argument(
        "--input",
        default=FRAMES,
        help="frames on standard input, one a line, an empty line after a word (default -); wav:FILE; a WAV file on "
        "standard input (wav:-); or the samples of a data SPEC or .npz",
    )
    parser.add_argument("--split", default="test", help="split of a data SPEC (default test)")
    parser.add_argument("--samples", type=int, help="samples of a data SPEC or .npz (default all)")
    parser.add_argument("--pause", type=float, default=300, help="ms of quiet after which a word has ended (300)")
    parser.add_argument("--quiet", type=float, default=-40, help="dB of full scale below which sound is quiet (-40)")
    add_reading_arguments(parser)


stream: Command = Command(
    door="sim.stream",
    description="Run a causal network step by step and print words as they come.",
    example="runs/causal/ckpt.nir --input synth --samples 5",
    add_arguments=add_stream_arguments,
    work=Later("sim.stream:work"),
    interrupted="interrupted: the words so far have been printed",
)
