"""Eight networks of snnTorch: its five neurons, its resets, states in the module and states handed around."""

from __future__ import annotations

from collections.abc import Callable

import snntorch
import torch
from snntorch import surrogate, utils
from torch import nn

from tests.conversion.frameworks import Row, louder

STEPS = 12


class Loop(nn.Module):
    """The loop over time of snnTorch's tutorials: frames [steps, samples, ...], states handed around."""

    def __init__(self, make: Callable[[int], nn.Module], read: str = "spk") -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 16), make(16)
        self.fc2, self.lif2 = nn.Linear(16, 4), make(4)
        self.read = read

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states1, states2 = ([state] if isinstance(state, torch.Tensor) else list(state) for state in self.start())
        spikes, potentials = [], []
        for step in range(x.size(0)):
            spk1, *rest = self.lif1(self.fc1(x[step]), *states1)
            states1 = rest if len(rest) == len(states1) else [spk1, *rest]
            spk2, *rest = self.lif2(self.fc2(spk1), *states2)
            states2 = rest if len(rest) == len(states2) else [spk2, *rest]
            spikes.append(spk2)
            potentials.append(rest[-1])
        return torch.stack(spikes if self.read == "spk" else potentials)

    def start(self) -> tuple[torch.Tensor | tuple[torch.Tensor, ...], ...]:
        return self.lif1.reset_mem(), self.lif2.reset_mem()


class Shown(nn.Module):
    """One frame, shown at every step, to neurons that hold their states: snnTorch's first tutorial on training."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            snntorch.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero"),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 5),
            snntorch.Leaky(beta=0.9, init_hidden=True, reset_mechanism="zero", output=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        utils.reset(self.net)
        spikes = []
        for _ in range(STEPS):
            spk, _mem = self.net(x)
            spikes.append(spk)
        return torch.stack(spikes)


def loop(make: Callable[[int], nn.Module], read: str = "spk", factor: float = 3.0) -> nn.Module:
    torch.manual_seed(0)
    return louder(Loop(make, read), factor)


def shown() -> nn.Module:
    torch.manual_seed(0)
    return louder(Shown())


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    beta, grad = 0.8, surrogate.fast_sigmoid()
    return louder(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            snntorch.RLeaky(beta, conv2d_channels=4, kernel_size=3, spike_grad=grad, init_hidden=True),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 4),
            snntorch.Leaky(beta, spike_grad=grad, init_hidden=True, reset_mechanism="zero", output=True),
        ),
        2,
    )


def learned(width: int) -> nn.Module:
    beta, threshold = 0.5 + 0.5 * torch.rand(width), 0.5 + torch.rand(width)
    return snntorch.Leaky(beta, threshold, learn_beta=True, learn_threshold=True, reset_mechanism="zero")


def at_once(width: int) -> nn.Module:
    return snntorch.Leaky(0.8, 0.5 if width == 4 else 1.6, reset_delay=False)


def read_out(width: int) -> nn.Module:
    return snntorch.Synaptic(alpha=0.7, beta=0.8, reset_mechanism="none" if width == 4 else "subtract")


def recurrent(width: int) -> nn.Module:
    return snntorch.RSynaptic(alpha=0.6, beta=0.9, linear_features=width)


def to_itself(width: int) -> nn.Module:
    weight = torch.rand(width)
    return snntorch.RLeaky(0.9, V=weight, all_to_all=False, reset_mechanism="zero", reset_delay=False)


def mixed(width: int) -> nn.Module:
    return snntorch.Lapicque(beta=0.8) if width == 4 else to_itself(width)


ROWS = [
    Row("Leaky, reset by subtraction, states handed around", lambda: loop(lambda n: snntorch.Leaky(0.9)), (6,)),
    Row(
        "Leaky, reset to zero, beta and threshold learned per neuron",
        lambda: loop(learned),
        (6,),
        no_integers="neurons differ in time constant",
    ),
    Row("Leaky, reset_delay=False", lambda: loop(at_once, factor=1.0), (6,)),
    Row("Synaptic, the last one's mem as read-out", lambda: loop(read_out, "mem"), (6,)),
    Row("RSynaptic, recurrent through a Linear", lambda: loop(recurrent), (6,)),
    Row("RLeaky, each neuron back to itself, Lapicque", lambda: loop(mixed, factor=5), (6,)),
    Row("init_hidden, one frame shown at every step, max pool", shown, (1, 8, 8)),
    Row("RLeaky, recurrent through a Conv2d, in nn.Sequential", convolutional, (2, 6, 6)),
]
