"""Every kind of node in every back end: it runs, or it is refused by its name. A new kind fails here until it is."""

from collections.abc import Callable

import nir
import numpy as np
import pytest
from neurotarget.conversion.netx.fit import fit
from neurotarget.conversion.netx.layers import to_layers
from neurotarget.conversion.quantize import quantize
from neurotarget.conversion.tuning.integer_network import IntegerNetwork
from neurotarget.hardware.chips.limits import load_chip
from neurotarget.hardware.chips.populations import chip_network
from neurotarget.hardware.counts.layers import count
from neurotarget.sim import reference
from neurotarget.sim.graph import Graph, dialect, load
from neurotarget.sim.graph.kinds import EXTENSIONS, KINDS, RESETTING, SPIKING, STATEFUL
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.lava import LavaError
from neurotarget.sim.lava.parent import make_plan
from neurotarget.sim.schedule import schedule

DT, STEPS, SIZE, IMAGE = 1e-4, 6, 4, (2, 4, 4)


def full(value, size=SIZE):
    return np.full(size, float(value))


def affine(outputs, inputs):
    weight = np.random.default_rng(outputs).normal(size=(outputs, inputs)) / np.sqrt(inputs)
    return nir.Affine(weight=weight, bias=np.linspace(-0.1, 0.1, outputs))


def lif(size=SIZE):
    values = {"tau": 2 * DT, "r": 1, "v_leak": 0, "v_threshold": 0.1, "v_reset": 0}
    return nir.LIF(**{key: full(value, size) for key, value in values.items()})


def network(middle, edges, shape=(SIZE,), output=SIZE, inputs=("input",)):
    """inputs -> middle -> lif -> output; `edges` lead from `inputs` and to `lif`."""
    ports = {name: nir.Input(input_type={"input": np.array(shape)}) for name in inputs}
    ports["output"] = nir.Output(output_type={"output": np.array([output])})
    nodes = {**ports, **middle, "lif": lif(output)}
    return load(nir.NIRGraph(nodes=nodes, edges=[*edges, ("lif", "output")], metadata={"dt": DT}, type_check=False))


def single(node, name="here"):
    """input -> weights -> node -> weights -> lif."""
    before = affine(SIZE, SIZE)
    if isinstance(node, nir.CubaLIF):  # NetX has no bias in front of a current
        before = nir.Linear(weight=before.weight)
    middle = {"before": before, name: node, "after": affine(SIZE, SIZE)}
    return network(middle, [("input", "before"), ("before", name), (name, "after"), ("after", "lif")])


def plain():
    return network({"here": affine(SIZE, SIZE)}, [("input", "here"), ("here", "lif")])


def image(node, outputs):
    """input -> node over an image -> neurons -> flatten -> weights -> lif."""
    flat = nir.Flatten(input_type={"input": np.array([2, *outputs])}, start_dim=0, end_dim=-1)
    after = affine(SIZE, 2 * int(np.prod(outputs)))
    middle = {"here": node, "spikes": lif((2, *outputs)), "flat": flat, "after": after}
    edges = [("input", "here"), ("here", "spikes"), ("spikes", "flat"), ("flat", "after"), ("after", "lif")]
    return network(middle, edges, IMAGE if len(outputs) == 2 else IMAGE[:2])


def neuron(kind):
    arrays = {"tau": 2 * DT, "tau_syn": 3 * DT, "tau_mem": 4 * DT, "r": 1 if kind.leaky else 1 / DT}
    arrays |= {"v_leak": 0, "v_threshold": 0.2, "threshold": 0.2, "v_reset": 0, "w_in": 1}
    return single(getattr(nir, kind.nir[0])(**{key: full(arrays[key]) for key in kind.parameters}))


def extension(op, roles, **parameters):
    """Roles are fed by neurons that spike, each behind weights of its own."""
    middle, edges = {}, []
    for role in roles:
        middle |= {f"{role} weight": affine(SIZE, SIZE), f"{role} spikes": lif()}
        edges += [("input", f"{role} weight"), (f"{role} weight", f"{role} spikes"), (f"{role} spikes", "here")]
    named = {role: f"{role} spikes" for role in roles if len(roles) > 1}
    middle["here"] = dialect.extension(op, SIZE, {**named, **parameters})
    return network(middle, [*edges, ("here", "lif")])


def convolution_over_time(depthwise):
    weight, early = affine(SIZE, SIZE).weight, np.arange(SIZE) < 2  # each synapse at one of two delays, as NetX has it
    taps = [full(0.3) * early, full(0.6) * ~early] if depthwise else [weight * early, weight * ~early]
    maps = [nir.Scale(scale=tap) if depthwise else nir.Linear(weight=tap) for tap in taps]
    middle = {"here.delay1": nir.Delay(delay=full(DT)), "here.tap0": maps[0], "here.tap1": maps[1]}
    edges = [("input", "here.delay1"), ("here.delay1", "here.tap0"), ("input", "here.tap1")]
    return network(middle, [*edges, ("here.tap0", "lif"), ("here.tap1", "lif")])


def several_inputs():
    weights = {"a": affine(SIZE, SIZE), "b": affine(SIZE, SIZE)}
    return network(weights, [("in a", "a"), ("in b", "b"), ("a", "lif"), ("b", "lif")], inputs=("in a", "in b"))


def pool(node):
    return node(kernel_size=np.array([2, 2]), stride=np.array([2, 2]), padding=np.array([0, 0]))


def convolution(dimensions):
    weight = np.random.default_rng(3).normal(size=(2, 2, *[3] * dimensions))
    more = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, "bias": np.zeros(2), "input_shape": None}
    return (nir.Conv1d if dimensions == 1 else nir.Conv2d)(weight=weight, **more)


NETWORKS: dict[str, Callable[[], Graph]] = {
    **{name: lambda kind=kind: neuron(kind) for name, kind in KINDS.items() if kind.neuron},
    "input": lambda: plain(),
    "output": lambda: plain(),
    "affine": lambda: plain(),
    "input_part": several_inputs,
    "scale": lambda: network({"here": nir.Scale(scale=full(0.7))}, [("input", "here"), ("here", "lif")]),
    "conv1d": lambda: image(convolution(1), (4,)),
    "conv2d": lambda: image(convolution(2), (4, 4)),
    "sum_pool": lambda: image(pool(nir.SumPool2d), (2, 2)),
    "avg_pool": lambda: image(pool(nir.AvgPool2d), (2, 2)),
    "flatten": lambda: image(convolution(2), (4, 4)),
    "temporal_conv": lambda: convolution_over_time(depthwise=False),
    "depthwise_conv": lambda: convolution_over_time(depthwise=True),
    "delay": lambda: extension_free("delay"),
    "look_ahead": lambda: extension_free("look_ahead"),
    "gate": lambda: extension("gate", ("current", "gate")),
    "rotary": lambda: extension("rotary", ("query",), angle=np.array([0.3, 0.1]), scale=1.0),
    "attention": lambda: extension("attention", ("query", "key", "value"), heads=2, scale=0.5, causal=True),
}


def extension_free(kind):
    node = nir.Delay(delay=full(2 * DT)) if kind == "delay" else dialect.extension("look_ahead", SIZE, {"steps": 2})
    middle = {"here": node, "after": affine(SIZE, SIZE)}
    return network(middle, [("input", "here"), ("here", "after"), ("after", "lif")])


def frames(graph):
    return np.random.default_rng(0).random((2, STEPS, *graph.input.output_shape)) * 2


def integers(graph):
    return load(quantize(graph, frames(graph))[0])


def netx(graph):
    beyond = any(node.kind in NO_NETX for node in graph.nodes.values())
    return to_layers(graph if beyond else load(fit(graph)))  # `fit` may refuse a number, and the kind is asked for here


BACK_ENDS: dict[str, Callable[[Graph], object]] = {
    "reference": lambda graph: reference.run(graph, frames(graph)),
    "integers": lambda graph: reference.run(integers(graph), frames(graph)),
    "lava": lambda graph: make_plan(graph, schedule(graph, STEPS), frames(graph), np.full(2, STEPS)),
    "lava fixed": lambda graph: make_plan(
        integers(graph), schedule(integers(graph), STEPS), frames(graph), np.full(2, STEPS)
    ),
    "counting": lambda graph: count(graph, reference.run(graph, frames(graph))),
    "placement": lambda graph: chip_network(graph, schedule(graph, STEPS), load_chip("loihi2")),
    "fine-tuning": lambda graph: IntegerNetwork(integers(graph), alpha=2.0),
    "netx": lambda graph: netx(integers(graph)),
}
NO_NETX = {"sum_pool", "avg_pool", "look_ahead", "gate", "rotary", "attention", "input_part", *STATEFUL - SPIKING}
REFUSED = {("netx", kind) for kind in NO_NETX}


def test_there_is_a_network_for_every_kind():
    assert set(NETWORKS) == set(KINDS)
    for name, build_network in NETWORKS.items():
        assert name in {node.kind for node in build_network().nodes.values()}, name


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_runs_or_is_refused_by_name(kind, back_end):
    graph = NETWORKS[kind]()
    if (back_end, kind) not in REFUSED:
        BACK_ENDS[back_end](graph)
        return
    with pytest.raises((GraphError, LavaError)) as refusal:
        BACK_ENDS[back_end](graph)
    named = [node.name for node in graph.nodes.values() if node.kind == kind]
    assert any(name in str(refusal.value) for name in named), refusal.value


@pytest.mark.parametrize("back_end", BACK_ENDS)
@pytest.mark.parametrize("metadata", [{"reset": "subtract"}, {"reset": "subtract_at_once"}, {"v_initial": 0.05}])
def test_a_reset_or_a_start_of_its_own_runs_or_is_refused_by_the_neurons_name(metadata, back_end):
    node = lif()
    node.metadata = metadata
    graph = single(node)
    if back_end != "netx":
        BACK_ENDS[back_end](graph)
        return
    with pytest.raises(GraphError, match=r"node here: .*(subtraction|start)"):
        BACK_ENDS[back_end](graph)


def test_what_the_table_says():
    assert {"if", "lif", "cuba_lif"} == RESETTING
    assert {"if", "lif", "cuba_lif", "threshold"} == SPIKING and {"integrator", "li", "cuba_li"} == STATEFUL - SPIKING
    assert {"look_ahead", "gate", "rotary", "attention"} == EXTENSIONS
    for kind in KINDS.values():
        assert kind.equation and kind.source
        for name in kind.nir:
            assert hasattr(nir, name), name
        if kind.neuron:  # the arrays of the class, all of them
            fields = set(getattr(nir, kind.nir[0]).__dataclass_fields__) - {"input_type", "output_type", "metadata"}
            assert set(kind.parameters) == fields, kind.name
