"""Where cores lie on the mesh, how far spikes travel, and an estimate of what that takes.

Cores fill tiles, tiles fill rows that run to and fro, so that core n + 1 is next to core n. A spike goes along its row
and then along its column, once for each axon. Spikes from outside the chip and between chips are left out. It is an
estimate: a real placer and multicast would do better, congestion worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from neurotarget.hardware.chips.limits import Chip
from neurotarget.hardware.chips.placement import Placement, axons_between

PJ_PER_UJ = 1e6


@dataclass(frozen=True)
class Traffic:
    """Spikes on the mesh, per inference.

    Attributes:
        messages: spikes times axons on the chip.
        east_west_hops, north_south_hops: of all messages.
        mean_hops: per message.
        energy_uj: `null` where the chip has no published energy per hop.
        rate_source: how the spike rates are known.
        kind: `estimated`.
    """

    messages: float
    east_west_hops: float
    north_south_hops: float
    mean_hops: float
    energy_uj: float | None
    rate_source: str
    kind: str


def tile_of(chip: Chip, core: int) -> tuple[int, int, int]:
    """(chip, row, column) of the tile that a core lies in; cores beyond the first chip go on with the next."""
    columns, rows, cores = (int(chip.mesh[key].value) for key in ("tile_columns", "tile_rows", "tile_cores"))
    board, tile = divmod(core // cores, columns * rows)
    row, column = divmod(tile, columns)
    return board, row, column if row % 2 == 0 else columns - 1 - column


def traffic(placement: Placement, spikes: Mapping[str, float], rate_source: str) -> Traffic:
    """Messages and hops per inference.

    Args:
        spikes: population -> spikes per inference, all its neurons together; relays repeat their origin's.
        rate_source: where the spikes come from, in words.
    """
    chip = placement.chip
    homes: dict[str, list[int]] = {}
    borders: dict[str, list[int]] = {
        name: [0, population.neurons] for name, population in placement.network.populations.items()
    }
    for core in placement.cores:
        for part in core.parts:
            homes.setdefault(part.population, []).append(core.index)
            if part.start:
                borders[part.population].insert(-1, part.start)
    borders = {name: sorted(border) for name, border in borders.items()}
    order = {name: _by_start(placement, name) for name in homes}
    messages = east_west = north_south = 0.0
    for name, reader, counts in axons_between(placement.network, borders):
        if name not in homes or reader not in homes:
            continue
        origin = name.rpartition(".wait")[0] if placement.network.populations[name].kind == "relay" else name
        each = spikes.get(origin, 0.0) / max(placement.network.populations[name].neurons, 1)
        for (i, j), axons in np.ndenumerate(counts):
            start, end = tile_of(chip, order[name][i]), tile_of(chip, order[reader][j])
            sent = float(axons) * each
            messages += sent
            if start[0] == end[0]:
                north_south += sent * abs(start[1] - end[1])
                east_west += sent * abs(start[2] - end[2])
    energy = None
    if "within_tile_pj" in chip.mesh:
        pj = {key: chip.mesh[key].value for key in ("within_tile_pj", "east_west_pj", "north_south_pj")}
        energy = messages * pj["within_tile_pj"] + east_west * pj["east_west_pj"] + north_south * pj["north_south_pj"]
        energy /= PJ_PER_UJ
    mean = (east_west + north_south) / messages if messages else 0.0
    return Traffic(messages, east_west, north_south, mean, energy, rate_source, "estimated")


def _by_start(placement: Placement, name: str) -> list[int]:
    """Cores of a population's parts, in the order of its neurons."""
    found = [(part.start, core.index) for core in placement.cores for part in core.parts if part.population == name]
    return [core for _, core in sorted(found)]
