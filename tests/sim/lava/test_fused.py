"""The network as one Process: the bits of the plain build and of the reference, and its errors by the layer's name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from neurotarget.sim import compare, lava, reference, run
from neurotarget.sim.graph import Graph
from neurotarget.sim.lava import LavaError, parent
from neurotarget.sim.lava.plan.floating import Plan

from tests.sim.lava.fixed_networks import neurons, quantised
from tests.sim.lava.primitives import NEURONS, TAU, N, recurrent
from tests.sim.networks import DT, Network, chain, spike_scr, spikes


def loop_over_time() -> Graph:
    """A loop whose one synapse is a convolution over time, and beside it a delay and sparse weights."""
    net = Network(20, seed=3)
    diagonal = nir.Linear(np.eye(20)[:N] * 2.5)
    late = net.add("late", nir.Delay(np.array([0.0, 1, 3, 2]) * DT), net.add("w", diagonal, "input"))
    ends = net.temporal("back", N, net.lif("n", N, late), 3, 0, depthwise=True)
    net.edges += [(end, "n") for end in ends]
    return net.finish(net.affine("readout", 2, N, "n"), outputs=2)


def residual() -> Graph:
    """A loop back to an integrator's reader, whose source rests at another value than zero: a masked relay."""
    net = Network(3, seed=4)
    net.layer("first", N, 3, "input")
    net.add("potential", nir.LI(TAU, np.ones(N), np.full(N, 0.3)), net.affine("in", N, N, "first.lif"))
    net.add("second", NEURONS["lif with every parameter"], net.affine("b", N, N, "potential", "first.lif"))
    return net.finish(net.affine("readout", 2, N, "second", "first.lif"), outputs=2)


NETWORKS: dict[str, tuple[Any, int, int]] = {
    "chain": (chain, 4, 2),
    "causal": (lambda: spike_scr(causal=True, seed=2), 5, 3),
    "whole utterance": (lambda: spike_scr(seed=2), 5, 3),
    "loop": (lambda: recurrent(loop_bias=True), 3, 2),
    "loop into a synapse": (lambda: recurrent(loop_bias=False, into_synapse=True), 3, 2),
    "loop over time": (loop_over_time, 20, 1),
    "residual": (residual, 3, 2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_floating_point_has_the_bits_of_the_plain_build(name: str) -> None:
    build, features, largest = NETWORKS[name]
    graph, frames, lengths = build(), spikes(3, 12, features, largest=largest), np.array([12, 5, 9])
    fused, plain = (lava.run(graph, frames, lengths, build=how) for how in ("fused", "plain"))
    assert fused.header["processes"] == 1 < plain.header["processes"]
    assert fused.header["backend"] == "lava fused" and plain.header["backend"] == "lava"
    expected = reference.run(graph, frames, lengths)
    for node in graph.spiking:
        assert fused.spikes[node.name].any(), f"{node.name} is silent"
        np.testing.assert_array_equal(fused.spikes[node.name], plain.spikes[node.name], err_msg=node.name)
        np.testing.assert_array_equal(fused.spikes[node.name], expected.spikes[node.name], err_msg=node.name)
    np.testing.assert_array_equal(fused.output, plain.output)
    np.testing.assert_allclose(fused.output, expected.output, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["chain", "causal", "whole utterance"])
def test_integers_are_those_of_the_plain_build_u_and_v_too(name: str) -> None:
    build, features, largest = NETWORKS[name]
    frames, lengths = spikes(3, 12, features, largest=largest), np.array([12, 5, 9])
    graph = quantised(build(), frames, lengths)
    names = neurons(graph)
    (fused, states), (plain, plain_states) = (
        lava.run_with_states(graph, frames, lengths, nodes=names, build=how) for how in ("fused", "plain")
    )
    expected, expected_states = reference.run(graph, frames, lengths), reference.states(graph, frames, lengths, names)
    for node in names:
        for what, mine, *others in zip("uv", states[node], plain_states[node], expected_states[node], strict=True):
            assert mine.any() and mine.dtype == np.int32
            for other in others:
                np.testing.assert_array_equal(mine, other, err_msg=f"{what} of {node}")
        if node in fused.spikes:
            np.testing.assert_array_equal(fused.spikes[node], plain.spikes[node])
            np.testing.assert_array_equal(fused.spikes[node], expected.spikes[node])
    np.testing.assert_array_equal(fused.output, plain.output)
    np.testing.assert_array_equal(fused.output, expected.output)


def spoil_a_step(plan: Plan) -> None:
    plan.specs["second"] = dataclasses.replace(
        plan.specs["second"], arrays={**plan.specs["second"].arrays, "bias": np.zeros(5)}
    )


def spoil_what_is_sent_ahead(plan: Plan) -> None:
    plan.specs["back"] = dataclasses.replace(
        plan.specs["back"], arrays={**plan.specs["back"].arrays, "bias": np.zeros(5)}
    )


def spoil_a_constructor(plan: Plan) -> None:
    plan.records[0]["dtype"] = "unheard"


@pytest.mark.parametrize(
    ("network", "spoil", "said"),
    [
        (chain, spoil_a_step, r"Process 'second' raised ValueError: operands could not be broadcast"),
        (chain, spoil_a_constructor, r"Process 'recorder 0' raised TypeError"),
        (lambda: recurrent(True), spoil_what_is_sent_ahead, r"Process 'back' raised ValueError"),
    ],
)
def test_who_raised_is_named(network: Any, spoil: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_plan = parent.make_plan

    def spoiled(*arguments: Any) -> Plan:
        plan = make_plan(*arguments)
        spoil(plan)
        return plan

    monkeypatch.setattr(parent, "make_plan", spoiled)
    graph = network()
    with pytest.raises(LavaError, match=said):
        lava.run(graph, spikes(2, 6, graph.input.neurons), build="fused")


def test_a_build_that_is_not_known_is_refused() -> None:
    with pytest.raises(LavaError, match="build 'quick' of a network in Lava: one of plain, fused is expected"):
        lava.run(chain(), spikes(1, 5, 4), build="quick")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    net = Network(4)
    second = net.layer("second", 6, 6, net.layer("first", 6, 4, "input"))
    nir.write(tmp_path / "net.nir", net.to_nir(net.affine("readout", 3, 6, second), outputs=3))
    np.savez(tmp_path / "in.npz", input=spikes(2, 10, 4))
    return [str(tmp_path / "net.nir"), "--input", str(tmp_path / "in.npz")]


def test_commands_take_it(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([*files, "--lava", "fused"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("identical: reference float64 against lava fused float64, 2 samples")
    assert run.main([*files, "--backend", "lava", "--lava", "fused"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("lava fused: 2 samples")


@pytest.mark.parametrize("command", [run, compare])
def test_without_lava_it_is_refused(command: Any, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--backends", "reference,reference"] if command is compare else []
    assert command.main([*files, "--lava", "fused", *more]) == 2
