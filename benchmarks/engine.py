"""The reference simulator against its peers and its limits: split over two processes, matrix products alone, integers,
growth with steps, memory, and a network of three linear layers in four simulators. Rows of benchmarks.simulator.
"""

from __future__ import annotations

import functools
import itertools
import math
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from neurotarget.conversion.quantize import quantize
from neurotarget.conversion.to_nir import to_nir
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.reference.workers import Workers, cores
from spikingjelly.activation_based import functional, neuron
from torch import nn

from benchmarks.timing import alternate

SIZES, SAMPLES, STEPS = (700, 256, 256, 20), 64, 100
LARGE_SAMPLES, LONG = 10_000, 2000


@dataclass(frozen=True, eq=False)
class Part:
    """What a worker process does of SpikingJelly's share."""

    network: nn.Module

    def __call__(self, x: torch.Tensor) -> None:
        torch.set_num_threads(1)
        with torch.no_grad():
            self.network(x)


def split_over_processes(network: nn.Module, x: torch.Tensor) -> tuple[Workers, Callable[[], object]]:
    """A network in PyTorch on parts of x, one for each core in a process of its own: the processes, and their run."""
    workers = Workers(cores())
    task, parts = Part(network), [(part.contiguous(),) for part in x.chunk(cores())]
    return workers, lambda: list(workers.map(task, parts))


def matrix_products(graph: Graph, rows: int) -> Callable[[], object]:
    """The products of all linear layers of a network and those of its attention, in numpy's BLAS, and nothing else."""
    random = np.random.default_rng(0)
    pairs = []
    for node in graph.nodes.values():
        if node.kind in ("affine", "temporal_conv"):
            weight = node.parameters["weight"].reshape(len(node.parameters["weight"]), -1)
            pairs.append((random.random((rows, weight.shape[1]), np.float32), weight.T.astype(np.float32)))
        elif node.kind == "attention":
            heads = node.parameters["heads"]
            shape = (SAMPLES, heads, rows // SAMPLES, node.neurons // heads)
            query, key, value = (random.random(shape, np.float32) for _ in range(3))
            pairs += [
                (key.swapaxes(-1, -2), value),
                (query, np.zeros((SAMPLES, heads, shape[3], shape[3]), np.float32)),
            ]
    return lambda: [a @ b for a, b in pairs]


def integer_form(graph: Graph, frames: np.ndarray) -> Graph:
    """The network in integers; how well does not matter here."""
    return load(quantize(graph, frames[:2], accept=True)[0])


def growth_with_steps(graph: Graph, short: int, repeats: int) -> float:
    """Exponent of the time of a run over the number of its steps, between `short` and `LONG`."""
    frames = np.random.default_rng(0).poisson(0.3, (16, LONG, *graph.input.output_shape)).astype(np.float32)
    prepared = reference.prepare(graph, "float32")
    seconds = alternate(
        repeats,
        *(
            functools.partial(reference.simulate, prepared, frames[:, :steps], np.full(16, steps))
            for steps in (short, LONG)
        ),
    )
    return math.log(seconds[1] / seconds[0]) / math.log(LONG / short)


def peak_memory_mb(samples: int) -> float:
    """The most that a process of `sim.run` holds, in megabyte, on utterances of preset `ssc` with two blocks."""
    network = SpikeSCR(replace(SpikeSCRConfig.preset("ssc"), blocks=2)).eval()
    frames = np.random.default_rng(0).poisson(0.3, (samples, STEPS, network.config.features)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        model, data = Path(folder, "ssc.nir"), Path(folder, "in.npz")
        nir.write(model, to_nir(network, (network.config.features,)))
        np.savez(data, input=frames)
        command = [sys.executable, "-m", "neurotarget.sim.run", model, "--input", data, "--precision", "float32"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    if after == before:  # an earlier child held more
        return math.nan
    return after / 1024


# ---- a network of three linear layers --------------------------------------------------------------------------------


def three_layers() -> tuple[list[torch.Tensor], Graph]:
    """Weights [outputs, inputs] and the network: linear layers and LIF of tau = 2 steps, theta 1, reset to 0."""
    torch.manual_seed(0)
    weights = [torch.randn(b, a) * 6 / math.sqrt(a) for a, b in itertools.pairwise(SIZES)]
    nodes: dict[str, Any] = {"input": nir.Input(np.array([SIZES[0]]))}
    for number, weight in enumerate(weights):
        one = np.ones(len(weight))
        nodes[f"fc{number}"] = nir.Linear(weight.numpy())
        nodes[f"lif{number}"] = nir.LIF(0.002 * one, 2 * one, 0 * one, one, v_reset=0 * one)
    nodes["output"] = nir.Output(np.array([SIZES[-1]]))
    names = list(nodes)
    graph = nir.NIRGraph(nodes=nodes, edges=list(itertools.pairwise(names)), metadata={"dt": 0.001})
    return weights, load(graph)


def by_spikingjelly(weights: list[torch.Tensor], x: torch.Tensor) -> Callable[[], torch.Tensor]:
    """All three take x [steps, samples, inputs] and give the last layer's spikes."""
    nodes = [neuron.LIFNode(tau=2.0, decay_input=False, v_reset=0.0, step_mode="m") for _ in weights]

    def run() -> torch.Tensor:
        spikes = x
        with torch.no_grad():
            for weight, node in zip(weights, nodes, strict=True):
                functional.reset_net(node)
                spikes = node(spikes @ weight.T)
        return spikes

    return run


def by_snntorch(weights: list[torch.Tensor], x: torch.Tensor) -> Callable[[], torch.Tensor]:
    import snntorch

    nodes = [snntorch.Leaky(beta=0.5, reset_mechanism="zero", reset_delay=False) for _ in weights]

    def run() -> torch.Tensor:
        spikes = x
        with torch.no_grad():
            for weight, node in zip(weights, nodes, strict=True):
                current, v, sent = spikes @ weight.T, node.reset_mem(), []
                for step in current:
                    fired, v = node(step, v)
                    sent.append(fired)
                spikes = torch.stack(sent)
        return spikes

    return run


def by_norse(weights: list[torch.Tensor], x: torch.Tensor) -> Callable[[], torch.Tensor]:
    from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step

    p = LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(1.0))

    def run() -> torch.Tensor:
        spikes = x
        with torch.no_grad():
            for weight in weights:
                current = 2 * (spikes @ weight.T)  # its input is multiplied by dt / tau
                state, sent = LIFBoxFeedForwardState(v=torch.zeros_like(current[0])), []
                for step in current:
                    fired, state = lif_box_feed_forward_step(step, state, p)
                    sent.append(fired)
                spikes = torch.stack(sent)
        return spikes

    return run


PEERS = {"spikingjelly": by_spikingjelly, "snntorch": by_snntorch, "norse": by_norse}


def layers_against_peers(repeats: int) -> dict[str, float]:
    """`mlp_vs_<peer>`: its time over ours, in float32, and `mlp_spikes_that_differ_<peer>` of the last layer."""
    weights, graph = three_layers()
    x = (np.random.default_rng(0).random((SAMPLES, STEPS, SIZES[0])) < 0.1).astype(np.float32)
    over_steps = torch.from_numpy(x).transpose(0, 1).contiguous()
    last = graph.spiking[-1].name

    def ours() -> np.ndarray:
        return reference.run(graph, x, precision="float32").spikes[last]

    rows: dict[str, float] = {"mlp_spikes": int(ours().sum())}
    for name, make in PEERS.items():
        theirs = make(weights, over_steps)
        seconds = alternate(repeats, ours, theirs)
        rows[f"mlp_vs_{name}"] = seconds[1] / seconds[0]
        rows[f"mlp_spikes_that_differ_{name}"] = int((theirs().transpose(0, 1).numpy() != ours()).sum())
    return rows
