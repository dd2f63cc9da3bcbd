"""The spikes of one sample as a strip per layer: a mask, which the page fills with its own colour."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib.image
import numpy as np
from neurotarget.sim.trace import Trace

MOST_ROWS, MOST_COLUMNS = 128, 512
FAINTEST = 72  # of 255: a spike among many neurons is still seen


@dataclass(frozen=True)
class Strip:
    """A spiking layer during one sample.

    Attributes:
        name: of the layer.
        neurons: rows before they were joined.
        spikes: of all of them.
        uri: a PNG of steps by neurons, transparent where nothing fires.
    """

    name: str
    neurons: int
    spikes: int
    uri: str


def strips(trace: Trace) -> Iterator[Strip]:
    """A strip for each spiking layer, of the first sample, inside its window."""
    steps = int(trace.lengths[0])
    for name, array in trace.spikes.items():
        spikes = array[0, :steps].reshape(steps, -1).T != 0
        yield Strip(name, len(spikes), int(spikes.sum()), _mask(spikes))


def _mask(spikes: np.ndarray) -> str:
    """A data URI of [neurons, steps]; where there are too many, a pixel shades the share of its places that fire."""
    share = spikes.astype(np.float64)
    for axis, most in enumerate((MOST_ROWS, MOST_COLUMNS)):
        size = share.shape[axis]
        if size > most:
            edges = np.linspace(0, size, most, endpoint=False).astype(int)
            counts = np.diff(np.append(edges, size))
            share = np.add.reduceat(share, edges, axis=axis) / np.expand_dims(counts, 1 - axis)
    image = np.zeros((*share.shape, 4), np.uint8)
    image[..., 3] = np.where(share > 0, FAINTEST + (255 - FAINTEST) * share, 0)
    stream = io.BytesIO()
    matplotlib.image.imsave(stream, image if image.size else np.zeros((1, 1, 4), np.uint8), format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
