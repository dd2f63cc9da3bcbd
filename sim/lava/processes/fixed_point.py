"""Integer models of our own Processes: the same structure as their floating-point models, int64 instead of float64.

Lava has no model of these operations, so the arithmetic is that of docs/fixed_point.md, streamed a step at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurotarget.sim.lava.processes import ends, memory, operations
from neurotarget.sim.lava.processes.fixed_synapse import lava_weights, shifted

ROTARY_BITS = 22  # bits of fraction of an oscillator's state and of its turn a step


def _in() -> Any:
    return LavaPyType(PyInPort.VEC_DENSE, np.int64)


def _out() -> Any:
    return LavaPyType(PyOutPort.VEC_DENSE, np.int64)


@implements(proc=ends.Source, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FixedSourceModel(ends.SourceModel):
    """Frames are integers."""

    number = np.int64
    s_out: PyOutPort = _out()


@implements(proc=ends.Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FixedRecorderModel(ends.RecorderModel):
    """int64 in, `dtype` kept."""

    number = np.int64


for _port in range(ends.PORTS):
    setattr(FixedRecorderModel, f"port{_port}", _in())


@implements(proc=memory.Relay, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FixedRelayModel(memory.RelayModel):
    """int64."""

    number = np.int64
    a_in: PyInPort = _in()
    s_out: PyOutPort = _out()


@implements(proc=memory.Delay, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FixedDelayModel(memory.DelayModel):
    """int64."""

    number = np.int64
    a_in: PyInPort = _in()
    s_out: PyOutPort = _out()


@implements(proc=memory.TemporalConv, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FixedTemporalConvModel(memory.TemporalConvModel):
    """int64: `shift(sum of weight * payload, weight_exp) + bias`, the weights as Lava's Dense would take them."""

    number = np.int64
    s_in: PyInPort = _in()
    a_out: PyOutPort = _out()

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.weight = lava_weights(self.weight).astype(np.int64)

    def scaled(self, total: np.ndarray) -> np.ndarray:
        return shifted(total, self.proc_params["weight_exp"])


@implements(proc=operations.Gate, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FixedGateModel(operations.GateModel):
    """int64."""

    number = np.int64
    current: PyInPort = _in()
    gate: PyInPort = _in()
    s_out: PyOutPort = _out()


@implements(proc=operations.Rotary, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FixedRotaryModel(operations.RotaryModel):
    """int64; an oscillator a pair, (1, 0) at the first step of a window, turned once a step; every shift floors."""

    number = np.int64
    a_in: PyInPort = _in()
    s_out: PyOutPort = _out()

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


@implements(proc=operations.Attention, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class FixedAttentionModel(operations.AttentionModel):
    """int64: counts of coincidences, shifted."""

    number = np.int64
    query: PyInPort = _in()
    key: PyInPort = _in()
    value: PyInPort = _in()
    s_out: PyOutPort = _out()

    def scaled(self, total: np.ndarray) -> np.ndarray:
        return shifted(total, self.proc_params["weight_exp"])
