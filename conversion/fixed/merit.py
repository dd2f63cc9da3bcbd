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
    """Sums of squares of the filtered difference, and of the filtered `real`, both uint8 [samples, steps, neurons].

    A sum per neuron: what a neuron adds depends on no other, and a processor adds several at once.
    """
    samples, steps, neurons = real.shape
    between, from_silence = np.zeros(neurons), np.zeros(neurons)
    apart, alone = np.zeros(neurons), np.zeros(neurons)
    for sample in range(samples):
        apart[:], alone[:] = 0.0, 0.0
        for step in range(steps):
            ours, theirs = real[sample, step], whole[sample, step]
            for n in range(neurons):
                alone[n] = kept * alone[n] + ours[n]
                apart[n] = kept * apart[n] + ours[n] - np.float64(theirs[n])
                between[n] += apart[n] * apart[n]
                from_silence[n] += alone[n] * alone[n]
    return between.sum(), from_silence.sum()


def of_currents(real: np.ndarray, whole: np.ndarray, unit: float, left: np.ndarray) -> float:
    """Root mean square of what integer currents lose, as a share of that of the real ones; 0 of none.

    Args:
        real: [samples, steps, *shape].
        whole: the same in integers of `unit`.
        left: what is added to them elsewhere, of a form that broadcasts to *shape.
    """
    columns = math.prod(real.shape[2:])
    added = np.broadcast_to(left, real.shape[2:]).reshape(columns)
    error, power = _losses(real.reshape(-1, columns), whole.reshape(-1, columns), unit, added)
    return math.sqrt(error / power) if power else 0.0


@numba.njit(cache=True)
def _losses(real, whole, unit, added):
    """Sums of squares of what is lost, and of `real`; both [rows, columns]."""
    rows, columns = real.shape
    error, power = np.zeros(columns), np.zeros(columns)
    for row in range(rows):
        ours, theirs = real[row], whole[row]
        for n in range(columns):
            lost = theirs[n] * unit - ours[n] + added[n]
            error[n] += lost * lost
            power[n] += ours[n] * ours[n]
    return error.sum(), power.sum()
