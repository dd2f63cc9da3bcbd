"""`python -m hardware.measure CKPT.pt ... --out FOLDER`: what do networks take on this machine's GPU or processor?

Every checkpoint in FP32, TF32, FP16, BF16 and INT8, run eagerly, as a CUDA graph and compiled, at batch 1 and at the
batch that saturates the device: latency and throughput, and energy where a counter can be read. Writes
`FOLDER/<device>.json`, whose prices hardware.report then uses (docs/measuring.md).
"""

from __future__ import annotations

import sys

from neurotarget.hardware.commands import measure as main

if __name__ == "__main__":  # before the imports that take long: --help needs none of them
    sys.exit(main())

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

from neurotarget.hardware.meters import device_file
from neurotarget.hardware.meters.device_file import MeasuredDevice, MeasuredRow
from neurotarget.hardware.meters.windows import Measurement, quotient

from neurotarget.cli import Result, UsageError
from neurotarget.data import open_dataset, renumbered
from neurotarget.figures import rounded
from neurotarget.files import check_folder
from neurotarget.terminal import results


def work(arguments: argparse.Namespace) -> Result:
    check_folder(arguments.out)
    if arguments.samples < 1 or not arguments.minutes > 0:
        raise UsageError("--samples and --minutes: more than 0 is needed")
    import torch
    from neurotarget.conversion.export.torch_network import TorchNetwork
    from neurotarget.hardware.meters.sweep import Data, Subject, sweep
    from neurotarget.model.training import checkpoint

    loaded = checkpoint.load(arguments.checkpoint[0])
    names = [_name(path, arguments.checkpoint) for path in arguments.checkpoint]
    spec = arguments.data or loaded.data
    dataset = open_dataset(spec, loaded.standardisation)
    split = dataset.split("test")
    labels = renumbered(split.labels, dataset.classes, loaded.classes)
    data = Data(spec, split.frames, split.lengths, labels).chosen(arguments.samples)
    subjects = []
    for name, path in zip(names, arguments.checkpoint, strict=True):
        found = checkpoint.load(path)
        if found.config.features != dataset.features or found.classes != loaded.classes:
            raise UsageError(
                f"{path}: {found.config.features} features and {len(found.classes)} classes; {spec} has "
                f"{dataset.features} features, and {arguments.checkpoint[0]} {len(loaded.classes)} classes"
            )
        subjects.append(Subject(name, path, TorchNetwork(found.model().eval(), ())))
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    measured = sweep(subjects, data, device, arguments.minutes)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = device_file.save(arguments.out, measured)
    return Result(dataclasses.asdict(measured), words(measured, path))


def _name(path: Path, paths: list[Path]) -> str:
    """Of a checkpoint: its folder's name, as `model.train` names all files alike.

    Raises:
        UsageError: two would have the same.
    """
    name = path.resolve().parent.name
    if [other.resolve().parent.name for other in paths].count(name) > 1:
        raise UsageError(f"{path}: two checkpoints lie in folders called {name!r}; rename one")
    return name


def words(found: MeasuredDevice, path: Path) -> str:
    """The measurements for a terminal."""
    rows = [COLUMNS, *(cells for row in found.rows if (cells := row_cells(row)))]
    lines = [f"{name(row)}: not measured: {row.reason}" for row in found.rows if row_cells(row) is None]
    lines.append(f"{found.device}, {found.samples} samples of {found.data}")
    if found.reason:
        lines.append(f"no energy was measured: {found.reason}")
    else:
        lines.append(
            f"{found.meter}: idle {rounded(found.idle_watts)} W, active idle {rounded(found.active_idle_watts)} W"
        )
    return results(rows, [*lines, *comparisons(found)], f"{path}: written", texts=1)


def comparisons(found: MeasuredDevice) -> list[str]:
    """Each spiking network against each one that does not spike, each in the faithful setting that takes least."""
    sides = [(one, other) for one in found.networks if one.spiking for other in found.networks if not other.spiking]
    return [
        f"{one.name} against {other.name}, {words}: {ratio_words(mine, theirs)}"
        for one, other in sides
        for words, of in (("alone", lambda row: row.batch_1), ("saturated", lambda row: row.best_batch))
        if (mine := _least(found, one.name, of)) and (theirs := _least(found, other.name, of))
    ]


def _least(
    found: MeasuredDevice, network: str, of: Callable[[MeasuredRow], Measurement | None]
) -> tuple[MeasuredRow, Measurement] | None:
    known = [(row, one) for row in found.rows if row.network == network and row.faithful and (one := of(row))]
    return min(known, key=lambda pair: pair[1].total_uj or 1e6 / pair[1].per_second, default=None)


def ratio_words(mine: tuple[MeasuredRow, Measurement], theirs: tuple[MeasuredRow, Measurement]) -> str:
    """Energy, or without a counter time, of an inference over the other's."""
    (row, one), (other_row, other) = mine, theirs
    settings = f"({row.precision}, {row.way} against {other_row.precision}, {other_row.way})"
    if one.total_uj and other.total_uj:
        value, spread = quotient(one.total_uj, one.total_uj_std, other.total_uj, other.total_uj_std)
        return f"{rounded(value)} ± {rounded(spread)} times the energy {settings}"
    value, spread = quotient(other.per_second, other.per_second_std, one.per_second, one.per_second_std)
    return f"{rounded(value)} ± {rounded(spread)} times the time {settings}"


ENERGY = ("uJ", "uJ above idle")
COLUMNS = ("network, alone", "ms", "± ms", *ENERGY, "in batches of", "per second", "±", *ENERGY)


def name(row: MeasuredRow) -> str:
    """A row's network and settings."""
    return f"{row.network}, {row.precision}, {row.way}" + (f" ({row.neurons})" if row.neurons else "")


def row_cells(row: MeasuredRow) -> tuple[str, ...] | None:
    """One row of the table; None where nothing was measured."""
    if row.batch_1 is None or row.best_batch is None:
        return None
    one, best = row.batch_1, row.best_batch
    figures = (one.latency_ms, one.latency_ms_std, one.total_uj, one.dynamic_uj)
    batches = (best.per_second, best.per_second_std, best.total_uj, best.dynamic_uj)
    return name(row), *map(rounded, figures), str(best.batch), *map(rounded, batches)
