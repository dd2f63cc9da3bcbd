"""Accuracy of a checkpoint, or what it hears: `python -m model.evaluate ckpt.pt --data SPEC`."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
from neurotarget.model.training import checkpoint
from neurotarget.model.training.evaluation import evaluate, in_evaluation, split_scores

from neurotarget.cli import Command, Result
from neurotarget.data import DataError, Split, open_dataset, open_recordings, renumbered, spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="file written by model.train")
    parser.add_argument("--data", required=True, help="data SPEC: synth, gsc:PATH, ..., or wav:PATH")
    parser.add_argument("--split", default="test", help="train, validation or test (default)")


def work(arguments: argparse.Namespace) -> Result:
    loaded = checkpoint.load(arguments.checkpoint)
    if spec.unlabelled(arguments.data):
        return _classified(loaded, arguments)
    dataset = open_dataset(arguments.data, loaded.standardisation)
    split = dataset.split(arguments.split)
    notes = _notes(loaded, arguments, dataset.features, dataset.step_seconds)
    if dataset.standardisation is not None and loaded.standardisation is None:
        notes.append(
            f"{arguments.checkpoint} does not say how its log-mel frames were standardised: those of {arguments.data} "
            "are brought to mean 0 by its own train split; train again to have it in the checkpoint"
        )
    split = dataclasses.replace(split, labels=renumbered(split.labels, dataset.classes, loaded.classes))
    loss, accuracy = evaluate(loaded.model(), split)
    figures = {"data": arguments.data, "split": arguments.split, "samples": len(split.labels)}
    return Result(
        {**figures, "loss": loss, "accuracy": accuracy},
        f"{arguments.data}, {arguments.split}: accuracy {accuracy:.4f} on {len(split.labels)} samples, loss {loss:.4f}",
        notes=notes,
    )


def _classified(loaded: checkpoint.Checkpoint, arguments: argparse.Namespace) -> Result:
    """The word that the network hears in each recording."""
    recordings = open_recordings(arguments.data, loaded.standardisation)
    notes = _notes(loaded, arguments, recordings.frames.shape[2], recordings.step_seconds)
    unknown = np.zeros(len(recordings.keys), np.int64)
    split = Split(recordings.frames, unknown, recordings.lengths, recordings.keys)
    scores = split_scores(in_evaluation(loaded.model()), split)
    words = [loaded.classes[index] for index in scores.argmax(-1).tolist()]
    heard = dict(zip(recordings.keys, words, strict=True))
    text = "\n".join(f"{file}: {word}" for file, word in heard.items())
    return Result({"data": arguments.data, "samples": len(words), "predicted": heard}, text, notes=notes)


def _notes(
    loaded: checkpoint.Checkpoint, arguments: argparse.Namespace, features: int, step_seconds: float
) -> list[str]:
    """What differs from the training without making it senseless.

    Raises:
        DataError: the data have another number of features.
    """
    if features != loaded.config.features:
        raise DataError(
            f"{arguments.data}: {features} features; {arguments.checkpoint} was trained on {loaded.data} with "
            f"{loaded.config.features}"
        )
    if math.isclose(step_seconds, loaded.step_seconds, rel_tol=1e-6):
        return []
    return [
        f"{arguments.data} has steps of {1000 * step_seconds:g} ms, {arguments.checkpoint} was trained on steps of "
        f"{1000 * loaded.step_seconds:g} ms"
    ]


main = Command(
    door="model.evaluate",
    description="Measure a checkpoint on a split of a data set, or classify WAV files.",
    example="runs/demo/ckpt.pt --data synth --split test",
    add_arguments=add_arguments,
    work=work,
)

if __name__ == "__main__":
    sys.exit(main())
