"""The packages themselves beside our counts; where one is not installed, that is said."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from neurotarget.conversion.export.network import STEPS_FIRST
from neurotarget.conversion.export.torch_network import TorchNetwork
from neurotarget.conversion.to_nir import to_nir
from neurotarget.hardware.counts import other_packages as counters
from neurotarget.hardware.counts.layers import count
from neurotarget.hardware.counts.other_packages import (
    CounterComparison,
    CounterMissing,
    CounterRow,
    CounterUnavailable,
    compare_module,
)
from neurotarget.hardware.page.render import page_templates
from neurotarget.model.spikescr import SpikeSCR, SpikeSCRConfig
from neurotarget.sim.graph import load
from neurotarget.sim.trace import Trace
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from tests.hardware.networks import run


def network() -> tuple[TorchNetwork, Trace, list[counters.LayerCount]]:
    """Linear, LIF, Linear, LIF in multi-step mode, and a run of its graph on integers."""
    torch.manual_seed(0)
    module = nn.Sequential(
        layer.Linear(12, 16), neuron.LIFNode(tau=2.0, decay_input=False), layer.Linear(16, 4), neuron.LIFNode()
    ).double()
    functional.set_step_mode(module, "m")
    module.eval()
    graph = load(to_nir(module, (12,)))
    frames = np.random.default_rng(0).poisson(0.5, size=(3, 10, 12))
    trace = run(graph, frames, [10, 7, 4])
    return TorchNetwork(module, (STEPS_FIRST,)), trace, count(graph, trace)


def test_op_counter_agrees_on_spikes_and_departs_on_integers() -> None:
    module, trace, counts = network()
    rows = {row.layer: row for row in compare_module(module, trace, counts).rows if row.counter == "op_counter"}
    integer, spikes = rows["0"], rows["2"]
    assert spikes.equal and spikes.acs > 0 and spikes.why == ""
    assert not integer.equal and "not spikes" in integer.why
    assert integer.macs == pytest.approx(7 * 12 * 16) and integer.our_macs < integer.macs


def spikescr() -> tuple[TorchNetwork, Trace, list[counters.LayerCount]]:
    """A small SpikeSCR whose every layer spikes, thresholds being low, and a run of its graph on integers."""
    torch.manual_seed(0)
    config = SpikeSCRConfig.preset("tiny")
    module = SpikeSCR(config)
    with torch.no_grad():
        module(torch.rand(8, 20, config.features) * 2)  # statistics for the batch norms
    module.eval().double()
    for node in module.modules():
        if isinstance(node, neuron.LIFNode):
            node.v_threshold = 0.3
    graph = load(to_nir(module, (config.features,)))
    trace = run(graph, np.random.default_rng(0).poisson(0.5, size=(2, 12, config.features)), [12, 9])
    return TorchNetwork(module, ()), trace, count(graph, trace)


def test_op_counter_agrees_on_every_layer_of_spikescr_that_gets_spikes() -> None:
    module, trace, counts = spikescr()
    rows = {row.layer: row for row in compare_module(module, trace, counts).rows if row.counter == "op_counter"}
    spiking = [layer for layer in counts if layer.name in rows and layer.payload == "spike"]
    assert {layer.kind for layer in spiking} >= {"affine", "attention", "depthwise_conv"}
    assert all(rows[layer.name].equal and rows[layer.name].acs > 0 for layer in spiking)
    # Every other one gets integers, and is dense MACs there.
    others = [row for row in rows.values() if not row.equal]
    assert others and all(row.why == counters.WHY_INTEGER and row.macs > row.our_macs for row in others)


def test_the_page_sums_up_each_counter() -> None:
    rows = tuple(
        CounterRow(name, "x", 1.0, 0.0, acs, 0.0, same, why)
        for name, acs, same, why in (("<a>", 1.0, True, ""), ("b", 2.0, False, "no hook"), ("c", 2.0, False, "no hook"))
    )
    section = page_templates().get_template("counters.html.j2")
    comparison = CounterComparison(4, rows, (CounterUnavailable("y", "<gone>"),))
    page = section.render(report=SimpleNamespace(counters=comparison))
    assert "1 of 3" in page and "2 layers: no hook" in page and "&lt;a&gt;" in page and "y: &lt;gone&gt;" in page
    assert section.render(report=SimpleNamespace(counters=None)).strip() == ""


def test_a_package_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> counters.Counted:
        raise CounterMissing(counters.INSTALL)

    monkeypatch.setitem(counters.COUNTERS, "syops", missing)
    module, trace, counts = network()
    result = compare_module(module, trace, counts)
    assert CounterUnavailable("syops", counters.INSTALL) in result.unavailable
    assert not any(row.counter == "syops" for row in result.rows)
    with pytest.raises(CounterMissing, match="not installed"):
        counters._import("a_package_that_is_not_there")


def test_the_names_that_syops_needs_are_gone_afterwards() -> None:
    from spikingjelly.activation_based import neuron as module

    with counters._dropped_names():
        assert all(hasattr(module, name) for name in counters.DROPPED)
    assert not any(hasattr(module, name) for name in counters.DROPPED)


@pytest.mark.skipif(importlib.util.find_spec("syops") is None, reason=counters.INSTALL)
def test_syops_counts_spikingjellys_own_layers_as_nothing() -> None:
    module, trace, counts = network()
    rows = [row for row in compare_module(module, trace, counts).rows if row.counter == "syops"]
    assert [(row.acs, row.macs, row.why) for row in rows] == [(0, 0, counters.WHY_ZERO)] * 2


@pytest.mark.skipif(importlib.util.find_spec("neurobench") is None, reason=counters.INSTALL)
def test_neurobench_agrees_on_spikes_and_on_integers() -> None:
    module, trace, counts = network()
    rows = [row for row in compare_module(module, trace, counts).rows if row.counter == "NeuroBench"]
    assert len(rows) == 2 and all(row.equal for row in rows)


@pytest.mark.skipif(importlib.util.find_spec("neurobench") is None, reason=counters.INSTALL)
def test_neurobench_agrees_on_every_layer_of_spikescr_that_it_hooks() -> None:
    module, trace, counts = spikescr()
    rows = [row for row in compare_module(module, trace, counts).rows if row.counter == "NeuroBench"]
    missed = [row for row in rows if not row.equal]
    assert [(row.layer, row.why) for row in missed] == [("blocks.0.attention.product", counters.WHY_MISSED)]
    assert len(rows) > 10
