"""The commands of this package as they are called: `--help` needs no torch, which takes seconds to import.

The doors beside this file do the work, and are imported when there is some.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from neurotarget.model.networks.configuration import BITS
from neurotarget.model.training.start import Start

from neurotarget import cli
from neurotarget.cli import Command, Later

KEPT = "what was written before is whole; mend this, then go on with --resume"
BY_STAGE = ("scratch_stages", "twin_stages")  # have a network for every stage's steps
ON_REQUEST = ("in_seconds", *BY_STAGE)
ARMS = ("teacher", "scratch", "scratch_long", "fine_tuned", "at_once", "ptcd", *ON_REQUEST)


def complain(sentence: str) -> bool:
    """Prints an error on stderr; of several processes that train together, one does. Whether it was said."""
    parallel = sys.modules.get("neurotarget.model.training.parallel")  # without it nothing was joined
    return cli.complain(sentence) if parallel is None else bool(parallel.complain(sentence))


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that every training shares."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")
    of_a_run = parser.add_mutually_exclusive_group()
    of_a_run.add_argument(
        "--resume",
        dest="start",
        action="store_const",
        const=Start.RESUME,
        default=Start.NEW,
        help="go on where the run in --out stopped, or to more training.epochs, along their learning rates",
    )
    of_a_run.add_argument(
        "--force", dest="start", action="store_const", const=Start.FORCE, help="start over in place of the run in --out"
    )


def left_behind(arguments: argparse.Namespace, states: str) -> str:
    """What an interruption leaves; `states` is the pattern of the files below --out from which a run goes on."""
    if (last := next(arguments.out.glob(states), None)) is None:
        return "interrupted before an epoch was complete: there is nothing to go on from"
    return f"interrupted; go on with --resume (state in {last if states == 'last.pt' else arguments.out})"


# ---- train -----------------------------------------------------------------------------------------------------------


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file: data, model, training, augmentation")
    add_run_arguments(parser)
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard events to RUN/tensorboard")
    parser.add_argument(
        "--quantized", type=Path, metavar="model.q.nir", help="fine-tune this quantised file instead, in its integers"
    )


train: Command = Command(
    door="model.train",
    description="Train a network: SpikeSCR, or DCLS-Delays with learnt delays.",
    example="configs/demo.toml --out runs/demo --set training.epochs=5",
    add_arguments=add_train_arguments,
    work=Later("model.train:work"),
    interrupted=functools.partial(left_behind, states="last.pt"),
    unwritten=KEPT,
    complain=complain,
)


# ---- distill ---------------------------------------------------------------------------------------------------------


def add_distill_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file: data, model, training, augmentation, distillation, stage")
    parser.add_argument("--teacher", type=Path, metavar="CKPT", help="trained checkpoint that teaches the first stage")
    add_run_arguments(parser)


distill: Command = Command(
    door="model.distill",
    description="Distil a SpikeSCR network through a chain of coarser and coarser time scales (PTCD).",
    example="configs/ptcd_synth.toml --out runs/ptcd --set stage.2.epochs=5",
    add_arguments=add_distill_arguments,
    work=Later("model.distill:work"),
    interrupted=functools.partial(left_behind, states="*/last.pt"),
    unwritten=KEPT,
    complain=complain,
)


# ---- ablation --------------------------------------------------------------------------------------------------------


def add_ablation_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file of a chain, as for model.distill")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from training.seed on (default 3)")
    parser.add_argument("--arms", metavar="ARM,ARM", help=f"only these, of {', '.join(ARMS)}")
    add_run_arguments(parser)


ablation: Command = Command(
    door="model.ablation",
    description="Compare PTCD with training from scratch, with fine-tuning and with distillation at once.",
    example="configs/ptcd_synth.toml --out runs/ablation_synth --seeds 3",
    add_arguments=add_ablation_arguments,
    work=Later("model.ablation:work"),
    interrupted=functools.partial(left_behind, states="seed*/**/last.pt"),
    unwritten=KEPT,
    complain=complain,
)


# ---- evaluate --------------------------------------------------------------------------------------------------------


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="file written by model.train")
    parser.add_argument("--data", required=True, help="data SPEC: synth, gsc:PATH, ..., or wav:PATH")
    parser.add_argument("--split", default="test", help="train, validation or test (default)")
    parser.add_argument(
        "--bits", type=int, nargs="+", default=[], choices=BITS, help="quantise a twin too: bits of an activation"
    )


evaluate: Command = Command(
    door="model.evaluate",
    description="Measure a checkpoint on a split of a data set, or classify WAV files.",
    example="runs/demo/ckpt.pt --data synth --split test",
    add_arguments=add_evaluate_arguments,
    work=Later("model.evaluate:work"),
)
