"""Figures that others published, for a column of their own: they are context and are never mixed with ours."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """One published figure.

    `boundary` says what the publication's number covers; `grade` follows `hardware.prices.GRADES` and says how the
    figure reached us.
    """

    what: str
    value: float
    unit: str
    boundary: str
    source: str
    grade: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_SPIKESCR = "Wang et al., Neural Networks 2025, arXiv 2412.12858"
_BLOUW = "Blouw et al., NICE 2019, arXiv 1812.01739"
_MESZAROS = "Meszaros et al. 2025, arXiv 2510.13757"
_YAN = "Yan et al. 2021, arXiv 2009.08921"

PUBLISHED = (
    Published("SpikeSCR, SHD, T = 100: accuracy", 95.70, "%", "accuracy", _SPIKESCR, "second-hand"),
    Published("SpikeSCR, SSC, T = 100: accuracy", 82.79, "%", "accuracy", _SPIKESCR, "second-hand"),
    Published("SpikeSCR, GSC v2, T = 100: accuracy", 95.60, "%", "accuracy", _SPIKESCR, "second-hand"),
    Published("SpikeSCR, SSC, T = 100", 31.4, "uJ", "operations, 45 nm", _SPIKESCR, "second-hand"),
    Published("SpikeSCR with PTCD, SSC, T = 40", 14.2, "uJ", "operations, 45 nm", _SPIKESCR, "second-hand"),
    Published("Keyword spotting, GPU", 29_800, "uJ", "measured, dynamic", _BLOUW, "second-hand"),
    Published("Keyword spotting, CPU", 6_300, "uJ", "measured, dynamic", _BLOUW, "second-hand"),
    Published("Keyword spotting, Jetson TX1", 5_600, "uJ", "measured, dynamic", _BLOUW, "second-hand"),
    Published("Keyword spotting, Movidius", 1_500, "uJ", "measured, dynamic", _BLOUW, "second-hand"),
    Published("Keyword spotting, Loihi 1", 270, "uJ", "measured, dynamic", _BLOUW, "second-hand"),
    Published("Keyword spotting, Loihi 1, without host", 37, "uJ", "measured", _YAN, "second-hand"),
    Published("Keyword spotting, SpiNNaker 2 prototype", 7.1, "uJ", "measured", _YAN, "second-hand"),
    Published(
        "Speech with delays, Loihi 2, total",
        460,
        "uJ",
        "measured, total",
        _MESZAROS,
        "second-hand",
    ),
    Published(
        "Speech with delays, Loihi 2, dynamic",
        280,
        "uJ",
        "measured, dynamic",
        _MESZAROS,
        "second-hand",
    ),
    Published("Keyword spotting, Xylo Audio 2", 6.6, "uJ", "measured", "arXiv 2406.15112", "second-hand"),
)
