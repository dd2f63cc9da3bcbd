"""What the networks are made of. Tensors are [T, B, C] (steps, samples, channels)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from neurotarget.model.kernels import events
from neurotarget.model.kernels.depthwise import depthwise
from neurotarget.model.kernels.turn import turn
from neurotarget.model.networks.configuration import Configuration, SpikeSCRConfig
from neurotarget.model.networks.neuron import FusedLIFNode, FusedPLIFNode, normalised_spikes, single
from neurotarget.model.networks.normalisation import batch_norm
from spikingjelly.activation_based import functional, layer, surrogate
from torch import Tensor, nn


def begun(network: nn.Module, features: int, frames: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Resets the neurons of a network; its input [T, B, C], and the windows [T, B, 1] as 0 and 1 if any is shorter.

    Args:
        frames: [B, T, C].
        lengths: int64 [B], steps of each sample; all T when left out.

    Raises:
        ValueError: wrong number of dimensions or features.
    """
    if frames.dim() != 3 or frames.shape[-1] != features:
        raise ValueError(f"frames have shape {tuple(frames.shape)}; [B, T, {features}] is expected")
    functional.reset_net(network)
    x = frames.transpose(0, 1)
    # Asking a GPU makes it wait, which what is captured or compiled cannot: it has its windows in any case.
    fixed = torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing())
    if lengths is None or not (fixed or bool((lengths < len(x)).any())):
        return x, None
    return x, windows(x, lengths).to(x)


def windows(x: Tensor, lengths: Tensor) -> Tensor:
    """Which steps of [T, B, C] are in each sample's window, [T, B, 1]."""
    return (torch.arange(len(x), device=x.device)[:, None] < moved(lengths, x.device))[..., None]


def moved(values: Tensor, device: torch.device) -> Tensor:
    """The same on a device; a GPU copies from pinned memory when it comes to it, and is not waited for."""
    from_here = values.device.type == "cpu" and device.type == "cuda"
    return values.pin_memory().to(device, non_blocking=True) if from_here else values.to(device)


def readout(logits: Tensor, lengths: Tensor | None = None, how: str = "softmax_sum") -> Tensor:
    """Scores of each class over the window's steps: [T, B, classes] -> [B, classes].

    Args:
        how: one of `READOUTS`: the sum of softmax(logits), the mean, the largest or the sum of the logits.
    """
    inside = None if lengths is None else windows(logits, lengths)
    if how == "max":
        return (logits if inside is None else logits.masked_fill(~inside, -math.inf)).max(dim=0).values
    values = logits.softmax(dim=-1) if how == "softmax_sum" else logits
    total = (values if inside is None else values * inside).sum(dim=0)
    return total / (len(logits) if inside is None else inside.sum(dim=0)) if how == "mean" else total


def spiking(config: Configuration) -> FusedLIFNode | FusedPLIFNode:
    """The neuron of a configuration: reset to 0, the input does not decay, an ATan surrogate gradient."""
    common: dict[str, Any] = {
        "decay_input": False,
        "v_threshold": config.threshold,
        "v_reset": 0.0,
        "surrogate_function": surrogate.ATan(alpha=config.alpha),
        "detach_reset": True,
        "step_mode": "m",
    }
    if config.neuron == "plif":
        return FusedPLIFNode(init_tau=float(config.tau), **common)
    return FusedLIFNode(tau=config.tau, **common)


def activation(config: Configuration) -> nn.Module:
    """What follows a layer: the neuron, or in a twin a ReLU."""
    return nn.ReLU() if config.twin else spiking(config)


def published_dropout(config: SpikeSCRConfig) -> layer.Dropout | None:
    """A dropout that the public code alone has; None where the configuration does not follow it."""
    return layer.Dropout(config.dropout, step_mode="m") if config.dropout_sites == "published" else None


def dropped(dropout: nn.Module | None, x: Tensor) -> Tensor:
    """The same where there is no dropout."""
    return x if dropout is None else dropout(x)


class Linear(layer.Linear):
    """Linear map of each step of [T, B, C]; in training on a processor, what is zero costs nothing."""

    def __init__(self, channels_in: int, channels_out: int, bias: bool) -> None:
        super().__init__(channels_in, channels_out, bias=bias, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        # Evaluation keeps torch's order of summation, which the parity of exports is judged by.
        if self.training and events.pays(x, self.weight):
            return events.weigh(x, self.weight[..., None], self.bias)
        return self.by_torch(x)

    def by_torch(self, x: Tensor) -> Tensor:
        """The same through torch, wherever the compiled pass does not apply."""
        product: Tensor = super().forward(x)
        return product


class TemporalConv(nn.Conv1d):
    """Convolution along the steps of [T, B, C], zeros beyond its ends; `causal` puts all taps in the past."""

    def __init__(self, channels_in: int, channels_out: int, taps: int, groups: int, bias: bool, causal: bool) -> None:
        super().__init__(channels_in, channels_out, taps, groups=groups, bias=bias)
        self.look_ahead = 0 if causal else taps // 2

    def forward(self, x: Tensor) -> Tensor:
        # In training only, as of a linear map.
        if self.training and self.groups == 1 and events.pays(x, self.weight):
            return events.weigh(x, self.weight, self.bias, self.look_ahead)
        if self.training and x.device.type == "cpu" and self.groups == self.in_channels and self.bias is None:
            return depthwise(x, self.weight, self.look_ahead)
        return self.by_torch(x)

    def by_torch(self, x: Tensor) -> Tensor:
        """The same through torch, wherever the compiled pass does not apply."""
        taps = self.kernel_size[0]
        x = F.pad(x.permute(1, 2, 0), (taps - 1 - self.look_ahead, self.look_ahead))
        return super().forward(x).permute(2, 0, 1)


class Unit(nn.Module):
    """Linear -> BN -> LIF -> dropout, but none where the public code has none and the configuration follows it.

    Args:
        published_dropout: whether it has one here.
        of_gate: whether it is the gate's second map, see `batch_norm`.
    """

    def __init__(
        self,
        config: SpikeSCRConfig,
        channels_in: int,
        channels_out: int,
        bias: bool,
        published_dropout: bool = True,
        of_gate: bool = False,
    ) -> None:
        super().__init__()
        drops = published_dropout or config.dropout_sites == "every_unit"
        self.linear = Linear(channels_in, channels_out, bias)
        self.norm = batch_norm(config, channels_out, of_gate)
        self.lif = activation(config)
        self.dropout = layer.Dropout(config.dropout if drops else 0.0, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        return normalised_spikes(self.norm, self.lif, self.dropout, self.linear(x))


class ConvUnit(nn.Module):
    """Convolution over time -> BN -> LIF -> dropout; with one group, the embedding."""

    def __init__(self, config: SpikeSCRConfig, channels_in: int, taps: int, groups: int, bias: bool) -> None:
        super().__init__()
        self.conv = TemporalConv(channels_in, config.width, taps, groups, bias, config.causal)
        self.norm = batch_norm(config, config.width, embedding_or_gate=groups == 1)
        self.lif = activation(config)
        self.dropout = layer.Dropout(config.dropout, step_mode="m")

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.conv(x if mask is None else x * mask)
        return normalised_spikes(self.norm, self.lif, self.dropout, x)


def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    """Batch normalisation, if any, per channel over steps and samples of [T, B, C]."""
    normalised: Tensor = norm(single(x).contiguous())
    return normalised


class Rotary(nn.Module):
    """Rotary position (RoFormer, arXiv 2104.09864, equation 34): neighbouring channels of a head turn by step * angle.

    Args:
        angle: radians per step of every pair of a head, [d_head / 2]; shared by queries and keys, not trained.
    """

    def __init__(self, angle: nn.Parameter, heads: int) -> None:
        super().__init__()
        self.angle, self.heads = angle, heads

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.device.type == "cpu":
            return turn(x, *self._cos_and_sin(x))
        return self.by_torch(x)

    def by_torch(self, x: Tensor) -> Tensor:
        """The same through torch, wherever the compiled pass does not apply."""
        cos, sin = (value[:, None] for value in self._cos_and_sin(x))
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)

    def _cos_and_sin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of each step and pair, [T, C / 2]."""
        steps = torch.arange(len(x), dtype=torch.float64, device=x.device)
        # Angles are multiplied in double precision: step * angle in float32 would lose three digits at step 500.
        angles = steps[:, None] * self.angle.double().repeat(self.heads)
        return torch.cos(angles).to(x), torch.sin(angles).to(x)


def rotary_angle(size: int, base: float = 10000.0) -> nn.Parameter:
    """RoFormer, equation 15: angle of pair i is base^(-2i / size)."""
    # On the processor, whatever the device of the rest: on `meta` torch.arange would load a compiler, in 1.7 s.
    pairs = torch.arange(0, size, 2, dtype=torch.float32, device="cpu")
    return nn.Parameter(base ** (-pairs / size), requires_grad=False)


class Product(nn.Module):
    """(q k^T) v / sqrt(d_head) without softmax, computed as q (k^T v): exact, and linear in the number of steps."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.scale = 1 / math.sqrt(width // heads)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query, key, value = (x.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3) for x in (query, key, value))
        if self.causal:
            out = torch.tril(query @ key.transpose(-1, -2)) @ value
        else:
            out = query @ (key.transpose(-1, -2) @ value)
        return out.permute(2, 0, 1, 3).flatten(-2) * self.scale


class Gate(nn.Module):
    """A real current passes where the gate spikes."""

    def forward(self, current: Tensor, gate: Tensor) -> Tensor:
        return current * gate
