"""Program: the same current into Lava's own LIF and into our Neuron, in one Lava network. Prints both rasters as JSON.

Started by test_neuron.py as a process of its own, like everything that imports lava.
"""

from __future__ import annotations

import json

import numpy as np
from neurotarget.sim.lava.child import compat

compat.apply()

STEPS, NEURONS, TAU_STEPS, V_THRESHOLD = 60, 8, 5.0, 1.0


def main() -> None:
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source
    from lava.proc.lif.process import LIF
    from neurotarget.sim.lava.processes.neuron import Neuron
    from neurotarget.sim.lava.processes.window import Window

    random = np.random.default_rng(0)
    current = random.normal(0.25, 0.5, (NEURONS, STEPS))
    source = Source(data=current)
    dense = Dense(weights=np.eye(NEURONS), num_message_bits=24)
    alpha = 1 / TAU_STEPS
    stock = LIF(shape=(NEURONS,), du=1, dv=alpha, vth=V_THRESHOLD)
    one = np.ones(NEURONS)
    parameters = {"decay": (1 - alpha) * one, "gain": one, "offset": 0 * one}
    parameters |= {"v_threshold": V_THRESHOLD * one, "v_reset": 0 * one}
    window = Window(STEPS, STEPS, (STEPS,))
    own = Neuron(neurons=NEURONS, parameters=parameters, window=window, latency=0)
    sinks = [Sink(shape=(NEURONS,), buffer=STEPS) for _ in range(2)]
    source.s_out.connect(dense.s_in)
    for neurons, sink in zip((stock, own), sinks, strict=True):
        dense.a_out.connect(neurons.a_in)
        neurons.s_out.connect(sink.a_in)
    source.run(condition=RunSteps(STEPS), run_cfg=Loihi2SimCfg(select_tag="floating_pt"))
    rasters = [sink.data.get().astype(int).tolist() for sink in sinks]
    source.stop()
    print(json.dumps(rasters))


if __name__ == "__main__":
    main()
