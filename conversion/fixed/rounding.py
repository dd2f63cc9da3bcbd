"""From real numbers to Lava's integers: weights, decays, thresholds, biases.

Widths and arithmetic are Lava's (lava-nc 0.10.0: lava/utils/weightutils.py, lava/proc/lif/models.py); each function
says what it loses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from neurotarget.sim.reference.integer import ROTARY_BITS, WIDTHS
from neurotarget.sim.reference.integer_kernels import DECAY_BITS

LARGEST_MIXED, LARGEST_ONE_SIGN = 254, 255
LARGEST_BIAS = WIDTHS["bias_mant"][1] << WIDTHS["bias_exp"][1]
LARGEST_THRESHOLD = WIDTHS["vth"][1]


@dataclass(frozen=True)
class Rounded:
    """Integer weights, and how many of them were clipped, or became zero without being zero."""

    weight: np.ndarray
    clipped: int
    zeroed: int


def largest_weight(weight: np.ndarray) -> int:
    """Largest magnitude that 8 bits hold for weights of these signs.

    Mixed signs keep even weights; -256 is left out, because a part of the matrix that holds no positive weight (a tap,
    a block) would be of one sign in Lava, where -255 is the end.
    """
    return LARGEST_MIXED if weight.min(initial=0) < 0 < weight.max(initial=0) else LARGEST_ONE_SIGN


def round_weights(weight: np.ndarray, spread: np.ndarray | None = None) -> Rounded:
    """Weights that Lava's Dense keeps as they are.

    Without a spread each weight goes to the nearest. With it, what a weight loses is made up for by those of the inputs
    that are not rounded yet, so that the sums lose least: Frantar et al. 2022, "GPTQ" (arXiv 2210.17323), algorithm 1.

    Args:
        weight: real, in units of the synapse's smallest step; [outputs, inputs] with a spread, else of any shape.
        spread: [inputs, inputs], from `error_spread`.
    """
    largest = largest_weight(weight)
    step = 2 if largest == LARGEST_MIXED else 1
    low = 0 if weight.min(initial=0) >= 0 else -largest
    high = 0 if weight.max(initial=0) <= 0 else largest
    nearest = step * np.rint(weight / step)
    if spread is not None:
        nearest = _compensated(weight, spread, step, low, high)
    whole = np.clip(nearest, low, high).astype(np.int64)
    return Rounded(whole, int(np.sum(nearest != whole)), int(np.sum((whole == 0) & (weight != 0))))


def error_spread(correlation: np.ndarray) -> np.ndarray:
    """How the error of each input's weights goes over to the inputs after it.

    Args:
        correlation: [inputs, inputs], X^T X of the inputs on the calibration samples; positive definite.

    Returns:
        Upper triangular [inputs, inputs]: the Cholesky factor of the inverse, divided by its diagonal.
    """
    factor = np.linalg.cholesky(np.linalg.inv(correlation)).T
    spread: np.ndarray = factor / np.diag(factor)[:, None]
    return spread


BLOCK = 64  # inputs whose errors go over to all inputs after them in one matrix product


def _compensated(weight: np.ndarray, spread: np.ndarray, step: int, low: int, high: int) -> np.ndarray:
    """The nearest weights, input by input, each after the errors of those before it were spread over it."""
    left, nearest = weight.T.copy(), np.empty(weight.T.shape)  # [inputs, outputs]: a row is contiguous
    for start in range(0, len(left), BLOCK):
        end = min(start + BLOCK, len(left))
        error = np.empty((end - start, left.shape[1]))
        for i in range(start, end):
            nearest[i] = step * np.rint(left[i] / step)
            error[i - start] = left[i] - np.minimum(np.maximum(nearest[i], low), high)
            left[i + 1 : end] -= spread[i, i + 1 : end, None] * error[i - start]
        left[end:] -= spread[start:end, end:].T @ error
    return nearest.T


def decay(lost: np.ndarray) -> int:
    """What a state loses each step, in 4096ths: 1 to 4096 where it loses anything, else 0.

    Lava's dv is this number, its du is 1 less (`ds_offset`).

    Args:
        lost: dt / tau, [neurons], in 0 .. 1; the registers hold one number for all.
    """
    unity = 1 << DECAY_BITS
    return int(np.clip(np.rint(lost.mean() * unity), 1, unity)) if lost.any() else 0


def bias(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mantissa and exponent, int64 of the same shape, of biases at the scale of v; the smallest exponent that holds.

    Args:
        value: real, at most `LARGEST_BIAS` in magnitude.
    """
    largest = WIDTHS["bias_mant"][1]
    exponent = np.zeros(value.shape, np.int64)
    for _ in range(WIDTHS["bias_exp"][1]):
        exponent += np.abs(np.rint(value / (1 << exponent))) > largest
    return np.clip(np.rint(value / (1 << exponent)), -largest, largest).astype(np.int64), exponent


def threshold(steps: float, reaches: bool) -> int:
    """17-bit `vth` for a threshold of so many integer steps of the input, which may be a fraction.

    Args:
        reaches: the neuron fires at its threshold too (`>=`); Lava's fires above.
    """
    return int(np.ceil(steps - 1e-6)) - 1 if reaches else int(np.floor(steps + 1e-6))


def oscillator(angle: np.ndarray) -> dict[str, np.ndarray]:
    """cos and sin, int64 [pairs], of the angles a step, with `ROTARY_BITS` bits of fraction.

    cos is floored: rounded, the slowest pairs would stay at 1 for several steps, and reach a threshold that they
    miss by a hair.
    """
    one = 1 << ROTARY_BITS
    return {
        "cos": np.floor(one * np.cos(angle)).astype(np.int64),
        "sin": np.rint(one * np.sin(angle)).astype(np.int64),
    }
