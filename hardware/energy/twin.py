"""The quantised twin: the network of the same shape that does not spike, with activations of a few bits.

T steps of unit spikes can say T + 1 different things, so that a fair opponent of a rate-coded network has activations
of ceil(log2(T + 1)) bits and computes once (Z. Yan, Z. Bai, K. Tang, W.-F. Wong, arXiv 2409.08290). A network for a
temporal task is not rate-coded: what comes in differs from step to step, and a twin that may see all of it computes in
every step as well. Both twins are given, and which one is fair is for the reader to say.

Prices: 22 nm, an accumulate 0.0545 pJ; moving a bit by one hop 3.0 pJ where values come sparse, as events, and 0.25 pJ
where they come dense, as a stream (the same paper). A multiplication by b bits is priced as b accumulates. Movement
here is activations, once, over one hop; the paper also moves weights and potentials, by equations that were not at
hand: its full model is not repeated, and docs/energy.md says which of its figures come out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.counts.summary import sum_up
from neurotarget.hardware.energy.figure import ESTIMATED, PJ_PER_UJ

ACCUMULATE_PJ = 0.0545
SPARSE_PJ_PER_BIT_HOP, DENSE_PJ_PER_BIT_HOP = 3.0, 0.25
SOURCE = "Z. Yan, Z. Bai, K. Tang, W.-F. Wong, arXiv 2409.08290"
GRADE = "second-hand"
# Dampfhoffer et al., IEEE TETCI 7(3) 731, 2023, abstract: spikes per synapse and inference, by the ANN compared with.
COMPETES_BELOW, LOSES_ABOVE = 0.15, 1.38
COMPETES, DEPENDS, LOSES = "competes", "depends", "loses"


def activation_bits(steps: int) -> int:
    """Bits that tell apart the 0 to `steps` spikes of a rate code: ceil(log2(T + 1)).

    Raises:
        ValueError: less than one step.
    """
    if steps < 1:
        raise ValueError(f"{steps} steps; at least one is needed")
    return math.ceil(math.log2(steps + 1))


def dense_ratio(steps: int) -> float:
    """Cost of a network that sends one bit in each of T steps over that of its twin, T / ceil(log2(T + 1)).

    Nothing is sparse here: it is what a dense spiking transformer costs, 14 times its twin at T = 100 and 6.7 times at
    T = 40.
    """
    return steps / activation_bits(steps)


def compute_only_wins(steps: float, spike_rate: float, multiply_cost: float, sparsity: float = 0.0) -> bool:
    """Whether the spiking network takes less when only arithmetic counts: T * rate < k (1 - gamma) (Yan et al. 2024).

    Args:
        multiply_cost: k, a multiply-accumulate of the twin in accumulates.
        sparsity: gamma, the share of the twin's activations that are zero and left out.
    """
    return steps * spike_rate < multiply_cost * (1 - sparsity)


def break_even_rate(steps: int, operations: float = 1.0, sparsity: float = 0.0) -> float:
    """Spike rate at which a network of T steps and its twin take the same, moved bits and arithmetic together.

    T * rate * (sparse + n * accumulate) = b * dense + n * b (1 - gamma) * accumulate, with b = ceil(log2(T + 1)) bits.
    For T = 5 and one operation per moved value this is 6.0 %; the paper's versions say 5.7 % and 6.4 %. The equation is
    ours, from the paper's prices, and its terms are not the paper's: half the price of arithmetic moves it by 0.5
    points, the paper's by at most 0.05, and the reading of weights, which moves the paper's, is left out.

    Args:
        operations: n, for each value that is moved: its fan-out on a core.
        sparsity: gamma, zero activations that the twin leaves out.
    """
    bits = activation_bits(steps)
    twin = bits * DENSE_PJ_PER_BIT_HOP + operations * bits * (1 - sparsity) * ACCUMULATE_PJ
    return twin / (steps * (SPARSE_PJ_PER_BIT_HOP + operations * ACCUMULATE_PJ))


def bit_budget(weight_bits: int, bits: int, steps: int) -> int:
    """Weight bits * activation bits * T (Shen et al., CVPR 2024): what a network may say, and so what it may cost."""
    return weight_bits * bits * steps


def competes(spikes_per_synapse: float) -> str:
    """Dampfhoffer et al. 2023: `competes` with every ANN considered, `depends` on the ANN, or `loses` to each.

    Args:
        spikes_per_synapse: synaptic operations per synapse and inference.
    """
    if spikes_per_synapse < COMPETES_BELOW:
        return COMPETES
    return DEPENDS if spikes_per_synapse <= LOSES_ABOVE else LOSES


@dataclass(frozen=True)
class TwinEnergy:
    """Energy per inference at 22 nm.

    Attributes:
        compute_uj: arithmetic.
        movement_uj: activations, moved by one hop.
        total_uj: both.
    """

    compute_uj: float
    movement_uj: float
    total_uj: float


@dataclass(frozen=True)
class Twin:
    """One of the two twins.

    Attributes:
        name: `once` (per utterance, rate-coded) or `every_step` (temporal).
        title: the same in words.
        macs: per inference.
        compute_uj, movement_uj, total_uj: energy per inference, as in `snn`.
        compute_ratio, movement_ratio, total_ratio: twin / spiking; `null` where the spiking network takes nothing.
    """

    name: str
    title: str
    macs: float
    compute_uj: float
    movement_uj: float
    total_uj: float
    compute_ratio: float | None
    movement_ratio: float | None
    total_ratio: float | None


@dataclass(frozen=True)
class TwinComparison:
    """The network of the same shape that does not spike, with activations of few bits ([energy.md](energy.md)).

    Attributes:
        steps: of an utterance, mean, rounded.
        activation_bits: ceil(log2(`steps` + 1)).
        weight_bits: assumed, of both networks.
        spike_rate: spikes per neuron and step; `null` in a network that does not spike.
        snn: the spiking network.
        twins: computing once, and in every step.
        dense_ratio: cost of the spiking network over that of the twin that computes once if nothing were sparse.
        compute_only_wins: whether the spiking network takes less when only arithmetic counts.
        compute_only_rate: spike rate below which it does.
        break_even_rate: spike rate at which both take the same, at one operation per moved value.
        break_even_steps: the most steps that take no more than the twin that computes once.
        bit_budget, bit_budget_twin: weight bits x activation bits x steps.
        spikes_per_synapse: synaptic operations per synapse and inference.
        dampfhoffer: what follows from it: `competes`, `depends` or `loses`; `null` without synapses.
        kind: `estimated`.
        source, grade: of the prices, and how good the evidence is.
    """

    steps: int
    activation_bits: int
    weight_bits: int
    spike_rate: float | None
    snn: TwinEnergy
    twins: tuple[Twin, ...]
    dense_ratio: float
    compute_only_wins: bool | None
    compute_only_rate: float
    break_even_rate: float
    break_even_steps: int
    bit_budget: int
    bit_budget_twin: int
    spikes_per_synapse: float | None
    dampfhoffer: str | None
    kind: str
    source: str
    grade: str


def compare(counts: Sequence[LayerCount], weight_bits: int = 8, sample: str = "an utterance") -> TwinComparison:
    """The spiking network against both twins.

    Args:
        sample: what a sample is called, with its article.
    """
    totals = sum_up(counts)
    samples, rate, density = totals.samples, totals.spike_rate, totals.synops_per_synapse
    steps = max(round(totals.steps_per_sample), 1)
    bits = activation_bits(steps)
    unary = sum(layer.synops if layer.unary_synops is None else layer.unary_synops for layer in counts) / samples
    moved = sum(layer.events if layer.payload_sum is None else layer.payload_sum for layer in counts) / samples
    snn = _energy(unary * ACCUMULATE_PJ, moved * SPARSE_PJ_PER_BIT_HOP)
    macs = totals.dense_macs
    values = sum(layer.inputs * layer.sample_steps for layer in counts if layer.dense_macs) / samples
    every = twin_energy(macs, values, bits)
    once = TwinEnergy(*(energy_uj / steps for energy_uj in astuple(every)))
    return TwinComparison(
        steps=steps,
        activation_bits=bits,
        weight_bits=weight_bits,
        spike_rate=rate,
        snn=snn,
        twins=(
            _twin("once", f"once {sample}, rate-coded", snn, once, macs / steps),
            _twin("every_step", "in every step, temporal", snn, every, macs),
        ),
        dense_ratio=dense_ratio(steps),
        compute_only_wins=None if rate is None else compute_only_wins(steps, rate, bits),
        compute_only_rate=bits / steps,
        break_even_rate=break_even_rate(steps),
        break_even_steps=_break_even_steps(steps, snn.total_uj, once.total_uj),
        bit_budget=bit_budget(weight_bits, 1, steps),
        bit_budget_twin=bit_budget(weight_bits, bits, 1),
        spikes_per_synapse=density,
        dampfhoffer=None if density is None else competes(density),
        kind=ESTIMATED,
        source=SOURCE,
        grade=GRADE,
    )


def _break_even_steps(steps: int, snn_uj: float, once_uj: float) -> int:
    """The most steps in which the spiking network takes no more than the twin that computes once, 0 when none.

    Its energy grows with the steps at an unchanged spike rate, the twin's with its bits.
    """

    def wins(count: int) -> bool:
        return snn_uj * count / steps <= once_uj * activation_bits(count) / activation_bits(steps)

    return max((count for count in range(1, 10 * steps + 1) if wins(count)), default=0)


def twin_energy(macs: float, values: float, bits: int) -> TwinEnergy:
    """A twin with activations of `bits` at 22 nm: an accumulate per bit and MAC, each value moved once over one hop."""
    return _energy(macs * bits * ACCUMULATE_PJ, values * bits * DENSE_PJ_PER_BIT_HOP)


def _energy(compute_pj: float, movement_pj: float) -> TwinEnergy:
    compute_uj, movement_uj = compute_pj / PJ_PER_UJ, movement_pj / PJ_PER_UJ
    return TwinEnergy(compute_uj, movement_uj, compute_uj + movement_uj)


def _twin(name: str, title: str, snn: TwinEnergy, energy: TwinEnergy, macs: float) -> Twin:
    ratios = (ours / theirs if theirs else None for ours, theirs in zip(astuple(energy), astuple(snn), strict=True))
    return Twin(name, title, macs, *astuple(energy), *ratios)
