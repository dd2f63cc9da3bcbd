"""The memory boundary against published figures of Lemaire et al. 2022's equations.

The paper's full text was not at hand, and its abstract gives ratios of whole networks without their spike counts.
SpikingJelly's developers worked out the paper's equations (1) to (20) for single layers, in a script apart from their
profiler, and published inputs and results (docs/source/_static/tutorials/op_counter/energy_model_validation.csv, column
oracle_pj, SpikingJelly 96af964, rows l003 to l100; arXiv 2210.13107v1). These figures are repeated to their last digit.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from hardware.count import LayerCount
from hardware.memory import ADD_PJ, spiking_layer
from tests.hardware.test_energy import DENSE, LIF


def spiking(
    kind: str, inputs: int, outputs: int, size: int, kernel: int, events: int, spikes: int, leaky: bool
) -> list[LayerCount]:
    """One step of a layer with biases and its neurons, counted in closed form: padding is taken for synapses."""
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
        biases=neurons,
        parameters=inputs * outputs * kernel**2 + outputs,
    )
    node = replace(LIF, kind="lif" if leaky else "if", neuron_updates=neurons, state=neurons, spikes=spikes)
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
