"""The commands of this package as they are called: `--help` needs none of the libraries that take long to import.

The doors beside this file do the work, and are imported when there is some.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from neurotarget.sim.commands import add_reading_arguments, add_workers_arguments

from neurotarget.cli import Command, Later, add_network_arguments

REAL_SAMPLES = 16  # on which a network is compared with its file
CALIBRATION_SAMPLES = 64
FINE_TUNED = "model.q.nir"  # in the folder of a run


# ---- to_nir ----------------------------------------------------------------------------------------------------------


def add_to_nir_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, nargs="?", help="file written by model.train")
    add_network_arguments(parser)
    parser.add_argument(
        "--frames", metavar="INPUT", help="data SPEC or .npz on which --network is followed and compared"
    )
    parser.add_argument("--split", default="test", help="split of a data SPEC (default test)")
    parser.add_argument("--samples", type=int, default=REAL_SAMPLES, help=f"of --frames (default {REAL_SAMPLES})")
    parser.add_argument("--dt", type=float, help="seconds per step, for an .npz of --frames (default 1e-4)")
    parser.add_argument("-o", "--output", type=Path, help="NIR file to write (default: beside the checkpoint)")


to_nir: Command = Command(
    door="conversion.to_nir",
    description="Write a checkpoint, or your own network, as a NIR file and prove that it computes the same spikes.",
    example="runs/demo/ckpt.pt -o runs/demo/ckpt.nir",
    add_arguments=add_to_nir_arguments,
    work=Later("conversion.to_nir:work"),
    interrupted="interrupted: nothing written",
)


# ---- quantize --------------------------------------------------------------------------------------------------------


def add_quantize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="NIR file")
    parser.add_argument(
        "--calibrate",
        required=True,
        metavar="INPUT",
        help="data SPEC, or an .npz with `input` [samples, steps, features]",
    )
    parser.add_argument("-o", "--output", type=Path, help="file to write (default: model.q.nir beside the model)")
    parser.add_argument("--split", default="train", help="split of a data SPEC to calibrate on (default train)")
    parser.add_argument(
        "--samples",
        type=int,
        default=CALIBRATION_SAMPLES,
        help=f"samples to calibrate on (default {CALIBRATION_SAMPLES})",
    )
    add_workers_arguments(parser)
    add_reading_arguments(parser)
    parser.add_argument(
        "--accept",
        action="store_true",
        help="write the file although a layer fell silent or changed its rate, or a time constant or a current is lost",
    )


quantize: Command = Command(
    door="conversion.quantize",
    description="Write a NIR file in integers for Lava's fixed-point arithmetic, calibrated on real input.",
    example="runs/demo/ckpt.nir --calibrate synth -o runs/demo/ckpt.q.nir",
    add_arguments=add_quantize_arguments,
    work=Later("conversion.quantize:work"),
    interrupted="interrupted: nothing written",
)


# ---- fine_tune -------------------------------------------------------------------------------------------------------


def add_fine_tune_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file that the network was trained with, for data and schedule")
    parser.add_argument("--quantized", type=Path, metavar="model.q.nir", help="file to start from")
    add_network_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")
    parser.add_argument("--force", action="store_true", help="replace the run in --out")


def fine_tuning_left(arguments: argparse.Namespace) -> str:
    """What an interruption of a fine-tuning leaves."""
    kept = arguments.out / FINE_TUNED
    return f"interrupted; {kept} is the best epoch before" if kept.exists() else "interrupted: nothing written"


fine_tune: Command = Command(
    door="conversion.fine_tune",
    description="Train a quantised NIR file, or your own network, on in its integers.",
    example="configs/demo.toml --quantized runs/demo/ckpt.q.nir --out runs/tuned --set training.epochs=3",
    add_arguments=add_fine_tune_arguments,
    work=Later("conversion.fine_tune:work"),
    interrupted=fine_tuning_left,
)


# ---- to_netx ---------------------------------------------------------------------------------------------------------


def add_to_netx_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="NIR file written by conversion.quantize")
    parser.add_argument("-o", "--output", type=Path, help="file to write (default: model.net beside the model)")
    parser.add_argument(
        "--fit", type=Path, metavar="FILE", help="first write the nearest network that NetX can hold to FILE (.q.nir)"
    )


to_netx: Command = Command(
    door="conversion.to_netx",
    description="Write a quantised NIR file as the HDF5 that lava-dl's NetX loads; the rest is refused.",
    example="runs/demo/ckpt.q.nir -o runs/demo/ckpt.net",
    add_arguments=add_to_netx_arguments,
    work=Later("conversion.to_netx:work"),
    interrupted="interrupted: the file was not written",
)
