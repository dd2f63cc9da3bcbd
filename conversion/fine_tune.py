"""Trains on through the integers: `python -m conversion.fine_tune CONFIG.toml --quantized model.q.nir --out RUN`.

The network is a quantised NIR file, or one's own (`--network module:factory`), which is converted and quantised first.
What training sees is what the chip runs (integer_network.py). The run's folder gets `model.q.nir` (best epoch by
validation accuracy, the file as it came being epoch 0), `metrics.csv`, `metrics.json` and `curves.png`. Each time
before the file appears it is opened again and run on the reference simulator, whose spikes and outputs must be those of
the training network, bit for bit.
"""

from __future__ import annotations

import sys

from neurotarget.conversion.commands import fine_tune as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neurotarget.conversion.commands import CALIBRATION_SAMPLES, FINE_TUNED
from neurotarget.conversion.export.factory import make_network
from neurotarget.conversion.fixed.emit_fixed import emit_fixed
from neurotarget.conversion.quantize import quantize
from neurotarget.conversion.to_nir import convert_network, failure
from neurotarget.conversion.tuning.integer_network import IntegerNetwork
from neurotarget.model.spikescr import readout
from neurotarget.model.training import loop, run_folder, settings
from neurotarget.model.training.run_folder import COLUMNS, TrainingError
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.graph.nir_file import to_bytes
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.inputs import open_input
from neurotarget.sim.trace import accuracy

from neurotarget.cli import Result, UsageError, complain
from neurotarget.data import Dataset, Split, open_dataset
from neurotarget.errors import CheckFailed
from neurotarget.files import check_folder, only_writer, write_bytes, write_text
from neurotarget.terminal import results

CHECKED = 64  # samples on which the file written is compared with the training network
# A file's readout as that of a network in training.
SCORES = {
    dialect.READOUT_SOFTMAX_SUM: "softmax_sum",
    dialect.READOUT_SUM: "spike_count",
    dialect.READOUT_MAX: "max",
}


def fine_tune(config: settings.Settings, source: Path | Graph, out: Path, force: bool = False) -> dict[str, Any]:
    """Fine-tunes a quantised file and returns its metrics.

    Args:
        config: data, schedule and augmentation; of its network only `alpha` is used, dropout is not integer.
        source: quantised NIR file to start from, or the graph of one.
        out: folder of the run, made when missing.
        force: replace the run that is there.

    Raises:
        GraphError: the file cannot be trained, or does not fit the data.
        DataError: data that cannot be used.
        TrainingError: the folder holds a run, a gradient is not finite, or the file written is not the network that
            was trained.
        OutputError: another process trains into the same folder.
        OSError: the run's folder cannot be written; what was in it is whole.
    """
    loop.settle_threads()
    graph = load(source)
    if isinstance(source, Path) and (out / FINE_TUNED).resolve() == source.resolve():
        raise GraphError(f"{source}: the fine-tuned file would replace the one it starts from; choose another --out")
    check_start(out, force)
    network = IntegerNetwork(graph, config.model.alpha)
    dataset = open_dataset(config.data)
    settings.check_augmentation(config, dataset)
    if config.training.average != "none":
        raise settings.SettingsError(
            f"training: average {config.training.average}: an average of integers is none; leave it out"
        )
    if config.training.checkpointing or config.training.precision != "float32":
        raise settings.SettingsError(
            "training: checkpointing and precision are for networks in floating point; leave them out"
        )
    _check_fits(graph, dataset)
    with only_writer(out):
        return _fine_tune(config, dataset, graph, network, out)


def check_start(out: Path, force: bool) -> None:
    """Refuses a folder that holds a run, unless it is to be replaced."""
    if (out / FINE_TUNED).exists() and not force:
        raise TrainingError(f"{out / FINE_TUNED}: is there already; replace it by --force, or choose another --out")


def own_integers(name: str, weights: Path | None, spec: str, target: Path) -> Graph:
    """The quantised graph of a network of the user's own, followed, compared and calibrated on training samples.

    Args:
        name, weights: see `factory.make_network`.
        spec: of the data.
        target: of the file that will hold it, for messages.

    Raises:
        NetworkError, CheckpointError, UnsupportedModule, GraphError: it cannot be made, converted or quantised.
        CheckFailed: the converted network is not its own, or it never fires.
    """
    network, data = make_network(name, weights), open_input(spec, None, "train", CALIBRATION_SAMPLES)
    metadata = dialect.data_metadata(data.classes, data.standardisation)
    made = convert_network(network, data, target, data.step_seconds or dialect.DEFAULT_DT_SECONDS, metadata)
    for note in made.notes:
        complain(f"note: {note}")
    if not made.parity.holds:
        raise CheckFailed(f"{name}: {made.parity.sides}: {failure(made.parity)}; nothing to train")
    return load(target, content=to_bytes(quantize(made.graph, data.frames, data.lengths)[0]))


def _fine_tune(
    config: settings.Settings, dataset: Dataset, graph: Graph, network: IntegerNetwork, out: Path
) -> dict[str, Any]:
    learner = IntegerLearner(network, config.training)
    history = [_as_it_came(learner, dataset, config.training.batch)]
    write_checked(network, out / FINE_TUNED, dataset.split("validation"))

    def keep(row: loop.Row, best: bool) -> None:
        if best:
            write_checked(network, out / FINE_TUNED, dataset.split("validation"))
        run_folder.write_csv(out / "metrics.csv", history)

    loop.train_epochs(learner, dataset, config, history, "fine-tuning", keep)
    test = dataset.split("test")
    best_row = max(history, key=learner.merit)
    metrics: dict[str, Any] = {
        **best_row,
        "test_accuracy": _accuracy(load(out / FINE_TUNED), test),
        "test_samples": len(test.labels),
        "calibrated_validation_accuracy": history[0]["validation_accuracy"],
        "calibrated_test_accuracy": _accuracy(graph, test),
        "seconds": sum(row["seconds"] for row in history),
    }
    identity = {"data": config.data, "quantized": graph.source, "settings": config.as_dict()}
    write_text(out / "metrics.json", json.dumps({**identity, **metrics}, indent=2))
    run_folder.plot(out / "curves.png", history, config.data)
    return metrics


def _check_fits(graph: Graph, dataset: Dataset) -> None:
    expected = dataset.shape, (len(dataset.classes),)
    found = graph.input.output_shape, graph.output.output_shape
    if found != expected:
        raise GraphError(
            f"{graph.source}: takes {found[0]} features and gives {found[1]} outputs; {dataset.spec} has {expected[0]} "
            f"features and {expected[1]} classes"
        )


# ---- epochs ----------------------------------------------------------------------------------------------------------


class IntegerLearner(loop.Learner):
    """The integers of a quantised file."""

    network: IntegerNetwork

    def __init__(self, network: IntegerNetwork, schedule: settings.Training) -> None:
        optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
        super().__init__(network, optimizer, f"{FINE_TUNED} is the best epoch before")

    def scores(self, frames: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
        """What the file's readout compares, float64."""
        window = torch.from_numpy(lengths.copy())
        output = self.network(torch.from_numpy(np.array(frames)), window)
        return readout(output.transpose(0, 1), window, SCORES[self.network.graph.readout])

    def merit(self, row: loop.Row) -> tuple[float, ...]:
        """Of equals the lower loss, because few utterances give many equals."""
        return row["validation_accuracy"], -row["validation_loss"]


def _as_it_came(learner: IntegerLearner, dataset: Dataset, batch: int) -> loop.Row:
    """Epoch 0: both splits without augmentation."""
    started = time.perf_counter()
    measured = [value for name in ("train", "validation") for value in learner.evaluate(dataset.split(name), batch)]
    return dict(zip(COLUMNS, (0, 0.0, *measured, time.perf_counter() - started), strict=True))


# ---- the file --------------------------------------------------------------------------------------------------------


def write_checked(network: IntegerNetwork, target: Path, split: Split) -> None:
    """Writes the network's integers; the file gets its name when the simulator runs it as the network runs.

    Raises:
        TrainingError: spikes or outputs differ, or u wraps around in a layer; what `target` held stays.
    """
    frames, lengths = split.frames[:CHECKED], split.lengths[:CHECKED]
    whole = network.as_graph()
    content = to_bytes(emit_fixed(whole, whole.fixed))
    trace = reference.run(load(target, content=content), frames, lengths)
    spikes: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        output = network(torch.from_numpy(np.array(frames)), torch.from_numpy(lengths.copy()), spikes)
    same = {name: np.array_equal(found, spikes[name].numpy()) for name, found in trace.spikes.items()}
    same["output"] = np.array_equal(trace.output, output.numpy())
    if not all(same.values()):
        layer = next(name for name, equal in same.items() if not equal)
        raise TrainingError(f"{layer}: the simulator runs the file otherwise than it was trained; not written")
    if wrapped := trace.header["wrapped_u"]:
        raise TrainingError(
            f"u wraps around 24 bits in {', '.join(wrapped)}; not written; lower training.learning_rate"
        )
    write_bytes(target, content)


def _accuracy(graph: Graph, split: Split) -> float | None:
    """As the reference simulator runs it."""
    return accuracy(reference.run(graph, split.frames, split.lengths, split.labels), graph.readout)


# ---- command line ----------------------------------------------------------------------------------------------------


def work(arguments: argparse.Namespace) -> Result:
    check_folder(arguments.out)
    if (arguments.quantized is None) == (arguments.network is None):
        raise UsageError("one of --quantized and --network is expected")
    if arguments.weights is not None and arguments.network is None:
        raise UsageError("--weights goes with --network")
    config, source = settings.read(arguments.config, arguments.overrides), arguments.quantized
    if arguments.network is not None:
        check_start(arguments.out, arguments.force)
        source = own_integers(arguments.network, arguments.weights, config.data, arguments.out / FINE_TUNED)
    metrics = fine_tune(config, source, arguments.out, arguments.force)
    rows = [("split", "accuracy as it came", "accuracy")]
    for split in ("validation", "test"):
        came, tuned = metrics[f"calibrated_{split}_accuracy"], metrics[f"{split}_accuracy"]
        rows.append((split, f"{came:.4f}", f"{tuned:.4f}"))
    verdict = (
        f"{arguments.out / FINE_TUNED}: written, of epoch {metrics['epoch']}; "
        f"{metrics['test_samples']} test samples of {config.data}"
    )
    return Result(metrics, results(rows, [], verdict))
