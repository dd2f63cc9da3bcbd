"""Quantised networks in which one layer follows the other, for NetX."""

import itertools

import nir
import numpy as np

DT = 1e-4


class Chain:
    """A quantised NIR file, written number by number."""

    def __init__(self, shape, **limits):
        self.nodes = {"input": nir.Input(input_type={"input": np.array(shape)})}
        self.fixed = {"input": {"scale": 1.0, "minimum": -128, "maximum": 127} | limits, "output": {"scale": 1.0}}
        self.shape, self.random = tuple(shape), np.random.default_rng(7)

    def add(self, node, **fixed):
        name = f"{type(node).__name__.lower()}{len(self.nodes)}"
        self.nodes[name] = node
        if fixed:
            self.fixed[name] = fixed
        return self

    def weights(self, shape, low=-100, high=101):
        return 2.0 * self.random.integers(low // 2, high // 2, shape)

    def dense(self, outputs, exponent=0, **changes):
        self.add(nir.Linear(weight=self.weights((outputs, *self.shape), **changes)), weight_exp=exponent, scale=1.0)
        self.shape = (outputs,)
        return self

    def conv(self, channels, stride=1, padding=1, dilation=1, groups=1):
        kernel = (3,) * (len(self.shape) - 1)
        weight = self.weights((channels, self.shape[0], *kernel))
        rows, columns = channels // groups, self.shape[0] // groups
        block = np.kron(np.eye(groups), np.ones((rows, columns))).reshape(channels, self.shape[0], *[1] * len(kernel))
        kind = nir.Conv2d if len(kernel) == 2 else nir.Conv1d
        space = self.shape[1:] if len(kernel) == 2 else self.shape[1]
        node = kind(space, weight * block, stride, padding, dilation, 1, np.zeros(channels))
        node.metadata = {"groups": groups} if groups > 1 else {}  # nir 1.0.8 cannot check groups
        self.add(node, weight_exp=0, scale=1.0)
        sizes = [(n + 2 * padding - 2 * dilation - 1) // stride + 1 for n in self.shape[1:]]
        self.shape = (channels, *sizes)
        return self

    def flatten(self):
        self.add(nir.Flatten({"input": np.array(self.shape)}, 0, -1))
        self.shape = (int(np.prod(self.shape)),)
        return self

    def delay(self, longest):
        steps = self.random.integers(0, longest + 1, self.shape)
        steps.flat[0] = longest
        return self.add(nir.Delay(delay=steps * DT))

    def lif(self, vth=120, dv=700, du=4095, bias=0, exponent=6):
        ones = np.ones(self.shape)
        threshold = {"v_threshold": (vth << 6) * ones, "v_reset": 0 * ones}
        if du == 4095:
            node = nir.LIF(tau=DT * 4096 / dv * ones, r=ones, v_leak=0 * ones, **threshold)
        else:
            times = {"tau_syn": DT * 4096 / (du + 1) * ones, "tau_mem": DT * 4096 / dv * ones}
            node = nir.CubaLIF(**times, r=ones, v_leak=0 * ones, w_in=ones, **threshold)
        mantissa = np.broadcast_to(np.asarray(bias), ones.size).copy()
        return self.add(
            node, du=du, dv=dv, vth=vth, scale=1.0, bias_mant=mantissa, bias_exp=np.full(ones.size, exponent)
        )

    def graph(self, **metadata):
        nodes = {**self.nodes, "output": nir.Output(output_type={"output": np.array(self.shape)})}
        names = list(nodes)
        about = {"dialect": "neurotarget-1", "dt": DT, "rule": ">", "readout": "sum"}
        about |= {"arithmetic": "lava-fixed", "fixed": self.fixed} | metadata
        return nir.NIRGraph(nodes=nodes, edges=list(itertools.pairwise(names)), metadata=about)


def biases(count):
    return np.random.default_rng(3).integers(-20, 40, count)


def taps(chain):
    """A convolution over time in which each connection has one delay, as of learned delays."""
    random = np.random.default_rng(5)
    steps = random.integers(0, 4, (9, 8))
    weight = 2.0 * random.integers(-50, 51, (9, 8))
    nodes, edges = dict(chain.nodes), []
    before = list(nodes)[-1]
    for step in range(4):
        nodes[f"conv.tap{3 - step}"] = nir.Linear(weight=np.where(steps == step, weight, 0), metadata={"layer": "conv"})
        source = before
        if step:
            nodes[f"conv.delay{step}"] = nir.Delay(delay=np.full(8, step * DT))
            edges.append((before, f"conv.delay{step}"))
            source = f"conv.delay{step}"
        edges += [(source, f"conv.tap{3 - step}"), (f"conv.tap{3 - step}", "last")]
    rest = Chain((9,)).lif(vth=150)
    nodes["last"], chain.fixed["last"] = rest.nodes["lif1"], rest.fixed["lif1"]
    chain.fixed["conv"] = {"weight_exp": 0, "scale": 1.0}
    names = list(chain.nodes)
    nodes["output"] = nir.Output(output_type={"output": np.array([9])})
    whole = chain.graph()
    edges += [*itertools.pairwise(names), ("last", "output")]
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=whole.metadata)


def loop(chain, weight, **fixed):
    """The chain, whose last neurons also feed themselves."""
    graph = chain.graph()
    neuron = list(chain.nodes)[-1]
    nodes = {**graph.nodes, "loop": nir.Linear(weight=weight)}
    edges = [*graph.edges, (neuron, "loop"), ("loop", neuron)]
    keys = {**graph.metadata["fixed"], "loop": {"weight_exp": 0, "scale": 1.0, **fixed}}
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={**graph.metadata, "fixed": keys})
