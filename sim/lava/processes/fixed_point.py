"""Integer models of our own Processes: the same structure as their floating-point models, int64 instead of float64.

Lava has no model of these operations, so the arithmetic is that of docs/fixed_point.md, streamed a step at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurotarget.sim.lava.processes import ends, memory, operations
from neurotarget.sim.lava.processes.fixed_synapse import lava_weights, shifted

ROTARY_BITS = 22  # bits of fraction of an oscillator's state and of its turn a step


def in_integers(model: type) -> type:
    """The model with int64 for every number and port that its floating-point model has in float64.

    Lava finds a model by its class and its ports as attributes of the class, so each is a class of its own.
    """
    for name in dir(model):
        if isinstance(port := getattr(model, name), LavaPyType):
            setattr(model, name, LavaPyType(port.cls, np.int64))
    model.number = np.int64  # type: ignore[attr-defined]
    decorated: type = implements(proc=model.implements_process, protocol=LoihiProtocol)(  # type: ignore[attr-defined]
        requires(CPU)(tag("fixed_pt")(model))
    )
    return decorated


@in_integers
class FixedSourceModel(ends.SourceModel):
    """Frames are integers."""


@in_integers
class FixedRecorderModel(ends.RecorderModel):
    """int64 in, `dtype` kept."""


@in_integers
class FixedRelayModel(memory.RelayModel):
    """int64."""


@in_integers
class FixedDelayModel(memory.DelayModel):
    """int64."""


@in_integers
class FixedTemporalConvModel(memory.TemporalConvModel):
    """int64: `shift(sum of weight * payload, weight_exp) + bias`, the weights as Lava's Dense would take them."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.weight = lava_weights(self.weight).astype(np.int64)

    def scaled(self, total: np.ndarray) -> np.ndarray:
        return shifted(total, self.proc_params["weight_exp"])


@in_integers
class FixedGateModel(operations.GateModel):
    """int64."""


@in_integers
class FixedRotaryModel(operations.RotaryModel):
    """int64; an oscillator a pair, (1, 0) at the first step of a window, turned once a step; every shift floors."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.turn = proc_params["cos"], proc_params["sin"]
        self.cos, self.sin = self._start()

    def _start(self) -> tuple[np.ndarray, np.ndarray]:
        cos, _ = self.turn
        return np.full_like(cos, 1 << ROTARY_BITS), np.zeros_like(cos)

    def run_spk(self) -> None:
        x = self.a_in.recv()
        if self.starts:
            self.cos, self.sin = self._start()
        out, drop = np.empty_like(x), ROTARY_BITS - self.proc_params["fraction_bits"]
        out[0::2] = (x[0::2] * self.cos - x[1::2] * self.sin) >> drop
        out[1::2] = (x[0::2] * self.sin + x[1::2] * self.cos) >> drop
        self.s_out.send(out)
        cos, sin = self.turn
        self.cos, self.sin = (
            (self.cos * cos - self.sin * sin) >> ROTARY_BITS,
            (self.cos * sin + self.sin * cos) >> ROTARY_BITS,
        )


@in_integers
class FixedAttentionModel(operations.AttentionModel):
    """int64: counts of coincidences, shifted."""

    def scaled(self, total: np.ndarray) -> np.ndarray:
        return shifted(total, self.proc_params["weight_exp"])
