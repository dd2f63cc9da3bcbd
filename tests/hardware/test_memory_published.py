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
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hardware import memory
from hardware.count import LayerCount
from hardware.memory import ADD_PJ, MAC_PJ, dense_layer, spiking_layer
from tests.hardware.test_energy import DENSE, LIF


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
    node = replace(LIF, kind="lif" if leaky else "if", neuron_updates=steps * neurons, state=neurons, spikes=spikes)
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
    found = sum(spiking_layer(layer).total for layer in layers)
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
    assert sum(spiking_layer(layer).total for layer in layers) == pytest.approx(picojoule, rel=1e-11)


def laboratory_access_pj(words: int) -> float:
    """An access as qualia-plugin-snn prices it: a straight line by least squares, not through the points as ours."""
    return 1.09e-5 * words * 32 + 13.2


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
def test_accesses_and_operations_of_the_laboratory(
    shape: tuple[Any, ...], accesses: int, operations_pj: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equations 1.3, 1.4, 2.3, 2.4 (corrected), 5, 7 to 10, 13 to 15. With accesses of 1 pJ the energy counts them."""
    monkeypatch.setattr(memory, "access_pj", lambda words: 1.0)
    found = [spiking_layer(layer) for layer in spiking(*shape)]
    assert sum(layer.total - layer.addressing for layer in found) == pytest.approx(accesses + operations_pj, rel=1e-12)
    monkeypatch.setattr(memory, "access_pj", lambda words: 0.0)
    found = [spiking_layer(layer) for layer in spiking(*shape)]
    assert sum(layer.operations + layer.neurons for layer in found) == pytest.approx(operations_pj, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "accesses", "operations_pj"),
    list(zip(DENSE_LAYERS, (4288, 4288, 37_888, 12_800), (13_113.6, 13_110.4, 59_033.6, 15_520), strict=True)),
)
def test_accesses_and_operations_of_the_laboratory_dense(
    shape: tuple[Any, ...], accesses: int, operations_pj: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equations 1.1, 1.2, 2.1, 2.2, 3, 4, 6, 11 and 12."""
    monkeypatch.setattr(memory, "access_pj", lambda words: 1.0)
    energy = dense_layer(spiking(*shape, events=0, spikes=0, leaky=False)[0])
    assert energy.accesses == accesses
    assert energy.operations == pytest.approx(operations_pj, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "picojoule"),
    list(zip(SPIKING_LAYERS, (538130.078208, 938037.383424, 925733.8955776, 315787.79335680), strict=True)),
)
def test_memories_of_the_laboratory(shape: tuple[Any, ...], picojoule: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each access goes to a memory of the size that the laboratory gives it; with its price, which is not ours.

    Without biases: the laboratory gives them a memory of their own, here they lie beside the weights.
    """
    monkeypatch.setattr(memory, "access_pj", laboratory_access_pj)
    _, inputs, outputs, _, kernel, *_ = shape
    layer, node = spiking(*shape)
    layer = replace(layer, biases=0, parameters=inputs * outputs * kernel**2)
    arithmetic = spiking_layer(layer).operations + spiking_layer(layer).addressing
    leak = node.neuron_updates * MAC_PJ if node.kind == "lif" else 0.0
    arithmetic += leak + (node.spikes or 0) * ADD_PJ
    found = spiking_layer(layer).total + spiking_layer(node).total - arithmetic
    assert found == pytest.approx(picojoule, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "picojoule"),
    list(zip(DENSE_LAYERS, (61611.5503104, 62037.1648512, 496952.0562176, 149315.56352), strict=True)),
)
def test_memories_of_the_laboratory_dense(
    shape: tuple[Any, ...], picojoule: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "access_pj", laboratory_access_pj)
    _, inputs, outputs, _, kernel = shape
    layer = spiking(*shape, events=0, spikes=0, leaky=False)[0]
    energy = dense_layer(replace(layer, biases=0, parameters=inputs * outputs * kernel**2))
    assert energy.accesses == pytest.approx(picojoule, rel=1e-12)


def test_the_laboratory_fits_a_line_to_the_same_points() -> None:
    """An earlier version writes its line as 0.000082816 a byte + 13.2563, by least squares through three points.

    They are the points of ours, which runs through them and through zero: a small memory costs less here.
    """
    slope, offset = np.polyfit(memory.SIZES_BYTES[1:], memory.ACCESS_PJ[1:], 1)
    assert slope == pytest.approx(0.000082816, rel=1e-4) and offset == pytest.approx(13.2563, rel=1e-5)
    assert memory.access_pj(256) == 1.25 and laboratory_access_pj(256) == pytest.approx(13.29, abs=0.005)
