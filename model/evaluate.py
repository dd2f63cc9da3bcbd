"""Accuracy of a checkpoint: `python -m model.evaluate ckpt.pt --data SPEC`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from neurotarget.model.training import checkpoint
from neurotarget.model.training.evaluation import evaluate

from neurotarget.cli import Command, Result
from neurotarget.data import DataError, open_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="file written by model.train")
    parser.add_argument("--data", required=True, help="data SPEC: synth, gsc:PATH, shd:PATH, ssc:PATH or fsdd:PATH")
    parser.add_argument("--split", default="test", help="train, validation or test (default)")


def work(arguments: argparse.Namespace) -> Result:
    loaded = checkpoint.load(arguments.checkpoint)
    dataset = open_dataset(arguments.data)
    split = dataset.split(arguments.split)
    if dataset.features != loaded.config.features or dataset.classes != loaded.classes:
        raise DataError(
            f"{arguments.data}: {dataset.features} features and {len(dataset.classes)} classes; "
            f"{arguments.checkpoint} was trained on {loaded.data} with {loaded.config.features} and "
            f"{len(loaded.classes)}"
        )
    loss, accuracy = evaluate(loaded.model(), split)
    figures = {"data": arguments.data, "split": arguments.split, "samples": len(split.labels)}
    return Result(
        {**figures, "loss": loss, "accuracy": accuracy},
        f"{arguments.data}, {arguments.split}: accuracy {accuracy:.4f} on {len(split.labels)} samples, loss {loss:.4f}",
    )


main = Command(
    door="model.evaluate",
    description="Measure a checkpoint on a split of a data set.",
    example="runs/demo/ckpt.pt --data synth --split test",
    add_arguments=add_arguments,
    work=work,
)

if __name__ == "__main__":
    sys.exit(main())
