"""Lava's fixed-point LIF inside a window: its arithmetic is `PyLifModelBitAcc`'s own, run by its own `run_spk`.

Only the hooks that `run_spk` calls are overridden: outside the window of an utterance neither u nor v moves and nothing
fires, and at its first step u starts from zero and v from zero or where the file says. Source of every formula:
lava/proc/lif/models.py, lava-nc 0.10.0; a reset by subtraction is ours, where Lava adds its bias and where it resets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import OutPort
from lava.proc.lif.models import PyLifModelBitAcc
from lava.proc.lif.process import LIF
from neurotarget.sim.lava.processes.base import StreamModel

# Lava adds (a << 6), the decayed u, v and the bias in 32 bits; beyond this the sum could wrap around 2^32 unseen.
LARGEST_CURRENT = (2**31 - 2**25) >> 6


class FixedNeuron(LIF):
    """Lava's LIF with two more out-ports [neurons]: `u_out` and `v_out`, u and v before the reset.

    Args:
        shape: (neurons,).
        du, dv, vth, bias_mant, bias_exp: as Lava's LIF takes them.
        reset: `subtract` or `subtract_at_once`; otherwise Lava's own reset to zero.
        v_initial: int [neurons], v before the first step of a window.
    """

    def __init__(self, *, shape: tuple[int, ...], reset: str = "", v_initial: Any = 0, **kwargs: Any) -> None:
        super().__init__(shape=shape, reset=reset, v_initial=v_initial, **kwargs)
        self.u_out = OutPort(shape=shape)
        self.v_out = OutPort(shape=shape)


class FixedNeuronModel(StreamModel, PyLifModelBitAcc):
    """int32; sends 1 where v > vth << 6.

    Raises:
        OverflowError: a current that Lava's 32 bits do not hold once it is shifted by 6.
    """

    # Not `@implements`: Lava refuses to name another Process than that of the class above.
    implements_process = FixedNeuron
    u_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    v_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)

    def run_spk(self) -> None:
        super().run_spk()
        inside = self.inside
        self.u_out.send(self.u * inside)
        self.v_out.send(self.before_reset * inside)

    def subthr_dynamics(self, activation_in: np.ndarray) -> None:
        if self.starts:
            self.u[:] = 0
            self.v[:] = self.proc_params["v_initial"]
        if self.inside:
            largest = max(int(activation_in.max(initial=0)), -int(activation_in.min(initial=0)))
            if largest > LARGEST_CURRENT:
                raise OverflowError(f"its input current {largest} overflows 32 bits after the shift by 6")
            if self.proc_params["reset"] == "subtract":  # with the bias, so before Lava clips
                self.effective_bias -= self.effective_vth * (self.v > self.effective_vth)
            super().subthr_dynamics(activation_in)

    def spiking_activation(self) -> np.ndarray:
        self.before_reset = self.v.copy()
        fired: np.ndarray = super().spiking_activation() & self.inside
        return fired

    def reset_voltage(self, spike_vector: np.ndarray) -> None:
        if self.proc_params["reset"] == "subtract_at_once":
            self.v[spike_vector] -= self.effective_vth
        elif self.proc_params["reset"] != "subtract":
            super().reset_voltage(spike_vector)


class FixedIntegratorModel(FixedNeuronModel):
    """int32; LI, I and CubaLI: never fires, sends v."""

    def spiking_activation(self) -> np.ndarray:
        self.before_reset = self.v.copy()
        return self.before_reset * self.inside

    def reset_voltage(self, spike_vector: np.ndarray) -> None:
        """Nothing: `spike_vector` is v."""
