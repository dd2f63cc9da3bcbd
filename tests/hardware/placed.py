"""A network on the cores of a chip, and a layer in space to put there."""

from __future__ import annotations

import nir
import numpy as np
from neurotarget.hardware.chips.limits import Chip, load_chip
from neurotarget.hardware.chips.placement import Placement, place
from neurotarget.hardware.chips.populations import chip_network
from neurotarget.sim.graph import Graph
from neurotarget.sim.schedule import schedule

LOIHI1 = load_chip("loihi1")


def placed(graph: Graph, chip: Chip = LOIHI1, steps: int = 100, weight_bits: int = 8) -> Placement:
    return place(chip_network(graph, schedule(graph, steps), chip), chip, weight_bits)


def spatial(shape: tuple[int, ...]) -> nir.IF:
    ones = np.ones(shape)
    return nir.IF(r=1e3 * ones, v_threshold=ones, v_reset=0 * ones)
