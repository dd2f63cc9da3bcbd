"""NIR graphs of one node or a few, in short."""

import nir
import numpy as np

DT = 1e-4


def full(value, *shape):
    return np.full(shape or (1,), float(value))


def port(kind, *shape):
    key = "input" if kind is nir.Input else "output"
    return kind(**{f"{key}_type": {key: np.array(shape or (1,))}})


def graph(nodes, edges, **metadata):
    """`edges` is a text: "in>n n>out"."""
    pairs = [tuple(edge.split(">")) for edge in edges.split()]
    return nir.NIRGraph(nodes=nodes, edges=pairs, metadata={"dt": DT, **metadata}, type_check=False)


def alone(node, shape=(1,), out=(1,)):
    """One node between an Input and an Output."""
    nodes = {"in": port(nir.Input, *shape), "n": node, "out": port(nir.Output, *out)}
    return graph(nodes, "in>n n>out")


def lif(tau=2, r=1, theta=1, leak=0, reset=0, n=1):
    p = {"tau": tau * DT, "r": r, "v_leak": leak, "v_threshold": theta, "v_reset": reset}
    return nir.LIF(**{key: full(value, n) for key, value in p.items()})
