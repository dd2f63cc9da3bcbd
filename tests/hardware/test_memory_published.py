"""The memory boundary against published figures of Lemaire et al. 2022's equations.

The paper's full text was not at hand, and its abstract gives ratios of whole networks without their spike counts. Two
sources that hold its equations by their numbers stand in for it.

SpikingJelly's developers worked out the paper's equations (1) to (20) for single layers, in a script apart from their
profiler, and published inputs and results (docs/source/_static/tutorials/op_counter/energy_model_validation.csv, column
oracle_pj, SpikingJelly 96af964, rows l003 to l100; arXiv 2210.13107v1). These figures are repeated to their last digit.

The authors' laboratory publishes the metric as `EnergyEstimationMetric` of qualia-plugin-snn. Its methods name the
equation that each of them computes. They were called once, apart from the project: version 2.6.0, words of 32 bits,
queues of 1000, layers with biases that are given by their shapes. What they returned is repeated here, addresses apart:
its equations 16.3 and 17.2 leave out a factor that their own descriptions have.

The two part at the price of an access, and so do the price tables `lemaire2022-joined` and `lemaire2022-line`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.energy.memory import access_pj, dense_layer, memory_energy, spiking_layer

from tests.hardware.counted import DENSE, JOINED, LIF, LINE

# Prices of an access that count the accesses.
ONE, NOTHING = (replace(JOINED, access_pj=((0.0, price), (1.0, price))) for price in (1.0, 0.0))
ADD_PJ = 0.1


def spiking(
    kind: str, inputs: int, outputs: int, size: int, kernel: int, events: int, spikes: int, leaky: bool, steps: int = 1
) -> list[LayerCount]:
    """A layer with biases and its neurons, counted in closed form: padding is taken for synapses."""
    neurons = outputs * size**2
    synops = events * outputs * kernel**2
    layer = replace(
        DENSE,
        kind=kind,
        inputs=inputs * size**2,
        neurons=neurons,
        events=events,
        synops=synops,
        acs=synops,
        dense_macs=steps * inputs * kernel**2 * neurons,
        biases=steps * neurons,
        parameters=inputs * outputs * kernel**2 + outputs,
        samples=1,
        sample_steps=steps,
    )
    updates, leak = steps * neurons, "lif" if leaky else "if"
    node = replace(LIF, kind=leak, neuron_updates=updates, state=neurons, spikes=spikes, samples=1)
    return [layer, node]


@pytest.mark.parametrize(
    ("inputs", "outputs", "events", "spikes", "leaky", "picojoule"),
    [
        (8, 16, 1, 0, False, 37.1828125),
        (8, 16, 4, 0, True, 153.88125),
        (16, 32, 8, 32, False, 1104.7125),
        (32, 16, 16, 16, True, 1004.0),
        (64, 64, 4, 0, False, 4577.13125),
        (64, 64, 32, 64, True, 30789.55),
        (128, 32, 64, 32, False, 29373.2166667),
        (256, 64, 16, 64, True, 26076.3024194),
    ],
)
def test_fully_connected(inputs: int, outputs: int, events: int, spikes: int, leaky: bool, picojoule: float) -> None:
    layers = spiking("affine", inputs, outputs, 1, 1, events, spikes, leaky)
    found = sum(spiking_layer(layer, JOINED).total_pj for layer in layers)
    # The paper's equation of a fully connected layer has no addition for a reset, that of a convolution has.
    assert found == pytest.approx(picojoule + spikes * ADD_PJ, rel=1e-11)


@pytest.mark.parametrize(
    ("inputs", "outputs", "size", "kernel", "events", "spikes", "leaky", "picojoule"),
    [
        (4, 8, 5, 3, 12, 0, False, 3944.13125),
        (4, 8, 5, 3, 25, 72, False, 7817.7078125),
        (4, 8, 8, 1, 128, 0, True, 11318.6),
        (4, 8, 8, 3, 128, 272, True, 69032.325),
        (4, 8, 12, 1, 144, 0, False, 28340.325),
        (4, 8, 12, 3, 288, 1144, False, 291087.1875),
        (4, 8, 12, 3, 288, 696, True, 292541.2875),
        (8, 16, 5, 1, 25, 0, True, 5369.5703125),
    ],
)
def test_convolution(
    inputs: int, outputs: int, size: int, kernel: int, events: int, spikes: int, leaky: bool, picojoule: float
) -> None:
    layers = spiking("conv2d", inputs, outputs, size, kernel, events, spikes, leaky)
    assert sum(spiking_layer(layer, JOINED).total_pj for layer in layers) == pytest.approx(picojoule, rel=1e-11)


# kind, inputs, outputs, size, kernel, events, spikes, leaky, steps
SPIKING_LAYERS = [
    ("affine", 64, 64, 1, 1, 200, 90, True, 5),
    ("affine", 128, 32, 1, 1, 700, 41, False, 10),
    ("conv2d", 4, 8, 8, 3, 300, 120, True, 4),
    ("conv2d", 3, 16, 10, 1, 77, 30, False, 6),
]
DENSE_LAYERS = [
    ("affine", 64, 64, 1, 1),
    ("affine", 128, 32, 1, 1),
    ("conv2d", 4, 8, 8, 3),
    ("conv2d", 3, 16, 10, 1),
]


@pytest.mark.parametrize(
    ("shape", "accesses", "operations_pj"),
    list(zip(SPIKING_LAYERS, (39_650, 68_901, 71_364, 32_603), (2345, 2276.1, 8930.4, 1086.2), strict=True)),
)
def test_accesses_and_operations_of_the_laboratory(shape: tuple[Any, ...], accesses: int, operations_pj: float) -> None:
    """Equations 1.3, 1.4, 2.3, 2.4 (corrected), 5, 7 to 10, 13 to 15. With accesses of 1 pJ the energy counts them."""
    found = [spiking_layer(layer, ONE) for layer in spiking(*shape)]
    assert sum(layer.total_pj - layer.addressing_pj for layer in found) == pytest.approx(
        accesses + operations_pj, rel=1e-12
    )
    found = [spiking_layer(layer, NOTHING) for layer in spiking(*shape)]
    assert sum(layer.operations_pj + layer.neurons_pj for layer in found) == pytest.approx(operations_pj, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "accesses", "operations_pj"),
    list(zip(DENSE_LAYERS, (4288, 4288, 37_888, 12_800), (13_113.6, 13_110.4, 59_033.6, 15_520), strict=True)),
)
def test_accesses_and_operations_of_the_laboratory_dense(
    shape: tuple[Any, ...], accesses: int, operations_pj: float
) -> None:
    """Equations 1.1, 1.2, 2.1, 2.2, 3, 4, 6, 11 and 12."""
    energy = dense_layer(spiking(*shape, events=0, spikes=0, leaky=False)[0], ONE)
    assert energy.accesses_pj == accesses
    assert energy.operations_pj == pytest.approx(operations_pj, rel=1e-12)


def without_biases(layer: LayerCount, shape: tuple[Any, ...]) -> LayerCount:
    """The laboratory gives biases a memory of their own, a word an output channel; here they lie beside the weights."""
    _, inputs, outputs, _, kernel, *_ = shape
    return replace(layer, biases=0, parameters=inputs * outputs * kernel**2)


def biases_pj(layer: LayerCount, outputs: int) -> float:
    """As the laboratory charges them: an addition and an access to that memory."""
    return layer.biases * (ADD_PJ + access_pj(outputs, LINE))


@pytest.mark.parametrize(
    ("shape", "picojoule"),
    list(zip(SPIKING_LAYERS, (544706.221632, 944541.055136, 961703.6103168, 443647.5690368), strict=True)),
)
def test_energy_of_the_laboratory(shape: tuple[Any, ...], picojoule: float) -> None:
    """Its energy of each layer and its neurons, addresses apart, with its own price of an access."""
    layer, node = spiking(*shape)
    found = [spiking_layer(one, LINE) for one in (without_biases(layer, shape), node)]
    energy = sum(one.total_pj - one.addressing_pj for one in found) + biases_pj(layer, outputs=shape[2])
    assert energy == pytest.approx(picojoule, rel=1e-12)
    other = [spiking_layer(one, JOINED) for one in (without_biases(layer, shape), node)]
    assert sum(one.total_pj for one in other) < 0.5 * energy  # small memories: the other price takes less than half


@pytest.mark.parametrize(
    ("shape", "picojoule"),
    list(zip(DENSE_LAYERS, (75571.3789952, 75570.3220224, 562745.4849024, 185964.4928), strict=True)),
)
def test_energy_of_the_laboratory_dense(shape: tuple[Any, ...], picojoule: float) -> None:
    layer = spiking(*shape, events=0, spikes=0, leaky=False)[0]
    found = dense_layer(without_biases(layer, shape), LINE)
    assert found.operations_pj + found.accesses_pj + biases_pj(layer, outputs=shape[2]) == pytest.approx(
        picojoule, rel=1e-12
    )


@pytest.mark.parametrize(("neurons", "joined", "line"), [(256, 18.7, 11.6), (64, 17.0, 6.7)])
def test_the_price_of_an_access_changes_the_answer_by_what_is_documented(
    neurons: int, joined: float, line: float
) -> None:
    """n x n leaky neurons, spike rate 5 %, in closed form; the figures stand in docs/energy.md."""
    n, rate = neurons, 0.05
    for access, table, documented in (
        (lambda words: np.interp(4 * words, (0, 8192, 32768, 1048576), (0, 10, 20, 100)), JOINED, joined),
        (lambda words: 13.2 + 1.09e-5 * 32 * words, LINE, line),
    ):
        queue, stored, potential = access(1000), access(n * n + n), access(n)
        spiking_pj = rate * n * n * (stored + 2 * potential + 0.2) + 2 * rate * n * queue + rate * n * 0.1
        spiking_pj += n * (stored + 0.1 + 2 * potential + 3.2)
        dense_pj = (n * n + n) * stored + 2 * n * potential + 3.2 * n * n + 0.3 * n
        steps = 100
        counts = spiking("affine", n, n, 1, 1, events := 5 * n, events, True, steps)
        found = memory_energy(counts, table)
        assert found.snn_uj == pytest.approx(steps * spiking_pj * 1e-6, rel=1e-12)
        assert found.ratio == pytest.approx(dense_pj / spiking_pj, rel=1e-12)
        assert dense_pj / spiking_pj == pytest.approx(documented, abs=0.05)


# Horowitz 2014: energy of a 32-bit access to memories of 8 KB, 32 KB and 1 MB, in pJ.
HOROWITZ_PJ = (10.0, 20.0, 100.0)


def test_the_line_is_a_fit_to_the_points_that_are_joined() -> None:
    """The laboratory's code writes 1.09e-5 pJ a bit and 13.2 pJ, an earlier version 0.000082816 a byte and 13.2563.

    The first is a fit by least squares with KB and MB of thousands, to three digits, the second with powers of two.
    """
    slope, offset = np.polyfit([8e3, 32e3, 1e6], HOROWITZ_PJ, 1)
    assert (f"{slope / 8:.2e}", f"{offset:.1f}") == ("1.09e-05", "13.2")
    sizes, energies = zip(*JOINED.access_pj, strict=True)
    assert (energies[1:], sizes[1:]) == (HOROWITZ_PJ, (8 * 1024, 32 * 1024, 1024**2))
    slope, offset = np.polyfit(sizes[1:], energies[1:], 1)
    assert slope == pytest.approx(0.000082816, rel=1e-4) and offset == pytest.approx(13.2563, rel=1e-5)
    for words in (1, 1000, 65_536, 10**7):
        assert access_pj(words, LINE) == pytest.approx(1.09e-5 * words * 32 + 13.2, rel=1e-12)
