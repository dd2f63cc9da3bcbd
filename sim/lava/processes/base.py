"""What all our Process models share: which physical step it is, and what the builder passed."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from neurotarget.sim.lava.processes.window import Window


class StreamModel(PyLoihiProcessModel):
    """Model of a Process that was built with `window=` and `latency=` (see sim/lava/child/builder.py).

    `latency` is the physical step in which the Process handles logical step 0: of its output for neurons, of its input
    for Processes with a memory of past inputs.

    Attributes:
        number: type of the state and of what is sent; the models of fixed_point.py say int64.
    """

    number: type = np.float64

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.window: Window = proc_params["window"]
        self.latency: int = proc_params["latency"]

    @property
    def step(self) -> int:
        """Physical step from 0; Lava counts from 1."""
        return int(self.time_step) - 1

    @property
    def inside(self) -> bool:
        return self.window.inside(self.step, self.latency)

    @property
    def starts(self) -> bool:
        return self.window.starts(self.step, self.latency)

    def masked(self, values: np.ndarray) -> np.ndarray:
        """The values, or zeros outside the window."""
        return values if self.inside else np.zeros_like(values)
