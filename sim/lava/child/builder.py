"""From a plan to Lava Processes. Runs in the child only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lava.magma.core.process.process import AbstractProcess
from lava.proc.dense.models import PyDenseModelFloat
from lava.proc.dense.process import Dense
from lava.proc.sparse.models import PySparseModelFloat
from lava.proc.sparse.process import Sparse
from neurotarget.sim.lava.processes import (
    ends,
    fixed_neuron,
    fixed_point,
    fixed_synapse,
    fused,
    memory,
    neuron,
    operations,
)
from neurotarget.sim.lava.processes.window import Window
from scipy.sparse import csr_matrix

GRADED = 24  # num_message_bits of a stock synapse: above 0 it multiplies payloads instead of testing for spikes


def _dense(values: Any, arrays: Any, common: Any) -> AbstractProcess:
    more = {**values, **{key: array for key, array in arrays.items() if key != "weight"}}
    return Dense(weights=arrays["weight"], num_message_bits=GRADED, name=common["name"], **more)


def _sparse(values: Any, arrays: Any, common: Any) -> AbstractProcess:
    matrix = csr_matrix((arrays["weight"], (arrays["rows"], arrays["columns"])), values["shape"])
    more = {key: value for key, value in {**values, **arrays}.items() if key in ("weight_exp", "bias")}
    return Sparse(weights=matrix, num_message_bits=GRADED, name=common["name"], **more)


def _neuron(values: Any, arrays: Any, common: Any) -> AbstractProcess:
    return neuron.Neuron(parameters=arrays, **values, **common)


def _fixed_neuron(values: Any, arrays: Any, common: Any) -> AbstractProcess:
    return fixed_neuron.FixedNeuron(**{**values, "shape": tuple(values["shape"])}, **arrays, **common)


def _own(process: Any) -> Callable[[Any, Any, Any], AbstractProcess]:
    return lambda values, arrays, common: process(**values, **arrays, **common)


# kind in the plan -> (how to build the Process, its model)
Builders = dict[str, tuple[Callable[[Any, Any, Any], AbstractProcess], Any]]

FLOATING_POINT: Builders = {
    "source": (_own(ends.Source), ends.SourceModel),
    "dense": (_dense, PyDenseModelFloat),
    "sparse": (_sparse, PySparseModelFloat),
    "biased_dense": (_own(operations.BiasedDense), operations.BiasedDenseModel),
    "neuron": (_neuron, neuron.NeuronModel),
    "relay": (_own(memory.Relay), memory.RelayModel),
    "delay": (_own(memory.Delay), memory.DelayModel),
    "temporal_conv": (_own(memory.TemporalConv), memory.TemporalConvModel),
    "gate": (_own(operations.Gate), operations.GateModel),
    "rotary": (_own(operations.Rotary), operations.RotaryModel),
    "attention": (_own(operations.Attention), operations.AttentionModel),
}

FIXED_POINT: Builders = {
    "source": (_own(ends.Source), fixed_point.FixedSourceModel),
    "dense": (_dense, fixed_synapse.FixedDenseModel),
    "sparse": (_sparse, fixed_synapse.FixedSparseModel),
    "neuron": (_fixed_neuron, fixed_neuron.FixedNeuronModel),
    "integrator": (_fixed_neuron, fixed_neuron.FixedIntegratorModel),
    "relay": (_own(memory.Relay), fixed_point.FixedRelayModel),
    "delay": (_own(memory.Delay), fixed_point.FixedDelayModel),
    "temporal_conv": (_own(memory.TemporalConv), fixed_point.FixedTemporalConvModel),
    "gate": (_own(operations.Gate), fixed_point.FixedGateModel),
    "rotary": (_own(operations.Rotary), fixed_point.FixedRotaryModel),
    "attention": (_own(operations.Attention), fixed_point.FixedAttentionModel),
}


def build(folder: Path, report: int) -> tuple[dict[AbstractProcess, Any], int]:
    """Builds every Process of the plan in `folder` and connects them.

    Args:
        report: descriptor on which the recorder reports finished utterances.

    Returns:
        The model of each Process, of a single one where the plan is fused, and the number of physical steps to run.
    """
    plan = json.loads((folder / "plan.json").read_text())
    with np.load(folder / "plan.npz", allow_pickle=False) as file:
        stored = dict(file)
    window = Window(plan["period"], plan["steps"], tuple(int(n) for n in stored["lengths"]))
    builders = FIXED_POINT if plan["fixed_point"] else FLOATING_POINT
    processes: dict[str, AbstractProcess] = {}
    models: dict[AbstractProcess, Any] = {}
    for spec in plan["specs"]:
        make, model = builders[spec["kind"]]
        common = {"name": spec["name"], "window": window, "latency": spec["latency"]}
        arrays = {key: stored[stored_as] for key, stored_as in spec["arrays"].items()}
        processes[spec["name"]] = process = make(spec["values"], arrays, common)
        models[process] = model
    ports = {name: _out_port(process) for name, process in processes.items()}
    ports |= {
        f"{name}.{port}": getattr(process, port)
        for name, process in processes.items()
        for port in ("u_out", "v_out")
        if hasattr(process, port)
    }
    recorders = _recorders(plan, folder, window, report)
    recorder_model = fixed_point.FixedRecorderModel if plan["fixed_point"] else ends.RecorderModel
    models.update({recorder: recorder_model for recorder, _ in recorders})
    inputs = {f"record {i}": port for _, taken in recorders for i, port in taken}
    for source, target, role in plan["connections"]:
        ports[source].connect(inputs[target] if target in inputs else _in_port(processes[target], role))
    if plan["fused"]:
        models = {fused.Fused(models=models, name="network"): fused.FusedModel}
    return models, plan["total_steps"]


def _out_port(process: AbstractProcess) -> Any:
    return next(getattr(process, name) for name in ("s_out", "a_out") if hasattr(process, name))


def _in_port(process: AbstractProcess, role: str) -> Any:
    return next(getattr(process, name) for name in (role, "a_in", "s_in") if name and hasattr(process, name))


def _recorders(plan: Any, folder: Path, window: Window, report: int) -> list[tuple[AbstractProcess, list[Any]]]:
    """Recorders for all records, each with the (record number, port) pairs it takes; the last one is the slowest."""
    numbered = sorted(enumerate(plan["records"]), key=lambda pair: pair[1]["latency"])
    built = []
    for start in range(0, len(numbered), ends.PORTS):
        chunk = numbered[start : start + ends.PORTS]
        recorder = ends.Recorder(
            name=f"recorder {start // ends.PORTS}",
            window=window,
            latency=0,
            nodes=[{**record, "file": str(folder / f"record{i}.npy")} for i, record in chunk],
            final_step=plan["total_steps"] - 1,
            report=report if start + ends.PORTS >= len(numbered) else -1,
        )
        built.append((recorder, [(i, getattr(recorder, f"port{k}")) for k, (i, _) in enumerate(chunk)]))
    return built
