"""Lava's fixed-point neuron and synapse in Python's own integers, a second side for small quantised networks.

Source: lava-nc 0.10.0, lava/proc/lif/models.py, `PyLifModelBitAcc`, and lava/proc/dense/models.py; no code is shared
with the simulator.
"""

import numpy as np


def shift(total, exponent):
    return total << exponent if exponent >= 0 else total >> -exponent


def decayed(state, lost):
    kept = (abs(state) * (4096 - lost)) >> 12
    return kept if state >= 0 else -kept


def one_neuron(graph, frames):
    """Sends of the only neuron of input -> synapses -> neuron, [steps]: spikes, or v of one that does not fire.

    Args:
        graph: quantised, loaded; each synapse has one output and reads the input.
        frames: [steps, features], real numbers.
    """
    neuron = next(node for node in graph.nodes.values() if "du" in graph.fixed.get(node.name, {}))
    keys, grade = graph.fixed[neuron.name], graph.fixed[graph.input.name]
    du, dv = int(keys["du"]), int(keys["dv"])
    bias = int(np.ravel(keys["bias_mant"])[0]) << int(np.ravel(keys["bias_exp"])[0])
    u = v = 0
    sent = []
    for frame in frames:
        x = [min(max(round(float(value) / float(grade["scale"])), -128), 127) for value in frame]
        current = 0
        for name in neuron.sources:
            p = graph.nodes[name].parameters
            weights = [int(w) for w in np.ravel(p["weight"])]
            total = sum(w * value for w, value in zip(weights, x, strict=True))
            added = p.get("bias")
            current += shift(total, int(graph.fixed[name]["weight_exp"])) + (0 if added is None else int(added[0]))
        u = decayed(u, du + 1) + (current << 6)
        v = decayed(v, dv) + u + bias
        if "vth" not in keys:
            sent.append(v)
            continue
        sent.append(int(v > int(keys["vth"]) << 6))
        v = 0 if sent[-1] else v
    return np.array(sent)
