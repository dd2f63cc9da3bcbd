"""NetX: what is written runs in lava-dl and gives our spikes, and everything else is refused by name."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

from conversion import to_netx
from sim import reference
from sim.graph import load
from sim.lava import group, segments

ROOT = Path(__file__).parents[2]
DT = 1e-4
DEADLINE_SECONDS = 600


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
        nodes[f"conv.tap{3 - step}"] = nir.Linear(weight=np.where(steps == step, weight, 0))
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


CASES = {
    "loop": lambda: loop(
        Chain((6,)).dense(12).lif().dense(10).lif(vth=90), 2.0 * np.random.default_rng(4).integers(-40, 41, (10, 10))
    ),
    "lif": lambda: Chain((6,)).dense(12).lif().dense(10).lif(vth=90).dense(7).lif(vth=60).graph(),
    "current": lambda: Chain((6,)).dense(12).lif(du=1500).dense(10).lif(du=900, dv=0 + 1).dense(7).lif(du=0).graph(),
    "axonal delays": lambda: (
        Chain((6,)).delay(3).dense(12).lif().delay(62).dense(10).lif(vth=90).delay(5).dense(7).lif(vth=60).graph()
    ),
    "delays on both sides": lambda: Chain((6,)).dense(12).lif(du=1500).delay(9).dense(10).delay(4).lif(vth=90).graph(),
    "learned delays": lambda: taps(Chain((6,)).dense(8).lif()),
    "exponent": lambda: Chain((6,)).dense(12, 2, low=-30, high=31).lif(vth=300).dense(10, 1).lif(vth=300).graph(),
    "one sign": lambda: (
        Chain((6,)).dense(12, low=2).lif(vth=500).dense(8, low=-60, high=0).lif(vth=60, bias=40).graph()
    ),
    "bias": lambda: Chain((6,)).dense(12).lif(bias=biases(12)).dense(10).lif(bias=biases(10)).dense(7).lif().graph(),
    "images": lambda: (
        Chain((2, 7, 6))
        .conv(4, stride=2)
        .lif()
        .conv(6, groups=2)
        .lif(vth=150, du=2000)
        .flatten()
        .dense(9)
        .lif()
        .graph()
    ),
    "one dimension": lambda: (
        Chain((3, 12)).conv(4).lif(bias=5).conv(5, dilation=2).lif().flatten().dense(6).lif().graph()
    ),
    "scale": lambda: (
        Chain((6,))
        .dense(12)
        .lif()
        .add(nir.Scale(2.0 * np.arange(-50, 70, 10)), weight_exp=0, scale=1.0)
        .lif(vth=30)
        .graph()
    ),
}
STREAMED = {"bias", "one dimension", "one sign"}  # a bias acts before the first input arrives, unless NetX resets
STEPS = {"axonal delays": 90}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Case -> (integer simulator, NetX): spikes [runs, steps, *shape]. All NetX runs share one child."""
    pytest.importorskip("lava.lib.dl", reason="lava-dl is not installed")
    folder, ours = tmp_path_factory.mktemp("netx"), {}
    for case, build in CASES.items():
        nir.write(folder / f"{case}.q.nir", build())
        assert to_netx.main([str(folder / f"{case}.q.nir")]) == 0
        graph = load(folder / f"{case}.q.nir")
        random = np.random.default_rng(1)
        shape = (2, STEPS.get(case, 40), *graph.input.output_shape)
        frames = random.poisson(0.6, shape) - random.poisson(0.2, shape)
        ours[case] = reference.run(graph, frames.astype(np.float64)).spikes[graph.spiking[-1].name]
        given = frames[:, :, :, None] if len(shape) == 4 else frames
        np.save(folder / f"{case}.in.npy", given)
        (folder / f"{case}.json").write_text(json.dumps({"reset": case in STREAMED}))
    token = segments.new_token()
    program = [sys.executable, "-m", "tests.conversion.netx_run", str(folder), token]
    log = folder / "log.txt"
    with log.open("wb") as stream:
        child = subprocess.Popen(program, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True)
        try:
            code = child.wait(DEADLINE_SECONDS)
        finally:
            group.end(child.pid)
            child.wait()
            segments.remove(token)
    assert code == 0, log.read_text()[-3000:]
    return {case: (spikes, np.load(folder / f"{case}.out.npy")) for case, spikes in ours.items()}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_netx_gives_the_spikes_of_the_integer_simulator(runs, case):
    ours, theirs = runs[case]
    share = ours.mean()
    print(f"{case}: {ours.size} places, {int(ours.sum())} spikes")
    assert 0.02 < share < 0.9, share
    np.testing.assert_array_equal(theirs.reshape(ours.shape), ours)
