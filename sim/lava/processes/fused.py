"""A whole network as one Process, whose model hosts the models of the plain build and runs them in turn.

What is hosted are the classes of the plain build, Lava's own among them, made by Lava's own builder and with Lava's own
ports, so arithmetic, types and the order of sums are theirs. Only the channel between two ports is another: an array of
this process, where the plain build has shared memory and a semaphore at either end. (Three or more sources of one port
are summed in the order of the plan; Lava has them in the order of a set, which changes from run to run.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from lava.magma.compiler.builders.py_builder import PyProcessBuilder
from lava.magma.compiler.utils import PortInitializer, VarInitializer
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.dense.process import Dense
from lava.proc.sparse.process import Sparse
from neurotarget.sim.lava.processes.memory import Relay, TemporalConv
from neurotarget.sim.lava.processes.operations import BiasedDense


class Fused(AbstractProcess):
    """The network of `models`, connected Processes and the model of each."""

    def __init__(self, *, models: Mapping[AbstractProcess, Any], **kwargs: Any) -> None:
        super().__init__(models=models, **kwargs)


@implements(proc=Fused, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class FusedModel(PyLoihiProcessModel):
    """An error of a hosted model carries the name of its Process as `process`."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        models = proc_params["models"]
        order, ahead = in_turn(models)
        channels = {
            port: Channel(port.shape, getattr(models[process], port.name).d_type)
            for process in models
            for port in process.out_ports
        }
        gates = {process: Gate() for process in ahead}
        self.hosted: list[tuple[str, Any]] = []
        self.ahead: list[tuple[str, Any, Gate]] = []
        for process in order:
            try:
                model = hosted(process, models[process], channels, gates.get(process))
            except Exception as error:
                error.process = process.name  # type: ignore[attr-defined]
                raise
            self.hosted.append((process.name, model))
            if process in gates:
                self.ahead.append((process.name, model, gates[process]))

    def run_spk(self) -> None:
        name = ""
        try:
            for name, model, gate in self.ahead:  # noqa: B007 (the name of who raised)
                model.time_step = self.time_step
                gate.run_until_closed(model)
            for name, model in self.hosted:  # noqa: B007
                model.time_step = self.time_step
                model.run_spk()
        except Exception as error:
            error.process = name  # type: ignore[attr-defined]
            raise


class Channel:
    """What was sent last, in the type of the port that sends, as Lava's channels have it."""

    def __init__(self, shape: tuple[int, ...], number: type) -> None:
        self.array: np.ndarray = np.zeros(shape, number)

    def send(self, data: np.ndarray) -> None:
        if data.shape != self.array.shape:
            raise AssertionError(f"sends {data.shape} through a port of {self.array.shape}")
        self.array[:] = data

    def recv(self) -> np.ndarray:
        return self.array


class Gate:
    """Lets a model of a loop run up to where it first receives: what it sends before does not hang on that."""

    def __init__(self) -> None:
        self.closed = False

    def run_until_closed(self, model: PyLoihiProcessModel) -> None:
        self.closed = True
        try:
            model.run_spk()
        except _Closed:
            pass
        finally:
            self.closed = False

    def before(self, channel: Channel) -> GatedChannel:
        return GatedChannel(self, channel)


class GatedChannel:
    def __init__(self, gate: Gate, channel: Channel) -> None:
        self.gate, self.channel = gate, channel

    def recv(self) -> np.ndarray:
        if self.gate.closed:
            raise _Closed
        return self.channel.recv()


class _Closed(BaseException):
    """No error: like GeneratorExit it only ends what runs, whatever that catches."""


def in_turn(processes: Iterable[AbstractProcess]) -> tuple[list[AbstractProcess], list[AbstractProcess]]:
    """An order in which what a Process reads has been sent, and those that must send ahead of it, one a loop or more.

    Only who sends the sum of the step before can send ahead; sim/schedule.py lets no loop be without one.
    """
    waiting = {p: {source.process for port in p.in_ports for source in port.get_src_ports()} for p in processes}
    order: list[AbstractProcess] = []
    ahead: list[AbstractProcess] = []
    while waiting:
        ready = [p for p, sources in waiting.items() if not (sources & waiting.keys()).difference(ahead)]
        if not ready:
            ahead.append(next(p for p in waiting if _sends_first(p) and p not in ahead))
        for process in ready:
            del waiting[process]
        order += ready
    return order, ahead


def _sends_first(process: AbstractProcess) -> bool:
    if isinstance(process, Relay):
        return bool(process.proc_params["delay"])
    return isinstance(process, Dense | Sparse | BiasedDense | TemporalConv)


def hosted(process: AbstractProcess, model: Any, channels: Mapping[Any, Channel], gate: Gate | None) -> Any:
    """The model of a Process as Lava's compiler and builder make it, with our channels behind its ports."""
    builder = PyProcessBuilder(model, process.id, process.proc_params)
    builder.set_variables([VarInitializer(v.name, v.shape, v.init, v.id) for v in process.vars])
    ports = [*process.in_ports, *process.out_ports]
    builder.set_py_ports([PortInitializer(p.name, p.shape, None, type(p).__name__, 0) for p in ports])
    for port in process.out_ports:
        builder.csp_ports[port.name] = [channels[port]] if port.get_dst_ports() else []
    for port in process.in_ports:
        sources = [channels[source] for source in port.get_src_ports()]
        builder.csp_ports[port.name] = sources if gate is None else [gate.before(channel) for channel in sources]
    return builder.build()
