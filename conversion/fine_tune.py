"""Trains on through the integers: `python -m conversion.fine_tune CONFIG.toml --quantized model.q.nir --out RUN`.

The network is a quantised NIR file; what training sees is what the chip runs (integer_network.py). The run's folder
gets `model.q.nir` (best epoch by validation accuracy, the file as it came being epoch 0), `metrics.csv`, `metrics.json`
and `curves.png`. Each time before the file appears it is opened again and run on the reference simulator, whose spikes
and outputs must be those of the training network, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.conversion.fixed.emit_fixed import emit_fixed
from neurotarget.conversion.tuning.integer_network import IntegerNetwork
from neurotarget.model.spikescr import readout
from neurotarget.model.train import augmented, fitted, learning_rate, settle_threads
from neurotarget.model.training import run_folder, settings
from neurotarget.model.training.run_folder import COLUMNS, TrainingError
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.graph.nir_file import to_bytes
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.trace import accuracy
from tqdm import tqdm

from neurotarget.cli import Command, Result
from neurotarget.data import Dataset, Split, open_dataset
from neurotarget.files import check_folder, remove_unfinished, write_bytes, write_text

CHECKED = 64  # samples on which the file written is compared with the training network
NAME = "model.q.nir"


def fine_tune(config: settings.Settings, source: Path, out: Path) -> dict[str, Any]:
    """Fine-tunes a quantised file and returns its metrics.

    Args:
        config: data, schedule and augmentation; of its network only `alpha` is used, dropout is not integer.
        source: quantised NIR file to start from.
        out: folder of the run, made when missing.

    Raises:
        GraphError: the file cannot be trained, or does not fit the data.
        DataError: data that cannot be used.
        TrainingError: a gradient is not finite, or the file written is not the network that was trained.
        OSError: the run's folder cannot be written; what was in it is whole.
    """
    settle_threads()
    graph = load(source)
    network = IntegerNetwork(graph, config.model.alpha)
    dataset = open_dataset(config.data)
    config = fitted(config, dataset)
    _check_fits(graph, dataset)
    if (out / NAME).resolve() == source.resolve():
        raise GraphError(f"{source}: the fine-tuned file would replace the one it starts from; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    remove_unfinished(out)
    schedule = config.training
    optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
    history = [_as_it_came(network, dataset, schedule.batch)]
    best = history[0]
    write_checked(network, out / NAME, dataset.split("validation"))
    bar = tqdm(range(1, schedule.epochs + 1), desc="fine-tuning", unit="epoch", disable=None)
    for epoch in bar:
        row = _epoch(network, optimizer, dataset, config, epoch)
        history.append(row)
        if _merit(row) > _merit(best):
            best = row
            write_checked(network, out / NAME, dataset.split("validation"))
        run_folder.write_csv(out / "metrics.csv", history)
        bar.set_postfix(loss=f"{row['train_loss']:.3f}", validation=f"{row['validation_accuracy']:.3f}")
    test = dataset.split("test")
    metrics = {
        **best,
        "test_accuracy": _accuracy(load(out / NAME), test),
        "test_samples": len(test.labels),
        "calibrated_validation_accuracy": history[0]["validation_accuracy"],
        "calibrated_test_accuracy": _accuracy(graph, test),
        "seconds": sum(row["seconds"] for row in history),
    }
    identity = {"data": config.data, "quantized": str(source), "settings": config.as_dict()}
    write_text(out / "metrics.json", json.dumps({**identity, **metrics}, indent=2))
    run_folder.plot(out / "curves.png", history, config.data)
    return metrics


def _merit(row: dict[str, float]) -> tuple[float, float]:
    """Validation accuracy; of equals the lower loss, because few utterances give many equals."""
    return row["validation_accuracy"], -row["validation_loss"]


def _check_fits(graph: Graph, dataset: Dataset) -> None:
    expected = (dataset.features,), (len(dataset.classes),)
    found = graph.input.output_shape, graph.output.output_shape
    if found != expected:
        raise GraphError(
            f"{graph.source}: takes {found[0]} features and gives {found[1]} outputs; {dataset.spec} has {expected[0]} "
            f"features and {expected[1]} classes"
        )


# ---- epochs ----------------------------------------------------------------------------------------------------------


def scores(network: IntegerNetwork, frames: np.ndarray, lengths: np.ndarray) -> torch.Tensor:
    """What the file's readout compares, float64 [samples, classes], of frames [samples, steps, features]."""
    window = torch.from_numpy(lengths.copy())
    output = network(torch.from_numpy(np.array(frames)), window)
    if network.graph.readout == dialect.READOUT_SOFTMAX_SUM:
        return readout(output.transpose(0, 1), window)
    return output.sum(dim=1)


def _as_it_came(network: IntegerNetwork, dataset: Dataset, batch: int) -> dict[str, float]:
    """Epoch 0: both splits without augmentation."""
    started = time.perf_counter()
    measured = (
        *evaluate(network, dataset.split("train"), batch),
        *evaluate(network, dataset.split("validation"), batch),
    )
    return dict(zip(COLUMNS, (0, 0.0, *measured, time.perf_counter() - started), strict=True))


@torch.no_grad()
def evaluate(network: IntegerNetwork, split: Split, batch: int) -> tuple[float, float]:
    """Mean cross-entropy and accuracy on a split."""
    rows = [slice(start, start + batch) for start in range(0, len(split.labels), batch)]
    found = torch.cat([scores(network, split.frames[part], split.lengths[part]) for part in rows])
    labels = torch.from_numpy(split.labels.copy())
    return F.cross_entropy(found, labels).item(), int((found.argmax(-1) == labels).sum()) / len(labels)


def _epoch(
    network: IntegerNetwork,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    config: settings.Settings,
    epoch: int,
) -> dict[str, float]:
    started = time.perf_counter()
    split, schedule = dataset.split("train"), config.training
    rng = np.random.default_rng([schedule.seed, epoch])
    batches = max(1, len(split.labels) // schedule.batch)
    total_loss = correct = 0.0
    for index, rows in enumerate(np.array_split(rng.permutation(len(split.labels)), batches)):
        rate = learning_rate(schedule, epoch - 1 + index / batches)
        for group in optimizer.param_groups:
            group["lr"] = rate
        frames, window = augmented(split, rows, config.augmentation, rng)
        labels = torch.from_numpy(split.labels[rows])
        found = scores(network, frames, window)
        loss = F.cross_entropy(found, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"epoch {epoch}, batch {index + 1}: the norm of the gradient is {norm.item()}; lower "
                f"training.learning_rate (now {schedule.learning_rate:g}); {NAME} is the best epoch before"
            )
        optimizer.step()
        total_loss += loss.item() * len(rows)
        correct += int((found.argmax(-1) == labels).sum())
    samples = len(split.labels)
    trained = rate, total_loss / samples, correct / samples
    validated = evaluate(network, dataset.split("validation"), schedule.batch)
    return dict(zip(COLUMNS, (epoch, *trained, *validated, time.perf_counter() - started), strict=True))


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file that the network was trained with, for data and schedule")
    parser.add_argument("--quantized", type=Path, required=True, metavar="model.q.nir", help="file to start from")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="table.key=value")


def work(arguments: argparse.Namespace) -> Result:
    check_folder(arguments.out)
    config = settings.read(arguments.config, arguments.overrides)
    metrics = fine_tune(config, arguments.quantized, arguments.out)
    text = (
        f"{arguments.out / NAME}: epoch {metrics['epoch']}, accuracy on validation "
        f"{metrics['calibrated_validation_accuracy']:.4f} -> {metrics['validation_accuracy']:.4f}, on test "
        f"{metrics['calibrated_test_accuracy']:.4f} -> {metrics['test_accuracy']:.4f} "
        f"({metrics['test_samples']} samples of {config.data})"
    )
    return Result(metrics, text)


main = Command(
    door="conversion.fine_tune",
    description="Train a quantised NIR file on, in its integers.",
    example="configs/demo.toml --quantized runs/demo/ckpt.q.nir --out runs/tuned --set training.epochs=3",
    add_arguments=add_arguments,
    work=work,
    interrupted="interrupted; {out}/model.q.nir is the best epoch before, where it exists",
)

if __name__ == "__main__":
    sys.exit(main())
