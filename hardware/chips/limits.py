"""Chips as data: each limit with its value, unit, source and evidence grade.

A chip is a TOML file in `chips/`; docs/hardware_limits.md documents it. An unknown key is an error and so is a number
without source or grade: a limit of unknown origin proves neither that a network fits nor that it does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget import kinds, tables
from neurotarget.errors import UserError, nearest
from neurotarget.tables import number, table, text

SHIPPED = Path(__file__).parent
GRADES = ("measured", "simulated", "derived", "second-hand", "assumed")
KNOWN: dict[str, tuple[str, ...]] = {
    "limits": (
        "cores",
        "compartments",
        "input_axons",
        "output_axons",
        "memory_bits",
        "compartment_configurations",
        "threshold_configurations",
        "synapse_formats",
        "delay_steps",
        "weight_bits",
        "index_bits",
        "payload_bits",
        "programmable_neurons",
        "current_layers",
        "neurons",
        "synapses",
    ),
    "sizes": (
        "gate_compartments",
        "block_synapses",
        "block_header_bits",
        "memory_word_bits",
        "tag_bits",
        "index_bits",
        "state_bits",
        "population_axon_slots",
        "population_axon_bases",
    ),
    "mesh": ("tile_columns", "tile_rows", "tile_cores", "within_tile_pj", "east_west_pj", "north_south_pj"),
}
# Without these nothing can be placed; the others are optional because not every chip has, or publishes, such a limit.
REQUIRED = {
    "limits": ("cores", "compartments", "memory_bits", "delay_steps", "weight_bits"),
    "sizes": ("gate_compartments", "memory_word_bits", "state_bits"),
    "mesh": ("tile_columns", "tile_rows", "tile_cores"),
}

DIVISORS = ("block_synapses", "memory_word_bits", "tile_columns", "tile_rows", "tile_cores")
LARGEST = 2**40  # of any number: products of a few must fit 64 bits


class ChipError(UserError):
    """A chip file that cannot be used: the message names the file, the key and what is expected."""


@dataclass(frozen=True)
class Limit:
    """One number of a chip.

    Attributes:
        value: in `unit`.
        checked: what the value was compared with, empty when with nothing.
    """

    name: str
    value: int | float = number(at_least=0, at_most=LARGEST)
    unit: str = text()
    source: str = text()
    grade: str = text(one_of=GRADES)
    checked: str = ""


def group(name: str) -> Any:
    """A field that holds a table of limits."""
    return table(keys=KNOWN[name], required=REQUIRED[name])


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        name: the file's name without its ending.
        encoding: how synapses lie in memory: in `blocks` (Loihi 1), or `plain`, each at its own size.
        limits, sizes, mesh: by the names in `KNOWN`.
    """

    name: str
    title: str
    encoding: str = text(one_of=("blocks", "plain"))
    conditions: str = text()
    limits: Mapping[str, Limit] = group("limits")
    sizes: Mapping[str, Limit] = group("sizes")
    mesh: Mapping[str, Limit] = group("mesh")

    def limit(self, key: str) -> float:
        """A limit's value, infinite where the chip has none."""
        return self.limits[key].value if key in self.limits else math.inf

    def size(self, key: str) -> int:
        """A size's value, 0 where the chip has none."""
        return int(self.sizes[key].value) if key in self.sizes else 0


def shipped() -> list[str]:
    """Names of the chips that ship with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_chip(name: str) -> Chip:
    """Reads a chip that ships with the package, or a file of the same form.

    Args:
        name: `loihi1`, `loihi2`, or the path of a `.toml` file.

    Raises:
        ChipError: no such chip, a damaged file, an unknown or missing key, or a number without source or grade.
    """
    path = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
    if not path.is_file():
        known = f"shipped are {', '.join(shipped())}, or give the path of a .toml file"
        raise ChipError(f"{name}: no such chip{nearest(name, shipped())}; {known}")
    chip = tables.fill(Chip, tables.read(path, kinds.CHIP, ChipError), str(path), ChipError, name=path.stem)
    for key in DIVISORS:
        found = {**chip.sizes, **chip.mesh}.get(key)
        if found is not None and found.value < 1:
            raise ChipError(f"{path}: {key} is {found.value:g}; at least 1 is expected")
    return chip
