"""Program: runs every `*.net` of a folder in NetX, in fixed point, on the integers in its `*.in.npy`.

    python -m tests.conversion.netx_run FOLDER TOKEN

`X.in.npy` holds int [runs, steps, *shape] in our order (channels, height, width); `X.out.npy` gets the spikes of the
last layer [runs, steps, *shape], aligned to the steps of the input. `X.json` holds `reset`: whether all runs follow
each other in one stream, and NetX resets its neurons between them.

Started as a process of its own, like all that imports lava.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from neurotarget.sim.lava.child import compat, segments


def main(folder: Path, token: str) -> None:
    segments.use(token)
    compat.apply(deep_learning=True)
    for path in sorted(folder.glob("*.net")):
        frames = np.load(path.with_suffix(".in.npy"))
        options = json.loads(path.with_suffix(".json").read_text())
        if options["reset"]:
            length = frames.shape[1]
            stream = frames.reshape(1, -1, *frames.shape[2:])
            (spikes,) = run(path, stream, reset_interval=length, reset_offset=1)
            spikes = spikes.reshape(*frames.shape[:2], *spikes.shape[1:])
        else:
            spikes = run(path, frames)
        np.save(path.with_suffix(".out.npy"), np.array(spikes))
        print(path.name, flush=True)


def run(path: Path, frames: np.ndarray, **options: Any) -> list[np.ndarray]:
    """A network of its own for each run."""
    from lava.lib.dl.netx.hdf5 import Network
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    results = []
    for sample in frames:
        network = Network(net_config=str(path), input_message_bits=8, **options)
        late = len(network)  # each layer's synapse sends the sum of the step before
        steps = len(sample) + late
        data = np.concatenate([sample, np.zeros((late, *sample.shape[1:]), sample.dtype)])
        source = Source(data=data.transpose())  # width, height, channels, steps
        sink = Sink(shape=network.out.shape, buffer=steps)
        source.s_out.connect(network.inp)
        network.out.connect(sink.a_in)
        source.run(condition=RunSteps(steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        results.append(sink.data.get().astype(int).transpose()[late:])
        source.stop()
    return results


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
