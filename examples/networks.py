"""A small network as another tool would write it, for the examples without PyTorch: two layers of LIF in a file."""

import itertools
from pathlib import Path

import nir
import numpy as np

DT_SECONDS = 1e-3
FEATURES, HIDDEN, CLASSES = 16, 32, 4


def weights() -> tuple[np.ndarray, np.ndarray]:
    """float64 [hidden, features] and [classes, hidden], the same at every call."""
    rng = np.random.default_rng(0)
    return rng.normal(0.1, 0.4, (HIDDEN, FEATURES)), rng.normal(0.1, 0.4, (CLASSES, HIDDEN))


def frames(samples: int = 8, steps: int = 40) -> np.ndarray:
    """Random spike counts, float64 [samples, steps, features]."""
    return np.random.default_rng(1).poisson(0.6, (samples, steps, FEATURES)).astype(float)


def write(path: str | Path) -> None:
    """Writes the network: v = v / 2 + input, a spike where v > 1, then v = 0."""
    first, second = weights()

    def lif(neurons: int) -> nir.LIF:  # tau dv/dt = -v + r i, by Euler: tau is two steps, r = 2 makes up for 1 / tau
        one = np.ones(neurons)
        return nir.LIF(tau=2 * DT_SECONDS * one, r=2 * one, v_leak=0 * one, v_threshold=one, v_reset=0 * one)

    nodes = {
        "input": nir.Input({"input": np.array([FEATURES])}),
        "first": nir.Linear(first),
        "hidden": lif(HIDDEN),
        "second": nir.Linear(second),
        "classes": lif(CLASSES),
        "output": nir.Output({"output": np.array([CLASSES])}),
    }
    names = list(nodes)
    nir.write(path, nir.NIRGraph(nodes, list(itertools.pairwise(names)), metadata={"dt": DT_SECONDS}))
