"""DCLS-Delays: a feed-forward spiking network that learns the delay of every synapse.

Hammouamri, Khalfaoui-Hassani and Masquelier, "Learning Delays in Spiking Neural Networks using Dilated Convolutions
with Learnable Spacings", ICLR 2024 (arXiv 2306.17670). Tensors are [T, B, C] (steps, samples, channels).

    hidden  : blocks times (delayed linear map -> BN -> LIF -> dropout)
    head    : delayed linear map, without bias
    readout : leaky integrator (the paper's LIF with a threshold of 1e9); its potential is the logits of a step, the
              class is argmax of sum over steps of softmax(logits)

Every submodule's name is the name of its node in the NIR file, its trace and its row in the report.

A synapse is a kernel over the past steps with one tap. In training the tap is a Gaussian (package `dcls`, version
"gauss", kernel_count 1), so that its place has a gradient; its width shrinks over the first quarter of the training. In
evaluation the delay is rounded and the synapse is what it will be on a chip: one weight, one delay in whole steps. The
rivals that the authors compare with are the same network with delays drawn and kept, or with none (`delays`).

Delays only look back and the input is zero outside a sample's window 0 .. length - 1, so a sample's output is the same
alone, in any batch and with any padding. The authors' code lets the run go on for half the longest delay a layer after
the end of the utterance; here, as everywhere in this project, an utterance ends with its window.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from neurotarget.model.networks.configuration import NEURONS, READOUTS, Configuration
from neurotarget.model.networks.neuron import normalised_spikes, single
from neurotarget.model.networks.parts import activation, begun
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from neurotarget.errors import PackageMissing

# Width of the Gaussian, in steps: `dcls` adds 0.27 to what it is given, so that the paper's last sigma of 0.5 is 0.23.
LAST_SIGMA = 0.23
ANNEALED = 0.25  # share of the training after which the Gaussian keeps its last width
DELAYS = ("learnt", "fixed", "none")
LONGEST_DELAY = 1000  # steps: a kernel is that much larger than the weights that it is made from


@dataclasses.dataclass(frozen=True)
class DelaysConfig(Configuration):
    """Shape and neuron of a DCLS-Delays network.

    Attributes:
        features: channels of the input per step.
        width: neurons of a hidden layer.
        blocks: hidden layers.
        classes: outputs.
        max_delay: longest delay of a synapse, in steps; a kernel has max_delay + 1 taps.
        tau: membrane time constant in steps; of PLIF, that of the first step of training.
        threshold: firing threshold.
        alpha: slope of the ATan surrogate gradient.
        dropout: share of neurons dropped after a LIF, in training only.
        twin: the same architecture without spikes (networks/twin.py): its readout has no memory either.
        readout: one of `READOUTS`, how the potentials of the steps become the scores of the classes (parts.py).
        neuron: LIF, or PLIF, whose time constant each layer learns, the readout too (networks/neuron.py).
        delays: one of `DELAYS`: learnt; drawn, rounded and kept; or none, whatever `max_delay` is.
        sparsity: probability of each connection that it does not exist, drawn once.
    """

    features: int = 140
    width: int = 256
    blocks: int = 2
    classes: int = 20
    max_delay: int = 24
    tau: float = 1.005
    threshold: float = 1.0
    alpha: float = 5.0
    dropout: float = 0.4
    twin: bool = False
    readout: str = "softmax_sum"
    neuron: str = "lif"
    delays: str = "learnt"
    sparsity: float = 0.0

    COUNTS = ("features", "width", "blocks", "classes")
    CHOICES = {"readout": READOUTS, "neuron": NEURONS, "delays": DELAYS}  # noqa: RUF012
    # The authors' configurations for bins of 10 ms: longest delay 250 ms (SHD) and 300 ms (SSC, GSC), which their code
    # makes 25 and 31 taps, that is 24 and 30 steps; tau 10.05 ms and 15 ms.
    PRESETS = {  # noqa: RUF012
        "delays_shd": {"width": 256, "blocks": 2, "classes": 20},
        "delays_ssc": {"width": 512, "blocks": 3, "classes": 35, "max_delay": 30, "tau": 1.5, "dropout": 0.25},
        "delays_gsc": {"width": 512, "blocks": 3, "classes": 35, "max_delay": 30, "tau": 1.5, "dropout": 0.25},
        "delays_tiny": {"features": 12, "width": 16, "blocks": 2, "classes": 4, "max_delay": 6},  # for tests
    }

    def _check_shape(self) -> None:
        if not 0 <= self.max_delay <= LONGEST_DELAY:
            raise ValueError(f"max_delay = {self.max_delay}; 0 to {LONGEST_DELAY} steps are supported")
        if not 0 <= self.sparsity < 1:
            raise ValueError(f"sparsity = {self.sparsity}; it must lie in [0, 1)")


class DelayedLinear(nn.Module):
    """A linear map without bias whose every connection has a delay: y[t, o] = sum over i of W[o, i] x[t - d[o, i], i].

    Attributes:
        weight: [outputs, inputs].
        delay: [outputs, inputs], in steps; real numbers while they are learnt, rounded in evaluation.
        learnt: whether it is; otherwise it is whole from the start, and training sees the synapse of evaluation.
        connected: [outputs, inputs], 0 where there is no connection, else 1; None where all exist.
        sigma: width of the Gaussian in training, in steps.

    Args:
        sparsity: probability of each connection that it does not exist.
    """

    delay: Tensor
    connected: Tensor | None

    def __init__(self, inputs: int, outputs: int, max_delay: int, learnt: bool = True, sparsity: float = 0.0) -> None:
        super().__init__()
        self.max_delay, self.learnt = max_delay, learnt
        self.sigma = first_sigma(max_delay)
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        delay = nn.init.uniform_(torch.empty(outputs, inputs), 0.0, float(max_delay))
        if learnt:
            self.delay = nn.Parameter(delay)
        else:
            self.register_buffer("delay", delay.round())
        self.register_buffer("connected", (torch.rand(outputs, inputs) >= sparsity).float() if sparsity else None)
        self._gaussian: nn.Module | None = None

    def weights(self) -> Tensor:
        """[outputs, inputs], zero where there is no connection."""
        return self.weight if self.connected is None else self.weight * self.connected

    @property
    def synapses(self) -> int:
        """Connections that exist."""
        return self.weight.numel() if self.connected is None else int(self.connected.sum())

    def rounded(self) -> Tensor:
        """Delays in whole steps, int64 [outputs, inputs]."""
        return self.delay.detach().round().clamp(0, self.max_delay).long()

    def kernel(self) -> Tensor:
        """[outputs, inputs, max_delay + 1]; tap i sees the input of max_delay - i steps ago."""
        return self._gaussian_kernel() if self.training and self.learnt else self.rounded_kernel()

    def rounded_kernel(self) -> Tensor:
        """The kernel of evaluation, zero at all taps but one."""
        taps = self.weight.new_zeros(*self.weight.shape, self.max_delay + 1)
        return taps.scatter(-1, self.max_delay - self.rounded()[..., None], self.weights()[..., None])

    def _gaussian_kernel(self) -> Tensor:
        """A tap i has the share exp(-(i - position)^2 / (2 sigma^2)) of the weight, normalised over the taps."""
        taps = self.max_delay + 1
        if self._gaussian is None:
            outputs, inputs = self.weight.shape
            # not a submodule: it holds no parameters, and layers are named after modules
            object.__setattr__(self, "_gaussian", _dcls()(outputs, inputs, 1, 1, (taps,), "gauss"))
        position = (self.max_delay - self.delay) - taps // 2  # `dcls` counts from the middle of the kernel
        sigma = self.weight.new_full((), self.sigma)  # made there: a copy would make a GPU wait
        kernel: Tensor = self._gaussian(self.weights()[..., None], position[None, ..., None], sigma)  # type: ignore[misc]
        return kernel

    def forward(self, x: Tensor) -> Tensor:
        past = F.pad(x.permute(1, 2, 0), (self.max_delay, 0))
        return F.conv1d(past, self.kernel()).permute(2, 0, 1)


def _dcls() -> type[nn.Module]:
    try:
        from DCLS.construct.modules import ConstructKernel1d
    except ImportError as error:
        raise PackageMissing("training delays needs the package dcls: pip install 'neurotarget[delays]'") from error
    constructor: type[nn.Module] = ConstructKernel1d
    return constructor


def synapse(config: DelaysConfig, inputs: int, outputs: int) -> DelayedLinear:
    """The connections of a layer, as the configuration asks for them."""
    longest = 0 if config.delays == "none" else config.max_delay
    return DelayedLinear(inputs, outputs, longest, config.delays == "learnt", config.sparsity)


class DelayUnit(nn.Module):
    """Delayed linear map -> BN -> LIF -> dropout."""

    def __init__(self, config: DelaysConfig, inputs: int) -> None:
        super().__init__()
        self.synapse = synapse(config, inputs, config.width)
        self.norm = layer.BatchNorm1d(config.width, step_mode="m")
        self.lif = activation(config)
        self.dropout = layer.Dropout(config.dropout, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        return normalised_spikes(self.norm, self.lif, self.dropout, self.synapse(x))


class LeakyIntegrator(nn.Module):
    """v[t] = v[t - 1] (1 - 1/tau) + x[t], from v = 0: a LIF that never fires, read as its potential.

    Args:
        learnt: whether tau = 1 / sigmoid(w) is learnt, as of PLIF; `tau` is then the first.
    """

    def __init__(self, tau: float, learnt: bool = False) -> None:
        super().__init__()
        self._tau = tau
        self.w = nn.Parameter(torch.tensor(-math.log(tau - 1.0))) if learnt else None

    @property
    def tau(self) -> float:
        """Membrane time constant in steps."""
        return self._tau if self.w is None else 1 / float(self.w.detach().sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = single(x)
        decay, v = 1.0 - (1.0 / self._tau if self.w is None else self.w.sigmoid()), torch.zeros_like(x[0])
        potentials = []
        for current in x:
            v = v * decay + current
            potentials.append(v)
        return torch.stack(potentials)


class DelaysNetwork(nn.Module):
    """The network.

    Args:
        config: its shape.
    """

    def __init__(self, config: DelaysConfig) -> None:
        super().__init__()
        self.config = config
        inputs = (config.features, *[config.width] * (config.blocks - 1))
        self.hidden = nn.ModuleList(DelayUnit(config, size) for size in inputs)
        self.head = synapse(config, config.width, config.classes)
        self.readout = nn.Identity() if config.twin else LeakyIntegrator(config.tau, config.neuron == "plif")

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits [T, B, classes], zero outside each sample's window.

        Args:
            frames: [B, T, C] in the precision of the parameters.
            lengths: int64 [B], steps of each sample; all T when left out.

        Raises:
            ValueError: wrong number of dimensions or features.
            PackageMissing: while delays are learnt, without the package dcls.
        """
        x, mask = begun(self, self.config.features, frames, lengths)
        if mask is not None:
            x = x * mask
        for unit in self.hidden:
            x = unit(x)
        logits = self.readout(self.head(x))
        return logits if mask is None else logits * mask

    def delayed(self) -> list[DelayedLinear]:
        """The layers that learn their delays."""
        return [module for module in self.modules() if isinstance(module, DelayedLinear) and module.learnt]

    @torch.no_grad()
    def anneal(self, share: float) -> None:
        """What precedes a training step: the Gaussian's width for this share of the training, delays in their range."""
        for module in self.delayed():
            module.sigma = sigma_at(share, module.max_delay)
            module.delay.clamp_(0, module.max_delay)


def first_sigma(max_delay: int) -> float:
    return max(max_delay / 2, LAST_SIGMA)


def sigma_at(share: float, max_delay: int) -> float:
    """Width after a share 0 .. 1 of the training: exponential from max_delay / 2 to 0.23 in the first quarter."""
    start = first_sigma(max_delay)
    return start * (LAST_SIGMA / start) ** min(1.0, share / ANNEALED)


def delay_rate(peak: float, share: float) -> float:
    """Learning rate of the delays after a share 0 .. 1 of the training: a cosine from `peak` to zero."""
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
