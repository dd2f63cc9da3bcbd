"""Small NIR networks, and the tools that run them: who gives the spikes that our reference gives?

    python -m tests.third_parties [--lava]

prints the table of docs/third_parties.md. tests/sim/test_third_parties.py holds every cell of it against a run. Lava's
two columns take a few seconds a cell and stay as they are without `--lava`; `Norse` needs `pip install norse`.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.util
import io
import itertools
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from neurotarget.sim import reference
from neurotarget.sim.graph import load
from neurotarget.sim.graph.node import GraphError

DT = 1e-4
FEATURES, NEURONS, SAMPLES, STEPS = 4, 6, 4, 40
DOCUMENT = Path(__file__).parents[1] / "docs" / "third_parties.md"
random = np.random.default_rng(0)  # reseeded for every network by `build`


# ---- networks --------------------------------------------------------------------------------------------------------


def weights(*shape: int, mean: float = 0.3, spread: float = 1.0) -> np.ndarray:
    """Normal weights that float32 holds exactly, for tools that know no other precision."""
    scale = 2 / np.sqrt(np.prod(shape[1:], dtype=float))
    return (random.normal(mean, spread, shape) * scale).astype(np.float32).astype(np.float64)


def full(shape: Any, value: float) -> np.ndarray:
    return np.full(shape, float(value))


def lif(shape: Any = NEURONS, tau: float = 2, r: float = 1, leak: float = 0, theta: float = 1, reset: float = 0) -> Any:
    """tau in steps."""
    return nir.LIF(*(full(shape, value) for value in (tau * DT, r, leak, theta, reset)))


def cuba(r: float = 4, w_in: float = 2, leak: float = 0, reset: float = 0) -> Any:
    """Time constants of 2 and 4 steps."""
    values = {"tau_syn": 2 * DT, "tau_mem": 4 * DT, "r": r, "v_leak": leak, "v_threshold": 1, "v_reset": reset}
    return nir.CubaLIF(**{key: full(NEURONS, value) for key, value in values.items()}, w_in=full(NEURONS, w_in))


def graph(nodes: dict[str, Any], edges: list[tuple[str, str]], type_check: bool = True) -> nir.NIRGraph:
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": DT}, type_check=type_check)


def port(*shape: int) -> nir.Input:
    return nir.Input(input_type={"input": np.array(shape)})


def end(*shape: int) -> nir.Output:
    return nir.Output(output_type={"output": np.array(shape)})


def chain(shape: tuple[int, ...], nodes: dict[str, Any], out: tuple[int, ...], type_check: bool = True) -> nir.NIRGraph:
    nodes = {"input": port(*shape), **nodes, "output": end(*out)}
    return graph(nodes, list(itertools.pairwise(nodes)), type_check)


def after_affine(neuron: Any, gain: float = 1.0) -> nir.NIRGraph:
    affine = nir.Affine(gain * weights(NEURONS, FEATURES), gain * weights(NEURONS, spread=0.3))
    return chain((FEATURES,), {"affine": affine, "neuron": neuron}, (NEURONS,))


def between_neurons(node: Any) -> nir.NIRGraph:
    """Spikes through a node into a second layer."""
    nodes = {"first": nir.Linear(weights(NEURONS, FEATURES)), "lif": lif(), "node": node}
    nodes |= {"second": nir.Linear(weights(NEURONS, NEURONS) * 2), "lif2": lif()}
    return chain((FEATURES,), nodes, (NEURONS,))


def uneven() -> np.ndarray:
    return DT * np.array([2.0, 4, 8, 2, 4, 16])


def at_threshold(theta: float) -> nir.NIRGraph:
    """v = v / 2 + x: with one input of 1 from rest, v is 1 exactly."""
    return chain(
        (FEATURES,), {"linear": nir.Linear(2 * np.eye(FEATURES)), "lif": lif(FEATURES, theta=theta)}, (FEATURES,)
    )


def recurrent(neuron: Any) -> nir.NIRGraph:
    nodes = {"input": port(FEATURES), "fc": nir.Linear(weights(NEURONS, FEATURES)), "rnn.lif": neuron}
    nodes |= {"rnn.w_rec": nir.Linear(weights(NEURONS, NEURONS, mean=-0.3)), "output": end(NEURONS)}
    loop = [("rnn.lif", "rnn.w_rec"), ("rnn.w_rec", "rnn.lif")]
    return graph(nodes, [("input", "fc"), ("fc", "rnn.lif"), *loop, ("rnn.lif", "output")])


def two_populations() -> nir.NIRGraph:
    nodes = {"input": port(FEATURES), "fc": nir.Linear(weights(NEURONS, FEATURES)), "a": lif(), "b": lif()}
    nodes |= {"ab": nir.Linear(2 * weights(NEURONS, NEURONS)), "ba": nir.Linear(weights(NEURONS, NEURONS, mean=-0.3))}
    nodes["output"] = end(NEURONS)
    edges = [("input", "fc"), ("fc", "a"), ("a", "ab"), ("ab", "b"), ("b", "ba"), ("ba", "a"), ("b", "output")]
    return graph(nodes, edges)


def residual() -> nir.NIRGraph:
    nodes = {"input": port(FEATURES), "fc1": nir.Affine(weights(NEURONS, FEATURES), weights(NEURONS))}
    nodes |= {"lif1": lif(), "fc2": nir.Affine(2 * weights(NEURONS, NEURONS), weights(NEURONS)), "lif2": lif()}
    nodes |= {"fc3": nir.Linear(weights(NEURONS, NEURONS)), "lif3": lif(), "output": end(NEURONS)}
    edges = list(itertools.pairwise(["input", "fc1", "lif1", "fc2", "lif2", "fc3", "lif3", "output"]))
    return graph(nodes, [*edges, ("lif1", "fc3")])


def nested() -> nir.NIRGraph:
    inner = chain((FEATURES,), {"fc": nir.Linear(weights(NEURONS, FEATURES)), "lif": lif()}, (NEURONS,))
    return chain(
        (FEATURES,), {"block": inner, "fc": nir.Linear(2 * weights(NEURONS, NEURONS)), "lif2": lif()}, (NEURONS,)
    )


def two_inputs() -> nir.NIRGraph:
    nodes = {"ear": port(1), "eye": port(FEATURES - 1), "from_ear": nir.Linear(weights(NEURONS, 1))}
    nodes |= {"from_eye": nir.Linear(weights(NEURONS, FEATURES - 1)), "lif": lif(), "output": end(NEURONS)}
    edges = [("ear", "from_ear"), ("eye", "from_eye"), ("from_ear", "lif"), ("from_eye", "lif"), ("lif", "output")]
    return graph(nodes, edges)


def conv1d(groups: int = 1, **options: Any) -> nir.NIRGraph:
    options = {"stride": 1, "padding": 0, "dilation": 1, **options}
    node = nir.Conv1d(input_shape=8, weight=weights(6, 2 // groups, 3), bias=weights(6), groups=groups, **options)
    out = (8 + 2 * options["padding"] - 2 * options["dilation"] - 1) // options["stride"] + 1
    return chain((2, 8), {"conv": node, "lif": lif((6, out))}, (6, out), type_check=groups == 1)


def conv2d(kernel: tuple[int, int] = (3, 3), groups: int = 1, stride: int = 1) -> nir.NIRGraph:
    weight = weights(4, 2 // groups, *kernel)
    node = nir.Conv2d((6, 6), weight, bias=weights(4), stride=stride, padding=1, dilation=1, groups=groups)
    out = (4, *((6 + 2 - k) // stride + 1 for k in kernel))
    return chain((2, 6, 6), {"conv": node, "lif": lif(out)}, out, type_check=kernel == (3, 3) and groups == 1)


def pooled(node: Any) -> nir.NIRGraph:
    """Sums of small integers would meet a threshold of 1 exactly, which has a row of its own."""
    nodes = {"pool": node(*(np.array([k, k]) for k in (2, 2, 0))), "lif": lif((2, 3, 3), tau=3, theta=0.97)}
    return chain((2, 6, 6), nodes, (2, 3, 3))


def flattened() -> nir.NIRGraph:
    nodes = {
        "flatten": nir.Flatten({"input": np.array([2, 6, 6])}, 0, -1),
        "fc": nir.Linear(weights(NEURONS, 72)),
        "lif": lif(),
    }
    return chain((2, 6, 6), nodes, (NEURONS,))


BELOW_ONE = float(np.nextafter(1.0, -np.inf))
NETWORKS: dict[str, Callable[[], nir.NIRGraph]] = {
    "LIF, tau = 2 steps, r = 1": lambda: after_affine(lif()),
    "LIF, tau = 5.5 steps, r = 1": lambda: after_affine(lif(tau=5.5), 2.0),
    "LIF, r = tau / dt": lambda: after_affine(lif(tau=4, r=4), 0.5),
    "LIF, any r": lambda: after_affine(lif(tau=4, r=1.7)),
    "LIF, v_leak = v_reset": lambda: after_affine(lif(leak=0.25, reset=0.25)),
    "LIF, any v_leak": lambda: after_affine(lif(leak=0.25)),
    "LIF, any v_reset": lambda: after_affine(lif(reset=-0.5)),
    "LIF, tau by neuron, r = 1": lambda: after_affine(
        nir.LIF(uneven(), *(full(NEURONS, v) for v in (1, 0, 1, 0))), 2.0
    ),
    "LIF, tau by neuron, r = tau / dt": lambda: after_affine(
        nir.LIF(uneven(), uneven() / DT, *(full(NEURONS, v) for v in (0, 1, 0))), 0.5
    ),
    "LIF, threshold by neuron": lambda: after_affine(
        nir.LIF(*(full(NEURONS, v) for v in (2 * DT, 1, 0)), np.array([0.5, 0.75, 1, 1.25, 1, 2]), full(NEURONS, 0))
    ),
    "LIF, v meets the threshold exactly": lambda: at_threshold(1.0),
    "the same in a file of ours, `rule` >=": lambda: with_rule(at_threshold(BELOW_ONE)),
    "IF, r = 1 / dt": lambda: after_affine(nir.IF(*(full(NEURONS, v) for v in (1 / DT, 2, 0)))),
    "IF, r = 1": lambda: after_affine(nir.IF(*(full(NEURONS, v) for v in (1, 2 * DT, 0)))),
    "IF, any v_reset": lambda: after_affine(nir.IF(*(full(NEURONS, v) for v in (1 / DT, 2, 0.5)))),
    "CubaLIF, r = tau_mem / dt, w_in = tau_syn / dt": lambda: after_affine(cuba(), 0.5),
    "CubaLIF, any r and w_in": lambda: after_affine(cuba(r=1.7, w_in=1.3)),
    "CubaLIF, any v_leak": lambda: after_affine(cuba(leak=0.25), 0.5),
    "CubaLIF, any v_reset": lambda: after_affine(cuba(reset=-0.5), 0.5),
    "Threshold": lambda: after_affine(nir.Threshold(full(NEURONS, 0.7))),
    "I": lambda: after_affine(nir.I(full(NEURONS, 0.3 / DT))),
    "LI": lambda: after_affine(nir.LI(*(full(NEURONS, v) for v in (2 * DT, 1, 0)))),
    "CubaLI": lambda: after_affine(nir.CubaLI(*(full(NEURONS, v) for v in (2 * DT, 4 * DT, 4, 0, 2)))),
    "Scale": lambda: between_neurons(nir.Scale(weights(NEURONS, mean=2.0, spread=0.3) / 2)),
    "Delay": lambda: between_neurons(nir.Delay(DT * np.array([0.0, 1, 2, 3, 1, 0]))),
    "Conv1d": conv1d,
    "Conv1d, stride 2, padding 1": lambda: conv1d(stride=2, padding=1),
    "Conv1d, dilation 2": lambda: conv1d(dilation=2),
    "Conv1d, 2 groups": lambda: conv1d(groups=2),
    "Conv2d": conv2d,
    "Conv2d, stride 2": lambda: conv2d(stride=2),
    "Conv2d, kernel 3 x 1": lambda: conv2d(kernel=(3, 1)),
    "Conv2d, 2 groups": lambda: conv2d(groups=2),
    "AvgPool2d": lambda: pooled(nir.AvgPool2d),
    "SumPool2d": lambda: pooled(nir.SumPool2d),
    "Flatten": flattened,
    "residual": residual,
    "recurrent LIF, r = 1": lambda: recurrent(lif()),
    "recurrent LIF, r = tau / dt": lambda: recurrent(lif(r=2)),
    "recurrent CubaLIF, r = tau_mem / dt, w_in = tau_syn / dt": lambda: recurrent(cuba()),
    "two populations in a loop": two_populations,
    "nested graph": nested,
    "two inputs": two_inputs,
}


def with_rule(made: nir.NIRGraph) -> nir.NIRGraph:
    made.metadata["rule"] = ">="
    return made


def build(name: str) -> nir.NIRGraph:
    """The network of a row, the same in every run."""
    global random
    random = np.random.default_rng(sum(map(ord, name)))
    return NETWORKS[name]()


def frames_for(made: nir.NIRGraph) -> np.ndarray:
    """Random inputs 0, 1, 2 [samples, steps, *features]."""
    shapes = [tuple(node.input_type["input"]) for node in made.nodes.values() if isinstance(node, nir.Input)]
    shape = shapes[0] if len(shapes) == 1 else (sum(int(np.prod(shape)) for shape in shapes),)
    return np.random.default_rng(1).integers(0, 3, (SAMPLES, STEPS, *shape)).astype(np.float64)


# ---- tools -----------------------------------------------------------------------------------------------------------


def spikingjelly(made: nir.NIRGraph, frames: np.ndarray, initial_potential: float | None = None) -> np.ndarray:
    """SpikingJelly's importer, in double precision. It starts a neuron at v_reset; NIR does not say where to start."""
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    module = import_from_nir(made, dt=DT, dtype=torch.float64)
    if initial_potential is not None:
        for child in module.modules():
            if hasattr(child, "set_reset_value") and "v" in child._memories:
                child.set_reset_value("v", initial_potential)
        functional.reset_net(module)
    return stepped(module, frames, torch.float64)


def snntorch(made: nir.NIRGraph, frames: np.ndarray) -> np.ndarray:
    """snnTorch's importer; dt is 1e-4 s there, the precision float32."""
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does to the weights
        module = import_from_nir(made)
    return stepped(module, frames, torch.float32)


def norse(made: nir.NIRGraph, frames: np.ndarray) -> np.ndarray:
    from norse.torch import from_nir

    return stepped(from_nir(made, dt=DT).double(), frames, torch.float64)


def stepped(module: Any, frames: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """Runs an imported module step by step: output [samples, steps, *outputs]."""
    x, state, out = torch.from_numpy(frames).to(dtype), None, []
    with torch.no_grad():
        for step in range(x.shape[1]):
            result, state = module(x[:, step], state)[:2]
            out.append(result)
    return torch.stack(out, dim=1).double().numpy()


def lava(made: nir.NIRGraph, frames: np.ndarray) -> np.ndarray:
    from neurotarget.sim import lava

    return lava.run(made, frames).output


def lava_fixed(made: nir.NIRGraph, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The quantised network: Lava's fixed point, and our integers."""
    from neurotarget.conversion.quantize import quantize
    from neurotarget.sim import lava

    whole = load(quantize(load(made), frames)[0])
    return lava.run(whole, frames).output, reference.run(whole, frames).output


# Column -> how to run it; the yardstick is the reference in float64, or for fixed point our integers.
TOOLS: dict[str, Callable[[nir.NIRGraph, np.ndarray], Any]] = {
    "Lava, float": lava,
    "Lava, fixed": lava_fixed,
    "SpikingJelly": spikingjelly,
    "snnTorch": snntorch,
    "Norse": norse,
}
COLUMNS = ("reference", *TOOLS)
TOLERANCE = {"snnTorch": 1e-4}  # of potentials, which only I, LI and CubaLI send: float32


def outcome(column: str, name: str) -> str:
    """What a tool does with a network: `equal`, `differs at N of M`, `refuses`, or `fails` where it says no reason."""
    made, frames = build(name), frames_for(build(name))
    if column == "reference":
        return f"runs, {reference.run(load(made), frames).output.sum():.0f}"
    try:
        found = TOOLS[column](copy.deepcopy(made), frames)
    except (GraphError, RuntimeError, ValueError, NotImplementedError, AssertionError, TypeError) as error:
        return "refuses" if refused(column, error) else "fails"
    found, expected = found if isinstance(found, tuple) else (found, reference.run(load(made), frames).output)
    if found.shape != expected.shape:
        return "differs in shape"
    wrong = int((np.abs(found - expected) > TOLERANCE.get(column, 1e-9)).sum())
    return f"differs at {wrong} of {expected.size}" if wrong else "equal"


def refused(column: str, error: Exception) -> bool:
    """A sentence of the tool's own, against an error of PyTorch's out of its middle."""
    own = {"SpikingJelly": "spikingjelly/activation_based/nir_exchange", "snnTorch": "snntorch/import_nir"}
    own |= {"Norse": "norse/torch/utils/import_nir", "Lava, float": "sim/", "Lava, fixed": ""}
    trace, files = error.__traceback__, []
    while trace:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return own[column] in files[-1] or "nirtorch/" in files[-1]


def documented() -> dict[str, dict[str, str]]:
    """The table in docs/third_parties.md: network -> column -> cell."""
    lines = itertools.takewhile(lambda line: not line.startswith("## "), DOCUMENT.read_text().splitlines())
    head, *rows = (line.strip("| ").split(" | ") for line in lines if line.startswith("| "))
    return {row[0]: dict(zip(head[1:], (cell.strip() for cell in row[1:]), strict=True)) for row in rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lava", action="store_true", help="run Lava's columns too: some minutes")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    before = documented() if DOCUMENT.exists() else {}
    print("| network | " + " | ".join(COLUMNS) + " |")
    print("|---" * (1 + len(COLUMNS)) + "|")
    for name in NETWORKS:
        if arguments.only not in name:
            continue
        cells = []
        for column in COLUMNS:
            skip = (column.startswith("Lava") and not arguments.lava) or not present(column)
            cells.append(before.get(name, {}).get(column, "not run") if skip else outcome(column, name))
        print("| " + " | ".join([name, *cells]) + " |", flush=True)
    return 0


def present(column: str) -> bool:
    """Whether the tool of a column is installed."""
    module = column.lower() if column in ("SpikingJelly", "snnTorch", "Norse") else "sim"
    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    sys.exit(main())
