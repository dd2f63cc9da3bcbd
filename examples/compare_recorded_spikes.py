"""Spikes that were recorded elsewhere, here in a loop of numpy, against our run of the same file. Needs no PyTorch.

    python examples/compare_recorded_spikes.py

The same from the command line: `python -m sim.compare network.nir --against recorded.npz`.
"""

import networks
import numpy as np
from neurotarget.sim.compare import main

networks.write("network.nir")
frames = networks.frames()


def lif(currents):
    """v = v / 2 + current, a spike where v > 1, then v = 0; [samples, steps, neurons]."""
    v, spikes = np.zeros_like(currents[:, 0]), np.zeros(currents.shape, np.uint8)
    for step in range(currents.shape[1]):
        v = v / 2 + currents[:, step]
        spikes[:, step] = v > 1
        v[v > 1] = 0
    return spikes


first, second = networks.weights()
hidden = lif(frames @ first.T)
classes = lif(hidden @ second.T)
np.savez("recorded.npz", input=frames, **{"spikes/hidden": hidden, "spikes/classes": classes})

raise SystemExit(main(["network.nir", "--against", "recorded.npz"]))
