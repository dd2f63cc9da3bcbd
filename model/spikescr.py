"""SpikeSCR: a spiking transformer for speech commands.

Wang et al., "Efficient Speech Command Recognition Leveraging Spiking Neural Networks and Progressive Time-scaled
Curriculum Distillation", Neural Networks 2025 (arXiv 2412.12858). Tensors are [T, B, C] (steps, samples, channels).

    embed   : Conv1d over time (k = 3, bias) -> BN -> LIF
    blocks  : x + attention(x), x + mlp1(x), x + convolution(x), x + mlp2(x)
    head    : Linear without bias, logits per step; the class is argmax of sum over steps of softmax(logits)

The configuration switches parts off and on: PLIF for LIF, blocks of attention and mlp1 alone, batch normalisation,
LayerNorm at the entry of each branch, a LIF before the head (networks/configuration.py).

Every submodule's name is the name of its node in the NIR file, its trace and its row in the report.

Two rules make a sample's output independent of its batch and its padding: membrane potentials run along the time of one
sample, and whatever looks at other steps (convolutions, attention) sees zeros outside the window 0 .. length - 1.
"""

from __future__ import annotations

from neurotarget.model.networks.attentions import ATTENTION_CLASSES
from neurotarget.model.networks.configuration import SpikeSCRConfig
from neurotarget.model.networks.normalisation import Entry, batch_norm
from neurotarget.model.networks.parts import (
    ConvUnit,
    Gate,
    Linear,
    Unit,
    activation,
    begun,
    dropped,
    normalise,
    published_dropout,
    readout,
)
from neurotarget.model.networks.twin import SoftmaxAttention
from spikingjelly.activation_based import layer
from torch import Tensor, nn

__all__ = ["SpikeSCR", "SpikeSCRConfig", "readout"]


class MLP(nn.Module):
    """Two units without bias."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        self.hidden = Unit(config, config.width, config.hidden, bias=False)
        self.output = Unit(config, config.hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.hidden(x))


class GatedConvolution(nn.Module):
    """Separable gated convolution. The paper's pointwise map d -> 2d is held as its two halves, `value` and `gate`."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width = config.width
        self.expand = Unit(config, width, width, bias=True)
        self.depthwise = ConvUnit(config, width, config.kernel, groups=width, bias=False)
        self.value = Linear(width, width, bias=True)
        self.value_norm = batch_norm(config, width)
        self.gate = Unit(config, width, width, bias=True, published_dropout=False)
        self.gate_output = Unit(config, width, width, bias=True, published_dropout=False, of_gate=True)
        self.product, self.product_lif = Gate(), activation(config)
        self.dropout = layer.Dropout(config.dropout, step_mode="m")

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.depthwise(self.expand(x), mask)
        value = normalise(self.value_norm, self.value(x))
        gate = self.gate_output(self.gate(x))
        return self.dropout(self.product_lif(self.product(value, gate)))


class Block(nn.Module):
    """Four residual branches, or the first two: the stream is a sum of spikes, small integers."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        self.attention = SoftmaxAttention(config) if config.twin else ATTENTION_CLASSES[config.attention](config)
        self.mlp1 = MLP(config)
        self.whole = config.block_type == "spikescr"
        if self.whole:
            self.convolution = GatedConvolution(config)
            self.mlp2 = MLP(config)
        self.entries = nn.ModuleDict()
        if config.layer_normalisation:
            self.entries["attention"] = Entry(config.width, activation(config))
            others = ("mlp1", "convolution", "mlp2") if self.whole else ("mlp1",)
            self.entries.update({branch: Entry(config.width) for branch in others})

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attention(self._entered("attention", x), mask)
        x = x + self.mlp1(self._entered("mlp1", x))
        if not self.whole:
            return x
        x = x + self.convolution(self._entered("convolution", x), mask)
        return x + self.mlp2(self._entered("mlp2", x))

    def _entered(self, branch: str, x: Tensor) -> Tensor:
        return self.entries[branch](x) if branch in self.entries else x


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
        self.final_lif = activation(config) if config.final_lif else nn.Identity()
        self.head_dropout = published_dropout(config)
        self.head = layer.Linear(config.width, config.classes, bias=False, step_mode="m")

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [T, B, classes], zero outside each sample's window.

        Args:
            frames: [B, T, C] in the precision of the parameters.
            lengths: int64 [B], steps of each sample; all T when left out.

        Raises:
            ValueError: wrong number of dimensions or features.
        """
        x, mask = begun(self, self.config.features, frames, lengths)
        x = self.embed(x, mask)
        for block in self.blocks:
            x = block(x, mask)
        logits = self.head(dropped(self.head_dropout, self.final_lif(x)))
        return logits if mask is None else logits * mask
