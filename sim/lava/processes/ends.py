"""The two ends of a network: the source that plays the utterances, the recorder that keeps what was sent."""

from __future__ import annotations

import json
import os
from pathlib import Path
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


class Source(AbstractProcess):
    """Sends frame t of each utterance in its step t, zeros outside its window.

    Args:
        frames: [samples, steps, features]; integers and real numbers arrive as they are (a graded payload).
    """

    def __init__(self, *, frames: np.ndarray, **kwargs: Any) -> None:
        super().__init__(frames=frames, **kwargs)
        self.s_out = OutPort(shape=frames.shape[2:])


@implements(proc=Source, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class SourceModel(StreamModel):
    """float64."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        frames = self.proc_params["frames"]
        sample, t = self.window.locate(self.step, self.latency)
        silence = np.zeros(frames.shape[2], self.number)
        self.s_out.send(frames[sample, t].astype(self.number) if self.inside else silence)


PORTS = 16  # in-ports of one recorder; a network with more recorded nodes gets more recorders


class Recorder(AbstractProcess):
    """Keeps, in logical time, what up to `PORTS` nodes send, and writes it to files when the last one has sent.

    Reading a Var costs 29 microseconds an element; a port costs one message a step.

    Args:
        nodes: one mapping a port: `neurons`, `latency`, `dtype`, and `file`, the path of the `.npy` to write.
        final_step: physical step after which the files are written.
        report: descriptor to write one JSON line to as each utterance is complete, or -1.
    """

    def __init__(self, *, nodes: Any, final_step: int, report: int, **kwargs: Any) -> None:
        super().__init__(nodes=nodes, final_step=final_step, report=report, **kwargs)
        for i in range(PORTS):
            setattr(self, f"port{i}", InPort(shape=(nodes[i]["neurons"] if i < len(nodes) else 1,)))


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class RecorderModel(StreamModel):
    """float64 in, `dtype` kept. The ports are declared below: Lava finds them as attributes of the class."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        samples, steps = len(self.window.lengths), self.window.steps
        self.kept = [np.zeros((samples, steps, n["neurons"]), n["dtype"]) for n in proc_params["nodes"]]

    def run_spk(self) -> None:
        nodes = self.proc_params["nodes"]
        for i, (node, kept) in enumerate(zip(nodes, self.kept)):  # noqa: B905 (Python 3.10 runs this too)
            values = getattr(self, f"port{i}").recv()
            if self.window.inside(self.step, node["latency"]):
                kept[self.window.locate(self.step, node["latency"])] = values
        slowest = max(node["latency"] for node in nodes)
        sample, t = self.window.locate(self.step, slowest)
        if sample >= 0 and t == self.window.steps - 1 and self.proc_params["report"] >= 0:
            os.write(self.proc_params["report"], json.dumps({"event": "sample", "done": sample + 1}).encode() + b"\n")
        if self.step == self.proc_params["final_step"]:
            for node, kept in zip(nodes, self.kept):  # noqa: B905
                np.save(Path(node["file"]), kept)


for _port in range(PORTS):
    setattr(RecorderModel, f"port{_port}", LavaPyType(PyInPort.VEC_DENSE, float))
