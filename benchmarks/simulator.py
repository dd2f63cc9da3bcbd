"""Our simulator against SpikingJelly's torch inference, our compiled LIF against SpikingJelly's: `make bench`.

Both sides of a ratio run alternately in one process on the same batch, so that whatever else the machine does hits
both. The figure is the ratio of the medians; results go to benchmarks/results.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from neurotarget.conversion.to_nir import to_nir
from neurotarget.model.networks.parts import Linear, Rotary, TemporalConv
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig, readout
from neurotarget.model.training import checkpoint
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, load
from neurotarget.sim.trace import Trace
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from benchmarks import engine, results
from benchmarks.timing import alternate
from neurotarget.cli import Command, Result

BATCH, STEPS = 64, 100
SAMPLES_2D, STEPS_2D = 16, 20


def stock(network: SpikeSCR) -> SpikeSCR:
    """The same network with SpikingJelly's own LIF nodes, and torch's own operations before and after them."""
    for module in network.modules():
        if isinstance(module, Linear | TemporalConv | Rotary):
            module.forward = module.by_torch
        for name, child in module.named_children():
            if isinstance(child, neuron.LIFNode):
                own = neuron.LIFNode(
                    tau=child.tau,
                    decay_input=child.decay_input,
                    v_threshold=child.v_threshold,
                    v_reset=child.v_reset,
                    surrogate_function=child.surrogate_function,
                    detach_reset=child.detach_reset,
                    step_mode="m",
                )
                setattr(module, name, own)
    return network


def inference(path: Path | None, repeats: int) -> dict[str, float]:
    """Reference simulator (float32), as a user calls it, against SpikingJelly's neurons, one batch of preset shd.

    Beside it the same with SpikingJelly split over processes, the matrix products alone, integers, and growth.
    """
    torch.manual_seed(0)
    network = checkpoint.load(path).model() if path else SpikeSCR(SpikeSCRConfig.preset("shd")).eval()
    graph = load(to_nir(network, (network.config.features,)))
    rng = np.random.default_rng(0)
    frames = rng.poisson(0.3, (BATCH, STEPS, network.config.features)).astype(np.float32)
    torch_network, x = stock(network), torch.from_numpy(frames)

    def by_torch() -> None:
        with torch.no_grad():
            torch_network(x)

    def by_us(graph: Graph = graph) -> Trace:
        return reference.run(graph, frames, precision="float32")

    ours, theirs = alternate(repeats, by_us, by_torch)
    rows = {"inference_reference_seconds": ours, "inference_spikingjelly_seconds": theirs}
    rows["inference_ratio"] = rows["reference_vs_spikingjelly"] = theirs / ours
    workers, in_parts = engine.split_over_processes(torch_network, x)
    ours, theirs = alternate(repeats, by_us, in_parts)
    workers.end()
    rows["reference_vs_spikingjelly_split"] = theirs / ours
    ours, floor = alternate(repeats, by_us, engine.matrix_products(graph, BATCH * STEPS))
    rows["reference_vs_gemm_floor"] = ours / floor
    integers = engine.integer_form(graph, frames)
    ours, whole = alternate(repeats, by_us, lambda: by_us(integers))
    spikes = sum(int(array.sum()) for array in by_us().spikes.values())
    places = sum(node.neurons for node in graph.spiking) * BATCH * STEPS
    return rows | {
        "integer_vs_float": whole / ours,
        "growth_steps": engine.growth_with_steps(graph, 200, 3),
        "growth_steps_from_500": engine.growth_with_steps(graph, 500, 3),
        "inference_spikes_per_neuron_and_step": spikes / places,
    }


def training(repeats: int) -> dict[str, float]:
    """One training step of the shd preset with the compiled LIF against SpikingJelly's torch implementation."""
    torch.manual_seed(0)
    compiled = SpikeSCR(SpikeSCRConfig.preset("shd"))
    plain = stock(SpikeSCR(SpikeSCRConfig.preset("shd")))
    plain.load_state_dict(compiled.state_dict())
    x, labels = torch.poisson(torch.full((BATCH, STEPS, 140), 0.3)), torch.randint(0, 20, (BATCH,))

    def step(network: SpikeSCR) -> None:
        network.zero_grad()
        F.cross_entropy(readout(network(x)), labels).backward()

    ours, theirs = alternate(repeats, lambda: step(compiled), lambda: step(plain))
    return {"compiled_seconds": ours, "spikingjelly_seconds": theirs, "ratio": theirs / ours}


def convolutional(repeats: int) -> dict[str, float]:
    """A convolutional network on event frames of 2 x 34 x 34 in float32, 3 % events; the spikes must be equal."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(layer.Conv2d(2, 16, 5, padding=2, bias=False), neuron.LIFNode(), layer.AvgPool2d(2)),
        *(layer.Conv2d(16, 32, 3, padding=1, bias=False), neuron.LIFNode(), layer.AvgPool2d(2)),
        *(layer.Flatten(), layer.Linear(32 * 8 * 8, 10, bias=False), neuron.LIFNode()),
    ).eval()
    for parameter in network.parameters():  # as they are initialised nothing fires
        parameter.data.mul_(12).add_(0.03)
    functional.set_step_mode(network, "m")
    rng = np.random.default_rng(0)
    frames = (rng.random((SAMPLES_2D, STEPS_2D, 2, 34, 34)) < 0.03).astype(np.float32)
    prepared = reference.prepare(load(to_nir(network, frames.shape[2:])), "float32")
    lengths, x = np.full(SAMPLES_2D, STEPS_2D), torch.from_numpy(frames).transpose(0, 1).contiguous()

    def by_torch() -> torch.Tensor:
        functional.reset_net(network)
        with torch.no_grad():
            return network(x)

    def by_us() -> np.ndarray:
        return reference.simulate(prepared, frames, lengths).output

    spikes = by_torch().transpose(0, 1).numpy()
    ours, theirs = alternate(repeats, by_us, by_torch)
    differ = int((spikes != by_us()).sum())
    return {"reference_seconds": ours, "spikingjelly_seconds": theirs, "ratio": theirs / ours} | {
        "spikes": int(spikes.sum()),
        "spikes_that_differ": differ,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, help="trained network (default: random weights, which spike less)")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument(
        "--memory-samples",
        type=int,
        default=engine.LARGE_SAMPLES,
        help="utterances of the run whose memory is measured",
    )


def work(arguments: argparse.Namespace) -> Result:
    peak = engine.peak_memory_mb(arguments.memory_samples)  # first: before other children hold more
    found = {"peak_memory_mb": peak, "peak_memory_samples": arguments.memory_samples}
    found |= inference(arguments.checkpoint, arguments.repeats) | engine.layers_against_peers(arguments.repeats)
    rows = {
        "convolutional": convolutional(arguments.repeats),
        "training_step": training(arguments.repeats),
    }
    against_peers = ", ".join(f"{name} {found[f'mlp_vs_{name}']:.2f}" for name in engine.PEERS)
    text = (
        f"batch {BATCH}, {STEPS} steps, times as fast as SpikingJelly {found['reference_vs_spikingjelly']:.2f}, "
        f"as it split over processes {found['reference_vs_spikingjelly_split']:.2f}\n"
        f"times as long: as its products in BLAS {found['reference_vs_gemm_floor']:.2f}, integers as float "
        f"{found['integer_vs_float']:.2f}; time grows with the steps to the power of {found['growth_steps']:.3f}, "
        f"from 500 on {found['growth_steps_from_500']:.3f}\n"
        f"{arguments.memory_samples} utterances of preset ssc, two blocks: at most {peak:.0f} MB\n"
        f"{'-'.join(map(str, engine.SIZES))}, times as fast: {against_peers}\n"
        f"convolutional network, {SAMPLES_2D} samples of {STEPS_2D} steps of 2 x 34 x 34: "
        f"{rows['convolutional']['ratio']:.2f} times as fast, {rows['convolutional']['spikes_that_differ']} of "
        f"{rows['convolutional']['spikes']} spikes differ\n"
        f"training step, same batch: compiled LIF {rows['training_step']['ratio']:.2f} times as fast"
    )
    environment = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch_threads": torch.get_num_threads(),
        **checkpoint.versions(),
    }
    result = found | {f"{name}_{key}": value for name, row in rows.items() for key, value in row.items()} | environment
    results.add(result)
    return Result(result, text)


main = Command(
    door="benchmarks.simulator",
    description="Our simulator and our compiled LIF against SpikingJelly's.",
    example="--repeats 20",
    add_arguments=add_arguments,
    work=work,
)

if __name__ == "__main__":
    sys.exit(main())
