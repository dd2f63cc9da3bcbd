"""Quantised graphs in short."""

import numpy as np
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.node import Node
from neurotarget.sim.graph.wiring import infer_shapes, order

GRADED = {"scale": 1.0, "minimum": -128, "maximum": 127}


def graph_of(*nodes, fixed):
    named = {node.name: node for node in nodes}
    components, recurrent = order(named)
    shaped = infer_shapes(named, components, recurrent)
    return Graph(shaped, components, recurrent, 1e-4, False, ">", "sum", "test", "lava-fixed", fixed)


def neuron(name, sources, size, vth, kind="lif"):
    ones = np.ones(size)
    p = {"tau": 2e-4 * ones, "r": ones, "v_leak": 0 * ones, "v_threshold": (vth << 6) * ones, "v_reset": 0 * ones}
    return Node(name, kind, sources, p, input_shape=(size,), output_shape=(size,))


def dense(name, sources, weight):
    return Node(name, "affine", sources, {"weight": np.asarray(weight, float), "bias": None})


def port(kind, sources, shape):
    return Node(kind, kind, sources, {"shape": shape})


def register(size, du, dv, vth, mantissa=None, exponent=None):
    zeros = np.zeros(size, int)
    mantissa, exponent = (zeros if x is None else x for x in (mantissa, exponent))
    return {"du": du, "dv": dv, "vth": vth, "bias_mant": mantissa, "bias_exp": exponent}


def small():
    return graph_of(
        port("input", (), (2,)),
        dense("fc", ("input",), [[100, -50], [20, 60]]),
        neuron("lif", ("fc",), 2, 90),
        port("output", ("lif",), (2,)),
        fixed={
            "input": GRADED,
            "fc": {"weight_exp": 0},
            "lif": register(2, 4095, 1024, 90, np.array([3000, 0]), np.array([1, 0])),
            "output": {"scale": 1.0},
        },
    )
