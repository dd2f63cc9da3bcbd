"""The checkpoint of a trained twin on a report's input: as it is, in 8 bits, and in as many as spikes could tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from neurotarget.hardware.counts.twin_products import run_and_count
from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.hardware.energy.prices import PriceTable
from neurotarget.hardware.energy.sensitivity import NO_PARTS, PriceParts
from neurotarget.hardware.energy.trained_twin import FLOAT_BITS, TrainedTwin, trained_twin
from neurotarget.hardware.energy.twin import activation_bits
from neurotarget.model.training import checkpoint
from neurotarget.model.training.post_training import WEIGHT_BITS, quantised
from neurotarget.sim.inputs import Input

from neurotarget.data import open_dataset


def twin_bits(steps: int) -> tuple[int, ...]:
    """Bits of the activations of the quantised twins: 8, and ceil(log2(T + 1)) where that is less."""
    return tuple(sorted({8, max(2, min(8, activation_bits(steps)))}, reverse=True))


def trained_twins(
    path: Path,
    data: Input,
    tables: Sequence[PriceTable],
    spiking: Sequence[EnergyFigure] = (),
    parts: PriceParts = NO_PARTS,
) -> tuple[TrainedTwin, ...]:
    """The twin of a checkpoint on some samples, in 32, 8 and few bits; it is calibrated on its own training split.

    Args:
        spiking: the spiking network's energies on the same samples; empty where nothing is compared.
        parts: what each price makes of them.

    Raises:
        CheckpointError: it cannot be used, is no twin, or is one of another task.
        DataError: the data that it was trained on cannot be opened.
    """
    loaded = checkpoint.load(path)
    if not loaded.config.twin:
        raise checkpoint.CheckpointError(f"{path}: spikes; --twin takes a network trained with model.twin=true")
    if loaded.config.features != data.frames.shape[2] or (data.classes and data.classes != loaded.classes):
        raise checkpoint.CheckpointError(
            f"{path}: a twin for {loaded.config.features} features and classes {', '.join(loaded.classes)}; the input "
            f"has {data.frames.shape[2]} features; train the twin on the spiking network's data"
        )
    train = open_dataset(loaded.data, loaded.standardisation).split("train")
    network = loaded.model()
    forms = {FLOAT_BITS: network}
    forms |= {bits: quantised(network, train, bits) for bits in twin_bits(round(float(np.mean(data.lengths))))}
    twins = []
    for bits, form in forms.items():
        run = run_and_count(form, data.frames, data.lengths, progress=True)
        accuracy = None if data.labels is None else float(np.mean(run.predicted == data.labels))
        weight_bits = FLOAT_BITS if bits == FLOAT_BITS else WEIGHT_BITS
        twins.append(trained_twin(str(path), bits, weight_bits, accuracy, run, tables, spiking, parts))
    return tuple(twins)
