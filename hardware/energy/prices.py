"""Price tables: what one operation costs, by whom, under which conditions, and how good the evidence is.

A table is a TOML file. Those in `prices/` ship with the package; a user adds a file of the same form. An unknown key is
an error and so is a table without a source or a grade: a price of unknown origin is not a price. A table that prices an
access to memory is one of the boundary "memory", every other one of the boundary "operations".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurotarget import kinds, tables
from neurotarget.errors import UserError
from neurotarget.tables import table, text

SHIPPED = Path(__file__).parent / "prices"
GRADES = ("measured", "simulated", "derived", "second-hand")
PRICES = ("ac", "mac", "dense_mac", "synaptic_operation", "neuron_update", "inactive_update", "spike", "message")
LARGEST_BYTES = 1e18  # of a memory: beyond it two sizes a byte apart are one number
LARGEST_PJ = 1e12  # a joule: no operation takes more, and what is above is a slip of the unit


class PriceError(UserError):
    """A price table that cannot be used: the message names the file, the key and what is expected."""


@dataclass(frozen=True)
class PriceTable:
    """One table; `docs/energy.md` documents the file.

    Attributes:
        name: the file's name without its ending.
        group: tables of one group price the same kind of machine.
        prices_pj: operation -> energy in pJ, a subset of `PRICES`.
        checked: what the numbers were compared with, empty when with nothing.
        precision: of the arithmetic, such as `FP32`; empty where it is not said.
        integer_payload: how an integer payload is priced: as a MAC, as that many unit spikes, or as one operation on
            hardware that sends graded spikes.
        access_pj: energy of one 32-bit access in pJ by the size of the memory in bytes, points from 0 bytes up; between
            them it is linear and beyond the last the last slope goes on. Empty in a table without memory.
    """

    name: str
    title: str
    group: str
    node: str
    conditions: str
    source: str
    grade: str = text(one_of=GRADES)
    prices_pj: Mapping[str, float] = table(keys=PRICES, above=0, at_most=LARGEST_PJ)
    checked: str = ""
    precision: str = ""
    integer_payload: str = text("mac", one_of=("mac", "unary", "graded"))
    access_pj: tuple[tuple[float, float], ...] = ()

    @property
    def prices_memory(self) -> bool:
        return bool(self.access_pj)

    @property
    def prices_spiking(self) -> bool:
        return "ac" in self.prices_pj or "synaptic_operation" in self.prices_pj

    @property
    def prices_dense(self) -> bool:
        return "dense_mac" in self.prices_pj


def load_table(path: str | Path) -> PriceTable:
    """Reads one table.

    Raises:
        PriceError: the file is missing or damaged, a key is unknown or missing, or a price is not a number above 0.
    """
    path = Path(path)
    read = tables.read(path, kinds.PRICES, PriceError)
    access = _checked_access(path, read.pop("access_pj")) if "access_pj" in read else ()
    found = tables.fill(PriceTable, read, str(path), PriceError, name=path.stem, access_pj=access)
    prices = found.prices_pj
    if not prices:
        raise PriceError(f"{path}: no prices; give some of {', '.join(PRICES)} under [prices_pj]")
    if "mac" in prices and "ac" not in prices:
        raise PriceError(f"{path}: a price for mac needs one for ac; price a network that is not spiking by dense_mac")
    if "inactive_update" in prices and "neuron_update" not in prices:
        raise PriceError(f"{path}: a price for inactive_update needs one for neuron_update")
    if access and set(prices) != {"ac", "mac"}:
        raise PriceError(f"{path}: a table with access_pj prices ac and mac, both and nothing else, for both networks")
    if access and found.integer_payload != "mac":
        raise PriceError(
            f"{path}: integer_payload {found.integer_payload!r} with access_pj; with memory a payload is a MAC, leave "
            "it out"
        )
    return found


def _checked_access(path: Path, raw: Any) -> tuple[tuple[float, float], ...]:
    what = "access_pj is a list of [bytes of memory, pJ per access], from 0 up, a byte or more apart, that never falls"
    if not isinstance(raw, list) or len(raw) < 2:
        raise PriceError(f"{path}: {what}; at least two points are needed")
    for point in raw:
        if not isinstance(point, list) or len(point) != 2:
            raise PriceError(f"{path}: {what}, not {tables.shown(point)}")
        for value in point:
            if type(value) not in (int, float) or not 0 <= value < LARGEST_BYTES:
                raise PriceError(f"{path}: {what}, not {tables.shown(point)}")
        if point[1] > LARGEST_PJ:
            raise PriceError(f"{path}: access_pj {point!r}; an access costs at most {LARGEST_PJ:g} pJ")
    points = tuple((float(size), float(energy)) for size, energy in raw)
    for (size, energy), (next_size, next_energy) in itertools.pairwise(points):
        if next_size < size + 1 or next_energy < energy:
            raise PriceError(f"{path}: {what}, not {[next_size, next_energy]} after {[size, energy]}")
    if points[0][0] or not points[-1][1]:
        raise PriceError(f"{path}: {what}, and costs something in the end")
    return points


def load_tables(extra: Iterable[str | Path] = ()) -> list[PriceTable]:
    """The tables that ship with the package, by group, and then the user's.

    Raises:
        PriceError: a table is not valid, or two have the same name or title.
    """
    shipped = [load_table(path) for path in SHIPPED.glob("*.toml")]
    shipped.sort(key=lambda table: (ORDER.index(table.group), table.name))
    found = [*shipped, *(load_table(path) for path in extra)]
    names, titles = [table.name for table in found], [table.title for table in found]
    for name, title in zip(names, titles, strict=True):
        if names.count(name) > 1:
            raise PriceError(f"two price tables are called {name!r}; rename one file")
        if titles.count(title) > 1:
            raise PriceError(
                f"two price tables have the title {title!r}; change it in one, so that a report tells which"
            )
    return found


ORDER = (
    "arithmetic",
    "Loihi 1",
    "SpiNNaker",
    "other chips, marginal",
    "conventional processor, dense",
    "GPU floor",
    "memory included",
)
