"""Which limit of a chip binds: of each one the fullest core, and how full all cores are."""

from __future__ import annotations

from dataclasses import dataclass

from neurotarget.hardware.chips.fit import CoreLoad, Fit
from neurotarget.hardware.chips.placement import RESOURCES


@dataclass(frozen=True)
class Fullest:
    """A limit and what is taken of it.

    Attributes:
        name: of the limit, in words.
        used, value: on the fullest core, or of the chip; and the limit.
        share: the one over the other.
        mean: share over all cores in use; None for a limit of the whole chip.
        core: index of the fullest core; None for a limit of the whole chip.
        source, grade: of the limit.
    """

    name: str
    used: float
    value: float
    share: float
    mean: float | None
    core: int | None
    source: str
    grade: str


def fullest(result: Fit) -> list[Fullest]:
    """The limits of the chip that its cores share out, the one that binds first."""
    known = {limit.name: limit for limit in result.limits}
    rows = []
    for name in ("cores", *RESOURCES):
        if name not in known:
            continue
        limit = known[name]
        if name == "cores":
            used, core, mean = float(result.cores_needed), None, None
        else:
            top = max(result.cores, key=lambda core: core.shares[name], default=None)
            used, core = (0.0, None) if top is None else (float(top.use[name]), top.index)
            mean = _mean(result.cores, name)
        words = name.replace("_", " ")
        rows.append(Fullest(words, used, limit.value, used / limit.value, mean, core, limit.source, limit.grade))
    return sorted(rows, key=lambda row: -row.share)


def _mean(cores: tuple[CoreLoad, ...], name: str) -> float:
    return sum(core.shares[name] for core in cores) / max(len(cores), 1)
