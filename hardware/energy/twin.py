"""The quantised twin: the network of the same shape that does not spike, with activations of a few bits.

T steps of unit spikes can say T + 1 different things, so that a fair opponent of a rate-coded network has activations
of ceil(log2(T + 1)) bits and computes once (Z. Yan, Z. Bai, K. Tang, W.-F. Wong, arXiv 2409.08290). A network for a
temporal task is not rate-coded: what comes in differs from step to step, and a twin that may see all of it computes in
every step as well. Both twins are given, and which one is fair is for the reader to say.

Prices: 22 nm, an accumulate 0.0545 pJ; moving a bit by a hop 3.0 pJ where values come sparse, as events, and 0.25 pJ
where they come dense, as a stream (the same paper). A multiplication by b bits is priced as b accumulates. Movement
here is activations, once, over one hop; the paper also moves weights and potentials, by equations that were not at
hand: its full model is not repeated, and docs/energy.md says which of its figures come out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from neurotarget.hardware.counts.layers import LayerCount

ACCUMULATE_PJ = 0.0545
SPARSE_PJ_BIT_HOP, DENSE_PJ_BIT_HOP = 3.0, 0.25
SOURCE = "Z. Yan, Z. Bai, K. Tang, W.-F. Wong, arXiv 2409.08290"
GRADE = "second-hand"
PJ_PER_UJ = 1e6
# Dampfhoffer et al., IEEE TETCI 7(3) 731, 2023, abstract: spikes a synapse and inference, by the ANN compared with.
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
    For T = 5 and one operation a moved value this is 6.0 %; the paper's versions say 5.7 % and 6.4 %. The equation is
    ours, from the paper's prices, and its terms are not the paper's: half the price of arithmetic moves it by 0.5
    points, the paper's by at most 0.05, and the reading of weights, which moves the paper's, is left out.

    Args:
        operations: n, for each value that is moved: its fan-out on a core.
        sparsity: gamma, zero activations that the twin leaves out.
    """
    bits = activation_bits(steps)
    twin = bits * DENSE_PJ_BIT_HOP + operations * bits * (1 - sparsity) * ACCUMULATE_PJ
    return twin / (steps * (SPARSE_PJ_BIT_HOP + operations * ACCUMULATE_PJ))


def bit_budget(weight_bits: int, bits: int, steps: int) -> int:
    """Weight bits * activation bits * T (Shen et al., CVPR 2024): what a network may say, and so what it may cost."""
    return weight_bits * bits * steps


def competes(spikes_per_synapse: float) -> str:
    """Dampfhoffer et al. 2023: `competes` with every ANN considered, `depends` on the ANN, or `loses` to each.

    Args:
        spikes_per_synapse: synaptic operations a synapse and inference.
    """
    if spikes_per_synapse < COMPETES_BELOW:
        return COMPETES
    return DEPENDS if spikes_per_synapse <= LOSES_ABOVE else LOSES


def compare(counts: Sequence[LayerCount], weight_bits: int = 8) -> dict[str, Any]:
    """The spiking network against both twins, an inference, as `report.json` holds it (docs/report.md)."""
    samples = max((layer.samples for layer in counts), default=1) or 1
    steps = max(round(max((layer.sample_steps for layer in counts), default=0) / samples), 1)
    bits = activation_bits(steps)
    unary = sum(layer.synops if layer.unary_synops is None else layer.unary_synops for layer in counts) / samples
    moved = sum(layer.events if layer.payload_sum is None else layer.payload_sum for layer in counts) / samples
    snn = _energy(unary * ACCUMULATE_PJ, moved * SPARSE_PJ_BIT_HOP)
    macs = sum(layer.dense_macs for layer in counts) / samples
    values = sum(layer.inputs * layer.sample_steps for layer in counts if layer.dense_macs) / samples
    every = _energy(macs * bits * ACCUMULATE_PJ, values * bits * DENSE_PJ_BIT_HOP)
    once = {key: value / steps for key, value in every.items()}
    spiking = [layer for layer in counts if layer.spikes is not None and layer.neuron_updates]
    updates = sum(layer.neuron_updates for layer in spiking)
    rate = sum(layer.spikes or 0 for layer in spiking) / updates if updates else None
    synapses = sum(layer.synapses for layer in counts)
    density = sum(layer.synops for layer in counts) / samples / synapses if synapses else None
    return {
        "steps": steps,
        "activation_bits": bits,
        "weight_bits": weight_bits,
        "spike_rate": rate,
        "snn": snn,
        "twins": [
            _twin("once", "once an utterance, rate-coded", snn, once, macs / steps),
            _twin("every_step", "in every step, temporal", snn, every, macs),
        ],
        "dense_ratio": dense_ratio(steps),
        "compute_only_wins": None if rate is None else compute_only_wins(steps, rate, bits),
        "compute_only_rate": bits / steps,
        "break_even_rate": break_even_rate(steps),
        "break_even_steps": _break_even_steps(steps, snn["total_uj"], once["total_uj"]),
        "bit_budget": bit_budget(weight_bits, 1, steps),
        "bit_budget_twin": bit_budget(weight_bits, bits, 1),
        "spikes_per_synapse": density,
        "dampfhoffer": None if density is None else competes(density),
        "kind": "estimated",
        "source": SOURCE,
        "grade": GRADE,
    }


def _break_even_steps(steps: int, snn_uj: float, once_uj: float) -> int:
    """The most steps in which the spiking network takes no more than the twin that computes once, 0 when none.

    Its energy grows with the steps at an unchanged spike rate, the twin's with its bits.
    """

    def wins(count: int) -> bool:
        return snn_uj * count / steps <= once_uj * activation_bits(count) / activation_bits(steps)

    return max((count for count in range(1, 10 * steps + 1) if wins(count)), default=0)


def _energy(compute_pj: float, movement_pj: float) -> dict[str, float]:
    parts = {"compute_uj": compute_pj / PJ_PER_UJ, "movement_uj": movement_pj / PJ_PER_UJ}
    return parts | {"total_uj": sum(parts.values())}


def _twin(name: str, title: str, snn: Mapping[str, float], energy: Mapping[str, float], macs: float) -> dict[str, Any]:
    ratios = {
        f"{key}_ratio": energy[f"{key}_uj"] / snn[f"{key}_uj"] if snn[f"{key}_uj"] else None
        for key in ("compute", "movement", "total")
    }
    return {"name": name, "title": title, "macs": macs, **energy, **ratios}
