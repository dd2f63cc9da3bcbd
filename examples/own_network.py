"""A SpikingJelly network, trained for a moment, to a NIR file and a verdict. Needs the extra `train`.

python examples/own_network.py
"""

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurotarget

STEPS, FEATURES, CLASSES = 20, 16, 4


def samples(count, seed):
    """Class k fires on its own quarter of the features: counts [count, STEPS, FEATURES] and labels [count]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    own = np.arange(FEATURES) // (FEATURES // CLASSES) == labels[:, None]
    return rng.poisson(np.where(own, 0.6, 0.2)[:, None], (count, STEPS, FEATURES)).astype(np.float32), labels


torch.manual_seed(0)
network = nn.Sequential(
    layer.Linear(FEATURES, 32, step_mode="m"),
    neuron.LIFNode(step_mode="m"),
    layer.Linear(32, CLASSES, step_mode="m"),
)
optimizer = torch.optim.Adam(network.parameters(), 0.01)
frames, labels = samples(256, seed=0)
for _ in range(30):
    output = network(torch.from_numpy(frames).transpose(0, 1))  # [steps, samples, features], as SpikingJelly has it
    loss = nn.functional.cross_entropy(output.mean(0), torch.from_numpy(labels))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    functional.reset_net(network)
print(f"trained: loss {loss.item():.3f}")

frames, labels = samples(64, seed=1)
neurotarget.export(network, frames, "network.nir", dt=1e-3)  # raises where one spike of the file's differs
neurotarget.quantize("network.nir", frames, "network.q.nir", labels=labels)
report = neurotarget.report("network.nir", frames, "report", labels=labels, network=network, lava_samples=0)
for row in report.verdict.rows:
    print(f"{row.question} {row.answer}")
print(report.verdict.headline)
