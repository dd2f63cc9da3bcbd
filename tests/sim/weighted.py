"""The sums of sums.py, called as the simulator does."""

import numpy as np
from neurotarget.sim.reference import sums


def weighted(x, weight, bias=None):
    """x [rows, inputs] times weight [outputs, inputs], in the type of the weight."""
    out = np.empty((len(x), len(weight)), weight.dtype)
    sums.weighted(np.ascontiguousarray(x), sums.by_input(weight, bias), out)
    return out
