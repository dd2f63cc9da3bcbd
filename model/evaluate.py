"""Accuracy of a checkpoint, or what it hears: `python -m model.evaluate ckpt.pt --data SPEC`.

`--bits 8 7` also quantises a trained twin, once for each number of bits of an activation.
"""

from __future__ import annotations

import sys

from neurotarget.model.commands import evaluate as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from neurotarget.model.training import checkpoint
from neurotarget.model.training.bootstrap import bootstrapped
from neurotarget.model.training.evaluation import evaluate, in_evaluation, loss_and_accuracy, split_scores
from neurotarget.model.training.post_training import FLOAT_OPERATIONS, WEIGHT_BITS, quantised

from neurotarget.cli import Result, UsageError
from neurotarget.data import DataError, Split, open_dataset, open_recordings, renumbered, spec
from neurotarget.terminal import results


def work(arguments: argparse.Namespace) -> Result:
    loaded = checkpoint.load(arguments.checkpoint)
    if arguments.bits and not loaded.config.twin:
        raise UsageError("--bits quantises a twin (model.twin=true); conversion.quantize is for a network that spikes")
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
    scores = split_scores(in_evaluation(loaded.model()), split)
    loss, accuracy = loss_and_accuracy(scores, split)
    spread = bootstrapped(scores.argmax(-1).numpy() == split.labels, split)
    figures: dict[str, Any] = {"data": arguments.data, "split": arguments.split, "samples": len(split.labels)}
    figures |= {"loss": loss, "accuracy": accuracy, "bootstrap": spread}
    verdict = (
        f"{arguments.data}, {arguments.split}: accuracy {accuracy:.4f} on {len(split.labels)} samples (standard error "
        f"{spread['standard_error']:.4f}, over {spread['units']} {spread['over']}), loss {loss:.4f}"
    )
    rows, lines = [("bits of activations", "accuracy", "loss")], []
    if arguments.bits:
        forms = _quantised(loaded, arguments.bits, split)
        figures |= {"quantised": forms, "float_operations": FLOAT_OPERATIONS}
        rows += [(str(one["bits"]), f"{one['accuracy']:.4f}", f"{one['loss']:.4f}") for one in forms]
        lines.append(f"in floating point stay {', '.join(FLOAT_OPERATIONS)}")
    return Result(figures, results(rows, lines, verdict, texts=0), notes=notes)


def _quantised(loaded: checkpoint.Checkpoint, bits: Sequence[int], split: Split) -> list[dict[str, float]]:
    """Of each number of bits of an activation; calibrated on the training split of the checkpoint's own data."""
    train, network = open_dataset(loaded.data, loaded.standardisation).split("train"), loaded.model()
    forms = []
    for count in bits:
        loss, accuracy = evaluate(quantised(network, train, count), split)
        forms.append({"bits": count, "weight_bits": WEIGHT_BITS, "loss": loss, "accuracy": accuracy})
    return forms


def _classified(loaded: checkpoint.Checkpoint, arguments: argparse.Namespace) -> Result:
    """The word that the network hears in each recording."""
    recordings = open_recordings(arguments.data, loaded.standardisation)
    notes = _notes(loaded, arguments, recordings.frames.shape[2], recordings.step_seconds)
    unknown = np.zeros(len(recordings.keys), np.int64)
    split = Split(recordings.frames, unknown, recordings.lengths, recordings.keys)
    scores = split_scores(in_evaluation(loaded.model()), split)
    words = [loaded.classes[index] for index in scores.argmax(-1).tolist()]
    heard = dict(zip(recordings.keys, words, strict=True))
    text = results([("recording", "word"), *heard.items()], [], f"{len(words)} recordings classified", texts=2)
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
