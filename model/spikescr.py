"""SpikeSCR: a spiking transformer for speech commands.

Wang et al., "Efficient Speech Command Recognition Leveraging Spiking Neural Networks and Progressive Time-scaled
Curriculum Distillation", Neural Networks 2025 (arXiv 2412.12858). Tensors are [T, B, C] (steps, samples, channels).

    embed   : Conv1d over time (k = 3, bias) -> BN -> LIF
    blocks  : x + attention(x), x + mlp1(x), x + convolution(x), x + mlp2(x)
    head    : Linear without bias, logits a step; the class is argmax of sum over steps of softmax(logits)

Every submodule's name is the name of its node in the NIR file, its trace and its row in the report.

Two rules make a sample's output independent of its batch and its padding: membrane potentials run along the time of one
sample, and whatever looks at other steps (convolutions, attention) sees zeros outside the window 0 .. length - 1.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from neurotarget.model.kernels.depthwise import depthwise
from neurotarget.model.kernels.fused import fire
from neurotarget.model.kernels.neuron import FusedLIFNode
from neurotarget.model.kernels.turn import turn
from spikingjelly.activation_based import functional, layer, surrogate
from torch import Tensor, nn

ATTENTIONS = ("spikescr", "spikformer", "spikformer_tim", "sdsa", "qk_token", "qk_channel")


@dataclasses.dataclass(frozen=True)
class SpikeSCRConfig:
    """Shape and neuron of a SpikeSCR network.

    Attributes:
        features: channels of the input a step.
        width: channels of the residual stream (d).
        heads: attention heads; `width / heads` must be even for the rotary position.
        hidden: channels inside an MLP (h).
        blocks: transformer blocks (L).
        classes: outputs.
        kernel: taps of the depthwise convolution over time.
        tau: membrane time constant in steps.
        threshold: firing threshold.
        alpha: slope of the ATan surrogate gradient.
        dropout: share of channels dropped after a LIF, in training only.
        causal: attention over past keys only, and convolutions that do not look ahead.
        attention: one of `ATTENTIONS`: the paper's own, or one that it compares with (docs/backbones.md).
    """

    features: int = 140
    width: int = 128
    heads: int = 8
    hidden: int = 128
    blocks: int = 1
    classes: int = 20
    kernel: int = 31
    tau: float = 2.0
    threshold: float = 1.0
    alpha: float = 5.0
    dropout: float = 0.1
    causal: bool = False
    attention: str = "spikescr"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # a TOML or a checkpoint may hold anything
            value, wanted = getattr(self, field.name), type(field.default)
            if type(value) is not wanted and not (wanted is float and type(value) is int):
                raise ValueError(f"{field.name} = {value!r}; a {wanted.__name__} is expected")
        for name in ("features", "width", "heads", "hidden", "blocks", "classes", "kernel"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; it must be at least 1")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads of an even size")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel = {self.kernel}; it must be odd")
        if not (1 < self.tau < math.inf and 0 < self.threshold < math.inf and 0 < self.alpha < math.inf):
            raise ValueError("tau must exceed 1 step, threshold and alpha 0, and all three be finite")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout}; it must lie in [0, 1)")
        if self.attention not in ATTENTIONS:
            raise ValueError(f"attention = {self.attention!r}; known are {', '.join(ATTENTIONS)}")

    @classmethod
    def preset(cls, name: str, **changes: object) -> SpikeSCRConfig:
        """A named configuration: `shd`, `ssc`, `gsc` (the paper's) or `tiny` (for tests).

        Raises:
            ValueError: unknown name or field.
        """
        if name not in PRESETS:
            raise ValueError(f"preset {name!r}; known are {', '.join(PRESETS)}")
        fields = {field.name for field in dataclasses.fields(cls)}
        if unknown := set(changes) - fields:
            raise ValueError(f"unknown field {', '.join(sorted(unknown))}; known are {', '.join(sorted(fields))}")
        return cls(**{**PRESETS[name], **changes})  # type: ignore[arg-type]


# Wang et al. 2025, table of configurations.
PRESETS: dict[str, dict[str, int]] = {
    "shd": {"width": 128, "heads": 8, "hidden": 128, "classes": 20},
    "ssc": {"width": 256, "heads": 16, "hidden": 1024, "classes": 35},
    "gsc": {"width": 256, "heads": 16, "hidden": 1024, "classes": 35},
    "tiny": {"features": 12, "width": 16, "heads": 2, "hidden": 24, "classes": 4, "kernel": 5},
}


def spiking(config: SpikeSCRConfig) -> FusedLIFNode:
    return FusedLIFNode(
        tau=config.tau,
        decay_input=False,
        v_threshold=config.threshold,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(alpha=config.alpha),
        detach_reset=True,
        step_mode="m",
    )


class TemporalConv(nn.Conv1d):
    """Convolution along the steps of [T, B, C], zeros beyond its ends; `causal` puts all taps in the past."""

    def __init__(self, channels_in: int, channels_out: int, taps: int, groups: int, bias: bool, causal: bool) -> None:
        super().__init__(channels_in, channels_out, taps, groups=groups, bias=bias)
        self.look_ahead = 0 if causal else taps // 2

    def forward(self, x: Tensor) -> Tensor:
        # Evaluation keeps torch's order of summation, which the parity of exports is judged by.
        if self.training and x.device.type == "cpu" and self.groups == self.in_channels and self.bias is None:
            return depthwise(x, self.weight, self.look_ahead)
        return self.by_torch(x)

    def by_torch(self, x: Tensor) -> Tensor:
        """The same through torch, wherever the compiled pass does not apply."""
        taps = self.kernel_size[0]
        x = F.pad(x.permute(1, 2, 0), (taps - 1 - self.look_ahead, self.look_ahead))
        return super().forward(x).permute(2, 0, 1)


class Unit(nn.Module):
    """Linear -> BN -> LIF -> dropout."""

    def __init__(self, config: SpikeSCRConfig, channels_in: int, channels_out: int, bias: bool) -> None:
        super().__init__()
        self.linear = layer.Linear(channels_in, channels_out, bias=bias, step_mode="m")
        self.norm = layer.BatchNorm1d(channels_out, step_mode="m")
        self.lif = spiking(config)
        self.dropout = layer.Dropout(config.dropout, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        return fire(self.norm, self.lif, self.dropout, self.linear(x))


class ConvUnit(nn.Module):
    """Convolution over time -> BN -> LIF -> dropout."""

    def __init__(self, config: SpikeSCRConfig, channels_in: int, taps: int, groups: int, bias: bool) -> None:
        super().__init__()
        self.conv = TemporalConv(channels_in, config.width, taps, groups, bias, config.causal)
        self.norm = layer.BatchNorm1d(config.width, step_mode="m")
        self.lif = spiking(config)
        self.dropout = layer.Dropout(config.dropout, step_mode="m")

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.conv(x if mask is None else x * mask)
        return fire(self.norm, self.lif, self.dropout, x)


def normalise(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Batch normalisation per channel over steps and samples of [T, B, C]."""
    return norm(x.contiguous())


class Rotary(nn.Module):
    """Rotary position (RoFormer, arXiv 2104.09864, equation 34): neighbouring channels of a head turn by step * angle.

    Args:
        angle: radians a step of every pair of a head, [d_head / 2]; shared by queries and keys, not trained.
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
    return nn.Parameter(base ** (-torch.arange(0, size, 2, dtype=torch.float32) / size), requires_grad=False)


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


class Attention(nn.Module):
    """Spiking self-attention with rotary positions."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.query, self.key, self.value = (Unit(config, width, width, bias=True) for _ in range(3))
        angle = rotary_angle(width // heads)
        self.query_rotary, self.query_lif = Rotary(angle, heads), spiking(config)
        self.key_rotary, self.key_lif = Rotary(angle, heads), spiking(config)
        self.product, self.product_lif = Product(width, heads, config.causal), spiking(config)
        self.output = Unit(config, width, width, bias=True)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query = self.query_lif(self.query_rotary(self.query(x)))
        key = self.key_lif(self.key_rotary(self.key(x)))
        product = self.product(query, key if mask is None else key * mask, self.value(x))
        return self.output(self.product_lif(product))


def chosen_attention(config: SpikeSCRConfig) -> nn.Module:
    """The attention that the configuration names: [T, B, width] and a mask [T, B, 1] or None to [T, B, width]."""
    if config.attention == "spikescr":
        return Attention(config)
    from neurotarget.model.networks.attentions import BACKBONES  # built from the parts of this file

    return BACKBONES[config.attention](config)


class MLP(nn.Module):
    """Two units without bias."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        self.hidden = Unit(config, config.width, config.hidden, bias=False)
        self.output = Unit(config, config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.hidden(x))


class Gate(nn.Module):
    """A real current passes where the gate spikes."""

    def forward(self, current: Tensor, gate: Tensor) -> Tensor:
        return current * gate


class GatedConvolution(nn.Module):
    """Separable gated convolution. The paper's pointwise map d -> 2d is held as its two halves, `value` and `gate`."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width = config.width
        self.expand = Unit(config, width, width, bias=True)
        self.depthwise = ConvUnit(config, width, config.kernel, groups=width, bias=False)
        self.value = layer.Linear(width, width, step_mode="m")
        self.value_norm = layer.BatchNorm1d(width, step_mode="m")
        self.gate = Unit(config, width, width, bias=True)
        self.gate_output = Unit(config, width, width, bias=True)
        self.product, self.product_lif = Gate(), spiking(config)
        self.dropout = layer.Dropout(config.dropout, step_mode="m")

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.depthwise(self.expand(x), mask)
        value = normalise(self.value_norm, self.value(x))
        gate = self.gate_output(self.gate(x))
        return self.dropout(self.product_lif(self.product(value, gate)))


class Block(nn.Module):
    """Four residual branches: the stream is a sum of spikes, small integers."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        self.attention = chosen_attention(config)
        self.mlp1 = MLP(config)
        self.convolution = GatedConvolution(config)
        self.mlp2 = MLP(config)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(x, mask)
        x = x + self.mlp1(x)
        x = x + self.convolution(x, mask)
        return x + self.mlp2(x)


class SpikeSCR(nn.Module):
    """The network.

    Args:
        config: its shape.
    """

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = ConvUnit(config, config.features, 3, groups=1, bias=True)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.head = layer.Linear(config.width, config.classes, bias=False, step_mode="m")

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [T, B, classes], zero outside each sample's window.

        Args:
            frames: [B, T, C] in the precision of the parameters.
            lengths: int64 [B], steps of each sample; all T when left out.

        Raises:
            ValueError: wrong number of dimensions or features.
        """
        if frames.dim() != 3 or frames.shape[-1] != self.config.features:
            raise ValueError(f"frames have shape {tuple(frames.shape)}; [B, T, {self.config.features}] is expected")
        functional.reset_net(self)
        x = frames.transpose(0, 1)
        mask = None
        if lengths is not None and bool((lengths < len(x)).any()):
            mask = (torch.arange(len(x), device=x.device)[:, None] < lengths.to(x.device)).to(x)[..., None]
        x = self.embed(x, mask)
        for block in self.blocks:
            x = block(x, mask)
        logits = self.head(x)
        return logits if mask is None else logits * mask


def readout(logits: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Sum over the window's steps of softmax(logits): [T, B, classes] -> [B, classes]."""
    share = logits.softmax(dim=-1)
    if lengths is not None:
        share = (
            share * (torch.arange(len(logits), device=logits.device)[:, None] < lengths.to(logits.device))[..., None]
        )
    return share.sum(dim=0)
