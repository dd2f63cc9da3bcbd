"""From energies to sentences: which network takes less, under which boundary, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurotarget.hardware.energy.figure import MEMORY, OPERATIONS, EnergyFigure, dense_on_gpu
from neurotarget.hardware.energy.prices import MEASURED_GPU
from neurotarget.hardware.meters.measurement import Measured, Unmeasured

from neurotarget.figures import interval, rounded

LESS, MORE, DEPENDS, UNKNOWN, WITHHELD = "less", "more", "depends", "unknown", "withheld"


@dataclass(frozen=True)
class Verdict:
    """The answer under one boundary.

    Attributes:
        boundary: `operations`, `memory`, `machines` (neuromorphic chip against GPU, operations) or `measured`.
        answer: `less`, `more` (the spiking network against the dense one), `depends` (on the table), `unknown`, or
            `withheld` where the run decides nothing.
        low, high: smallest and largest ratio dense / spiking over the tables; `null` when unknown or withheld.
        tables: how many tables price both networks.
        sentence: the answer in words.
    """

    boundary: str
    answer: str
    low: float | None
    high: float | None
    tables: int
    sentence: str


def verdicts(
    figures: Sequence[EnergyFigure], measured: Measured | Unmeasured, withheld: str | None = None
) -> list[Verdict]:
    """One verdict per boundary.

    Args:
        withheld: why the run decides nothing (withheld.py): there is then no verdict on any estimate.
    """
    result = []
    for boundary, words, table, tables in (
        (OPERATIONS, "Counting operations only", "table", "tables"),
        (MEMORY, "With memory and addresses", "price of an access", "prices of an access"),
    ):
        both = [row for row in figures if row.boundary == boundary and None not in (row.snn_uj, row.ann_uj)]
        ratios = [row.ratio for row in both if row.ratio is not None]
        if withheld:
            result.append(_withheld(boundary, words, withheld))
        elif len(ratios) < len(both):  # under no table a network that takes nothing may be left out of the answer
            sentence = f"{words}: one of the two networks takes nothing here, so that there is no ratio."
            result.append(Verdict(boundary, UNKNOWN, None, None, len(both), sentence))
        else:
            result.append(_from_ratios(boundary, words, table, tables, ratios))
    result.append(_withheld("machines", "Chip against GPU", withheld) if withheld else _machines(figures))
    if isinstance(measured, Measured):
        best, one = measured.best_batch, measured.batch_1
        sentence = (
            f"Measured in PyTorch on {measured.device} ({measured.source}): {rounded(one.total_uj)} µJ per "
            f"inference at batch 1, {rounded(one.dynamic_uj)} of it above idle, in {rounded(one.latency_ms)} ms; "
            f"{rounded(best.total_uj)} µJ at batch {best.batch}. The spiking network on a neuromorphic chip was "
            "not measured here."
        )
    else:
        sentence = f"Nothing was measured: {measured.reason}. All energies here are estimates."
    result.append(Verdict("measured", UNKNOWN, None, None, 0, sentence))
    return result


def _withheld(boundary: str, words: str, reason: str) -> Verdict:
    return Verdict(boundary, WITHHELD, None, None, 0, f"{words}: no verdict, because {reason}.")


def _machines(figures: Sequence[EnergyFigure]) -> Verdict:
    """Every estimate of the spiking network on Loihi 1 against every one of the dense network on a GPU, operations."""
    operations = [row for row in figures if row.boundary == OPERATIONS]
    reserved = [row.reservation for row in operations if row.group == "Loihi 1" and row.reservation]
    if reserved:
        return _withheld("machines", "Chip against GPU", reserved[0])
    chips = [row.snn_uj for row in operations if row.group == "Loihi 1" and row.snn_uj is not None]
    on_gpu = dense_on_gpu(figures)
    gpus = [row.ann_uj or 0.0 for row in on_gpu]
    if chips and gpus and not min(*chips, *gpus):
        sentence = "Chip against GPU: one of the two takes nothing here, so that there is no ratio."
        return Verdict("machines", UNKNOWN, None, None, len(chips) + len(gpus), sentence)
    if not chips or not gpus:
        return Verdict("machines", UNKNOWN, None, None, 0, "No table prices both a neuromorphic chip and a GPU.")
    low, high = min(gpus) / max(chips), max(gpus) / min(chips)
    answer = LESS if low > 1 else MORE if high < 1 else DEPENDS
    dense = f"Dense on a GPU: {rounded(min(gpus))} µJ at a data sheet's peak, a floor that nobody reaches, "
    dense += f"{rounded(max(gpus))} µJ with small matrices."
    if on_gpu[0].group == MEASURED_GPU:
        dense = f"Dense on a GPU: {interval(gpus)} µJ by measured prices ({'; '.join(row.title for row in on_gpu)})."
    sentence = (
        f"Spiking on Loihi 1, marginal, core only: {interval(chips)} µJ ({len(chips)} tables). {dense} "
        "Static power, and what a whole device takes beside its operations, are left out of both."
    )
    return Verdict("machines", answer, low, high, len(chips) + len(gpus), sentence)


def _from_ratios(boundary: str, words: str, table: str, tables: str, ratios: Sequence[float]) -> Verdict:
    """`table` and `tables` name one and several of what the ratios differ by."""
    if not ratios:
        return Verdict(boundary, UNKNOWN, None, None, 0, f"{words}: no table prices both networks.")
    low, high = min(ratios), max(ratios)
    over = f"{len(ratios)} {tables if len(ratios) > 1 else table}"
    if low > 1:
        answer, said = LESS, f"the spiking network takes {interval((low, high))} times less energy ({over})."
    elif high < 1:
        answer, said = MORE, f"the spiking network takes {interval((1 / high, 1 / low))} times more energy ({over})."
    else:
        answer = DEPENDS
        times = interval((low, high))
        said = f"the answer depends on the {table}: the dense network takes {times} times the energy ({over})."
    return Verdict(boundary, answer, low, high, len(ratios), f"{words}, {said}")
