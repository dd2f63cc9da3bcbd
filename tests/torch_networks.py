"""Small SpikingJelly networks whose layers all spike."""

import torch
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from spikingjelly.activation_based import layer, neuron
from torch import nn


def lively(network: nn.Module) -> nn.Module:
    """Spreads the statistics of batch normalisation so that every layer spikes, as after training."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.05, 0.2)
                module.weight.uniform_(0.5, 1.0)
                module.bias.uniform_(0.0, 0.6)
    return network.eval()


def tiny(seed: int = 0, **changes) -> SpikeSCR:
    torch.manual_seed(seed)
    return lively(SpikeSCR(SpikeSCRConfig.preset("tiny", **changes)))


def lif(tau: float = 2.0, decay_input: bool = False, reset: float | None = 0.0, theta: float = 1.0) -> neuron.LIFNode:
    return neuron.LIFNode(tau=tau, decay_input=decay_input, v_reset=reset, v_threshold=theta, step_mode="m")


def dense(seed: int = 0) -> tuple[nn.Sequential, tuple[int, ...]]:
    torch.manual_seed(seed)
    return (
        lively(
            nn.Sequential(
                layer.Linear(6, 10, step_mode="m"),
                layer.BatchNorm1d(10, step_mode="m"),
                lif(),
                layer.Dropout(0.3, step_mode="m"),
                layer.Linear(10, 8, bias=False, step_mode="m"),
                neuron.IFNode(step_mode="m", v_threshold=0.7),
                layer.Linear(8, 5, step_mode="m"),
                neuron.ParametricLIFNode(init_tau=3.0, decay_input=False, step_mode="m", v_threshold=0.5),
                layer.Linear(5, 3, step_mode="m"),
                lif(tau=2.5, decay_input=True, theta=0.3),
            )
        ),
        (6,),
    )


def convolutional(seed: int = 0) -> tuple[nn.Sequential, tuple[int, ...]]:
    torch.manual_seed(seed)
    return (
        lively(
            nn.Sequential(
                layer.Conv2d(2, 4, 3, padding=1, stride=2, bias=False, step_mode="m"),
                layer.BatchNorm2d(4, step_mode="m"),
                lif(),
                layer.Conv2d(4, 8, 3, padding=1, groups=2, step_mode="m"),
                lif(theta=0.4),
                layer.AvgPool2d(2, step_mode="m"),
                lif(tau=4.0, theta=0.25),
                layer.Flatten(step_mode="m"),
                layer.Linear(32, 3, step_mode="m"),
            )
        ),
        (2, 8, 8),
    )


def one_dimensional(seed: int = 0) -> tuple[nn.Sequential, tuple[int, ...]]:
    torch.manual_seed(seed)
    return (
        lively(
            nn.Sequential(
                nn.Sequential(layer.Conv1d(3, 6, 5, padding=2, step_mode="m"), layer.BatchNorm1d(6, step_mode="m")),
                lif(),
                layer.Conv1d(6, 4, 3, stride=2, dilation=2, step_mode="m"),
                lif(theta=0.3),
                layer.Flatten(step_mode="m"),
                layer.Linear(16, 2, step_mode="m"),
            )
        ),
        (3, 12),
    )
