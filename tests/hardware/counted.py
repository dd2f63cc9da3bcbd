"""Layers with counts written by hand, and the price tables that ship."""

from __future__ import annotations

from dataclasses import replace

from neurotarget.hardware.counts.layers import LayerCount
from neurotarget.hardware.energy.prices import load_tables

TABLES = {table.name: table for table in load_tables()}
JOINED, JOINED_32, LINE = (TABLES[f"lemaire2022-{name}"] for name in ("joined", "joined-32bit", "line"))

# 100 inputs, 10 outputs, 2 samples of 5 steps; 40 spikes arrive.
DENSE = LayerCount(
    name="fc",
    kind="affine",
    inputs=100,
    neurons=10,
    fan_in=100,
    fan_out=10,
    events=40,
    payload="spike",
    payload_sum=40,
    synops=400,
    acs=400,
    macs=0,
    unit_synops=400,
    unary_synops=400,
    dense_macs=10_000,
    biases=100,
    neuron_updates=0,
    active_updates=0,
    spikes=None,
    messages=0,
    synapses=1000,
    parameters=1010,
    state=0,
    samples=2,
    sample_steps=10,
)
LIF = replace(
    DENSE,
    name="lif",
    kind="lif",
    inputs=10,
    fan_in=0,
    fan_out=0,
    events=0,
    payload="none",
    payload_sum=0,
    synops=0,
    acs=0,
    unit_synops=0,
    unary_synops=0,
    dense_macs=0,
    biases=0,
    neuron_updates=100,
    active_updates=30,
    spikes=20,
    messages=40,
    synapses=0,
    parameters=0,
    state=10,
)
