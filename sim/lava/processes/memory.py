"""Processes that remember past inputs: delays and convolutions over time."""

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


class Relay(AbstractProcess):
    """Passes [neurons] values on, `delay` steps late.

    On a chip these are the relay neurons or axonal delays that make the paths of a residual connection meet.

    Args:
        mask: send zeros for what arrived outside the window; `latency` is then the one of the input.
    """

    def __init__(self, *, neurons: int, delay: int, mask: bool, **kwargs: Any) -> None:
        super().__init__(neurons=neurons, delay=delay, mask=mask, **kwargs)
        self.a_in = InPort(shape=(neurons,))
        self.s_out = OutPort(shape=(neurons,))


@implements(proc=Relay, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class RelayModel(StreamModel):
    """float64. With a delay it sends before it receives, so that a loop through it cannot deadlock."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.held: np.ndarray = np.zeros((proc_params["delay"], proc_params["neurons"]), self.number)

    def run_spk(self) -> None:
        if not len(self.held):
            self.s_out.send(self._received())
            return
        slot = self.step % len(self.held)
        self.s_out.send(self.held[slot])
        self.held[slot] = self._received()

    def _received(self) -> np.ndarray:
        values: np.ndarray = self.a_in.recv()
        return self.masked(values) if self.proc_params["mask"] else values


class Delay(AbstractProcess):
    """NIR's Delay: neuron n sends what it got `steps[n]` steps of the same utterance before, else 0."""

    def __init__(self, *, steps: np.ndarray, **kwargs: Any) -> None:
        super().__init__(steps=steps, **kwargs)
        self.a_in = InPort(shape=steps.shape)
        self.s_out = OutPort(shape=steps.shape)


@implements(proc=Delay, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class DelayModel(StreamModel):
    """float64. The gap between utterances (sim/schedule.py) is as long as the longest delay."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.steps: np.ndarray = proc_params["steps"]
        self.neurons = np.arange(len(self.steps))
        self.held: np.ndarray = np.zeros((int(self.steps.max(initial=0)) + 1, len(self.steps)), self.number)

    def run_spk(self) -> None:
        self.held[self.step % len(self.held)] = self.masked(self.a_in.recv())
        self.s_out.send(self.held[(self.step - self.steps) % len(self.held), self.neurons])


class TemporalConv(AbstractProcess):
    """Convolution over time: y[t] = sum over i of W[..., i] x[t + look_ahead - (taps - 1) + i] + b.

    Like every synapse it sends the sum of the step before; with the look-ahead its latency is 1 + look_ahead. Input
    outside the window counts as zero.

    Args:
        weight: [outputs, inputs, taps], or [neurons, taps] for a depthwise convolution.
        bias: [outputs].
    """

    def __init__(self, *, weight: np.ndarray, bias: np.ndarray, **kwargs: Any) -> None:
        super().__init__(weight=weight, bias=bias, **kwargs)
        self.s_in = InPort(shape=(weight.shape[-2],))
        self.a_out = OutPort(shape=(weight.shape[0],))


@implements(proc=TemporalConv, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class TemporalConvModel(StreamModel):
    """float64."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        weight: np.ndarray = proc_params["weight"]
        self.depthwise = weight.ndim == 2
        # [taps, inputs]: row i holds the input that tap i sees
        self.past: np.ndarray = np.zeros((weight.shape[-1], weight.shape[-2]), self.number)
        self.weight = np.ascontiguousarray(
            weight.T if self.depthwise else np.moveaxis(weight, -1, 1).reshape(len(weight), -1)
        )
        self.buffer: np.ndarray = np.zeros(len(weight), self.number)

    def run_spk(self) -> None:
        self.a_out.send(self.buffer)
        arrived = self.masked(self.s_in.recv())
        self.past[:-1] = self.past[1:]
        self.past[-1] = arrived
        product = (self.weight * self.past).sum(axis=0) if self.depthwise else self.weight @ self.past.reshape(-1)
        self.buffer = self.scaled(product) + self.proc_params["bias"]

    def scaled(self, total: np.ndarray) -> np.ndarray:
        return total
