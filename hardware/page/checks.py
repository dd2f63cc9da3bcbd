"""What a report compares: PyTorch and Lava with the reference, and apart from that single with double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from neurotarget.hardware.verdict.parity import ParityCheck, ParityUnavailable
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.graph.node import GraphError
from neurotarget.sim.parity import Parity, compare
from neurotarget.sim.trace import Trace

if TYPE_CHECKING:
    from neurotarget.conversion.export.torch_network import TorchNetwork


def check_parity(
    graph: Graph, trace: Trace, network: TorchNetwork | None, lava_samples: int
) -> tuple[list[ParityCheck], list[ParityUnavailable]]:
    """Compares the other simulators with the reference in double precision.

    Returns:
        What was compared, and what could not be, with the reason.
    """
    checks: list[ParityCheck] = []
    unavailable: list[ParityUnavailable] = []
    if network is None:
        unavailable.append(ParityUnavailable("pytorch against reference", "no --checkpoint and no --network was given"))
    else:
        from neurotarget.conversion.export.parity import against_reference

        for precision in ("float64", "float32"):
            parity = against_reference(network.module, graph, trace, network.ways, precision)
            checks.append(parity_check(parity, required=precision == "float64"))
    if lava_samples < 1:
        unavailable.append(ParityUnavailable("reference against lava", "left out by --lava-samples 0"))
        return checks, unavailable
    few = trace.rows(slice(lava_samples))
    try:
        streamed = lava.run(graph, few.input, few.lengths, progress=True)
        checks.append(parity_check(compare(graph, few, streamed), required=True))
    except lava.LavaError as error:
        unavailable.append(ParityUnavailable("reference against lava", str(error)))
    return checks, unavailable


def parity_check(parity: Parity, required: bool) -> ParityCheck:
    return ParityCheck(**parity.as_dict(), required=required)


def single_precision(graph: Graph, trace: Trace, frames: np.ndarray) -> ParityCheck | ParityUnavailable:
    """The reference in single precision against its run in double precision, `trace`."""
    try:
        single = reference.run(graph, frames, trace.lengths, precision="float32")
    except GraphError as error:  # what double precision holds may overflow here
        return ParityUnavailable("reference float32 against reference float64", str(error))
    return parity_check(compare(graph, single, trace), required=False)
