"""From logical time to a stream of steps: the latency of every node and the delay of every edge.

The graph says what each logical step of an utterance computes. On a chip, and in Lava, values arrive late: a synapse
sends what it summed in the step before, a convolution that looks ahead waits for the steps it looks at, attention over
a whole utterance waits for its end. A node of latency L sends the value of logical step t in physical step t + L.

The rule: inputs meet at a node, so the path that is early waits. `arrival` of a node is the largest latency among its
sources, and every other edge is delayed by the difference. Then `latency = arrival + own latency`, where the own
latency is

=====================================  ==================================================================
synapse (affine, scale, conv, pool)    1: Lava's Dense, Sparse and Conv send the sum of the step before
                                       (lava/proc/dense/models.py, `run_spk`)
temporal or depthwise convolution      1 + look_ahead
look_ahead                             its steps
attention, not causal                  the number of steps of a run: it accumulates k^T v, then replays q
everything else                        0 (neurons, causal attention, rotary, gate, delay, flatten, ports)
=====================================  ==================================================================

An edge that closes a loop carries the value of the logical step before, so it may be one step late at most: its delay
is `arrival(target) + 1 - latency(source)`. A loop of one synapse fits exactly. A longer one cannot be met by any delay,
because each synapse in it costs a step and the loop has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.kinds import OVER_TIME, POOLS, SYNAPTIC
from neurotarget.sim.graph.node import GraphError, Node

ONE_STEP = (SYNAPTIC | POOLS) - OVER_TIME


class ScheduleError(GraphError):
    """A graph that cannot stream: the message names the edge and the reason."""


@dataclass(frozen=True)
class Schedule:
    """When each node computes.

    Attributes:
        steps: logical steps of a run, the length of the longest window.
        arrival: node -> physical step in which logical step 0 of its input arrives.
        latency: node -> physical step in which it sends logical step 0.
        delay: (source, target) -> steps that the edge holds a value back.
        gap: silent steps between utterances that follow each other, so that a convolution or delay never sees two.
        total: latency of the output.
    """

    steps: int
    arrival: Mapping[str, int]
    latency: Mapping[str, int]
    delay: Mapping[tuple[str, str], int]
    gap: int
    total: int

    @property
    def period(self) -> int:
        """Physical steps from the start of one utterance to the start of the next."""
        return self.steps + self.gap

    @property
    def longest(self) -> int:
        """Physical steps after the end of an utterance in which the last node is still at work."""
        return max(self.latency.values())


def schedule(graph: Graph, steps: int) -> Schedule:
    """Works out latencies and delays.

    Args:
        graph: a loaded graph.
        steps: logical steps of a run; whole-utterance attention waits for that long.

    Raises:
        ScheduleError: a look-ahead is negative, or a loop needs more steps than it has.
    """
    if steps < 1:
        raise ScheduleError(f"a run of {steps} steps cannot be scheduled; at least one is needed")
    arrival: dict[str, int] = {}
    latency: dict[str, int] = {}
    for name in (name for component in graph.components for name in component):
        node = graph.nodes[name]
        forward = [source for source in node.sources if (source, name) not in graph.recurrent_edges]
        arrival[name] = max((latency[source] for source in forward), default=0)
        latency[name] = arrival[name] + own_latency(node, steps)
    delay: dict[tuple[str, str], int] = {}
    for node in graph.nodes.values():
        for source in node.sources:
            edge = (source, node.name)
            closes_a_loop = edge in graph.recurrent_edges
            delay[edge] = arrival[node.name] + closes_a_loop - latency[source]
            if delay[edge] < 0:
                raise ScheduleError(
                    f"loop edge {source} -> {node.name}: the value of the step before arrives {-delay[edge]} "
                    f"step(s) too late, because the loop takes {1 - delay[edge]} steps, one per synapse; "
                    "a loop with one synapse is supported"
                )
    return Schedule(steps, arrival, latency, delay, _gap(graph), latency[graph.output.name])


def latency_ms(graph: Graph, steps: int) -> float | None:
    """Steps in milliseconds; None where neither the file nor `--dt` says how long a step is."""
    return None if graph.dt_is_default else 1000 * graph.dt * steps


def latency_words(graph: Graph, steps: int) -> str:
    """A latency in steps, and in milliseconds where they are known."""
    known = latency_ms(graph, steps)
    return f"{steps} steps" if known is None else f"{steps} steps ({known:g} ms)"


def own_latency(node: Node, steps: int) -> int:
    """Steps between the arrival of a logical step at `node` and its result."""
    if node.kind in ONE_STEP:
        return 1
    if node.kind in OVER_TIME:
        return 1 + _look_ahead(node, "look_ahead")
    if node.kind == "look_ahead":
        return _look_ahead(node, "steps")
    if node.kind == "attention" and not node.parameters["causal"]:
        return steps
    return 0


def _look_ahead(node: Node, key: str) -> int:
    steps = int(node.parameters[key])
    if steps < 0:
        raise ScheduleError(f"node {node.name}: looks ahead by {steps} steps; 0 or more is supported")
    return steps


def _gap(graph: Graph) -> int:
    """Longest reach of any node beyond either end of an utterance; one step when a loop looks back."""
    reach = [int(bool(graph.recurrent_edges))]
    for node in graph.nodes.values():
        if node.kind in OVER_TIME:
            ahead = int(node.parameters["look_ahead"])
            reach += [ahead, node.parameters["weight"].shape[-1] - 1 - ahead]
        elif node.kind == "look_ahead":
            reach.append(int(node.parameters["steps"]))
        elif node.kind == "delay":
            reach.append(int(node.parameters["steps"].max(initial=0)))
    return max(reach)
