"""Lava's fixed-point Dense and Sparse, with a bias and with a word when 32 bits do not hold a sum.

The arithmetic is that of `PyDenseModelBitAcc` and `PySparseModelBitAcc` (lava/proc/dense/models.py,
lava/proc/sparse/models.py, lava-nc 0.10.0), run by their own `run_spk`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.proc.dense.models import PyDenseModelBitAcc
from lava.proc.sparse.models import PySparseModelBitAcc
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

WEIGHT_BITS = 8


class FixedDenseModel(PyDenseModelBitAcc):
    """Model of Lava's Dense, built with `weight_exp` and, where there is one, `bias` [outputs].

    Sends int32. The bias is an integer at the scale of what is sent, added after the shift: for the synapses whose
    reader is not a neuron, which could hold it.

    Raises:
        OverflowError: Lava sums in 32 bits and wraps around without a word.
    """

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)  # so that the sum is exact when it is checked
    a_buff: np.ndarray

    def run_spk(self) -> None:
        super().run_spk()
        self.a_buff = biased(self.a_buff, self.proc_params)


class FixedSparseModel(PySparseModelBitAcc):
    """Model of Lava's Sparse; otherwise as `FixedDenseModel`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int64)
    a_buff: np.ndarray

    def run_spk(self) -> None:
        super().run_spk()
        self.a_buff = biased(self.a_buff, self.proc_params)


def biased(total: np.ndarray, parameters: Any) -> np.ndarray:
    """A shifted sum plus the bias, once it is known that Lava's 32 bits hold it before and after the shift."""
    bits = 31 + min(0, parameters["weight_exp"])
    largest = max(int(total.max(initial=0)), -int(total.min(initial=0)))
    if largest >> bits:
        raise OverflowError(f"a sum of weights, {largest} after the shift, overflows the 32 bits of Lava's synapses")
    return total + parameters.get("bias", 0)


def lava_weights(weight: np.ndarray) -> np.ndarray:
    """The weights that Lava's Dense makes of an int array, by its own functions, for synapses that Lava lacks."""
    mode = determine_sign_mode(weight)
    return truncate_weights(clip_weights(weight, mode, num_bits=WEIGHT_BITS), mode, WEIGHT_BITS)


def shifted(total: np.ndarray, exponent: int) -> np.ndarray:
    """lava/proc/dense/models.py, `weight_exp`: a right shift floors."""
    return np.left_shift(total, exponent) if exponent > 0 else np.right_shift(total, -exponent)
