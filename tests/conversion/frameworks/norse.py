"""Six networks of Norse: cells step by step, layers over whole sequences, its sequential containers, loops by hand."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from tests.conversion.frameworks import Row, louder

with warnings.catch_warnings(action="ignore", category=FutureWarning):  # Norse 1.1.0 uses torch.jit.script
    from norse import torch as norse
    from norse.torch.functional.reset import reset_subtract


def parameters(theta: float = 0.3, **changes: float) -> norse.LIFParameters:
    """Time constants other than Norse's own, which are powers of a step."""
    found = {"tau_mem_inv": 130.0, "tau_syn_inv": 210.0, "v_th": theta} | changes
    return norse.LIFParameters(**{key: torch.as_tensor(value) for key, value in found.items()})


class Loop(nn.Module):
    """Cells called step by step, each handed its own state."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.first = nn.Linear(6, 16), norse.LIFCell(parameters())
        self.between, self.second = (
            nn.Linear(16, 8),
            norse.LIFBoxCell(norse.LIFBoxParameters(v_th=torch.as_tensor(0.2))),
        )
        self.out, self.read = nn.Linear(8, 3), norse.LICell()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = second = read = None
        found = []
        for step in range(x.shape[0]):
            z, first = self.first(self.into(x[step]), first)
            z, second = self.second(self.between(z), second)
            v, read = self.read(self.out(z), read)
            found.append(v)
        return torch.stack(found)


def loop() -> nn.Module:
    torch.manual_seed(0)
    return louder(Loop())


def cells() -> nn.Module:
    torch.manual_seed(0)
    fires = norse.LIFCell(parameters()), norse.LIFCell(parameters(0.2))
    return louder(norse.SequentialState(nn.Linear(6, 16), fires[0], nn.Linear(16, 4), fires[1]))


def sequences() -> nn.Module:
    torch.manual_seed(0)
    fires = norse.LIF(parameters()), norse.LIF(parameters(0.2, v_reset=-0.1), dt=0.002)
    return louder(
        norse.SequentialState(nn.Linear(6, 16), fires[0], nn.Linear(16, 8), fires[1], nn.Linear(8, 3), norse.LI())
    )


def recurrent() -> nn.Module:
    torch.manual_seed(0)
    cells = norse.LIFRecurrentCell(6, 16, parameters()), norse.LIFRecurrentCell(16, 4, parameters(0.2))
    return norse.SequentialState(*cells)


def recurrent_sequences() -> nn.Module:
    torch.manual_seed(0)
    layers = norse.LIFRecurrent(6, 16, parameters()), norse.Lift(nn.Linear(16, 3)), norse.LI()
    return norse.SequentialState(*layers)


def maps() -> nn.Module:
    torch.manual_seed(0)
    box = norse.LIFBoxParameters(v_th=torch.as_tensor(0.1), reset_method=reset_subtract)
    leaks = parameters(0.3, v_leak=0.1)
    network = norse.SequentialState(
        nn.Conv2d(2, 4, 3), norse.LIFBoxCell(box), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 4), norse.LIFCell(leaks)
    )
    return louder(network)


ROWS = [
    Row("LIFCell, LIFBoxCell and LICell, states handed around", loop, (6,)),
    Row("SequentialState of cells", cells, (6,)),
    Row("SequentialState of LIF and LI over sequences, v_reset, dt", sequences, (6,)),
    Row("LIFRecurrentCell", recurrent, (6,)),
    Row("LIFRecurrent and Lift", recurrent_sequences, (6,)),
    Row("convolution, LIFBox with reset_subtract, v_leak", maps, (2, 6, 6)),
]
