"""SpikeSCR's attention and those that its paper compares with, each from its own paper, in its place.

=================  ===================================================================================================
`spikformer`       SSA: Zhou et al., "Spikformer", ICLR 2023 (arXiv 2209.15425), section 3.3
`spikformer_tim`   the same with queries from TIM: Shen et al., "TIM", IJCAI 2024 (arXiv 2401.11687)
`sdsa`             Yao et al., "Spike-driven Transformer", NeurIPS 2023 (arXiv 2307.01694), section 3.2
`qk_token`         Q-K token attention: Zhou et al., "QKFormer", NeurIPS 2024 (arXiv 2403.16552), section 3
`qk_channel`       Q-K channel attention of the same paper
=================  ===================================================================================================

Tensors are [T, B, C] (steps, samples, channels); a token is a step of the utterance, as in SpikeSCR, so a spiking
neuron runs along the tokens. docs/backbones.md says what that changes against the papers. SN is the network's LIF.
"""

from __future__ import annotations

import dataclasses

import torch
from neurotarget.model.networks.configuration import SpikeSCRConfig
from neurotarget.model.networks.neuron import FusedLIFNode, FusedPLIFNode
from neurotarget.model.networks.parts import (
    Gate,
    Product,
    Rotary,
    Unit,
    dropped,
    published_dropout,
    rotary_angle,
    spiking,
)
from torch import Tensor, nn

TIM_TAPS = 5  # of the convolution, and the thresholds: the TIM paper's published code
TIM_INPUT_THRESHOLD, TIM_OUTPUT_THRESHOLD = 0.3, 0.5
# Share of the past, alpha. At one half past and present weigh the same and reach the neuron without synapses, so that
# the loop has one synapse only and streams on a chip without waiting.
TIM_SHARE = 0.5


def passing(config: SpikeSCRConfig) -> Unit:
    """Of queries, keys and values: the public code drops none of them."""
    return Unit(config, config.width, config.width, bias=True, published_dropout=False)


class Attention(nn.Module):
    """Spiking self-attention with rotary positions."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.query, self.key, self.value = (passing(config) for _ in range(3))
        angle = rotary_angle(width // heads)
        self.query_rotary, self.query_lif = Rotary(angle, heads), spiking(config)
        self.key_rotary, self.key_lif = Rotary(angle, heads), spiking(config)
        self.product, self.product_lif = Product(width, heads, config.causal), spiking(config)
        self.product_dropout = published_dropout(config)
        self.output = Unit(config, width, width, bias=True)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        query = self.query_lif(self.query_rotary(self.query(x)))
        key = self.key_lif(self.key_rotary(self.key(x)))
        product = self.product(query, key if mask is None else key * mask, self.value(x))
        return self.output(dropped(self.product_dropout, self.product_lif(product)))


class Ones(nn.Module):
    """One at every step and channel: what a neuron with a bias and no input sends."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


class TokenSum(nn.Module):
    """Sum over the tokens, per channel: [T, B, C] -> [T, B, C], the same at every step.

    Args:
        causal: sum over the steps so far only.
    """

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.ones = Ones()

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x if mask is None else x * mask
        total = x.cumsum(dim=0) if self.causal else x.sum(dim=0, keepdim=True)
        return total * self.ones(x)


class HeadSum(nn.Module):
    """Sum over the channels of a head: [T, B, C] -> [T, B, heads]."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).sum(dim=-1)


class HeadSpread(nn.Module):
    """The value of a head for each of its channels: [T, B, heads] -> [T, B, C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.width // x.shape[-1], dim=-1)


class SpikformerAttention(nn.Module):
    """SSA: SN(Q K^T V s), then SN(BN(Linear)); no rotary position.

    Spikformer leaves s open; it is 1/sqrt(d_head) here, as in SpikeSCR, so that the two differ in the position only.
    """

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width = config.width
        self.query, self.key, self.value = (passing(config) for _ in range(3))
        self.product, self.product_lif = Product(width, config.heads, config.causal), spiking(config)
        self.product_dropout = published_dropout(config)
        self.output = Unit(config, width, width, bias=True)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.attend(self.query(x), self.key(x), self.value(x), mask)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        product = self.product(query, key if mask is None else key * mask, value)
        return self.output(dropped(self.product_dropout, self.product_lif(product)))


class TemporalInteraction(nn.Module):
    """TIM: Q'[t] = SN(alpha SN(f(Q'[t-1])) + (1 - alpha) Q[t]), [T, B, C] spikes to spikes.

    f is a convolution along the channels of a head, its kernel shared by all heads. Nothing precedes step 0: there the
    inner neuron is silent, and Q'[0] = Q[0], because (1 - alpha) reaches the threshold of the outer one.
    """

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.past = nn.Conv1d(1, 1, TIM_TAPS, padding=TIM_TAPS // 2)
        self.past_lif = spiking(dataclasses.replace(config, threshold=TIM_INPUT_THRESHOLD))
        self.output_lif = spiking(dataclasses.replace(config, threshold=TIM_OUTPUT_THRESHOLD))

    def forward(self, query: Tensor) -> Tensor:
        currents = []
        spikes = past = past_v = output_v = torch.zeros_like(query[0])
        for step, present in enumerate(query):
            if step:
                past, past_v = lif_step(self.past_lif, past_v, self.interact(spikes))
            currents.append(TIM_SHARE * past + (1 - TIM_SHARE) * present)
            spikes, output_v = lif_step(self.output_lif, output_v, currents[-1])
        # Each neuron sees its whole utterance in one call as everywhere else, so that whoever records layers sees it
        # too. The gradient is that of the loop: it flows through the currents.
        output: Tensor = self.output_lif(torch.stack(currents))
        with torch.no_grad():
            self.past_lif(self.interact(output))
        return output

    def interact(self, x: Tensor) -> Tensor:
        """f of spikes [..., C]."""
        heads = x.reshape(-1, 1, x.shape[-1] // self.heads)
        return self.past(heads).reshape(x.shape)


def lif_step(node: FusedLIFNode | FusedPLIFNode, v: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
    """One step of a neuron that starts at potential v and resets to zero: spikes and potential."""
    v = v * node.decay + current
    spikes = node.surrogate_function(v - node.v_threshold)
    return spikes, v * (1 - spikes.detach())


class InteractingAttention(SpikformerAttention):
    """Spikformer's attention with the queries of TIM."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__(config)
        self.interaction = TemporalInteraction(config)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.attend(self.interaction(self.query(x)), self.key(x), self.value(x), mask)


class SpikeDrivenAttention(nn.Module):
    """SDSA: SN(sum over tokens of Q * K) * V with products of single elements, then SN(BN(Linear))."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width = config.width
        self.query, self.key, self.value = (passing(config) for _ in range(3))
        self.total, self.gate_lif = TokenSum(config.causal), spiking(config)
        self.product = Gate()
        self.output = Unit(config, width, width, bias=True)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        total = self.total(self.query(x) * self.key(x), mask)
        return self.output(self.product(self.value(x), self.gate_lif(total)))


class TokenAttention(nn.Module):
    """Token attention per head: SN(sum over channels of Q) * K, then SN(BN(Linear)). A head passes a step or not."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width = config.width
        self.query, self.key = (passing(config) for _ in range(2))
        self.total, self.gate_lif = HeadSum(config.heads), spiking(config)
        self.spread, self.product = HeadSpread(width), Gate()
        self.output = Unit(config, width, width, bias=True)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        gate = self.spread(self.gate_lif(self.total(self.query(x))))
        return self.output(self.product(self.key(x), gate))


class ChannelAttention(nn.Module):
    """Q-K channel attention: SN(sum over tokens of Q) * K, then SN(BN(Linear)). A channel passes or not."""

    def __init__(self, config: SpikeSCRConfig) -> None:
        super().__init__()
        width = config.width
        self.query, self.key = (passing(config) for _ in range(2))
        self.total, self.gate_lif = TokenSum(config.causal), spiking(config)
        self.product = Gate()
        self.output = Unit(config, width, width, bias=True)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.output(self.product(self.key(x), self.gate_lif(self.total(self.query(x), mask))))


# `attention` of a SpikeSCRConfig -> class: [T, B, width] and the windows [T, B, 1] or None to [T, B, width]
ATTENTION_CLASSES: dict[str, type[nn.Module]] = {
    "spikescr": Attention,
    "spikformer": SpikformerAttention,
    "spikformer_tim": InteractingAttention,
    "sdsa": SpikeDrivenAttention,
    "qk_token": TokenAttention,
    "qk_channel": ChannelAttention,
}
