"""What the front end takes: the log-mel spectrogram or the model of the ear that makes a network's input of sound.

No energy of the network holds it, and both the spiking network and a dense one need it. Operations are counted from the
settings of the data SPEC: an FFT by its butterflies, filters by their non-zero weights, the rest value by value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from neurotarget.hardware.energy.figure import ESTIMATED, PJ_PER_UJ
from neurotarget.hardware.energy.prices import PriceTable

from neurotarget.data import ear, logmel, spec

TABLE = "45nm-fp32"
FUNCTION_OPERATIONS = 8  # multiplications and additions of a logarithm, exponential, root or quotient: a polynomial
LOG_MEL, EAR = "log-mel spectrogram", "model of the ear"
KINDS = {"gsc": LOG_MEL, "fsdd": LOG_MEL, "wav": LOG_MEL, "synth": EAR, "shd": EAR, "ssc": EAR}


@dataclass(frozen=True)
class FrontEnd:
    """The front end of one inference, counted from the settings of the data SPEC and priced at 45 nm, FP32.

    Attributes:
        name: `log-mel spectrogram` or `model of the ear`.
        multiplications, additions: per inference.
        functions: logarithms, exponentials, roots and quotients per inference, each taken as 8 multiplications and 8
            additions.
        energy_uj: of all these, the arithmetic alone.
        spiking_uj, dense_uj: what the two networks take by the same table; `null` where it does not price them.
        ratio_with: dense over spiking with the front end on both sides; `null` where one is missing.
        kind: `estimated`.
        note: what the count leaves out.
    """

    name: str
    multiplications: float
    additions: float
    functions: float
    energy_uj: float
    spiking_uj: float | None
    dense_uj: float | None
    ratio_with: float | None
    kind: str
    note: str


@dataclass(frozen=True)
class Operations:
    """Real operations."""

    multiplications: float = 0.0
    additions: float = 0.0
    functions: float = 0.0

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.multiplications + other.multiplications,
            self.additions + other.additions,
            self.functions + other.functions,
        )

    def times(self, count: float) -> Operations:
        return Operations(self.multiplications * count, self.additions * count, self.functions * count)


def complex_fft(points: int) -> Operations:
    """n / 2 * log2(n) butterflies, each a complex product (4 multiplications, 2 additions) and two complex sums (4)."""
    butterflies = points / 2 * math.log2(points) if points > 1 else 0.0
    return Operations(4, 6).times(butterflies)


def real_fft(points: int) -> Operations:
    """A complex FFT of half the points, and a butterfly per pair of its results."""
    return complex_fft(points // 2) + Operations(4, 6).times(points // 4)


def log_mel(frames: float, filters: np.ndarray) -> Operations:
    """Of so many frames: window, FFT, power, filters by their non-zero weights, logarithm, mean and deviation.

    Args:
        filters: [bins, features], of `mel_filters`.
    """
    bins, features = filters.shape
    fft_samples = 2 * (bins - 1)
    weights = int(np.count_nonzero(filters))
    window = Operations(multiplications=fft_samples)
    power = Operations(2, 1).times(bins)
    return (
        window
        + real_fft(fft_samples)
        + power
        + Operations(weights, weights)
        + Operations(1, 2, 1).times(features)  # the decibels' factor and floor, less the mean
        + Operations(multiplications=features)  # times one over the deviation
    ).times(frames)


def hearing(seconds: float) -> Operations:
    """Of a sound so long through neurotarget/data/ear.py: one FFT of the sound, one per channel back, and for each of
    the 700 channels and 2000 steps per second the hair cell's and the bushy cell's equations as they stand there."""
    steps = max(-(-math.ceil(seconds * ear.SPIKE_RATE_HZ) // ear.BLOCK_STEPS), 1) * ear.BLOCK_STEPS
    locked = int((ear.centre_frequencies() < ear.LOCKING_LIMIT_HZ).sum())
    filtered = real_fft(steps * ear.SOUND_RATE_HZ // ear.SPIKE_RATE_HZ)
    filtered += (Operations(multiplications=2 * steps) + complex_fft(steps)).times(ear.CHANNELS)
    rectified = Operations(3, 1, 1).times(ear.CHANNELS - locked) + Operations(additions=1).times(locked)
    hair_cell = Operations(4, 3, 2) + Operations(5, 4)  # what is released; the pool and what returns to it
    bushy_cell = Operations(2, 2)
    return filtered + (rectified + (hair_cell + bushy_cell).times(ear.CHANNELS)).times(steps)


def front_end(
    spec_text: str, steps: float, table: PriceTable, spiking_uj: float | None, dense_uj: float | None
) -> FrontEnd | str:
    """The front end of a data SPEC, or the reason why it is not known.

    Args:
        spec_text: INPUT of the report.
        steps: of an inference, mean.
        table: of 45 nm, FP32; a multiplication is its MAC less its addition.
        spiking_uj, dense_uj: of both networks by this table.
    """
    kind = spec_text.partition("?")[0].partition(":")[0]
    if kind not in spec.OPTIONS:
        return "the input is not a data SPEC, so that it is not known what made it"
    if kind not in KINDS:
        return "none: the sensor gives events; what the sensor takes is not known"
    settings = spec.parse(spec_text)
    seconds = steps / settings.steps()
    if KINDS[kind] == LOG_MEL:
        found = log_mel(steps, logmel.filters_of(settings).toarray())
        note = "Recording, its conversion to numbers and resampling are left out."
    else:
        found = hearing(seconds)
        note = "Counted as in neurotarget/data/ear.py, which is simpler than the ear that made SHD and SSC."
    add, mac = table.prices_pj["ac"], table.prices_pj["mac"]
    multiplications = found.multiplications + FUNCTION_OPERATIONS * found.functions
    additions = found.additions + FUNCTION_OPERATIONS * found.functions
    energy_uj = (multiplications * (mac - add) + additions * add) / PJ_PER_UJ
    both = spiking_uj is not None and dense_uj is not None
    return FrontEnd(
        name=KINDS[kind],
        multiplications=found.multiplications,
        additions=found.additions,
        functions=found.functions,
        energy_uj=energy_uj,
        spiking_uj=spiking_uj,
        dense_uj=dense_uj,
        ratio_with=(dense_uj + energy_uj) / (spiking_uj + energy_uj) if both else None,  # type: ignore[operator]
        kind=ESTIMATED,
        note=note,
    )
