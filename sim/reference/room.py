"""What a run sends, and room for it: arrays that batches fill, here or in another process."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from neurotarget.sim.graph import Graph

MEMORY = Path("/dev/shm")  # files here never reach a disk


@dataclass(frozen=True, eq=False)
class Batch:
    """What the run of one batch gives.

    Attributes:
        spikes: of every spiking node, uint8 [samples, steps, *neurons]; zero outside the window.
        output: float64 [samples, steps, *outputs], zero outside the window.
        potentials: of the neurons that were to be observed, v before the reset [samples, steps, *neurons]; of a
            quantised graph u and v, [samples, steps, *neurons, 2].
        peaks: of the neurons of a quantised graph, the largest |u| before it wraps and |v| before it is clipped.
    """

    spikes: Mapping[str, np.ndarray]
    output: np.ndarray
    potentials: Mapping[str, np.ndarray] = field(default_factory=dict)
    peaks: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, arrays: Mapping[str, np.ndarray]) -> Batch:
        """The arrays of `layout` as a batch."""
        return cls({node.name: arrays[f"spikes/{node.name}"] for node in graph.spiking}, arrays["output"])


def layout(graph: Graph, samples: int, steps: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of what a run of so many samples sends: `spikes/NODE` and `output`."""
    arrays = {f"spikes/{node.name}": (node.output_shape, np.uint8) for node in graph.spiking}
    both = {**arrays, "output": (graph.output.output_shape, np.float64)}
    return {name: ((samples, steps, *shape), np.dtype(dtype)) for name, (shape, dtype) in both.items()}


class Room:
    """Named arrays whose first axis is that of the samples.

    They lie in the memory of this process, or in a file that a pickle of the room finds again in another. The file has
    no name any more once the room is left; its arrays last as long as somebody holds them.
    """

    def __init__(self, layout: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], shared: bool) -> None:
        self.layout, self.path = dict(layout), ""
        if not shared:
            self._lay_out(np.empty(self._places()[1], np.uint8))  # one piece: numpy asks for large pages
            return
        in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * self._places()[1]
        descriptor, self.path = tempfile.mkstemp(".room", "neurotarget-", MEMORY if in_memory else None)
        try:
            os.truncate(descriptor, max(self._places()[1], 1))
            self._map(descriptor)
        finally:
            os.close(descriptor)

    def _places(self) -> tuple[dict[str, int], int]:
        """Where each array begins, in bytes, at multiples of a cache line; and where all end."""
        places, end = {}, 0
        for name, (shape, dtype) in self.layout.items():
            places[name] = end
            end += -(-int(np.prod(shape)) * dtype.itemsize // 64) * 64
        return places, end

    def _map(self, descriptor: int) -> None:
        self._lay_out(mmap.mmap(descriptor, max(self._places()[1], 1)))

    def _lay_out(self, memory: mmap.mmap | np.ndarray) -> None:
        places, _ = self._places()
        self.arrays = {
            name: np.ndarray(shape, dtype, memory, places[name]) for name, (shape, dtype) in self.layout.items()
        }

    def __enter__(self) -> Room:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def __getstate__(self) -> tuple[Any, str]:
        return self.layout, self.path

    def __setstate__(self, state: tuple[Any, str]) -> None:
        self.layout, self.path = state
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            self._map(descriptor)
        finally:
            os.close(descriptor)
