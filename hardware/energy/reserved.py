"""Prices of a chip that the network does not fit: they stay, marked, because what they price cannot be run there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from neurotarget.hardware.chips.fit import Fit, NotPlaced, fit
from neurotarget.hardware.chips.limits import Chip, load_chip, shipped
from neurotarget.hardware.energy.figure import EnergyFigure
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.observed import Observed


def place_everywhere(graph: Graph, run: Observed) -> tuple[Fit | NotPlaced, ...]:
    """The network on every chip that ships, or the reason why it cannot be placed."""
    return tuple(_placed(graph, load_chip(name), run) for name in shipped())


def _placed(graph: Graph, chip: Chip, run: Observed) -> Fit | NotPlaced:
    try:
        return fit(graph, chip, run=run)
    except GraphError as error:  # a graph that cannot stream can still be counted
        return NotPlaced(chip.title, False, str(error))


def reservations(placement: Sequence[Fit | NotPlaced]) -> dict[str, str]:
    """By chip, and so by the group of its price tables: why it does not hold the network; no entry where it does."""
    found = {}
    for result in placement:
        if isinstance(result, NotPlaced):
            found[result.chip] = f"the network cannot be placed on {result.chip}: {result.reason}"
        elif not result.fits:
            rules = ", ".join(dict.fromkeys(finding.rule for finding in result.findings))
            found[result.chip] = f"the network does not fit {result.chip} ({rules})"
    return found


def reserve(figures: Sequence[EnergyFigure], reasons: Mapping[str, str]) -> tuple[EnergyFigure, ...]:
    """The figures, those of a chip that the network does not fit with the reason."""
    return tuple(replace(row, reservation=reasons.get(row.group)) for row in figures)
