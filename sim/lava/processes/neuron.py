"""Neurons of NIR that act only inside their window: LIF, IF, CubaLIF, LI, I, CubaLI, Threshold.

Lava's own LIF (lava/proc/lif/models.py, `u = u(1-du) + a; v = v(1-dv) + u + bias`) does the same for one utterance
without bias; tests/sim/lava/test_neuron.py holds the two against each other. It has no gain, no reset value, a bias
that never rests, and no way to start a second utterance afresh, so the networks run on this one. The order of the
operations is that of the reference simulator, so equal input gives equal bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from neurotarget.sim.lava.processes.base import StreamModel


class Neuron(AbstractProcess):
    """A population [neurons].

    `u = u * decay_synapse + gain_synapse * (a_in + bias)` where there is a `decay_synapse`, else `u = a_in + bias`;
    `v = v * decay + (gain * u + offset)`; without `decay`, `v = u` (NIR's Threshold). With a `v_threshold` it sends
    `v > v_threshold` and sets v to `v_reset` where it fired; without, it sends v. At the first step of a window u and v
    start from 0, or v from `v_initial`; outside the window it sends zeros.

    Args:
        neurons: size of the population.
        parameters: arrays [neurons] under the names above, float64.
        reset: `subtract` and `subtract_at_once` take `theta` off v in place of setting it: where v was over the
            threshold at the step before, after the leak; or where it fires.
    """

    def __init__(self, *, neurons: int, parameters: Any, reset: str = "", **kwargs: Any) -> None:
        super().__init__(neurons=neurons, parameters=parameters, reset=reset, **kwargs)
        self.a_in = InPort(shape=(neurons,))
        self.s_out = OutPort(shape=(neurons,))
        self.u = Var(shape=(neurons,), init=0)
        self.v = Var(shape=(neurons,), init=0)


@implements(proc=Neuron, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class NeuronModel(StreamModel):
    """float64."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    u: np.ndarray = LavaPyType(np.ndarray, float)
    v: np.ndarray = LavaPyType(np.ndarray, float)

    def run_spk(self) -> None:
        p, reset = self.proc_params["parameters"], self.proc_params["reset"]
        current = self.a_in.recv()
        if self.starts:
            self.u[:] = 0
            self.v[:] = p.get("v_initial", 0)
        if not self.inside:
            self.s_out.send(np.zeros_like(current))
            return
        if "bias" in p:
            current = current + p["bias"]
        self.u[:] = self.u * p["decay_synapse"] + p["gain_synapse"] * current if "decay_synapse" in p else current
        late = self.v > p["v_threshold"] if reset == "subtract" else ()
        self.v[:] = self.v * p["decay"] + (p["gain"] * self.u + p["offset"]) if "decay" in p else self.u
        if "v_threshold" not in p:
            self.s_out.send(self.v.copy())
            return
        if reset == "subtract":
            self.v[late] -= p["theta"][late]
        fired = self.v > p["v_threshold"]
        if reset == "subtract_at_once":
            self.v[fired] -= p["theta"][fired]
        elif reset != "subtract":
            self.v[fired] = p["v_reset"][fired]
        self.s_out.send(fired.astype(float))
