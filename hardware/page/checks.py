"""What a report compares: PyTorch and Lava with the reference, and apart from that single with double precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurotarget.hardware.verdict.parity import ParityCheck, ParityUnavailable
from neurotarget.sim import lava, reference
from neurotarget.sim.graph import Graph
from neurotarget.sim.inputs import Input
from neurotarget.sim.parity import Compared, Parity, compare, compare_part
from neurotarget.sim.trace import Trace

if TYPE_CHECKING:
    from neurotarget.conversion.export.torch_network import TorchNetwork


def check_parity(
    graph: Graph, data: Input, head: Trace, network: TorchNetwork | None, lava_samples: int
) -> tuple[list[ParityCheck], list[ParityUnavailable]]:
    """Compares the other simulators with the reference in double precision.

    Args:
        data: PyTorch runs all of it.
        head: the reference's run of its first samples, as many as Lava runs.

    Returns:
        What was compared, and what could not be, with the reason.
    """
    checks: list[ParityCheck] = []
    unavailable: list[ParityUnavailable] = []
    if network is None:
        unavailable.append(ParityUnavailable("pytorch against reference", "no --checkpoint and no --network was given"))
    else:
        from neurotarget.conversion.export.parity import Against

        precisions = ("float64", "float32")
        folds = [Against(network.module, graph, network.ways, precision) for precision in precisions]
        found = reference.folded(graph, data.frames, data.lengths, None, folds, processes=1)
        for precision, compared in zip(precisions, found, strict=True):
            checks.append(parity_check(compared.parity(graph), required=precision == "float64"))
    if lava_samples < 1:
        unavailable.append(ParityUnavailable("reference against lava", "left out by --lava-samples 0"))
        return checks, unavailable
    few = head.rows(slice(lava_samples))
    try:
        streamed = lava.run(graph, few.input, few.lengths, progress=True)
        checks.append(parity_check(compare(graph, few, streamed), required=True))
    except lava.LavaError as error:
        unavailable.append(ParityUnavailable("reference against lava", str(error)))
    return checks, unavailable


def parity_check(parity: Parity, required: bool) -> ParityCheck:
    return ParityCheck(**parity.as_dict(), required=required)


@dataclass(frozen=True, eq=False)
class InSinglePrecision:
    """A fold: the reference in single precision against its run in double precision, the trace."""

    again: reference.Again

    def __call__(self, trace: Trace) -> Compared:
        return compare_part(self.again.graph, self.again(trace), trace)


def single_precision(graph: Graph, found: reference.Attempt) -> ParityCheck | ParityUnavailable:
    """What `InSinglePrecision` found."""
    if found.failed:  # what double precision holds may overflow here
        return ParityUnavailable("reference float32 against reference float64", str(found.failed))
    return parity_check(found.found.parity(graph), required=False)
