"""Chips as data: each limit with its value, unit, source and evidence grade.

A chip is a TOML file in `chips/`; docs/hardware_limits.md documents it. An unknown key is an error and so is a number
without source or grade: a limit of unknown origin proves neither that a network fits nor that it does not.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget.errors import UserError

SHIPPED = Path(__file__).parent
GRADES = ("measured", "simulated", "derived", "second-hand", "assumed")
ENCODINGS = ("blocks", "plain")
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


class ChipError(UserError):
    """A chip file that cannot be used: the message names the file, the key and what is expected."""


@dataclass(frozen=True)
class Limit:
    """One number of a chip.

    Attributes:
        value: in `unit`.
        grade: one of `GRADES`.
        checked: what the value was compared with, empty when with nothing.
    """

    name: str
    value: float
    unit: str
    source: str
    grade: str
    checked: str = ""


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        name: the file's name without its ending.
        encoding: how synapses lie in memory: `blocks` (Loihi 1) or `plain` (each at its own size).
        limits, sizes, mesh: by the names in `KNOWN`.
    """

    name: str
    title: str
    encoding: str
    conditions: str
    limits: Mapping[str, Limit]
    sizes: Mapping[str, Limit]
    mesh: Mapping[str, Limit]

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
        raise ChipError(f"{name}: no such chip; shipped are {', '.join(shipped())}, or give the path of a .toml file")
    try:
        with path.open("rb") as stream:
            raw = tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ChipError(f"{path}: not a chip: {error}") from error
    texts = ("title", "encoding", "conditions")
    if unknown := sorted(set(raw) - {*texts, *KNOWN}):
        raise ChipError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join([*texts, *KNOWN])}")
    for key in texts:
        if not isinstance(raw.get(key), str) or not raw[key].strip():
            raise ChipError(f"{path}: no {key}")
    if raw["encoding"] not in ENCODINGS:
        raise ChipError(f"{path}: encoding {raw['encoding']!r}; expected one of {', '.join(ENCODINGS)}")
    title, encoding, conditions = (str(raw[key]).strip() for key in texts)
    limits, sizes, mesh = (_group(path, group, raw.get(group, {})) for group in KNOWN)
    return Chip(path.stem, title, encoding, conditions, limits, sizes, mesh)


def _group(path: Path, group: str, raw: Any) -> dict[str, Limit]:
    if not isinstance(raw, dict):
        raise ChipError(f"{path}: {group} must be a table")
    for key in REQUIRED[group]:
        if key not in raw:
            raise ChipError(f"{path}: no {group}.{key}")
    found = {}
    for key, entry in raw.items():
        if key not in KNOWN[group]:
            raise ChipError(f"{path}: unknown {group}.{key}; known are {', '.join(KNOWN[group])}")
        found[key] = _limit(f"{path}: {group}.{key}", key, entry)
    return found


def _limit(where: str, key: str, entry: Any) -> Limit:
    if not isinstance(entry, dict):
        raise ChipError(f"{where} must be a table with value, unit, source and grade")
    if unknown := sorted(set(entry) - {"value", "unit", "source", "grade", "checked"}):
        raise ChipError(f"{where}: unknown key {unknown[0]!r}")
    value = entry.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ChipError(f"{where}: value = {value!r}; a number of at least 0 is expected")
    for word in ("unit", "source", "grade"):
        if not isinstance(entry.get(word), str) or not entry[word].strip():
            raise ChipError(f"{where}: no {word}; a number without its {word} is refused")
    if entry["grade"] not in GRADES:
        raise ChipError(f"{where}: grade {entry['grade']!r}; expected one of {', '.join(GRADES)}")
    return Limit(key, value, entry["unit"], entry["source"], entry["grade"], str(entry.get("checked", "")))
