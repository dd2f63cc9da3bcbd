"""The networks' neurons alone, and with batch normalisation and dropout: SpikingJelly's modules, compiled inside.

Wherever a compiled pass does not apply (evaluation, CUDA, several processes, single step, other surrogates, soft reset)
SpikingJelly's own runs, so a checkpoint or a converter sees no difference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from neurotarget.model.kernels.lif import lif
from neurotarget.model.kernels.normalised_lif import moments, normalised_lif
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import Tensor, nn


class CompiledSteps(neuron.BaseNode):
    """A leaky neuron of SpikingJelly's with a compiled multi-step pass on the CPU; stands before its class.

    `v = v_reset + decay (v - v_reset) + x; fire at v >= v_threshold; v = v_reset`. Input and output are
    [steps, samples, ...], float32 or float64; the gradient does not flow into the final membrane potential.
    """

    decay_input: bool

    @property
    def decay(self) -> float | Tensor:
        """Share of the potential that a step leaves."""
        raise NotImplementedError

    @property
    def alpha(self) -> float:
        """Slope of the surrogate gradient."""
        return float(self.surrogate_function.alpha)

    def compiled(self, x: Tensor) -> bool:
        """Whether the compiled pass computes what this neuron's parameters ask for on such an input."""
        return (
            x.device.type == "cpu"
            and x.dtype in (torch.float32, torch.float64)
            and isinstance(self.surrogate_function, surrogate.ATan)
            and self.surrogate_function.spiking
            and not self.decay_input
            and self.detach_reset
            and self.v_reset is not None
            and not self.store_v_seq
        )

    def at_rest(self) -> bool:
        """Whether the next step starts at a membrane potential of 0, as after a reset."""
        return not isinstance(self._memories["v"], Tensor) and self._memories["v"] == 0.0

    def multi_step_forward(self, x_seq: Tensor, *args: Tensor, **kwargs: object) -> Tensor:
        x_seq = single(x_seq)
        if not self.compiled(x_seq):
            return super().multi_step_forward(x_seq, *args, **kwargs)
        state: Any = self._memories["v"]  # a number until the first call after a reset
        v = state if isinstance(state, Tensor) else torch.full_like(x_seq[0], float(state))
        spikes, self._memories["v"] = lif(x_seq, v, self.decay, self.v_threshold, self.v_reset, self.alpha)
        return spikes


class FusedLIFNode(CompiledSteps, neuron.LIFNode):
    """`LIFNode`: decay = 1 - 1/tau."""

    @property
    def decay(self) -> float:
        return 1.0 - 1.0 / float(self.tau)


class FusedPLIFNode(CompiledSteps, neuron.ParametricLIFNode):
    """`ParametricLIFNode`: decay = 1 - sigmoid(w) with a learnt w of the layer, so that tau = 1 / sigmoid(w).

    Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural Networks",
    ICCV 2021 (arXiv 2007.05785).
    """

    @property
    def decay(self) -> Tensor:
        return 1.0 - self.w.sigmoid()


def single(x: Tensor) -> Tensor:
    """float32 of what a product gives in bfloat16 under autocast; other types as they are."""
    return x.float() if x.dtype == torch.bfloat16 else x


def normalised_spikes(norm: nn.Module, node: nn.Module, dropout: layer.Dropout, x: Tensor) -> Tensor:
    """Batch normalisation, if any, over steps and samples of [T, B, C], the neuron (of a twin, ReLU), dropout.

    The compiled pass is for batch normalisation and a LIF. It leaves the LIF without a membrane potential: it is for
    whole utterances that start at rest, and the network resets its neurons before each.
    """
    x = single(x).contiguous()
    if not _applies(norm, node, dropout, x):
        outputs: Tensor = dropout(node(norm(x)))
        return outputs
    assert isinstance(norm, nn.BatchNorm1d) and isinstance(node, FusedLIFNode)
    mean, variance = moments(x.detach().numpy().reshape(-1, x.shape[-1]))
    _update(norm, mean, variance, x.shape[0] * x.shape[1])
    keep = dropout.create_mask(x[0]) if dropout.p else torch.ones_like(x[0])
    statistics = mean, 1 / np.sqrt(variance + norm.eps)
    return normalised_lif(x, norm.weight, norm.bias, keep, statistics, node.decay, node.v_threshold, node.alpha)


def _applies(norm: nn.Module, node: nn.Module, dropout: layer.Dropout, x: Tensor) -> bool:
    # Not a subclass either: training/parallel.py has one that looks at the batches of several processes.
    if type(norm) is not layer.BatchNorm1d or not (
        norm.training and dropout.training and isinstance(node, FusedLIFNode)
    ):
        return False
    several = x[..., 0].numel() > 1  # a single value has no variance, and torch says so
    return several and node.compiled(x) and node.v_reset == 0.0 and node.at_rest()


def _update(norm: nn.BatchNorm1d, mean: np.ndarray, variance: np.ndarray, count: int) -> None:
    """Running moments as torch keeps them: with momentum, the variance unbiased."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    assert norm.momentum is not None
    unbiased = variance * (count / max(count - 1, 1))
    for running, now in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        running.lerp_(torch.from_numpy(now).to(running), norm.momentum)
    norm.num_batches_tracked += 1
