"""A trained twin in integers: torch's post-training quantisation, by its observers and fake-quantise arithmetic.

Weights: 8 bits, one scale per output channel, symmetric. Activations that enter a product: so many bits, one scale and
zero point per tensor, fitted on training data. Batch normalisation after a product is the scale and offset by which its
integers become the next ones: a positive or negative factor per channel leaves a weight's integers as they are, so that
folding it first gives the same. What stays in floating point is `FLOAT_OPERATIONS`.
"""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from neurotarget.model.networks.configuration import BITS
from neurotarget.model.networks.delays import DelayedLinear
from neurotarget.model.networks.parts import Gate
from neurotarget.model.networks.twin import MatrixProduct
from neurotarget.model.training import registry
from neurotarget.model.training.evaluation import class_scores
from torch import Tensor, nn
from torch.ao.quantization import HistogramObserver, PerChannelMinMaxObserver

from neurotarget.data import Split

WEIGHT_BITS = 8
CALIBRATION_SAMPLES = 128
FLOAT_OPERATIONS = ("softmax", "rotary position", "residual sums", "scale and offset after a product", "read-out")
PRODUCTS = (nn.Linear, nn.Conv1d, DelayedLinear, MatrixProduct, Gate)


@torch.no_grad()
def quantised(network: registry.Network, train: Split, bits: int) -> registry.Network:
    """A copy of a twin whose weights have 8 bits and whose activations have `bits` wherever they enter a product.

    Args:
        network: a twin; stays as it is.
        train: split that calibrates, `CALIBRATION_SAMPLES` evenly spaced utterances, each alone at its true length.
        bits: of an activation, one of `BITS`.

    Raises:
        ValueError: another number of bits.
    """
    if bits not in BITS:
        raise ValueError(f"{bits} bits; activations of {BITS[0]} to {BITS[-1]} bits are supported")
    made = copy.deepcopy(network).eval()
    operands: list[_Operand] = []
    for module in made.modules():
        if isinstance(module, PRODUCTS):
            if isinstance(weight := getattr(module, "weight", None), Tensor):
                weight.copy_(_quantised_weight(module.weights() if isinstance(module, DelayedLinear) else weight))
            mine = [_Operand(bits) for _ in range(2 if isinstance(module, (MatrixProduct, Gate)) else 1)]
            module.register_forward_pre_hook(partial(_enter, mine))
            operands += mine
    samples = len(train.labels)
    rows = np.linspace(0, samples - 1, min(CALIBRATION_SAMPLES, samples)).round().astype(int)
    for row in rows:
        length = train.lengths[row : row + 1]
        class_scores(made, train.frames[row : row + 1, : length[0]], length)
    for operand in operands:
        operand.fit()
    return made


class _Operand:
    """An activation that enters a product: seen until it is fitted, quantised afterwards."""

    def __init__(self, bits: int) -> None:
        self.largest = 2**bits - 1
        self.observer = HistogramObserver(quant_min=0, quant_max=self.largest, dtype=torch.quint8)
        self.scale: Tensor | None = None

    def fit(self) -> None:
        self.scale, self.zero_point = self.observer.calculate_qparams()

    def __call__(self, x: Tensor) -> Tensor:
        if self.scale is None:
            self.observer(x)
            return x
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, 0, self.largest)


def _enter(operands: list[_Operand], module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(operand(x) for operand, x in zip(operands, args, strict=True))


def _quantised_weight(weight: Tensor) -> Tensor:
    """Weights [outputs, ...] on the 256 levels of their channel."""
    observer = PerChannelMinMaxObserver(ch_axis=0, dtype=torch.qint8, qscheme=torch.per_channel_symmetric)
    observer(weight)
    scale, zero_point = observer.calculate_qparams()
    return torch.fake_quantize_per_channel_affine(weight, scale, zero_point.int(), 0, -128, 127)
