"""Multiply-accumulates of a trained twin, counted while it computes: a record per layer, exact integers.

Every utterance runs alone at its true length, so no padding is counted, and a convolution's taps beyond the ends of the
utterance are no operations. Zeros are counted where they enter a product: what hardware that skips zeros would leave
out. docs/energy.md says what else the twin computes and is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from neurotarget.hardware.counts.fanout import taps_inside
from neurotarget.model.networks.delays import DelayedLinear
from neurotarget.model.networks.parts import Gate, Rotary, TemporalConv
from neurotarget.model.networks.twin import MatrixProduct, SoftmaxProduct
from neurotarget.model.training import registry
from neurotarget.model.training.evaluation import class_scores
from torch import Tensor, nn
from tqdm import tqdm


@dataclass
class ProductCount:
    """Counts of one layer over all utterances.

    Attributes:
        name: of the module.
        kind: as in `LayerCount`; each product of attention is an `attention` of its own.
        parameters: stored weights and biases, batch normalisation folded into them.
        dense_macs: multiply-accumulates.
        nonzero_macs: of these, the ones in which no activation is zero.
        input_values, zero_values: activations that enter, and how many of them are zero.
        output_values: that come out.
        biases: additions of a bias.
        samples, sample_steps: utterances, and their steps in all.
    """

    name: str
    kind: str
    parameters: int
    dense_macs: int = 0
    nonzero_macs: int = 0
    input_values: int = 0
    zero_values: int = 0
    output_values: int = 0
    biases: int = 0
    samples: int = 0
    sample_steps: int = 0

    @property
    def inputs(self) -> float:
        """Values that enter per step, mean."""
        return self.input_values / self.sample_steps

    @property
    def neurons(self) -> float:
        """Values that come out per step, mean."""
        return self.output_values / self.sample_steps


@dataclass(frozen=True, eq=False)
class TwinRun:
    """What a twin answered, and what that took.

    Attributes:
        counts: of each layer, in the order in which they compute.
        predicted: int64 [samples], class of each utterance.
        exponentials: of the softmax in attention.
    """

    counts: list[ProductCount]
    predicted: np.ndarray
    exponentials: int


@torch.no_grad()
def run_and_count(
    network: registry.Network, frames: np.ndarray, lengths: np.ndarray, progress: bool = False
) -> TwinRun:
    """Runs every utterance and counts.

    Args:
        network: a twin in evaluation mode; one that is quantised has the zeros of its integers.
        frames: [samples, steps, features].
        lengths: int64 [samples].
        progress: show a bar.
    """
    counter = _Counter(network)
    try:
        predicted = []
        bar = tqdm(range(len(frames)), desc="twin", unit="sample", disable=None if progress else True)
        for row in bar:
            length = lengths[row : row + 1]
            counter.begin(int(length[0]))
            predicted.append(int(class_scores(network, frames[row : row + 1, : length[0]], length).argmax()))
    finally:
        counter.remove()
    return TwinRun(list(counter.counts.values()), np.array(predicted, np.int64), counter.exponentials)


Rule = Callable[[nn.Module, tuple[Tensor, ...]], tuple[int, int]]  # dense and non-zero multiply-accumulates


class _Counter:
    """Hooks on every module that multiplies."""

    def __init__(self, network: nn.Module) -> None:
        self.counts: dict[str, ProductCount] = {}
        self.exponentials = self.steps = 0
        self.last: ProductCount | None = None
        self.attentions = {
            id(product): (product is module.scores, module.causal)
            for module in network.modules()
            if isinstance(module, SoftmaxProduct)
            for product in (module.scores, module.mixture)
        }
        self.hooks = []
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm1d):
                self.hooks.append(module.register_forward_hook(self._normalised))
            elif found := self._rule(module):
                self.hooks.append(module.register_forward_hook(partial(self._multiplied, name, *found)))

    def begin(self, steps: int) -> None:
        self.steps = steps

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def _rule(self, module: nn.Module) -> tuple[str, Rule] | None:
        if isinstance(module, nn.Linear):
            return "affine", _linear
        if isinstance(module, TemporalConv):
            return ("depthwise_conv" if module.groups > 1 else "temporal_conv"), _temporal
        if isinstance(module, DelayedLinear):
            return "temporal_conv", _temporal
        if isinstance(module, MatrixProduct):
            return "attention", self._matrix
        if isinstance(module, (Gate, Rotary)):
            return ("gate", _gate) if isinstance(module, Gate) else ("rotary", _rotary)
        return None

    def _multiplied(
        self, name: str, kind: str, rule: Rule, module: nn.Module, args: tuple[Tensor, ...], output: Tensor
    ) -> None:
        if name not in self.counts:
            trained = [value for value in module.parameters(recurse=False) if value.requires_grad]
            kept = sum(value.numel() for value in trained)
            # a delay is no factor
            self.counts[name] = ProductCount(name, kind, module.synapses if isinstance(module, DelayedLinear) else kept)
        self.last = count = self.counts[name]
        dense, nonzero = rule(module, args)
        count.dense_macs += dense
        count.nonzero_macs += nonzero
        count.input_values += sum(x.numel() for x in args)
        count.zero_values += sum(x.numel() - int(torch.count_nonzero(x)) for x in args)
        count.output_values += output.numel()
        count.biases += output.numel() if getattr(module, "bias", None) is not None else 0
        count.samples += 1
        count.sample_steps += self.steps

    def _normalised(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        """Folded into the layer before it, batch normalisation is a bias that the layer may not have had."""
        count = self.last
        assert isinstance(module, nn.BatchNorm1d) and count is not None
        if count.biases < count.output_values:
            count.parameters += module.num_features if not count.biases else 0
            count.biases = count.output_values

    def _matrix(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[int, int]:
        """q k^T or shares times v, [samples, heads, n, k] and [samples, heads, k, m]; causal: its lower triangle."""
        a, b = args
        scores, causal = self.attentions[id(module)]
        both = (a != 0).double() @ (b != 0).double()
        pairs = (self.steps * (self.steps + 1) // 2 if causal else self.steps**2) * a[..., 0, 0].numel()
        if not scores:  # the shares of steps to come are zero
            return pairs * b.shape[-1], int(both.sum())
        self.exponentials += pairs
        return pairs * a.shape[-1], int((both.tril() if causal else both).sum())


def _linear(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[int, int]:
    assert isinstance(module, nn.Linear)
    (x,) = args
    return x.numel() * module.out_features, int(torch.count_nonzero(x)) * module.out_features


def _temporal(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[int, int]:
    """Each tap of each input whose output lies inside the utterance; a kernel's zeros, as of a delay, are no tap."""
    (x,) = args
    if isinstance(module, DelayedLinear):
        kernel, look_ahead = module.rounded_kernel(), 0
        fan_out = (kernel != 0).sum(dim=0).T
    else:
        assert isinstance(module, TemporalConv)
        look_ahead, taps = module.look_ahead, module.kernel_size[0]
        fan_out = torch.full((taps, module.in_channels), module.out_channels // module.groups)
    steps, (taps, _) = len(x), fan_out.shape
    inside = taps_inside(np.array([steps]), steps, taps, look_ahead)[:, 0].astype(np.float64)
    synapses = fan_out.numpy().astype(np.float64)
    occupied = (x != 0).reshape(steps, -1).numpy().astype(np.float64)
    return round((inside.sum(axis=1) @ synapses).sum()), round(((inside @ occupied) * synapses).sum())


def _gate(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[int, int]:
    current, gate = args
    return current.numel(), int(torch.count_nonzero(current * gate))


def _rotary(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[int, int]:
    """Each value of a pair is multiplied by a cosine and a sine."""
    (x,) = args
    return 2 * x.numel(), 2 * int(torch.count_nonzero(x))
