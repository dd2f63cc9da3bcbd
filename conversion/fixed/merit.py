"""How far integers are from the float network that they stand for: rates, spike trains, potentials.

Places that differ do not tell a spike that comes a step late from one that is lost: by them silence beats a train
that is right but shifted. So a candidate is judged first by whether its rates stay in their band, then by distances
between trains, from two steps, where a shift counts, to a hundred, where only the rate does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

LOWEST_RATE, HIGHEST_RATE = 0.8, 1.25  # of a layer, as a share of its float rate
MANY = 100  # spikes of a layer from which its rate is judged
CURRENTS = 2.0  # weight of the power that currents lose: it decides where the calibration samples show little
TIME_CONSTANTS = (2.0, 16.0, 128.0)  # steps over which a spike is smoothed in the distance between trains


@dataclass(frozen=True, order=True)
class Merit:
    """Distance from the float network; the smallest is the best.

    Attributes:
        excess: how far rates are outside `LOWEST_RATE .. HIGHEST_RATE`, as a logarithm, summed over populations.
        distance: sum over populations of the distances of their trains and the change of their rates, or of the
            error of their potentials; each a share, 0 of equal ones.
    """

    excess: float = 0.0
    distance: float = 0.0

    def __add__(self, other: Merit) -> Merit:
        return Merit(self.excess + other.excess, self.distance + other.distance)


def of_spikes(real: np.ndarray, whole: np.ndarray) -> Merit:
    """Merit of one population.

    Args:
        real, whole: spikes of the float and of the integer network, uint8 [samples, steps, *neurons].
    """
    counts = int(np.count_nonzero(real)), int(np.count_nonzero(whole))
    # Trains that have drifted apart are further from each other than from silence, by chance: then the rest decides.
    apart = sum(min(distance(real, whole, steps), 1.0) for steps in TIME_CONSTANTS)
    return Merit(rate_excess(*counts), apart + abs(_rate(*counts)))


def of_values(real: np.ndarray, whole: np.ndarray) -> Merit:
    """Merit of real values, [samples, steps, *neurons]: root mean square of the difference, as a share of `real`'s."""
    power = float(np.mean(np.square(real)))
    return Merit(0.0, math.sqrt(float(np.mean(np.square(whole - real))) / (power or 1.0)))


def _rate(real: int, whole: int) -> float:
    """Logarithm of the ratio of two counts; one spike is added to both, so that silence is finite."""
    return math.log((whole + 1) / (real + 1))


def rate_excess(real: int, whole: int) -> float:
    """How far a rate is outside the band, as a logarithm."""
    rate = _rate(real, whole)
    return max(rate - math.log(HIGHEST_RATE), math.log(LOWEST_RATE) - rate, 0.0)


def distance(real: np.ndarray, whole: np.ndarray, steps: float) -> float:
    """Distance between spike trains, as a share of that of the float train from silence; 0 of two silent ones.

    Van Rossum's distance (2001, Neural Computation 13:751, equation 2.2): each train is filtered,
    `f[t] = exp(-1 / steps) f[t - 1] + s[t]`, and the squares of the difference are summed over all steps.
    """
    rows = [spikes.reshape(*spikes.shape[:2], -1) for spikes in (real, whole)]
    between, from_silence = _squares(*rows, math.exp(-1 / steps))
    return math.sqrt(between / (from_silence or 1.0))


@numba.njit(cache=True)
def _squares(real, whole, kept):
    """Sums of squares of the filtered difference, and of the filtered `real`, both uint8 [samples, steps, neurons]."""
    samples, steps, neurons = real.shape
    between, from_silence = 0.0, 0.0
    for sample in range(samples):
        apart, alone = np.zeros(neurons), np.zeros(neurons)
        for step in range(steps):
            for n in range(neurons):
                alone[n] = kept * alone[n] + real[sample, step, n]
                apart[n] = kept * apart[n] + real[sample, step, n] - np.float64(whole[sample, step, n])
                between += apart[n] * apart[n]
                from_silence += alone[n] * alone[n]
    return between, from_silence
