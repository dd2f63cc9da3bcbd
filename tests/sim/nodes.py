"""NIR nodes in short."""

import nir
import numpy as np

DT = 1e-4


def graph_of(nodes, edges, metadata=None):
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata or {})


def port_in(*shape):
    return nir.Input(input_type={"input": np.array(shape)})


def port_out(*shape):
    return nir.Output(output_type={"output": np.array(shape)})


def lif(size, tau=2 * DT):
    return nir.LIF(tau=np.full(size, tau), r=np.ones(size), v_leak=np.zeros(size), v_threshold=np.ones(size))
