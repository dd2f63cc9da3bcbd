"""Operations that neither NIR nor Lava has (gate, rotary position, attention), and an affine map with its own bias."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurotarget.sim.lava.processes.base import StreamModel


class BiasedDense(AbstractProcess):
    """Lava's Dense with a bias, for the few synapses whose reader is not a neuron and cannot hold the bias itself."""

    def __init__(self, *, weight: np.ndarray, bias: np.ndarray, **kwargs: Any) -> None:
        super().__init__(weight=weight, bias=bias, **kwargs)
        self.s_in = InPort(shape=weight.shape[1:])
        self.a_out = OutPort(shape=weight.shape[:1])


@implements(proc=BiasedDense, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class BiasedDenseModel(StreamModel):
    """float64; sends the sum of the step before, as Dense does."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.buffer = np.zeros(len(proc_params["weight"]))

    def run_spk(self) -> None:
        self.a_out.send(self.buffer)
        self.buffer = self.proc_params["weight"] @ self.s_in.recv() + self.proc_params["bias"]


class Gate(AbstractProcess):
    """Product of a current and a gate, neuron by neuron."""

    def __init__(self, *, neurons: int, **kwargs: Any) -> None:
        super().__init__(neurons=neurons, **kwargs)
        self.current = InPort(shape=(neurons,))
        self.gate = InPort(shape=(neurons,))
        self.s_out = OutPort(shape=(neurons,))


@implements(proc=Gate, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class GateModel(StreamModel):
    """float64."""

    current: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    gate: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        self.s_out.send(self.current.recv() * self.gate.recv())


class Rotary(AbstractProcess):
    """Turns pair i of neighbouring neurons by t * angle[i], t counted from the start of the window, times `scale`.

    Su et al. 2021 (RoFormer, arXiv 2104.09864), equation 34. On a chip this is an oscillator a pair, not a table.

    Args:
        angle: [pairs], radians a step.
        scale: of the floating-point model.
        cos, sin, fraction_bits: of the fixed-point model, docs/fixed_point.md.
    """

    def __init__(self, *, angle: np.ndarray, **kwargs: Any) -> None:
        super().__init__(angle=angle, **kwargs)
        self.a_in = InPort(shape=(2 * len(angle),))
        self.s_out = OutPort(shape=(2 * len(angle),))


@implements(proc=Rotary, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class RotaryModel(StreamModel):
    """float64; cos and sin of t * angle, as the reference takes them, so that both have the same bits."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        x = self.a_in.recv()
        _, t = self.window.locate(self.step, self.latency)
        turn = t * self.proc_params["angle"]
        cos, sin, out = np.cos(turn), np.sin(turn), np.empty_like(x)
        out[0::2] = x[0::2] * cos - x[1::2] * sin
        out[1::2] = x[0::2] * sin + x[1::2] * cos
        self.s_out.send(out * self.proc_params["scale"])


class Attention(AbstractProcess):
    """Attention without softmax, o = q (k^T v) a head, scaled, with a state of [d_head, d_head] a head.

    Causal: each step adds k^T v to the state, then sends q times the state. Otherwise it adds up for `window.steps`
    steps while it keeps q, then sends the kept q times the state as it stood at the end of the utterance; meanwhile
    the next utterance may come in.

    Args:
        neurons: heads * d_head.
        scale: factor, of the floating-point model.
        weight_exp: shift, of the fixed-point model.
    """

    def __init__(self, *, neurons: int, heads: int, causal: bool, **kwargs: Any) -> None:
        super().__init__(neurons=neurons, heads=heads, causal=causal, **kwargs)
        self.query = InPort(shape=(neurons,))
        self.key = InPort(shape=(neurons,))
        self.value = InPort(shape=(neurons,))
        self.s_out = OutPort(shape=(neurons,))


@implements(proc=Attention, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class AttentionModel(StreamModel):
    """float64. `latency` is the one of its inputs."""

    query: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    key: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    value: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        heads, neurons = proc_params["heads"], proc_params["neurons"]
        self.shape = (heads, neurons // heads)
        self.state = np.zeros((heads, neurons // heads, neurons // heads), self.number)
        self.finished = self.state.copy()
        self.queries = np.zeros((self.window.steps, neurons), self.number)

    def run_spk(self) -> None:
        query, key, value = (self.masked(port.recv()) for port in (self.query, self.key, self.value))
        replayed = query if self.proc_params["causal"] else self._replay(query)
        if self.starts:
            self.state[:] = 0
        self.state += key.reshape(self.shape)[:, :, None] * value.reshape(self.shape)[:, None, :]
        state = self.state if self.proc_params["causal"] else self.finished
        out = replayed.reshape(self.shape)[:, None, :] @ state
        self.s_out.send(self.scaled(out.reshape(-1)))

    def scaled(self, total: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = total * self.proc_params["scale"]
        return scaled

    def _replay(self, query: np.ndarray) -> np.ndarray:
        """The query of one run before. Runs before the state takes in this step: the next utterance may start now."""
        steps = len(self.queries)
        _, t = self.window.locate(self.step, self.latency + steps)
        if t == 0:
            self.finished[:] = self.state
        replayed = self.queries[t].copy() if t < steps else np.zeros_like(query)
        _, arriving = self.window.locate(self.step, self.latency)
        if arriving < steps:
            self.queries[arriving] = query
        return replayed
