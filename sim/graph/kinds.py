"""What a kind of node is, said once: the table `KINDS`, and the sets that the packages ask for.

Equations are those of one logical step t of one neuron, with x for what arrives, y for what is sent and [.] for 1
where the condition holds. docs/semantics.md has them under Euler's scheme, and the resets that a node's metadata may
name in place of `v = v_reset`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

NIR_LINEAR = "nir 1.0.8, nir/ir/linear.py"
NIR_CONV = "nir 1.0.8, nir/ir/conv.py"
NIR_POOLING = "nir 1.0.8, nir/ir/pooling.py"
OURS = "docs/nir_extensions.md"


@dataclass(frozen=True)
class Kind:
    """One kind of node.

    Attributes:
        name: `Node.kind`.
        equation, source: what it computes, and where that is written.
        nir: the classes of NIR that a file holds it as; none for an extension operation and for what `load` makes.
        parameters: of a neuron, the arrays of its NIR class; of an extension operation, its metadata.
        roles: its named inputs; none where all inputs are summed.
        neuron: it has a potential, or compares one with a threshold.
        spiking: it sends 0 or 1.
        leaky: its potential decays.
        states: values that each neuron keeps from step to step: u and v, v, or none.
        synaptic: it weighs what arrives with stored weights.
        sliding: one kernel serves all positions, of space or of time.
        over_time: it is a convolution over time.
        whole_utterance: a step needs other steps of the utterance than those before, or its own number.
        carries: it hands on the numbers that it gets, elsewhere or at another step.
        pool: it sums or averages positions, without stored weights.
    """

    name: str
    equation: str
    source: str
    nir: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    neuron: bool = False
    spiking: bool = False
    leaky: bool = False
    states: int = 0
    synaptic: bool = False
    sliding: bool = False
    over_time: bool = False
    whole_utterance: bool = False
    carries: bool = False
    pool: bool = False


def _neuron(name: str, nir: str, equation: str, parameters: tuple[str, ...], states: int) -> Kind:
    fires, leaks = "v_threshold" in parameters, "v_leak" in parameters
    source = "nir 1.0.8, nir/ir/neuron.py"
    return Kind(name, equation, source, (nir,), parameters, neuron=True, spiking=fires, leaky=leaks, states=states)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("input", "y = x", "nir 1.0.8, nir/ir/graph.py", ("Input",)),
        Kind("input_part", "y = a slice of x: one of several Inputs", "docs/semantics.md", carries=True),
        Kind("output", "y = x", "nir 1.0.8, nir/ir/graph.py", ("Output",)),
        _neuron("integrator", "I", "dv/dt = r x; y = v", ("r",), 1),
        _neuron("if", "IF", "dv/dt = r x; y = [v > v_threshold]; v = v_reset", ("r", "v_threshold", "v_reset"), 1),
        _neuron("li", "LI", "tau dv/dt = v_leak - v + r x; y = v", ("tau", "r", "v_leak"), 1),
        _neuron(
            "lif",
            "LIF",
            "tau dv/dt = v_leak - v + r x; y = [v > v_threshold]; v = v_reset",
            ("tau", "r", "v_leak", "v_threshold", "v_reset"),
            1,
        ),
        _neuron(
            "cuba_li",
            "CubaLI",
            "tau_syn du/dt = -u + w_in x; tau_mem dv/dt = v_leak - v + r u; y = v",
            ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
            2,
        ),
        _neuron(
            "cuba_lif",
            "CubaLIF",
            "tau_syn du/dt = -u + w_in x; tau_mem dv/dt = v_leak - v + r u; y = [v > v_threshold]; v = v_reset",
            ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
            2,
        ),
        Kind(
            "threshold",
            "y = [x > threshold]",
            "nir 1.0.8, nir/ir/threshold.py",
            ("Threshold",),
            ("threshold",),
            neuron=True,
            spiking=True,
        ),
        Kind("affine", "y = W x + b", NIR_LINEAR, ("Affine", "Linear"), synaptic=True),
        Kind("scale", "y = w x", NIR_LINEAR, ("Scale",), synaptic=True),
        Kind("conv1d", "y = W * x + b over one dimension", NIR_CONV, ("Conv1d",), synaptic=True, sliding=True),
        Kind("conv2d", "y = W * x + b over two dimensions", NIR_CONV, ("Conv2d",), synaptic=True, sliding=True),
        Kind(
            "temporal_conv",
            "y[t] = sum over i of W[..., i] x[t + look_ahead - (taps - 1 - i)] + b",
            OURS,
            synaptic=True,
            sliding=True,
            over_time=True,
            whole_utterance=True,
        ),
        Kind(
            "depthwise_conv",
            "as temporal_conv, each neuron with a kernel of its own",
            OURS,
            synaptic=True,
            sliding=True,
            over_time=True,
            whole_utterance=True,
        ),
        Kind("sum_pool", "y = sum over a window of x", NIR_POOLING, ("SumPool2d",), sliding=True, pool=True),
        Kind("avg_pool", "y = mean over a window of x", NIR_POOLING, ("AvgPool2d",), sliding=True, pool=True),
        Kind("flatten", "y = x in another shape", "nir 1.0.8, nir/ir/flatten.py", ("Flatten",), carries=True),
        Kind("delay", "y[t] = x[t - steps], 0 before", "nir 1.0.8, nir/ir/delay.py", ("Delay",), carries=True),
        Kind(
            "look_ahead",
            "y[t] = x[t + steps], 0 beyond the window",
            OURS,
            parameters=("steps",),
            whole_utterance=True,
            carries=True,
        ),
        Kind("gate", "y = current gate", OURS, roles=("current", "gate")),
        Kind(
            "rotary",
            "each pair of x turns by t angle; y = scale times that",
            OURS,
            parameters=("angle", "scale"),
            whole_utterance=True,
        ),
        Kind(
            "attention",
            "a head: y[t] = scale q[t] . sum over s of k[s]^T v[s], s over the window, or s <= t when causal",
            OURS,
            parameters=("heads", "scale", "causal"),
            roles=("query", "key", "value"),
            whole_utterance=True,
        ),
    )
}


def _named(holds: Callable[[Kind], bool]) -> frozenset[str]:
    return frozenset(name for name, kind in KINDS.items() if holds(kind))


SPIKING = _named(lambda kind: kind.spiking)
STATEFUL = _named(lambda kind: kind.neuron)
LEAKY = _named(lambda kind: kind.leaky)
RESETTING = _named(lambda kind: "v_reset" in kind.parameters)
SYNAPTIC = _named(lambda kind: kind.synaptic)
SLIDING = _named(lambda kind: kind.sliding)
OVER_TIME = _named(lambda kind: kind.over_time)
WHOLE_UTTERANCE = _named(lambda kind: kind.whole_utterance)
CARRIERS = _named(lambda kind: kind.carries)
POOLS = _named(lambda kind: kind.pool)
ENTRIES = frozenset({"input", "input_part"})
# Operations that NIR has no primitive for: docs/nir_extensions.md.
EXTENSIONS = _named(lambda kind: not kind.nir and bool(kind.parameters or kind.roles))
